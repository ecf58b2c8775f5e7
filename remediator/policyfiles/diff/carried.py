"""What steps lose that stand in another policy now: splitting one must not wash off its safeguards.

A step is judged against the one that did the same before, by the judges of a change in place; so is what
stands in front of it: what opens a run, what bounds it, and what is asked before anything is done.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from remediator.core.catalog import Catalog, Risk
from remediator.core.policy import Policy
from remediator.core.steps import Step
from remediator.policyfiles.diff.change import Change, Direction
from remediator.policyfiles.diff.deciding import condition, doing, earlier
from remediator.policyfiles.diff.gates import Scene, judged
from remediator.policyfiles.diff.judges import At, fields
from remediator.policyfiles.diff.moved import what
from remediator.policyfiles.diff.opening import params
from remediator.policyfiles.diff.policy import POLICY
from remediator.policyfiles.diff.steps import step as row

Catalogs = tuple[Catalog, Catalog]
_TABLE = re.compile(r"\b(?:update|into|from)\s+(?:only\s+)?(?:[\w\"]+\.)?\"?(\w+)", re.IGNORECASE)
_MODE = {"mode": POLICY["mode"]}
_FRONT = {
    name: POLICY[name] for name in ("severity", "match", "watch", "target", "bounds", "diagnose", "page")
}


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
    def scenes(self) -> list[Scene]:
        """The cases that name it."""
        cases = (case for case in self.policy.decide if self.name in case.steps)
        return [Scene(self.policy, case, self.risks) for case in cases]


def lost(news: Iterable[Placed], olds: Iterable[Placed], catalogs: Catalogs, was: str) -> Iterator[Change]:
    """The safeguards that steps of a policy had where they stood before, and have no more.

    Of several places the nearest. ``was``: the policy's own name before, whose front is judged elsewhere.
    """
    olds, told = list(olds), dict[Change, None]()  # what stands in front of several is told once
    for new in news:
        if new.policy.mode != "observe":
            places = (old for old in olds if _same(old, new, catalogs[0]))
            losses = (tuple(_lost(old, new, catalogs, was)) for old in places)
            nearest: tuple[Change, ...] = min(losses, key=len, default=())
            told |= dict.fromkeys(nearest)
    yield from told


def _same(old: Placed, new: Placed, before: Catalog) -> bool:
    """Do they do the same, on a connection of the same name or of a new one?"""
    elsewhere = old.step.via != new.step.via and new.step.via in before.connections
    return not elsewhere and old.does == new.does


def _lost(old: Placed, new: Placed, catalogs: Catalogs, was: str) -> Iterator[Change]:
    at = At("", old.policy, new.policy, *catalogs)
    alone = old.policy.name == was or new.risks.get(new.name) is Risk.SAFE  # what is in front does not count
    here = at.inside(f"steps.{new.name}")
    risks = old.risks.get(old.name), new.risks.get(new.name)
    changes = [*row(here, (old.step, new.step), risks), *_of_cases(here, old, new, alone=alone)]
    if old.policy.name != was:
        changes += fields(at, old.policy, new.policy, _MODE)
    if not alone:
        changes += fields(at, old.policy, new.policy, _FRONT)
        changes += params(at, old.policy.params, new.policy.params)
    for change in changes:
        if change.direction.needs_note:
            yield replace(change, words=f"stood in {old.policy.name} before, and {change.words}")


def _of_cases(at: At, old: Placed, new: Placed, *, alone: bool) -> Iterator[Change]:
    """In each case that names it: against the case of the same condition, else against the nearest."""
    for after in new.scenes:
        same = [before for before in old.scenes if str(before.case.when) == str(after.case.when)]
        told = (
            tuple(_of_case(at, (before, old.name), (after, new.name), alone=alone))
            for before in same or old.scenes
        )
        nearest: tuple[Change, ...] = max(told, key=_worst, default=())
        yield from nearest


def _worst(changes: tuple[Change, ...]) -> Direction:
    return min((one.direction for one in changes), default=Direction.NEUTRAL)


def _of_case(at: At, old: tuple[Scene, str], new: tuple[Scene, str], *, alone: bool) -> Iterator[Change]:
    """Whom it needs there; and unless it is looked at alone, which steps and which cases come before."""
    for words, direction in judged(old, new):
        yield Change(at.where, words, direction)
    if alone:
        return
    before, after = old[0].case, new[0].case
    if before.rungs is not after.rungs:
        yield Change(at.where, f"{doing(before)} → {doing(after)}", Direction.UNCLEAR)
    behind = {_does(new[0], name) for name in earlier(*new)}
    if gone := [name for name in earlier(*old) if _does(old[0], name) not in behind]:
        yield Change(at.where, f"no longer comes after {', '.join(gone)}", Direction.LOOSENED)
    ahead, now = _ahead(old[0]), _ahead(new[0])
    for when, does in ahead.items():
        if when not in now:
            unclear = does != "do nothing" or now.keys() - ahead.keys()
            words = f"no case before it: when {when}, {does}"
            yield Change(at.where, words, Direction.UNCLEAR if unclear else Direction.LOOSENED)


def _does(scene: Scene, name: str) -> tuple[str, ...]:
    return Placed(scene.policy, name, scene.risks).does


def _ahead(scene: Scene) -> dict[str, str]:
    """The cases that are tried before: condition → what they do."""
    cases = scene.policy.decide
    return {condition(case): doing(case) for case in cases[: cases.index(scene.case)]}
