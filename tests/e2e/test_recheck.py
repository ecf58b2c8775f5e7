"""Nothing is forgotten: an alert that fires on is decided again, and so is whatever a refusal waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.e2e.policies import STAYS, UNATTENDED, UNPROVABLE, holding, pausing
from tests.e2e.stage import Stage, stage
from tests.rig.room import until
from tests.rig.slack import FakeSlack
from tests.rig.world import LoyaltyWorld

pytestmark = [pytest.mark.e2e, pytest.mark.no_cover]

WORSE, BUSY, OTHER = "budget-worsens", "pause-campaign", "pause-too"


def _worsening() -> dict[str, Any]:
    """The runbook's table: over 10 % left nothing, over 5 % a warning, below that a lower earn rate."""
    left = "100.0 * (program.json.budgetLimit - program.json.budgetSpent) / program.json.budgetLimit"
    halve = {
        "use": "http.request",
        "via": "loyalty_api",
        "with": {
            "method": "PUT",
            "path": "/api/programs/${program_id}",
            "body": {"earnRate": "${program.json.earnRate * 0.5}", "ifVersion": "${program.json.version}"},
        },
        "gate": UNATTENDED,
        "verify": {
            "use": "http.get",
            "via": "loyalty_api",
            "with": {"path": "/api/programs/${program_id}"},
            "until": "verify.json.earnRate < before.json.earnRate",
            "within": "3s",
            "every": "1s",
        },
        "undo": STAYS,
    }
    return {
        **pausing(WORSE),
        "target": "loyalty-program/${program_id}",
        "params": {
            "program_id": {"from": "labels.program_id", "type": "string", "pattern": "[a-z0-9-]{1,64}"}
        },
        "diagnose": {
            "program": {
                "use": "http.get",
                "via": "loyalty_api",
                "with": {"path": "/api/programs/${program_id}"},
            }
        },
        "decide": [
            {"when": f"{left} > 10.0", "do": "nothing"},
            {"when": f"{left} > 5.0", "do": ["warn"]},
            {"do": ["warn", "halve"]},
        ],
        "steps": {
            "warn": {
                "use": "people.page",
                "with": {"text": f"${{program_id}}: ${{round({left}, 1)}} % left"},
            },
            "halve": halve,
        },
    }


def _moded(mode: str) -> dict[str, Any]:
    return {**pausing(f"{mode}s-it", gate=UNATTENDED), "mode": mode}


def _quick(policy: dict[str, Any], **bounds: str) -> dict[str, Any]:
    return {**policy, "bounds": {**policy["bounds"], **bounds}}


@pytest.fixture(scope="module")
def play(one_world: LoyaltyWorld, one_slack: FakeSlack) -> Iterator[Stage]:
    policies = [
        _worsening(),
        pausing(BUSY, gate=UNATTENDED),
        _quick(pausing(OTHER, gate=UNATTENDED), cooldown="1s"),
        _quick(holding(after="1s"), cooldown="4s"),
        _moded("observe"),
        _moded("suggest"),
        _quick(
            pausing("once-an-hour", gate=UNATTENDED, verify=UNPROVABLE), per_target="1 in 1h", cooldown="1s"
        ),
    ]
    with stage(one_world, one_slack, *policies) as one:
        yield one


async def _refusal(play: Stage, policy: str, campaign: str) -> dict[str, Any]:
    """The refusal that stands for this policy on this campaign."""
    found: list[dict[str, Any]] = []

    async def there() -> bool:
        status = await play.daemon.get("/status")
        found[:] = [
            one
            for one in status["refusals"]
            if one["policy"] == policy and one["target"] == f"campaign/{campaign}"
        ]
        return bool(found)

    await until(there, f"{policy} was not refused on {campaign}")
    return found[0]


async def test_figures_that_worsen_reach_the_later_rows_of_the_table(play: Stage) -> None:
    campaign = await play.campaign()
    program = f"p-{campaign}"
    target = f"loyalty-program/{program}"

    async def spent(points: float) -> None:
        await play.world.control(f"programs/{program}", budget_limit=100.0, budget_spent=points)

    async def run(outcome: str, reason: str) -> dict[str, Any]:
        return await play.daemon.wait_run(
            lambda one: one["target"] == target and one["outcome"] == outcome and reason in one["reason"]
        )

    await spent(50.0)
    await play.fire(WORSE, campaign)
    await run("nothing-to-do", "do nothing")
    await spent(93.0)
    await run("fixed", "warn done")
    await play.paged(f"{program}: 7 % left")
    assert not [one for one in await play.world.ledger() if program in one["path"]]
    await spent(97.0)
    await run("fixed", "halve proved")
    puts = [one for one in await play.world.ledger() if one["path"] == f"/api/programs/{program}"]
    assert [one["body"]["earnRate"] for one in puts] == [0.035]
    await play.fire(WORSE, campaign, "resolved")
    before = len(await play.daemon.runs(target=target))
    await asyncio.sleep(1.5)
    assert len(await play.daemon.runs(target=target)) <= before + 1  # no recheck of what is over
    assert len([one for one in await play.world.ledger() if program in one["path"]]) == 1


async def test_a_run_refused_because_its_target_is_busy_runs_when_it_is_free(play: Stage) -> None:
    campaign = await play.campaign()
    await play.world.fault("delay", path=f"/api/campaigns/{campaign}/pause", seconds=1.5)
    await play.fire(BUSY, campaign)
    first = await play.run_at("acting", campaign)
    await play.fire(OTHER, campaign)
    refusal = await _refusal(play, OTHER, campaign)
    assert refusal["bound"] == "target"
    assert first["id"] in refusal["reason"]
    await play.closed(campaign, "fixed")
    second = await play.run_with(campaign, lambda run: run["policy"] == OTHER and run["outcome"] is not None)
    assert second["outcome"] == "nothing-to-do"  # by then it was paused
    assert await play.calls(campaign) == 1


async def test_two_policies_that_want_one_target_at_once_act_one_after_the_other(play: Stage) -> None:
    campaign = await play.campaign()
    await play.world.fault("delay", path=f"/api/campaigns/{campaign}/pause", seconds=0.5)
    await asyncio.gather(play.fire(BUSY, campaign), play.fire(OTHER, campaign))
    await play.closed(campaign, "fixed")
    await asyncio.sleep(1.5)
    assert await play.calls(campaign) == 1


async def test_a_cooldown_is_waited_for_and_then_it_acts_again(play: Stage) -> None:
    campaign = await play.campaign()
    await play.fire("hold-campaign", campaign)
    await play.closed(campaign, "fixed")
    refusal = await _refusal(play, "hold-campaign", campaign)
    assert refusal["bound"] == "cooldown"
    assert "acted on" in refusal["reason"]
    assert refusal["again_at"]
    await until(lambda: _reached(play, campaign, 2), "it did not act again after the cooldown")
    pauses = [
        one["at"] for one in await play.world.requests() if one["path"] == f"/api/campaigns/{campaign}/pause"
    ]
    counted = await _first_intent(play, campaign)  # committed before its request was sent
    assert counted <= pauses[0]
    assert pauses[1] >= counted + 4.0
    await play.fire("hold-campaign", campaign, "resolved")


async def _first_intent(play: Stage, campaign: str) -> float:
    """When the first run on this campaign committed that it would act."""
    runs = await play.daemon.runs(policy="hold-campaign")
    first = [run for run in runs if run["target"] == f"campaign/{campaign}"][-1]
    lines = await play.daemon.journal(first["id"])
    return datetime.fromisoformat(next(one["at"] for one in lines if one["kind"] == "started")).timestamp()


async def _reached(play: Stage, campaign: str, times: int) -> bool:
    return await play.calls(campaign) >= times


async def test_a_rate_is_not_exceeded_and_says_so(play: Stage) -> None:
    campaign = await play.campaign()
    await play.fire("once-an-hour", campaign)
    await play.closed(campaign, "fixed")
    await play.world.control(f"campaigns/{campaign}", status="running")
    await asyncio.sleep(2.5)
    refusal = await _refusal(play, "once-an-hour", campaign)
    assert (refusal["bound"], "1 of 1 runs" in refusal["reason"]) == ("per_target", True)
    assert await play.calls(campaign) == 1


async def test_mode_observe_says_what_it_would_do_and_touches_nothing(play: Stage) -> None:
    campaign = await play.campaign()
    await play.fire("observes-it", campaign)
    run = await play.closed(campaign, "observed")
    assert run["reason"] == "would do: pause"
    would = await play.entry(run["id"], "would")
    assert f"/api/campaigns/{campaign}/pause" in would["data"]["summary"]
    assert await play.calls(campaign) == 0
    # It takes no lock: a policy that acts is not in its way.
    await play.fire(BUSY, campaign)
    await play.closed(campaign, "fixed")


async def test_mode_suggest_asks_for_a_step_that_would_run_unattended(play: Stage) -> None:
    campaign = await play.campaign()
    run = await play.asked("suggests-it", campaign)
    await play.card_says(str(run["gate"]), "1 of oncall", f"/api/campaigns/{campaign}/pause")
    assert await play.calls(campaign) == 0
    assert (await play.vote(str(run["gate"]), "amina"))[0] == 409
    assert (await play.click(str(run["gate"]), "bob")).status == 200
    await play.closed(campaign, "fixed")
    assert await play.calls(campaign) == 1


async def test_alerts_that_say_the_same_join_one_run_and_all_must_end(play: Stage) -> None:
    campaign = await play.campaign()
    run = await play.asked("suggests-it", campaign)
    await play.fire("suggests-it", campaign, pod="another")
    await play.entry(run["id"], "joined")
    await play.fire("suggests-it", campaign)  # a redelivery
    await play.fire("suggests-it", campaign, "resolved")
    await asyncio.sleep(2.5)
    assert (await play.daemon.get(f"/api/v1/runs/{run['id']}"))["stage"] == "waiting"
    await play.fire("suggests-it", campaign, "resolved", pod="another")
    await play.closed(campaign, "recovered")
    assert len(await play.daemon.runs(target=f"campaign/{campaign}")) == 1


async def test_a_gate_is_not_asked_for_again_while_it_is_open(play: Stage) -> None:
    campaign = await play.campaign()
    run = await play.asked("suggests-it", campaign)
    for _ in range(20):
        await play.fire("suggests-it", campaign)
    await asyncio.sleep(1.5)
    assert [one["id"] for one in await play.daemon.runs(target=f"campaign/{campaign}")] == [run["id"]]
