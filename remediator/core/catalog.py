"""What can be done at all: the specs of operations, as policies and gates see them.

A connector declares one `Operation` beside the code of each thing it offers. The catalogue is the
sum of them. Nothing here touches the world.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from remediator.core.durations import Rate


class Kind(StrEnum):
    """Does an operation read or change?"""

    PROBE = "probe"
    ACTION = "action"


class Risk(StrEnum):
    """What an action may cost. The order is the order of severity."""

    SAFE = "safe"
    DISRUPTIVE = "disruptive"
    DESTRUCTIVE = "destructive"

    @property
    def rank(self) -> int:
        """0 for safe, 1 for disruptive, 2 for destructive."""
        return _SEVERITIES.index(self)


_SEVERITIES = tuple(Risk)


class Fence(StrEnum):
    """How a second execution of the same step is prevented.

    NONE: nothing can; an unknown outcome always goes to a person (a probe may prove it done).
    KEY: the service honours an idempotency key, so sending again with the same key is one effect.
    TRANSACTION: what will become final is marked in the journal before it does, and the mark tells
    afterwards whether it did; without a mark nothing happened.
    """

    NONE = "none"
    KEY = "idempotency-key"
    TRANSACTION = "transaction"


class Escape(StrEnum):
    """How a value that a template inserts into a text parameter is made inert."""

    TYPED = "typed"  # any JSON value; strings are joined as they are, nothing interprets them
    LITERAL = "literal"  # no expression allowed at all
    PATH = "path"  # percent-encoded, one URL path segment
    PROMQL = "promql"  # escaped as a string literal, numbers outside quotes
    MRKDWN = "mrkdwn"  # Slack's control characters escaped
    TEXT = "text"  # for people's eyes; the receiver escapes


class Holds(StrEnum):
    """How an argument holds its act back. Left out, such a one holds nothing back at all."""

    LONGER = "longer"  # a time: the longer it is, the less is done
    SHORTER = "shorter"  # a time: the shorter it is, the less is done
    THERE = "there"  # by being there, such as the login whose sessions are meant; of a map, by each key


@dataclass(frozen=True)
class Param:
    """One parameter of an operation's ``with``."""

    doc: str
    type: str = "string"  # string | int | number | bool | map | list | any | strings (map of text) | SQL:
    # select (one that only reads) | change (one UPDATE, INSERT or DELETE)
    escape: Escape = Escape.TYPED
    required: bool = False
    choices: tuple[str, ...] = ()
    holds: Holds | None = None  # None: whether another one does more, or worse, nobody can tell from it
    exact: bool = False  # decimals reach the connector as they were read, as `core.exact` keeps them


@dataclass(frozen=True)
class Operation:
    """The spec of one probe or action.

    longest: how long one execution may take before it counts as unknown (seconds in a timedelta).
    settle: after an unknown outcome, how long until observation may be trusted. Then the step's own proof is
    asked: what holds proves that it was done; what does not is left to a person, and nothing is sent again.
    None: the proof is asked at once.
    reads: the names that a probe's result has, beside ``ok`` and ``at``; empty: whatever is found there.
    previews: can show what would change, without changing it.
    counts: its step must say how many rows: exactly, or at most.
    restores: what it changed can be taken back by ``how: restore``.
    internal: never named in a policy; generated from what another operation did.
    """

    name: str
    kind: Kind
    doc: str
    params: Mapping[str, Param]
    risk: Risk = Risk.SAFE
    fence: Fence = Fence.NONE
    settle: timedelta | None = None
    longest: timedelta = timedelta(seconds=10)
    previews: bool = False
    reads: tuple[str, ...] = ()
    counts: bool = False
    restores: bool = False
    internal: bool = False

    @property
    def connector(self) -> str:
        """The kind of connection it needs: ``http`` for ``http.request``."""
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class Reach:
    """How far SQL may reach on a connection.

    tables: those it may name, spelled so, with or without their schema; hidden: columns that never
    leave, as ``table.column``; functions: those allowed beside the built-in ones that only compute.
    """

    tables: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()

    def hides(self, table: str) -> frozenset[str]:
        """The hidden columns of a table in small letters, whatever its schema and how either is written."""
        parts = (one.lower().split(".") for one in self.hidden)
        return frozenset(part[-1] for part in parts if part[-2] == table.lower())


def _takes_any(_given: object) -> str:
    return ""


@dataclass(frozen=True)
class Command:
    """What a connection declares by name. reads: it changes nothing; slots: what policies fill in.

    refuses: why it does not take these values for its slots, or "" where it does.
    """

    reads: bool
    slots: frozenset[str] = frozenset()
    refuses: Callable[[object], str] = field(default=_takes_any, compare=False, repr=False)


@dataclass(frozen=True)
class Connection:
    """What policies may know of a configured connection: nothing secret.

    risks: patterns such as ``POST /api/workers/*`` (one ``*`` is one path segment) that lower or
    raise the risk of an endpoint (of a declared command: ``COMMAND flush-cache``); fence: what the
    service honours; digest: a hash of the settings that matter to a policy's version; reach: what SQL
    may touch there; limits: how much one answer may hold and how long one call may take, by the
    setting's name; commands: all that policies may have done there, where that is declared by name; refuses:
    why its settings alone would refuse a call, in its own words, or "" where they would not.
    """

    name: str
    kind: str
    risks: Mapping[str, Risk] = field(default_factory=lambda: MappingProxyType({}))
    fence: Fence = Fence.NONE
    digest: str = ""
    reach: Reach = field(default_factory=Reach)
    limits: Mapping[str, int | timedelta] = field(default_factory=lambda: MappingProxyType({}))
    commands: Mapping[str, Command] = field(default_factory=lambda: MappingProxyType({}))
    refuses: Callable[[Any], str] = field(default=_takes_any, compare=False, repr=False)


BUILT_IN = MappingProxyType({"slack": "slack", "people": "people"})
"""Connections that need no ``via``: operation prefix → connection name."""


@dataclass(frozen=True)
class Cover:
    """A person who holds a role as well, for the time of somebody's absence.

    since: None where it holds from the moment at which it was configured.
    """

    by: str
    until: datetime  # at this moment it is over
    since: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Does it last at this moment?"""
        return (self.since is None or self.since <= now) and now < self.until

    def __str__(self) -> str:
        since = f" from {self.since.isoformat()}" if self.since is not None else ""
        return f"{self.by}{since} until {self.until.isoformat()}"


Chain = Mapping[str, timedelta]
"""An escalation chain: role → how long after a page opened it is reached."""


@dataclass(frozen=True)
class Catalog:
    """Everything that a policy may name: operations, connections, roles, target kinds."""

    operations: Mapping[str, Operation]
    connections: Mapping[str, Connection] = field(default_factory=dict)
    roles: Mapping[str, frozenset[str]] = field(default_factory=dict)  # role → people, whatever the time
    covers: Mapping[str, tuple[Cover, ...]] = field(default_factory=dict)  # role → who stands in, and when
    targets: frozenset[str] = frozenset()
    escalations: Mapping[str, Chain] = field(default_factory=dict)
    budgets: Mapping[str, Rate] = field(default_factory=dict)  # shared by policies: how many runs may act

    @classmethod
    def of(cls, operations: Iterable[Operation], **rest: Any) -> Catalog:
        """A catalogue with these operations, by name."""
        return cls({one.name: one for one in operations}, **rest)

    def roles_at(self, now: datetime) -> Mapping[str, frozenset[str]]:
        """Role → everybody who holds it at this moment: its people, and who stands in for one of them."""
        if not self.covers:
            return self.roles
        standing = {
            role: {one.by for one in covers if one.holds(now)} for role, covers in self.covers.items()
        }
        known = self.roles.keys() | standing.keys()
        return {role: self.roles.get(role, frozenset()) | standing.get(role, set()) for role in known}
