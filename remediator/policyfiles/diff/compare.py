"""Two sets of policies side by side: which came, went, were renamed or changed, and which need a note."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from remediator.core.catalog import Catalog, Risk
from remediator.core.policy import Gate, Policy
from remediator.policyfiles.diff.change import Change, Direction, spelled
from remediator.policyfiles.diff.policy import compare, known_to_both
from remediator.policyfiles.safety import step_risks
from remediator.policyfiles.uses import Look

ALIKE = 3
"""Parts that two policies of other names must share to be taken for one that was renamed."""
PARTS = ("match", "watch", "target", "params", "bounds", "diagnose", "decide", "steps")


@dataclass(frozen=True)
class Written:
    """A policy and the file that it stands in."""

    policy: Policy
    file: str = ""


@dataclass(frozen=True)
class Side:
    """One of two sets. ``unreadable``: file → why what stood there could not be read."""

    policies: Mapping[str, Written]
    catalog: Catalog
    unreadable: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PolicyChange:
    """What became of one policy. ``note``: why it may be looser; ``fresh``: written in this change."""

    name: str
    kind: Literal["added", "removed", "renamed", "changed"]
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
    def note_is_idle(self) -> bool:
        """Does a note stand there that this change does not need?"""
        return bool(self.note) and not self.worst.needs_note


@dataclass(frozen=True)
class Difference:
    """Everything that changed. ``settings``: of the config, with the note that stands there."""

    policies: tuple[PolicyChange, ...]
    settings: PolicyChange | None = None
    unreadable: Mapping[str, str] = field(default_factory=dict)

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
    catalog = known_to_both(base.catalog, head.catalog)
    pairs = {name: name for name in head.policies if name in base.policies}
    pairs |= _renamed(base, head)
    found = []
    for name, written in sorted(head.policies.items()):
        if name not in pairs:
            found.append(_added(written, head.catalog, base.unreadable))
        elif change := _changed(base.policies[pairs[name]].policy, written, catalog):
            found.append(change)
    gone = sorted(base.policies.keys() - pairs.values())
    found += [_removed(base.policies[name]) for name in gone]
    return Difference(tuple(found), unreadable=base.unreadable)


def _changed(old: Policy, new: Written, catalog: Catalog) -> PolicyChange | None:
    changes = compare(old, new.policy, catalog)
    note = new.policy.allow_loosening or ""
    fresh = bool(note) and note != old.allow_loosening
    if old.name != new.policy.name:
        words = f"renamed from {old.name}: its counters, halts and breaker start anew"
        renamed = (Change("", words, Direction.ACTS), *changes)
        ordered = tuple(sorted(renamed, key=lambda one: one.direction))
        return PolicyChange(new.policy.name, "renamed", ordered, new.file, old.name, note, fresh)
    if changes or fresh:
        return PolicyChange(new.policy.name, "changed", changes, new.file, "", note, fresh)
    return None


def _added(written: Written, catalog: Catalog, unreadable: Mapping[str, str]) -> PolicyChange:
    policy = written.policy
    risks = step_risks(Look(policy, catalog))
    does = [f"{name} ({risks.get(name, 'unknown')})" for name in policy.steps]
    words = [Change("", f"new, in mode {policy.mode}, on {policy.target.text}", Direction.ACTS)]
    words += [Change("", f"may do {', '.join(does)}", Direction.ACTS)] * bool(does)
    words += [
        Change(f"steps.{name}", f"gate waived: {gate.waived}", Direction.ACTS)
        for name, gate in _waivers(policy)
        if risks.get(name) is not Risk.SAFE
    ]
    if unreadable:  # it may have stood there
        why = "; ".join(unreadable.values())
        words.insert(0, Change("", f"may not be new, and cannot be compared: {why}", Direction.UNCLEAR))
    note = policy.allow_loosening or ""
    return PolicyChange(policy.name, "added", tuple(words), written.file, note=note, fresh=bool(note))


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
