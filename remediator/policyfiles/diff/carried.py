"""What a step loses that now stands in another policy: splitting one must not wash off its safeguards."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from remediator.core.catalog import Catalog, Risk
from remediator.core.policy import Policy
from remediator.core.steps import Step
from remediator.policyfiles.diff.bounds import BOUNDS
from remediator.policyfiles.diff.change import Change, Direction
from remediator.policyfiles.diff.gates import Scene, Votes, covers, in_words
from remediator.policyfiles.diff.judges import At, part, scale
from remediator.policyfiles.diff.moved import what
from remediator.policyfiles.diff.proofs import proof, undo

_TABLE = re.compile(r"\b(?:update|into|from)\s+(?:only\s+)?(?:[\w\"]+\.)?\"?(\w+)", re.IGNORECASE)
_MODE = scale("mode", "observe", "suggest", "act")
_BOUNDS = part("bounds", BOUNDS)


@dataclass(frozen=True)
class Placed:
    """A step in its policy. ``risks``: of all steps there."""

    policy: Policy
    name: str
    risks: Mapping[str, Risk]

    @property
    def step(self) -> Step:
        """Its text."""
        return self.policy.steps[self.name]

    @cached_property
    def does(self) -> tuple[str, ...]:
        """What it does, wherever: of SQL, the table that it changes."""
        if "sql" in self.step.with_ and (found := _TABLE.search(str(self.step.with_["sql"]))):
            return self.step.use, "sql", found[1].lower()
        return what(self.step)

    @property
    def votes(self) -> list[Votes]:
        """Whom it needs, in each case that names it."""
        cases = (case for case in self.policy.decide if self.name in case.steps)
        return [Scene(self.policy, case, self.risks).votes(self.name) for case in cases]


def lost(new: Placed, olds: Iterable[Placed], catalogs: tuple[Catalog, Catalog]) -> tuple[Change, ...]:
    """The safeguards that it had where it stood before, and has no more; of several places, the nearest."""
    if new.policy.mode == "observe":
        return ()
    same = (old for old in olds if _same(old, new, catalogs[0]))
    return min((tuple(_lost(old, new, catalogs)) for old in same), key=len, default=())


def _same(old: Placed, new: Placed, before: Catalog) -> bool:
    """Do they do the same, on a connection of the same name or of a new one?"""
    elsewhere = old.step.via != new.step.via and new.step.via in before.connections
    return not elsewhere and old.does == new.does


def _lost(old: Placed, new: Placed, catalogs: tuple[Catalog, Catalog]) -> Iterator[Change]:
    at = At(f"steps.{new.name}", old.policy, new.policy, *catalogs)
    was = old.policy.name
    for change in _judged(at, old, new):
        if change.direction.needs_note:
            yield replace(change, words=f"stood in {was} before, and {change.words}")


def _judged(at: At, old: Placed, new: Placed) -> Iterator[Change]:
    asked = old.votes
    for votes in {str(one): one for one in new.votes}.values():
        if asked and not any(covers(votes, one) for one in asked):
            yield Change(at.where, in_words(asked[0], votes), Direction.LOOSENED)
    if old.step.verify != new.step.verify:
        yield from proof(at, old.step.verify, new.step.verify)
    if old.step.undo != new.step.undo:
        yield from undo(at, old.step.undo, new.step.undo)
    if old.policy.mode != new.policy.mode:
        yield from _MODE(at, old.policy.mode, new.policy.mode)
    if new.risks.get(new.name) is not Risk.SAFE and old.policy.bounds != new.policy.bounds:
        yield from _BOUNDS(at, old.policy.bounds, new.policy.bounds)
