"""What stands only for a time: early ends, late ends, and whoever wants the same meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.policies import RESUME_PATH, UNATTENDED, holding, pausing
from tests.e2e.stage import Stage, stage
from tests.rig.daemon import alert, webhook
from tests.rig.room import until
from tests.rig.slack import FakeSlack
from tests.rig.world import LoyaltyWorld

pytestmark = [pytest.mark.e2e, pytest.mark.no_cover]

HOLDS, SOON, PROVELESS, BOTH = "hold-long", "hold-until-resolved", "hold-unproved", "hold-campaign"

STILL = {
    "use": "http.get",
    "via": "loyalty_api",
    "with": {"path": "/api/campaigns/${campaign_id}"},
    "when": 'verify.json.status == "paused"',
}


def _undo(**more: Any) -> dict[str, Any]:
    return {
        "use": "http.request",
        "with": {"method": "POST", "path": RESUME_PATH, "body": {"reason": "its time is over"}},
        **more,
    }


def _unprovable() -> dict[str, Any]:
    policy = pausing(PROVELESS, gate=UNATTENDED, undo=_undo(after="1h", early=["unverified"]))
    policy["steps"]["pause"]["verify"] |= {"until": 'verify.json.status == "ended"', "within": "1s"}
    return policy | {"recheck": "1h"}


@pytest.fixture(scope="module")
def play(one_world: LoyaltyWorld, one_slack: FakeSlack) -> Iterator[Stage]:
    policies = [
        pausing(HOLDS, gate=UNATTENDED, undo=_undo(after="1h")),
        pausing(SOON, gate=UNATTENDED, undo=_undo(after="1h", early=["resolved"], still=STILL))
        | {"recheck": "1h"},
        _unprovable(),
        holding(after="3s"),
    ]
    with stage(one_world, one_slack, *policies) as one:
        yield one


async def test_a_hold_ends_early_when_the_alert_stays_resolved(play: Stage) -> None:
    campaign = await play.campaign()
    await play.fire(SOON, campaign)
    await play.run_at("holding", campaign)
    assert await play.calls(campaign, "resume") == 0
    await play.fire(SOON, campaign, "resolved")
    await play.closed(campaign, "fixed")
    assert (await play.calls(campaign), await play.calls(campaign, "resume")) == (1, 1)


async def test_what_somebody_has_changed_meanwhile_is_left_alone(play: Stage) -> None:
    campaign = await play.campaign()
    await play.fire(SOON, campaign)
    await play.run_at("holding", campaign)
    await play.world.control(f"campaigns/{campaign}", status="ended")
    await play.fire(SOON, campaign, "resolved")
    run = await play.closed(campaign, "failed")
    assert "the undo of pause was left alone" in run["reason"]
    assert await play.calls(campaign, "resume") == 0
    await play.paged('verify.json.status = "ended"')


async def test_a_hold_does_not_end_for_an_alert_that_only_blinks(play: Stage) -> None:
    campaign = await play.campaign()
    await play.fire(SOON, campaign)
    run = await play.run_at("holding", campaign)
    await play.fire(SOON, campaign, "resolved")
    await asyncio.sleep(0.5)
    await play.fire(SOON, campaign)
    await asyncio.sleep(3.0)  # longer than the debounce
    assert (await play.daemon.get(f"/api/v1/runs/{run['id']}"))["stage"] == "holding"
    assert await play.calls(campaign, "resume") == 0


async def test_a_step_that_was_not_proved_is_taken_back_at_once(play: Stage) -> None:
    campaign = await play.campaign()
    await play.fire(PROVELESS, campaign)
    run = await play.closed(campaign, "ineffective")
    assert "did not hold in time" in run["reason"]
    assert (await play.calls(campaign), await play.calls(campaign, "resume")) == (1, 1)
    await play.paged("was not proved")


async def test_a_new_trouble_does_not_repeat_what_is_being_held(play: Stage) -> None:
    campaign = await play.campaign()
    await play.fire(HOLDS, campaign)
    first = await play.run_at("holding", campaign)
    await play.world.control(f"campaigns/{campaign}", status="running")  # somebody resumed it by hand
    await asyncio.sleep(3.2)  # the cooldown
    labels = {"alertname": HOLDS, "campaign_id": campaign, "program_id": f"p-{campaign}"}
    again = alert("firing", starts_at="2026-11-21T09:00:00Z", **labels)
    assert await play.daemon.webhook(webhook(again)) == 200
    second = await play.run_with(
        campaign, lambda one: one["id"] != first["id"] and one["outcome"] is not None
    )
    assert second["outcome"] == "refused"
    assert "held by another run" in second["reason"]
    assert await play.calls(campaign) == 1


async def test_an_alert_that_fires_on_while_held_is_decided_again_when_the_hold_is_over(play: Stage) -> None:
    campaign = await play.campaign()
    await play.fire(BOTH, campaign)
    await play.run_at("holding", campaign)
    await play.closed(campaign, "fixed")
    await until(lambda: _paused_twice(play, campaign), "the alert was forgotten")
    await play.fire(BOTH, campaign, "resolved")


async def _paused_twice(play: Stage, campaign: str) -> bool:
    return await play.calls(campaign) >= 2


async def test_an_undo_runs_on_time_under_a_halt(play: Stage) -> None:
    campaign = await play.campaign()
    await play.fire(BOTH, campaign)
    await play.run_at("holding", campaign)
    about = f"campaign/{campaign}"
    assert (await play.cli("halt", "--target", about, "--reason", "hands off", by="bob")).status == 0
    await play.closed(campaign, "fixed")
    assert await play.calls(campaign, "resume") == 1
    await asyncio.sleep(4.0)  # the cooldown and a recheck
    assert await play.calls(campaign) == 1


async def test_an_undo_waits_under_a_halt_of_undos_and_comes_after_it(play: Stage) -> None:
    campaign = await play.campaign()
    await play.fire(BOTH, campaign)
    run = await play.run_at("holding", campaign)
    about = f"campaign/{campaign}"
    said = await play.cli("halt", "--target", about, "--undos", "--reason", "leave it paused", by="bob")
    assert said.status == 0
    waits = await play.entry(run["id"], "undo-waits")
    assert "undos are halted" in waits["data"]["reason"]
    assert await play.calls(campaign, "resume") == 0
    await play.fire(BOTH, campaign, "resolved")
    assert (await play.cli("resume", said.out.split()[-1], by="bob")).status == 0
    await play.closed(campaign, "fixed")
    assert await play.calls(campaign, "resume") == 1
