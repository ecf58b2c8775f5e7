"""What gates cost while they wait for people: memory, room in the store, and otherwise nothing."""

from __future__ import annotations

import asyncio
import json
import os
import struct
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bench.alerts import NOBODYS, bodies
from bench.client import storm
from bench.figures import Bar, Figure, percentile
from bench.subjects import Daemon, daemon, gated, policy_name

GATES = 1_000
BRIEF, LONG = "GateBrief", "GateLong"
"""The alertnames that two policies want. A few gates of the one warm the daemon; the other's are weighed."""

WARM = 2_000, 100
"""Alerts that nobody wants, and gates, that a daemon has seen before anything is weighed."""


@dataclass(frozen=True)
class State:
    """A daemon at rest. rss, store: bytes; busy: share of a core; wakes, commits: a second."""

    rss: float
    store: float
    busy: float
    wakes: float
    commits: float


@dataclass(frozen=True)
class Round:
    """One daemon: warm, after 1,000 alerts that nobody wants, and after 1,000 more, each at its gate.

    scraped: with the gates open, once its metrics were read. over: when the gates have expired. late: ms
    from each one's end to when that was decided.
    """

    warm: State
    alerts: State
    gates: State
    scraped: State
    over: State
    late: list[float]


def gate(*, quick: bool) -> Iterator[Figure]:
    """1,000 gates open at once, beside 1,000 alerts that nobody wants."""
    rounds, rest, idle = (1, 1.0, 5.0) if quick else (3, 3.0, 20.0)
    found = [_round(rest, idle) for _ in range(rounds)]
    for name, limit in (("rss", 4_096), ("store", 16_384)):
        opened = [(getattr(one.scraped, name) - getattr(one.alerts, name)) / GATES for one in found]
        heard = [(getattr(one.alerts, name) - getattr(one.warm, name)) / GATES for one in found]
        more: dict[str, object] = {"gates": GATES, "baseline_is": "an alert that nobody wants"}
        gone = (getattr(one.over, name) - getattr(one.alerts, name) for one in found)
        more["when_over"] = [round(one / GATES) for one in gone]
        yield Figure(f"gate_{name}", Bar("bytes", "at most", limit), opened, heard, more)
    yield _idle(found, idle)
    late = [percentile(one.late, 0.99) for one in found]
    worst = max(max(one.late) for one in found)
    yield Figure(
        "gate_expiry", Bar("ms", "at most", 5_000), late, [], {"gates": GATES, "worst": round(worst)}
    )


def _idle(found: list[Round], seconds: float) -> Figure:
    more: dict[str, object] = {"gates": GATES, "seconds": seconds, "baseline_is": "without an open gate"}
    for name in ("wakes", "commits"):
        more[f"{name}_per_s"] = [round(getattr(one.gates, name), 1) for one in found]
        more[f"{name}_per_s_baseline"] = [round(getattr(one.alerts, name), 1) for one in found]
    bar = Bar("% of a core", "at most", 1)
    waiting, idle = ([getattr(one, name).busy * 100 for one in found] for name in ("gates", "alerts"))
    return Figure("gate_idle", bar, waiting, idle, more)


def _round(rest: float, idle: float) -> Round:
    """rest: seconds in which the daemon is left alone before anything is read off it; idle: for so long."""
    within = int(rest + idle + 12)  # twelve to open them all
    with daemon([gated(0, BRIEF, "1s"), gated(1, LONG, f"{within}s")]) as one:
        strangers, few = WARM
        asyncio.run(_posted(one, NOBODYS, 0, strangers))
        asyncio.run(_posted(one, BRIEF, strangers, few))
        _all_closed(one, few)
        warm = _state(one, rest, 0)
        first = strangers + few
        asyncio.run(_posted(one, NOBODYS, first, GATES))
        alerts = _state(one, rest, idle)
        asyncio.run(_posted(one, LONG, first + GATES, GATES))
        waiting = _state(one, rest, idle)
        assert one.count("runs WHERE stage = 'waiting'") == GATES
        _scrape(one)
        scraped = _state(one, rest, 0)
        _all_closed(one, few + GATES)
        return Round(warm, alerts, waiting, scraped, _state(one, rest, 0), _late(one))


async def _posted(one: Daemon, alertname: str, first: int, count: int) -> None:
    """Exactly so many, and decided on: one connection posts one hundred after the other."""
    posts = bodies(100, alertname, first)
    load = await storm(
        one.aim, posts, connections=1, seconds=60, enough=lambda load: len(load.taken) * 100 >= count
    )
    assert not load.others, load.others
    await one.drained()


def _scrape(one: Daemon) -> None:
    """As a Prometheus does four times a minute."""
    with urllib.request.urlopen(f"{one.child.url}/metrics") as answer:
        assert f"remediator_gates_open {GATES}.0".encode() in answer.read()


def _all_closed(one: Daemon, runs: int, within: float = 90) -> None:
    give_up = time.monotonic() + within
    while one.count("runs WHERE stage = 'closed'") < runs:
        assert time.monotonic() < give_up, "gates are open that should have expired"
        time.sleep(0.2)


def _late(one: Daemon) -> list[float]:
    found = []
    for closed_at, doc in one.rows(f"SELECT closed_at, doc FROM runs WHERE policy = '{policy_name(1)}'"):
        ends = datetime.fromisoformat(json.loads(doc)["gate"]["expires_at"])
        found.append(closed_at / 1000 - ends.timestamp() * 1000)
    return found


# ── Reading it off ────────────────────────────────────────────────────────────────────────────────


def _state(one: Daemon, rest: float, idle: float) -> State:
    """After a rest, and over so many seconds. Nobody asks the daemon anything meanwhile."""
    time.sleep(rest)
    rss, store = one.megabytes() * 1e6, one.store_bytes()
    began, worked = time.monotonic(), _work(one)
    time.sleep(idle)
    passed = max(time.monotonic() - began, 0.001)
    busy, wakes, commits = ((now - then) / passed for now, then in zip(_work(one), worked, strict=True))
    return State(rss, store, busy, wakes, commits)


def _work(one: Daemon) -> tuple[float, float, float]:
    """Seconds of a core, wake-ups of all its threads, and commits to the store, since it was started."""
    folder = Path(f"/proc/{one.child.pid}")
    user, system = map(int, (folder / "stat").read_text().rpartition(")")[2].split()[11:13])
    wakes = sum(_field(task / "status", "voluntary_ctxt_switches:") for task in (folder / "task").iterdir())
    (commits,) = struct.unpack_from(
        "=I", Path(f"{one.store}-shm").read_bytes(), 8
    )  # the WAL index counts them
    return (user + system) / os.sysconf("SC_CLK_TCK"), wakes, commits


def _field(status: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(name))
