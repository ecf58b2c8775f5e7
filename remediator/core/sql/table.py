"""What a table itself forbids to a change: facts read from the catalogue by the connector, judged here.

A statement says what happens to one table. Triggers, rules, foreign keys that cascade, and partitions make
it happen elsewhere too, where nobody counts it and nothing takes it back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from remediator.core.sql.change import Change

Spread = Literal["cascade", "set null", "set default", "restrict", "no action"]

_SPREADS = frozenset({"cascade", "set null", "set default"})
_KINDS = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "p": "a partitioned table",
    "S": "a sequence",
}
_REVERSE = {"update": "update", "insert": "delete", "delete": "insert"}
_JSON = frozenset({"json", "jsonb"})
_SIZED = frozenset({"varchar", "bpchar"})
_TEXTUAL = "json"
"""The type whose values are kept by meaning only: its spaces, doubled keys and their order are lost."""


@dataclass(frozen=True)
class Column:
    """A column.

    type: as the server writes it (format_type), such as ``numeric(6,4)``; base: the type's own name, as
    postgres knows it (``numeric``, ``int4[]``), "" when its values cannot be carried; default: the expression
    that fills it where nothing is written, or by which it is generated; of: the columns from which it is.
    """

    name: str
    type: str
    base: str
    generated: bool = False
    identity: Literal["", "always", "default"] = ""
    hidden: bool = False
    default: str = ""
    of: frozenset[str] = frozenset()

    @property
    def shown(self) -> bool:
        """May its values leave, and can they be carried?"""
        return bool(self.base) and not self.hidden

    @property
    def array(self) -> bool:
        """Are its values arrays?"""
        return self.base.endswith("[]")

    @property
    def is_json(self) -> bool:
        """Are its values JSON, or arrays of it?"""
        return self.base.removesuffix("[]") in _JSON

    @property
    def sized(self) -> bool:
        """May its texts have a length of their own, at which a cast would cut?"""
        return self.base.removesuffix("[]") in _SIZED


@dataclass(frozen=True)
class Referrer:
    """A foreign key that points here. columns: those of this table that it refers to."""

    name: str
    columns: tuple[str, ...]
    on_update: Spread = "no action"
    on_delete: Spread = "no action"


@dataclass(frozen=True)
class Called:
    """A function of somebody's own that the table calls. by: what of it does; filling: only for new rows."""

    by: str
    function: str
    filling: bool = False


@dataclass(frozen=True)
class Table:
    """A table.

    name: quoted, with its schema, safe to insert into SQL; oid: its number in the catalogue; key: the
    primary key's columns, in order, none when there is none; deferrable: the primary key is; kind:
    pg_class.relkind; children: others inherit from it; partition: it is one; row_security: in force for this
    login; triggers: the events ("insert", "update", "delete") that fire an enabled user trigger, of rows or
    statements; rules: it has any; calls: what its constraints, defaults and indexes call.
    """

    name: str
    key: tuple[str, ...]
    columns: Mapping[str, Column] = field(default_factory=lambda: MappingProxyType({}))
    kind: str = "r"
    children: bool = False
    partition: bool = False
    row_security: bool = False
    triggers: frozenset[str] = frozenset()
    rules: bool = False
    referrers: tuple[Referrer, ...] = ()
    deferrable: bool = False
    oid: int = 0
    calls: tuple[Called, ...] = ()

    @property
    def rest(self) -> tuple[Column, ...]:
        """The columns that are not of the key."""
        return tuple(column for name, column in self.columns.items() if name not in self.key)


def objection(change: Change, table: Table, *, restores: bool) -> str:
    """Why this change may not be made on this table; "" when it may. ``restores``: its undo is generated."""
    return next(_objections(change, table, restores=restores), "")


def _objections(change: Change, table: Table, *, restores: bool) -> Iterator[str]:
    yield from _of_the_table(table)
    yield from _elsewhere(change.verb, change.columns, table)
    yield from _called(change.verb, table)
    yield from _of_columns(change, table)
    if restores:
        reverse = _REVERSE[change.verb]
        yield from (f"{one}, when it is restored" for one in _elsewhere(reverse, change.columns, table))
        yield from _of_restoring(change, table)


def _of_the_table(table: Table) -> Iterator[str]:
    if table.kind != "r":
        yield f"it is {_KINDS.get(table.kind, 'not a plain table')}"
    if table.partition:
        yield "it is a partition of another table"
    if table.children:
        yield "other tables inherit from it, and would change with it"
    if table.name.startswith(('"pg_', '"information_schema"')):
        yield "it is one of the system's own tables"
    if table.row_security:
        yield "row-level security hides rows of it from this login"
    if table.rules:
        yield "it has a rule, which may rewrite the statement"
    if not table.key:
        yield "it has no primary key"
    for name in table.key:
        if not table.columns[name].shown:
            yield f"{name}, of its primary key, {_unshown(table.columns[name])}"


def _elsewhere(verb: str, columns: tuple[str, ...], table: Table) -> Iterator[str]:
    """What else would happen."""
    if verb in table.triggers:
        yield f"a trigger fires on {verb}, and may do anything"
    for key in table.referrers:
        spread = key.on_delete if verb == "delete" else key.on_update
        touched = verb == "delete" or (verb == "update" and set(key.columns) & set(columns))
        if touched and spread in _SPREADS:
            yield f"other rows would change with it, by the foreign key {key.name} (on {verb} {spread})"


def _called(verb: str, table: Table) -> Iterator[str]:
    """Functions of somebody's own, which may write elsewhere."""
    for one in table.calls:
        if verb == "insert" or not one.filling:
            yield f"{one.by} calls {one.function}, which may do anything"


def _of_columns(change: Change, table: Table) -> Iterator[str]:
    for name in sorted({*change.columns, *change.reads}):
        if name not in table.columns:
            yield f"it has no column {name!r}"
        elif table.columns[name].hidden:
            yield f"{name} is a hidden column"
    for column in (table.columns[name] for name in change.columns):
        if change.verb == "update" and column.name in table.key:
            yield f"{column.name} is of the primary key, by which rows are known"
        if column.generated:
            yield f"{column.name} is generated, and cannot be written"
        if column.identity == "always":
            yield f"{column.name} is always given by the database"
        if not column.base:
            yield f"{column.name} {_unshown(column)}"


def _of_restoring(change: Change, table: Table) -> Iterator[str]:
    """UPDATE: only what was set is written back. INSERT, DELETE: whole rows are compared or brought back."""
    written = [table.columns[name] for name in change.columns if name not in change.varying]
    whole = [column for column in table.columns.values() if not column.generated]
    if change.verb == "update" and not written:
        yield "nothing could be restored: every value that is set tells the time"
    for column in written if change.verb == "update" else whole:
        if not column.shown:
            yield f"{column.name} {_unshown(column)}, so rows cannot be restored"
        elif column.base.removesuffix("[]") == _TEXTUAL and change.verb != "insert":
            yield f"{column.name} is of type json, whose spelling cannot be restored; jsonb can"
    if change.verb == "delete" and table.deferrable:
        yield "its primary key is deferrable, so a row that is there again would not be noticed"


def _unshown(column: Column) -> str:
    return "is hidden" if column.hidden else f"is of type {column.type}, whose values cannot be carried"
