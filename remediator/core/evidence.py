"""What was seen of the world for a run: readings, proofs in the making, pictures of a change to come."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from remediator.core.cutting import apart
from remediator.core.exact import revived, shown, spelled
from remediator.core.operators import Unread

LONGEST_LEAF = 60
"""Characters of a value that a reason tells."""
NOWHERE = "not there"


class Reading(msgspec.Struct, frozen=True):
    """What a probe answered. ``value`` holds the operation's own names (``row`` …), as `exact.kept`."""

    at: datetime
    ok: bool
    value: dict[str, Any] = {}
    error: str = ""

    def as_seen(self) -> dict[str, Any]:
        """The reading as expressions see it."""
        seen = {**revived(self.value), "ok": self.ok, "at": self.at}
        return seen if self.ok else Unread(seen)

    @property
    def shown(self) -> dict[str, Any]:
        """The value as people read it."""
        told: dict[str, Any] = shown(self.value)
        return told


def differences(was: Mapping[str, Reading], now: Mapping[str, Reading]) -> list[str]:
    """What has moved between two rounds of readings, one by one, for people."""
    before = _leaves({name: one.shown if one.ok else None for name, one in was.items()})
    after = _leaves({name: one.shown if one.ok else None for name, one in now.items()})
    moved = (name for name in {**before, **after} if before.get(name) != after.get(name))
    told = (
        (name, *apart(before.get(name, NOWHERE), after.get(name, NOWHERE), LONGEST_LEAF)) for name in moved
    )
    return [f"{name} was {then}, is {since}" for name, then, since in told]


def _leaves(told: Any, at: str = "") -> dict[str, str]:
    """Each single value by its path, whole."""
    if isinstance(told, dict):
        prefix = f"{at}." if at else ""
        return {path: leaf for name in told for path, leaf in _leaves(told[name], f"{prefix}{name}").items()}
    return {at: json.dumps(told, ensure_ascii=False, separators=(",", ":"), default=str)}


class Proof(msgspec.Struct, frozen=True):
    """Something that is read again and again, until it has held long enough or its time is up."""

    reading: Reading | None = None  # the last one
    since: datetime | None = None  # since when it has held
    next_at: datetime | None = None  # when it is read again
    by: datetime | None = None  # when its time is up; None for never
    failing: datetime | None = None  # since when it could not be read
    told: bool = False  # a person was paged about that


class Picture(msgspec.Struct, frozen=True):
    """What a step would change, shown before anybody approves. Never the change itself.

    rows: of SQL, ``{"key": {…}, "before": {…}, "after": {…}}`` by column; as `exact.kept`.
    """

    count: int
    text: str
    rows: tuple[dict[str, Any], ...] = ()

    @property
    def shown(self) -> list[dict[str, Any]]:
        """The rows as people read them, decimals digit for digit."""
        return [{side: _columns(held) for side, held in row.items()} for row in self.rows]


def _columns(held: Any) -> Any:
    return {name: spelled(value) for name, value in held.items()} if isinstance(held, dict) else spelled(held)
