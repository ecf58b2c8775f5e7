"""What the parts ask of each other: the store, the connectors, the clock, the ways to people."""

from remediator.ports.explaining import Explanation, Misfit, Said, Says
from remediator.ports.people import Answer, Desk, Feed, Notifier, Reloaded, Told
from remediator.ports.rows import (
    SYSTEM,
    AlertRow,
    CardRef,
    Disposition,
    Due,
    JournalEntry,
    KeptPolicy,
    Pending,
    PolicyCount,
    Received,
    Rejected,
    RunFilter,
    Scope,
    StageCount,
)
from remediator.ports.store import Store, Tx
from remediator.ports.world import Clock, Connector, ConnectorKind, Order

__all__ = [
    "SYSTEM",
    "AlertRow",
    "Answer",
    "CardRef",
    "Clock",
    "Connector",
    "ConnectorKind",
    "Desk",
    "Disposition",
    "Due",
    "Explanation",
    "Feed",
    "JournalEntry",
    "KeptPolicy",
    "Misfit",
    "Notifier",
    "Order",
    "Pending",
    "PolicyCount",
    "Received",
    "Rejected",
    "Reloaded",
    "RunFilter",
    "Said",
    "Says",
    "Scope",
    "StageCount",
    "Store",
    "Told",
    "Tx",
]
