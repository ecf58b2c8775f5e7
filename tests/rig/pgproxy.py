"""Between a client and a PostgreSQL: passes everything on, and cuts the line around a COMMIT when told to."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum

_COMMITS = (b"COMMIT\0", b"SELECT flush_kept(); COMMIT\0")
"""As a connection of a target sends it, and as the store does, with its last writes."""

_STARTUP = 3 << 16


class Cut(StrEnum):
    """Where a line is cut, once it asks for COMMIT."""

    NEVER = "never"
    BEFORE = "before the server hears COMMIT"
    HALF = "after half of COMMIT"
    AFTER = "after the server heard COMMIT, before its answer is passed on"
    SILENT = "never, but the answer is not passed on"
    HELD = "never, but COMMIT is not passed on"


@dataclass
class Proxy:
    """Lines to a server. ``commits``: how many were passed on whole."""

    port: int
    cut: Cut = Cut.NEVER
    """What the next COMMIT meets, on whichever line. A line remembers what its own has met."""
    commits: int = 0
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    """A COMMIT has come from a client."""
    met: Callable[[], None] = lambda: None
    """Called when one comes, before it meets `cut`; may set that."""
    broke: Callable[[], None] = lambda: None
    """Called when the line is about to be cut: nobody knows of it yet."""


@asynccontextmanager
async def proxy_to(port: int, cut: Cut = Cut.NEVER) -> AsyncIterator[Proxy]:
    """A proxy on loopback for as long as the context lasts."""
    proxy = Proxy(0, cut)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            beyond, onward = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        line = _Line(proxy, writer, onward)
        try:
            await _first(line.ask(reader), line.answer(beyond))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for end in (writer, onward):
                end.transport.abort() if line.broken else end.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()


@dataclass
class _Line:
    proxy: Proxy
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    cut: Cut = Cut.NEVER
    broken: bool = False

    async def ask(self, reader: asyncio.StreamReader) -> None:
        """Client to server, message by message, until the line is cut."""
        started = False
        while True:
            kind = await reader.readexactly(1) if started else b""
            length = await reader.readexactly(4)
            (size,) = struct.unpack("!I", length)
            body = await reader.readexactly(size - 4)
            started = started or struct.unpack("!I", body[:4])[0] == _STARTUP
            message = kind + length + body
            if kind == b"Q" and body in _COMMITS:
                self.proxy.heard.set()
                self.proxy.met()
                await self._commit(message)
            else:
                self.server.write(message)
            await self.server.drain()

    async def _commit(self, message: bytes) -> None:
        self.cut = self.proxy.cut
        match self.cut:
            case Cut.BEFORE:
                self.proxy.broke()
                raise ConnectionAbortedError
            case Cut.HALF:
                self.server.write(message[: len(message) // 2])
                await self.server.drain()
                raise ConnectionAbortedError
            case Cut.HELD:
                return
        self.proxy.commits += 1
        self.server.write(message)

    async def answer(self, reader: asyncio.StreamReader) -> None:
        """Server to client, as it comes."""
        while some := await reader.read(65536):
            if self.cut is Cut.AFTER:
                self.broken = True
                self.proxy.broke()
                raise ConnectionAbortedError
            if self.cut is not Cut.SILENT:
                self.client.write(some)
                await self.client.drain()


async def _first(*parts: Awaitable[None]) -> None:
    """Until one of them ends."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, asyncio.IncompleteReadError):
                await task
