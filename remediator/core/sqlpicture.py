"""Statements derived from a change: to look at what it would do, to lock, to do it, and to take it back.

Pure text. Every statement that is derived from a change takes the change's own values, all of them, so
that the server can tell their types.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from remediator.core.sqlchange import Change
from remediator.core.sqltable import Table

Part = Literal["key", "before", "after", "varies"]
"""What a column of a result is; ``varies`` is there for the server alone, and is dropped."""


@dataclass(frozen=True)
class Derived:
    """A statement.

    columns: what each column of its result is, in order, by place and not by name; limited: behind the
    change's values it takes one more, how many rows at most; params: of a statement that takes no values
    of the change, what $1, $2 … stand for.
    """

    text: str
    columns: tuple[tuple[Part, str], ...] = ()
    limited: bool = False
    params: tuple[tuple[Part, str], ...] = ()


# ── From the change itself ──────────────────────────────────────────────────────────────────────


def looking(change: Change, table: Table) -> Derived:
    """A SELECT of what would change, in the order of the key.

    UPDATE: key, before and after of each set column. DELETE: key, and before of everything that can be
    carried and shown. INSERT: the rows of VALUES (key and after), cast to the columns' types; not limited.
    """
    raise NotImplementedError(change, table)


def locking(change: Change, table: Table) -> Derived:
    """The same, FOR UPDATE. Not for an INSERT."""
    raise NotImplementedError(change, table)


def changing(change: Change, table: Table) -> Derived:
    """The change, giving back its key, and after of each set column.

    INSERT: after of everything that can be carried and shown, whatever it was set from; DELETE: the key.
    """
    raise NotImplementedError(change, table)


# ── The way back, one row at a time, by its key ─────────────────────────────────────────────────


def holding(change: Change, table: Table) -> Derived:
    """Lock one row and read, as ``after``, what the change left there and drift is told by.

    Takes the key. UPDATE: the set columns that do not vary; INSERT: everything that `changing` gives back;
    DELETE: nothing but the key, for a row that is there again.
    """
    raise NotImplementedError(change, table)


def restoring(change: Change, table: Table) -> Derived:
    """Take the change back on one row; gives back the key, or no row where there was nothing to do.

    UPDATE: sets the columns that do not vary (takes their ``before``, then the key). INSERT: deletes the
    row (takes the key). DELETE: inserts it again (takes key and ``before`` of every column that is not
    generated), unless its key is taken.
    """
    raise NotImplementedError(change, table)
