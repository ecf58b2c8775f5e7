"""Socket Mode of the fake Slack: connections by one-use tickets, envelopes out, acknowledgements in.

Source: https://docs.slack.dev/apis/events-api/using-socket-mode/
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web


@dataclass
class Socket:
    """One connection."""

    stream: web.WebSocketResponse
    request: web.Request

    def cut(self) -> None:
        """As a network does: no farewell."""
        if self.request.transport is not None:
            self.request.transport.abort()

    async def say(self, **message: Any) -> None:
        """One message to the app."""
        with contextlib.suppress(ConnectionError):
            await self.stream.send_str(json.dumps(message))


@dataclass
class Sockets:
    """All connections of one app."""

    open: list[Socket] = field(default_factory=list)
    opened: int = 0
    refuses: bool = False
    """No handshake succeeds."""
    silent: bool = False
    """Nobody is greeted."""
    acknowledged: list[str] = field(default_factory=list)
    """Numbers of envelopes, in the order in which they were."""
    _tickets: set[str] = field(default_factory=set)
    _waiting: dict[str, asyncio.Event] = field(default_factory=dict)

    def ticket(self) -> str:
        """Good for one connection."""
        ticket = secrets.token_hex(16)
        self._tickets.add(ticket)
        return ticket

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One connection, as long as it lives."""
        ticket = request.match_info["ticket"]
        if self.refuses or ticket not in self._tickets:
            return web.Response(status=403, text="no such ticket")
        self._tickets.remove(ticket)
        stream = web.WebSocketResponse()
        await stream.prepare(request)
        socket = Socket(stream, request)
        self.open.append(socket)
        self.opened += 1
        try:
            if not self.silent:
                info = {"app_id": "A01APP"}
                await socket.say(type="hello", num_connections=len(self.open), connection_info=info)
            async for message in stream:
                if message.type is WSMsgType.TEXT:
                    self._hear(json.loads(message.data))
        finally:
            self.open.remove(socket)
        return stream

    def _hear(self, said: dict[str, Any]) -> None:
        number = said.get("envelope_id", "")
        self.acknowledged.append(number)
        waiting = self._waiting.get(number)
        if waiting is not None:
            waiting.set()

    async def deliver(self, envelope: str, times: int, patience: float) -> bool:
        """Send it, each time through the next connection; was it acknowledged in time?"""
        number = json.loads(envelope)["envelope_id"]
        waiting = self._waiting[number] = asyncio.Event()
        for turn in range(times):
            if not self.open:
                return False
            with contextlib.suppress(ConnectionError):
                await self.open[turn % len(self.open)].stream.send_str(envelope)
        try:
            await asyncio.wait_for(waiting.wait(), patience)
        except TimeoutError:
            return False
        return True
