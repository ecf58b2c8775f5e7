"""How many alerts are taken durably, and how long a sender waits; the backlog drains meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from statistics import median

from bench.alerts import bodies
from bench.client import Aim, Load, storm
from bench.figures import Bar, Figure, percentile
from bench.subjects import bare, daemon, strangers

CONNECTIONS = {1: 32, 100: 8}
"""By alerts per POST: a sender that batches has fewer under way."""
_P99 = Bar("ms", "at most", 100)


def accept_1(*, quick: bool) -> Iterator[Figure]:
    """One alert per POST, and no policy wants it."""
    yield from _measured("accept_1", 1, 1, Bar("POST/s", "at least", 2_000), quick=quick)


def accept_1_policies(*, quick: bool) -> Iterator[Figure]:
    """The same with 100 policies loaded."""
    yield from _measured("accept_1_policies", 1, 100, Bar("POST/s", "at least", 2_000), quick=quick)


def accept_100(*, quick: bool) -> Iterator[Figure]:
    """100 distinct alerts per POST, 100 policies."""
    yield from _measured("accept_100", 100, 100, Bar("alerts/s", "at least", 20_000), quick=quick)


def _measured(name: str, per_post: int, policies: int, rate: Bar, *, quick: bool) -> Iterator[Figure]:
    rounds, seconds = (1, 2.0) if quick else (5, 4.0)
    ours: list[Load] = []
    bares: list[Load] = []
    decided: list[float] = []
    drained: list[float] = []
    for _ in range(rounds):
        with bare() as floor:
            bares.append(asyncio.run(_storm(floor.aim, per_post, seconds)))
        with daemon(strangers(policies)) as one:
            ours.append(asyncio.run(_storm(one.aim, per_post, seconds)))
            left = one.waiting()
            decided.append(one.decided() * per_post / (WARM_UP + seconds))
            drained.append(left * per_post / max(asyncio.run(one.drained()), 0.001) if left else 0.0)
    refused = sum((load.others for load in ours), Counter())
    more = {
        "connections": CONNECTIONS[per_post],
        "seconds": seconds,
        "not_200": dict(refused),
        "sender_busy": round(max(load.busy for load in ours), 2),
        "sender_busy_baseline": round(max(load.busy for load in bares), 2),
        "decided_meanwhile_per_s": round(median(decided)),
        "decided_afterwards_per_s": round(median(drained)),
    }
    yield Figure(
        name, rate, [_rate(load, per_post) for load in ours], [_rate(load, per_post) for load in bares], more
    )
    yield Figure(f"{name}_p99", _P99, [_p99(load) for load in ours], [_p99(load) for load in bares])


WARM_UP = 0.5


async def _storm(aim: Aim, per_post: int, seconds: float) -> Load:
    posts = bodies(per_post)
    await storm(aim, posts, connections=CONNECTIONS[per_post], seconds=WARM_UP)
    return await storm(aim, posts, connections=CONNECTIONS[per_post], seconds=seconds)


def _rate(load: Load, per_post: int) -> float:
    return load.posts if per_post == 1 else load.alerts


def _p99(load: Load) -> float:
    return percentile(load.latencies, 0.99) * 1000
