"""Stories of what is performed while the store fails for a moment, or while a machine's clock is wrong."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from remediator.core.evidence import Reading
from remediator.core.intention import Call
from remediator.core.messages import Act, Done, Event, Probe, ProbeRead, StepFinished, VoteCast
from remediator.core.run import Vote
from remediator.engine.perform import Performer
from remediator.errors import StoreError
from remediator.ports import CardRef, Order, Pending
from remediator.store.memory import MemoryStore, MemoryTx
from tests.core.campaign import CATALOG, budget_probe, policy, post, votes
from tests.engine.test_membership import Channel, Daemon, World, settled
from tests.engine.world import HandClock, alert, engine

GATED = policy({"pause": post("/pause/${campaign}", gate=votes(oncall=1))})
BUDGET = Pending(7, "r-1", Probe(1, "diagnose:budget", Call("http.get", "api", {"path": "/budget"})))


@dataclass
class Figures:
    """A service whose figure moves with each look."""

    looks: int = 0

    async def read(self, call: Call, *, timeout: float) -> dict[str, Any]:
        del call, timeout
        self.looks += 1
        return {"left": self.looks}


@dataclass
class Outage:
    """A driver whose store fails so many times, or who cannot read the run."""

    times: int
    error: Exception = field(default_factory=lambda: StoreError("store", "no route"))
    heard: list[Event] = field(default_factory=list)

    async def tell(
        self, run_id: str, event: Event, effect: int | None = None, *, asked: float | None = None
    ) -> None:
        assert (run_id, effect) == (BUDGET.run, BUDGET.id)
        assert (asked is not None) == isinstance(event, ProbeRead)
        if self.times:
            self.times -= 1
            raise self.error
        self.heard.append(event)


@pytest.fixture
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sleeps wakes up at once."""
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda _seconds: sleep(0))


@pytest.mark.usefixtures("no_time_passes")
async def test_a_card_outlasts_a_store_that_fails_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, channel, look = HandClock(), Channel(), MemoryTx.card
    one = Daemon("a", MemoryStore(clock), clock, World(), channel)
    one.engine.runs_with(GATED)
    await one.member.join()
    failures = [StoreError("store", "no route"), StoreError("store", "no route")]

    async def fails_first(tx: MemoryTx, gate: str) -> CardRef | None:
        if failures:
            raise failures.pop()
        return await look(tx, gate)

    monkeypatch.setattr(MemoryTx, "card", fails_first)
    await one.hears(alert())
    await settled()
    assert channel.cards == {"1": "open 0"}
    assert await one.store.read(lambda tx: tx.pending()) == [], "it is shown, and no longer to be shown"


@pytest.mark.usefixtures("no_time_passes")
async def test_a_reading_that_could_not_be_told_is_read_again() -> None:
    figures, outage, clock = Figures(), Outage(times=2), HandClock()
    performer = Performer(
        MemoryStore(clock),
        clock,
        {"api": figures},  # type: ignore[dict-item]
        [],
        catalog=lambda: CATALOG,
        at_once=(1, 1),
    )
    performer.attach(outage, None, lambda: None)  # type: ignore[arg-type, return-value]
    performer.start(BUDGET)
    await settled()
    (told,) = outage.heard
    assert isinstance(told, ProbeRead)
    assert told.reading.value == {"left": 3}, "what was read before the outage is not what is so after it"
    assert not performer.knows(BUDGET.id)


@dataclass
class Service(Figures):
    """It can be asked to do something, too."""

    sent: int = 0

    async def act(self, call: Call, *, order: Order, timeout: float) -> Done:
        del call, order, timeout
        self.sent += 1
        return Done({"ok": True})


class Lease:
    """One that is never over."""

    def holds(self) -> bool:
        return True


@pytest.mark.usefixtures("no_time_passes")
@pytest.mark.parametrize("looks", [True, False], ids=["a look", "an act"])
async def test_what_came_of_an_effect_waits_while_its_run_cannot_be_read(looks: bool) -> None:
    """Thrown away, nobody would have looked for it again, before the next start."""
    service, clock, pages = Service(), HandClock(), list[str]()
    call = Call("http.request", "api", {})
    act = Act("pause", 1, call, "k", clock.now() + timedelta(seconds=9), False, "p", None, ())
    unread = Outage(3, msgspec.ValidationError("Invalid enum value 'tomorrow'"))

    async def told(run: str, about: str, text: str) -> None:
        pages.append(f"{about} {run} {text}")

    performer = Performer(
        MemoryStore(clock),
        clock,
        {"api": service},  # type: ignore[dict-item]
        [],
        catalog=lambda: CATALOG,
        at_once=(1, 1),
    )
    performer.attach(unread, told, Lease)
    performer.start(BUDGET if looks else Pending(BUDGET.id, BUDGET.run, act))
    await settled()
    (event,) = unread.heard
    if looks:
        assert isinstance(event, ProbeRead)
        assert event.reading.value == {"left": 4}
    else:
        assert event == StepFinished("pause", 1, False, Done({"ok": True}))
        assert service.sent == 1
    assert not performer.knows(BUDGET.id)
    (page,) = pages
    assert page.startswith(
        "unread r-1 run r-1 cannot be read: ValidationError: Invalid enum value 'tomorrow'"
    )


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(hours=-1)])
async def test_a_reading_is_as_old_as_the_store_says_whatever_its_reader_believes(
    tmp_path: Path, ahead: timedelta
) -> None:
    asks = policy({"pause": post("/pause/${campaign}")}, diagnose=budget_probe())
    async with engine(tmp_path, asks) as one:
        await one.delivers(alert())
        (pending,) = one.pending
        assert isinstance(pending.effect, Probe)
        one.later(seconds=3)
        read = Reading(one.clock.now() + ahead, ok=True, value={"left": 1})
        await one.tells(pending.run, ProbeRead(pending.effect.round, pending.effect.key, read), pending.id)
        (run,) = await one.runs()
        assert run.readings["budget"].at == one.clock.now()


@dataclass
class Stuck(World):
    """A campaign that somebody mends while the process is paused, once it was read so many times."""

    clock: HandClock = field(default_factory=HandClock)
    paused_after: int = 1
    stuck: bool = True
    looks: int = 0

    async def read(self, call: Call, *, timeout: float) -> dict[str, Any]:
        del call, timeout
        self.looks += 1
        answer = {"status": 200, "json": {"stuck": self.stuck}}
        if self.looks == self.paused_after:
            self.clock.at += timedelta(minutes=10)
            self.stuck = False
        return answer


@pytest.mark.parametrize("paused_after", [1, 2])
async def test_what_was_asked_before_a_pause_is_no_fresh_reading_after_it(paused_after: int) -> None:
    clock = HandClock()
    world = Stuck(clock=clock, paused_after=paused_after)
    one = Daemon("a", MemoryStore(clock), clock, world)
    one.engine.runs_with(
        policy(
            {"pause": post("/pause/${campaign}", gate=votes(oncall=1, within="1h"))},
            diagnose={"c": {"use": "http.get", "via": "api", "with": {"path": "/c"}}},
            decide=[{"when": "c.json.stuck", "do": ["pause"]}, {"do": "nothing"}],
        )
    )
    await one.member.join()
    await one.hears(alert())
    run = await one.run()
    assert run.gate is not None
    assert run.readings["c"].at == clock.at - timedelta(minutes=10 if paused_after == 1 else 0)
    await one.member.beat()
    vote = Vote(by="bob", hash=run.gate.hash, approve=True, at=clock.at, via="api")
    await one.driver.tell(run.id, VoteCast(run.gate.id, vote))
    await settled()
    assert world.sent == [], "it is not stuck any more"
    assert (await one.run()).outcome == "nothing-to-do"
