"""The store of a backtest: in memory, without journals, noting what a report wants to know.

A run is kept as the value that it is, noted when it is saved, and forgotten once it has closed: months fit
into memory.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from remediator.core.alert import Alert
from remediator.core.messages import Card, Effect
from remediator.core.play import News
from remediator.core.run import Page, Run, Stage, StepState
from remediator.engine.standing import heard, misread
from remediator.policyfiles.backtest.result import RunSeen, StepSeen
from remediator.ports import AlertRow, Clock, Disposition, Pending
from remediator.store.memory import MemoryStore, MemoryTx
from remediator.store.memory_kept import Tables
from remediator.store.memory_runs import KeptRun
from remediator.store.memory_tables import Changes
from remediator.store.steady import Instant

K = TypeVar("K")
V = TypeVar("V")


@dataclass
class Notes:
    """What was noted of one policy, beside its runs."""

    stopped: Counter[str] = field(default_factory=Counter)
    pages: int = 0  # that belong to no run
    answered: int = 0
    unknown: int = 0


@dataclass(slots=True)
class _About:
    """What was noted of a run, and the run itself once it has closed."""

    held_from: datetime | None = None
    asks: tuple[str, ...] = ()
    pages: int = 0
    closed: RunSeen | None = None


class Book(MemoryStore):
    """A `MemoryStore` that keeps notes."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, journals=False)
        self._clock = clock
        self.notes: defaultdict[str, Notes] = defaultdict(Notes)
        self.refused = False  # does a refusal stand that may outlast somebody's patience?
        self.misread: set[str] = set()  # alerts that were refused for what they said
        self._about: dict[str, _About] = {}
        self.live: dict[str, Run] = {}
        self._opened: defaultdict[str, dict[str, Run]] = defaultdict(dict)  # opener → its runs that are live

    def _changes(self) -> Changes:
        return _Kept()

    def _begin(self, changes: Changes) -> MemoryTx:
        now = self._clock.now()  # virtual, so it never jumps
        return _NotingTx(self._tables, changes, Instant(now), self)

    # ── Asked by the replay ───────────────────────────────────────────────────────────────────────

    def heard(self, fingerprint: str) -> AlertRow | None:
        """An alert as last heard, without a transaction."""
        return self._tables.alerts.get(fingerprint)

    def hear_again(self, row: AlertRow, alert: Alert) -> None:
        """A repeat, without a transaction: what is decided later sees the alert as it is now."""
        now = self._clock.now()
        self._tables.alerts[alert.fingerprint] = heard(row, alert, News.REPEAT, now, now)

    @property
    def firing(self) -> int:
        """How many alerts fire."""
        return sum(row.alert.firing for row in self._tables.alerts.values())

    def run(self, run_id: str) -> Run | None:
        """A run that is not closed, without a transaction."""
        return self.live.get(run_id)

    def opened(self, fingerprint: str) -> Iterable[Run]:
        """The runs that this alert has opened, and that are not closed."""
        return self._opened[fingerprint].values() if fingerprint in self._opened else ()

    def would_ask(self, run: Run, probe: str) -> None:
        """A probe whose answer nobody knows."""
        about = self._about[run.id]
        about.asks = (*about.asks, probe) if probe not in about.asks else about.asks

    def asked(self, run: Run, *, known: bool) -> None:
        """A probe was asked for the first time."""
        notes = self.notes[run.policy]
        if known:
            notes.answered += 1
        else:
            notes.unknown += 1

    def seen(self) -> tuple[RunSeen, ...]:
        """Every run so far, in the order in which they were opened."""
        found = ((about, about.closed or self._so_far(run_id)) for run_id, about in self._about.items())
        return tuple(
            msgspec.structs.replace(
                run, asks=tuple(sorted(about.asks)), pages=about.pages, held_from=about.held_from
            )
            for about, run in found
        )

    def _so_far(self, run_id: str) -> RunSeen:
        run = self.run(run_id)
        assert run is not None, "a run that is not closed is kept"
        return _seen(run)

    # ── Noted by transactions ─────────────────────────────────────────────────────────────────────

    def saved(self, run: Run, now: datetime) -> None:
        """A run as it is now."""
        about = self._about.setdefault(run.id, _About())
        if run.stage is Stage.HOLDING and about.held_from is None:
            about.held_from = now
        if run.stage is Stage.CLOSED:
            about.closed = _seen(run)
            self.live.pop(run.id, None)
            self._opened[run.alert.fingerprint].pop(run.id, None)
        else:
            self.live[run.id] = self._opened[run.alert.fingerprint][run.id] = run

    def paged(self, page: Page) -> None:
        """A person would hear of it. What a run asks in vain, the record's gaps are to blame for."""
        about = self._about.get(page.run)
        if about is not None:
            about.pages += not about.asks
        elif page.key.startswith("refused:"):
            self.notes[page.key.split(":")[1]].pages += 1

    def stood(self, one: Disposition, before: Disposition | None, now: datetime) -> None:
        """A disposition was written; a refusal that begins to stand counts, not that somebody was paged."""
        if one.kind == "refused":
            self.refused = True
            if misread(one):
                self.misread.add(one.fingerprint)
            told = one.paged and before is not None and not before.paged
            if one.since == now and not told:
                self.notes[one.policy].stopped[one.bound] += 1


class _Kept(Changes):
    """Nothing of a backtest is ever rolled back, since what raises ends it: nothing is noted for that."""

    __slots__ = ()

    def set(self, table: MutableMapping[K, V], key: K, value: V) -> None:
        table[key] = value

    def drop(self, table: MutableMapping[K, Any], key: K) -> bool:
        if key not in table:
            return False
        del table[key]
        return True

    def append(self, rows: list[V], row: V) -> None:
        rows.append(row)


class _NotingTx(MemoryTx):
    """A transaction that tells the book."""

    __slots__ = ("_book",)

    def __init__(self, tables: Tables, changes: Changes, instant: Instant, book: Book) -> None:
        super().__init__(tables, changes, instant, journals=False)
        self._book = book

    def _kept(self, run: Run) -> KeptRun:
        return KeptRun.of(run, b"")

    def _whole(self, kept: KeptRun) -> Run:
        return self._book.live[kept.id]

    async def save_run(self, run: Run, wake_at: datetime | None) -> None:
        self._book.saved(run, self.now)
        await super().save_run(run, wake_at)
        if run.stage is Stage.CLOSED:
            self._changes.drop(self._tables.runs, run.id)

    async def put_effects(self, run_id: str, effects: Sequence[Effect]) -> list[Pending]:
        """Cards are shown to nobody, and need no row that waits for their result."""
        rows = iter(await super().put_effects(run_id, [one for one in effects if not isinstance(one, Card)]))
        return [Pending(0, run_id, one) if isinstance(one, Card) else next(rows) for one in effects]

    async def put_page(self, page: Page) -> bool:
        put = await super().put_page(page)
        if put:
            self._book.paged(page)
        return put

    async def put_disposition(self, disposition: Disposition) -> None:
        before = await self.disposition(disposition.policy, disposition.fingerprint)
        await super().put_disposition(disposition)
        self._book.stood(disposition, before, self.now)


def _seen(run: Run) -> RunSeen:
    steps = [step for step in run.steps.values() if step.started_at is not None]
    return RunSeen(
        policy=run.policy,
        target=run.target,
        mode=run.mode,
        alert=run.alert.name,
        opened_at=run.opened_at,
        closed_at=run.closed_at,
        outcome=str(run.outcome) if run.outcome is not None else None,
        reason=run.reason,
        steps=tuple(
            StepSeen(step.name, step.started_at, str(step.intention.risk) if step.intention else "")
            for step in steps
            if step.started_at is not None
        ),
        undone=tuple(step.name for step in steps if step.state is StepState.UNDONE),
        gates=len(run.all_gates),
    )
