"""Everything that a store in memory keeps, each question with its own index."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from remediator.core.alert import Delivery
from remediator.core.run import Page
from remediator.ports import (
    AlertRow,
    CardRef,
    Disposition,
    JournalEntry,
    KeptPolicy,
    Pending,
    Rejected,
    Replica,
)
from remediator.store.memory_runs import RunTables
from remediator.store.memory_tables import Deadlines


class Tables(RunTables):
    """Everything that is kept. ``last``: the last number that was given to a row of each table."""

    def __init__(self) -> None:
        super().__init__()
        self.last: dict[str, int] = {"inbox": 0, "rejected": 0, "effects": 0}
        self.inbox: dict[int, Delivery] = {}
        self.unsettled: dict[int, None] = {}
        self.rejected: dict[int, Rejected] = {}
        self.alerts: dict[str, AlertRow] = {}
        self.dispositions: dict[tuple[str, str], Disposition] = {}
        self.decided: defaultdict[str, dict[str, None]] = defaultdict(dict)  # fingerprint → policies
        self.waiting: defaultdict[str, dict[tuple[str, str], None]] = defaultdict(dict)
        self.again: Deadlines[tuple[str, str]] = Deadlines()
        self.journal: defaultdict[str, list[JournalEntry]] = defaultdict(list)
        self.heads: dict[str, tuple[int, str]] = {}
        self.effects: dict[int, Pending] = {}
        self.effects_of: defaultdict[str, dict[int, None]] = defaultdict(dict)
        self.holders: dict[int, str] = {}  # effect → the replica that performs it
        self.replicas: dict[str, Replica] = {}
        self.gone: dict[str, None] = {}  # replicas whose effects were taken over
        self.sets: dict[str, dict[str, str]] = {}  # version → its policies, as announced; the last is current
        self.pages: dict[str, Page] = {}
        self.open_pages: dict[str, str] = {}  # key → page
        self.next_pages: Deadlines[str] = Deadlines()
        self.firings: dict[tuple[str, datetime], None] = {}
        self.policies: dict[str, KeptPolicy] = {}
        self.cards: dict[str, CardRef] = {}

    def next_due(self) -> datetime | None:
        """The earliest deadline of all."""
        found: datetime | None = None
        for deadlines in (self.wakes, self.again, self.next_pages):
            at = deadlines.earliest()
            if at is not None and (found is None or at < found):
                found = at
        return found
