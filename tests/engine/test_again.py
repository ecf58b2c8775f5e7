"""Stories of gates that nobody answered in time, and of those who want people to be asked again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from remediator.core.messages import Card, VoteCast
from remediator.core.run import Halt, Outcome, Run, Stage, Vote
from remediator.engine.desk import PeoplesDesk
from remediator.engine.driver import Driver
from remediator.ports import SYSTEM, Answer, Pending, Reloaded
from remediator.store.audit import audit
from tests.core.campaign import policy, post, votes
from tests.engine.world import START, Engine, alert, engine

GATED = policy(
    {"pause": post("/pause/${campaign}", gate=votes(oncall=1))}, bounds={"cooldown": "30m"}, recheck="5m"
)


class Catches:
    """Performs nothing, and knows what was wanted."""

    def __init__(self) -> None:
        self.effects: list[Any] = []

    def start(self, pending: Pending) -> None:
        self.effects.append(pending.effect)


class Story:
    """Somebody at the desk, before a run whose gate nobody answers."""

    def __init__(self, one: Engine) -> None:
        self.one = one
        self.performer = Catches()

        async def nothing(*_words: str) -> None:
            return None

        async def reload() -> Reloaded:
            return Reloaded("nothing changed")

        driver = Driver(one.store, one.decisions, one.clock, lambda: None, nothing)
        driver.attach(self.performer)
        self.desk = PeoplesDesk(one.store, driver, one._new_id, lambda: one.policies, reload)

    async def nobody_answers(self) -> Run:
        """The newest run's gate expires."""
        self.one.later(minutes=15)
        await self.one.meets_deadlines()
        run = (await self.one.runs())[-1]
        assert run.outcome is Outcome.EXPIRED
        return run

    async def denies(self, run: Run, person: str = "bob") -> None:
        assert run.gate is not None
        vote = Vote(person, False, self.one.clock.now(), "slack", run.gate.hash)
        await self.one.tells(run.id, VoteCast(run.gate.id, vote))

    async def asks_again(self, run: Run, by: str = "bob") -> Answer:
        assert run.gate is not None
        return await self.desk.ask_again(run.gate.id, by=by, via="slack")

    async def last(self) -> Run:
        return (await self.one.runs())[-1]


@asynccontextmanager
async def waiting(folder: Path, *policies: Any) -> AsyncIterator[Story]:
    """A run waits at a gate of the on-call."""
    async with engine(folder, *(policies or (GATED,))) as one:
        await one.delivers(alert())
        story = Story(one)
        assert (await story.last()).stage is Stage.WAITING
        yield story


@pytest.fixture
async def story(tmp_path: Path) -> AsyncIterator[Story]:
    async with waiting(tmp_path) as one:
        yield one


async def test_an_expired_gate_is_asked_again_at_once_in_spite_of_its_cooldown(story: Story) -> None:
    expired = await story.nobody_answers()
    answer = await story.asks_again(expired)
    run = await story.last()
    assert (run.id != expired.id, run.stage) == (True, Stage.WAITING)
    assert (answer.ok, answer.text) == (True, f"asked again: run {run.id} was opened")
    assert answer.data == {"gate": f"{expired.id}.1", "run": run.id}
    standing = await story.one.stands("late-campaign")
    assert standing is not None
    assert (standing.kind, standing.run) == ("run-opened", run.id)


async def test_what_was_asked_again_can_be_approved_and_done(story: Story) -> None:
    await story.asks_again(await story.nobody_answers())
    run = await story.last()
    assert run.gate is not None
    vote = Vote("bob", True, story.one.clock.now(), "slack", run.gate.hash)
    await story.one.tells(run.id, VoteCast(run.gate.id, vote))
    assert story.one.acts() == ["pause"], "the cooldown of the expiry does not refuse it at the start either"


async def test_it_is_written_down_who_asked_and_the_old_card_says_so(story: Story) -> None:
    expired = await story.nobody_answers()
    await story.asks_again(expired)
    run = await story.last()
    told = {
        "gate": f"{expired.id}.1",
        "by": "bob",
        "via": "slack",
        "opened": run.id,
        "answer": f"run {run.id} was opened",
    }
    for journal in (expired.id, SYSTEM):
        entries = await story.one.store.read(lambda tx, name=journal: tx.read_journal(name))  # type: ignore[misc]
        assert [one.data for one in entries if one.kind == "asked-again"] == [told]
    before = await story.one.store.read(lambda tx: tx.run(expired.id))
    assert before is not None
    assert before.gate is not None
    assert before.gate.again == run.id
    assert before.gate.remarks == (f"bob asked again: run {run.id} was opened",)
    assert Card(f"{expired.id}.1") in story.performer.effects
    assert (await audit(story.one.store)).problems == ()


async def test_twice_is_harmless_and_the_second_hears_of_the_open_run(story: Story) -> None:
    expired = await story.nobody_answers()
    await story.asks_again(expired)
    run = await story.last()
    for person in ("bob", "carl"):
        answer = await story.asks_again(expired, person)
        assert (answer.ok, answer.text) == (True, f"run {run.id} is open about campaign/c-1 already")
    assert len(await story.one.runs()) == 2


async def test_only_the_roles_that_were_asked_may_ask_again(story: Story) -> None:
    expired = await story.nobody_answers()
    answer = await story.asks_again(expired, "amina")
    assert (answer.ok, answer.status) == (False, 403)
    assert answer.text == "not asked again: amina has none of the roles oncall"
    assert len(await story.one.runs()) == 1


async def test_silence_that_a_policy_takes_as_a_denial_is_final_too(tmp_path: Path) -> None:
    strict = policy({"pause": post("/pause/${campaign}", gate=votes(oncall=1, within="5m", late="deny"))})
    async with waiting(tmp_path, strict) as story:
        answer = await story.asks_again(await story.nobody_answers())
        assert (answer.ok, answer.status) == (False, 409)
        assert "takes as a denial" in answer.text


async def test_a_denial_is_final_until_its_cooldown_is_over(story: Story) -> None:
    await story.denies(await story.last())
    answer = await story.asks_again(await story.last())
    assert (answer.ok, answer.status) == (False, 409)
    assert (
        answer.text == "not asked again: only a gate that expired can be asked again, and this one is denied"
    )


async def test_asking_again_does_not_lift_the_cooldown_of_a_real_denial(story: Story) -> None:
    expired = await story.nobody_answers()
    await story.asks_again(expired)
    await story.denies(await story.last())
    story.one.later(minutes=1)
    answer = await story.asks_again(expired)
    assert (answer.ok, answer.status) == (False, 409)
    assert "cooldown: campaign/c-1 was denied or expired" in answer.text
    assert len(await story.one.runs()) == 2
    standing = await story.one.stands("late-campaign")
    assert standing is not None
    assert standing.again_at == START + timedelta(minutes=15 + 30)
    before = await story.one.store.read(lambda tx: tx.run(expired.id))
    assert before is not None
    assert before.gate is not None
    assert "bob wants this asked again: cooldown" in before.gate.remarks[-1]


async def test_each_expiry_is_lifted_by_itself_only(story: Story) -> None:
    first = await story.nobody_answers()
    await story.asks_again(first)
    second = await story.nobody_answers()
    assert not (await story.asks_again(first)).ok
    assert len(await story.one.runs()) == 2
    assert (await story.asks_again(second)).ok
    assert len(await story.one.runs()) == 3


async def test_other_bounds_stand(story: Story) -> None:
    expired = await story.nobody_answers()
    halt = Halt(id="h", scope="all", reason="migration", by="carl", at=story.one.clock.now())
    await story.one.store.transact(lambda tx: tx.put_halt(halt))
    answer = await story.asks_again(expired)
    assert not answer.ok
    assert answer.text == "not asked again: halt: halted by carl (all): migration"
    await story.desk.resume("h", by="bob")
    await story.one.meets_deadlines()
    assert (await story.last()).stage is Stage.WAITING, "the wish stands: the expiry counts no more"


async def test_an_alert_that_has_resolved_is_not_asked_about(story: Story) -> None:
    expired = await story.nobody_answers()
    await story.one.delivers(alert(firing=False))
    answer = await story.asks_again(expired)
    assert (answer.ok, answer.status) == (False, 409)
    assert "fires any more, so there is nothing to ask" in answer.text
    assert len(await story.one.runs()) == 1


async def test_all_alerts_of_the_run_are_asked_about_in_one_run(story: Story) -> None:
    await story.one.delivers(alert("f2"))
    expired = await story.nobody_answers()
    await story.asks_again(expired)
    assert set((await story.last()).members) == {"f1", "f2"}
    assert len(await story.one.runs()) == 2


async def test_a_policy_that_is_gone_asks_nobody(story: Story) -> None:
    expired = await story.nobody_answers()
    story.one.runs_with()
    assert "policy late-campaign is gone" in (await story.asks_again(expired)).text
    story.one.runs_with(policy({"pause": post("/pause")}, match=['{alertname="Else"}']))
    assert "wants these alerts no more" in (await story.asks_again(expired)).text


async def test_a_gate_that_is_open_or_that_nobody_knows_is_not_asked_again(story: Story) -> None:
    answer = await story.asks_again(await story.last())
    assert (answer.status, "this one is open" in answer.text) == (409, True)
    for unknown in ("r-9.1", "r-1.9", "nonsense"):
        assert (await story.desk.ask_again(unknown, by="bob", via="cli")).status == 404


async def test_a_run_that_a_person_started_is_started_again_by_a_person(story: Story) -> None:
    expired = msgspec.structs.replace(await story.nobody_answers(), members={})
    await story.one.store.transact(lambda tx: tx.save_run(expired, None))
    assert "was started by a person, for no alert: start it again" in (await story.asks_again(expired)).text


async def test_a_change_that_stands_for_a_time_comes_first(tmp_path: Path) -> None:
    async with waiting(tmp_path) as story:
        expired = await story.nobody_answers()
        holding = msgspec.structs.replace(expired, stage=Stage.HOLDING, outcome=None, closed_at=None)
        await story.one.store.transact(lambda tx: tx.save_run(holding, None))
        answer = await story.asks_again(expired)
        assert (answer.status, "ask once it has closed" in answer.text) == (409, True)
