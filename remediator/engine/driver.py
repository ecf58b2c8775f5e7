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
from remediator.core.calls import printable
from remediator.core.messages import Event, PolicyChanged
from remediator.engine.decisions import Committed, Decisions
from remediator.errors import LeaseLost, StoreError
from remediator.ports import (
    NOTHING,
    Ahead,
    Clock,
    Disposition,
    Due,
    Pending,
    Received,
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
BROKEN_PAUSE = timedelta(minutes=1)
"""How long what cannot be decided, for a defect of ours, is left alone."""

FIRST_PAUSE = timedelta(seconds=1)
"""How long that is left alone which the store, though it works, did not keep; doubled with each time."""
TRIES = 5
"""After so many of these somebody is told: half a minute."""


WHOLE_TRIES = 3
"""So often a portion fails before its first delivery is taken apart; the second time it is alone already."""

STANDSTILL_S = 60.0
"""So long the inbox may stand still before somebody is told."""


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
        self._on_bug = on_bug
        self._performer: Performs | None = None
        self._inbox = asyncio.Event()
        self._deadlines = asyncio.Event()
        self._watchers: list[Callable[[str], None]] = []
        self._tries: dict[str, int] = {}  # what could not be decided: how often in a row
        self._unheard: set[str] = set()  # runs that could not be told that policies changed
        self.depth = 0  # deliveries that wait, as far as is known
        self.stale = False  # other replicas have newer policies: nothing is opened here
        self.store_works = True
        self._portions = 0  # of the inbox, that failed one after the other
        self._stands: float | None = None  # since when the inbox stands still
        self.life: Callable[[], object] = lambda: None  # of this replica: another object once it began anew
        self.lost: Callable[[], None] = lambda: None  # others have taken over from it

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

    def woken(self) -> None:
        """Another daemon has left something to do."""
        self._inbox.set()
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
        return await self._one(run_id, self._advance(run_id, event, effect)) is not None

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
                await self._unless_down(error)
                log.exception("alerts cannot be decided together")
                for alert in alerts:
                    await self._consider(alert)

    async def _hear_policies(self, run_id: str) -> None:
        """Whoever cannot hear it now does once it can be decided again."""
        self._unheard.add(run_id)
        if await self.tell_one(run_id, PolicyChanged()):
            self._unheard.discard(run_id)

    async def _consider(self, alert: Alert, tries: int = 1) -> None:
        try:
            await self.commit(partial(self.decisions.consider, alerts=[alert]))
        except Exception as error:
            await self._unless_down(error)
            log.exception("an alert cannot be decided", extra={"fingerprint": alert.fingerprint})
            if isinstance(error, StoreError) and tries < TRIES:  # it may only have stumbled
                return await self._consider(alert, tries + 1)
            await self._bug(f"alert:{alert.fingerprint}", f"alert {alert.name} cannot be decided", error)

    # ── Loops ─────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._forever(self._drain_inbox, self._inbox), name="inbox")
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
            await asyncio.sleep(rest)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause - rest):  # wait_for may lose a cancellation (Python 3.11)
                    await wake.wait()

    async def _drain_inbox(self) -> float:
        while not self.stale:
            try:
                settled = await self._admit(1 if self._portions else BATCH)
            except StoreError as error:
                await self._stands_still(error)
                raise
            self._portions, self._stands = 0, None
            if settled == 0:  # whatever came meanwhile has woken us again
                self.depth = 0
                break
            self.depth = max(0, self.depth - settled)
        return POLL_S

    async def _admit(self, limit: int) -> int:
        """Some deliveries, in order, in one transaction: what is being accepted meanwhile waits no longer."""
        settled = 0

        async def work(tx: Tx) -> Committed:
            nonlocal settled
            done = Committed()
            claimed = await tx.claim_inbox(limit, PORTION)
            settled = len(claimed)
            for received in claimed:
                done += await self.decisions.admit(tx, received)
            return done

        try:
            await self.commit(work)
        except StoreError:
            self._portions += 1
            if self._portions < WHOLE_TRIES or self._portions % WHOLE_TRIES:
                raise
            log.warning("a delivery cannot be decided on whole: its alerts are, one by one")
            for received in await self._store.read(lambda tx: tx.inbox(1)):
                await self._admit_singly(received)
            return 1
        except Exception:  # a bug of ours: find the alert that it is about, and let its siblings through
            log.exception("deliveries cannot be decided together")
            for received in await self._store.read(lambda tx: tx.inbox(settled)):
                await self._admit_singly(received)
        return settled

    async def _admit_singly(self, received: Received) -> None:
        """Each alert by itself; one that cannot be decided is set aside, and a person told."""
        for alert in received.delivery.alerts:
            alone = msgspec.structs.replace(received.delivery, alerts=(alert,))
            try:
                await self.commit(partial(self.decisions.hear, delivery=alone))
            except StoreError:
                raise
            except Exception as error:
                log.exception("an alert cannot be decided", extra={"fingerprint": alert.fingerprint})
                await self._bug(f"alert:{alert.fingerprint}", f"alert {alert.name} cannot be decided", error)
        await self._store.transact(lambda tx: tx.settle_delivery(received.id))

    async def _stands_still(self, error: StoreError) -> None:
        """Whether the store answers shows with the page: where it does not, others tell of that."""
        now = self._clock.monotonic()
        self._stands = now if self._stands is None else self._stands
        if now - self._stands < STANDSTILL_S:
            return
        text = (
            f"for a minute no delivery of the inbox could be decided on, though the store answers: {error}. "
            "Alerts are kept, and nothing is done about them; see the log, and the load of the database"
        )
        with contextlib.suppress(StoreError):
            await self._on_bug("inbox", text)
            self._stands = None

    async def _bug(self, key: str, what: str, error: Exception) -> None:
        await self._on_bug(f"bug:{key}", f"{what}: {_problem(error)}. {_remedy(error)}")

    async def meet_deadlines(self) -> float:
        """All of them that are due; how long nothing will be."""
        while not (pause := await self.meet()):
            pass
        return pause

    async def meet(self) -> float:
        """Those that are due now; how long nothing will be, 0 where they may have made others due."""
        due, next_due = await self._store.read(_due)
        if due.runs or (due.dispositions and not self.stale):
            moved = [await self._wake(run_id) for run_id in due.runs]
            if due.dispositions and not self.stale:
                await self._reconsider(due.dispositions)
            elif not any(moved):  # another replica is at them
                return BUSY_S
            return 0.0
        if next_due is None or self.stale:
            return POLL_S
        return min(POLL_S, max(0.005, (next_due - self._clock.now()).total_seconds()))

    async def _wake(self, run_id: str) -> bool:
        """A run's deadline; whether it was met. One that cannot be decided is put aside."""
        waking = self.commit(lambda tx: self.decisions.wake(tx, run_id), Ahead(run=run_id))
        done = await self._one(run_id, waking)
        if done is None:
            return True
        if run_id in self._unheard:
            await self._hear_policies(run_id)
        return bool(done.runs)

    # ── What cannot be decided ────────────────────────────────────────────────────────────────────

    async def _one(self, run_id: str, work: Awaitable[Committed]) -> Committed | None:
        """Work on one run of many; None when it had to be put aside. Raises StoreError if nothing works."""
        try:
            done = await work
        except Exception as error:
            await self._unless_down(error)
            log.exception("a run cannot be decided", extra={"run": run_id})
            await self._put_aside(run_id, error)
            return None
        self._tries.pop(run_id, None)
        return done

    async def _put_aside(self, run_id: str, error: Exception) -> None:
        """Its row stays as it is, and is tried again; a person is told, once. The others go on."""
        pause, lasting = self._failed(run_id, error)
        if lasting and run_id not in {one.run for one in await self._store.read(lambda tx: tx.aside())}:
            await self._bug(f"run:{run_id}", f"run {run_id} cannot be decided, and is put aside", error)
        problem = _problem(error) if lasting else ""
        await self._store.transact(lambda tx: tx.put_aside(run_id, tx.now + pause, problem))

    def _failed(self, key: str, error: Exception) -> tuple[timedelta, bool]:
        """How long it is left alone now, and whether that lasts: the store may only have stumbled."""
        tries = self._tries[key] = self._tries.get(key, 0) + 1
        if not isinstance(error, StoreError):
            return BROKEN_PAUSE, True
        return min(BROKEN_PAUSE, FIRST_PAUSE * 2 ** min(tries - 1, 10)), tries >= TRIES

    async def go_past(self, key: str, what: str, error: Exception) -> None:
        """One of many things cannot be done: a person is told. Raises StoreError if nothing works."""
        await self._unless_down(error)
        if not isinstance(error, StoreError):  # it may only have stumbled
            await self._bug(key, what, error)

    async def _unless_down(self, error: Exception) -> None:
        """Raises what was raised, or what is now, if it is about the store and not about one row."""
        if isinstance(error, LeaseLost):
            raise error
        if isinstance(error, StoreError):
            await self._store.transact(_nothing)

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
            await self._unless_down(error)
            log.exception("refusals cannot be decided again together")
            if len(standing) > 1:
                for one in standing:
                    await self._reconsider([one])
            else:
                await self._decide_later(standing[0], error)
        else:
            for one in standing:
                self._tries.pop(_again(one), None)

    async def _decide_later(self, about: Disposition, error: Exception) -> None:
        pause, lasting = self._failed(_again(about), error)
        await self._store.transact(
            lambda tx: tx.put_disposition(msgspec.structs.replace(about, again_at=tx.now + pause))
        )
        if lasting:
            await self._bug(_again(about), f"policy {about.policy} cannot decide", error)


def _portions(many: Sequence[T]) -> Iterator[Sequence[T]]:
    """What is done in one transaction each: nobody else waits for all of it."""
    return (many[at : at + PORTION] for at in range(0, len(many), PORTION))


def _again(about: Disposition) -> str:
    return f"again:{about.policy}:{about.fingerprint}"


def _problem(error: Exception) -> str:
    return printable(error.problem if isinstance(error, StoreError) else f"{type(error).__name__}: {error}")


def _remedy(error: Exception) -> str:
    """What a person does about something that cannot be decided."""
    if isinstance(error, StoreError | msgspec.DecodeError):
        return (
            "The others go on, and it is tried again and again. Does another version of Remediator run beside"
            " this one? Or was the store changed by hand? `remediator audit verify` looks at its journals"
        )
    return "This is a defect of Remediator: see its log"


async def _nothing(_tx: Tx) -> None:
    """Only whether the store works."""


async def _due(tx: Tx) -> tuple[Due, datetime | None]:
    """What is due, and when the next thing will be: one look, since each commit makes us look."""
    next_due = await tx.next_due()
    if next_due is None or next_due > tx.now:
        return Due(), next_due
    return await tx.due(BATCH), next_due
