"""Between a client and a MariaDB: passes everything on, counts what it is told to watch, and breaks there."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

QUERY = 3


@dataclass
class Line:
    """watched: how a statement begins at which the line does as told. heard: those that came so far."""

    does: str
    watched: bytes
    port: int = 0
    heard: list[bytes] = field(default_factory=list)
    connections: int = 0


@asynccontextmanager
async def line(to: int, watched: bytes, does: str) -> AsyncIterator[Line]:
    """``does``: "swallows and closes", "passes on and hangs", … as for other peers; or "passes"."""
    itself = Line(does, watched)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        itself.connections += 1
        behind, before = await asyncio.open_connection("127.0.0.1", to)
        answering = asyncio.ensure_future(_answers(behind, writer))
        try:
            while True:
                head = await reader.readexactly(4)
                body = await reader.readexactly(int.from_bytes(head[:3], "little"))
                met = body[:1] == bytes([QUERY]) and body[1:].startswith(watched)
                if met:
                    itself.heard.append(body[1:])
                if met and does != "passes":
                    if does.startswith("passes on"):
                        answering.cancel()
                        before.write(head + body)
                        await behind.read(1)  # it is done by now
                    break
                before.write(head + body)
            if does.endswith("resets"):
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            elif does.endswith("hangs"):
                await reader.read()
            elif does.endswith("garbage"):
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            answering.cancel()
            before.close()
            writer.close()

    running = await asyncio.start_server(serve, "127.0.0.1", 0)
    itself.port = running.sockets[0].getsockname()[1]
    try:
        yield itself
    finally:
        running.close()
        await asyncio.sleep(0)


async def _answers(behind: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await behind.read(65536):
            writer.write(data)
