"""Two sets of policies side by side: which came, went, were renamed or changed, and which need a note."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from remediator.core.catalog import Catalog, Risk
from remediator.core.policy import Policy
from remediator.core.steps import Gate
from remediator.policyfiles.checks.safety import step_risks
from remediator.policyfiles.checks.uses import Look
from remediator.policyfiles.diff.carried import Placed, lost
from remediator.policyfiles.diff.change import Change, Direction, spelled
from remediator.policyfiles.diff.moved import renamed
from remediator.policyfiles.diff.note import SHORTEST, is_fresh, said
from remediator.policyfiles.diff.policy import compare

ALIKE = 3
"""Parts that two policies of other names must share to be taken for one that was renamed."""
PARTS = ("match", "watch", "target", "params", "bounds", "diagnose", "decide", "steps")


Kind = Literal["added", "removed", "renamed", "changed"]


@dataclass(frozen=True)
class Written:
    """A policy and the file that it stands in."""

    policy: Policy
    file: str = ""


@dataclass(frozen=True)
class Side:
    """One of two sets. ``unreadable``: file → why what stood there could not be read.

    ``notes``: those of former states, settings included, that this set does not show any more.
    """

    policies: Mapping[str, Written]
    catalog: Catalog
    unreadable: Mapping[str, str] = field(default_factory=dict)
    notes: frozenset[str] = frozenset()

    @cached_property
    def said(self) -> frozenset[str]:
        """What the notes say that stand or stood here."""
        written = (one.policy.allow_loosening for one in self.policies.values())
        return frozenset(map(said, (*written, *self.notes)))


@dataclass(frozen=True)
class PolicyChange:
    """What became of one policy. ``note``: why it may be looser; ``fresh``: written in this change."""

    name: str
    kind: Kind
    changes: tuple[Change, ...]
    file: str = ""
    was: str = ""
    note: str = ""
    fresh: bool = False

    @property
    def worst(self) -> Direction:
        """The direction that needs eyes first."""
        return min((change.direction for change in self.changes), default=Direction.NEUTRAL)

    @property
    def unexplained(self) -> bool:
        """Is it looser, and does nobody say why?"""
        return self.worst.needs_note and not self.fresh

    @property
    def note_is_short(self) -> bool:
        """Does the note say too little to count?"""
        return bool(self.note) and len(said(self.note)) < SHORTEST

    @property
    def note_is_idle(self) -> bool:
        """Does a note stand there that this change does not need?"""
        return bool(self.note) and not self.worst.needs_note


@dataclass(frozen=True)
class Difference:
    """Everything that changed. ``settings``: of the config, with the note that stands there.

    ``untold``: what was not compared at all, and why.
    """

    policies: tuple[PolicyChange, ...]
    settings: PolicyChange | None = None
    unreadable: Mapping[str, str] = field(default_factory=dict)
    untold: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[PolicyChange, ...]:
        """The policies and the settings, what needs eyes first."""
        both = [*([self.settings] if self.settings else []), *self.policies]
        return tuple(sorted(both, key=lambda one: (not one.unexplained, one.worst, one.kind != "added")))

    @property
    def loosened(self) -> bool:
        """Is anything looser, with nobody to say why?"""
        return any(one.unexplained for one in self.all)


def difference(base: Side, head: Side) -> Difference:
    """What changed from the one set to the other."""
    pairs = {name: name for name in head.policies if name in base.policies}
    pairs |= _renamed(base, head)
    sides = _Sides(base, head)
    found = []
    for name, written in sorted(head.policies.items()):
        if name not in pairs:
            found.append(_added(written, sides))
        elif change := _changed(base.policies[pairs[name]].policy, written, sides):
            found.append(change)
    gone = sorted(base.policies.keys() - pairs.values())
    found += [_removed(base.policies[name]) for name in gone]
    return Difference(tuple(found), unreadable=base.unreadable)


@dataclass(frozen=True)
class _Sides:
    """Both sets, and what is asked of them for each policy."""

    base: Side
    head: Side

    def lost(self, policy: Policy, names: Iterable[str], was: str = "") -> Iterator[Change]:
        """What these new steps lost that stood elsewhere, or under another name, before."""
        risks = step_risks(Look(policy, self.head.catalog))
        news = [Placed(policy, name, risks) for name in names]
        yield from lost(news, self.touched if news else (), (self.base.catalog, self.head.catalog), was)

    @cached_property
    def touched(self) -> list[Placed]:
        """Every step of the policies that do not mean what they meant."""
        found = []
        for name, written in self.base.policies.items():
            if self._means_another(name, written.policy):
                risks = step_risks(Look(written.policy, self.base.catalog))
                found += [Placed(written.policy, step, risks) for step in written.policy.steps]
        return found

    def _means_another(self, name: str, policy: Policy) -> bool:
        now = self.head.policies.get(name)
        if now is None or now.policy == policy:
            return now is None
        changes = compare(policy, now.policy, (self.base.catalog, self.head.catalog))
        return any(one.direction is not Direction.NEUTRAL for one in changes)


def _changed(old: Policy, new: Written, sides: _Sides) -> PolicyChange | None:
    catalogs = sides.base.catalog, sides.head.catalog
    changes = compare(old, new.policy, catalogs)
    known = {*old.steps, *renamed(old, new.policy, step_risks(Look(new.policy, catalogs[1]))).values()}
    came = [name for name in new.policy.steps if name not in known]
    changes = (*changes, *sides.lost(new.policy, came, old.name))
    note = new.policy.allow_loosening or ""
    fresh = is_fresh(note, sides.base.said)
    words = f"renamed from {old.name}: its counters, halts and breaker start anew"
    other = old.name != new.policy.name
    told = [*[Change("", words, Direction.ACTS)] * other, *changes]
    if not told and note in ("", old.allow_loosening):
        return None
    ordered = tuple(sorted(told, key=lambda one: one.direction))
    kind: Kind = "renamed" if other else "changed"
    return PolicyChange(new.policy.name, kind, ordered, new.file, old.name * other, note, fresh)


def _added(written: Written, sides: _Sides) -> PolicyChange:
    policy = written.policy
    risks = step_risks(Look(policy, sides.head.catalog))
    does = [f"{name} ({risks.get(name, 'unknown')})" for name in policy.steps]
    words = [Change("", f"new, in mode {policy.mode}, on {policy.target.text}", Direction.ACTS)]
    words += [Change("", f"may do {', '.join(does)}", Direction.ACTS)] * bool(does)
    for name, gate in _waivers(policy):
        risk = risks.get(name, Risk.DESTRUCTIVE)
        alone = risk is Risk.DESTRUCTIVE and policy.mode == "act"
        if risk is not Risk.SAFE:
            waived = (
                f"gate waived: {gate.waived}" if not alone else f"destructive, gate waived: {gate.waived}"
            )
            words.append(Change(f"steps.{name}", waived, Direction.LOOSENED if alone else Direction.ACTS))
    words += sides.lost(policy, policy.steps)
    if sides.base.unreadable:  # it may have stood there
        why = "; ".join(sides.base.unreadable.values())
        words.append(Change("", f"may not be new, and cannot be compared: {why}", Direction.UNCLEAR))
    note = policy.allow_loosening or ""
    ordered = tuple(sorted(words, key=lambda one: one.direction))
    fresh = is_fresh(note, sides.base.said)
    return PolicyChange(policy.name, "added", ordered, written.file, note=note, fresh=fresh)


def _waivers(policy: Policy) -> Iterator[tuple[str, Gate]]:
    for name, step in policy.steps.items():
        cases = [case.gate for case in policy.decide if name in case.steps]
        for gate in [step.gate, *cases]:
            if gate is not None and gate.waived:
                yield name, gate


def _removed(written: Written) -> PolicyChange:
    words = f"removed (was in mode {written.policy.mode}): nothing is done about its alerts any more"
    return PolicyChange(written.policy.name, "removed", (Change("", words, Direction.ACTS),), written.file)


def _renamed(base: Side, head: Side) -> dict[str, str]:
    """New name → old name, the most alike first. A renamed policy must not pass for a new one."""
    gone = base.policies.keys() - head.policies.keys()
    came = head.policies.keys() - base.policies.keys()
    scored = sorted(
        ((_alike(base.policies[old], head.policies[new]), new, old) for old in gone for new in came),
        key=lambda one: (-one[0], one[1:]),
    )
    pairs: dict[str, str] = {}
    for score, new, old in scored:
        if score >= ALIKE and new not in pairs and old not in pairs.values():
            pairs[new] = old
    return pairs


def _alike(old: Written, new: Written) -> int:
    """How many parts they share, of those that are written; the same file counts as two."""
    shared = sum(
        spelled(getattr(old.policy, part)) == spelled(getattr(new.policy, part))
        for part in PARTS
        if part in old.policy.model_fields_set
    )
    return shared + 2 * bool(old.file and old.file == new.file)
