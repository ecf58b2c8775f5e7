"""How soon the daemon is ready, and how much memory it takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import islice

from bench.alerts import bodies
from bench.client import storm
from bench.figures import Bar, Figure
from bench.subjects import Daemon, Subject, bare, bare_program, daemon, program, strangers
from tests.rig.processes import scratch, start

ALERTS = 10_000


def start_up(*, quick: bool) -> Iterator[Figure]:
    """From the process's birth to 200 from /readyz: without policies, and with 100."""
    rounds = 1 if quick else 7
    bar = Bar("s", "at most", 1.5)
    floor = [_birth(0, of_bare=True) for _ in range(rounds)]
    for name, count in (("start", 0), ("start_policies", 100)):
        yield Figure(name, bar, [_birth(count) for _ in range(rounds)], floor, {"policies": count})


def _birth(policies: int, *, of_bare: bool = False) -> float:
    with scratch("bench") as folder:
        what = bare_program(folder) if of_bare else program(folder, strangers(policies))
        began = time.perf_counter()
        with start(what, folder):
            return time.perf_counter() - began


def rss(*, quick: bool) -> Iterator[Figure]:
    """Resident memory after 10,000 alerts, decided on; one per POST, and 100 per POST."""
    rounds = 1 if quick else 3
    for name, per_post in (("rss", 1), ("rss_100", 100)):
        highest: list[float] = []
        ours = [asyncio.run(_served(daemon(strangers(100)), per_post, highest)) for _ in range(rounds)]
        floor = [asyncio.run(_served(bare(), per_post, [])) for _ in range(rounds)]
        yield Figure(name, Bar("MB", "at most", 120), ours, floor, {"highest": round(max(highest))})


async def _served(subject: AbstractContextManager[Subject], per_post: int, highest: list[float]) -> float:
    with subject as one:
        posts = islice(bodies(per_post), ALERTS // per_post + 64)
        load = await storm(
            one.aim,
            posts,
            connections=8,
            seconds=60,
            enough=lambda load: len(load.taken) * per_post >= ALERTS,
        )
        assert not load.others, load.others
        if isinstance(one, Daemon):
            await one.drained()
        highest.append(one.megabytes("VmHWM"))
        return one.megabytes()
