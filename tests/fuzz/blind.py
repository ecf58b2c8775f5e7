"""The engine that does not look: mutations of the seeds. For machines that atheris is not made for."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from types import FrameType

from tests.fuzz.mutation import mutated
from tests.fuzz.target import Target

LONGEST_S = 5
"""Seconds that one input may take."""


@dataclass(frozen=True)
class Failure:
    """An input for which something did not hold, and what."""

    data: bytes
    told: str


def inputs(target: Target, seed: int) -> Iterator[bytes]:
    """First the seeds, then without end."""
    yield from target.seeds
    chance = Random(seed)
    while True:
        yield mutated(chance.choice(target.seeds), target, chance)


def search(target: Target, executions: int, seed: int) -> Failure | None:
    """The first failure in so many executions beyond the seeds."""
    for data, _ in zip(inputs(target, seed), range(len(target.seeds) + executions), strict=False):
        if failure := tried(target, data):
            return failure
    return None


def tried(target: Target, data: bytes) -> Failure | None:
    """What fails with these bytes."""
    try:
        with _in_time():
            target.check(data)
    except Exception:  # noqa: BLE001 - whatever escapes is what is looked for
        return Failure(data, traceback.format_exc())
    return None


@contextmanager
def _in_time() -> Iterator[None]:
    def late(_signal: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"one input takes more than {LONGEST_S} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
