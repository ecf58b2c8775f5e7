"""Between the card and the click the world of the policies changes: what was asked no longer holds."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.policies import gated, pausing, text
from tests.e2e.stage import Stage, stage
from tests.rig.daemon import ROLES
from tests.rig.slack import FakeSlack
from tests.rig.world import LoyaltyWorld

pytestmark = [pytest.mark.e2e, pytest.mark.no_cover]

ASKS = "pause-campaign"


@pytest.fixture
def play(one_world: LoyaltyWorld, one_slack: FakeSlack) -> Iterator[Stage]:
    with stage(one_world, one_slack, pausing(ASKS)) as one:
        yield one


async def _half_approved(play: Stage) -> tuple[str, dict[str, Any], str]:
    """A campaign, the run that waits about it, and its gate, which amina approved."""
    campaign = await play.campaign()
    run = await play.asked(ASKS, campaign)
    gate = str(run["gate"])
    assert (await play.click(gate, "amina")).status == 200
    return campaign, run, gate


async def _asked_anew(play: Stage, campaign: str, gate: str, why: str) -> str:
    """The gate is void, and says why; bob's vote on it does nothing; the new gate needs both again."""
    await play.card_says(gate, "No longer valid", why)
    fresh = await play.run_with(campaign, lambda run: run["gate"] not in (None, gate))
    status, answer = await play.vote(gate, "bob")
    assert status == 409, answer
    assert why in answer["text"]
    found = next(
        one for one in (await play.daemon.get("/api/v1/gates"))["gates"] if one["id"] == fresh["gate"]
    )
    assert found["votes"] == []
    assert await play.calls(campaign) == 0
    return str(fresh["gate"])


def _hang_up(play: Stage) -> None:
    assert play.daemon.child is not None
    play.daemon.child.process.send_signal(signal.SIGHUP)


def _restart(play: Stage) -> None:
    assert play.daemon.child is not None
    assert play.daemon.child.end() == 0
    play.daemon.start()


async def test_a_policy_that_was_reloaded_voids_its_gates(play: Stage) -> None:
    campaign, _run, gate = await _half_approved(play)
    play.daemon.policy(ASKS, text(pausing(ASKS, gate=gated(within="45s"))))
    _hang_up(play)
    anew = await _asked_anew(play, campaign, gate, "the policy has changed")
    for person in ("amina", "bob"):
        assert (await play.click(anew, person)).status == 200
    await play.closed(campaign, "fixed")
    assert await play.calls(campaign) == 1


async def test_a_policy_that_changed_while_the_daemon_was_down_voids_its_gates(play: Stage) -> None:
    campaign, _run, gate = await _half_approved(play)
    play.daemon.policy(ASKS, text(pausing(ASKS, gate=gated(within="45s"))))
    _restart(play)
    await _asked_anew(play, campaign, gate, "the policy has changed")


async def test_a_policy_that_is_gone_takes_its_gates_with_it(play: Stage) -> None:
    campaign, run, gate = await _half_approved(play)
    (play.daemon.folder / "policies" / f"{ASKS}.yaml").unlink()
    _hang_up(play)
    await play.card_says(gate, "No longer valid", "the policy is gone")
    assert (await play.vote(gate, "bob"))[0] == 409
    assert (await play.daemon.get(f"/api/v1/runs/{run['id']}"))["stage"] == "closed"
    assert await play.calls(campaign) == 0


async def test_a_reload_that_changes_nothing_leaves_the_gates_alone(play: Stage) -> None:
    campaign, _run, gate = await _half_approved(play)
    status, answer = await play.daemon.post("/api/v1/policies/reload", {}, by="chen")
    assert (status, answer["text"]) == (200, "nothing changed")
    assert (await play.click(gate, "bob")).status == 200
    await play.closed(campaign, "fixed")


async def test_a_restart_between_two_clicks_loses_nothing(play: Stage) -> None:
    campaign, run, gate = await _half_approved(play)
    _restart(play)
    assert (await play.click(gate, "bob")).status == 200
    assert (await play.closed(campaign, "fixed"))["id"] == run["id"]
    assert await play.calls(campaign) == 1


async def test_a_role_that_was_taken_away_takes_the_vote_with_it(play: Stage) -> None:
    campaign, _run, gate = await _half_approved(play)
    play.daemon.config["roles"] = {**ROLES, "ops_marketing": ["chen"]}
    _restart(play)
    anew = await _asked_anew(play, campaign, gate, "the policy has changed")
    assert (await play.vote(anew, "bob"))[0] == 200
    status, answer = await play.vote(anew, "amina")
    assert status == 409
    assert "none of the roles" in answer["text"]
    assert await play.calls(campaign) == 0
    assert (await play.vote(anew, "chen"))[0] == 200
    await play.closed(campaign, "fixed")
    assert await play.calls(campaign) == 1


async def test_an_endpoint_that_became_riskier_voids_what_was_decided(play: Stage) -> None:
    campaign, _run, gate = await _half_approved(play)
    connections = play.daemon.config["connections"]
    connections["loyalty_api"] = {**connections["loyalty_api"], "timeout": "2s"}
    _restart(play)
    await _asked_anew(play, campaign, gate, "the policy has changed")
