"""Gates: who is asked before a step. What counts is whom a step needs in the end, wherever it is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from remediator.core.catalog import Risk
from remediator.core.gate import need
from remediator.core.policy import Case, Policy
from remediator.core.steps import Gate
from remediator.policyfiles.diff.change import Change, Direction, spelled
from remediator.policyfiles.diff.judges import At, Table, elsewhere, fields, neutral, scale

Votes = Mapping[str, int]


def _waived(at: At, old: str | None, new: str | None) -> Iterator[Change]:
    if old is not None and new is not None:
        yield Change(at.where, f"waived {old} → {new}", Direction.NEUTRAL)


GATE: Table = {
    "votes": elsewhere,  # by `asked`, for each step that it concerns
    "within": neutral("within"),
    "late": scale("late", "page", "deny"),  # denied in silence: nobody is told that nobody came
    "waived": _waived,
}


def written(at: At, old: Gate | None, new: Gate | None) -> Iterator[Change]:
    """How long a gate waits and what its end does, where both sides have one."""
    if old is not None and new is not None:
        yield from fields(at.inside("gate"), old, new, GATE)


@dataclass(frozen=True)
class Scene:
    """A case of a policy, and what its steps cost."""

    policy: Policy
    case: Case
    risks: Mapping[str, Risk]

    def votes(self, step: str) -> Votes:
        """Whom a step needs here; nobody: empty. A step that nobody knows is taken for a destructive one."""
        needed = need(self.policy, self.case, step, self.risks.get(step, Risk.DESTRUCTIVE), "act")
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
            if name in before.case.steps and (found := _judged(before, after, name)):
                told.setdefault(found, {})[name] = None
    for (words, direction), names in told.items():
        yield Change(at.inside(f"steps.{', '.join(names)}").where, words, direction)


def _judged(before: Scene, after: Scene, step: str) -> tuple[str, Direction] | None:
    was, now = before.votes(step), after.votes(step)
    if was != now:
        looser, tighter = covers(was, now), covers(now, was)
        direction = Direction.LOOSENED if looser else Direction.TIGHTENED if tighter else Direction.UNCLEAR
        return in_words(was, now), direction
    if before.waiver(step) != after.waiver(step):
        words = f"gate waived: {spelled(before.waiver(step))} → {spelled(after.waiver(step))}"
        return words, Direction.NEUTRAL
    return None


def covers(strong: Votes, weak: Votes) -> bool:
    """Does the one ask everybody whom the other asks?"""
    return all(strong.get(role, 0) >= count for role, count in weak.items())


def in_words(was: Votes, now: Votes) -> str:
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
