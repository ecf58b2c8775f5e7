"""The engine in virtual time: the real driver over a store in memory, driven as plain calls.

For stories, backtests and simulations. Nothing waits: time is moved by whoever plays, every deadline is
met at its own moment, and what the world would do is a callback. No rule is written here: deliveries,
deadlines, pages and crashes take the way that they take in the daemon.

    play = Virtual(store, clock, decisions, perform)
    play.deliver(delivery)
    play.until(clock.at + timedelta(hours=1))
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Protocol, TypeVar

import msgspec

from remediator.core.alert import Delivery
from remediator.core.messages import Event
from remediator.core.policyset import PolicySet
from remediator.core.run import Page
from remediator.engine.decisions import Committed, Decisions
from remediator.engine.driver import Driver
from remediator.engine.paging import Paging
from remediator.engine.recovery import Silence, recover
from remediator.ports import Pending, Store, Tx

T = TypeVar("T")


class VirtualClock:
    """Stands still until it is moved."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        """That moment."""
        return self.at

    def monotonic(self) -> float:
        """Seconds since 1970."""
        return (self.at - _EPOCH).total_seconds()


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class InstantStore(Store, Protocol):
    """A store whose transactions never suspend."""

    def next_due(self) -> datetime | None:
        """The earliest deadline of all, without a transaction."""
        ...

    def next_page(self) -> datetime | None:
        """When the first page is due, likewise."""
        ...


class Virtual:
    """A daemon's loop without its waiting. Whatever it raises is a defect, and passes through.

    ``perform`` is given each committed effect, and answers with `tell`, at once, `later`, or never.
    Whoever must look in between, after a commit and before anything of it is performed, watches the driver.
    """

    def __init__(
        self,
        store: InstantStore,
        clock: VirtualClock,
        decisions: Decisions,
        perform: Callable[[Pending], None],
        new_id: Callable[[str], str],
    ) -> None:
        """``new_id``: prefix → identity, for pages that no decision asks for."""
        self.store = store
        self.clock = clock
        self.perform = perform
        self.driver = Driver(store, decisions, clock, _nothing, _defect)
        self.driver.attach(self)
        self._new_id = new_id
        self.paging = Paging(store, clock, _told, new_id)
        self._wanted: deque[Pending] = deque()
        self._performing = False
        self._agenda: list[tuple[datetime, int, Callable[[], None]]] = []
        self._turn = count()

    # ── What happens now ──────────────────────────────────────────────────────────────────────────

    def deliver(self, delivery: Delivery) -> None:
        """Alerts come in, and are decided on."""
        decisions = self.driver.decisions
        self.do(self.driver.commit(lambda tx: decisions.hear(tx, delivery)))

    def tell(self, run_id: str, event: Event, effect: int | None = None) -> None:
        """A run hears an event. ``effect``: whose result it is."""
        self.do(self.driver.tell(run_id, event, effect))

    def commit(self, work: Callable[[Tx], Awaitable[Committed]]) -> None:
        """Any other deciding transaction."""
        self.do(self.driver.commit(work))

    def do(self, work: Awaitable[T]) -> T:
        """Anything of the daemon that waits for nothing but the store, such as a wish at the desk."""
        value = driven(work)
        self._perform()
        return value

    def start(self, pending: Pending) -> None:
        """The driver hands on what was committed."""
        self._wanted.append(pending)

    def _perform(self) -> None:
        """In the order in which it was committed; what follows from an answer comes behind."""
        if self._performing:
            return
        self._performing = True
        try:
            while self._wanted:
                self.perform(self._wanted.popleft())
        finally:
            self._performing = False

    # ── Time ──────────────────────────────────────────────────────────────────────────────────────

    def later(self, after: timedelta, then: Callable[[], None]) -> None:
        """Do this when so much time has passed."""
        heapq.heappush(self._agenda, (self.clock.at + after, next(self._turn), then))

    def until(self, at: datetime) -> None:
        """Let time pass: everything that is due by then happens, each thing at its own moment."""
        while (moment := self.next_moment()) is not None and moment <= at:
            self.clock.at = max(self.clock.at, moment)
            while self._agenda and self._agenda[0][0] <= self.clock.at:
                heapq.heappop(self._agenda)[2]()
            self._meet()
        self.clock.at = max(self.clock.at, at)

    def next_moment(self) -> datetime | None:
        """When something is due next."""
        due = self.store.next_due()
        if self._agenda and (due is None or self._agenda[0][0] < due):
            return self._agenda[0][0]
        return due

    def _meet(self) -> None:
        """What is due now, and what becomes due by that, until nothing is."""
        for _ in range(1000):
            if not self._is_due():
                return
            self.do(self._deadlines())
            if (page := self.store.next_page()) is not None and page <= self.clock.at:
                self.do(self.paging.deliver_due())
        raise AssertionError(f"at {self.clock.at} the same deadline is met for ever")

    async def _deadlines(self) -> None:
        """As the driver meets them; that no more are due is seen without a transaction."""
        while not await self.driver.meet() and self._is_due():
            pass

    def _is_due(self) -> bool:
        due = self.store.next_due()
        return due is not None and due <= self.clock.at

    def page_impatient(self, policies: PolicySet) -> None:
        """The daemon's chore of every few seconds: refusals that outlast their patience are paged."""
        self.do(self.paging.page_impatient(policies))

    # ── Accidents ─────────────────────────────────────────────────────────────────────────────────

    def crash(self) -> None:
        """The daemon stops here and starts again: what was not performed is lost, or done again."""
        self._wanted.clear()
        self.store.write_as(self._new_id("d"))
        self.do(recover(self.store, self.driver, self, Silence(self.clock)))

    def change_policies(self) -> None:
        """The running set was replaced: every run hears of it."""
        self.do(self.driver.policies_changed())


def driven(work: Awaitable[T]) -> T:
    """Run it to its end in one go. Raises RuntimeError when it waits for something else than a store."""
    steps = work.__await__()
    try:
        next(steps)
    except StopIteration as end:
        value: T = end.value
        return value
    raise RuntimeError("in virtual time nothing may wait but for the store")


async def _told(page: Page) -> Page:
    """Somebody has heard of it: nobody needs to be told again."""
    return msgspec.structs.replace(page, next_at=None)


async def _defect(key: str, text: str) -> None:
    raise AssertionError(f"{key}: {text}")


def _nothing() -> None:
    """Pages are met with the deadlines."""
