"""``make soak MINUTES=…``: storm after storm, beside it the simulation; then one table, and it as JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from subprocess import PIPE
from typing import Any

from tests.faults.failpoints import walk
from tests.faults.storm import Plan, Report, storm
from tests.rig.postgres import Server, running_postgres
from tests.rig.slack import FakeSlack, running_slack


def plan_of(seed: int, lasts: float) -> Plan:
    """A longer and harder storm than the one of every day; which, is a matter of the seed."""
    rng = Random(seed)
    return Plan(
        seed,
        lasts=lasts,
        kills=round(lasts / rng.uniform(1.2, 3.0)),
        freezes=rng.randint(1, 2),
        frozen=(10.0, 30.0),
        restarts=rng.randint(1, 4),
        promotions=rng.choice((0, 1, 1)),
        cuts=rng.randint(1, 4),
        stops=rng.randint(1, 3),
    )


def main() -> int:
    """0 when nothing was broken, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long; what runs then is played out")
    parser.add_argument("--seed", type=int, default=1, help="of the first storm; the next has the next")
    parser.add_argument("--lasts", type=float, default=45.0, help="seconds of faults in one storm")
    parser.add_argument("--sim", type=int, metavar="SEED", help="simulate beside it, from this seed on")
    parser.add_argument("--json", type=Path, help="where the numbers go, beside the table")
    parser.add_argument(
        "--failpoints", action="store_true", help="instead: SIGKILL at each COMMIT and request"
    )
    given = parser.parse_args()
    if given.failpoints:
        with running_postgres() as server, running_slack() as slack:
            return asyncio.run(failpoints(server, slack))
    until = time.monotonic() + given.minutes * 60
    with ThreadPoolExecutor(1) as beside:
        simulating = beside.submit(simulate, given.sim, until) if given.sim is not None else None
        reports = storms(given.seed, given.lasts, until)
        simulated = simulating.result() if simulating is not None else Counter()
    total = Counter[str]()
    for one in reports:
        total.update({name: getattr(one, name) for name in Report.columns()})
    print(table(reports, total, simulated))
    if given.json is not None:
        given.json.write_text(json.dumps(record(reports, total, simulated), indent=1) + "\n")
    return 1 if simulated["failed_seeds"] or any(one.problems for one in reports) else 0


def storms(seed: int, lasts: float, until: float) -> list[Report]:
    """One after the other."""
    reports: list[Report] = []
    with running_postgres() as loyalty, running_slack() as slack:
        while time.monotonic() < until:
            with running_postgres() as mortal:
                plan = plan_of(seed + len(reports), lasts)
                try:
                    reports.append(asyncio.run(storm(plan, mortal, loyalty, slack)))
                except TimeoutError:
                    unjudged = "it was not over in time, and is not judged: is the machine busy?"
                    reports.append(Report(plan.seed, problems=[unjudged]))
            print(json.dumps(asdict(reports[-1])), file=sys.stderr, flush=True)
    return reports


async def failpoints(server: Server, slack: FakeSlack) -> int:
    """The whole matrix; 1 when something was broken."""
    reached, broken = Counter[str](), 0
    async for point, came in walk(2, server, server, slack):
        reached[f"{point.store}, {point.act}: {point.moment}"] += came.reached
        broken += bool(came.problems)
        print("\n".join(came.problems) or f"{point}: {'whole' if came.reached else 'beyond'}", flush=True)
    for kind, count in sorted(reached.items()):
        print(f"{count:5}  {kind}")
    print(f"{reached.total()} points, {broken} broken")
    return 1 if broken else 0


SEEDS_AT_ONCE = 10


def simulate(first: int, until: float) -> Counter[str]:
    """Seeds in virtual time, in a process of their own, until the time is over."""
    total = Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "sim.json"
        while time.monotonic() < until:
            seed = first + total["seeds"]
            seeds = ("--seeds", f"{seed}-{seed + SEEDS_AT_ONCE - 1}", "--json", str(told))
            run = subprocess.run(
                [sys.executable, "-m", "tests.sim", *seeds], text=True, stdout=PIPE, check=False
            )
            if run.returncode:
                print(run.stdout, file=sys.stderr, flush=True)
            if run.returncode not in (0, 1):
                total["failed_seeds"] += SEEDS_AT_ONCE
                break
            one = json.loads(told.read_text())
            total.update({name: value for name, value in one.items() if name != "first_seed"})
    return total


def table(reports: list[Report], total: Counter[str], simulated: Counter[str]) -> str:
    """For people: all storms together, all seeds together, and what was broken."""
    names = dict.fromkeys([*Report.columns(), *simulated])
    width = max(map(len, names))
    lines = [f"{'':{width}}  {'real':>9}  {'simulated':>9}", f"{'storms':{width}}  {len(reports):9}"]
    lines += [f"{name:{width}}  {total.get(name, ''):9}  {simulated.get(name, ''):9}" for name in names]
    lines += [f"storm {one.seed}: {problem}" for one in reports for problem in one.problems]
    return "\n".join(lines)


def record(reports: list[Report], total: Counter[str], simulated: Counter[str]) -> dict[str, Any]:
    """The same, with where and when."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], stdout=PIPE, text=True, check=False)
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "commit": commit.stdout.strip(),
        "storm_seeds": [reports[0].seed, reports[-1].seed],
        "real": dict(total),
        "simulated": dict(simulated),
        "storms": [asdict(one) for one in reports],
    }


if __name__ == "__main__":
    sys.exit(main())
