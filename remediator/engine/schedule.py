"""What happens by the clock: watches, which APScheduler fires and rows decide who reads; and chores.

A watch is meant by the wall clock, as people plan. Chores are not: they go on whatever it shows.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from remediator.core.alert import Alert, Delivery
from remediator.core.canonical import digest, inert
from remediator.core.evidence import Reading
from remediator.core.messages import Entry, Facts
from remediator.core.opening import Watch
from remediator.core.planning import watch_call
from remediator.core.policy import Policy
from remediator.core.policyset import WATCH, PolicySet
from remediator.core.run import Refusal
from remediator.engine.driver import Driver
from remediator.engine.looking import longest
from remediator.engine.paging import OURSELVES, WATCH_FAILED, acknowledge, page_key
from remediator.engine.perform import Performer
from remediator.engine.standing import stand
from remediator.errors import EvaluationError, StoreError
from remediator.ports import SYSTEM, Clock, Store, Tx

if TYPE_CHECKING:
    from apscheduler.schedulers.asyncio import AsyncIOScheduler

log = logging.getLogger(__name__)

T = TypeVar("T")

IN_STEP_S = 5.0
OUT_OF_STEP_S = 5.0
"""How often, and from which jump of the wall clock on, watches are planned anew."""

KEEP_S = 10.0
"""How long after an operation's longest time a watch's answer may still be kept."""

BLINK_S = 1.0
"""After which the store is asked again."""

LEFT_S = 15.0
"""How often somebody looks for firings that nobody kept."""

NEAR = timedelta(hours=1)
"""By how much the clock of a machine may be wrong for its firings to be those of a cron line."""

MOST_ROWS = 1000
"""Rows of one watch that may become alerts; more is a mistake of the query."""


@dataclass(frozen=True)
class _Firing:
    """A watch that was read."""

    policy: Policy
    at: datetime
    asked: float  # when, by the store's monotonic clock
    within: float  # seconds that its operation takes at most
    reading: Reading


class Schedule:
    """Owns the scheduler. `follow` replaces its watches when the policies change."""

    def __init__(self, store: Store, clock: Clock, performer: Performer, driver: Driver) -> None:
        """clock: the machine's own, by which APScheduler plans."""
        self._store = store
        self._clock = clock
        self._performer = performer
        self._driver = driver
        self._scheduler: AsyncIOScheduler | None = None
        self._chores: list[asyncio.Task[None]] = []
        self._pace = self._offset()
        self._policies: PolicySet | None = None
        self._missed: dict[str, datetime] = {}  # policy → the firing that no store could be asked for

    def start(self, chores: Mapping[str, tuple[float, Callable[[], Awaitable[None]]]]) -> None:
        """chores: name → (every so many seconds, what); the first time at once."""
        from apscheduler.schedulers.asyncio import AsyncIOScheduler

        self._scheduler = AsyncIOScheduler(timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1})
        self._scheduler.start()
        loop = asyncio.get_running_loop()
        every = {**chores, "in step": (IN_STEP_S, self._keep_in_step), "left": (LEFT_S, self._take_up)}
        self._chores = [loop.create_task(_forever(name, *one), name=name) for name, one in every.items()]

    def stop(self) -> None:
        """No more firings."""
        for chore in self._chores:
            chore.cancel()
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)

    async def _keep_in_step(self) -> None:
        """After a jump of the wall clock, APScheduler waits for a time that may be a day away."""
        if self._policies is not None and abs(self._offset() - self._pace) > OUT_OF_STEP_S:
            self.follow(self._policies)

    def _offset(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()

    def follow(self, policies: PolicySet) -> None:
        """Take up the watches of this set, and drop all others."""
        assert self._scheduler is not None
        self._pace, self._policies = self._offset(), policies
        for job in self._scheduler.get_jobs():
            if job.id.startswith(WATCH):
                job.remove()
        for name, versioned in policies.by_name.items():
            if versioned.policy.watch is not None:
                trigger = trigger_of(versioned.policy.watch)
                self._scheduler.add_job(
                    self._fire,
                    trigger,
                    id=WATCH + name,
                    args=(name, policies),
                    misfire_grace_time=60,
                    next_run_time=_soon(versioned.policy.watch, trigger),
                )

    async def _take_up(self) -> None:
        """Firings that were claimed and not kept, since their reader has died, are read once more.

        So are those that came while the store was gone. Not for ever: who plans a watch for the night does
        not want it read at noon.
        """
        policies = self._policies
        if policies is None:
            return

        async def left(tx: Tx) -> list[tuple[str, datetime]]:
            found = []
            for name, versioned in policies.by_name.items():
                watch = versioned.policy.watch
                at = await tx.newest_firing(name) if watch is not None else None
                if watch is None or at is None or tx.now - at > NEAR:
                    continue
                kept = await tx.newest_firing(f"{name}/kept")
                patience = 3 * (longest(policies.catalog, watch.use) + KEEP_S)  # to claim, to read, to keep
                if (kept is None or kept < at) and (tx.now - at).total_seconds() > patience:
                    found.append((name, at))
            return found

        for name, at in await self._store.read(left):
            await self._fire(name, policies, left=at)
        for name, at in list(self._missed.items()):
            del self._missed[name]  # should reading it break, the others have their turn the next time
            versioned = policies.by_name.get(name)
            if versioned and versioned.policy.watch and self._store.clock.now() - at <= NEAR:
                await self._fire(name, policies, at)

    async def _fire(
        self, name: str, policies: PolicySet, at: datetime | None = None, *, left: datetime | None = None
    ) -> None:
        """One firing: claimed by a row, read, turned into alerts.

        ``at``: which, where it is not the one of this moment; ``left``: one that nobody has kept.
        """
        policy, clock = policies.by_name[name].policy, self._store.clock
        assert policy.watch is not None
        scheduled_at = left or at or slot(policy.watch, clock.now())
        within = longest(policies.catalog, policy.watch.use)
        claim = name if left is None else f"{name}/again"
        try:
            if not await self._patiently(partial(self._claim, firing=claim, at=scheduled_at), within):
                return
            asked = clock.monotonic()
            reading = await self._read(policy, policies)
            firing = _Firing(policy, scheduled_at, asked, within, reading)
            await self._patiently(partial(self._keep_newest, firing=firing), within)
        except StoreError as error:
            log.warning("a watch could not be kept", extra={"policy": name, "problem": str(error)})
            if left is None:
                self._missed[name] = max(scheduled_at, self._missed.get(name, scheduled_at))
            return
        self._driver.accepted()

    async def _claim(self, tx: Tx, firing: str, at: datetime) -> bool:
        """Whoever has older policies would look by an older query, and takes no firing from the others."""
        return not await self._driver.decisions.outdated(tx) and await tx.claim_firing(firing, at)

    async def _patiently(self, work: Callable[[Tx], Awaitable[T]], within: float) -> T:
        """A store that blinks is asked again, for as long as an answer may be kept."""
        clock = self._store.clock
        give_up = clock.monotonic() + within + KEEP_S
        while True:
            try:
                return await self._store.transact(work)
            except StoreError as error:
                if clock.monotonic() > give_up:
                    raise
                log.info("the store blinks: a watch waits for it", extra={"problem": str(error)})
            await asyncio.sleep(BLINK_S)

    async def _keep_newest(self, tx: Tx, firing: _Firing) -> None:
        """What it says, unless that was overtaken."""
        if not await tx.claim_newest_firing(f"{firing.policy.name}/kept", firing.at):
            return
        age = self._store.clock.monotonic() - firing.asked
        late = Reading(tx.now, ok=False, error=f"its answer is {age:.0f} s old, which is too late")
        await self._keep(tx, firing.policy, firing.reading if age <= firing.within + KEEP_S else late)

    async def _read(self, policy: Policy, policies: PolicySet) -> Reading:
        now = self._store.clock.now()
        facts = Facts(now=now, policy=policy, current=None, catalog=policies.catalog)
        try:
            return await self._performer.read(watch_call(policy, facts))
        except EvaluationError as error:
            return Reading(now, ok=False, error=str(error))

    async def _keep(self, tx: Tx, policy: Policy, reading: Reading) -> None:
        """Rows become alerts; a row that has gone is resolved; a failed probe means nothing of them.

        It stands like a refusal until one works, so that a person hears when it fails for long.
        """
        source = WATCH + policy.name
        rows = rows_of(reading)
        if rows is None or len(rows) > MOST_ROWS:
            problem = reading.error or f"{len(rows or ())} rows are too many"
            log.warning("a watch could not be read", extra={"policy": policy.name, "problem": problem})
            await tx.journal(SYSTEM, [Entry("watch-failed", {"policy": policy.name, "problem": problem})])
            return await stand(tx, policy.name, source, Refusal(WATCH_FAILED, problem))
        await _works_again(tx, policy, source)
        firing = await tx.alerts(firing_only=True, source=source, limit=100 * MOST_ROWS)
        known = {row.alert.fingerprint: row.alert for row in firing}
        alerts = watched_alerts(policy, rows, known, tx.now)
        for part in Delivery(source=source, alerts=tuple(alerts), received_at=tx.now).parts():
            await tx.put_delivery(part)
        return None


async def _works_again(tx: Tx, policy: Policy, source: str) -> None:
    """Who was paged because it failed need not look any more."""
    failed = await tx.disposition(policy.name, source)
    if failed is None:
        return
    await tx.drop_dispositions(source)
    for page in await tx.pages() if failed.paged else ():
        if page.key == page_key(failed):
            await acknowledge(tx, page, OURSELVES, reason="the watch works again")


def rows_of(reading: Reading) -> list[dict[str, Any]] | None:
    """The rows of a query, or the labels of a PromQL result's series. None when it failed."""
    if not reading.ok:
        return None
    value = reading.shown
    if "rows" in value:
        return list(value["rows"])
    if "series" in value:
        return [dict(one["labels"]) for one in value["series"]]
    body = value.get("json")
    return [row for row in body if isinstance(row, dict)] if isinstance(body, list) else None


def watched_alerts(
    policy: Policy, rows: list[dict[str, Any]], known: Mapping[str, Alert], now: datetime
) -> list[Alert]:
    """One firing alert for each row not known yet or that says something else, one resolved for each gone."""
    assert policy.watch is not None
    source, found = WATCH + policy.name, {}
    for row in rows:
        labels = {name: _text(value) for name, value in row.items()}
        identity = [labels.get(key, "") for key in policy.watch.key]
        found[digest([policy.name, *identity])[:16]] = {**labels, "alertname": policy.name}
    fresh = [
        Alert(fingerprint=fingerprint, status="firing", labels=labels, starts_at=began, source=source)
        for fingerprint, labels in found.items()
        if fingerprint not in known or known[fingerprint].labels != labels
        for began in [known[fingerprint].starts_at if fingerprint in known else now]
    ]
    gone = [
        Alert(
            fingerprint=fingerprint,
            status="resolved",
            labels=alert.labels,
            starts_at=alert.starts_at,
            ends_at=now,
            source=source,
        )
        for fingerprint, alert in known.items()
        if fingerprint not in found
    ]
    return fresh + gone


def trigger_of(watch: Watch) -> Any:
    """APScheduler's trigger for a watch. Raises ValueError for a cron line that cannot be."""
    from apscheduler.triggers.cron import CronTrigger
    from apscheduler.triggers.interval import IntervalTrigger

    if watch.every is not None:
        return IntervalTrigger(seconds=watch.every.total_seconds(), timezone=UTC)
    return CronTrigger.from_crontab(named_weekdays(watch.cron or ""), timezone=watch.timezone or UTC)


_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")


def named_weekdays(cron: str) -> str:
    """Numbers in the weekday field as names: cron counts from Sunday, APScheduler from Monday.

    A range that starts on Sunday is written out, since APScheduler's week begins on Monday.
    """
    fields = cron.split()
    if len(fields) != 5:
        return cron
    parts = [_named(part) for part in fields[4].split(",")]
    return " ".join([*fields[:4], ",".join(parts)])


def _named(part: str) -> str:
    ranged = re.fullmatch(r"([0-7])-([0-7])(/([1-9]))?", part)
    if ranged:
        first, last, step = int(ranged[1]), int(ranged[2]), int(ranged[4] or 1)
        return ",".join(dict.fromkeys(_WEEKDAYS[day] for day in range(first, last + 1, step)))
    if re.fullmatch(r"\*/[2-7]", part):
        return ",".join(_WEEKDAYS[day] for day in range(0, 7, int(part[2:])))
    return _WEEKDAYS[int(part)] if re.fullmatch(r"[0-7]", part) else part


def slot(watch: Watch, now: datetime) -> datetime:
    """The scheduled time that a firing belongs to, the same for every replica: the nearest.

    Each fires by its own machine's clock, and none is the store's to the millisecond. Of a cron line it is
    the nearest time at which the line fires, however much later a machine gets to it.
    """
    if watch.cron is not None and (planned := _planned(watch, now)):
        return min(planned, key=lambda at: abs(at - now))
    seconds = watch.every.total_seconds() if watch.every is not None else 60.0
    return datetime.fromtimestamp(math.floor(now.timestamp() / seconds + 0.5) * seconds, UTC)


def _planned(watch: Watch, now: datetime) -> list[datetime]:
    """When a cron line fires, within an hour before and after."""
    trigger, at, found = trigger_of(watch), now - NEAR, []
    while (fires := trigger.get_next_fire_time(None, at)) is not None and fires <= now + NEAR:
        found.append(fires.astimezone(UTC))
        at = fires + timedelta(seconds=1)
    return found


def _soon(watch: Watch, trigger: Any) -> datetime:
    """An interval fires at the next whole slot, so that replicas agree; cron when it says."""
    now = datetime.now(UTC)
    if watch.every is None:
        found: datetime = trigger.get_next_fire_time(None, now)
        return found
    return slot(watch, now + watch.every / 2)


async def _forever(name: str, seconds: float, chore: Callable[[], Awaitable[None]]) -> None:
    """Until cancelled. What goes wrong with a chore is logged, and it has its turn again."""
    while True:
        try:
            await chore()
        except Exception:
            log.exception("a chore broke", extra={"chore": name})
        await asyncio.sleep(seconds)


def _text(value: Any) -> str:
    plain = inert(value)
    return plain if isinstance(plain, str) else ("" if plain is None else str(plain))
