"""What policies share and what they remember, over the real store: budgets, breakers, windows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from remediator.core.durations import Rate
from remediator.core.messages import Refused, VoteCast
from remediator.core.policy import Policy
from remediator.core.run import Run, Stage, Vote
from tests.core.campaign import CATALOG, policy, post, votes
from tests.engine.world import START, Engine, alert, engine

ONE = replace(CATALOG, budgets={"pauses": Rate(1, timedelta(hours=1))})


def shares(name: str, path: str, **rest: Any) -> Policy:
    bounds = {"budget": "pauses", "cooldown": "0s", **rest.pop("bounds", {})}
    steps = rest.pop("steps", {"pause": post("/pause/${campaign}")})
    return policy(steps, policy=name, target=f"campaign/{path}-${{campaign}}", bounds=bounds, **rest)


async def approves(one: Engine, run: Run) -> None:
    assert run.gate is not None
    vote = Vote("bob", approve=True, at=one.clock.now(), via="api", hash=run.gate.hash)
    await one.tells(run.id, VoteCast(run.gate.id, vote))


async def test_two_policies_on_two_targets_cannot_pass_one_budget(tmp_path: Path) -> None:
    async with engine(tmp_path) as one:
        one.runs_with(shares("first", "a"), shares("second", "b"), catalog=ONE)
        await one.delivers(alert())
        (run,) = await one.runs()
        assert one.acts() == ["pause"]
        other = "second" if run.policy == "first" else "first"
        standing = await one.stands(other)
        assert standing is not None
        assert standing.bound == "budget"
        assert standing.reason == f"1 of 1 runs of budget pauses in 1h, by {run.policy} 1"
        assert standing.again_at == START + timedelta(hours=1)
        await one.answers()
        one.later(minutes=59)
        await one.meets_deadlines()
        assert len(await one.runs()) == 1
        one.later(minutes=1)
        await one.meets_deadlines()
        assert len(await one.runs()) == 2, "one of the two that waited, and not both"
        assert one.acts() == ["pause"]


async def test_of_two_runs_that_were_approved_only_one_takes_what_is_left(tmp_path: Path) -> None:
    gated = {"pause": post("/pause/${campaign}", gate=votes(oncall=1))}
    async with engine(tmp_path) as one:
        one.runs_with(shares("first", "a", steps=gated), shares("second", "b", steps=gated), catalog=ONE)
        await one.delivers(alert())
        both = await one.runs()
        assert [run.stage for run in both] == [Stage.WAITING, Stage.WAITING]
        for run in both:
            await approves(one, run)
        assert one.acts() == ["pause"]
        first, second = await one.runs()
        assert {first.stage, second.stage} == {Stage.ACTING, Stage.CLOSED}
        refused = first if first.stage is Stage.CLOSED else second
        assert refused.reason.startswith("budget: 1 of 1 runs of budget pauses")


async def test_an_act_of_which_nobody_knows_the_outcome_stays_in_the_budget(tmp_path: Path) -> None:
    async with engine(tmp_path) as one:
        one.runs_with(shares("first", "a"), catalog=ONE)
        await one.delivers(alert())
        one.pending.clear()  # the answer never comes
        await one.delivers(alert("f2", campaign="c-2"))
        standing = await one.stands("first", "f2")
        assert standing is not None
        assert standing.bound == "budget"


async def test_who_observes_has_a_budget_of_its_own(tmp_path: Path) -> None:
    async with engine(tmp_path) as one:
        one.runs_with(shares("watches", "a", mode="observe"), shares("works", "b"), catalog=ONE)
        await one.delivers(alert(), alert("f2", campaign="c-2"))
        outcomes = {(run.policy, run.target): run.reason or str(run.stage) for run in await one.runs()}
        assert outcomes["watches", "campaign/a-c-1"] == "would do: pause"
        assert outcomes["works", "campaign/b-c-1"] == "acting"
        noes = {name: await one.stands(name, "f2") for name in ("watches", "works")}
        assert {name: no.reason for name, no in noes.items() if no is not None} == {
            "watches": "1 of 1 runs of budget pauses in 1h, by watches 1",
            "works": "1 of 1 runs of budget pauses in 1h, by works 1",
        }


async def test_the_cooldown_runs_from_a_runs_last_act_and_the_run_counts_once(tmp_path: Path) -> None:
    steps = {"pause": post("/pause/${campaign}"), "cut": post("/cut/${campaign}")}
    bounds = {"cooldown": "30m", "per_target": "2 in 24h"}
    async with engine(tmp_path, policy(steps, bounds=bounds, recheck="15m")) as one:
        await one.delivers(alert())
        one.later(minutes=20)
        await one.answers()
        assert one.acts() == ["cut"]
        await one.answers()
        one.later(minutes=15)
        await one.meets_deadlines()
        standing = await one.stands("late-campaign")
        assert standing is not None
        assert standing.reason == "campaign/c-1 was acted on 15m ago; cooldown 30m"
        assert standing.again_at == START + timedelta(minutes=50)
        one.later(minutes=15)
        await one.meets_deadlines()
        assert len(await one.runs()) == 2, "two acts of one run are one of the two that may be"


def breaks(mode: str) -> Policy:
    breaker = {"failures": 2, "within": "24h", "mode": mode, "for": "4h"}
    bounds = {"breaker": breaker, "cooldown": "0s", "per_policy": "3 in 24h"}
    return policy({"pause": post("/pause/${campaign}")}, bounds=bounds)


@pytest.mark.parametrize(("mode", "then"), [("suggest", "waiting"), ("observe", "closed")])
async def test_a_policy_that_fails_too_often_is_stepped_down_for_a_time(
    tmp_path: Path, mode: str, then: str
) -> None:
    async with engine(tmp_path, breaks(mode)) as one:
        for number in (1, 2):
            await one.delivers(alert(f"f{number}", campaign=f"c-{number}"))
            await one.answers(result=Refused("409"))
        pages = await one.store.read(lambda tx: tx.pages())
        down = [page for page in pages if "stepped down" in page.text]
        assert len(down) == 1
        assert f"from act to {mode} until 2026-03-04 14:00:00 UTC" in down[0].text
        await one.delivers(alert("f3", campaign="c-3"))
        third = (await one.runs())[-1]
        assert (third.mode, str(third.stage)) == (mode, then)
        assert third.down_until == START + timedelta(hours=4)
        assert one.acts() == []
        one.later(hours=4)
        await one.delivers(alert("f4", campaign="c-4"))
        assert one.acts() == ["pause"], "what only would have been done counts apart"


async def test_a_run_that_waited_while_its_policy_failed_asks_again_in_the_lower_mode(tmp_path: Path) -> None:
    """Another run fails while people think about this one."""
    breaker = {"failures": 1, "within": "24h", "mode": "observe", "for": "4h"}
    cases = [
        {"when": 'campaign == "c-1"', "do": ["ask"]},
        {"do": ["pause"]},
    ]
    steps = {"ask": post("/ask", gate=votes(oncall=1)), "pause": post("/pause")}
    async with engine(tmp_path, policy(steps, decide=cases, bounds={"breaker": breaker})) as one:
        await one.delivers(alert())
        await one.delivers(alert("f2", campaign="c-2"))
        await one.answers(result=Refused("409"))
        waiting = (await one.runs())[0]
        assert waiting.stage is Stage.WAITING
        await approves(one, waiting)
        assert one.acts() == []
        await one.meets_deadlines()
        modes = [(run.target, run.mode, str(run.outcome)) for run in await one.runs()]
        assert ("campaign/c-1", "act", "refused") in modes
        assert ("campaign/c-1", "observe", "observed") in modes


async def test_outside_its_windows_an_alert_is_refused_until_the_moment_at_which_they_open(
    tmp_path: Path,
) -> None:
    early = policy({"pause": post("/p")}, bounds={"windows": {"only": ["Wed 11:00-12:00 UTC"]}})
    async with engine(tmp_path, early) as one:
        await one.delivers(alert())
        standing = await one.stands("late-campaign")
        assert standing is not None
        assert (standing.bound, standing.again_at) == ("windows", START + timedelta(hours=1))
        one.later(minutes=59, seconds=59)
        await one.meets_deadlines()
        assert one.acts() == []
        one.later(seconds=1)
        await one.meets_deadlines()
        assert one.acts() == ["pause"]
