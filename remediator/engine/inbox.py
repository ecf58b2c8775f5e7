"""Deliveries in: decided on together, or alert by alert where that fails.

An alert that cannot be decided on is kept back, as a delivery of its own that stays in the inbox, and
tried again by and by; an end of one, too, and with it whatever fires after it: runs that could hear of the
end took it for over, and only the end makes that news. So is a delivery whose row cannot be read, which is
gone past until somebody has mended it. When, is kept here alone: a start tries them all.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

import msgspec

from remediator.core.alert import PORTION, Alert
from remediator.core.messages import AlertHeard
from remediator.engine.decisions import Committed, Decisions
from remediator.engine.setbacks import Setbacks, problem_of
from remediator.errors import StoreError
from remediator.ports import Clock, Received, Store, Tx

log = logging.getLogger(__name__)

BATCH = 64

WHOLE_TRIES = 3
"""So often a portion fails before its first delivery is taken apart; the second time it is alone already."""

STANDSTILL_S = 60.0
"""So long the inbox may stand still before somebody is told."""


class Outdated(Exception):
    """Other replicas read newer policies: they decide."""


class Behind(Exception):
    """An end of the alert was kept back, and is decided on first."""


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
        self._of: dict[str, dict[int, Received]] = {}  # the same by alert, of those that can be read
        self._portions = 0  # that failed one after the other
        self._stands: float | None = None  # since when it stands still

    async def admit(self) -> int:
        """Some deliveries, in order; returns how many, 0 when none waits but what was kept back."""
        try:
            settled = await self._admit(1 if self._portions else BATCH)
        except Outdated:
            return 0
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
                with contextlib.suppress(Outdated):
                    await self._try_again(received)

    async def _admit(self, limit: int) -> int:
        """In one transaction: what is being accepted meanwhile waits no longer."""
        readable, unread = list[Received](), list[Received]()

        async def work(tx: Tx) -> Committed:
            nonlocal readable, unread
            done = Committed()
            claimed = await tx.claim_inbox(limit, PORTION, self._back)
            readable = sorted((one for one in claimed if not one.problem), key=_came)
            unread = [one for one in claimed if one.problem]
            if any(map(self._is_behind, readable)):
                raise Behind
            for received in readable:
                done += await self._decisions.admit(tx, received)
            return done

        try:
            await self._decide(work)
        except Outdated:
            raise
        except Behind:
            settled = await self._take_apart(len(readable))
        except StoreError:
            self._portions += 1
            if self._portions < WHOLE_TRIES or self._portions % WHOLE_TRIES:
                raise
            log.warning("a delivery cannot be decided on whole: its alerts are, one by one")
            settled = await self._take_apart(1)
        except Exception:  # a bug of ours, or a row: the alert that it is about is found, the others go on
            log.exception("deliveries cannot be decided together")
            settled = await self._take_apart(max(1, len(readable)))
        else:
            settled = len(readable)
            for one in readable:
                self._over(one)
        for one in unread:
            await self._keep_back(one, msgspec.DecodeError(one.problem))
        return settled + len(unread)

    async def _decide(self, work: Callable[[Tx], Awaitable[Committed]]) -> None:
        """Raises Outdated, and changes nothing, where that is for others to do."""

        async def decided(tx: Tx) -> Committed:
            if await self._decisions.outdated(tx):
                raise Outdated
            return await work(tx)

        await self._commit(decided)

    async def _take_apart(self, limit: int) -> int:
        waiting = await self._store.read(lambda tx: tx.inbox(limit + len(self._back)))
        oldest = [one for one in waiting if one.id not in self._back and not one.problem][:limit]
        for received in sorted(oldest, key=_came):
            await self._admit_singly(received)
        return len(oldest)

    async def _admit_singly(self, received: Received) -> None:
        """Each alert by itself; one that cannot be decided on is kept back."""
        failed: list[tuple[Received, Exception]] = []
        ends = set[str]()  # of it, that are kept back
        for alert in received.delivery.alerts:
            alone = msgspec.structs.replace(received.delivery, alerts=(alert,))
            try:
                await self._hear(Received(received.id, alone), ends)
            except Outdated:
                raise
            except Behind as error:
                failed.append((Received(received.id, alone), error))
                await self._tell_its_runs(alert, received.delivery.received_at)
            except Exception as error:
                await self._setbacks.unless_down(error)
                log.exception("an alert cannot be decided", extra={"fingerprint": alert.fingerprint})
                failed.append((Received(received.id, alone), error))
                if not alert.firing:
                    ends.add(alert.fingerprint)
                    await self._tell_its_runs(alert, received.delivery.received_at)
            else:
                self._setbacks.over(_word(alert))
        said = [one for word, _ in failed for one in self._said_before(word)]
        stays = bool(failed) and len(received.delivery.alerts) == 1

        async def work(tx: Tx) -> list[int]:
            for one in said:
                await tx.settle_delivery(one.id)
            if stays:
                return [received.id]
            await tx.settle_delivery(received.id)
            return [await tx.put_delivery(word.delivery) for word, _ in failed]

        numbers = await self._store.transact(work)
        for one in said:
            self._let_go(one)
        for number, (word, problem) in zip(numbers, failed, strict=True):
            await self._keep_back(Received(number, word.delivery), problem)

    async def _hear(self, word: Received, ends: Collection[str]) -> None:
        """``ends``: alerts whose end came before in its delivery, and is kept back."""
        (alert,) = word.delivery.alerts
        if (alert.firing and alert.fingerprint in ends) or self._is_behind(word):
            raise Behind
        await self._decide(partial(self._decisions.hear, delivery=word.delivery))

    async def _tell_its_runs(self, alert: Alert, at: datetime) -> None:
        """An end that cannot be decided on whole: no run that can hear it may begin for it any more.

        Nor may one take it for over once it fires again.
        """
        with contextlib.suppress(msgspec.DecodeError):  # what is known of the alert itself cannot be read
            known_at, runs = await self._store.read(lambda tx: tx.hearers(alert.fingerprint))
            for run in runs if known_at is None or known_at <= at else ():
                await self._tell_one(run, alert)

    async def _tell_one(self, run: str, alert: Alert) -> None:
        try:
            await self._decide(lambda tx: self._decisions.advance(tx, run, AlertHeard(alert, tx.now)))
        except Outdated:
            raise
        except Exception as error:
            await self._setbacks.unless_down(error)
            log.exception("a run cannot hear of an alert", extra={"run": run})

    def _said_before(self, word: Received) -> list[Received]:
        """What was kept back of this alert before: it is the newest word that counts, and that stays.

        So does the end before it: runs have heard of that. Never a newer one: what came in between another
        replica may have in hand.
        """
        (alert,) = word.delivery.alerts
        before = [one for one in self._words(alert.fingerprint) if _came(one) < _came(word)]
        return [one for one in before if not alert.firing or one.delivery.alerts[0].firing]

    def _is_behind(self, word: Received) -> bool:
        """Does it say that something fires whose end, which came before, is kept back?"""
        return any(
            not one.delivery.alerts[0].firing and _came(one) < _came(word)
            for alert in (word.delivery.alerts if self._of else ())
            if alert.firing
            for one in self._words(alert.fingerprint)
        )

    def _words(self, fingerprint: str) -> Iterable[Received]:
        """What is kept back of this alert: however many others are, they are not looked at."""
        return self._of.get(fingerprint, {}).values()

    async def _try_again(self, received: Received) -> None:
        if received.problem:  # its row is read with the next portion
            self._let_go(received)
            return
        if self._is_behind(received):
            return
        try:
            await self._decide(partial(self._decisions.admit, received=received))
        except Outdated:
            raise
        except Exception as error:  # noqa: BLE001 - it is kept, and a person hears of it
            await self._setbacks.unless_down(error)
            about = {"delivery": received.id, "problem": problem_of(error)}
            log.warning("an alert still cannot be decided", extra=about)
            await self._keep_back(received, error)
        else:
            self._let_go(received)
            self._over(received)

    def _over(self, received: Received) -> None:
        """It was decided on."""
        self._setbacks.over(_row(received))
        for alert in received.delivery.alerts:
            self._setbacks.over(_word(alert))

    async def _keep_back(self, received: Received, error: Exception) -> None:
        if isinstance(error, Behind):  # who hears of the end knows
            self._keep(received, timedelta())
            return
        about, what = _row(received), "a delivery of the inbox cannot be read"
        if not received.problem:
            (alert,) = received.delivery.alerts
            about, what = _word(alert), f"alert {alert.name} cannot be decided"
        pause, lasting = self._setbacks.failed(about, error)
        self._keep(received, pause)
        if lasting:
            await self._setbacks.tell_of_many(about, about, what, error)

    def _keep(self, received: Received, pause: timedelta) -> None:
        self._back[received.id] = (received, self._clock.monotonic() + pause.total_seconds())
        if not received.problem:
            self._of.setdefault(_about(received), {})[received.id] = received

    def _let_go(self, received: Received) -> None:
        self._back.pop(received.id, None)
        if not received.problem:
            words = self._of.get(_about(received), {})
            words.pop(received.id, None)
            if not words:
                self._of.pop(_about(received), None)

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


def _came(received: Received) -> tuple[datetime, int]:
    """The order in which they came: one and the same for all replicas.

    Not that of their numbers: each replica gives those of its block, and what was taken apart has new ones.
    """
    return received.delivery.received_at, received.id


def _about(word: Received) -> str:
    return word.delivery.alerts[0].fingerprint


def _row(received: Received) -> str:
    return f"delivery:{received.id}"


def _word(alert: Alert) -> str:
    return f"alert:{alert.fingerprint}"
