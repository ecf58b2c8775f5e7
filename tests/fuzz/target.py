"""What is fuzzed: a check over bytes, and what to begin with. No engine is known here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

INSTRUMENTED = {
    "webhook": ("remediator.intake",),
    "matchers": ("remediator.core.matching", "remediator.core.selector"),
    "policies": ("remediator.documents", "remediator.policyfiles.loading", "remediator.policyfiles.checks"),
    "clicks": ("remediator.people",),
}
"""Each is a module of `tests.fuzz.targets`; and whose branches an engine that looks is to see."""
NAMES = tuple(INSTRUMENTED)


@dataclass(frozen=True)
class Target:
    """One of them.

    check: raises (an AssertionError, as a rule) where what is promised does not hold for these bytes; says
    whether they were taken: a fuzzer whose every input is refused at the door tries nothing.
    """

    check: Callable[[bytes], bool]
    seeds: Sequence[bytes]
    words: Sequence[bytes]
    """Pieces that mean something there; chance alone would hardly find them."""
    longest: int
    """Bytes of an input."""
    close: Callable[[], None] = lambda: None
    """Gives back what it holds."""


def target_of(name: str) -> Target:
    """Imports what it fuzzes: an engine that instruments must have begun by then."""
    made: Target = import_module(f"tests.fuzz.targets.{name}").target()
    return made
