"""The engine over a real SQLite store: deliveries in, effects caught instead of performed, time by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from remediator.core.alert import Alert, Delivery
from remediator.core.catalog import Catalog
from remediator.core.evidence import Reading
from remediator.core.messages import Act, Done, Event, Probe, ProbeRead, Result, StepFinished, TimePassed
from remediator.core.policy import Policy
from remediator.core.policyset import PolicySet, Versioned
from remediator.core.run import Run
from remediator.engine.decisions import Committed, Decisions, Terms
from remediator.ports import Disposition, Pending, RunFilter, Store, Tx
from remediator.store import open_store
from tests.core.campaign import CATALOG

START = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)


@dataclass
class HandClock:
    """Moves only when told."""

    at: datetime = START
    off: timedelta = timedelta()

    def now(self) -> datetime:
        return self.at + self.off

    def monotonic(self) -> float:
        return (self.at - START).total_seconds()


@dataclass
class Engine:
    """The deciding transactions, without anybody who performs."""

    store: Store
    clock: HandClock
    policies: PolicySet
    pending: list[Pending] = field(default_factory=list)
    ids: int = 0

    def __post_init__(self) -> None:
        self.decisions = Decisions(
            lambda: self.policies,
            lambda kept: Policy.model_validate_json(kept.text),
            self._new_id,
            Terms(timedelta(minutes=1)),
        )

    def _new_id(self, prefix: str) -> str:
        self.ids += 1
        return f"{prefix}-{self.ids}"

    def runs_with(self, *policies: Policy, version: str = "v1", catalog: Catalog = CATALOG) -> None:
        """Make these the running set."""
        self.policies = PolicySet.of((Versioned(one, f"{one.name}@{version}") for one in policies), catalog)

    def later(self, **span: float) -> None:
        self.clock.at += timedelta(**span)

    async def delivers(self, *alerts: Alert) -> None:
        """A webhook comes in, and is decided on."""
        delivery = Delivery(source="alertmanager", alerts=alerts, received_at=self.clock.now())
        await self.store.transact(lambda tx: tx.put_delivery(delivery))
        for received in await self.store.read(lambda tx: tx.inbox(10)):
            await self._decides(partial(self.decisions.admit, received=received))

    async def _decides(self, work: Callable[[Tx], Awaitable[Committed]]) -> None:
        self._caught(await self.store.transact(work))

    async def tells(self, run: str, event: Event, effect: int | None = None) -> None:
        self._caught(await self.store.transact(lambda tx: self.decisions.advance(tx, run, event, effect)))

    def _caught(self, done: Committed) -> None:
        self.pending += done.pending

    async def answers(self, *, result: Result | None = None, **reading: Any) -> None:
        """Answer every effect that waits: acts with the result, probes with the reading."""
        waiting, self.pending = self.pending, []
        for one in waiting:
            match one.effect:
                case Act(step=step, attempt=attempt, undo=undo):
                    await self.tells(one.run, StepFinished(step, attempt, undo, result or Done()), one.id)
                case Probe(round=number, key=key):
                    read = Reading(self.clock.now(), ok=True, value=reading)
                    await self.tells(one.run, ProbeRead(number, key, read), one.id)
                case _:
                    pass

    async def meets_deadlines(self) -> None:
        """What is due now is decided, once."""
        due = await self.store.read(lambda tx: tx.due(100))
        for run in due.runs:
            await self.tells(run, TimePassed())
        for standing in due.dispositions:
            await self._decides(partial(self.decisions.reconsider, refused=standing))

    async def runs(self) -> list[Run]:
        """Oldest first."""
        return list(reversed(await self.store.read(lambda tx: tx.runs(RunFilter()))))

    async def stands(self, policy: str, fingerprint: str = "f1") -> Disposition | None:
        return await self.store.read(lambda tx: tx.disposition(policy, fingerprint))

    def acts(self) -> list[str]:
        """Steps that wait to be sent."""
        return [one.effect.step for one in self.pending if isinstance(one.effect, Act)]


@asynccontextmanager
async def engine(folder: Path, *policies: Policy) -> AsyncIterator[Engine]:
    """A store in this folder, and these policies running."""
    clock = HandClock()
    store = open_store(f"sqlite:///{folder / 'state.db'}", clock)
    await store.open()
    one = Engine(store, clock, PolicySet.of((), CATALOG))
    one.runs_with(*policies)
    try:
        yield one
    finally:
        await store.close()


def alert(
    fingerprint: str = "f1", *, campaign: str = "c-1", firing: bool = True, started: datetime = START
) -> Alert:
    """The alert that the stories' policies want."""
    return Alert(
        fingerprint=fingerprint,
        status="firing" if firing else "resolved",
        labels={"alertname": "CampaignLate", "campaign": campaign},
        starts_at=started,
    )
