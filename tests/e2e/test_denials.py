"""A destructive pause behind a gate of two roles, and everybody who may not open it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.e2e.policies import gated, pausing
from tests.e2e.stage import Stage, stage
from tests.rig.slack import Answer, FakeSlack
from tests.rig.world import LoyaltyWorld

pytestmark = [pytest.mark.e2e, pytest.mark.no_cover]

ASKS, SOON_OVER, DENIES_LATE, THREE = "pause-campaign", "soon-over", "denies-late", "three-people"


@pytest.fixture(scope="module")
def play(one_world: LoyaltyWorld, one_slack: FakeSlack) -> Iterator[Stage]:
    policies = [
        pausing(ASKS),
        pausing(SOON_OVER, gate=gated(within="2s")),
        pausing(DENIES_LATE, gate=gated(within="2s", late="deny")),
        pausing(THREE, gate=gated(oncall=1, ops_marketing=1, lead=1)),
    ]
    with stage(one_world, one_slack, *policies) as one:
        yield one


async def _refused(play: Stage, gate: str, why: str) -> None:
    """The journal and the card say why a vote does not count."""
    entry = await play.entry(gate.rpartition(".")[0], "vote-refused")
    assert why in entry["data"]["reason"]
    await play.card_says(gate, "does not count", why)


async def _asked(play: Stage, policy: str = ASKS) -> tuple[str, dict[str, Any], str]:
    """A campaign, the run that waits about it, and its gate."""
    campaign = await play.campaign()
    run = await play.asked(policy, campaign)
    return campaign, run, str(run["gate"])


async def _prepared(play: Stage, gate: str, person: str) -> Callable[[], Awaitable[Answer]]:
    """A click on the card as it is now, to be sent when the card may long look different."""
    forged = await play.click(gate, person, signature="corrupt")
    assert forged.status == 401
    return lambda: play.click(gate, person, replay=forged.click, resign=True, value="as shown")


async def test_two_people_of_the_two_roles_open_the_gate_once(play: Stage) -> None:
    campaign, run, gate = await _asked(play)
    for person in ("amina", "bob"):
        assert (await play.click(gate, person)).status == 200
    await play.closed(campaign, "fixed")
    assert await play.calls(campaign) == 1
    approved = await play.entry(run["id"], "gate-approved")
    assert approved["data"]["by"] == ["amina", "bob"]
    await play.card_says(gate, "Outcome: fixed", "amina approved", "bob approved")


async def test_votes_by_slack_api_and_terminal_count_as_one_gate(play: Stage) -> None:
    campaign, run, gate = await _asked(play, THREE)
    assert (await play.click(gate, "amina")).status == 200
    status, answer = await play.vote(gate, "bob")
    assert (status, answer["data"]["counted"], answer["data"]["state"]) == (200, True, "open")
    assert await play.calls(campaign) == 0
    said = await play.cli("gates", "approve", gate, by="chen")
    assert said.status == 0, said
    await play.closed(campaign, "fixed")
    assert await play.calls(campaign) == 1
    votes = [one["data"] for one in await play.daemon.journal(run["id"]) if one["kind"] == "vote"]
    assert [(one["by"], one["via"]) for one in votes] == [("amina", "slack"), ("bob", "api"), ("chen", "cli")]


async def test_the_same_person_twice_is_one_person_by_whatever_road(play: Stage) -> None:
    campaign, _run, gate = await _asked(play)
    assert (await play.click(gate, "amina")).status == 200
    assert (await play.click(gate, "amina")).status == 200
    await _refused(play, gate, "amina has voted already")
    status, answer = await play.vote(gate, "amina")
    assert status == 409
    assert "voted already" in answer["text"]
    assert (await play.cli("gates", "approve", gate, by="amina")).status != 0
    assert (await play.daemon.get(f"/api/v1/runs/{gate.rpartition('.')[0]}"))["stage"] == "waiting"
    assert await play.calls(campaign) == 0


async def test_a_vote_without_the_role_does_not_count(play: Stage) -> None:
    campaign, _run, gate = await _asked(play)
    assert (await play.click(gate, "amina")).status == 200
    assert (await play.click(gate, "chen")).status == 200
    await _refused(play, gate, "chen has none of the roles")
    assert (await play.vote(gate, "chen", "deny", reason="no"))[0] == 409
    assert await play.calls(campaign) == 0


@pytest.mark.parametrize(
    ("forged", "why"),
    [
        ({"user_id": "U0STRANGER"}, "nobody whom Remediator knows"),
        ({"team_id": "T0OTHER"}, "nobody whom Remediator knows"),
    ],
    ids=["unknown", "another-team"],
)
async def test_a_click_by_somebody_unknown_is_turned_away_and_shown(
    play: Stage, forged: dict[str, str], why: str
) -> None:
    campaign, _run, gate = await _asked(play)
    assert (await play.click(gate, "amina")).status == 200
    answer = await play.click(gate, "bob", **forged)
    assert answer.status == 200
    assert why in answer.body
    entry = await play.entry(gate.rpartition(".")[0], "turned-away")
    assert why in entry["data"]["reason"]
    await play.card_says(gate, "was turned away", why)
    assert await play.calls(campaign) == 0


async def test_a_vote_on_another_plan_does_not_count(play: Stage) -> None:
    campaign, _run, gate = await _asked(play)
    assert (await play.click(gate, "amina")).status == 200
    assert (await play.vote(gate, "bob", hash="0" * 64))[0] == 409
    await _refused(play, gate, "the plan has changed since that card was shown")
    assert (await play.click(gate, "bob", value=f"{gate}:{'f' * 16}")).status == 200
    assert (await play.daemon.kinds(gate.rpartition(".")[0])).count("vote") == 1
    assert await play.calls(campaign) == 0


async def test_a_click_in_another_app_means_nothing(play: Stage) -> None:
    campaign, run, gate = await _asked(play)
    assert (await play.click(gate, "amina")).status == 200
    answer = await play.click(gate, "bob", app_id="A0OTHER")
    assert "another Slack app" in answer.body
    assert play.daemon.child is not None
    assert "another Slack app" in play.daemon.child.said()
    assert (await play.daemon.kinds(run["id"])).count("vote") == 1
    assert await play.calls(campaign) == 0


@pytest.mark.parametrize(
    "forged",
    [
        {"signature": "corrupt"},
        {"signature": "other-secret"},
        {"signature": "missing"},
        {"time_offset": -301.0},
        {"time_offset": 320.0},
        {"timestamp": "soon"},
    ],
    ids=str,
)
async def test_what_slack_did_not_sign_just_now_is_believed_in_nothing(
    play: Stage, forged: dict[str, Any]
) -> None:
    campaign, run, gate = await _asked(play)
    assert (await play.click(gate, "amina")).status == 200
    answer = await play.click(gate, "bob", **forged)
    assert answer.status == 401
    assert (await play.daemon.kinds(run["id"])).count("vote") == 1
    assert (await play.daemon.get(f"/api/v1/runs/{run['id']}"))["stage"] == "waiting"
    assert await play.calls(campaign) == 0


async def test_a_replayed_click_counts_once(play: Stage) -> None:
    campaign, run, gate = await _asked(play)
    first = await play.click(gate, "amina")
    for resign in (False, True):
        again = await play.click(gate, "amina", replay=first.click, resign=resign)
        assert again.status == 200
    assert (await play.daemon.kinds(run["id"])).count("vote") == 1
    assert await play.calls(campaign) == 0
    await play.click(gate, "bob")
    await play.closed(campaign, "fixed")
    await play.click(gate, "bob", replay=first.click, resign=True, value="as shown")
    await asyncio.sleep(0.3)
    assert await play.calls(campaign) == 1


async def test_a_vote_after_expiry_is_too_late_and_somebody_is_paged(play: Stage) -> None:
    campaign, run, gate = await _asked(play, SOON_OVER)
    late = await _prepared(play, gate, "bob")
    assert (await play.click(gate, "amina")).status == 200
    await play.closed(campaign, "expired")
    assert "the gate is no longer open" in (await late()).body
    await play.whispered("bob", "the gate is no longer open")
    await play.card_says(gate, "Nobody answered in time", "approved only by amina")
    await play.paged(f"gate {gate} expired")
    assert "gate-expired" in await play.daemon.kinds(run["id"])
    assert await play.calls(campaign) == 0


async def test_a_gate_whose_lateness_is_a_denial_pages_nobody(play: Stage) -> None:
    campaign, run, gate = await _asked(play, DENIES_LATE)
    await play.closed(campaign, "expired")
    assert "paged" not in await play.daemon.kinds(run["id"])
    await play.card_says(gate, "nobody answered in time")
    assert await play.calls(campaign) == 0


async def test_a_denial_after_an_approval_is_final_until_the_cooldown_is_over(play: Stage) -> None:
    campaign, run, gate = await _asked(play)
    assert (await play.click(gate, "amina")).status == 200
    assert (await play.vote(gate, "bob", "deny", reason="it is the anniversary sale"))[0] == 200
    denied = await play.closed(campaign, "denied")
    assert "anniversary sale" in denied["reason"]
    await play.card_says(gate, "Denied", "anniversary sale")
    assert (await play.vote(gate, "bob"))[0] == 409
    asked_again = await play.run_at("waiting", campaign)
    assert asked_again["id"] != run["id"]
    opened = {one["id"]: one["opened_at"] for one in await play.daemon.runs(policy=ASKS)}
    closed = (await play.daemon.get(f"/api/v1/runs/{run['id']}"))["closed_at"]
    assert _seconds(opened[asked_again["id"]]) - _seconds(closed) >= 3.0
    assert await play.calls(campaign) == 0


async def test_an_alert_that_ends_before_the_last_click_is_left_alone(play: Stage) -> None:
    campaign, run, gate = await _asked(play)
    assert (await play.click(gate, "amina")).status == 200
    await play.fire(ASKS, campaign, "resolved")
    await play.entry(run["id"], "resolved")
    assert (await play.click(gate, "bob")).status == 200
    await play.closed(campaign, "recovered")
    await play.card_says(gate, "resolved")
    assert await play.calls(campaign) == 0


async def test_an_alert_that_ended_for_good_closes_its_gate(play: Stage) -> None:
    campaign, _run, gate = await _asked(play)
    late = await _prepared(play, gate, "bob")
    assert (await play.click(gate, "amina")).status == 200
    await play.fire(ASKS, campaign, "resolved")
    await play.closed(campaign, "recovered")
    assert "the gate is no longer open" in (await late()).body
    await play.whispered("bob", "the gate is no longer open")
    await play.card_says(gate, "No longer valid", "Outcome: recovered")
    assert await play.calls(campaign) == 0


async def test_figures_that_lead_to_another_case_void_the_approval_and_people_are_asked_again(
    play: Stage,
) -> None:
    campaign, run, gate = await _asked(play)
    assert (await play.click(gate, "amina")).status == 200
    await play.world.control(f"programs/p-{campaign}", earn_rate=0.5)
    assert (await play.click(gate, "bob")).status == 200
    void = await play.entry(run["id"], "gate-void")
    assert "another case" in void["data"]["reason"]
    await play.card_says(gate, "No longer valid", "another case of the decision table")
    asked_again = await play.run_with(campaign, lambda one: one["gate"] not in (None, gate))
    assert await play.calls(campaign) == 0
    for person in ("amina", "bob"):
        assert (await play.click(str(asked_again["gate"]), person)).status == 200
    await play.closed(campaign, "fixed")
    assert await play.calls(campaign) == 1


async def test_a_halt_between_card_and_click_stops_the_step(play: Stage) -> None:
    campaign, _run, gate = await _asked(play)
    assert (await play.click(gate, "amina")).status == 200
    about = f"campaign/{campaign}"
    said = await play.cli("halt", "--target", about, "--reason", "we look at it", by="chen")
    assert said.status == 0, said
    assert (await play.click(gate, "bob")).status == 200
    refused = await play.closed(campaign, "refused")
    assert "we look at it" in refused["reason"]
    await play.card_says(gate, "we look at it")
    await asyncio.sleep(1.5)  # longer than the recheck: the halt, and nothing else, stands in its way
    assert await play.calls(campaign) == 0
    halts = (await play.daemon.get("/api/v1/halts"))["halts"]
    halt = next(one["id"] for one in halts if one["scope"] == f"target:{about}")
    assert (await play.cli("resume", halt, by="chen")).status == 0
    assert (await play.run_at("waiting", campaign))["gate"] != gate
    assert await play.calls(campaign) == 0


def _seconds(at: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(at).timestamp()
