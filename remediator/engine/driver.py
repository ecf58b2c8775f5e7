"""The loop: inbox and deadlines in, decisions committed, effects handed to the performer.

State is rows; what is kept here may be lost at any moment. Wake-ups make it quick, polling makes it
right. When the store fails, nothing starts; the loop waits and tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from remediator.core.messages import Event, PolicyChanged, TimePassed
from remediator.engine.decisions import Committed, Decisions
from remediator.errors import StoreError
from remediator.ports import Clock, Disposition, Due, Pending, Received, RunFilter, Store, Tx

log = logging.getLogger(__name__)

T = TypeVar("T")

POLL_S = 1.0
BATCH = 64
PORTION = 100
"""Alerts that are decided on in one transaction, if they came in several deliveries: some milliseconds."""


class Performs(Protocol):
    """What the driver asks of the performer."""

    def start(self, pending: Pending) -> None:
        """Perform it soon; its result comes back through `Driver.tell`."""
        ...


class Driver:
    """Moves every run as far as it can go."""

    def __init__(self, store: Store, decisions: Decisions, clock: Clock, on_page: Callable[[], None]) -> None:
        """``on_page`` is called after a commit that asked for a person."""
        self._store = store
        self.decisions = decisions
        self._clock = clock
        self._on_page = on_page
        self._performer: Performs | None = None
        self._inbox = asyncio.Event()
        self._deadlines = asyncio.Event()
        self._watchers: list[Callable[[str], None]] = []
        self.depth = 0  # deliveries that wait, as far as is known
        self.store_works = True

    def attach(self, performer: Performs) -> None:
        """The performer needs the driver and the driver needs it: tied here, once."""
        self._performer = performer

    def watch(self, changed: Callable[[str], None]) -> Callable[[], None]:
        """Call this with a run's id after each commit that changed it; returns how to stop."""
        self._watchers.append(changed)
        return lambda: self._watchers.remove(changed)

    def accepted(self) -> None:
        """A delivery was committed to the inbox."""
        self.depth += 1
        self._inbox.set()

    def look(self) -> None:
        """Some deadline may have moved."""
        self._deadlines.set()

    # ── Work that others bring ────────────────────────────────────────────────────────────────────

    async def tell(self, run_id: str, event: Event, effect: int | None = None) -> None:
        """Let a run hear an event; its result is committed when this returns. Raises StoreError."""
        await self.commit(lambda tx: self.decisions.advance(tx, run_id, event, effect))

    async def commit(self, work: Callable[[Tx], Awaitable[Committed]]) -> Committed:
        """One deciding transaction, and what follows from it."""
        done = await self._store.transact(work)
        self.follow(done)
        return done

    def follow(self, done: Committed) -> None:
        """After a commit: perform, page, wake up."""
        assert self._performer is not None
        for pending in done.pending:
            self._performer.start(pending)
        if done.pages:
            self._on_page()
        for run_id in done.runs:
            for changed in self._watchers:
                changed(run_id)
        self._deadlines.set()

    async def policies_changed(self) -> None:
        """Every run hears of it; alerts that no policy has decided on are looked at again."""
        for run in await self._store.read(lambda tx: tx.runs(RunFilter(state="open", limit=100_000))):
            await self.tell(run.id, PolicyChanged())
        await self.commit(self.decisions.consider_all)

    # ── Loops ─────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._forever(self._drain_inbox, self._inbox), name="inbox")
            tasks.create_task(self._forever(self._meet_deadlines, self._deadlines), name="deadlines")

    async def _forever(self, work: Callable[[], Awaitable[float]], wake: asyncio.Event) -> None:
        """Do the work; wait as long as it says, or until woken."""
        while True:
            wake.clear()
            try:
                pause = await work()
                self.store_works = True
            except StoreError as error:
                self.store_works = False
                log.warning("the store does not work: nothing starts", extra={"problem": str(error)})
                pause = POLL_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), pause)

    async def _drain_inbox(self) -> float:
        while True:
            waiting = await self._store.read(lambda tx: tx.inbox(BATCH))
            for few in _portions(waiting):
                await self._admit(few)
                self.depth = max(0, self.depth - len(few))
            if len(waiting) < BATCH:  # whatever came meanwhile has woken us again
                self.depth = 0
                return POLL_S

    async def _admit(self, few: list[Received]) -> None:
        """In order, in one transaction: what is being accepted meanwhile waits no longer than that."""

        async def work(tx: Tx) -> Committed:
            done = Committed()
            for received in few:
                done += await self.decisions.admit(tx, received)
            return done

        await self.commit(work)

    async def _meet_deadlines(self) -> float:
        while True:
            due, next_due = await self._store.read(_due)
            if not due.runs and not due.dispositions:
                break
            for run_id in due.runs:
                await self.tell(run_id, TimePassed())
            if due.dispositions:
                await self._reconsider(due.dispositions)
        if next_due is None:
            return POLL_S
        return min(POLL_S, max(0.005, (next_due - self._clock.now()).total_seconds()))

    async def _reconsider(self, standing: Sequence[Disposition]) -> None:
        """In one transaction: one run's end may wake all who were refused in a storm."""

        async def work(tx: Tx) -> Committed:
            done = Committed()
            for one in standing:
                done += await self.decisions.reconsider(tx, one)
            return done

        await self.commit(work)


async def _due(tx: Tx) -> tuple[Due, datetime | None]:
    """What is due, and when the next thing will be: one look, since each commit makes us look."""
    return await tx.due(BATCH), await tx.next_due()


def _portions(waiting: list[Received]) -> Iterator[list[Received]]:
    """The deliveries in order, as many together as hold `PORTION` alerts; a larger one alone."""
    few: list[Received] = []
    alerts = 0
    for received in waiting:
        alerts += len(received.delivery.alerts)
        if few and alerts > PORTION:
            yield few
            few, alerts = [], len(received.delivery.alerts)
        few.append(received)
    if few:
        yield few
