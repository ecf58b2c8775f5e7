"""What the parts of a PostgreSQL transaction share: asking, and sending what was written.

A question goes to the server only if the look did not answer it already; before it goes whatever was
written to the tables that it reads. After a failed statement nothing more is done.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from remediator.core.run import Run
from remediator.errors import StoreError
from remediator.ports import AlertRow, Disposition, JournalEntry, Scope
from remediator.store.postgres_writes import Writes, plain, scope_keys
from remediator.store.sqlite_rows import micros, moment_or_none
from remediator.store.steady import Instant
from remediator.store.unread import Unread

Row = Any

LOOK = "SELECT * FROM look($1, $2, $3, $4, $5, $6)"
KEEP = "SELECT keep($1, $2, $3, $4, $5, $6, $7, $8, $9)"
FINISH = "SELECT flush_kept(); COMMIT"
FLUSH = "SELECT flush($1, $2, $3, $4, $5, $6, $7, $8, $9)"

_runs = msgspec.json.Decoder(list[tuple[int, Run]])
_run = msgspec.json.Decoder(Run)
_dispositions = msgspec.json.Decoder(list[tuple[int | None, Disposition]])


class Again(StoreError):
    """Somebody else decided on the same: the work must run again. Never seen outside of the store."""


class Numbers:
    """Numbers that the server has given out to this store, in blocks, none of them twice."""

    BLOCK = 64

    def __init__(self) -> None:
        self._left: list[range] = []

    @property
    def few(self) -> bool:
        """Whether more should be fetched with the next look."""
        return sum(map(len, self._left)) < self.BLOCK // 2

    def add(self, first: int) -> None:
        """A block that begins here."""
        self._left.append(range(first, first + self.BLOCK))

    def next(self) -> int | None:
        """None when there is none left."""
        while self._left:
            block = self._left[0]
            if block:
                self._left[0] = block[1:]
                return block[0]
            self._left.pop(0)
        return None


@dataclass
class Looked:
    """What the first question of a transaction brought, and under whose name it writes."""

    instant: Instant
    replica: str = ""
    writes: bool = True
    current_set: str = ""
    effect: tuple[int, bool] | None = None  # its number, and whether it waits for its result
    run: str = ""  # asked for ahead: it is known now, unless it does not exist or somebody has it
    wake_at: int | None = None
    seen: tuple[tuple[str, ...], str] | None = None  # a scope, and what a decision on it sees
    keys: frozenset[str] = frozenset()  # locks that it took
    again: bool = False  # the work ran before, and met somebody
    apart: bool = False  # some row is no JSON: each is read by itself


@dataclass
class Known:
    """What this transaction has read or written, so that it is not asked again."""

    runs: dict[str, tuple[Run, int | None]] = field(default_factory=dict)  # with the row's revision
    mine: set[str] = field(default_factory=set)  # runs whose rows are locked
    saved: dict[str, Run] = field(default_factory=dict)
    heads: dict[str, tuple[int, str]] = field(default_factory=dict)
    lines: dict[str, JournalEntry] = field(default_factory=dict)  # the last ones, as written here
    alerts: dict[str, AlertRow | msgspec.DecodeError | None] = field(default_factory=dict)
    runs_of: dict[str, list[str]] = field(default_factory=dict)  # alert → runs
    dispositions: dict[str, dict[str, Disposition]] = field(default_factory=dict)  # alert → policy → it
    scopes: dict[str, Scope] = field(default_factory=dict)  # run → what its decision counts
    pending: list[tuple[Scope, str]] = field(default_factory=list)  # seen without a lock
    seen: dict[str, tuple[tuple[str, ...], str]] = field(default_factory=dict)  # run → scope, what was seen
    current_set: str | None = None  # the version of the policies, if it was asked for; no lock is held on it


class Session:
    """One transaction's way to the server."""

    __slots__ = (
        "_changed",
        "_connection",
        "_deliveries",
        "_effects",
        "_held",
        "_known",
        "_looked",
        "_unread",
        "news",
        "now",
        "sent_runs",
        "trouble",
        "writes",
    )  # fmt: skip

    def __init__(
        self, connection: Any, looked: Looked, numbers: tuple[Numbers, Numbers], unread: Unread
    ) -> None:
        """``numbers``: of deliveries and effects; ``unread``: hears of what lists leave out."""
        self._connection = connection
        self._looked = looked
        self._deliveries, self._effects = numbers
        self._unread = unread
        self._known = Known()
        self._changed: set[str] = set()  # tables, by what was sent
        self._held = set(looked.keys)
        self.sent_runs: list[Run] = []  # for the words of a breach
        self.now: datetime = looked.instant.now
        self.writes = Writes()
        self.news = False  # something that other daemons should look at was written
        self.trouble: BaseException | None = None

    @property
    def wanted(self) -> frozenset[str]:
        """The locks that it turned out to need: when it runs again, it takes them first."""
        return frozenset(self._held | self.writes.keys)

    @property
    def wrote(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self._changed) or bool(self.writes)

    @property
    def _for_update(self) -> str:
        """Of a question whose answer is written anew: nobody else changes the row meanwhile."""
        return " FOR UPDATE" if self._looked.writes else ""

    def _put(self, table: str, kind: str, *arguments: object) -> None:
        """Something is to be written; see ``schema/postgres.sql`` for the kinds and their arguments."""
        self._may_write()
        self.writes.put(table, kind, *arguments)

    def _may_write(self) -> None:
        self.check()
        if not self._looked.writes:
            self.trouble = StoreError("store", "work that should only read has written")
            raise self.trouble

    async def _rows(self, tables: Iterable[str], sql: str, *arguments: object) -> list[Row]:
        """Ask, after what was written to these tables."""
        if self.writes and self.writes.tables.intersection(tables):
            await self.flush()
        return await self._fetch(sql, *arguments)

    async def _row(self, tables: Iterable[str], sql: str, *arguments: object) -> Row | None:
        rows = await self._rows(tables, sql, *arguments)
        return rows[0] if rows else None

    async def _done(self, tables: Iterable[str], sql: str, *arguments: object) -> list[Row]:
        """A change whose answer is needed at once."""
        self._may_write()
        rows = await self._rows(tables, sql, *arguments)
        self._changed.update(tables)
        return rows

    async def _fetch(self, sql: str, *arguments: object) -> list[Row]:
        self.check()
        try:
            return list(await self._connection.fetch(sql, *arguments))
        except BaseException as error:
            self.trouble = error
            raise

    async def flush(self) -> None:
        """Send what waits, but the lines of the system's journal: all wait for whoever has written one."""
        self.check()
        if self.writes:
            await self._fetch(FLUSH, *self._sent())

    async def settle(self) -> None:
        """Send what waits, those lines too."""
        self._link_system()
        await self.flush()

    async def finish(self) -> None:
        """Send what waits, and commit, durably, or raise.

        Together, so that nothing is locked for longer than that takes. What was aborted answers ROLLBACK.
        """
        self._link_system()
        self.check()
        commit = "COMMIT"
        if self.writes:
            await self._fetch(KEEP, *self._sent())
            commit = FINISH
        try:
            answer = await self._connection.execute(commit)
        except BaseException as error:
            self.trouble = error
            raise
        if answer != "COMMIT":
            raise StoreError("store", "did not commit")

    def _sent(self) -> tuple[object, ...]:
        """What waits, as ``flush`` takes it; it waits no more."""
        writes = self.writes
        writes.fill(self._known.saved)
        if writes.bound and self._known.current_set is not None:
            writes.first("current", self._known.current_set)
        checked = [one for one in self._known.pending if writes.bound]
        keys = writes.keys.union(*(scope_keys(scope) for scope, _ in checked)) - self._held
        if "2halt!" in keys:
            keys.discard("2halt")
        ordered = sorted(keys)
        wait = not self._held or not ordered or ordered[0] > max(self._held)
        self.writes = Writes(system=writes.system)
        self._held |= keys
        self._changed |= writes.tables
        self.sent_runs += writes.runs
        self._known.mine.update(writes.unlocked)
        if writes.bound:
            self._known.pending.clear()
        return (
            self._looked.replica,
            micros(self.now),
            ordered,
            wait,
            [plain(part) for scope, _ in checked for part in parts(scope)],
            [facts for _, facts in checked],
            writes.unlocked,
            writes.kinds,
            writes.arguments,
        )

    def check(self) -> None:
        """Whatever failed cannot be committed whole, though the work may have swallowed it."""
        if self.trouble is not None:
            raise self.trouble

    def _link_system(self) -> None:
        lines, self.writes.system = self.writes.system, []
        for at in range(0, len(lines), 3):
            self.writes.put("journal", "system", *lines[at : at + 3])

    def _learn_runs(self, rows: str | None) -> list[Run]:
        """Runs as JSON, each with its row's revision; whatever this transaction saved is newer."""
        found = _runs.decode(rows) if rows else []
        for rev, run in found:
            self._known.runs.setdefault(run.id, (run, rev))
        return [self._known.runs[run.id][0] for _, run in found]

    def _learn_run(self, row: Row) -> Run:
        """The same for a row with ``doc`` and ``rev``."""
        run: Run = _run.decode(row["doc"])
        return self._known.runs.setdefault(run.id, (run, row["rev"]))[0]


def dispositions_in(rows: str | None) -> list[Disposition]:
    """What became of alerts, as JSON; ``again_at`` has a column of its own."""
    found = _dispositions.decode(rows) if rows else []
    return [msgspec.structs.replace(one, again_at=moment_or_none(at)) for at, one in found]


def parts(scope: Scope) -> tuple[str, ...]:
    """A scope as the server has it."""
    windows = scope.target_window, scope.policy_window, scope.budget_window, scope.failure_window
    target, policy, budget, failure = (str(round(one.total_seconds() * 1_000_000)) for one in windows)
    shadow = "t" if scope.shadow else "f"
    return (scope.policy, scope.target, scope.run, shadow, target, policy, scope.budget, budget, failure)
