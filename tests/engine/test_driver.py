"""Stories of a loop that meets a defect of ours: one alert or run is set aside, all others go on."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from remediator.core import play
from remediator.core.alert import PORTION, Delivery
from remediator.engine import inbox
from remediator.engine.driver import REST_S, Driver
from remediator.engine.inbox import WHOLE_TRIES
from remediator.engine.setbacks import TRIES
from remediator.errors import StoreError
from remediator.ports import AlertRow, Disposition, Pending, Received, Tx
from remediator.store.sqlite_tx import SqliteTx
from tests.core.campaign import policy, post, votes
from tests.engine.world import Engine, alert, engine

GATED = policy({"pause": post("/pause/${campaign}", gate=votes(oncall=1, within="5m"))})


@dataclass
class Bench:
    """A driver over the engine's store; effects are only kept."""

    engine: Engine
    started: list[Pending] = field(default_factory=list)
    bugs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        one = self.engine
        self.driver = Driver(one.store, one.decisions, one.clock, lambda: None, self._bug)
        self.driver.attach(self)

    def start(self, pending: Pending) -> None:
        self.started.append(pending)

    async def waiting(self) -> list[str]:
        """What is in the inbox, oldest first."""
        inbox = await self.engine.store.read(lambda tx: tx.inbox(1000))
        return [f"{one.status} {one.fingerprint}" for row in inbox for one in row.delivery.alerts]

    async def _bug(self, key: str, text: str) -> None:
        self.bugs.append(f"{key} {text}")

    async def receives(self, *alerts: Any) -> None:
        delivery = Delivery(source="alertmanager", alerts=alerts, received_at=self.engine.clock.now())
        await self.engine.store.transact(lambda tx: tx.put_delivery(delivery))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with engine(tmp_path, GATED) as one:
        yield Bench(one)


def break_for(monkeypatch: pytest.MonkeyPatch, name: str, target: str) -> None:
    """A rule of the core that raises for one target, as a defect would."""
    real = getattr(play, name)

    def broken(first: Any, *rest: Any) -> Any:
        if target in repr(first):
            raise ZeroDivisionError("a defect")
        return real(first, *rest)

    monkeypatch.setattr(play, name, broken)


async def test_an_alert_that_cannot_be_decided_is_set_aside_and_its_siblings_go_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_for(monkeypatch, "begin", "campaign/c-2")
    await bench.receives(alert("f1", campaign="c-1"), alert("f2", campaign="c-2"))
    await bench.receives(alert("f3", campaign="c-1"))
    await bench.driver._drain_inbox()
    (run,) = await bench.engine.runs()
    assert (run.target, set(run.members)) == ("campaign/c-1", {"f1", "f3"})
    for _ in range(4):  # it is heard again, and tried again
        bench.engine.later(seconds=30)
        await bench.receives(alert("f2", campaign="c-2"))
        await bench.driver._drain_inbox()
    assert await bench.waiting() == ["firing f2"]
    (told,) = bench.bugs
    assert told.startswith("bug:alert:f2 alert CampaignLate cannot be decided: ZeroDivisionError: a defect")
    monkeypatch.undo()
    bench.engine.later(minutes=1)
    await bench.driver._drain_inbox()
    assert await bench.waiting() == []
    assert "campaign/c-2" in {run.target for run in await bench.engine.runs()}


async def test_a_delivery_that_the_store_cannot_take_whole_is_taken_alert_by_alert(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that takes longer than the store lets it takes as long the next time."""
    hear = bench.engine.decisions.hear

    async def slow(tx: Any, delivery: Delivery) -> Any:
        if len(delivery.alerts) > 1:
            raise StoreError("store", "canceling statement due to statement timeout")
        return await hear(tx, delivery)

    monkeypatch.setattr(bench.engine.decisions, "hear", slow)
    await bench.receives(alert("f1", campaign="c-1"), alert("f2", campaign="c-2"))
    await bench.receives(alert("f3", campaign="c-3"))
    for _ in range(WHOLE_TRIES - 1):
        with pytest.raises(StoreError):
            await bench.driver._drain_inbox()
    await bench.driver._drain_inbox()
    heard = await bench.engine.store.read(lambda tx: tx.alerts(firing_only=True))
    assert {row.alert.fingerprint for row in heard} == {"f1", "f2", "f3"}
    assert await bench.engine.store.read(lambda tx: tx.inbox_depth()) == 0
    assert bench.bugs == []


async def test_changed_policies_are_taken_up_in_portions(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once, everybody else's alerts waited for the last of them."""
    store, largest = bench.engine.store, 0
    bench.engine.runs_with()
    await bench.receives(*(alert(f"f{number}", campaign=f"c-{number}") for number in range(PORTION + 20)))
    await bench.driver._drain_inbox()
    bench.engine.runs_with(GATED)
    consider = bench.engine.decisions.consider

    async def counted(tx: Any, alerts: Any) -> Any:
        nonlocal largest
        largest = max(largest, len(alerts))
        return await consider(tx, alerts)

    monkeypatch.setattr(bench.engine.decisions, "consider", counted)
    await bench.driver.policies_changed()
    assert largest == PORTION
    decided = {one.fingerprint for one in await store.read(lambda tx: tx.dispositions())}
    assert len(decided) == PORTION + 20
    assert len(await bench.engine.runs()) == 2  # at_once
    bench.engine.runs_with()
    await bench.driver.policies_changed()
    left = await store.read(lambda tx: tx.dispositions(refused_only=True))
    assert left == [], "the policy that refused them is gone"


async def test_an_inbox_that_stands_still_for_a_minute_is_told_to_a_person(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(*_: Any) -> Any:
        raise StoreError("store", "canceling statement due to statement timeout")

    await bench.receives(alert("f1"))
    monkeypatch.setattr(SqliteTx, "inbox", slow)
    for told in (0, 0, 0, 1, 1):
        with pytest.raises(StoreError):
            await bench.driver._drain_inbox()
        assert len(bench.bugs) == told
        bench.engine.later(seconds=20)
    assert "no delivery of the inbox could be decided on, though the store answers" in bench.bugs[0]
    monkeypatch.undo()
    await bench.driver._drain_inbox()
    bench.engine.later(minutes=9)
    monkeypatch.setattr(SqliteTx, "inbox", slow)
    await bench.receives(alert("f2"))
    with pytest.raises(StoreError):
        await bench.driver._drain_inbox()
    assert len(bench.bugs) == 1, "it had moved meanwhile"


async def test_a_run_that_cannot_be_decided_waits_a_minute_and_keeps_nobody_waiting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.receives(alert("f1", campaign="c-1"), alert("f2", campaign="c-2"))
    await bench.driver._drain_inbox()
    first, second = await bench.engine.runs()
    break_for(monkeypatch, "decide", first.target)
    bench.engine.later(minutes=6)
    await bench.driver.meet_deadlines()
    stages = {run.id: str(run.outcome) for run in await bench.engine.runs()}
    assert stages[second.id] == "expired"
    assert stages[first.id] == "None"
    assert [one.split()[0] for one in bench.bugs] == [f"bug:run:{first.id}"]
    monkeypatch.undo()
    bench.engine.later(minutes=2)
    await bench.driver.meet_deadlines()
    assert {str(run.outcome) for run in await bench.engine.runs()} == {"expired"}


async def test_a_run_that_this_program_cannot_read_is_put_aside_and_keeps_nobody_waiting(
    bench: Bench, tmp_path: Path
) -> None:
    """Neither at its deadline, nor when the daemon starts; told once, for as long as it stays so."""
    await bench.receives(alert("f1", campaign="c-1"), alert("f2", campaign="c-2"))
    await bench.driver._drain_inbox()
    first, second = await bench.engine.runs()
    with sqlite3.connect(tmp_path / "state.db") as file:
        (whole,) = file.execute("SELECT doc FROM runs WHERE id = ?", (first.id,)).fetchone()
        file.execute("UPDATE runs SET doc = X'7B7D' WHERE id = ?", (first.id,))
    at = bench.engine.clock.now()
    joins = AlertRow(alert=alert("f3", campaign="c-1"), first_at=at, last_at=at, changed_at=at)
    await bench.engine.store.transact(lambda tx: tx.put_alert(joins))
    await bench.driver.policies_changed()
    for _ in range(3):
        bench.engine.later(minutes=3)
        await bench.driver.meet_deadlines()
    assert [(run.id, run.outcome) for run in await bench.engine.runs()] == [(second.id, "expired")]
    assert [one.split()[0] for one in bench.bugs] == [f"bug:run:{first.id}", "bug:alerts"]
    (aside,) = await bench.engine.store.read(lambda tx: tx.aside())
    assert (aside.run, aside.target) == (first.id, first.target)
    with sqlite3.connect(tmp_path / "state.db") as file:
        file.execute("UPDATE runs SET doc = ? WHERE id = ?", (whole, first.id))
    bench.engine.later(minutes=2)
    await bench.driver.meet_deadlines()
    assert {run.outcome for run in await bench.engine.runs()} == {"expired"}
    assert await bench.engine.store.read(lambda tx: tx.aside()) == []
    standing = await bench.engine.stands("late-campaign", "f3")
    assert standing is not None
    assert standing.bound != "defect", "it has been decided on"


async def test_no_word_of_an_alert_is_lost_while_its_run_cannot_be_read(bench: Bench, tmp_path: Path) -> None:
    """Its end neither: the run would go on with an alert that is over."""
    await bench.receives(alert("f1", campaign="c-1"), alert("f2", campaign="c-1"))
    await bench.driver._drain_inbox()
    (first,) = await bench.engine.runs()
    with sqlite3.connect(tmp_path / "state.db") as file:
        (whole,) = file.execute("SELECT doc FROM runs WHERE id = ?", (first.id,)).fetchone()
        file.execute("UPDATE runs SET doc = X'7B7D' WHERE id = ?", (first.id,))
    bench.engine.later(minutes=1)
    await bench.receives(
        alert("f1", campaign="c-1", firing=False), alert("f3", campaign="c-1"), alert("f4", campaign="c-4")
    )
    for _ in range(5):
        await bench.driver._drain_inbox()
        bench.engine.later(seconds=30)
    assert await bench.waiting() == ["resolved f1", "firing f3"]
    assert bench.driver.depth == 0, "the door is not shut for what is kept back"
    assert [run.target for run in await bench.engine.runs()] == ["campaign/c-4"]
    assert [one.split()[0] for one in bench.bugs] == ["bug:alerts"]
    with sqlite3.connect(tmp_path / "state.db") as file:
        file.execute("UPDATE runs SET doc = ? WHERE id = ?", (whole, first.id))
    again = Bench(bench.engine)  # a start knows nothing of what was kept back
    await again.driver._drain_inbox()
    await bench.driver._drain_inbox()
    assert await bench.waiting() == []
    run = await bench.engine.store.read(lambda tx: tx.run(first.id))
    assert run is not None
    assert {one: member.firing for one, member in run.members.items()} == {
        "f1": False,
        "f2": True,
        "f3": True,
    }


async def test_what_two_replicas_keep_back_is_lost_to_neither(bench: Bench) -> None:
    """Both have taken the same delivery apart; each finds the other's copy."""
    other = Bench(bench.engine)
    broken = pytest.MonkeyPatch()
    break_for(broken, "begin", "campaign/c-2")
    await bench.receives(alert("f1", campaign="c-1"), alert("f2", campaign="c-2"))
    (row,) = await bench.engine.store.read(lambda tx: tx.inbox(10))
    for one in (bench, other):
        await one.driver._inbox._admit_singly(row)
    for _ in range(3):
        for one in (bench, other):
            await one.driver._drain_inbox()
            bench.engine.later(minutes=2)
    assert await bench.waiting() == ["firing f2"]
    broken.undo()
    await Bench(bench.engine).driver._drain_inbox()
    assert sorted(run.target for run in await bench.engine.runs()) == ["campaign/c-1", "campaign/c-2"]


async def test_the_newest_word_that_is_kept_back_stays(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came in between another replica has in hand: that end must not be the last word."""
    break_for(monkeypatch, "begin", "campaign/c-2")
    fires = alert("f2", campaign="c-2")
    await bench.receives(fires)
    await bench.driver._drain_inbox()
    bench.engine.later(seconds=10)
    await bench.receives(alert("f2", campaign="c-2", firing=False))
    bench.engine.later(seconds=10)
    await bench.receives(fires)
    newest = (await bench.engine.store.read(lambda tx: tx.inbox(10)))[-1]
    await bench.driver._inbox._admit_singly(newest)
    assert await bench.waiting() == ["resolved f2", "firing f2"]


async def test_a_delivery_that_cannot_be_read_holds_up_no_other_and_is_decided_on_once_mended(
    bench: Bench, tmp_path: Path
) -> None:
    await bench.receives(alert("f1", campaign="c-1"))
    await bench.receives(alert("f2", campaign="c-2"))
    with sqlite3.connect(tmp_path / "state.db") as file:
        (whole,) = file.execute("SELECT doc FROM inbox WHERE id = 1").fetchone()
        file.execute("UPDATE inbox SET doc = X'7B7D' WHERE id = 1")
    for _ in range(5):
        await bench.driver._drain_inbox()
        bench.engine.later(seconds=30)
    assert [run.target for run in await bench.engine.runs()] == ["campaign/c-2"]
    assert bench.driver.depth == 0, "the door is not shut for what cannot be read"
    (told,) = bench.bugs
    assert "a delivery of the inbox cannot be read" in told
    with sqlite3.connect(tmp_path / "state.db") as file:
        file.execute("UPDATE inbox SET doc = ? WHERE id = 1", (whole,))
    bench.engine.later(minutes=2)
    for _ in range(3):
        await bench.driver._drain_inbox()
    assert sorted(run.target for run in await bench.engine.runs()) == ["campaign/c-1", "campaign/c-2"]
    assert await bench.waiting() == []
    await bench.receives(alert("f3", campaign="c-3"))
    with sqlite3.connect(tmp_path / "state.db") as file:
        file.execute("UPDATE inbox SET doc = X'7B7D' WHERE id = 3")
    await bench.driver._drain_inbox()
    assert len(bench.bugs) == 2, "another one is told of, too"


async def test_what_another_has_decided_meanwhile_is_not_refused_once_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two run at once, and f3 waits; its time comes, and it ends while we fail at it."""
    await bench.receives(*(alert(f"f{number}", campaign=f"c-{number}") for number in (1, 2, 3)))
    await bench.driver._drain_inbox()
    store = bench.engine.store
    (refused,) = await store.read(lambda tx: tx.dispositions(refused_only=True))

    async def broken(tx: Tx, refused: Disposition) -> Any:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(bench.engine.decisions, "reconsider", broken)
    await store.transact(lambda tx: tx.drop_dispositions("f3"))
    await bench.driver._reconsider([refused])
    assert await store.read(lambda tx: tx.dispositions(refused_only=True)) == []


async def test_an_end_reaches_every_run_that_can_hear_it(tmp_path: Path) -> None:
    """One cannot be read; the other must not begin for a trouble that is over."""
    cut = post("/cut/${campaign}", gate=votes(oncall=1, within="1h"))
    second = policy({"cut": cut}, policy="second", target="campaign/two-${campaign}")
    async with engine(tmp_path, GATED, second) as one:
        bench = Bench(one)
        await bench.receives(alert("f1", campaign="c-1"))
        await bench.driver._drain_inbox()
        first, other = sorted(await one.runs(), key=lambda run: run.policy)
        with sqlite3.connect(tmp_path / "state.db") as file:
            file.execute("UPDATE runs SET doc = X'7B7D' WHERE id = ?", (first.id,))
        one.later(minutes=1)
        await bench.receives(alert("f1", campaign="c-1", firing=False))
        await bench.driver._drain_inbox()
        one.later(minutes=2)
        await bench.driver.meet_deadlines()
        told = await one.store.read(lambda tx: tx.run(other.id))
        assert told is not None
        assert told.outcome == "recovered"
        assert await bench.waiting() == ["resolved f1"], "the one that cannot be read hears it later"


async def test_an_alert_whose_run_the_store_does_not_keep_holds_up_no_delivery(
    bench: Bench, tmp_path: Path
) -> None:
    await bench.receives(alert("f1", campaign="c-1"), alert("f2", campaign="c-2"))
    await bench.driver._drain_inbox()
    first, _ = await bench.engine.runs()
    with sqlite3.connect(tmp_path / "state.db") as file:
        file.execute(
            "INSERT INTO journal SELECT run, max(seq) + 1, at, 'x', '{}', hash, '' "
            "FROM journal WHERE run = ?",
            (first.id,),
        )
    bench.engine.later(minutes=1)
    await bench.receives(alert("f1", campaign="c-1", firing=False))
    await bench.receives(alert("f2", campaign="c-2", firing=False))
    await bench.receives(alert("f9", campaign="c-9"))
    for _ in range(WHOLE_TRIES - 1):
        with pytest.raises(StoreError):
            await bench.driver._drain_inbox()
    await bench.driver._drain_inbox()
    assert await bench.waiting() == ["resolved f1"]
    assert await bench.engine.stands("late-campaign", "f9") is not None
    assert bench.bugs == [], "a store may stumble"
    for _ in range(TRIES + 3):
        bench.engine.later(seconds=20)
        await bench.driver._drain_inbox()
    (told,) = bench.bugs
    assert told.startswith("bug:alerts alert CampaignLate cannot be decided: the journal")
    with sqlite3.connect(tmp_path / "state.db") as file:
        file.execute("DELETE FROM journal WHERE run = ? AND kind = 'x'", (first.id,))
    bench.engine.later(minutes=1)
    await bench.driver._drain_inbox()
    assert await bench.waiting() == []
    run = await bench.engine.store.read(lambda tx: tx.run(first.id))
    assert run is not None
    assert not run.members["f1"].firing


@pytest.mark.parametrize("again", [20, 600], ids=["at once", "after its run has ended"])
@pytest.mark.parametrize("restarts", [False, True])
async def test_what_fires_after_an_end_that_not_all_could_hear_is_decided_on(
    tmp_path: Path, again: int, *, restarts: bool
) -> None:
    """One run cannot be read; the other took the alert for over."""
    cut = post("/cut/${campaign}", gate=votes(oncall=1, within="1h"))
    second = policy({"cut": cut}, policy="second", target="campaign/two-${campaign}")
    async with engine(tmp_path, GATED, second) as one:
        bench = Bench(one)

        async def passes(seconds: int) -> None:
            for _ in range(seconds // 20):
                one.later(seconds=20)
                await bench.driver._drain_inbox()
                await bench.driver.meet_deadlines()

        await bench.receives(alert("f1", campaign="c-1"))
        await passes(20)
        first, _ = sorted(await one.runs(), key=lambda run: run.policy)
        with sqlite3.connect(tmp_path / "state.db") as file:
            (whole,) = file.execute("SELECT doc FROM runs WHERE id = ?", (first.id,)).fetchone()
            file.execute("UPDATE runs SET doc = X'7B7D' WHERE id = ?", (first.id,))
        await bench.receives(alert("f1", campaign="c-1", firing=False))
        await passes(again)
        await bench.receives(alert("f1", campaign="c-1", started=one.clock.now()))
        await passes(20)
        if restarts:
            bench = Bench(one)
        await passes(300)
        assert await bench.waiting() == ["resolved f1", "firing f1"]
        assert len(bench.bugs) <= 2, "the end, and the run"
        with sqlite3.connect(tmp_path / "state.db") as file:
            file.execute("UPDATE runs SET doc = ? WHERE id = ?", (whole, first.id))
        await passes(600)
        assert await bench.waiting() == []
        wanted = {run.policy for run in await one.runs() if run.open and run.members["f1"].firing}
        assert "second" in wanted


async def test_what_fires_after_its_end_in_one_delivery_is_not_decided_on_before_it(
    bench: Bench, tmp_path: Path
) -> None:
    await bench.receives(alert("f1", campaign="c-1"))
    await bench.driver._drain_inbox()
    (first,) = await bench.engine.runs()
    with sqlite3.connect(tmp_path / "state.db") as file:
        (whole,) = file.execute("SELECT doc FROM runs WHERE id = ?", (first.id,)).fetchone()
        file.execute("UPDATE runs SET doc = X'7B7D' WHERE id = ?", (first.id,))
    bench.engine.later(minutes=1)
    await bench.receives(alert("f1", campaign="c-1", firing=False), alert("f1", campaign="c-1"))
    await bench.driver._drain_inbox()
    assert await bench.waiting() == ["resolved f1", "firing f1"]
    with sqlite3.connect(tmp_path / "state.db") as file:
        file.execute("UPDATE runs SET doc = ? WHERE id = ?", (whole, first.id))
    bench.engine.later(minutes=1)
    await bench.driver._drain_inbox()
    assert await bench.waiting() == []
    firing = await bench.engine.store.read(lambda tx: tx.alerts(firing_only=True))
    assert [row.alert.fingerprint for row in firing] == ["f1"], "the last word counts"


async def test_a_start_hears_an_end_before_what_fired_after_it_whatever_their_numbers(tmp_path: Path) -> None:
    """The end was taken out of a larger delivery, so its number is the higher one; then the daemon died."""
    cut = post("/cut/${campaign}", gate=votes(oncall=1, within="1h"))
    second = policy({"cut": cut}, policy="second", target="campaign/two-${campaign}")
    async with engine(tmp_path, GATED, second) as one:
        bench = Bench(one)
        await bench.receives(alert("f1", campaign="c-1"))
        await bench.driver._drain_inbox()
        first, _ = sorted(await one.runs(), key=lambda run: run.policy)
        with sqlite3.connect(tmp_path / "state.db") as file:
            (whole,) = file.execute("SELECT doc FROM runs WHERE id = ?", (first.id,)).fetchone()
            file.execute("UPDATE runs SET doc = X'7B7D' WHERE id = ?", (first.id,))
        one.later(minutes=1)
        await bench.receives(alert("f1", campaign="c-1", firing=False), alert("f9", campaign="c-9"))
        one.later(seconds=10)
        await bench.receives(alert("f1", campaign="c-1"))
        (larger, _) = await one.store.read(lambda tx: tx.inbox(10))
        await bench.driver._inbox._admit_singly(larger)
        assert await bench.waiting() == ["firing f1", "resolved f1"]
        one.later(minutes=3)
        bench = Bench(one)
        await bench.driver.meet_deadlines()
        await bench.driver._drain_inbox()
        assert await bench.waiting() == ["firing f1", "resolved f1"], "neither is decided on before the other"
        with sqlite3.connect(tmp_path / "state.db") as file:
            file.execute("UPDATE runs SET doc = ? WHERE id = ?", (whole, first.id))
        for _ in range(10):
            one.later(minutes=1)
            await bench.driver._drain_inbox()
            await bench.driver.meet_deadlines()
        wanted = {run.policy for run in await one.runs() if run.open and "f1" in run.members}
        assert "second" in wanted


@pytest.mark.parametrize("seconds", [10, 180], ids=["the run is open", "it has closed"])
async def test_what_overtakes_an_end_that_a_run_has_heard_is_decided_on(tmp_path: Path, seconds: int) -> None:
    """Another replica has it in hand, or a start finds it in an earlier portion than the end."""
    cut = post("/cut/${campaign}", gate=votes(oncall=1, within="1h"))
    second = policy({"cut": cut}, policy="second", target="campaign/two-${campaign}")
    async with engine(tmp_path, GATED, second) as one:
        bench = Bench(one)
        await bench.receives(alert("f1", campaign="c-1"))
        await bench.driver._drain_inbox()
        first, _ = sorted(await one.runs(), key=lambda run: run.policy)
        with sqlite3.connect(tmp_path / "state.db") as file:
            (whole,) = file.execute("SELECT doc FROM runs WHERE id = ?", (first.id,)).fetchone()
            file.execute("UPDATE runs SET doc = X'7B7D' WHERE id = ?", (first.id,))
        one.later(minutes=1)
        await bench.receives(alert("f1", campaign="c-1", firing=False))
        await bench.driver._drain_inbox()
        one.later(seconds=seconds)
        await bench.driver.meet_deadlines()
        await bench.receives(alert("f1", campaign="c-1"))
        (_, fires) = await one.store.read(lambda tx: tx.inbox(10))
        await Bench(one).driver._inbox._decide(partial(one.decisions.admit, received=fires))
        with sqlite3.connect(tmp_path / "state.db") as file:
            file.execute("UPDATE runs SET doc = ? WHERE id = ?", (whole, first.id))
        for _ in range(5):
            one.later(seconds=30)
            await bench.driver._drain_inbox()
            await bench.driver.meet_deadlines()
        assert await bench.waiting() == []
        wanted = {run.policy for run in await one.runs() if run.open and run.members["f1"].firing}
        assert "second" in wanted


async def test_a_store_that_stumbles_at_the_start_pages_nobody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, commit, stumbles = bench.engine.clock.now(), bench.driver.commit, [1, 2, 3]
    firing = AlertRow(alert=alert("f1", campaign="c-1"), first_at=at, last_at=at, changed_at=at)
    await bench.engine.store.transact(lambda tx: tx.put_alert(firing))

    async def stumbling(*words: Any) -> Any:
        if stumbles.pop() if stumbles else False:
            raise StoreError("store", "it takes no commit")
        return await commit(*words)

    monkeypatch.setattr(bench.driver, "commit", stumbling)
    await bench.driver.policies_changed()
    assert (bench.bugs, stumbles) == ([], [])
    bench.engine.later(seconds=2)
    await bench.driver._consider_left()
    assert [run.target for run in await bench.engine.runs()] == ["campaign/c-1"]


async def test_what_the_store_refuses_each_time_is_told_once_until_it_goes_well(bench: Bench) -> None:
    refused = StoreError("store", "the row is locked")
    for _ in range(TRIES - 1):
        await bench.driver.go_past("holder:a", "what replica a has left cannot be taken over", refused)
    assert bench.bugs == [], "a store may stumble"
    for _ in range(TRIES):
        await bench.driver.go_past("holder:a", "what replica a has left cannot be taken over", refused)
    (told,) = bench.bugs
    assert told.startswith("bug:holder:a what replica a has left cannot be taken over: the row is locked")
    bench.driver.done("holder:a")
    await bench.driver.go_past("holder:a", "what replica a has left cannot be taken over", refused)
    assert len(bench.bugs) == 1, "it counts anew"
    for _ in range(TRIES):
        await bench.driver.go_past("holder:a", "what replica a has left cannot be taken over", refused)
    assert len(bench.bugs) == 2, "and is told anew"
    bench.engine.later(minutes=10)
    for _ in range(TRIES):
        await bench.driver.go_past("holder:b", "what replica b has left cannot be taken over", refused)
    for _ in range(TRIES):
        await bench.driver.go_past("holder:a", "what replica a has left cannot be taken over", refused)
    assert len(bench.bugs) == 4, "what has not failed for long is not known any more"


async def test_a_run_that_the_store_does_not_keep_holds_up_no_other(bench: Bench, tmp_path: Path) -> None:
    """Its journal has a line after its head: whoever may only add to journals can do that."""
    await bench.receives(alert("f1", campaign="c-1"), alert("f2", campaign="c-2"))
    await bench.driver._drain_inbox()
    first, second = await bench.engine.runs()
    with sqlite3.connect(tmp_path / "state.db") as file:
        file.execute(
            "INSERT INTO journal SELECT run, max(seq) + 1, at, 'x', '{}', hash, '' "
            "FROM journal WHERE run = ?",
            (first.id,),
        )
    bench.engine.later(minutes=6)
    await bench.driver.meet_deadlines()
    assert {run.id: run.outcome for run in await bench.engine.runs()} == {
        first.id: None,
        second.id: "expired",
    }
    assert bench.bugs == [], "a store may stumble"
    for _ in range(8):
        bench.engine.later(seconds=20)
        await bench.driver.meet_deadlines()
    (told,) = bench.bugs
    assert f"run {first.id} cannot be decided, and is put aside: the journal" in told
    assert "remediator audit verify" in told


async def test_while_the_store_does_not_work_nothing_is_put_aside(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.receives(alert("f1", campaign="c-1"), alert("f2", campaign="c-2"))
    await bench.driver._drain_inbox()
    bench.engine.later(minutes=6)
    asked = 0

    async def down(*_: Any) -> None:
        nonlocal asked
        asked += 1
        raise StoreError("store", "no route")

    with monkeypatch.context() as broken:
        broken.setattr(bench.engine.store, "transact", down)
        for _ in range(2 * TRIES):
            with pytest.raises(StoreError):
                await bench.driver.meet_deadlines()
    assert asked == 4 * TRIES, "one run, and whether anything works"
    await bench.driver.meet_deadlines()
    assert {run.outcome for run in await bench.engine.runs()} == {"expired"}
    assert bench.bugs == []


async def test_a_refusal_that_cannot_be_decided_again_is_left_alone_for_a_minute(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = [alert(f"f{n}", campaign=f"c-{n}") for n in (1, 2, 3, 4)]
    await bench.receives(*three)
    await bench.driver._drain_inbox()
    assert len(await bench.engine.runs()) == 2  # at_once
    bench.engine.later(minutes=6)
    break_for(monkeypatch, "begin", "campaign/c-3")
    await bench.driver.meet_deadlines()
    targets = [run.target for run in await bench.engine.runs()]
    assert "campaign/c-4" in targets
    assert "campaign/c-3" not in targets
    assert [one.split()[0] for one in bench.bugs] == ["bug:again:late-campaign:f3"]


@pytest.mark.parametrize("ticks", range(8))
async def test_a_stop_that_comes_with_a_delivery_is_a_stop(bench: Bench, ticks: int) -> None:
    """Whatever the loop is doing in that very moment: a stop that is lost would never end."""
    loop = asyncio.create_task(bench.driver.run())
    await asyncio.sleep(0.05)
    bench.driver.accepted()
    bench.driver.look()
    for _ in range(ticks):
        await asyncio.sleep(0)
    loop.cancel()
    done, _ = await asyncio.wait([loop], timeout=2)
    loop.cancel()
    assert done


async def test_a_storm_of_commits_is_one_look_for_deadlines_in_a_while(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    real = bench.driver.meet_deadlines

    async def counted() -> float:
        nonlocal looks
        looks += 1
        return await real()

    monkeypatch.setattr(bench.driver, "meet_deadlines", counted)
    loop = asyncio.get_running_loop()
    driving = loop.create_task(bench.driver.run())
    began = loop.time()
    commits = 0
    while commits < 100 or looks < 2:
        bench.driver.look()
        commits += 1
        await asyncio.sleep(0.001)
    most = (loop.time() - began) / REST_S + 1
    driving.cancel()
    await asyncio.wait([driving])
    assert looks <= most


async def test_a_storm_that_is_kept_back_with_what_fires_behind_it_costs_as_much_as_it_is_large(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ends, and then it fires again: each word is held against those of its own alert."""
    many, asked = 300, 0

    def counted(word: Received) -> str:
        nonlocal asked
        asked += 1
        return about(word)

    about = inbox._about
    monkeypatch.setattr(inbox, "_about", counted)
    kept, at = bench.driver._inbox, bench.engine.clock.now()
    for number in range(2 * many):
        again, word = number >= many, alert(f"f{number % many}", firing=number >= many)
        delivery = Delivery(source="am", alerts=(word,), received_at=at + timedelta(seconds=again))
        await kept._keep_back(Received(number, delivery), inbox.Behind() if again else StoreError("x", "y"))
    asked = 0
    assert all(kept._is_behind(received) for received, _ in list(kept._back.values())[many:])
    assert asked <= 4 * many
