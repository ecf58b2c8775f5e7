"""What there is to see of a story at a moment: runs, journals, pages, refusals, and what happened when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from remediator.core.run import Page, Run
from remediator.ports import Disposition, JournalEntry, RunFilter, Tx
from remediator.store.memory import MemoryStore


@dataclass(frozen=True)
class Refused:
    """A refusal: of an alert, or of a person's wish."""

    bound: str
    reason: str
    again_at: datetime | None = None


@dataclass(frozen=True)
class Happening:
    """One line of a timeline. ``run``: counted from 1; 0 where it is about none.

    written: of what the story did, how many lines each run's journal had before it.
    """

    after: timedelta
    run: int
    what: str
    data: Mapping[str, Any]
    entry: JournalEntry | None = None
    written: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """Everything, oldest first."""

    start: datetime
    at: datetime
    runs: tuple[Run, ...]
    journals: Mapping[str, tuple[JournalEntry, ...]]
    pages: tuple[Page, ...]
    refused: Refused | None
    told: tuple[Happening, ...]

    @property
    def timeline(self) -> list[Happening]:
        """What happened, in order: what the story did, and what the journals say."""
        left = [
            Happening(entry.at - self.start, number, entry.kind, entry.data, entry)
            for number, run in enumerate(self.runs, start=1)
            for entry in self.journals[run.id]
        ]
        left = sorted([*self._pages(), *left], key=lambda one: one.after)
        lines: list[Happening] = []
        for told in self.told:
            before = [one for one in left if self._came_first(one, told)]
            left = [one for one in left if not self._came_first(one, told)]
            lines += [*before, told]
        return lines + left

    def _came_first(self, line: Happening, told: Happening) -> bool:
        """Was it there when the story did this? What fell in one moment, too, has its order."""
        if line.after != told.after or line.entry is None:
            return line.after < told.after
        return line.entry.seq <= told.written.get(self.runs[line.run - 1].id, 0)

    def _pages(self) -> Iterator[Happening]:
        """Those that no journal tells of: nobody's run is refused for too long."""
        for page in self.pages:
            if not page.run:
                yield Happening(page.opened_at - self.start, 0, "pages", {"text": page.text})


@dataclass
class Watcher:
    """Looks at the store; keeps what the journals do not say."""

    store: MemoryStore
    start: datetime
    policy: str
    _told: list[Happening] = field(default_factory=list)
    _refused: Refused | None = None
    _standing: dict[str, tuple[str, str]] = field(default_factory=dict)
    _read: dict[str, int] = field(default_factory=dict)

    def note(self, at: datetime, what: str, data: Mapping[str, Any]) -> None:
        """Something that the story does now."""
        _runs, journals, _pages = self.store.look(self._all)
        written = {run: len(lines) for run, lines in journals.items()}
        self._told.append(Happening(at - self.start, 0, what, data, written=written))

    def turned_away(self, at: datetime, bound: str, reason: str) -> None:
        """A person's wish was refused."""
        self._refused = Refused(bound, reason)
        self.note(at, "refused", {"bound": bound, "reason": reason})

    def refusals(self, at: datetime) -> None:
        """Refusals that are new."""
        for one in self.store.look(lambda tx: tx.dispositions()):
            said = (one.bound, one.reason) if one.kind == "refused" else ("", "")
            if said != self._standing.get(one.fingerprint, ("", "")) and said[0]:
                self._refused = Refused(one.bound, one.reason, one.again_at)
                self.note(at, "refused", {"bound": one.bound, "reason": one.reason} | _again(one, self.start))
            self._standing[one.fingerprint] = said

    def news(self, run_id: str) -> list[tuple[str, str]]:
        """(kind, step) of the journal's lines since the last look."""
        after = self._read.get(run_id, 0)
        lines = self.store.look(lambda tx: tx.read_journal(run_id, after=after))
        self._read[run_id] = after + len(lines)
        return [(line.kind, str(line.data.get("step", ""))) for line in lines]

    def look(self, at: datetime) -> Seen:
        """All that there is now."""
        self.refusals(at)
        runs, journals, pages = self.store.look(self._all)
        return Seen(self.start, at, runs, journals, pages, self._refused, tuple(self._told))

    async def _all(
        self, tx: Tx
    ) -> tuple[tuple[Run, ...], dict[str, tuple[JournalEntry, ...]], tuple[Page, ...]]:
        newest_first = await tx.runs(RunFilter(policy=self.policy, limit=10_000))
        runs = tuple(reversed(newest_first))
        journals = {run.id: tuple(await tx.read_journal(run.id)) for run in runs}
        return runs, journals, tuple(await tx.pages(open_only=False))


def _again(one: Disposition, start: datetime) -> dict[str, Any]:
    return {"again": one.again_at - start} if one.again_at is not None else {}
