"""From an alert to the step's request on the wire: the POST leaves here, the request arrives here."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial

from bench.alerts import bodies
from bench.client import Aim, Line, connect
from bench.figures import Bar, Figure, percentile
from bench.subjects import Daemon, Subject, bare, daemon, policy, strangers

PER_SECOND = 50
WANTED = "WorkerStuck"
"""The alertname that the one acting policy wants."""

_P50, _P99 = Bar("ms", "at most", 10), Bar("ms", "at most", 25)
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n" + b'{"state":"bad"}'
)


class Peer(asyncio.Protocol):
    """The system that is acted on: notes when the request for each worker arrived, and answers at once."""

    def __init__(self, arrived: dict[int, float]) -> None:
        self._arrived = arrived
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, rest = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        if not blank or len(rest) < int(length[1] if length else 0):
            return
        if found := re.match(rb"POST /api/workers/w-([0-9a-f]+) ", head):
            self._arrived.setdefault(int(found[1], 16), time.perf_counter())
        self._received = b""
        assert self._transport is not None
        self._transport.write(_ANSWER)


@asynccontextmanager
async def peer(arrived: dict[int, float]) -> AsyncIterator[str]:
    """One that listens; its URL."""
    server = await asyncio.get_running_loop().create_server(lambda: Peer(arrived), "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def wire(*, quick: bool) -> Iterator[Figure]:
    """One safe step, nothing read before it."""
    yield from _measured("wire", probe=False, quick=quick)


def wire_probe(*, quick: bool) -> Iterator[Figure]:
    """The same with one http.get before it."""
    yield from _measured("wire_probe", probe=True, quick=quick)


def _measured(name: str, *, probe: bool, quick: bool) -> Iterator[Figure]:
    rounds, seconds = (1, 2.0) if quick else (3, 10.0)
    ours: list[list[float]] = []
    bares: list[list[float]] = []
    for _ in range(rounds):
        bares.append(asyncio.run(_round(bare, seconds)))
        policies = [policy(0, WANTED, probe=probe), *strangers(101)[1:]]
        ours.append(asyncio.run(_round(partial(_daemon, policies), seconds)))
    lost = sum(int(PER_SECOND * seconds) - len(one) for one in ours)
    more = {"per_second": PER_SECOND, "seconds": seconds, "never_arrived": lost}
    for suffix, bar, share in (("p50", _P50, 0.50), ("p99", _P99, 0.99)):
        found = [percentile(one, share) * 1000 for one in ours]
        floor = [percentile(one, share) * 1000 for one in bares]
        yield Figure(f"{name}_{suffix}", bar, found, floor, more)


def _daemon(policies: list[str], url: str) -> AbstractContextManager[Daemon]:
    return daemon(policies, url)


async def _round(receiver: Callable[[str], AbstractContextManager[Subject]], seconds: float) -> list[float]:
    """Seconds from each POST to its request; infinite for one that never came."""
    arrived: dict[int, float] = {}
    async with peer(arrived) as url:
        manager = receiver(url)
        subject = await asyncio.to_thread(manager.__enter__)
        try:
            await _paced(subject.aim, first=1, count=PER_SECOND)  # warm up
            first, count = 1 + PER_SECOND, int(PER_SECOND * seconds)
            sent = await _paced(subject.aim, first=first, count=count)
            await _until(lambda: sent.keys() <= arrived.keys())
        finally:
            await asyncio.to_thread(manager.__exit__, None, None, None)
    return [arrived.get(number, float("inf")) - at for number, at in sent.items()]


async def _paced(aim: Aim, *, first: int, count: int) -> dict[int, float]:
    """Post at an even pace whatever the answers do; when each left."""
    sent: dict[int, float] = {}
    idle: list[Line] = []
    busy: set[Line] = set()

    def answered(line: Line, _status: str) -> None:
        busy.discard(line)
        idle.append(line)

    posts = bodies(1, WANTED, first)
    began = time.perf_counter()
    for turn in range(count):
        await asyncio.sleep(began + turn / PER_SECOND - time.perf_counter())
        line = idle.pop() if idle else await connect(aim, answered)
        busy.add(line)
        numbers, body = next(posts)
        sent[numbers[0]] = time.perf_counter()
        line.post(numbers, aim.request(body))
    await _until(lambda: not busy)
    for line in (*idle, *busy):
        line.quit()
    return sent


async def _until(done: Callable[[], bool], within: float = 5.0) -> None:
    """Look every 10 ms; after so many seconds it is not going to happen."""
    give_up = time.perf_counter() + within
    while not done() and time.perf_counter() < give_up:  # noqa: ASYNC110 - two dicts tell nobody
        await asyncio.sleep(0.01)
