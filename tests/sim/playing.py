"""One seed, played and judged, in numbers; or seeds until a planted bug shows. Any process may do it."""

from __future__ import annotations

import gc
import logging
import re
from dataclasses import asdict, dataclass
from typing import Self

from tests.sim.bugs import planted
from tests.sim.checker import check
from tests.sim.simulation import Simulation

TRACE_LINES = 200


@dataclass
class Row:
    """What one seed, or all of them together, came to."""

    seeds: int = 0
    alerts: int = 0
    runs: int = 0
    steps: int = 0
    commits: int = 0
    crashes: int = 0
    takeovers: int = 0
    doubles: int = 0
    losses: int = 0
    unresolved: int = 0
    problems: int = 0

    def __iadd__(self, other: Row) -> Self:
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self


@dataclass
class Played:
    """One seed. ``problems``: a line each; ``trace``: what led there."""

    seed: int
    row: Row
    problems: list[str]
    trace: list[str]


def play(seed: int, alerts: int, *, whole: bool = False) -> Played:
    """Play and check one seed."""
    logging.disable(logging.CRITICAL)
    gc.disable()  # a seed is over before its garbage is a burden; looking for it would cost a third more
    if not gc.get_freeze_count():
        gc.freeze()  # what was imported is no garbage, nor need be looked through
    try:
        sim = Simulation(seed, alerts)
        sim.play()
        problems = check(sim)
    finally:
        gc.enable()
    promises = [one.split()[0] for one in problems]
    tables = sim.store._tables
    row = Row(
        seeds=1,
        alerts=len(sim.episodes),
        runs=len(tables.runs),
        steps=len(sim.world.ledger),
        commits=sim.commits,
        crashes=sim.crashes,
        takeovers=len(tables.gone),
        doubles=promises.count("4"),
        losses=promises.count("1") + promises.count("2"),
        unresolved=promises.count("21"),
        problems=len(problems),
    )
    trace = sim.trace if whole or problems else []
    return Played(seed, row, problems, trace if whole else _about(problems, trace))


def _about(problems: list[str], trace: list[str]) -> list[str]:
    """The lines of the trace that name what the problems name."""
    names = set(re.findall(r"[a-z]-[0-9a-f]{5,}|[a-z]+:c-\d+|campaign/c-\d+", " ".join(problems)))
    return [line for line in trace if any(name in line for name in names)][-TRACE_LINES:]


def caught_by(name: str, seeds: range, alerts: int) -> tuple[int, str]:
    """How many seeds it takes to see a planted bug, and as what; 0 when all of them are blind to it."""
    with planted(name):
        for number, seed in enumerate(seeds, start=1):
            try:
                problems = play(seed, alerts).problems
            except Exception as error:  # noqa: BLE001 - it broke: that is seen, too
                problems = [f"{type(error).__name__}: {error}"]
            if problems:
                return number, problems[0]
    return 0, ""
