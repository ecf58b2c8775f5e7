"""Slack without an address of ours: clicks through the socket that the daemon opens, and through no other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.policies import gated, pausing, text
from tests.e2e.stage import Stage
from tests.rig.daemon import daemon, settings
from tests.rig.room import until
from tests.rig.slack import FakeSlack
from tests.rig.world import LoyaltyWorld

pytestmark = [pytest.mark.e2e]

ASKS = "pause-campaign"


def socketed(world: LoyaltyWorld, slack: FakeSlack, **door: str) -> dict[str, Any]:
    """Settings with Socket Mode, and no signing secret unless the story wants one."""
    config = settings(world=world.url, slack=slack)
    del config["slack"]["signing_secret"]
    config["slack"] |= {"app_token": "${env:SLACK_APP_TOKEN}", **door}
    return config


@contextmanager
def play(world: LoyaltyWorld, slack: FakeSlack, **door: str) -> Iterator[Stage]:
    policies = {ASKS: text(pausing(ASKS, gate=gated(within="40s")))}
    with daemon(socketed(world, slack, **door), policies) as one:
        yield Stage(world, slack, one)


async def _connected(slack: FakeSlack, opened: int = 1) -> None:
    async def there() -> bool:
        how = await slack.sockets()
        return (how["open"], how["opened"]) == (1, opened)

    await until(there, "the daemon opened no socket")


async def test_a_card_is_clicked_approved_and_done_over_the_socket_alone(
    world: LoyaltyWorld, slack: FakeSlack
) -> None:
    with play(world, slack) as stage:
        await _connected(slack)
        campaign = await stage.campaign()
        run = await stage.asked(ASKS, campaign)
        gate = str(run["gate"])
        refused = await stage.click(gate, "amina")
        assert (refused.status, "Socket Mode only" in refused.body) == (404, True)
        assert (await stage.click(gate, "amina", socket=True, times=2)).status == 200
        await slack.sockets("cut")
        await _connected(slack, opened=2)
        assert await stage.calls(campaign) == 0
        assert (await stage.click(gate, "bob", socket=True, typed={"reason": "I looked"})).status == 200
        await stage.closed(campaign, "fixed")
        assert await stage.calls(campaign) == 1
        votes = [one["data"] for one in await stage.daemon.journal(run["id"]) if one["kind"] == "vote"]
        told = [(one["by"], one["via"], one["reason"]) for one in votes]
        assert told == [("amina", "slack", ""), ("bob", "slack", "I looked")]
        assert "vote-refused" not in await stage.daemon.kinds(run["id"])
        await stage.card_says(gate, "Outcome: fixed", "bob approved", "I looked")


async def test_both_doors_may_be_open(world: LoyaltyWorld, slack: FakeSlack) -> None:
    with play(world, slack, signing_secret="${env:SLACK_SIGNING_SECRET}") as stage:
        await _connected(slack)
        campaign = await stage.campaign()
        gate = str((await stage.asked(ASKS, campaign))["gate"])
        assert (await stage.click(gate, "amina")).status == 200
        assert (await stage.click(gate, "bob", socket=True)).status == 200
        await stage.closed(campaign, "fixed")
        assert await stage.calls(campaign) == 1


async def test_a_vote_that_was_kept_just_before_a_crash_counts_once_when_slack_sends_it_again(
    world: LoyaltyWorld, slack: FakeSlack
) -> None:
    with play(world, slack) as stage:
        await _connected(slack)
        campaign = await stage.campaign()
        run = await stage.asked(ASKS, campaign)
        first = await stage.click(str(run["gate"]), "amina", socket=True)
        assert first.status == 200
        assert stage.daemon.child is not None
        stage.daemon.child.kill()
        stage.daemon.start()
        await _connected(slack, opened=2)
        again = await stage.click(str(run["gate"]), "amina", socket=True, replay=first.click)
        assert again.status == 200
        votes = [one for one in await stage.daemon.journal(run["id"]) if one["kind"] == "vote"]
        assert len(votes) == 1
        assert (await stage.daemon.get(f"/api/v1/runs/{run['id']}"))["stage"] == "waiting"


async def test_a_slack_that_cannot_be_reached_keeps_nobody_from_working(
    world: LoyaltyWorld, slack: FakeSlack
) -> None:
    await slack.mode("down", methods=["apps.connections.open"])
    with play(world, slack) as stage:
        campaign = await stage.campaign()
        gate = str((await stage.asked(ASKS, campaign))["gate"])
        for person in ("amina", "bob"):
            assert (await stage.vote(gate, person))[0] == 200
        await stage.closed(campaign, "fixed")
        assert stage.daemon.child is not None
        assert "Slack's clicks do not arrive" in stage.daemon.child.said()
        await slack.mode()
        await _connected(slack)


async def test_a_stop_says_farewell_quickly(world: LoyaltyWorld, slack: FakeSlack) -> None:
    with play(world, slack) as stage:
        await _connected(slack)
        assert stage.daemon.child is not None
        began = asyncio.get_running_loop().time()
        stage.daemon.child.end()
        assert asyncio.get_running_loop().time() - began < 5
        assert stage.daemon.child.process.returncode == 0
        assert "Task was destroyed" not in stage.daemon.child.said()
        assert "never retrieved" not in stage.daemon.child.said()

    async def gone() -> bool:
        return bool((await slack.sockets())["open"] == 0)

    await until(gone, "the socket is still open")
