"""Plays seeds, and says what broke: `make sim SEED=7`, `make sim SEEDS=0-199 ALERTS=250`, `make sim-bugs`.

A seed that fails is told as it happened, as far as the runs and alerts go that it is about.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from tests.sim.bugs import BUGS
from tests.sim.playing import Row, caught_by, play

EVERY_S = 20.0
"""So often it is told how far it is."""
One = TypeVar("One")
Other = TypeVar("Other")


def _numbers(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def _seeds(args: argparse.Namespace) -> int:
    began, total, failed = time.monotonic(), Row(), 0
    told_at = began
    each = _each(partial(play, alerts=args.alerts, whole=args.trace), args.seeds, args.jobs)
    for number, played in enumerate(each, 1):
        total += played.row
        if time.monotonic() > told_at + EVERY_S:
            told_at = time.monotonic()
            print(f"{number} of {len(args.seeds)} seeds played", file=sys.stderr, flush=True)
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


def _each(work: Callable[[One], Other], over: Iterable[One], jobs: int) -> Iterator[Other]:
    """In order; here, or in so many processes at once."""
    if jobs == 1:
        yield from map(work, over)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, over)


def _bugs(args: argparse.Namespace) -> int:
    found: dict[str, int] = {}
    names = list(BUGS) if args.bugs == "all" else args.bugs.split(",")
    each = _each(partial(caught_by, seeds=args.seeds, alerts=args.alerts), names, args.jobs)
    for name, (seeds, as_what) in zip(names, each, strict=True):
        found[name] = seeds
        told = f"caught by seed {seeds} of {len(args.seeds)}: promise {as_what}" if seeds else "NOT CAUGHT"
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
