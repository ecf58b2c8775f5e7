"""The loop: inbox and deadlines in, decisions committed, effects handed to the performer.

State is rows; what is kept here may be lost at any moment. Wake-ups make it quick, polling makes it
right. When the store fails, nothing starts; the loop waits and tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol, TypeVar

import msgspec

from remediator.core.alert import PORTION, Alert
from remediator.core.messages import Event, PolicyChanged
from remediator.engine.decisions import Committed, Decisions
from remediator.engine.inbox import Inbox
from remediator.engine.setbacks import Setbacks, Theirs, problem_of
from remediator.errors import LeaseLost, StoreError
from remediator.ports import (
    NOTHING,
    Ahead,
    Clock,
    Disposition,
    Due,
    Pending,
    Store,
    Tx,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

POLL_S = 1.0
BUSY_S = 0.1
REST_S = 0.05
"""Between two looks for deadlines: each commit may have moved one, and there may be hundreds in a second."""
BATCH = 64


class Performs(Protocol):
    """What the driver asks of the performer."""

    def start(self, pending: Pending) -> None:
        """Perform it soon; its result comes back through `Driver.tell`."""
        ...


class Driver:
    """Moves every run as far as it can go."""

    def __init__(
        self,
        store: Store,
        decisions: Decisions,
        clock: Clock,
        on_page: Callable[[], None],
        on_bug: Callable[[str, str], Awaitable[None]],
    ) -> None:
        """on_page: called after a commit that asked for a person; on_bug: ``(key, text)`` pages one."""
        self._store = store
        self.decisions = decisions
        self._clock = clock
        self._on_page = on_page
        self._setbacks = Setbacks(store, clock, on_bug)
        self._inbox = Inbox(store, decisions, clock, self.commit, self._setbacks)
        self._performer: Performs | None = None
        self._delivered = asyncio.Event()
        self._deadlines = asyncio.Event()
        self._watchers: list[Callable[[str], None]] = []
        self._unheard: set[str] = set()  # runs that could not be told that policies changed
        self._left: dict[str, tuple[Alert, float]] = {}  # alerts that could not be considered; when they are
        self.stale = False  # other replicas have newer policies: nothing is opened here
        self.store_works = True
        self.life: Callable[[], object] = lambda: None  # of this replica: another object once it began anew
        self.lost: Callable[[], None] = lambda: None  # others have taken over from it

    def attach(self, performer: Performs) -> None:
        """The performer needs the driver and the driver needs it: tied here, once."""
        self._performer = performer

    def watch(self, changed: Callable[[str], None]) -> Callable[[], None]:
        """Call this with a run's id after each commit that changed it; returns how to stop."""
        self._watchers.append(changed)
        return lambda: self._watchers.remove(changed)

    @property
    def depth(self) -> int:
        """Deliveries that wait, as far as is known, but for those that were kept back."""
        return self._inbox.depth

    def accepted(self) -> None:
        """A delivery was committed to the inbox."""
        self._inbox.depth += 1
        self._delivered.set()

    def look(self) -> None:
        """Some deadline may have moved."""
        self._deadlines.set()

    def woken(self) -> None:
        """Another daemon has left something to do."""
        self._delivered.set()
        self._deadlines.set()

    # ── Work that others bring ────────────────────────────────────────────────────────────────────

    async def tell(
        self, run_id: str, event: Event, effect: int | None = None, *, asked: float | None = None
    ) -> None:
        """Let a run hear an event; its result is committed when this returns. Raises StoreError.

        ``asked``: when the question was sent that a reading answers, by this machine's monotonic clock.
        """
        await self._advance(run_id, event, effect, asked)

    async def tell_one(self, run_id: str, event: Event, effect: int | None = None) -> bool:
        """One run of many: False where it was put aside instead. Raises StoreError if nothing works."""
        return await self._setbacks.one_of_many(run_id, self._advance(run_id, event, effect)) is not None

    async def _advance(
        self, run_id: str, event: Event, effect: int | None = None, asked: float | None = None
    ) -> Committed:
        async def work(tx: Tx) -> Committed:
            age = self._clock.monotonic() - asked if asked is not None else 0.0  # after the time was read
            return await self.decisions.advance(tx, run_id, event, effect, timedelta(seconds=age))

        return await self.commit(work, Ahead(run=run_id, effect=effect))

    async def commit(self, work: Callable[[Tx], Awaitable[Committed]], ahead: Ahead = NOTHING) -> Committed:
        """One deciding transaction, and what follows from it.

        Where this replica has begun anew meanwhile, what its earlier life decided was taken over by others.
        """
        life = self.life()
        try:
            done = await self._store.transact(work, ahead)
        except LeaseLost:
            if self.life() is life:
                self.lost()
            raise
        self.follow(done if self.life() is life else replace(done, pending=[]))
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
        for run_id in await self._store.read(lambda tx: tx.open_runs()):
            await self._hear_policies(run_id)
        for gone in _portions(await self._store.read(self.decisions.orphaned)):
            await self.commit(partial(self.decisions.let_go, refused=gone))
        for alerts in _portions(await self._store.read(self.decisions.undecided)):
            try:
                await self.commit(partial(self.decisions.consider, alerts=alerts))
            except Exception as error:  # find the alert that it is about, and let the others through
                await self._setbacks.unless_down(error)
                log.exception("alerts cannot be decided together")
                for alert in alerts:
                    await self._consider(alert)

    async def _hear_policies(self, run_id: str) -> None:
        """Whoever cannot hear it now does once it can be decided again."""
        self._unheard.add(run_id)
        if await self.tell_one(run_id, PolicyChanged()):
            self._unheard.discard(run_id)

    async def _consider(self, alert: Alert) -> None:
        """One that cannot be decided now is a refusal whose time has come: see `_decide_later`."""
        key, what = f"alert:{alert.fingerprint}", f"alert {alert.name} cannot be decided"
        try:
            await self.commit(partial(self.decisions.consider, alerts=[alert]))
        except Exception as error:
            await self._setbacks.unless_down(error)
            log.exception("an alert cannot be decided", extra={"fingerprint": alert.fingerprint})
            later = partial(self.decisions.decide_later, alert=alert, problem=problem_of(error))
            try:
                await self.commit(later)
            except Exception as worse:
                await self._setbacks.unless_down(worse)
                log.exception("an alert can be neither decided nor put off")
                pause, lasting = self._setbacks.failed(key, worse)
                self._left[alert.fingerprint] = (alert, self._clock.monotonic() + pause.total_seconds())
                return await self._setbacks.tell_of_many(key, key, what, worse) if lasting else None
        self._setbacks.over(key)
        self._left.pop(alert.fingerprint, None)
        return None

    async def _consider_left(self) -> None:
        """Alerts that could be neither considered nor put off, and whose time has come."""
        now = self._clock.monotonic()
        for alert, at in list(self._left.values()):
            if at <= now and not self.stale:
                await self._consider(alert)

    # ── Loops ─────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._forever(self._drain_inbox, self._delivered), name="inbox")
            tasks.create_task(self._forever(self.meet_deadlines, self._deadlines, REST_S), name="deadlines")

    async def _forever(
        self, work: Callable[[], Awaitable[float]], wake: asyncio.Event, rest: float = 0.0
    ) -> None:
        """Do the work; wait as long as it says, or until woken, but never shorter than ``rest``."""
        while True:
            wake.clear()
            try:
                pause = await work()
                self.store_works = True
            except StoreError as error:
                self.store_works = False
                log.warning("the store does not work: nothing starts", extra={"problem": str(error)})
                pause = POLL_S
            except Exception as error:  # noqa: BLE001 - told and logged: no row, and no defect, ends the loop
                await self.stumbled(work.__name__, error)
                pause = POLL_S
            await asyncio.sleep(rest)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause - rest):  # wait_for may lose a cancellation (Python 3.11)
                    await wake.wait()

    async def _drain_inbox(self) -> float:
        while not self.stale:
            settled = await self._inbox.admit()
            await self._inbox.try_again()
            if settled == 0:
                break
        if self.stale:  # others drain it
            self._inbox.depth = await self._store.read(lambda tx: tx.inbox_depth())
        return POLL_S

    async def meet_deadlines(self) -> float:
        """All of them that are due; how long nothing will be."""
        while not (pause := await self.meet()):
            pass
        await self._setbacks.tell_of_unread()
        await self._consider_left()
        return pause

    async def meet(self) -> float:
        """Those that are due now; how long nothing will be, 0 where they may have made others due."""
        due, next_due = await self._store.read(_due)
        if due.unread:  # they would be found again and again
            await self._store.transact(partial(self._setbacks.put_off, rows=due.unread))
        if due.runs or (due.dispositions and not self.stale):
            moved = [await self._wake(run_id) for run_id in due.runs]
            if due.dispositions and not self.stale:
                await self._reconsider(due.dispositions)
            elif not any(moved):  # another replica is at them
                return BUSY_S
            return 0.0
        if next_due is None or self.stale:
            return POLL_S
        if due.unread:
            return BUSY_S
        return min(POLL_S, max(0.005, (next_due - self._clock.now()).total_seconds()))

    async def _wake(self, run_id: str) -> bool:
        """A run's deadline; whether it was met. One that cannot be decided is put aside."""
        waking = self.commit(lambda tx: self.decisions.wake(tx, run_id), Ahead(run=run_id))
        try:
            done = await self._setbacks.when_due(run_id, waking)
        except Theirs:
            return False
        if done is None:
            return True
        if run_id in self._unheard:
            await self._hear_policies(run_id)
        return bool(done.runs)

    # ── What cannot be decided ────────────────────────────────────────────────────────────────────

    async def go_past(self, key: str, what: str, error: Exception) -> None:
        """One of many things cannot be done: a person is told. Raises StoreError if nothing works.

        Until `done` says that it could be.
        """
        await self._setbacks.unless_down(error)
        _, lasting = self._setbacks.failed(key, error)
        if lasting:
            await self._setbacks.tell(key, key, what, error)

    async def stumbled(self, loop: str, error: Exception) -> None:
        """A round of a loop broke: a person is told, and the next round comes."""
        log.error("a round of a loop broke", extra={"loop": loop}, exc_info=error)
        try:
            await self.go_past(f"loop:{loop}", f"a round of `{loop}` broke", error)
        except Exception:
            log.exception("nobody could be told of it")

    def done(self, key: str) -> None:
        """What was gone past could be done."""
        self._setbacks.over(key)

    async def _reconsider(self, standing: Sequence[Disposition]) -> None:
        """In one transaction: one run's end may wake all who were refused in a storm."""

        async def work(tx: Tx) -> Committed:
            done = Committed()
            for one in standing:
                done += await self.decisions.reconsider(tx, one)
            return done

        try:
            await self.commit(work)
        except Exception as error:
            await self._setbacks.unless_down(error)
            log.exception("refusals cannot be decided again together")
            if len(standing) > 1:
                for one in standing:
                    await self._reconsider([one])
            else:
                await self._decide_later(standing[0], error)
        else:
            for one in standing:
                self._setbacks.over(_again(one))

    async def _decide_later(self, about: Disposition, error: Exception) -> None:
        """Unless another replica was quicker, or the alert has ended: then nothing is due any more."""
        key = _again(about)
        pause, lasting = self._setbacks.failed(key, error)

        async def later(tx: Tx) -> None:
            current = await tx.disposition(about.policy, about.fingerprint)
            if current is not None and current.again_at is not None and current.again_at <= tx.now:
                await tx.put_disposition(msgspec.structs.replace(current, again_at=tx.now + pause))

        await self._store.transact(later)
        if lasting:
            what = f"policy {about.policy} cannot decide on alert {about.fingerprint}"
            await self._setbacks.tell_of_many(key, key, what, error)


def _portions(many: Sequence[T]) -> Iterator[Sequence[T]]:
    """What is done in one transaction each: nobody else waits for all of it."""
    return (many[at : at + PORTION] for at in range(0, len(many), PORTION))


def _again(about: Disposition) -> str:
    return f"again:{about.policy}:{about.fingerprint}"


async def _due(tx: Tx) -> tuple[Due, datetime | None]:
    """What is due, and when the next thing will be: one look, since each commit makes us look."""
    next_due = await tx.next_due()
    if next_due is None or next_due > tx.now:
        return Due(), next_due
    return await tx.due(BATCH), next_due
