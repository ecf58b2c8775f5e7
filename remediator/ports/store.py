"""Where all state lives.

A store runs a piece of work in one transaction: `Store.transact(work)`. The work is a coroutine
over a `Tx`. On PostgreSQL its awaits are round trips; on SQLite they never suspend, so the whole
work, the decision included, runs as one call in the writer thread. So each transaction is written
once, and both stores stay thin.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from remediator.core.alert import Delivery
from remediator.core.messages import Counted, Effect, Entry, Seen
from remediator.core.run import Halt, Page, Run
from remediator.ports.rows import (
    NOTHING,
    Ahead,
    AlertRow,
    Aside,
    CardRef,
    Disposition,
    Due,
    JournalEntry,
    KeptPolicy,
    Pending,
    PolicyCount,
    Prunable,
    Received,
    Rejected,
    Replica,
    RunFilter,
    Scope,
    StageCount,
    Unreadable,
)
from remediator.ports.world import Clock

T = TypeVar("T")


class Tx(Protocol):
    """One transaction. Raise to roll it back whole.

    Lists of alerts, dispositions, effects and pages leave out the rows that cannot be read (`Store.unread`
    tells of them); whoever asks for one by its key gets msgspec.DecodeError.
    """

    @property
    def now(self) -> datetime:
        """The store's clock, read once for this transaction; never goes back."""
        ...

    # The inbox
    async def put_delivery(self, delivery: Delivery) -> int:
        """Keep a delivery; returns its number."""
        ...

    async def inbox(self, limit: int) -> list[Received]:
        """The oldest deliveries not yet settled."""
        ...

    async def claim_inbox(self, limit: int, alerts: int, but: Collection[int] = ()) -> list[Received]:
        """The oldest that no other transaction is deciding on, for this one to settle.

        At most ``limit`` of them, and as many as hold ``alerts`` alerts together; a larger one alone.
        ``but``: none of these numbers.
        """
        ...

    async def inbox_depth(self) -> int:
        """How many deliveries wait."""
        ...

    async def settle_delivery(self, number: int) -> None:
        """It was decided on."""
        ...

    async def deliveries(self, *, after: int = 0, limit: int = 1000) -> list[Received]:
        """Settled or not, in the order in which they were kept; ``after``: only those behind this number."""
        ...

    async def last_delivery(self) -> int:
        """The number of the newest delivery; 0 where there is none."""
        ...

    async def put_rejected(self, rejected: Rejected) -> None:
        """Keep a body that could not be taken; only the newest 200 stay."""
        ...

    async def rejected(self) -> list[Rejected]:
        """Newest first."""
        ...

    # Alerts and dispositions
    async def alert(self, fingerprint: str) -> AlertRow | None:
        """An alert as last heard."""
        ...

    async def put_alert(self, row: AlertRow) -> None:
        """Insert or replace, by fingerprint."""
        ...

    async def alerts(self, *, firing_only: bool, source: str = "", limit: int = 500) -> list[AlertRow]:
        """Most recently heard first; ``source``: only those of that source."""
        ...

    async def disposition(self, policy: str, fingerprint: str) -> Disposition | None: ...

    async def put_disposition(self, disposition: Disposition) -> None:
        """Insert or replace, by (policy, fingerprint)."""
        ...

    async def drop_dispositions(self, fingerprint: str) -> None:
        """The alert resolved: nothing is to be decided again."""
        ...

    async def dispositions(self, *, fingerprint: str = "", refused_only: bool = False) -> list[Disposition]:
        """All of an alert, or all that stand; oldest first."""
        ...

    async def wake_waiting(self, waits_for: str) -> None:
        """Set ``again_at`` to now for every disposition that waits for this and would be later."""
        ...

    async def wake_some(self, waits_for: str, limit: int) -> int:
        """The same for so many at most; returns how many. For what everybody may have waited for."""
        ...

    async def hearers(self, fingerprint: str) -> tuple[datetime | None, list[str]]:
        """When what is known of an alert was received, and the runs that it belongs to, by name.

        Of these nothing is read: one that cannot be read is among them.
        """
        ...

    async def is_waited_for(self, waits_for: str) -> bool:
        """Does anybody wait for this who has no other time at which to be decided again?"""
        ...

    # Runs
    async def run(self, run_id: str) -> Run | None: ...

    async def claim_run(self, run_id: str) -> Run | None:
        """A run whose deadline has passed; None when it has not, or when another transaction has it."""
        ...

    async def open_run(self, policy: str, target: str) -> Run | None:
        """The one run of this policy on this target whose stage is open (holding is not)."""
        ...

    async def runs_of_alert(self, fingerprint: str) -> list[Run]:
        """Runs that are not closed and have this alert as a member."""
        ...

    async def runs(self, which: RunFilter) -> list[Run]:
        """Those that can be read: see `aside` for the others."""
        ...

    async def open_runs(self) -> list[str]:
        """Runs whose stage is open, newest first; none of them is read."""
        ...

    async def put_aside(self, run_id: str, until: datetime, problem: str) -> None:
        """A run that cannot be decided is due again then, or when it was to be if that comes before.

        Its row is not read, and stays as it is otherwise. ``problem``: why, as `aside` tells until the run is
        saved again; "" tells nothing new.
        """
        ...

    async def aside(self) -> list[Aside]:
        """Runs that could not be decided, by their columns alone."""
        ...

    async def save_run(self, run: Run, wake_at: datetime | None) -> None:
        """Insert or replace; a breach of what is unique raises StoreError and rolls back.

        Unique: the open run per (policy, target), observing runs apart; the run that locks a target.
        """
        ...

    async def seen(self, scope: Scope) -> Seen:
        """What a decision on this scope may depend on; read here, locked until the commit."""
        ...

    async def count(self, scope: Scope, counted: Counted) -> None:
        """Something that bounds count happened now."""
        ...

    async def policy_counts(self) -> list[PolicyCount]:
        """Closed runs by policy and outcome."""
        ...

    async def stage_counts(self) -> list[StageCount]:
        """All other runs by policy and stage, counted without reading any of them."""
        ...

    # Journals
    async def journal(self, run_id: str, entries: Sequence[Entry]) -> None:
        """Append, numbered and hash-linked. `SYSTEM` for what belongs to no run."""
        ...

    async def read_journal(
        self, run_id: str, *, after: int = 0, limit: int = 10_000
    ) -> list[JournalEntry]: ...

    async def journal_head(self, run_id: str) -> JournalEntry | None:
        """The last entry of a journal."""
        ...

    async def journals(self) -> list[str]:
        """The names of all journals."""
        ...

    # Effects
    async def put_effects(self, run_id: str, effects: Sequence[Effect]) -> list[Pending]:
        """Keep what the world must now do; this replica holds it, see `take_over`."""
        ...

    async def drop_effect(self, number: int) -> bool:
        """It has its result. False when it was dropped before: the result came twice."""
        ...

    async def drop_repeatable(self, run_id: str) -> None:
        """Probes and previews that a run no longer waits for."""
        ...

    async def pending(self) -> list[Pending]:
        """Everything committed and without a result, oldest first."""
        ...

    # Replicas
    async def beat(self, replica: Replica, lasts: timedelta) -> None:
        """This replica lives, for so long from now."""
        ...

    async def replicas(self) -> list[Replica]:
        """Those that live, or that still hold an effect; oldest first. ``until`` is by this one's time."""
        ...

    async def holders(self) -> Mapping[str, datetime | None]:
        """Who holds effects, this replica apart; "" for those that were let go.

        With each the end of its lease as it was written, which every beat changes; None where nobody lives.
        """
        ...

    async def take_over(self, replica: str, until: datetime | None) -> list[Pending]:
        """What it held is this one's now, oldest first; whatever it writes from now on is `LeaseLost`.

        ``until``: as `holders` said. Nothing where it has beaten since.
        """
        ...

    async def held(self) -> list[Pending]:
        """What this replica holds, oldest first."""
        ...

    async def let_go(self) -> int:
        """This replica stops: what it holds is for any other; returns how many effects that are."""
        ...

    async def current_set(self) -> str:
        """The version of the policies that replicas must have to open runs; "" for any."""
        ...

    async def announced(self) -> Mapping[str, str]:
        """The versions of the policies in the current set, by name."""
        ...

    async def announce_set(self, version: str, policies: Mapping[str, str]) -> None:
        """This one is current from now on. ``policies``: version of each, by name."""
        ...

    async def known_set(self, version: str) -> bool:
        """Whether it was ever announced."""
        ...

    # Halts
    async def put_halt(self, halt: Halt) -> None: ...

    async def lift_halt(self, halt_id: str, by: str) -> Halt | None: ...

    async def halts(self) -> list[Halt]:
        """Those in force."""
        ...

    async def doubts(self) -> list[Halt]:
        """What the store itself stops everything for, and nobody was told of yet: each to be put, as it is.

        `seen` has them from the first moment on. Once such a halt is lifted, the store doubts no more.
        """
        ...

    # Pages
    async def put_page(self, page: Page) -> bool:
        """A new page; False when an unacknowledged one with this key is open already."""
        ...

    async def save_page(self, page: Page) -> None: ...

    async def claim_page(self, page_id: str, until: datetime) -> Page | None:
        """A page that is due, for this caller to deliver; nobody else's until then. None when it is not."""
        ...

    async def page(self, page_id: str) -> Page | None: ...

    async def pages(self, *, open_only: bool = True, run: str = "") -> list[Page]: ...

    # What is over
    async def prune(self, what: Prunable, before: datetime, limit: int) -> int:
        """Forget the oldest of these, so many at most; returns how many. What anything open needs stays."""
        ...

    async def ended_runs(self, before: datetime, limit: int) -> list[str]:
        """Runs that closed before that, and of which no page is open and no effect pending; oldest first."""
        ...

    async def drop_run(self, run_id: str) -> bool:
        """Forget a closed run with its journal, pages and cards, and its policy's version if it was the last.

        `policy_counts` goes on counting it. False when it is not there, or not closed.
        """
        ...

    # The rest
    async def due(self, limit: int) -> Due: ...

    async def put_off(self, rows: Sequence[Unreadable], since: datetime, until: datetime) -> None:
        """Those that are due since then are due again at ``until``; what is in them stays as it is."""
        ...

    async def next_due(self) -> datetime | None:
        """The earliest deadline of all."""
        ...

    async def claim_firing(self, watch: str, scheduled_at: datetime) -> bool:
        """True for the one caller that may run this firing of a watch."""
        ...

    async def claim_newest_firing(self, watch: str, scheduled_at: datetime) -> bool:
        """The same, and not once a later one was claimed so, however many daemons ask at the same time."""
        ...

    async def newest_firing(self, watch: str) -> datetime | None:
        """The latest firing of a watch that somebody has claimed."""
        ...

    async def keep_policy(self, policy: KeptPolicy) -> None: ...

    async def kept_policy(self, version: str) -> KeptPolicy | None: ...

    async def card(self, gate: str) -> CardRef | None: ...

    async def put_card(self, card: CardRef, old: CardRef | None) -> bool:
        """Insert or replace what is kept, if that is still ``old``; False when another was quicker."""
        ...


class Store(Protocol):
    """Where all state lives."""

    @property
    def shared(self) -> bool:
        """Whether several daemons may write it at once, each under a lease."""
        ...

    @property
    def clock(self) -> Clock:
        """The time as transactions have it, as well as it is known without one."""
        ...

    async def open(self) -> None:
        """Connect, migrate, take the lock. Raises StoreError with a remedy."""
        ...

    async def open_reading(self) -> None:
        """Only read, beside a daemon that may be running: for audits."""
        ...

    async def close(self) -> None:
        """Finish what was queued and let go."""
        ...

    def write_as(self, replica: str) -> None:
        """Whose writes these are from now on, as `Tx.beat` names it."""
        ...

    def follow(self, woken: Callable[[], None]) -> None:
        """Call this when another daemon has left something to do; it may be late, or not come at all."""
        ...

    def unread(self) -> list[Unreadable]:
        """Rows that lists have left out since this was asked last, each told once."""
        ...

    async def transact(self, work: Callable[[Tx], Awaitable[T]], ahead: Ahead = NOTHING) -> T:
        """Run the work in one durable transaction; when this returns, it is committed.

        ``ahead``: what the work will ask first; only makes it quicker. Where a store must, it runs the
        work again from its beginning: it must leave nothing behind but what it returns.

        Raises StoreError when it could not be committed. Whatever the work raises passes through, and
        then nothing of it was written.
        """
        ...

    async def read(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Run work that only reads, beside the writers."""
        ...
