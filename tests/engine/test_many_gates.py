"""Hundreds of runs at their gates, over the real driver, performer and store: they wait, and do no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import pytest

from remediator.clock import SystemClock
from remediator.core.alert import Delivery
from remediator.core.messages import Card
from remediator.core.policy import Policy
from remediator.core.run import Outcome, Page, Question, Run, Stage
from remediator.engine.driver import POLL_S, Driver
from remediator.engine.membership import Lease
from remediator.engine.perform import Performer
from remediator.ports import CardRef, RunFilter, Told
from tests.core.campaign import CATALOG, policy, post, votes
from tests.engine.world import Engine, alert, engine

FOREVER = Lease(SystemClock(), inf)
GATES = 300


@dataclass
class Road:
    """A channel in which cards are shown."""

    road: str = "channel"
    shown: list[str] = field(default_factory=list)
    showing: set[str] = field(default_factory=set)

    async def question(self, run: Run, question: Question, ref: CardRef | None) -> CardRef | None:
        del run, question, ref
        return None

    async def withdraw(self, ref: CardRef) -> None:
        raise AssertionError(ref)

    async def card(self, run: Run, ref: CardRef | None) -> CardRef | None:
        assert run.gate is not None
        gate = run.gate.id
        assert gate not in self.showing, "one card is shown twice at the same time: it may stand there twice"
        self.showing.add(gate)
        await asyncio.sleep(0)
        self.showing.discard(gate)
        self.shown.append(gate)
        return CardRef(gate=gate, channel="C0OPS", ts=f"{len(self.shown)}.0", digest=run.gate.state)

    async def page(self, page: Page, people: Sequence[str]) -> Told:
        raise AssertionError("nobody is paged")


def asks(within: str) -> Policy:
    return policy(
        {"pause": post("/pause", gate=votes(within, "deny", oncall=1))},
        bounds={"at_once": 1000, "per_policy": "1000 in 1h"},
        match=['{alertname="CampaignLate"}'],
    )


@dataclass
class Daemon:
    """As it runs, but for its loops: each turn of them is asked for."""

    engine: Engine
    road: Road = field(default_factory=Road)

    def __post_init__(self) -> None:
        one = self.engine
        self.driver = Driver(one.store, one.decisions, one.clock, lambda: None, self._bug)
        self.performer = Performer(
            one.store, one.clock, {}, [self.road], catalog=lambda: CATALOG, at_once=(4, 4)
        )
        self.driver.attach(self.performer)
        self.performer.attach(self.driver, self._told, lambda: FOREVER)

    async def _told(self, run: str, about: str, text: str) -> None:
        raise AssertionError(f"{run}, {about}: {text}")

    async def _bug(self, key: str, text: str) -> None:
        raise AssertionError(f"{key}: {text}")

    async def hears(self, count: int) -> None:
        """So many alerts, each about a campaign of its own; what follows is performed."""
        alerts = tuple(alert(f"f{n}", campaign=f"c-{n}") for n in range(count))
        delivery = Delivery(source="alertmanager", alerts=alerts, received_at=self.engine.clock.now())
        await self.engine.store.transact(lambda tx: tx.put_delivery(delivery))
        await self.driver._drain_inbox()
        await self.performer.finish(10)

    async def looks(self) -> float:
        """One turn of the deadlines; how long it would wait for the next."""
        return await self.driver.meet_deadlines()

    async def stages(self) -> list[Stage]:
        runs = await self.engine.store.read(lambda tx: tx.runs(RunFilter(limit=1000)))
        return [run.stage for run in runs]


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with engine(tmp_path, asks("15m")) as one:
        yield Daemon(one)


def counted(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often the store is asked from now on."""
    asked = {"read": 0, "transact": 0}

    def counting(name: str) -> Callable[[Callable[..., Awaitable[Any]]], Awaitable[Any]]:
        real = getattr(daemon.engine.store, name)

        async def ask(work: Callable[..., Awaitable[Any]]) -> Any:
            asked[name] += 1
            return await real(work)

        return ask

    for name in asked:
        monkeypatch.setattr(daemon.engine.store, name, counting(name))
    return asked


async def test_while_gates_wait_the_store_is_asked_no_more_than_without_any(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    await daemon.hears(GATES)
    assert await daemon.stages() == [Stage.WAITING] * GATES
    asked = counted(daemon, monkeypatch)
    for _ in range(10):
        daemon.engine.later(seconds=1)
        assert await daemon.looks() == POLL_S
    assert asked == {"read": 10, "transact": 0}


async def test_all_that_nobody_answers_expire_at_once(daemon: Daemon) -> None:
    await daemon.hears(GATES)
    daemon.engine.later(minutes=15, microseconds=-1)
    assert await daemon.looks() <= 0.005
    assert await daemon.stages() == [Stage.WAITING] * GATES
    daemon.engine.later(microseconds=1)
    await daemon.looks()
    runs = await daemon.engine.store.read(lambda tx: tx.runs(RunFilter(limit=1000)))
    assert {run.outcome for run in runs} == {Outcome.EXPIRED}
    assert len(runs) == GATES


async def test_of_a_card_that_was_shown_nothing_is_remembered(daemon: Daemon) -> None:
    await daemon.hears(GATES)
    assert sorted(daemon.road.shown) == sorted(f"r-{n + 1}.1" for n in range(GATES))
    assert not daemon.performer._tasks
    assert not daemon.performer._cards


async def test_wishes_for_one_card_are_met_one_after_the_other(daemon: Daemon) -> None:
    await daemon.hears(1)
    daemon.road.shown.clear()
    (run,) = await daemon.engine.store.read(lambda tx: tx.runs(RunFilter()))
    wishes = await daemon.engine.store.transact(lambda tx: tx.put_effects(run.id, [Card("r-1.1")] * 5))
    for wish in wishes:
        daemon.performer.start(wish)
    await daemon.performer.finish(10)
    assert daemon.road.shown == ["r-1.1"] * 5
    assert not daemon.performer._cards
