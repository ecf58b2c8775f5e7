"""How a fake server misbehaves on demand: it closes, resets, hangs, is slow, or answers something else.

A mood takes the next requests that it fits, so many times, before or after their effect.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass

from aiohttp import web


@dataclass
class Mood:
    """mood: close | reset | hang | slow | status | garbage | half.

    verbs: of which requests, in small letters (of Kubernetes: patch, delete …; else: the method); empty: any.
    applied: it takes effect before the server misbehaves. times: -1 for ever.
    """

    mood: str
    verbs: tuple[str, ...] = ()
    applied: bool = False
    times: int = 1
    delay: float = 0.2  # of slow, in seconds
    status: int = 500
    text: str = "upstream connect error"

    def takes(self, verb: str) -> bool:
        """Is it this one's turn? Then it is counted."""
        if self.times == 0 or (self.verbs and verb not in self.verbs):
            return False
        self.times -= 1
        return True


async def misbehave(request: web.Request, mood: Mood) -> web.StreamResponse | None:
    """What is answered instead; None: as ever, after all."""
    transport = request.transport
    match mood.mood:
        case "slow":
            await asyncio.sleep(mood.delay)
            return None
        case "hang":
            await asyncio.sleep(3600)
        case "status":
            return web.Response(status=mood.status, text=mood.text)
        case "garbage" if transport is not None:
            transport.write(b"\x16\x03\x01 no http at all \r\n\r\n")
        case "half" if transport is not None:
            transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"
            )
        case "reset" if transport is not None:
            plug = transport.get_extra_info("socket")
            if plug.family != socket.AF_UNIX:
                plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
    if transport is not None:
        transport.close()
    return web.Response(status=500)
