"""What the parts ask of each other: the store, the connectors, the clock, the ways to people.

A store runs a piece of work in one transaction: `Store.transact(work)`. The work is a coroutine
over a `Tx`. On PostgreSQL its awaits are round trips; on SQLite they never suspend, so the whole
work, the decision included, runs as one call in the writer thread. So each transaction is written
once, and both stores stay thin.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

import msgspec

from remediator.core.alert import Alert, Delivery
from remediator.core.catalog import Operation
from remediator.core.messages import Counted, Effect, Entry, Result, Seen
from remediator.core.run import Call, Halt, Page, Picture, Run

T = TypeVar("T")

SYSTEM = "system"
"""The name of the journal that belongs to no run."""


class Clock(Protocol):
    """Time, for the parts outside the core."""

    def now(self) -> datetime:
        """Wall clock, UTC, aware."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow."""
        ...


# ── Rows ──────────────────────────────────────────────────────────────────────────────────────────


class Received(msgspec.Struct, frozen=True):
    """A delivery that waits in the inbox."""

    id: int
    delivery: Delivery


class Rejected(msgspec.Struct, frozen=True):
    """A body that could not be taken; kept, bounded, for the operator."""

    at: datetime
    source: str
    problem: str
    body: str  # the first 64 KiB
    id: int = 0


class AlertRow(msgspec.Struct, frozen=True, kw_only=True):
    """An alert as last heard, and how often."""

    alert: Alert
    first_at: datetime
    last_at: datetime
    changed_at: datetime  # when its status or its starts_at last changed
    deliveries: int = 1


class Disposition(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an alert for one policy. One row per (policy, fingerprint)."""

    policy: str
    fingerprint: str
    kind: str  # run-opened | joined | refused | holding | closed
    target: str = ""
    params: dict[str, Any] = {}
    run: str = ""
    bound: str = ""  # which one refused
    reason: str = ""
    since: datetime  # since when it stands so; repeats of the same refusal keep it
    again_at: datetime | None = None  # decided again then
    waits_for: str = ""  # or after this: target:… | policy:… | halt
    refused_since: datetime | None = None  # since when nothing but refusals came of it
    paged: bool = False  # it has been refused for longer than the severity's patience


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a journal. ``hash`` = SHA-256 over ``previous`` and this line's canonical form."""

    run: str  # a run's id, or `SYSTEM`
    seq: int  # from 1, without gaps
    at: datetime
    kind: str
    data: dict[str, Any]
    previous: str
    hash: str


class Pending(msgspec.Struct, frozen=True):
    """An effect that was committed and has no result yet."""

    id: int
    run: str
    effect: Effect


class CardRef(msgspec.Struct, frozen=True):
    """Where a gate's card is, and what it last showed.

    attached: what stands in its thread because the card could not hold it; "" for nothing.
    """

    gate: str
    channel: str
    ts: str
    digest: str = ""
    attached: str = ""


class KeptPolicy(msgspec.Struct, frozen=True):
    """A version of a policy that runs may still follow."""

    version: str
    name: str
    text: str
    file: str


class PolicyCount(msgspec.Struct, frozen=True):
    """How often a policy's runs ended how."""

    policy: str
    outcome: str
    runs: int


@dataclass(frozen=True)
class Scope:
    """What a decision counts. ``shadow``: the counters of mode observe."""

    policy: str
    target: str
    run: str  # left out of the counts
    target_window: timedelta
    policy_window: timedelta
    shadow: bool = False


@dataclass(frozen=True)
class Due:
    """What has a deadline that has passed, oldest first."""

    runs: tuple[str, ...] = ()
    dispositions: tuple[Disposition, ...] = ()
    pages: tuple[Page, ...] = ()


@dataclass(frozen=True)
class RunFilter:
    """Which runs to list: newest first, at most ``limit``."""

    state: str = ""  # "" | open | holding | closed | a stage
    policy: str = ""
    target: str = ""
    before: str = ""  # a run's id: only older ones
    limit: int = 100


# ── The store ─────────────────────────────────────────────────────────────────────────────────────


class Tx(Protocol):
    """One transaction. Raise to roll it back whole."""

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

    async def inbox_depth(self) -> int:
        """How many deliveries wait."""
        ...

    async def settle_delivery(self, number: int) -> None:
        """It was decided on."""
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

    async def wake_waiting(self, waits_for: str) -> int:
        """Set ``again_at`` to now for every disposition that waits for this; returns how many."""
        ...

    # Runs
    async def run(self, run_id: str) -> Run | None: ...

    async def open_run(self, policy: str, target: str) -> Run | None:
        """The one run of this policy on this target whose stage is open (holding is not)."""
        ...

    async def runs_of_alert(self, fingerprint: str) -> list[Run]:
        """Runs that are not closed and have this alert as a member."""
        ...

    async def runs(self, which: RunFilter) -> list[Run]: ...

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
        """Keep what the world must now do."""
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

    # Halts
    async def put_halt(self, halt: Halt) -> None: ...

    async def lift_halt(self, halt_id: str, by: str) -> Halt | None: ...

    async def halts(self) -> list[Halt]:
        """Those in force."""
        ...

    # Pages
    async def put_page(self, page: Page) -> bool:
        """A new page; False when an unacknowledged one with this key is open already."""
        ...

    async def save_page(self, page: Page) -> None: ...

    async def page(self, page_id: str) -> Page | None: ...

    async def pages(self, *, open_only: bool = True, run: str = "") -> list[Page]: ...

    # The rest
    async def due(self, limit: int) -> Due: ...

    async def next_due(self) -> datetime | None:
        """The earliest deadline of all."""
        ...

    async def claim_firing(self, watch: str, scheduled_at: datetime) -> bool:
        """True for the one caller that may run this firing of a watch."""
        ...

    async def keep_policy(self, policy: KeptPolicy) -> None: ...

    async def kept_policy(self, version: str) -> KeptPolicy | None: ...

    async def card(self, gate: str) -> CardRef | None: ...

    async def put_card(self, card: CardRef) -> None: ...


class Store(Protocol):
    """Where all state lives."""

    async def open(self) -> None:
        """Connect, migrate, take the lock. Raises StoreError with a remedy."""
        ...

    async def open_reading(self) -> None:
        """Only read, beside a daemon that may be running: for audits."""
        ...

    async def close(self) -> None:
        """Finish what was queued and let go."""
        ...

    async def transact(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Run the work in one durable transaction; when this returns, it is committed.

        Raises StoreError when it could not be committed. Whatever the work raises passes through,
        and then nothing of it was written.
        """
        ...

    async def read(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Run work that only reads, beside the writers."""
        ...


# ── The world ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Order:
    """What goes with an act.

    key: the idempotency key, the same for every attempt at one step. shown: what people agreed to, its
    rows as plain values; an act that would change anything else must refuse. mark: commits a mark of what
    is about to become final, ``{"result": …}`` and whatever `Connector.inquire` needs; it returns "" or
    why it may not become final.
    """

    key: str
    shown: Picture | None = None
    mark: Callable[[dict[str, Any]], Awaitable[str]] | None = None


class Connector(Protocol):
    """A configured connection of one kind."""

    async def read(self, call: Call, *, timeout: float) -> dict[str, Any]:
        """Read a probe. Raises ConnectorError; never changes anything."""
        ...

    async def preview(self, call: Call, *, timeout: float) -> Picture:
        """Show what an action would change. Raises ConnectorError; never changes anything."""
        ...

    async def act(self, call: Call, *, order: Order, timeout: float) -> Result:
        """Do it at most once. Never raises for what the world does: done, refused or unknown."""
        ...

    async def inquire(self, call: Call, mark: dict[str, Any], *, timeout: float) -> Result | None:
        """What became of an act, by its mark. None: not yet to be told. Raises ConnectorError likewise.

        ``mark``: as it was committed, with plain values.
        """
        ...

    async def close(self) -> None:
        """Let go of sockets."""
        ...


@dataclass(frozen=True)
class ConnectorKind:
    """One kind of connection: what it offers, and how an instance is made from its settings.

    settings: the pydantic model of its part of the config. make: settings → connector.
    """

    name: str
    doc: str
    operations: tuple[Operation, ...]
    settings: type[Any]
    make: Callable[[Any], Connector]
    built_in: bool = False


# ── People ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Told:
    """What came of trying to tell somebody something."""

    ok: bool
    road: str  # slack | webhook
    detail: str = ""


class Notifier(Protocol):
    """A way to reach people."""

    road: str

    async def page(self, page: Page, people: Sequence[str]) -> Told:
        """Tell these people; never raises for an unreachable road."""
        ...

    async def card(self, run: Run, ref: CardRef | None) -> CardRef | None:
        """Show or update a gate's card. None when this road has no cards."""
        ...


# ── What people do ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Answer:
    """What came of something that a person asked for."""

    ok: bool
    text: str  # one line for them
    status: int = 200  # as HTTP would say it: 404 unknown, 409 too late or not counted
    data: dict[str, Any] | None = None


class Desk(Protocol):
    """Everything that people may ask of the daemon, whichever door they come through.

    ``by`` is a person of the config, already known to be who they are.
    """

    async def vote(
        self, gate: str, *, by: str, approve: bool, via: str, reason: str = "", seen: str = ""
    ) -> Answer:
        """Approve or deny. ``seen``: the start of the hash that the person was shown, if known."""
        ...

    async def ask_again(self, gate: str, *, by: str, via: str) -> Answer:
        """A gate expired: decide its alerts anew, now. ``data`` holds the run that asks."""
        ...

    async def start(self, policy: str, params: Mapping[str, Any], *, by: str, key: str = "") -> Answer:
        """Start a run by hand. ``key``: the same one never starts a second. ``data`` holds the run's id."""
        ...

    async def settle(self, run: str, *, by: str, verdict: str, reason: str = "") -> Answer:
        """Say what became of an unknown outcome: happened | not-happened | handled."""
        ...

    async def halt(self, *, by: str, scope: str, reason: str, undos: bool = False) -> Answer:
        """Throw the kill switch. ``data`` holds the halt's id."""
        ...

    async def resume(self, halt: str, *, by: str) -> Answer:
        """Lift a halt."""
        ...

    async def acknowledge(self, page: str, *, by: str) -> Answer:
        """A page has reached somebody."""
        ...

    async def reload(self, *, by: str) -> Answer:
        """Read the policies again, all or nothing."""
        ...


class Feed(Protocol):
    """Where those who watch hear of changes."""

    def watch(self, changed: Callable[[str], None]) -> Callable[[], None]:
        """Call this with a run's id after each change; returns how to stop."""
        ...
