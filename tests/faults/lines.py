"""The line between one daemon and its database. It can be cut, be silent, and lead to another server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Line:
    """A TCP proxy on loopback; ``to`` says which port it leads to now."""

    to: Callable[[], int]
    port: int = 0
    whole: bool = True
    _flows: asyncio.Event = field(default_factory=asyncio.Event)
    _ends: set[asyncio.StreamWriter] = field(default_factory=set)

    def cut(self) -> None:
        """All connections break, and none is made until `mend`."""
        self.whole = False
        self._hang_up()

    def silence(self) -> None:
        """As a network that swallows everything: nothing breaks, nothing comes through until `mend`."""
        self._flows.clear()

    def mend(self) -> None:
        """As before. What was silent goes on."""
        self.whole = True
        self._flows.set()

    def _hang_up(self) -> None:
        for end in list(self._ends):
            end.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.whole:
            return writer.transport.abort()
        try:
            beyond, onward = await asyncio.open_connection("127.0.0.1", self.to())
        except OSError:
            return writer.transport.abort()
        self._ends |= {writer, onward}
        passing = [asyncio.ensure_future(self._pass(*way)) for way in ((reader, onward), (beyond, writer))]
        try:
            await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in passing:
                one.cancel()
            for end in (writer, onward):
                self._ends.discard(end)
                end.transport.abort()
        return None

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while some := await reader.read(65536):
                await self._flows.wait()
                writer.write(some)
                await writer.drain()


@asynccontextmanager
async def line(to: Callable[[], int]) -> AsyncIterator[Line]:
    """A whole line, for as long as the context lasts."""
    one = Line(to)
    one.mend()
    server = await asyncio.start_server(one._serve, "127.0.0.1", 0)
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()
        one._hang_up()
