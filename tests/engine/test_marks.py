"""The engine keeps a mark before anything becomes final, and finds lost answers by it.

The ledger stands for a database: real rows, marks and lost answers, in memory; the connector's own
tests drive a real one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from math import inf
from pathlib import Path
from typing import Any

import pytest

from remediator.clock import SystemClock
from remediator.connectors.unoffered import Unoffered
from remediator.core.alert import Delivery
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.core.run import Run, Stage, StepState
from remediator.engine import perform
from remediator.engine.driver import Driver
from remediator.engine.hiding import Discreet, hider
from remediator.engine.membership import Lease
from remediator.engine.perform import Performer
from remediator.engine.recovery import Silence, recover
from remediator.errors import ConnectorError, StoreError
from remediator.ports import Order
from tests.core.campaign import CATALOG, change, policy
from tests.engine.world import Engine, alert, engine

FOREVER = Lease(SystemClock(), inf)
SECRET = "canary-of-the-settings"
POLICY = policy(
    {
        "halve": change(
            gate={"waived": "the story is not about gates"},
            verify={"none": "nor about proofs"},
            undo={"none": "nor about undos"},
        )
    }
)
RESULT = {"rows": 1, "restore": {"rate": Decimal("0.0700")}}


@dataclass
class Ledger(Unoffered):
    """A database of one row."""

    row: str = "whole"
    marked: list[dict[str, Any]] = field(default_factory=list)
    loses_answer: bool = False
    stops_before_commit: bool = False
    down_for: int = 0  # inquiries that find it down
    sent: int = 0
    holds: Any = "nothing secret"

    async def act(self, call: Call, *, order: Order, timeout: float) -> Result:
        self.sent += 1
        assert order.mark is not None
        about: dict[str, Any] = {"xid": "7", "result": {**RESULT, "holds": self.holds}}
        if no := await order.mark(about):
            return Refused(f"never committed: {no}")
        self.marked.append(about)
        if self.stops_before_commit:
            await asyncio.sleep(60)
        self.row = "halved"
        return Unknown("the answer was lost") if self.loses_answer else Done(about["result"])

    async def inquire(self, call: Call, mark: dict[str, Any], *, timeout: float) -> Result | None:
        if self.down_for > 0:
            self.down_for -= 1
            raise ConnectorError("ledger", "the connection was refused")
        assert mark == self.marked[-1], "the mark comes back as it was given, decimals and all"
        return Done(mark["result"]) if self.row == "halved" else Refused("it was rolled back")


@dataclass
class Bench:
    """The real driver and performer over a real store, with this ledger as the world."""

    engine: Engine
    ledger: Ledger
    paged: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.live()

    def live(self) -> None:
        """A process that has just started."""
        one = self.engine
        self.driver = Driver(one.store, one.decisions, one.clock, lambda: None, self._page)
        world = {"ledger": Discreet(self.ledger, hider([SECRET]))}
        self.performer = Performer(one.store, one.clock, world, (), catalog=lambda: CATALOG, at_once=(4, 4))
        self.driver.attach(self.performer)
        self.performer.attach(self.driver, self._told, lambda: FOREVER)

    async def _page(self, key: str, text: str) -> None:
        self.paged.append(text)

    async def _told(self, run: str, about: str, text: str) -> None:
        self.paged.append(text)

    async def fires(self) -> None:
        delivery = Delivery(source="alertmanager", alerts=(alert(),), received_at=self.engine.clock.now())
        await self.engine.store.transact(lambda tx: tx.put_delivery(delivery))
        await self.driver._drain_inbox()

    async def dies(self) -> None:
        """Every task of the process is gone; nothing more is written."""
        for task in list(self.performer._tasks):
            task.cancel()
        await asyncio.gather(*self.performer._tasks, return_exceptions=True)

    async def run_when(self, *states: StepState) -> Run:
        for _ in range(400):
            runs = await self.engine.runs()
            if runs and runs[0].steps["halve"].state in states:
                return runs[0]
            await asyncio.sleep(0.01)
        raise AssertionError([run.steps for run in await self.engine.runs()])

    async def kinds(self) -> list[str]:
        entries = await self.engine.store.read(lambda tx: tx.read_journal("r-1"))
        return [entry.kind for entry in entries]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with engine(tmp_path, POLICY) as one:
        made = Bench(one, Ledger())
        yield made
        await made.dies()


async def test_the_mark_is_in_the_journal_before_anything_is_final(bench: Bench) -> None:
    await bench.fires()
    run = await bench.run_when(StepState.DONE)
    assert await bench.kinds() == ["opened", "decided", "started", "marked", "finished", "closed"]
    assert run.steps["halve"].result == {
        "rows": 1, "restore": {"rate": {"#": "0.0700"}}, "holds": "nothing secret",
    }  # fmt: skip


async def test_a_lost_answer_is_found_however_long_the_world_is_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perform, "INQUIRE_RETRY_S", (0.01,))
    bench.ledger.loses_answer, bench.ledger.down_for = True, 5
    await bench.fires()
    await bench.run_when(StepState.DONE)
    assert bench.ledger.sent == 1
    assert bench.paged == []


async def test_a_long_doubt_reaches_a_person_and_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perform, "INQUIRE_RETRY_S", (0.01,))
    bench.ledger.loses_answer, bench.ledger.down_for = True, 10**9
    await bench.fires()
    await bench.run_when(StepState.UNKNOWN)
    bench.engine.later(seconds=60)
    for _ in range(3000):
        if bench.paged:
            break
        await asyncio.sleep(0.01)
    assert "not known yet whether halve became final" in bench.paged[0]
    await asyncio.sleep(0.1)  # asked several times more: who acknowledged is not paged by each of them
    assert len(bench.paged) == 1
    bench.engine.later(hours=1)
    for _ in range(3000):
        if "asking" in await bench.kinds():
            break
        await asyncio.sleep(0.01)
    assert "asking" in await bench.kinds()


@pytest.mark.parametrize("committed", [False, True])
async def test_a_process_that_dies_around_the_commit_finds_out_after_its_start(
    bench: Bench, *, committed: bool
) -> None:
    bench.ledger.stops_before_commit = True
    await bench.fires()
    for _ in range(3000):
        if bench.ledger.marked:
            break
        await asyncio.sleep(0.01)
    await bench.dies()
    if committed:
        bench.ledger.row = "halved"
    bench.live()
    bench.engine.store.write_as("another")
    await recover(bench.engine.store, bench.driver, bench.performer, Silence(bench.engine.clock))
    run = await bench.run_when(StepState.DONE, StepState.REFUSED)
    assert run.steps["halve"].state is (StepState.DONE if committed else StepState.REFUSED)
    assert bench.ledger.sent == 1


async def test_a_process_that_died_before_the_mark_changed_nothing(bench: Bench) -> None:
    bench.driver.attach(_Deaf())
    await bench.fires()
    bench.live()
    bench.engine.store.write_as("another")
    await recover(bench.engine.store, bench.driver, bench.performer, Silence(bench.engine.clock))
    run = await bench.run_when(StepState.REFUSED)
    assert "never came to be committed" in run.steps["halve"].error
    assert bench.ledger.sent == 0


class _Deaf:
    def start(self, pending: Any) -> None:
        """The process dies before it begins."""


async def test_without_a_place_for_the_mark_nothing_becomes_final(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = bench.driver.tell

    async def full(run: str, event: Any, effect: int | None = None) -> None:
        if type(event).__name__ == "Marked":
            raise StoreError("store", "the disk is full")
        await real(run, event, effect)

    monkeypatch.setattr(bench.driver, "tell", full)
    await bench.fires()
    run = await bench.run_when(StepState.REFUSED)
    assert "the disk is full" in run.steps["halve"].error
    assert bench.ledger.row == "whole"


async def test_a_row_with_a_secret_of_ours_is_not_changed_at_all(bench: Bench) -> None:
    """It would stand in the journal as [hidden], and be written back so."""
    bench.ledger.holds = {"note": f"ask for {SECRET}"}
    await bench.fires()
    run = await bench.run_when(StepState.REFUSED)
    assert "secrets" in run.steps["halve"].error
    assert bench.ledger.row == "whole"
    assert SECRET not in str(await bench.engine.store.read(lambda tx: tx.read_journal("r-1")))


async def test_a_mark_of_a_connection_that_is_gone_is_for_a_person(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings were changed while it was being asked about."""
    monkeypatch.setattr(perform, "INQUIRE_RETRY_S", (0.01,))
    bench.ledger.loses_answer, bench.ledger.down_for = True, 10**9
    await bench.fires()
    await bench.run_when(StepState.UNKNOWN)
    await bench.dies()
    bench.live()
    bench.performer._connectors = {}
    bench.engine.store.write_as("another")
    await recover(bench.engine.store, bench.driver, bench.performer, Silence(bench.engine.clock))
    for _ in range(3000):
        if "asking" in await bench.kinds():
            break
        await asyncio.sleep(0.01)
    (run,) = await bench.engine.runs()
    assert run.stage is Stage.ASKING
    assert "is not there any more" in run.steps["halve"].error


async def test_a_connector_that_breaks_over_a_mark_strands_nobody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perform, "INQUIRE_RETRY_S", (0.01,))
    real, left = bench.ledger.inquire, [3]

    async def broken(call: Call, mark: dict[str, Any], *, timeout: float) -> Result | None:
        left[0] -= 1
        if left[0] > 0:
            raise ZeroDivisionError("a defect")
        return await real(call, mark, timeout=timeout)

    monkeypatch.setattr(bench.ledger, "inquire", broken)
    bench.ledger.loses_answer = True
    await bench.fires()
    await bench.run_when(StepState.DONE)
    assert bench.ledger.sent == 1
