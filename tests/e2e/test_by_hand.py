"""Runs that people start by hand: at a terminal, through the API, with everybody who may not approve them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.policies import UNATTENDED, gated, pausing
from tests.e2e.stage import Stage, stage
from tests.rig.room import until
from tests.rig.slack import FakeSlack
from tests.rig.world import LoyaltyWorld

pytestmark = [pytest.mark.e2e, pytest.mark.no_cover]

ASKS, ACTS, SLOW = "pause-campaign", "act-now", "act-once-an-hour"
ROLES = {"oncall": ["bob", "amina"], "ops_marketing": ["amina"], "lead": ["bob"]}


@pytest.fixture(scope="module")
def play(one_world: LoyaltyWorld, one_slack: FakeSlack) -> Iterator[Stage]:
    slow = pausing(SLOW, gate=UNATTENDED)
    slow["bounds"]["cooldown"] = "1h"
    policies = [pausing(ASKS, gate=gated(oncall=1)), pausing(ACTS, gate=UNATTENDED), slow]
    with stage(one_world, one_slack, *policies, roles=ROLES) as one:
        yield one


def params(campaign: str, **more: Any) -> dict[str, Any]:
    return {"campaign_id": campaign, "program_id": f"p-{campaign}", **more}


async def start(play: Stage, policy: str, by: str = "bob", key: str = "", **given: Any) -> tuple[int, Any]:
    return await play.daemon.post("/api/v1/runs", {"policy": policy, "params": given, "key": key}, by=by)


async def test_a_run_is_started_at_a_terminal_and_somebody_else_approves_it(play: Stage) -> None:
    campaign = await play.campaign()
    given = [f"campaign_id={campaign}", f"program_id=p-{campaign}"]
    said = await play.cli("runs", "start", ASKS, "--param", given[0], "--param", given[1], by="bob")
    assert said.status == 0, said
    run = await play.run_at("waiting", campaign)
    gate = str(run["gate"])
    first, page, waits = said.out.splitlines()
    assert first == f"run {run['id']} of {ASKS} on campaign/{campaign}"
    assert page.endswith(f"/runs/{run['id']}")
    assert waits.startswith("it waits for 1 of oncall until ")
    assert waits.endswith(f"not for you: remediator gates approve {gate}")
    assert (run["opened_by"], run["alerts"]) == ("person:bob", 0)
    await play.card_says(gate, "started by bob", "Approve")

    status, answer = await play.vote(gate, "bob")
    assert status == 409
    assert "bob started this run and may not approve it" in answer["text"]
    assert (await play.click(gate, "bob")).status == 200
    await play.card_says(gate, "bob's vote does not count: bob started this run")
    assert await play.calls(campaign) == 0

    assert (await play.cli("gates", "approve", gate, by="amina")).status == 0
    await play.closed(campaign, "fixed")
    assert await play.calls(campaign) == 1
    shown = (await play.cli("runs", "show", run["id"])).out
    assert f"Run opened by bob on campaign/{campaign}" in shown


async def test_an_alert_that_joins_does_not_end_it(play: Stage) -> None:
    campaign = await play.campaign()
    status, answer = await start(play, ASKS, **params(campaign))
    assert (status, answer["data"]["stage"]) == (200, "diagnosing"), answer
    run = await play.run_at("waiting", campaign)
    await play.fire(ASKS, campaign)
    await play.entry(run["id"], "joined")
    await play.fire(ASKS, campaign, "resolved")
    resolved = await play.entry(run["id"], "resolved")
    assert resolved["data"]["all_resolved"] is False
    other = await play.campaign()
    await play.fire(ASKS, other)
    await play.run_at("waiting", other)
    await play.fire(ASKS, other, "resolved")
    await play.closed(other, "recovered")  # an alert's own run ends so, in the same time
    assert (await play.daemon.get(f"/api/v1/runs/{run['id']}"))["stage"] == "waiting"
    assert (await play.vote(str(run["gate"]), "amina"))[0] == 200
    await play.closed(campaign, "fixed")


async def test_everything_that_is_wrong_is_told_at_once(play: Stage) -> None:
    fits = "give a text that fits [a-z0-9-]{1,64}"
    status, answer = await start(play, ASKS, campaign="c-1", campaign_id="C 1")
    assert status == 400
    assert answer["data"]["problems"] == [
        "params.campaign: the policy has no such param; did you mean campaign_id?",
        f"params.campaign_id: 'C 1' does not fit the pattern [a-z0-9-]{{1,64}}; {fits}",
        f"params.program_id: is missing; {fits}",
    ]
    said = await play.cli("runs", "start", ASKS, "--param", "campaign=c-1", by="bob")
    assert (said.status, said.out) == (2, "")
    assert "did you mean campaign_id?" in said.err
    assert "params.program_id: is missing" in said.err
    for words, told in (
        (("--param", "campaign_id"), "'campaign_id' is not NAME=VALUE"),
        (("--param", "a=1", "--param", "a=2"), "a is given twice"),
    ):
        said = await play.cli("runs", "start", ASKS, *words, by="bob")
        assert (said.status, told in said.err) == (2, True), said


async def test_who_has_no_role_and_who_is_nobody_start_nothing(play: Stage) -> None:
    campaign = await play.campaign()
    status, answer = await start(play, ACTS, by="chen", **params(campaign))
    assert (status, answer["text"]) == (403, "not started: chen has no role; starting a run takes one")
    assert (await start(play, ACTS, by="", **params(campaign)))[0] == 401
    assert (await start(play, "act-nov", **params(campaign)))[0] == 404
    assert await play.calls(campaign) == 0


async def test_an_open_run_is_named_and_a_bound_says_until_when(play: Stage) -> None:
    campaign, other = await play.campaign(), await play.campaign()
    run = await play.asked(ASKS, campaign)
    status, answer = await start(play, ASKS, **params(campaign))
    assert (status, answer["data"]["run"]) == (409, run["id"])
    assert answer["data"]["page"].endswith(f"/runs/{run['id']}")
    assert f"run {run['id']} of {ASKS} on campaign/{campaign} is open already" in answer["text"]

    assert (await start(play, SLOW, **params(other)))[0] == 200
    await play.closed(other, "fixed")
    status, answer = await start(play, SLOW, **params(other))
    assert (status, answer["data"]["bound"]) == (409, "cooldown")
    assert answer["data"]["again_at"]
    assert "cooldown 1h; start it again from " in answer["text"]
    assert await play.calls(other) == 1


async def test_a_halt_stops_it(play: Stage) -> None:
    campaign = await play.campaign()
    halt = {"reason": "I look at it", "target": f"campaign/{campaign}"}
    status, thrown = await play.daemon.post("/api/v1/halts", halt, by="bob")
    assert status == 200
    status, answer = await start(play, ACTS, **params(campaign))
    assert (status, answer["data"]["bound"]) == (409, "halt")
    assert (await play.cli("resume", thrown["data"]["halt"], by="bob")).status == 0
    assert (await start(play, ACTS, **params(campaign)))[0] == 200
    await play.closed(campaign, "fixed")


async def test_the_same_key_is_one_run_even_over_a_death_of_the_daemon(play: Stage) -> None:
    campaign = await play.campaign()
    _, first = await start(play, ACTS, key="deploy-1", **params(campaign))
    await until(
        lambda: play.calls(campaign), "nothing was sent"
    )  # before that nobody could know what became of it
    assert play.daemon.child is not None
    play.daemon.child.kill()
    play.daemon.start()
    status, again = await start(play, ACTS, key="deploy-1", **params(campaign))
    assert (status, again["data"]["run"]) == (200, first["data"]["run"])
    await play.closed(campaign, "fixed")
    status, late = await start(play, ACTS, key="deploy-1", **params(campaign))
    assert (status, late["data"]["run"]) == (200, first["data"]["run"])
    assert await play.calls(campaign) == 1


async def test_the_status_page_shows_who_started_it(play: Stage) -> None:
    campaign = await play.campaign()
    await start(play, ASKS, **params(campaign))
    run = await play.run_at("waiting", campaign)
    status = await play.daemon.get("/status")
    assert {one["opened_by"] for one in status["runs"] if one["id"] == run["id"]} == {"person:bob"}
    assert (await play.vote(str(run["gate"]), "amina", "deny", reason="not today"))[0] == 200
    await play.closed(campaign, "denied")
