"""What a store keeps and finds, as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from remediator.core.alert import Alert, Delivery
from remediator.core.messages import Effect
from remediator.core.run import Page

SYSTEM = "system"
"""The name of the journal that belongs to no run."""


class Received(msgspec.Struct, frozen=True):
    """A delivery that waits in the inbox. One whose row cannot be read has no alerts, and says why."""

    id: int
    delivery: Delivery
    problem: str = ""


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
    changed_at: datetime  # when its status last changed, or a later start was heard
    deliveries: int = 1
    received_at: datetime | None = None  # when the delivery came that told what is known


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
    rewordings: int = 0  # how many runs in a row have ended since the alert said something else


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


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """One daemon of those that share a store; a new one after each start."""

    id: str
    host: str  # and its process, for people
    policies: str  # the version of the set that it runs
    since: datetime
    until: datetime  # its lease: over, unless it is renewed


class Aside(msgspec.Struct, frozen=True):
    """A run that cannot be decided now, for what is in its row or its journal."""

    run: str
    policy: str
    target: str
    problem: str


class Unreadable(msgspec.Struct, frozen=True):
    """A row that lists leave out, since this program cannot read it: another version's, or damaged."""

    table: str  # alerts | dispositions | effects | pages
    key: tuple[str, ...]  # of an effect its number, and its run
    problem: str


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


Prunable = Literal["deliveries", "alerts", "counters", "pages"]
"""What is forgotten by its age: settled deliveries, resolved alerts, what bounds counted, acknowledged pages
of no run.
"""


class PolicyCount(msgspec.Struct, frozen=True):
    """How often a policy's runs ended how."""

    policy: str
    outcome: str
    runs: int


class StageCount(msgspec.Struct, frozen=True):
    """How many of a policy's runs stand where."""

    policy: str
    stage: str
    runs: int


class Scope(msgspec.Struct, frozen=True):
    """What a decision counts. ``shadow``: the counters of mode observe.

    Where a store locks what it counts, it does so in this order: policy, target, budget.
    """

    policy: str
    target: str
    run: str  # left out of the counts
    target_window: timedelta
    policy_window: timedelta
    shadow: bool = False
    budget: str = ""  # the one that the policy shares with others, if any
    budget_window: timedelta = timedelta()
    failure_window: timedelta = timedelta()  # failures are the policy's, whatever its mode was


@dataclass(frozen=True)
class Ahead:
    """What a transaction will ask first: a store behind a network fetches it all in one look."""

    run: str = ""  # advanced: the run, and what bounds it
    effect: int | None = None  # whose result it hears
    fingerprints: tuple[str, ...] = ()  # alerts that it decides on


NOTHING = Ahead()


@dataclass(frozen=True)
class Due:
    """What has a deadline that has passed, oldest first."""

    runs: tuple[str, ...] = ()
    dispositions: tuple[Disposition, ...] = ()
    pages: tuple[Page, ...] = ()
    unread: tuple[Unreadable, ...] = ()
    """Whose deadline has passed, too: see `Tx.put_off`."""


@dataclass(frozen=True)
class RunFilter:
    """Which runs to list: newest first, at most ``limit``."""

    state: str = ""  # "" | open | holding | closed | a stage
    policy: str = ""
    target: str = ""
    before: str = ""  # a run's id: only older ones
    limit: int = 100
