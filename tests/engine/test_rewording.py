"""Alerts that end, come back and say something else: none is lost, and none is answered for old words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from remediator.core.alert import Alert
from remediator.core.messages import Refused
from remediator.core.policy import Policy
from remediator.core.run import Halt, Outcome, Stage
from tests.core.campaign import budget_probe, policy, post, undo, votes
from tests.engine.test_decisions import approves
from tests.engine.world import Engine, alert, engine

WORD = "[a-z0-9-]{1,20}"


def noting(note: str, campaign: str = "c-1", *, firing: bool = True) -> Alert:
    """Its annotations name the campaign, and something else that people are shown."""
    return msgspec.structs.replace(alert(firing=firing), annotations={"campaign": campaign, "note": note})


def asks(**rest: Any) -> Policy:
    params = {name: {"from": f"annotations.{name}", "pattern": WORD} for name in ("campaign", "note")}
    pause = post("/pause/${campaign}/${note}", gate=votes(oncall=1, within="1h"))
    return policy({"pause": pause}, params=params, **rest)


async def flaps(one: Engine) -> None:
    """It fires, ends, and fires again within the debounce."""
    for firing in (True, False, True):
        await one.delivers(noting("a", firing=firing))
        one.later(seconds=5)


async def test_who_joins_a_run_that_ends_on_hearing_of_it_is_decided_on_again(tmp_path: Path) -> None:
    tries = policy(
        {"one": post("/one/${campaign}"), "two": post("/two/${campaign}")},
        recheck="5m",
        bounds={"cooldown": "30m"},
        decide=[{"try": ["one", "two"]}],
    )
    async with engine(tmp_path, tries) as one:
        await one.delivers(alert("f1"))
        await one.delivers(alert("f1", firing=False))
        await one.answers(result=Refused("no"))
        halt = Halt(id="h", scope="all", reason="a release", by="amina", at=one.clock.now())
        await one.store.transact(lambda tx: tx.put_halt(halt))
        await one.delivers(alert("f2"))
        (run,) = await one.runs()
        assert run.stage is Stage.CLOSED
        standing = await one.stands("late-campaign", "f2")
        assert standing is not None
        assert standing.again_at or standing.waits_for, standing
        await one.store.transact(lambda tx: tx.lift_halt("h", "amina"))
        one.later(hours=1)
        await one.meets_deadlines()
        assert [set(run.members) for run in await one.runs()] == [{"f1", "f2"}, {"f2"}]


async def test_who_flapped_and_then_says_something_else_is_decided_on_anew_at_once(tmp_path: Path) -> None:
    async with engine(tmp_path, asks()) as one:
        await flaps(one)
        await one.delivers(noting("b"))
        await one.meets_deadlines()
        old, new = await one.runs()
        assert (old.outcome, old.gate and old.gate.state) == (Outcome.REFUSED, "void")
        assert (new.stage, new.params["note"]) == (Stage.WAITING, "b")


async def test_what_flapped_and_speaks_of_another_target_is_not_done_to_the_first(tmp_path: Path) -> None:
    async with engine(tmp_path, asks()) as one:
        await flaps(one)
        await one.delivers(noting("a", "c-2"))
        one.later(minutes=2)
        await one.meets_deadlines()
        old, new = await one.runs()
        await approves(one, old)
        assert one.acts() == []
        assert (new.target, new.stage) == ("campaign/c-2", Stage.WAITING)


async def test_words_that_change_with_each_repeat_end_in_a_page_and_a_pause(tmp_path: Path) -> None:
    async with engine(tmp_path, asks(recheck="1h")) as one:
        for number in range(72):
            await one.delivers(noting(f"v{number}"))
            await one.meets_deadlines()
            one.later(minutes=5)
        pages = await one.store.read(lambda tx: tx.pages())
        assert ["4 times in a row" in page.text for page in pages] == [True]
        assert len(await one.runs()) <= 4 + 6
        await one.delivers(noting("still"))
        one.later(hours=1)
        await one.meets_deadlines()
        *_, asked = await one.runs()
        assert asked.stage is Stage.WAITING
        await approves(one, asked)
        assert one.acts() == ["pause"]


async def test_words_that_somebody_had_time_to_answer_are_counted_no_more(tmp_path: Path) -> None:
    async with engine(tmp_path, asks(recheck="1m")) as one:
        for number in range(9):
            await one.delivers(noting(f"v{number}"))
            await one.meets_deadlines()
            if number % 3 == 2:  # nobody answers in time
                one.later(hours=2)
                await one.meets_deadlines()
                one.later(minutes=40)
                await one.meets_deadlines()
        *_, asked = await one.runs()
        assert (asked.rewordings, asked.stage) == (0, Stage.WAITING)
        assert not [one for one in await one.store.read(lambda tx: tx.pages()) if "in a row" in one.text]


async def test_of_a_policy_that_only_observes_nobody_is_paged(tmp_path: Path) -> None:
    async with engine(tmp_path, asks(mode="observe", diagnose=budget_probe())) as one:
        for number in range(9):
            await one.delivers(noting(f"v{number}"))
            await one.meets_deadlines()
        assert [run.rewordings for run in await one.runs()] == [1, 2, 3, 4]
        assert await one.store.read(lambda tx: tx.pages()) == []


async def test_a_run_that_changed_something_ends_the_row(tmp_path: Path) -> None:
    params = {name: {"from": f"annotations.{name}", "pattern": WORD} for name in ("campaign", "note")}
    pause = post("/pause/${campaign}/${note}", gate=votes(oncall=1, within="1h"), undo=undo(after="1h"))
    async with engine(tmp_path, policy({"pause": pause}, params=params)) as one:
        for number in range(3):
            await one.delivers(noting(f"v{number}"))
            await one.meets_deadlines()
        *_, asked = await one.runs()
        assert asked.rewordings == 2
        await approves(one, asked)
        await one.answers()
        standing = await one.stands("late-campaign", asked.alert.fingerprint)
        assert standing is not None
        assert (standing.kind, standing.rewordings) == ("holding", 0)
