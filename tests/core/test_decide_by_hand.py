"""Stories of runs that a person starts: like any other, but with no alert behind them."""

from __future__ import annotations

from typing import Any

import pytest

from remediator.core.alert import Alert
from remediator.core.byhand import never_over, stand_in, traced
from remediator.core.expression import parse_duration
from remediator.core.messages import AlertHeard
from remediator.core.parameters import fit
from remediator.core.policy import Policy
from remediator.core.run import Refusal, Stage
from tests.core.campaign import START, acted, policy, post, proof, say, undo, votes
from tests.core.stories import Story

GATED = {"pause": post("/pause/${campaign}", gate=votes(oncall=1, lead=1))}


def started(steps: dict[str, Any] | None = None, by: str = "bob", **rest: Any) -> Story:
    return Story(policy(steps or {"pause": post("/pause/${campaign}")}), opened_by=f"person:{by}", **rest)


# ── Its life ──────────────────────────────────────────────────────────────────────────────────────


def test_it_has_no_alert_that_could_be_decided_again() -> None:
    story = started().done().closes("fixed")
    assert story.run.members == {}
    assert story.run.starter == "bob"
    assert story.entry("opened")["by"] == "person:bob"


def test_who_started_it_may_not_approve_it_and_others_still_must() -> None:
    story = started(GATED).approve("bob").in_stage(Stage.WAITING)
    assert story.entry("vote-refused")["reason"] == "bob started this run and may not approve it"
    story.approve("carl").in_stage(Stage.WAITING).approve("amina").starts("pause")


def test_who_started_it_may_still_deny_it() -> None:
    started(GATED).deny("bob", "I was wrong").closes("denied", "denied by bob: I was wrong")


def test_the_bounds_hold_when_it_would_change_something() -> None:
    started(use=acted("5m")).refuses("cooldown", "acted on 5m ago").starts_nothing()


def test_an_alert_that_joins_it_does_not_end_it() -> None:
    story = started(GATED).fires("f9").resolves("f9").passes("5m").in_stage(Stage.WAITING)
    assert story.entry("resolved")["all_resolved"] is False
    story.approve("carl").approve("amina").starts("pause").done().closes("fixed")


def test_an_alert_that_joined_and_still_fires_is_decided_again_after_it() -> None:
    story = started(GATED).fires("f9").approve("carl").approve("amina").done().closes("fixed")
    assert {name: one.firing for name, one in story.run.members.items()} == {"f9": True}
    assert story.last.recheck_at == START + parse_duration("5m")


def test_no_rung_is_spared_because_a_joined_alert_has_resolved() -> None:
    rungs = {"first": post("/a", verify=proof(within="1m")), "second": post("/b")}
    whole = policy(rungs, decide=[{"try": list(rungs)}])
    story = Story(whole, opened_by="person:bob").reads_before(value=9).starts("first").fires("f9").done()
    story.resolves("f9").reads_proof(value=1).passes("1m").reads_proof(value=1).starts("second")


def test_what_it_holds_is_taken_back_by_its_time_box_and_not_by_a_joined_alert() -> None:
    story = started({"pause": post("/pause", undo=undo(after="1h", early=["resolved"]))}).fires("f9").done()
    story.holds(pause="1h").resolves("f9").passes("59m").in_stage(Stage.HOLDING)
    story.passes("1m").undoes("pause").done().closes("fixed")


def test_a_joined_alert_does_not_become_what_it_is_about() -> None:
    story = started(GATED)
    other = Alert(fingerprint="f9", status="firing", labels={"campaign": "c-2"}, starts_at=START)
    story.hears(AlertHeard(other, START))
    assert story.run.alert.fingerprint == "f1"
    assert story.run.params == {"campaign": "c-1"}


def test_a_changed_policy_ends_it_with_its_reason() -> None:
    started(GATED).policy_changes().refuses("changed", "the policy has changed", again_in="0s")


# ── What stands where texts and expressions look for an alert ─────────────────────────────────────


def test_it_says_who_started_it_where_an_alert_would_say_what_is_wrong() -> None:
    whole = policy()
    found = stand_in(whole, "amina", "hand-1", START)
    assert found.labels == {"alertname": "late-campaign"}
    assert found.annotations == {"summary": "started by hand by amina"}
    assert (found.fingerprint, found.starts_at, found.firing) == ("hand-1", START, True)
    assert found.source == "person:amina"


def test_a_label_that_no_alert_gives_refuses_the_run_visibly() -> None:
    steps = {"tell": say()}
    whole = policy(steps, decide=[{"when": 'labels.tier == "gold"', "do": ["tell"]}])
    story = Story(whole, opened_by="person:bob").refuses("expression", "labels has no 'tier'")
    story.starts_nothing()


# ── Params as a person gives them ─────────────────────────────────────────────────────────────────

PARAMS = {
    "campaign": {"from": "labels.campaign", "pattern": "[a-z0-9-]{1,20}"},
    "size": {"from": "int(labels.size)", "type": "int"},
    "share": {"from": "labels.share", "type": "number", "default": 0.5},
    "force": {"from": "labels.force", "type": "bool", "default": False},
    "tier": {"from": "labels.tier", "type": "enum", "values": ["gold", "silver"], "default": "gold"},
    "span": {"from": "labels.span", "type": "duration", "default": "30s"},
    "at": {"from": "labels.at", "type": "time", "default": "2026-01-01T00:00Z"},
    "owner": {"from": "labels.owner", "type": "uuid", "default": "5f0b1f5e-6f0f-4d0e-9f0e-0d9d7d0e6a11"},
}


def test_texts_are_read_as_their_types_and_defaults_apply() -> None:
    values, wrong = fit(policy(params=PARAMS).params, {"campaign": "c-1", "size": "40", "force": "true"})
    assert wrong == ()
    assert values == {
        "campaign": "c-1",
        "size": 40,
        "share": 0.5,
        "force": True,
        "tier": "gold",
        "span": "30s",
        "at": "2026-01-01T00:00:00+00:00",
        "owner": "5f0b1f5e-6f0f-4d0e-9f0e-0d9d7d0e6a11",
    }
    typed, wrong = fit(policy(params=PARAMS).params, {"campaign": "c-1", "size": 40, "force": True})
    assert (typed, wrong) == (values, ())


def test_all_that_is_wrong_is_told_at_once_with_what_can_be_given() -> None:
    given = {
        "campain": "c-1",
        "size": "many",
        "share": "NaN",
        "force": "yes",
        "tier": "bronze",
        "span": "soon",
        "at": "2026-01-01",
        "owner": "bob",
    }
    _, wrong = fit(policy(params=PARAMS).params, given)
    assert [str(one) for one in wrong] == [
        "params.campain: the policy has no such param; did you mean campaign?",
        "params.campaign: is missing; give a text that fits [a-z0-9-]{1,20}",
        "params.size: 'many' is not an int; give a whole number",
        "params.share: 'NaN' is not a number; give a number",
        "params.force: 'yes' is neither true nor false; give true or false",
        "params.tier: 'bronze' is none of gold, silver; give one of gold, silver",
        "params.span: 'soon' is not a duration; give a duration such as 30s, 5m or 2h",
        "params.at: '2026-01-01' has no time zone; give a time with its zone, such as 2026-12-20T00:00Z",
        "params.owner: 'bob' is not a UUID; give a UUID",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("campaign", "C-1; DROP TABLE"),
        ("campaign", "c-1\n"),
        ("campaign", 7),
        ("size", 10**30),
        ("size", 1e30),
        ("size", 1.5),
        ("size", True),
        ("share", float("inf")),
        ("share", 10**400),
    ],
)
def test_what_no_alert_could_give_no_person_can(name: str, value: object) -> None:
    _, wrong = fit(policy(params=PARAMS).params, {"campaign": "c-1", "size": 1, name: value})
    assert [one.name for one in wrong] == [name]


def test_a_policy_without_params_says_that_it_takes_none() -> None:
    _, (wrong,) = fit(policy(params={}, target="campaign/all").params, {"x": "1"})
    assert str(wrong) == "params.x: the policy has no such param; it takes none"


# ── From a target back to its params ──────────────────────────────────────────────────────────────

TWO = {
    "shop": {"from": "labels.shop", "pattern": ".+"},
    "worker": {"from": "labels.worker", "pattern": ".+"},
    "note": {"from": "labels.note", "pattern": ".+", "default": "none"},
}


def on(target: str) -> Policy:
    return policy(params=TWO, target=target)


@pytest.mark.parametrize(
    ("template", "target", "found"),
    [
        ("campaign/${shop}", "campaign/c-1", {"shop": "c-1"}),
        ("campaign/${ shop }-x", "campaign/c-1-x", {"shop": "c-1"}),
        ("campaign/${shop}/${worker}", "campaign/eu/w-3", {"shop": "eu", "worker": "w-3"}),
        ("campaign/${shop}/${shop}", "campaign/eu/eu", {"shop": "eu"}),
        ("campaign/a.b/${shop}", "campaign/a.b/c", {"shop": "c"}),
        ("campaign/all", "campaign/all", {}),
    ],
)
def test_a_target_leads_back_to_its_params(template: str, target: str, found: dict[str, str]) -> None:
    assert traced(on(template), target, {}) == found


@pytest.mark.parametrize(
    ("template", "target", "told"),
    [
        ("campaign/${shop}", "worker/c-1", "worker/c-1 is not what late-campaign acts on: campaign/${shop}"),
        ("campaign/a.b/${shop}", "campaign/aXb/c", "is not what late-campaign acts on"),
        ("campaign/${shop}/${shop}", "campaign/eu/us", "is not what late-campaign acts on"),
        ("campaign/${shop}-${worker}", "campaign/a-b-c", "ways; give --param shop=… and --param worker=…"),
        ("campaign/${shop + 'x'}", "campaign/ax", "cannot be read backwards; give --param shop=…"),
    ],
)  # fmt: skip
def test_a_target_that_leads_nowhere_says_what_to_give(template: str, target: str, told: str) -> None:
    found = traced(on(template), target, {})
    assert isinstance(found, Refusal)
    assert told in found.reason


def test_what_is_given_is_not_traced() -> None:
    assert traced(on("campaign/${shop}/${worker}"), "campaign/eu/w-3", {"shop": "us"}) == {"worker": "w-3"}


# ── What no person may start ──────────────────────────────────────────────────────────────────────


def test_a_change_that_only_an_alert_would_take_back_is_not_for_people_to_start() -> None:
    lasting = policy({"pause": post("/pause", undo=undo(early=["resolved"]))})
    no = never_over(lasting)
    assert no is not None
    assert "pause is taken back only when an alert resolves" in no.reason
    assert never_over(policy({"pause": post("/pause", undo=undo(after="1h", early=["resolved"]))})) is None
    assert never_over(policy({"pause": post("/pause", undo=undo(early=["unverified"]))})) is None
    watching = policy({"pause": post("/pause", undo=undo(early=["resolved"]))}, mode="observe")
    assert never_over(watching) is None
