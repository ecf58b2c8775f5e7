"""Whose votes count, and do they fill the places? Against a matcher that tries everything."""

from __future__ import annotations

import os
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediator.core import gate as gates
from remediator.core.catalog import Fence, Risk
from remediator.core.intention import Call, Intention, UndoPlan
from remediator.core.run import Gate, Vote, gate_hash
from tests.core.campaign import START, budget_probe, policy, post, say, votes
from tests.core.stories import Story

EXAMPLES = 5_000 if os.environ.get("CI") == "true" else 500

ROLE_NAMES = ("oncall", "lead", "finance")
PEOPLE = ("a", "b", "c", "d", "e")


def by_brute_force(required: dict[str, int], approvers: list[str], roles: dict[str, frozenset[str]]) -> bool:
    """Every way to seat distinct people on the places."""
    places = [role for role, count in required.items() for _ in range(count)]
    people = sorted(set(approvers))
    return bool(places) and any(
        all(person in roles.get(role, ()) for person, role in zip(seated, places, strict=True))
        for seated in permutations(people, len(places))
    )


def most_filled(required: dict[str, int], approvers: list[str], roles: dict[str, frozenset[str]]) -> int:
    """The most places that can be filled at once."""
    places = [role for role, count in required.items() for _ in range(count)]

    def fill(left: list[str], free: frozenset[str]) -> int:
        if not left:
            return 0
        seats = [1 + fill(left[1:], free - {one}) for one in free if one in roles.get(left[0], ())]
        return max(seats, default=0) if len(seats) > 1 else max([*seats, fill(left[1:], free)])

    return max(fill(list(order), frozenset(approvers)) for order in set(permutations(places)))


required_votes = st.dictionaries(st.sampled_from(ROLE_NAMES), st.integers(1, 2), max_size=3)
some_people = st.lists(st.sampled_from(PEOPLE), max_size=6)
memberships = st.dictionaries(st.sampled_from(ROLE_NAMES), st.frozensets(st.sampled_from(PEOPLE)))


@settings(max_examples=EXAMPLES, deadline=None)
@given(required_votes, some_people, memberships)
def test_a_gate_is_satisfied_exactly_when_distinct_people_can_fill_every_place(
    required: dict[str, int], approvers: list[str], roles: dict[str, frozenset[str]]
) -> None:
    assert gates.satisfied(required, approvers, roles) == by_brute_force(required, approvers, roles)


@settings(max_examples=EXAMPLES // 5, deadline=None)
@given(required_votes, some_people, memberships)
def test_what_is_missing_is_as_little_as_can_be_and_nothing_when_satisfied(
    required: dict[str, int], approvers: list[str], roles: dict[str, frozenset[str]]
) -> None:
    missing = gates.missing(a_gate(required, approvers), roles)
    assert sum(missing.values()) == sum(required.values()) - most_filled(required, approvers, roles)
    assert all(0 < count <= required[role] for role, count in missing.items())
    if required:
        assert (not missing) == gates.satisfied(required, approvers, roles)


@settings(max_examples=EXAMPLES // 5, deadline=None)
@given(required_votes, some_people, memberships, st.randoms())
def test_the_order_of_the_votes_does_not_matter(
    required: dict[str, int], approvers: list[str], roles: dict[str, frozenset[str]], chance: Any
) -> None:
    shuffled = list(approvers)
    chance.shuffle(shuffled)
    assert gates.satisfied(required, shuffled, roles) == gates.satisfied(required, approvers, roles)


def a_gate(required: dict[str, int], approvers: list[str], **rest: Any) -> Gate:
    cast = tuple(Vote(by=one, approve=True, at=START, via="slack", hash="h" * 64) for one in approvers)
    fields: dict[str, Any] = {
        "id": "r1.1",
        "steps": ("pause",),
        "intentions": (),
        "hash": "h" * 64,
        "required": required,
        "opened_at": START,
        "expires_at": START + timedelta(minutes=15),
        "late": "page",
        "votes": cast,
    }
    return Gate(**fields | rest)


def test_a_gate_that_requires_nobody_is_never_satisfied() -> None:
    assert not gates.satisfied({}, ["a"], {})


def test_one_person_with_both_roles_takes_the_place_that_nobody_else_can() -> None:
    roles = {"finance": frozenset({"amina", "bob"}), "ops": frozenset({"amina"})}
    gate = a_gate({"finance": 1, "ops": 1}, ["amina", "bob"])
    assert gates.satisfied(gate.required, gates.approvers(gate), roles)
    assert gates.missing(gate, roles) == {}


def test_a_person_counts_once_and_a_denial_or_a_late_vote_not_at_all() -> None:
    def vote(by: str, minutes: int, *, approve: bool = True) -> Vote:
        return Vote(by=by, approve=approve, at=START + timedelta(minutes=minutes), via="api", hash="h" * 64)

    cast = (vote("a", 1), vote("a", 2), vote("b", 3, approve=False), vote("c", 15), vote("d", 14))
    assert gates.approvers(a_gate({"lead": 1}, [], votes=cast)) == ["a", "d"]


def test_a_gate_expires_at_its_very_end() -> None:
    gate = a_gate({"lead": 1}, [])
    assert not gates.expired(gate, gate.expires_at - timedelta(microseconds=1))
    assert gates.expired(gate, gate.expires_at)


@pytest.mark.parametrize(
    ("seen", "counts"), [("h" * 64, True), ("h" * 16, True), ("h" * 12, True), ("h" * 11, False), ("", False)]
)
def test_only_the_beginning_of_a_hash_that_is_long_enough_stands_for_it(seen: str, counts: bool) -> None:
    vote = Vote(by="a", approve=True, at=START, via="slack", hash=seen)
    assert gates.is_for(vote, a_gate({"lead": 1}, [])) is counts


# ── Which gate ────────────────────────────────────────────────────────────────────────────────────

STEPS = {
    "own": post("/a", gate=votes(lead=1)),
    "none": post("/b", gate=None),
    "free": post("/c"),
    "say": say(),
}


def needs(step: str, risk: Risk, mode: str = "act", **case: Any) -> gates.Need | None:
    whole = policy(STEPS, decide=[{"do": list(STEPS)} | case])
    return gates.need(whole, whole.decide[0], step, risk, mode)


@pytest.mark.parametrize(
    ("step", "risk", "required"),
    [
        ("own", Risk.SAFE, {"lead": 1}),
        ("own", Risk.DESTRUCTIVE, {"lead": 1}),
        ("none", Risk.SAFE, None),
        ("none", Risk.DISRUPTIVE, {"oncall": 1}),
        ("none", Risk.DESTRUCTIVE, None),  # which `choosing` refuses
        ("free", Risk.DISRUPTIVE, None),
        ("free", Risk.DESTRUCTIVE, None),
    ],
)
def test_the_gate_of_a_step(step: str, risk: Risk, required: dict[str, int] | None) -> None:
    wanted = needs(step, risk)
    assert (wanted and dict(wanted.votes)) == required


def test_the_gate_of_a_case_goes_before_those_of_its_steps() -> None:
    for step in STEPS:
        wanted = needs(step, Risk.DISRUPTIVE, gate=votes(finance=2, within="1h", late="deny"))
        assert wanted == gates.Need(tuple(STEPS), {"finance": 2}, timedelta(hours=1), "deny")


def test_a_waived_case_leaves_a_gate_that_a_step_has_of_its_own() -> None:
    waived = {"waived": "tried for a year"}
    own = needs("own", Risk.DISRUPTIVE, gate=waived)
    assert own is not None
    assert own.votes == {"lead": 1}
    assert needs("none", Risk.DISRUPTIVE, gate=waived) is None


def test_mode_suggest_asks_once_for_all_steps_without_votes_of_their_own() -> None:
    for step in ("none", "free", "say"):
        wanted = needs(step, Risk.SAFE, "suggest", gate={"waived": "x"})
        assert wanted is not None
        assert (wanted.steps, wanted.votes) == (("none", "free", "say"), {"oncall": 1})


# ── What the hash covers ──────────────────────────────────────────────────────────────────────────


def intention(**rest: Any) -> Intention:
    fields: dict[str, Any] = {
        "step": "pause",
        "call": Call("http.request", "api", {"path": "/a", "n": 1}),
        "risk": Risk.DISRUPTIVE,
        "fence": Fence.NONE,
        "verify": None,
        "undo": UndoPlan({"use": "x"}, None, 60.0),
    }
    return Intention(**fields | rest)


@pytest.mark.parametrize(
    "other",
    [
        {"step": "other"},
        {"call": Call("http.request", "api", {"path": "/b", "n": 1})},
        {"call": Call("http.request", "api", {"path": "/a", "n": 1.0})},
        {"call": Call("http.request", "api", {"path": "/a", "n": "1"})},
        {"call": Call("http.request", "api", {"path": "/a", "n": {"#": "1"}})},
        {"call": Call("http.request", "else", {"path": "/a", "n": 1})},
        {"call": Call("http.other", "api", {"path": "/a", "n": 1})},
        {"risk": Risk.SAFE},
        {"fence": Fence.KEY},
        {"verify": Call("http.get", "api", {})},
        {"undo": None},
        {"undo": UndoPlan({"use": "x"}, None, 61.0)},
        {"undo": UndoPlan({"use": "x"}, None, 60.0, ("resolved",))},
    ],
)
def test_whatever_changes_changes_the_hash(other: dict[str, Any]) -> None:
    terms = {"version": "v1"}
    assert gate_hash((intention(),), {}, terms) == gate_hash((intention(),), {}, dict(terms))
    assert gate_hash((intention(**other),), {}, terms) != gate_hash((intention(),), {}, terms)


def test_the_hash_covers_the_run_its_version_its_target_and_the_votes() -> None:
    steps = {"pause": post("/pause", gate=votes(oncall=1))}
    story = Story(policy(steps))
    run, wanted = story.run, gates.needed(story.run, story.facts.policy)
    assert wanted is not None
    terms = gates.terms(run, wanted)
    assert gate_hash(story.gate.intentions, story.gate.pictures, terms) == story.gate.hash
    for name in terms:
        assert (
            gate_hash(story.gate.intentions, story.gate.pictures, terms | {name: "else"}) != story.gate.hash
        )


def test_the_same_plan_is_the_same_change_and_the_same_undo_in_the_same_order() -> None:
    warn = intention(step="warn", risk=Risk.SAFE, call=Call("slack.message", "slack", {"text": "3 %"}))
    other_text = intention(step="warn", risk=Risk.SAFE, call=Call("slack.message", "slack", {"text": "2 %"}))
    assert gates.same_plan([warn, intention()], [other_text, intention()])
    assert not gates.same_plan([warn, intention()], [intention(), warn])
    assert not gates.same_plan([intention()], [intention(), warn])
    assert not gates.same_plan([intention()], [intention(call=Call("http.request", "api", {"path": "/b"}))])
    assert not gates.same_plan([intention()], [intention(undo=UndoPlan({"use": "y"}, None, 60.0))])


def test_a_gate_leaves_out_what_was_started_before() -> None:
    steps = {"warn": say(), "pause": post("/pause/${budget.row.n}", gate=None)}
    case = {"do": list(steps), "gate": votes(oncall=1)}
    whole = policy(steps, decide=[case], diagnose=budget_probe())
    story = Story(whole).probe("budget", row={"n": 1}).approve("bob").starts("warn")
    story.now_reads("budget", row={"n": 2}).done().asks_people(oncall=1)
    wanted = gates.needed(story.run, whole)
    assert wanted is not None
    assert wanted.steps == ("pause",)
    assert story.gate.steps == ("pause",)
