"""Is the record whole? Every journal is followed link by link, and compared with the system's own.

The system journal names each run when it opens and its last hash when it closes; so a run that was
deleted, or whose tail was cut, shows; one that was pruned by its age is named there with the last hashes
of its journal, see `remediator.engine.retention`. What was cut off the system journal itself shows against
a head that was exported before (`remediator audit verify --head SEQ:HASH`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from remediator.ports import SYSTEM, JournalEntry, Store
from remediator.store.journal import verify

PAGE = 5_000


@dataclass(frozen=True)
class Audit:
    """What was found. ``head``: SEQ:HASH of the system journal, to be kept elsewhere."""

    journals: int
    entries: int
    problems: tuple[str, ...]
    head: str


async def audit(store: Store, exported: tuple[int, str] | None = None) -> Audit:
    """Verify everything. ``exported``: a head of the system journal as it was noted before.

    The daemon may be running: the system journal is read first, so that all that it names is there.
    """
    system = await _whole(store, SYSTEM)
    names = [name for name in await store.read(lambda tx: tx.journals()) if name != SYSTEM]
    ends = {SYSTEM: system} | {name: await _whole(store, name) for name in names}
    problems = [problem for entries in ends.values() if (problem := verify(entries))]
    later = await _whole(store, SYSTEM, after=len(system))  # what was pruned while we were reading
    pruned = {
        str(one["run"]): one
        for entry in (*system, *later)
        if entry.kind == "pruned"
        for one in entry.data.get("runs", ())
    }
    closed = {entry.data.get("run") for entry in system if entry.kind == "run-closed"}
    problems += [f"{run}: it was pruned, and had not closed" for run in pruned if run not in closed]
    for entry in system:
        problems += _compared(entry.kind, entry.data, ends, pruned)
    if exported is not None:
        problems += _exported(system, *exported)
    head = f"{system[-1].seq}:{system[-1].hash}" if system else "0:"
    total = sum(len(entries) for entries in ends.values())
    return Audit(len(ends), total, tuple(problems), head)


async def _whole(store: Store, name: str, after: int = 0) -> list[JournalEntry]:
    entries: list[JournalEntry] = []
    while True:
        after = entries[-1].seq if entries else after
        page = await store.read(lambda tx, after=after: tx.read_journal(name, after=after, limit=PAGE))  # type: ignore[misc]
        entries += page
        if len(page) < PAGE:
            return entries


def _compared(
    kind: str,
    data: dict[str, Any],
    journals: dict[str, list[JournalEntry]],
    pruned: dict[str, dict[str, Any]],
) -> list[str]:
    """What the system journal says of a run, against the run's own."""
    run = str(data.get("run", ""))
    entries = journals.get(run, [])
    if not entries and run in pruned:
        return _as_it_closed(run, data, pruned[run]) if kind == "run-closed" else []
    if kind == "run-opened" and not entries:
        return [f"{run}: the system journal says it was opened, and its journal is gone"]
    if kind == "run-closed":
        seq = int(data.get("entries", 0))
        if len(entries) < seq:
            return [f"{run}: it closed with {seq} lines, and only {len(entries)} are left"]
        if seq and entries[seq - 1].hash != data.get("head"):
            return [f"{run}: its last line is not the one that the system journal noted"]
    return []


def _as_it_closed(run: str, data: dict[str, Any], pruned: dict[str, Any]) -> list[str]:
    """The journal that was pruned must be the one that had closed. ``tail``: its last hashes, in order."""
    tail, seq = list(pruned["tail"]), int(data.get("entries", 0))
    at = seq - (int(pruned["entries"]) - len(tail)) - 1
    if not 0 <= at < len(tail) or tail[at] != data.get("head"):
        return [f"{run}: what was pruned is not the journal that the system journal noted"]
    return []


def _exported(system: list[JournalEntry], seq: int, digest: str) -> list[str]:
    if len(system) < seq:
        return [f"{SYSTEM}: {seq} lines were noted, and only {len(system)} are left"]
    if seq and system[seq - 1].hash != digest:
        return [f"{SYSTEM}: line {seq} is not the one that was noted"]
    return []
