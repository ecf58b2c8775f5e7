"""A real Redis on loopback, in memory only: one for many tests, which is emptied before each."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.rig.components import program
from tests.rig.processes import Child, Program, scratch, start


def _ponged(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=2) as link:
        link.sendall(b"PING\r\n")
        return link.recv(64).startswith((b"+PONG", b"-NOAUTH"))


def recipe(folder: Path, *options: str) -> Program:
    """A Redis that keeps nothing, with further options such as ``--maxmemory 10mb``."""
    return Program(
        "redis",
        lambda port: [
            program("redis"),
            *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--save", "", "--appendonly", "no", "--daemonize", "no", *options),
        ],
        is_ready=_ponged,
        unprivileged=True,
    )


@contextmanager
def running_redis(*options: str) -> Iterator[Child]:
    """Start one, and end it by its id."""
    with scratch("redis") as folder, start(recipe(folder, *options), folder) as child:
        yield child


def raw(port: int, *words: str) -> str:
    """One command past the connector, and its answer as it comes over the wire."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
        spelled = [word.encode() for word in words]
        link.sendall(b"*%d\r\n" % len(spelled) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in spelled))
        return link.recv(65536).decode()


@dataclass
class Line:
    """Between the connector and Redis. Once the word comes along, it does as told, and counts."""

    does: str
    port: int = 0
    transactions: int = 0
    connections: int = 0


def _reset(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def line(to: int, does: str, word: str = "EXEC") -> AsyncIterator[Line]:
    """One before a Redis; ``does``: swallows or passes on, and then closes, resets, hangs or says garbage.

    ``word``: the one at which it does so.
    """
    itself, waited_for = Line(does), word.encode() + b"\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        itself.connections += 1
        behind, before = await asyncio.open_connection("127.0.0.1", to)
        answering = asyncio.ensure_future(answers(behind, writer))
        try:
            while data := await reader.read(65536):
                if waited_for in data:
                    itself.transactions += data.count(waited_for)
                    if does.startswith("swallows"):
                        break
                    answering.cancel()
                    before.write(data)
                    await behind.read(1)  # it is done by now
                    break
                before.write(data)
            if does.endswith("resets"):
                _reset(writer)
            elif does.endswith("hangs"):
                await reader.read()
            elif does.endswith("garbage"):
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                await writer.drain()
        finally:
            answering.cancel()
            before.close()
            writer.close()

    async def answers(behind: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await behind.read(65536):
            writer.write(data)

    running = await asyncio.start_server(serve, "127.0.0.1", 0)
    itself.port = running.sockets[0].getsockname()[1]
    try:
        yield itself
    finally:
        running.close()
        await asyncio.sleep(0)
