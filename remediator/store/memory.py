"""The store in memory: for stories, backtests and simulations, which live in virtual time.

It keeps the same promises as the others, durability apart: a transaction is written whole or not at
all (each change notes how to take it back), what is unique stays so, and a run is kept as the JSON
that a disk would hold. Nothing here suspends, so `MemoryStore.do` runs a transaction as a plain call.
Closing it loses nothing: opened again, it is the disk that a daemon finds when it starts anew.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from remediator.core.messages import Effect, Entry, Preview, Probe
from remediator.core.run import Halt, Page
from remediator.errors import LeaseLost, StoreError
from remediator.ports import (
    NOTHING,
    Ahead,
    CardRef,
    Clock,
    Due,
    JournalEntry,
    KeptPolicy,
    Pending,
    Replica,
    Tx,
    Unreadable,
)
from remediator.store.journal import START, link
from remediator.store.memory_alerts import AlertChanges
from remediator.store.memory_kept import Tables
from remediator.store.memory_tables import Changes
from remediator.store.steady import Instant, Steady

T = TypeVar("T")

_FIRINGS_KEPT = timedelta(days=30)


class MemoryTx(AlertChanges):
    """A `remediator.ports.Tx`."""

    __slots__ = ("_journals", "_replica", "_shared")

    _tables: Tables

    def __init__(
        self,
        tables: Tables,
        changes: Changes,
        instant: Instant,
        *,
        journals: bool,
        replica: str = "",
        shared: bool = False,
    ) -> None:
        """``journals``: whether they are kept; ``replica``: who writes; ``shared``: with others."""
        super().__init__(changes, instant)
        self._tables = tables
        self._journals = journals
        self._replica = replica
        self._shared = shared

    # ── Journals ──────────────────────────────────────────────────────────────────────────────────

    async def journal(self, run_id: str, entries: Sequence[Entry]) -> None:
        if not entries or not self._journals:
            return
        tables, changes = self._tables, self._changes
        seq, previous = tables.heads.get(run_id, (0, START))
        for seq, entry in enumerate(entries, start=seq + 1):  # noqa: B020 - it goes on from the head
            line = link(previous, run_id, seq, self.now, entry)
            changes.append(tables.journal[run_id], line)
            previous = line.hash
        changes.set(tables.heads, run_id, (seq, previous))

    async def read_journal(self, run_id: str, *, after: int = 0, limit: int = 10_000) -> list[JournalEntry]:
        lines = self._tables.journal.get(run_id) or ()
        return [line for line in lines if line.seq > after][:limit]

    async def journal_head(self, run_id: str) -> JournalEntry | None:
        lines = self._tables.journal.get(run_id)
        return lines[-1] if lines else None

    async def journals(self) -> list[str]:
        return sorted(self._tables.heads)

    # ── Effects ───────────────────────────────────────────────────────────────────────────────────

    async def put_effects(self, run_id: str, effects: Sequence[Effect]) -> list[Pending]:
        put = [Pending(self._number("effects"), run_id, one) for one in effects]
        for one in put:
            self._changes.set(self._tables.effects, one.id, one)
            self._changes.set(self._tables.effects_of[run_id], one.id, None)
            self._changes.set(self._tables.holders, one.id, self._replica)
        return put

    async def drop_effect(self, number: int) -> bool:
        one = self._tables.effects.get(number)
        if one is None:
            return False
        self._changes.drop(self._tables.effects_of[one.run], number)
        self._changes.drop(self._tables.holders, number)
        return self._changes.drop(self._tables.effects, number)

    async def drop_repeatable(self, run_id: str) -> None:
        for number in list(self._tables.effects_of.get(run_id) or ()):
            if isinstance(self._tables.effects[number].effect, Probe | Preview):
                await self.drop_effect(number)

    async def pending(self) -> list[Pending]:
        return sorted(self._tables.effects.values(), key=lambda one: one.id)

    # ── Replicas ──────────────────────────────────────────────────────────────────────────────────

    async def beat(self, replica: Replica, lasts: timedelta) -> None:
        alive = msgspec.structs.replace(replica, until=self.now + lasts)
        self._changes.set(self._tables.replicas, replica.id, alive)

    async def replicas(self) -> list[Replica]:
        held = set(self._tables.holders.values())
        gone = self._tables.gone
        found = (
            one
            for one in self._tables.replicas.values()
            if (one.until > self.now and one.id not in gone) or one.id in held
        )
        return sorted(found, key=lambda one: (one.since, one.id))

    async def holders(self) -> Mapping[str, datetime | None]:
        found = set(self._tables.holders.values()) - {self._replica}
        return {one: self._until(one) for one in sorted(found)}

    def _until(self, replica: str) -> datetime | None:
        row = self._tables.replicas.get(replica) if self._shared else None
        return row.until if row is not None and replica not in self._tables.gone else None

    async def take_over(self, replica: str, until: datetime | None) -> list[Pending]:
        tables, changes = self._tables, self._changes
        if self._until(replica) not in (None, until):
            return []
        if replica:
            changes.set(tables.gone, replica, None)
        held = sorted(
            number for number, holder in tables.holders.items() if holder == replica != self._replica
        )
        for number in held:
            changes.set(tables.holders, number, self._replica)
        return [tables.effects[number] for number in held]

    async def held(self) -> list[Pending]:
        tables = self._tables
        held = (number for number, holder in tables.holders.items() if holder == self._replica)
        return [tables.effects[number] for number in sorted(held)]

    async def let_go(self) -> int:
        held = [number for number, holder in self._tables.holders.items() if holder == self._replica]
        for number in held:
            self._changes.set(self._tables.holders, number, "")
        return len(held)

    async def current_set(self) -> str:
        return next(reversed(self._tables.sets), "") if self._shared else ""

    async def announced(self) -> Mapping[str, str]:
        return self._tables.sets.get(await self.current_set(), {})

    async def announce_set(self, version: str, policies: Mapping[str, str]) -> None:
        self._changes.drop(self._tables.sets, version)
        self._changes.set(self._tables.sets, version, dict(policies))

    async def known_set(self, version: str) -> bool:
        return version in self._tables.sets

    # ── Halts ─────────────────────────────────────────────────────────────────────────────────────

    async def put_halt(self, halt: Halt) -> None:
        self._changes.set(self._tables.halts, halt.id, halt)

    async def lift_halt(self, halt_id: str, by: str) -> Halt | None:  # noqa: ARG002 - the journal says who
        halt = self._tables.halts.get(halt_id)
        if halt is not None:
            self._changes.drop(self._tables.halts, halt_id)
            self._changes.set(self._tables.lifted, halt_id, None)
        return halt

    async def halts(self) -> list[Halt]:
        return sorted(self._tables.halts.values(), key=lambda halt: (halt.at, halt.id))

    async def doubts(self) -> list[Halt]:
        tables = self._tables
        return [one for one in self._doubts if one.id not in tables.halts and one.id not in tables.lifted]

    # ── Pages ─────────────────────────────────────────────────────────────────────────────────────

    async def put_page(self, page: Page) -> bool:
        if page.key in self._tables.open_pages:
            return False
        if page.id in self._tables.pages:
            raise self._breach(f"{page.id}: there is a page with this id")
        self._keep_page(page)
        return True

    async def save_page(self, page: Page) -> None:
        tables = self._tables
        if page.acked_at is None and tables.open_pages.get(page.key, page.id) != page.id:
            raise self._breach(f"{page.id}: another page is open for {page.key}")
        old = tables.pages.get(page.id)
        if old is not None and old.acked_at is None:
            self._changes.drop(tables.open_pages, old.key)
        self._keep_page(page)

    def _keep_page(self, page: Page) -> None:
        tables, changes, waits = self._tables, self._changes, page.acked_at is None
        changes.set(tables.pages, page.id, page)
        changes.put(tables.next_pages, page.id, page.next_at if waits else None)
        if waits:
            changes.set(tables.open_pages, page.key, page.id)

    def _breach(self, problem: str) -> StoreError:
        self.failure = StoreError("store", problem)
        return self.failure

    async def claim_page(self, page_id: str, until: datetime) -> Page | None:
        page = self._tables.pages.get(page_id)
        if page is None or page.acked_at is not None or page.next_at is None or page.next_at > self.now:
            return None
        self._keep_page(msgspec.structs.replace(page, next_at=until))
        return page

    async def page(self, page_id: str) -> Page | None:
        return self._tables.pages.get(page_id)

    async def pages(self, *, open_only: bool = True, run: str = "") -> list[Page]:
        tables = self._tables
        found: Iterable[Page] = tables.pages.values()
        if open_only:
            found = (tables.pages[page_id] for page_id in tables.open_pages.values())
        if run:
            found = (page for page in found if page.run == run)
        return sorted(found, key=lambda page: (page.opened_at, page.id))

    # ── The rest ──────────────────────────────────────────────────────────────────────────────────

    async def due(self, limit: int) -> Due:
        tables, now = self._tables, self.now
        return Due(
            runs=tuple(tables.wakes.until(now, limit)),
            dispositions=tuple(tables.dispositions[key] for key in tables.again.until(now, limit)),
            pages=tuple(tables.pages[page_id] for page_id in tables.next_pages.until(now, limit)),
        )

    async def put_off(self, rows: Sequence[Unreadable], since: datetime, until: datetime) -> None:
        pass  # see `MemoryStore.unread`

    async def next_due(self) -> datetime | None:
        return self._tables.next_due()

    async def claim_firing(self, watch: str, scheduled_at: datetime) -> bool:
        oldest = self.now - _FIRINGS_KEPT
        firings = self._tables.firings
        if scheduled_at < oldest or (watch, scheduled_at) in firings:
            return False
        for old in [one for one in firings if one[0] == watch and one[1] < oldest]:
            self._changes.drop(firings, old)
        self._changes.set(firings, (watch, scheduled_at), None)
        return True

    async def claim_newest_firing(self, watch: str, scheduled_at: datetime) -> bool:
        overtaken = any(name == watch and at > scheduled_at for name, at in self._tables.firings)
        return not overtaken and await self.claim_firing(watch, scheduled_at)

    async def newest_firing(self, watch: str) -> datetime | None:
        return max((at for name, at in self._tables.firings if name == watch), default=None)

    async def keep_policy(self, policy: KeptPolicy) -> None:
        self._changes.set(self._tables.policies, policy.version, policy)

    async def kept_policy(self, version: str) -> KeptPolicy | None:
        return self._tables.policies.get(version)

    async def card(self, gate: str) -> CardRef | None:
        return self._tables.cards.get(gate)

    async def put_card(self, card: CardRef, old: CardRef | None) -> bool:
        if self._tables.cards.get(card.gate) != old:
            return False
        self._changes.set(self._tables.cards, card.gate, card)
        return True


class MemoryStore:
    """A `remediator.ports.Store` that lives as long as its object."""

    def __init__(self, clock: Clock, *, journals: bool = True) -> None:
        """``journals``: whether they are kept; a backtest of months does without."""
        self._time = Steady(clock)
        self._journals = journals
        self._tables = Tables()
        self._replica = ""
        self._shared = False

    def beside(self) -> MemoryStore:
        """The same data for another replica. From now on each of them needs a lease."""
        self._shared = True
        return copy.copy(self)

    @property
    def shared(self) -> bool:
        """Whether it has others beside it."""
        return self._shared

    @property
    def clock(self) -> Clock:
        """See `remediator.ports.Store`."""
        return self._time

    def write_as(self, replica: str) -> None:
        """See `remediator.ports.Store`."""
        self._replica = replica

    async def open(self) -> None:
        """There is nothing to open."""

    async def open_reading(self) -> None:
        """There is nothing to open."""

    async def close(self) -> None:
        """Nothing is lost: opened again, it holds what it held."""

    def follow(self, woken: Callable[[], None]) -> None:
        """There is nobody to wake: in virtual time everything is looked at."""

    def unread(self) -> list[Unreadable]:
        """See `remediator.ports.Store`: all these are kept as objects, and can be read."""
        return []

    async def transact(self, work: Callable[[Tx], Awaitable[T]], ahead: Ahead = NOTHING) -> T:  # noqa: ARG002 - nothing is far
        """See `remediator.ports.Store`."""
        return self.do(work)

    async def read(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """See `remediator.ports.Store`."""
        return self.look(work)

    def do(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """One transaction, at once: what `transact` does, for those who have no event loop."""
        if self._replica in self._tables.gone:
            raise LeaseLost("store", f"others have taken over from {self._replica}")
        changes = self._changes()
        tx = self._begin(changes)
        try:
            return _driven(work(tx), tx)
        except BaseException:
            changes.take_back()
            raise

    def look(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """The same for work that only reads."""
        changes = Changes()
        tx = self._begin(changes)
        try:
            value = _driven(work(tx), tx)
        finally:
            wrote = bool(changes)
            changes.take_back()
        if wrote:
            raise StoreError("store", "work that should only read has written")
        return value

    def next_due(self) -> datetime | None:
        """The earliest deadline of all, without a transaction: asked again and again in virtual time."""
        return self._tables.next_due()

    def next_page(self) -> datetime | None:
        """When the first page is due, likewise."""
        return self._tables.next_pages.earliest()

    def _changes(self) -> Changes:
        """What a transaction notes, so that it can be taken back."""
        return Changes()

    def _begin(self, changes: Changes) -> MemoryTx:
        doubt = self._time.doubt
        if doubt is not None and doubt.id in self._tables.lifted:
            self._time.follow()
        return MemoryTx(
            self._tables,
            changes,
            self._time.instant(),
            journals=self._journals,
            replica=self._replica,
            shared=self._shared,
        )


def _driven(work: Awaitable[T], tx: MemoryTx) -> T:
    """Run it to its end in one go: nothing that a `Tx` in memory offers suspends."""
    steps = work.__await__()
    try:
        next(steps)
    except StopIteration as end:
        if tx.failure is not None:
            raise tx.failure from None  # the work swallowed it, yet it cannot be committed whole
        value: T = end.value
        return value
    if isinstance(work, Coroutine):
        work.close()
    raise RuntimeError("work on the store waited for something else than the store")
