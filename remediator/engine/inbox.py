"""Deliveries in: decided on together, or alert by alert where that fails.

An alert that cannot be decided on is kept back, as a delivery of its own that stays in the inbox, and
tried again by and by; an end of one, too. When, is kept here alone: a start tries them all.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import msgspec

from remediator.core.alert import PORTION, Delivery
from remediator.engine.decisions import Committed, Decisions
from remediator.engine.setbacks import Setbacks
from remediator.errors import StoreError
from remediator.ports import Clock, Received, Store, Tx

log = logging.getLogger(__name__)

BATCH = 64

WHOLE_TRIES = 3
"""So often a portion fails before its first delivery is taken apart; the second time it is alone already."""

STANDSTILL_S = 60.0
"""So long the inbox may stand still before somebody is told."""


class Commits(Protocol):
    """One deciding transaction, and what follows from it."""

    async def __call__(self, work: Callable[[Tx], Awaitable[Committed]], /) -> Committed: ...


class Inbox:
    """What waits to be decided on, and what was kept back of it."""

    def __init__(
        self, store: Store, decisions: Decisions, clock: Clock, commit: Commits, setbacks: Setbacks
    ) -> None:
        self._store = store
        self._decisions = decisions
        self._clock = clock
        self._commit = commit
        self._setbacks = setbacks
        self.depth = 0  # deliveries that wait, as far as is known; not those that were kept back
        self._back: dict[int, tuple[Received, float]] = {}  # of one alert each, and when it is tried again
        self._portions = 0  # that failed one after the other
        self._stands: float | None = None  # since when it stands still

    async def admit(self) -> int:
        """Some deliveries, in order; returns how many, 0 when none waits but what was kept back."""
        try:
            settled = await self._admit(1 if self._portions else BATCH)
        except StoreError as error:
            await self._stands_still(error)
            raise
        self._portions, self._stands = 0, None
        self.depth = max(0, self.depth - settled)
        if settled == 0:  # whatever came meanwhile has woken us again
            self.depth = 0
        return settled

    async def try_again(self) -> None:
        """What was kept back, and whose time has come; oldest first."""
        now = self._clock.monotonic()
        for received, at in list(self._back.values()):
            if at <= now:
                await self._try_again(received)

    async def _admit(self, limit: int) -> int:
        """In one transaction: what is being accepted meanwhile waits no longer."""
        settled = 0

        async def work(tx: Tx) -> Committed:
            nonlocal settled
            done = Committed()
            claimed = await tx.claim_inbox(limit, PORTION, self._back)
            settled = len(claimed)
            for received in claimed:
                done += await self._decisions.admit(tx, received)
            return done

        try:
            await self._commit(work)
        except StoreError:
            self._portions += 1
            if self._portions < WHOLE_TRIES or self._portions % WHOLE_TRIES:
                raise
            log.warning("a delivery cannot be decided on whole: its alerts are, one by one")
            settled = await self._take_apart(1)
        except (
            Exception
        ):  # a bug of ours, or a row: find the alert that it is about, and let the others through
            log.exception("deliveries cannot be decided together")
            settled = await self._take_apart(max(1, settled))
        return settled

    async def _take_apart(self, limit: int) -> int:
        waiting = await self._store.read(lambda tx: tx.inbox(limit + len(self._back)))
        oldest = [one for one in waiting if one.id not in self._back][:limit]
        for received in oldest:
            await self._admit_singly(received)
        return len(oldest)

    async def _admit_singly(self, received: Received) -> None:
        """Each alert by itself; one that cannot be decided on is kept back."""
        failed: list[tuple[Delivery, Exception]] = []
        for alert in received.delivery.alerts:
            alone = msgspec.structs.replace(received.delivery, alerts=(alert,))
            try:
                await self._commit(partial(self._decisions.hear, delivery=alone))
            except Exception as error:
                await self._setbacks.unless_down(error)
                log.exception("an alert cannot be decided", extra={"fingerprint": alert.fingerprint})
                if not self._is_repeat(alone):
                    failed.append((alone, error))
        if failed and len(received.delivery.alerts) == 1:
            return await self._keep_back(received, failed[0][1])

        async def work(tx: Tx) -> list[int]:
            await tx.settle_delivery(received.id)
            return [await tx.put_delivery(alone) for alone, _ in failed]

        numbers = await self._store.transact(work)
        for number, (alone, problem) in zip(numbers, failed, strict=True):
            await self._keep_back(Received(number, alone), problem)
        return None

    def _is_repeat(self, alone: Delivery) -> bool:
        """Whether the newest word of this alert that was kept back says the same."""
        (alert,) = alone.alerts
        kept = [one.delivery.alerts[0] for one, _ in self._back.values()]
        return next((one for one in reversed(kept) if one.fingerprint == alert.fingerprint), None) == alert

    async def _try_again(self, received: Received) -> None:
        try:
            await self._commit(partial(self._decisions.admit, received=received))
        except Exception as error:
            await self._setbacks.unless_down(error)
            log.exception("an alert still cannot be decided", extra={"delivery": received.id})
            await self._keep_back(received, error)
        else:
            del self._back[received.id]
            self._setbacks.over(_about(received))

    async def _keep_back(self, received: Received, error: Exception) -> None:
        pause, lasting = self._setbacks.failed(_about(received), error)
        self._back[received.id] = (received, self._clock.monotonic() + pause.total_seconds())
        if lasting:
            (alert,) = received.delivery.alerts
            what = f"alert {alert.name} cannot be decided"
            await self._setbacks.tell_of_many(_about(received), f"alert:{alert.fingerprint}", what, error)

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
            await self._setbacks.on_bug("inbox", text)
            self._stands = None


def _about(received: Received) -> str:
    return f"delivery:{received.id}"
