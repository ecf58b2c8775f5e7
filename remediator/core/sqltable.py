"""What a table itself forbids to a change: facts read from the catalogue by the connector, judged here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from remediator.core.sqlchange import Change

Spread = Literal["cascade", "set null", "set default", "restrict", "no action"]


@dataclass(frozen=True)
class Column:
    """A column.

    type: as the server writes it (format_type), such as ``numeric(6,4)``; base: the type's own name, as
    postgres_values knows it (``numeric``, ``int4[]``), "" when its values cannot be carried.
    """

    name: str
    type: str
    base: str
    generated: bool = False
    identity: Literal["", "always", "default"] = ""
    hidden: bool = False


@dataclass(frozen=True)
class Referrer:
    """A foreign key that points here. columns: those of this table that it refers to."""

    name: str
    columns: tuple[str, ...]
    on_update: Spread = "no action"
    on_delete: Spread = "no action"


@dataclass(frozen=True)
class Table:
    """A table.

    name: quoted, with its schema, safe to insert into SQL; key: the primary key's columns, in order, none
    when there is none; deferrable: the primary key is; kind: pg_class.relkind; children: others inherit
    from it; partition: it is one; row_security: in force for this login; triggers: the events ("insert",
    "update", "delete") that fire an enabled user trigger, of rows or statements; rules: it has any.
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


def objection(change: Change, table: Table, *, restores: bool) -> str:
    """Why this change may not be made on this table; "" when it may. ``restores``: its undo is generated."""
    raise NotImplementedError(change, table, restores)
