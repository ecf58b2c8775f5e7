"""The sender: keep-alive connections over raw sockets, each posting again as soon as it was answered.

It runs in the bench's own process, says how busy it was, and costs a fraction of what a receiver does.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Aim:
    """Where to post, and what proves that we may."""

    port: int
    path: str
    token: str

    def request(self, body: bytes) -> bytes:
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {self.token}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass
class Load:
    """What came of it. latencies: seconds, of what was answered 200; taken: the numbers of those alerts."""

    latencies: list[float] = field(default_factory=list)
    taken: list[range] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)  # other answers, and connections that broke
    seconds: float = 0.0
    busy: float = 0.0  # the sender's own share of a core

    @property
    def posts(self) -> float:
        """Per second."""
        return len(self.latencies) / self.seconds

    @property
    def alerts(self) -> float:
        """Per second."""
        return sum(map(len, self.taken)) / self.seconds


class Line(asyncio.Protocol):
    """One connection: at most one request under way."""

    def __init__(self, answered: Callable[[Line, str], None]) -> None:
        """``answered`` is called with the status, or with why there is none."""
        self._answered = answered
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self.numbers = range(0)
        self.sent_at = 0.0

    def post(self, numbers: range, request: bytes) -> None:
        assert self._transport is not None
        self.numbers, self.sent_at = numbers, time.perf_counter()
        self._transport.write(request)

    def quit(self) -> None:
        """Hang up, and hear no more."""
        self._answered = lambda *_: None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        received = self._received + data
        head, blank, rest = received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if blank and len(rest) >= int(length):
            self._received = b""
            self._answered(self, head[9:12].decode())
        else:
            self._received = received

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio calls it so
        self._answered(self, "broken")


async def connect(aim: Aim, answered: Callable[[Line, str], None]) -> Line:
    """A connection that is ready to post."""
    loop = asyncio.get_running_loop()
    _, line = await loop.create_connection(lambda: Line(answered), "127.0.0.1", aim.port)
    return line


async def storm(
    aim: Aim,
    posts: Iterator[tuple[range, bytes]],
    *,
    connections: int,
    seconds: float,
    enough: Callable[[Load], bool] = lambda _: False,
) -> Load:
    """Post as fast as it is answered, for so long or until it is enough. A broken connection stays so."""
    load, ended = Load(), asyncio.Event()

    def answered(line: Line, status: str) -> None:
        if ended.is_set():
            return
        if status == "200":
            load.latencies.append(time.perf_counter() - line.sent_at)
            load.taken.append(line.numbers)
        else:
            load.others[status] += 1
        if time.perf_counter() >= until or enough(load) or load.others["broken"] >= connections:
            ended.set()
        elif status != "broken":
            numbers, body = next(posts)
            line.post(numbers, aim.request(body))

    lines = [await connect(aim, answered) for _ in range(connections)]
    began, used = time.perf_counter(), time.process_time()
    until = began + seconds
    for line in lines:
        numbers, body = next(posts)
        line.post(numbers, aim.request(body))
    await ended.wait()
    load.seconds = time.perf_counter() - began
    load.busy = (time.process_time() - used) / load.seconds
    for line in lines:
        line.quit()
    return load
