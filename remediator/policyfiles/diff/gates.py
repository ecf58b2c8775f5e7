"""Gates: who is asked before a step. What counts is whom a step needs in the end, wherever it is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from remediator.core.catalog import Risk
from remediator.core.gate import Need, need
from remediator.core.policy import Case, Policy
from remediator.core.steps import Gate
from remediator.policyfiles.diff.change import Change, Direction, spelled
from remediator.policyfiles.diff.judges import At, Table, elsewhere, fields

Votes = Mapping[str, int]


def _waived(at: At, old: str | None, new: str | None) -> Iterator[Change]:
    if old is not None and new is not None:
        yield Change(at.where, f"waived {old} → {new}", Direction.NEUTRAL)


GATE: Table = {
    "votes": elsewhere,  # by `asked`, for each step that it concerns
    "within": elsewhere,  # likewise, as is the next
    "late": elsewhere,
    "waived": _waived,
}


def written(at: At, old: Gate | None, new: Gate | None) -> Iterator[Change]:
    """Why a gate is waived, where both sides have one."""
    if old is not None and new is not None:
        yield from fields(at.inside("gate"), old, new, GATE)


@dataclass(frozen=True)
class Scene:
    """A case of a policy, and what its steps cost."""

    policy: Policy
    case: Case
    risks: Mapping[str, Risk]

    def need(self, step: str) -> Need | None:
        """What gate a step has here. A step that nobody knows is taken for a destructive one."""
        return need(self.policy, self.case, step, self.risks.get(step, Risk.DESTRUCTIVE), "act")

    def votes(self, step: str) -> Votes:
        """Whom it needs; nobody: empty."""
        needed = self.need(step)
        return dict(sorted(needed.votes.items())) if needed is not None else {}

    def waiver(self, step: str) -> str | None:
        """Why nobody is asked, where the policy says so."""
        gates = (self.case.gate, self.policy.steps[step].gate)
        return next((gate.waived for gate in gates if gate is not None and gate.waived), None)


def asked(at: At, scenes: Iterable[tuple[Scene, Scene]]) -> Iterator[Change]:
    """Whom the steps need in the cases that both sides have. One line for steps that changed alike."""
    told: dict[tuple[str, Direction], dict[str, None]] = {}
    for before, after in scenes:
        for name in after.case.steps:
            for found in judged((before, name), (after, name)) if name in before.case.steps else ():
                told.setdefault(found, {})[name] = None
    for (words, direction), names in told.items():
        yield Change(at.inside(f"steps.{', '.join(names)}").where, words, direction)


def judged(old: tuple[Scene, str], new: tuple[Scene, str]) -> Iterator[tuple[str, Direction]]:
    """What became of a step's gate, in words: two steps, each in a case."""
    (before, was), (after, now) = old, new
    needed, needs = before.need(was), after.need(now)
    asked, asks = before.votes(was), after.votes(now)
    if asked != asks:
        looser, tighter = _covers(asked, asks), _covers(asks, asked)
        direction = Direction.LOOSENED if looser else Direction.TIGHTENED if tighter else Direction.UNCLEAR
        yield _in_words(asked, asks), direction
    elif before.waiver(was) != after.waiver(now):
        words = f"gate waived: {spelled(before.waiver(was))} → {spelled(after.waiver(now))}"
        yield words, Direction.NEUTRAL
    if needed is not None and needs is not None and needed.within != needs.within:
        words = f"gate within {spelled(needed.within)} → {spelled(needs.within)}"
        longer = needs.within > needed.within  # people agree to what they saw longer ago
        yield words, Direction.LOOSENED if longer else Direction.TIGHTENED
    if needed is not None and needs is not None and needed.late != needs.late:
        silent = needs.late == "deny"  # denied in silence: nobody is told that nobody came
        words = f"gate late {needed.late} → {needs.late}"
        yield words, Direction.LOOSENED if silent else Direction.TIGHTENED


def _covers(strong: Votes, weak: Votes) -> bool:
    """Does the one ask everybody whom the other asks?"""
    return all(strong.get(role, 0) >= count for role, count in weak.items())


def _in_words(was: Votes, now: Votes) -> str:
    """Who is asked no longer, and who is besides."""
    if not now:
        return f"gate removed (was {_listed(was)})"
    if not was:
        return f"gate added: {_listed(now)}"
    told = [f"lost {role}" for role in was if role not in now]
    told += [f"also asks {role}: {count}" for role, count in now.items() if role not in was]
    told += [
        f"asks {count} of {role} instead of {was[role]}"
        for role, count in now.items()
        if was.get(role, count) != count
    ]
    return "gate " + ", ".join(told)


def _listed(votes: Votes) -> str:
    return ", ".join(f"{role}: {count}" for role, count in votes.items()) or "nobody"
