"""What the parts ask of each other: the store, the connectors, the clock, the ways to people."""

from remediator.ports.people import Answer, Desk, Feed, Notifier, Told
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
    "Feed",
    "JournalEntry",
    "KeptPolicy",
    "Notifier",
    "Order",
    "Pending",
    "PolicyCount",
    "Received",
    "Rejected",
    "RunFilter",
    "Scope",
    "StageCount",
    "Store",
    "Told",
    "Tx",
]
