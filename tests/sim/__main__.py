"""Plays seeds, and says what broke: `make sim SEED=7`, `make sim SEEDS=0-199 ALERTS=250`, `make sim-bugs`.

A seed that fails is told as it happened, as far as the runs and alerts go that it is about.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Self

from tests.sim.bugs import BUGS, planted
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
    return Played(seed, row, problems, sim.trace if whole else _about(problems, sim.trace))


def _about(problems: list[str], trace: list[str]) -> list[str]:
    """The lines of the trace that name what the problems name."""
    names = set(re.findall(r"[a-z]-[0-9a-f]{5,}|[a-z]+:c-\d+|campaign/c-\d+", " ".join(problems)))
    return [line for line in trace if any(name in line for name in names)][-TRACE_LINES:]


def caught_by(name: str, seeds: int, alerts: int) -> tuple[int, str]:
    """How many seeds it takes to see a planted bug, and as what; 0 when all of them are blind to it."""
    with planted(name):
        for seed in range(seeds):
            try:
                problems = play(seed, alerts).problems
            except Exception as error:  # noqa: BLE001 - it broke: that is seen, too
                problems = [f"{type(error).__name__}: {error}"]
            if problems:
                return seed + 1, problems[0]
    return 0, ""


def _numbers(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def _seeds(args: argparse.Namespace) -> int:
    began, total, failed = time.monotonic(), Row(), 0
    for played in _played(args):
        total += played.row
        if played.problems:
            failed += 1
            print(f"\nseed {played.seed} ({args.alerts} alerts): {len(played.problems)} problems")
            print("\n".join(f"  promise {one}" for one in played.problems[:20]))
            print("\n".join(played.trace))
            print(f"\nplay it again: make sim SEED={played.seed} ALERTS={args.alerts}")
            print(f"once it is mended: add '{played.seed} {args.alerts} …' to tests/sim/seeds.txt")
        elif args.trace:
            print("\n".join(played.trace))
    told = asdict(total) | {"failed_seeds": failed, "seconds": round(time.monotonic() - began, 1)}
    print("  ".join(f"{name} {value}" for name, value in told.items()))
    if args.json:
        about = {"first_seed": args.seeds.start, "alerts_per_seed": args.alerts}
        Path(args.json).write_text(json.dumps(about | told, indent=2) + "\n")
    return 1 if failed else 0


def _played(args: argparse.Namespace) -> Iterator[Played]:
    one = partial(play, alerts=args.alerts, whole=args.trace)
    if args.jobs == 1:
        yield from map(one, args.seeds)
        return
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(one, args.seeds)


def _bugs(args: argparse.Namespace) -> int:
    found: dict[str, int] = {}
    for name in args.bugs.split(",") if args.bugs != "all" else BUGS:
        found[name], as_what = caught_by(name, len(args.seeds), args.alerts)
        told = f"caught by seed {found[name] - 1}: promise {as_what}" if found[name] else "NOT CAUGHT"
        print(f"{name:24} {told[:120]}", flush=True)
    missed = [name for name, seeds in found.items() if not seeds]
    print(f"{len(found) - len(missed)} of {len(found)} planted bugs caught")
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=2) + "\n")
    return 1 if missed else 0


def main() -> int:
    """As the Makefile asks."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=_numbers, default=range(200), help="one, or a range such as 0-199")
    parser.add_argument("--alerts", type=int, default=250, help="troubles in each seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    parser.add_argument("--trace", action="store_true", help="print all that happened")
    parser.add_argument("--json", help="write the table there, too")
    parser.add_argument("--bugs", help="plant these (a comma between them, or all) instead")
    args = parser.parse_args()
    return _bugs(args) if args.bugs else _seeds(args)


if __name__ == "__main__":
    sys.exit(main())
