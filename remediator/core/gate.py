"""The approvals that steps need: which gate, whose votes count, and is it satisfied?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from remediator.core.catalog import Risk
from remediator.core.intention import Intention
from remediator.core.policy import Case, Policy
from remediator.core.repeating import items, risk_of_all
from remediator.core.run import Gate, Run, Vote
from remediator.core.steps import base_of

DEFAULT_VOTES = {"oncall": 1}
DEFAULT_PATIENCE = timedelta(minutes=15)
SHORTEST_HASH = 12
"""Characters of a gate's hash that stand for it: a card's button carries its beginning."""


class Need(msgspec.Struct, frozen=True):
    """What has to be agreed before some steps may start."""

    steps: tuple[str, ...]
    votes: Mapping[str, int]  # role → how many distinct people
    within: timedelta
    late: Literal["page", "deny"]
    lists: Mapping[str, list[Any]] = {}  # of repeated steps, as the run keeps them


def need(policy: Policy, case: Case, step: str, risk: Risk, mode: str) -> Need | None:
    """The gate that ``step`` of ``case`` needs, or None.

    A case's gate covers all its steps with one card. In mode suggest every step needs a gate, waived
    or not; where nothing is written, one vote of the on-call.
    """
    if case.gate is not None and case.gate.votes:
        return Need(case.steps, case.gate.votes, case.gate.within, case.gate.late)
    own = policy.steps[step].gate
    if own is not None and own.votes:
        return Need((step,), own.votes, own.within, own.late)
    waived = any(gate is not None and gate.waived for gate in (case.gate, own))
    if mode == "suggest":
        ungated = tuple(name for name in case.steps if not _votes(policy, name))
        return Need(ungated, DEFAULT_VOTES, DEFAULT_PATIENCE, "page")
    if waived or risk is not Risk.DISRUPTIVE:
        return None  # a destructive step must have written one; lint and `choosing` refuse it
    return Need((step,), DEFAULT_VOTES, DEFAULT_PATIENCE, "page")


def needed(run: Run, policy: Policy) -> Need | None:
    """The gate of the step at the cursor, for those that share it and were not started before.

    Items of one list share one gate: what the riskiest of them needs.
    """
    step = run.step
    assert step is not None and run.case is not None
    base, risk = base_of(step.name), risk_of_all(run, step.name)
    wanted = need(policy, policy.decide[run.case], base, risk, run.mode)
    if wanted is None:
        return None
    left = (one.name for name in wanted.steps for one in items(run, name) if not one.attempt)
    lists = {name: run.lists[name] for name in wanted.steps if name in run.lists}
    return msgspec.structs.replace(wanted, steps=tuple(left), lists=lists)


def covers(gate: Gate | None, step: str) -> bool:
    """Was this step agreed to?"""
    return gate is not None and gate.state == "approved" and step in gate.steps


def opens_with(run: Run, step: str) -> bool:
    """Is this the first step under a gate of its own? Then people agreed to what they saw just now."""
    given = next((gate for gate in run.all_gates if covers(gate, step)), None)
    return given is not None and not any(run.steps[name].attempt for name in given.steps if name in run.steps)


def expired(gate: Gate, now: datetime) -> bool:
    """Is it too late for a vote?"""
    return now >= gate.expires_at


def satisfied(
    required: Mapping[str, int], approvers: Sequence[str], roles: Mapping[str, frozenset[str]]
) -> bool:
    """Can distinct people fill every place, each counting for one role only?"""
    return bool(required) and not _empty(required, approvers, roles)


def _empty(
    required: Mapping[str, int], approvers: Sequence[str], roles: Mapping[str, frozenset[str]]
) -> Counter[str]:
    """The places of each role that stay empty when as many as possible are filled.

    A bipartite matching by augmenting paths (Kuhn): places are few, so the plain form is enough.
    """
    places = [role for role, count in required.items() for _ in range(count)]
    seat_of: dict[str, int] = {}

    def seat(place: int, tried: set[str]) -> bool:
        for person in approvers:
            if person in tried or person not in roles.get(places[place], frozenset()):
                continue
            tried.add(person)
            if person not in seat_of or seat(seat_of[person], tried):
                seat_of[person] = place
                return True
        return False

    return Counter(role for place, role in enumerate(places) if not seat(place, set()))


def approvers(gate: Gate) -> list[str]:
    """Distinct people who approved in time, in the order of their votes."""
    return list(dict.fromkeys(vote.by for vote in gate.votes if vote.approve and vote.at < gate.expires_at))


def is_for(vote: Vote, gate: Gate) -> bool:
    """Was it cast on exactly what this gate is about?"""
    return len(vote.hash) >= SHORTEST_HASH and gate.hash.startswith(vote.hash)


def not_open(run: Run, gate_id: str) -> str:
    """Why nobody can vote on this gate any more, or "" when people can."""
    gate = next((one for one in run.all_gates if one.id == gate_id), None)
    if gate is None:
        return "there is no such gate"
    return "" if gate.state == "open" else f"the gate is no longer open: {gate.note or gate.state}"


def objection(run: Run, gate: Gate, vote: Vote, roles: Mapping[str, frozenset[str]], now: datetime) -> str:
    """Why this vote does not count, or "" when it does."""
    if expired(gate, now):
        return "the gate has expired"
    if not is_for(vote, gate):
        return "the plan has changed since that card was shown"
    if not any(vote.by in roles.get(role, frozenset()) for role in gate.required):
        return f"{vote.by} has none of the roles {', '.join(gate.required)}"
    if run.starter == vote.by and vote.approve:
        return f"{vote.by} started this run and may not approve it"
    if vote.approve and any(earlier.by == vote.by for earlier in gate.votes):  # a deny is always the safe way
        return f"{vote.by} has voted already"
    return ""


def not_again(gate: Gate) -> str:
    """Why nobody may have this gate asked again, or "". A denial is final until its cooldown is over.

    So is silence where the policy takes it for one (``late: deny``).
    """
    if gate.state == "expired" and gate.late == "deny":
        return "nobody answered in time, which its policy takes as a denial"
    if gate.state == "expired":
        return ""
    return f"only a gate that expired can be asked again, and this one is {gate.state}"


def missing(gate: Gate, roles: Mapping[str, frozenset[str]]) -> dict[str, int]:
    """How many places of each role are still open; for people's eyes."""
    return dict(_empty(gate.required, approvers(gate), roles))


def terms(run: Run, wanted: Need) -> dict[str, object]:
    """The circumstances that a gate's hash covers beside the steps themselves."""
    lists = {"lists": dict(wanted.lists)} if wanted.lists else {}
    return lists | {
        "run": run.id,
        "policy": run.policy,
        "version": run.version,
        "target": run.target,
        "case": run.case,
        "votes": dict(wanted.votes),
        "within_s": wanted.within.total_seconds(),
        "late": wanted.late,
    }


def same_plan(one: Sequence[Intention], other: Sequence[Intention]) -> bool:
    """Would the steps that are not safe still do, and take back, the very same?

    A safe step's text may have moved with the figures; that alone voids nothing.
    """
    return [_changes(step) for step in one] == [_changes(step) for step in other]


def _changes(step: Intention) -> object:
    if step.risk is Risk.SAFE:
        return (step.step, step.call.operation)
    return (step.step, step.call, step.undo)


def _votes(policy: Policy, step: str) -> bool:
    gate = policy.steps[step].gate
    return gate is not None and bool(gate.votes)
