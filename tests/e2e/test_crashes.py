"""SIGKILL at each point of a run, and SIGTERM: started again, it does nothing twice and forgets nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import pytest

from tests.e2e.policies import UNATTENDED, UNPROVABLE, holding, pausing, text
from tests.e2e.stage import Stage, stage
from tests.rig.room import until
from tests.rig.slack import FakeSlack
from tests.rig.webhook import Delivery, Webhook
from tests.rig.world import LoyaltyWorld

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.no_cover]

PROVED, UNPROVED, ASKS, HOLDS = "prove-pause", "pause-unproved", "pause-campaign", "hold-campaign"
Point = Callable[[Stage, str], Awaitable[None]]


@pytest.fixture(scope="module")
def shared(one_world: LoyaltyWorld, one_slack: FakeSlack, one_pager: Webhook) -> Iterator[Stage]:
    policies = [
        pausing(PROVED, gate=UNATTENDED),
        pausing(UNPROVED, gate=UNATTENDED, verify=UNPROVABLE),
        pausing(ASKS),
        {**holding(after="3s"), "recheck": "1h"},
    ]
    with stage(one_world, one_slack, *policies, page_webhook={"url": one_pager.url}) as one:
        yield one


@pytest.fixture
def play(shared: Stage) -> Stage:
    """The stage; up again, should a story have left the daemon down."""
    assert shared.daemon.child is not None
    if shared.daemon.child.process.poll() is not None:
        shared.daemon.start()
    return shared


@pytest.fixture
def pager(one_pager: Webhook) -> Webhook:
    return one_pager


# ── The points at which it is struck ──────────────────────────────────────────────────────────────


async def _before_any_run(play: Stage, campaign: str) -> None:
    """The webhook was answered 200 a moment ago."""
    await play.fire(PROVED, campaign)


async def _diagnosing(play: Stage, campaign: str) -> None:
    await play.world.fault("hang", method="GET", path=f"/api/programs/p-{campaign}")
    await play.fire(PROVED, campaign)
    await play.run_at("diagnosing", campaign)


async def _on_the_wire(play: Stage, campaign: str) -> None:
    """The call has reached the API, and the API will do it later."""
    await play.world.fault("late", path=f"/api/campaigns/{campaign}/pause", seconds=1.0)
    await play.fire(PROVED, campaign)
    await until(lambda: play.calls(campaign), "the API was not called")


async def _done_unanswered(play: Stage, campaign: str) -> None:
    """The API has done it; its answer never comes."""
    await play.world.fault("hang", path=f"/api/campaigns/{campaign}/pause")
    await play.fire(PROVED, campaign)
    await until(lambda: play.done(campaign), "the API did nothing")


async def _verifying(play: Stage, campaign: str) -> None:
    """The result is stored; the proof never comes."""
    await play.fire(PROVED, campaign)
    await until(lambda: play.done(campaign), "the API did nothing")
    await play.run_with(campaign, lambda run: run["stage"] in ("verifying", "closed"))


async def _holding(play: Stage, campaign: str) -> None:
    await play.fire(HOLDS, campaign)
    await play.run_at("holding", campaign)


POINTS: dict[str, Point] = {
    "accepted": _before_any_run,
    "diagnosing": _diagnosing,
    "on the wire": _on_the_wire,
    "done, unanswered": _done_unanswered,
    "verifying": _verifying,
}


def _kill(play: Stage) -> None:
    assert play.daemon.child is not None
    play.daemon.child.kill()


SOON_S = 10.0
"""As promised, and much sooner than the slow answers of these stories."""


def _stop(play: Stage) -> float:
    """SIGTERM; how many seconds it took to end, which it did by itself."""
    assert play.daemon.child is not None
    began = time.monotonic()
    status = play.daemon.child.end(within=60)
    assert status == 0, play.daemon.child.said()[-3000:]
    return time.monotonic() - began


async def _whole(play: Stage) -> None:
    """The record is whole."""
    said = await play.cli("audit", "verify", "--store", f"sqlite:///{play.daemon.folder}/state.db")
    assert said.status == 0, said


# ── Killed ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("point", POINTS)
async def test_killed_while_it_works_it_ends_fixed_with_one_call(play: Stage, point: str) -> None:
    campaign = await play.campaign()
    await POINTS[point](play, campaign)
    _kill(play)
    play.daemon.start()
    await play.closed(campaign, "fixed")
    assert await play.calls(campaign) == 1
    assert await play.done(campaign) == 1
    await _whole(play)


async def test_killed_before_an_answer_that_nothing_can_prove_it_asks_a_person(
    play: Stage, pager: Webhook
) -> None:
    campaign = await play.campaign()
    await play.world.fault("hang", path=f"/api/campaigns/{campaign}/pause")
    await play.fire(UNPROVED, campaign)
    await until(lambda: play.done(campaign), "the API did nothing")
    _kill(play)
    play.daemon.start()
    run = await play.run_at("asking", campaign)
    await play.paged("it is unknown whether pause happened")
    told = await pager.wait_for(lambda one: one.body["run"] == run["id"])
    assert f"remediator runs settle {run['id']}" in told.body["text"]
    await asyncio.sleep(1.5)
    assert await play.calls(campaign) == 1
    said = await play.cli("runs", "settle", run["id"], "happened", "--reason", "it is paused", by="bob")
    assert said.status == 0, said
    await play.closed(campaign, "fixed")
    assert await play.calls(campaign) == 1


async def test_killed_before_a_call_that_never_arrived_it_finds_out_and_asks(play: Stage) -> None:
    campaign = await play.campaign()
    await play.world.fault("late", path=f"/api/campaigns/{campaign}/pause", seconds=20.0)
    await play.fire(PROVED, campaign)
    await until(lambda: play.calls(campaign), "the API was not called")
    _kill(play)
    play.daemon.start()
    run = await play.run_at("asking", campaign)
    await play.paged(f"remediator runs settle {run['id']}")
    assert await play.calls(campaign) == 1


async def test_killed_while_a_gate_waits_the_same_card_goes_on(play: Stage) -> None:
    campaign = await play.campaign()
    run = await play.asked(ASKS, campaign)
    gate = str(run["gate"])
    assert (await play.click(gate, "amina")).status == 200
    _kill(play)
    play.daemon.start()
    assert (await play.click(gate, "bob")).status == 200
    assert (await play.closed(campaign, "fixed"))["id"] == run["id"]
    assert await play.calls(campaign) == 1
    shown = [one for one in await play.slack.messages("C0OPS") if f"{gate}:" in str(one["versions"])]
    assert len(shown) == 1
    await _whole(play)


async def test_killed_at_a_gate_that_expires_meanwhile_it_pages_when_it_is_back(play: Stage) -> None:
    short = pausing("soon-over")
    short["steps"]["pause"]["gate"]["within"] = "2s"
    play.daemon.policy("soon-over", text(short))
    assert (await play.daemon.post("/api/v1/policies/reload", {}, by="chen"))[0] == 200
    campaign = await play.campaign()
    gate = str((await play.asked("soon-over", campaign))["gate"])
    _kill(play)
    await asyncio.sleep(2.5)
    play.daemon.start()
    await play.closed(campaign, "expired")
    await play.paged(f"gate {gate} expired")
    assert await play.calls(campaign) == 0


async def test_killed_while_it_holds_it_undoes_at_once_what_was_due_meanwhile(play: Stage) -> None:
    campaign = await play.campaign()
    await _holding(play, campaign)
    _kill(play)
    await asyncio.sleep(3.5)
    assert await play.calls(campaign, "resume") == 0
    play.daemon.start()
    await play.closed(campaign, "fixed")
    assert (await play.calls(campaign), await play.calls(campaign, "resume")) == (1, 1)
    await _whole(play)


async def test_killed_while_it_undoes_it_never_undoes_twice(play: Stage, pager: Webhook) -> None:
    done, not_done = await play.campaign(), await play.campaign()
    for campaign, fault in ((done, "hang"), (not_done, "late")):
        await play.world.fault(fault, path=f"/api/campaigns/{campaign}/resume", seconds=20.0)
        await play.fire(HOLDS, campaign)
    for campaign in (done, not_done):
        await until(partial(play.calls, campaign, "resume"), "it was not undone")
    _kill(play)
    play.daemon.start()
    for campaign in (done, not_done):
        run = await play.closed(campaign, "failed")
        await pager.wait_for(partial(_is_about, run["id"]))
        told = [one.body["text"] for one in pager.deliveries if one.body["run"] == run["id"]]
        assert "the undo of pause went wrong" in told[-1]
    await play.paged("the undo of pause went wrong")
    await asyncio.sleep(1.5)
    for campaign in (done, not_done):
        assert (await play.calls(campaign), await play.calls(campaign, "resume")) == (1, 1)


def _is_about(run: str, delivery: Delivery) -> bool:
    return bool(delivery.body["run"] == run)


# ── Stopped ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("point", POINTS)
async def test_stopped_while_it_works_it_goes_on_where_it_was(play: Stage, point: str) -> None:
    campaign = await play.campaign()
    await POINTS[point](play, campaign)
    assert _stop(play) < SOON_S
    play.daemon.start()
    await play.closed(campaign, "fixed")
    assert await play.calls(campaign) == 1
    assert await play.done(campaign) == 1


async def test_stopped_while_slack_is_down_and_a_card_waits(play: Stage) -> None:
    await play.slack.mode("down")
    try:
        campaign = await play.campaign()
        run = await play.asked(ASKS, campaign)
        await asyncio.sleep(0.5)
        assert _stop(play) < SOON_S
    finally:
        await play.slack.mode("ok")
    play.daemon.start()
    for person in ("amina", "bob"):
        assert (await play.click(str(run["gate"]), person)).status == 200
    await play.closed(campaign, "fixed")


async def test_stopped_while_it_holds_and_undoes(play: Stage) -> None:
    campaign = await play.campaign()
    await _holding(play, campaign)
    assert _stop(play) < SOON_S
    await play.world.fault("delay", path=f"/api/campaigns/{campaign}/resume", seconds=1.0)
    play.daemon.start()
    await until(lambda: play.calls(campaign, "resume"), "it was not undone")
    assert _stop(play) < SOON_S
    play.daemon.start()
    await play.closed(campaign, "fixed")
    assert (await play.calls(campaign), await play.calls(campaign, "resume")) == (1, 1)


async def test_stopped_while_a_slow_service_keeps_it_waiting(play: Stage) -> None:
    connections = play.daemon.config["connections"]
    slow = {**connections["loyalty_api"], "timeout": "20s"}
    play.daemon.config["connections"] = connections | {"loyalty_api": slow}
    _stop(play)
    play.daemon.start()
    campaign = await play.campaign()
    await _done_unanswered(play, campaign)
    assert _stop(play) < SOON_S
    play.daemon.config["connections"] = connections
    play.daemon.start()
    await play.closed(campaign, "fixed")
    assert await play.calls(campaign) == 1


async def test_it_stops_while_somebody_listens_to_its_events(play: Stage) -> None:
    import aiohttp

    async with aiohttp.ClientSession() as session, session.get(f"{play.daemon.url}/api/v1/events") as events:
        assert events.status == 200
        took = await asyncio.to_thread(_stop, play)
    assert took < SOON_S
