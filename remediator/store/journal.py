"""Journals: how a line is linked to the one before it, and how an edit, a gap or a swap is found.

Called by the stores as they append, and by whoever audits. Pure. A line's hash covers the hash of
its data rather than the data, so data that must be erased can be (see `erased`) and the chain still
verifies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from remediator.core.canonical import digest, inert
from remediator.core.messages import Entry
from remediator.ports import JournalEntry

START = "0" * 64
"""What the first line of a journal is linked to."""

ERASED = "erased"
"""The one key of data that was erased; its value is the hash of what stood there."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


def link(previous: str, run: str, seq: int, at: datetime, entry: Entry) -> JournalEntry:
    """The entry as line ``seq`` (from 1) of the journal of ``run``, linked to the hash before it.

    Its data is kept in the plain form that a store gives back, so that it hashes the same later.
    Raises TypeError for data that has no such form.
    """
    data: dict[str, Any] = inert(entry.data)
    line = _hash(previous, run, seq, at, entry.kind, _payload(data))
    return JournalEntry(run=run, seq=seq, at=at, kind=entry.kind, data=data, previous=previous, hash=line)


def erased(entry: JournalEntry) -> JournalEntry:
    """The same line without its data, for privacy: the journal still verifies."""
    return JournalEntry(
        run=entry.run,
        seq=entry.seq,
        at=entry.at,
        kind=entry.kind,
        data={ERASED: _payload(entry.data)},
        previous=entry.previous,
        hash=entry.hash,
    )


def verify(entries: Iterable[JournalEntry]) -> str | None:
    """What is wrong with a journal read whole and in order; None when nothing is.

    A tail that was cut off cannot show here: compare the last hash with an exported one.
    """
    run, previous = None, START
    for seq, entry in enumerate(entries, start=1):
        run = entry.run if run is None else run
        if entry.run != run:
            return f"{run}: line {seq} belongs to the journal of {entry.run}"
        if entry.seq != seq:
            return f"{run}: line {seq} is missing, line {entry.seq} stands in its place"
        if entry.previous != previous:
            return f"{run}: line {seq} is not linked to the line before it"
        if entry.hash != _hash(previous, entry.run, seq, entry.at, entry.kind, _payload(entry.data)):
            return f"{run}: line {seq} was changed after it was written"
        previous = entry.hash
    return None


def _payload(data: dict[str, Any]) -> str:
    kept = data.get(ERASED) if len(data) == 1 else None
    return kept if isinstance(kept, str) and _SHA256.fullmatch(kept) else digest(data)


def _hash(previous: str, run: str, seq: int, at: datetime, kind: str, payload: str) -> str:
    return digest([previous, run, seq, at, kind, payload])
