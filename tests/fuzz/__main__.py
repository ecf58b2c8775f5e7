"""``python -m tests.fuzz``: fuzz for a time, or see again what was found."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz import api
from tests.fuzz.child import HERE, Engine, Order
from tests.fuzz.outcome import Outcome
from tests.fuzz.running import fuzz
from tests.fuzz.target import NAMES, target_of

NO_END = 2**62


def main() -> int:
    """0 when everything held, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    every = (*NAMES, api.NAME)
    parser.add_argument("targets", nargs="*", choices=(*every, []), metavar="TARGET", help=", ".join(every))
    parser.add_argument("--seconds", type=float, default=30, help="for each (30)")
    parser.add_argument("--minutes", type=float, help="for each, instead of seconds")
    parser.add_argument("--seed", type=int, default=0, help="of chance; by default another each time")
    parser.add_argument("--jobs", type=int, default=1, help="so many at once (1)")
    parser.add_argument("--engine", choices=("atheris", "blind"), default=HERE, help=f"({HERE})")
    parser.add_argument(
        "--folder", type=Path, default=Path(".fuzz"), help="where what is learnt and found is kept (.fuzz)"
    )
    parser.add_argument("--replay", type=Path, help="run the target with this file alone, in this process")
    given = parser.parse_args()
    targets = given.targets or every
    if given.replay is not None:
        if len(targets) != 1 or targets[0] not in NAMES:
            parser.error(f"--replay needs one target: {', '.join(NAMES)}")
        return replay(targets[0], given.replay)
    seconds = given.seconds if given.minutes is None else given.minutes * 60
    seed = given.seed or int.from_bytes(os.urandom(4)) >> 1

    def one(name: str) -> Outcome:
        return one_of(name, given.folder.resolve(), seconds, seed, given.engine)

    print(f"seed {seed}", flush=True)
    failed = False
    with ThreadPoolExecutor(given.jobs) as pool:
        for outcome in pool.map(one, targets):
            print(outcome, flush=True)
            failed = failed or bool(outcome.problem)
    return 1 if failed else 0


def one_of(name: str, folder: Path, seconds: float, seed: int, engine: Engine) -> Outcome:
    """Fuzz one thing."""
    if name == api.NAME:
        return api.run(seconds=seconds, examples=api.EXAMPLES, seed=seed)
    order = Order(
        target=name,
        folder=str(folder / name),
        seconds=seconds,
        executions=NO_END,
        seed=seed,
        engine=engine,
    )
    return fuzz(order)


def replay(name: str, file: Path) -> int:
    """One input, with the whole traceback."""
    try:
        taken = target_of(name).check(file.read_bytes())
    except Exception:  # noqa: BLE001 - it is shown
        traceback.print_exc()
        return 1
    print(f"it holds: {'taken' if taken else 'refused'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
