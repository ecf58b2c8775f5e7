"""One fuzzer as a process of its own: ``python -m tests.fuzz.child '{…}'``, an `Order` as JSON.

libFuzzer ends its process whatever comes of it, so that nobody fuzzes in their own. What was done is told
in ``told.json``; an input for which something did not hold is left in ``found``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Literal, NoReturn

import msgspec
import pytest

from tests.fuzz import blind
from tests.fuzz.mutation import mutated
from tests.fuzz.target import INSTRUMENTED, Target, target_of

MOST_MB = 1024
"""Of memory, for the whole process."""
FOUND = 77
"""The exit status, as libFuzzer has it."""

Engine = Literal["atheris", "blind"]
HERE: Engine = "atheris" if importlib.util.find_spec("atheris") else "blind"
"""What this machine has. There are wheels of atheris for Linux on x86-64 alone."""


class Order(msgspec.Struct, frozen=True):
    """What to do. Ends after so many executions beyond the seeds, or seconds, whichever is first.

    least: executions beyond the seeds that are made however slow the machine is.
    """

    target: str
    folder: str
    seconds: float
    executions: int
    seed: int
    engine: Engine = HERE
    least: int = 0
    every: int = 1
    """Of so many seeds one is taken."""
    bug: str = ""
    """A planted one; see `tests.fuzz.bugs`."""


@dataclass
class Ledger:
    """Counts, and ends the process when it has done enough."""

    order: Order
    target: Target
    began: float
    executions: int = 0
    taken: int = 0

    def check(self, data: bytes) -> bool:
        """One execution."""
        if self.executions >= len(self.target.seeds) and self._over():
            self._end()
        taken = self.target.check(data)
        self.taken += taken
        self.executions += 1
        return taken

    def _over(self) -> bool:
        beyond = self.executions - len(self.target.seeds)
        late = time.monotonic() - self.began >= self.order.seconds
        return beyond >= self.order.executions or (late and beyond >= self.order.least)

    def _end(self) -> NoReturn:
        told = {
            "executions": self.executions,
            "taken": self.taken,
            "seconds": round(time.monotonic() - self.began, 2),
        }
        Path(self.order.folder, "told.json").write_text(json.dumps(told))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def main(order: Order) -> NoReturn:
    """Never returns."""
    logging.disable()  # there are thousands of refusals each second
    with ExitStack() as prepared:
        if order.engine == "atheris":
            import atheris

            prepared.enter_context(atheris.instrument_imports(include=[*INSTRUMENTED[order.target]]))
        whole = target_of(order.target)
    target = replace(whole, seeds=whole.seeds[:: order.every])
    if order.bug:
        from tests.fuzz.bugs import BUGS

        BUGS[order.bug].plant(pytest.MonkeyPatch())
    ledger = Ledger(order, target, time.monotonic())
    if order.engine == "atheris":
        guided(ledger)
    unguided(ledger)


def guided(ledger: Ledger) -> NoReturn:
    """By libFuzzer: what reaches new code is kept, and changed further."""
    import atheris

    folder, target = Path(ledger.order.folder), ledger.target
    (folder / "seeds").mkdir(exist_ok=True)
    for number, data in enumerate(target.seeds):
        (folder / "seeds" / f"{number:04}").write_bytes(data)
    (folder / "words").write_text("".join(f'"{_spelled(word)}"\n' for word in target.words))

    def changed(data: bytes, most: int, seed: int) -> bytes:
        chance = Random(seed)
        match chance.randrange(4):
            case 0:
                return bytes(atheris.Mutate(data, most))
            case 1:
                return mutated(data, target, chance)[:most]
        return mutated(chance.choice(target.seeds), target, chance)[:most]  # most of what is new is refused

    options = [
        f"-dict={folder / 'words'}",
        f"-artifact_prefix={folder / 'found'}/",
        f"-max_len={target.longest}",
        "-len_control=0",  # not short ones first: the seeds are long, and would be cut
        f"-timeout={blind.LONGEST_S}",
        f"-rss_limit_mb={MOST_MB}",
        f"-seed={ledger.order.seed or 1}",  # libFuzzer takes 0 for: any
        "-mutate_depth=2",  # changes upon changes are hardly ever taken
        "-print_final_stats=1",
        str(folder / "corpus"),
        str(folder / "seeds"),
    ]
    atheris.Setup([sys.argv[0], *options], ledger.check, custom_mutator=changed)
    atheris.Fuzz()
    raise AssertionError("libFuzzer has returned")


def _spelled(word: bytes) -> str:
    """As a dictionary of libFuzzer has it."""
    return "".join(f"\\x{byte:02x}" for byte in word)


def unguided(ledger: Ledger) -> NoReturn:
    """By chance alone."""
    counted = replace(ledger.target, check=ledger.check)
    for data in blind.inputs(ledger.target, ledger.order.seed):
        if failure := blind.tried(counted, data):
            name = f"crash-{hashlib.sha1(data, usedforsecurity=False).hexdigest()}"
            Path(ledger.order.folder, "found", name).write_bytes(data)
            print(failure.told)
            sys.exit(FOUND)
    raise AssertionError("there are always more inputs")


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Order))
