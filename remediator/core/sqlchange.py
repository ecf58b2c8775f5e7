"""Reading SQL that changes: one UPDATE, INSERT or DELETE on one listed table, taken apart by pure functions.

Asked when a policy is loaded and again by the connector. Nothing here knows the table itself: what its
columns, keys and triggers forbid is told by `sqltable`, and what is derived from a change by `sqlpicture`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from remediator.core.catalog import Reach
from remediator.core.sqltree import Fault

Verb = Literal["update", "insert", "delete"]


@dataclass(frozen=True)
class Assigned:
    """One SET column = expression, or one value of an INSERT's row.

    text: the expression as written, its built-in functions spelled out; varies: it depends on the time,
    so a preview cannot tell its value, and undo and drift leave the column alone.
    """

    column: str
    text: str
    varies: bool


@dataclass(frozen=True)
class Change:
    """A statement that may be sent, once `sqltable.objection` has none.

    table: as written and as listed by the connection; alias: the name by which its columns are qualified;
    text: the whole statement, its functions spelled out, without RETURNING; condition: the text of WHERE,
    "" for an INSERT; rows: an INSERT's VALUES, each in the order of the column list; args: how many values
    it takes; reads: every column named in WHERE and in an expression; dotted: table → what is named behind
    it after a dot, as in `sql.Query`.
    """

    verb: Verb
    table: str
    alias: str
    text: str
    condition: str
    sets: tuple[Assigned, ...]
    rows: tuple[tuple[Assigned, ...], ...]
    args: int
    reads: frozenset[str]
    dotted: Mapping[str, frozenset[str]]

    @property
    def columns(self) -> tuple[str, ...]:
        """Those that are written, in order."""
        return tuple(one.column for one in (self.rows[0] if self.rows else self.sets))

    @property
    def varying(self) -> frozenset[str]:
        """Those whose value depends on the time."""
        written = (*self.sets, *(one for row in self.rows for one in row))
        return frozenset(one.column for one in written if one.varies)


def change(text: str, reach: Reach) -> Change | list[Fault]:
    """The statement taken apart, or everything that is wrong with it."""
    raise NotImplementedError(text, reach)
