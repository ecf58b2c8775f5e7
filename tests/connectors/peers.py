"""A peer on a raw socket that counts the requests it reads, and then behaves as told."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Heard:
    """One request as its bytes came over the wire."""

    head: str
    body: bytes

    @property
    def line(self) -> str:
        return self.head.split("\r\n", 1)[0]

    def header(self, name: str) -> str | None:
        for line in self.head.split("\r\n")[1:]:
            found, _, value = line.partition(":")
            if found.strip().lower() == name.lower():
                return value.strip()
        return None


@dataclass
class Peer:
    port: int = 0
    heard: list[Heard] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


async def closes(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def resets(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def hangs(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()  # until the other side gives up


def says(raw: bytes, *, then_close: bool = True) -> Behaviour:
    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()
        if then_close:
            writer.close()

    return behave


def answers(status: int, body: bytes = b"{}", *headers: str, kind: str = "application/json") -> Behaviour:
    head = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return says("\r\n".join([*head, "", ""]).encode() + body, then_close=False)


half = says(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"ok"')
garbage = says(b"\x16\x03\x01 no http at all \r\n\r\n")
only_a_status_line = says(b"HTTP/1.1 200 OK\r\n")


@asynccontextmanager
async def peer(behave: Behaviour) -> AsyncIterator[Peer]:
    """Listens on loopback; every request on every connection is counted, then ``behave`` runs."""
    itself = Peer()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").removesuffix("\r\n\r\n")
                request = Heard(head, b"")
                request.body = await reader.readexactly(int(request.header("content-length") or 0))
                itself.heard.append(request)
                await behave(reader, writer)
                if writer.is_closing():
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    itself.port = server.sockets[0].getsockname()[1]
    try:
        yield itself
    finally:
        server.close()
        await asyncio.sleep(0)


@contextmanager
def a_port_where_nobody_answers() -> Iterator[int]:
    """Its queue of connections is full, so that the next one waits for ever, as behind a firewall."""
    with ExitStack() as open_sockets:
        listener = open_sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = open_sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def a_port_where_nobody_listens() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
