"""What a change is said to do, above the rows that it shows: its table, and what is written beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from remediator.connectors.postgres.names import Standing
from remediator.core.sql.change import Change
from remediator.core.sql.table import Column, Table

_IDENTITY = "the database's next number"
_HIDDEN = "hidden"


def told(change: Change, table: Table, standing: Standing, counted: str) -> str:
    """In one line. counted: its rows, as people read it."""
    first = f"{change.verb.upper()} of {counted} in {standing}"
    return "; ".join((first, *_beside(change, table)))


def _beside(change: Change, table: Table) -> Iterator[str]:
    written = change.sets or (change.rows[0] if change.rows else ())
    if varying := [f"{one.column} = {_short(one.text)}" for one in written if one.varies]:
        yield f"told by the time of the change: {', '.join(varying)}"
    rest = [column for name, column in table.columns.items() if name not in change.columns]
    if change.verb == "insert" and (filled := list(_filled(rest))):
        yield f"by default: {', '.join(filled)}"
    if computed := [_computed(column) for column in rest if _follows(column, change)]:
        yield f"computed by the database: {', '.join(computed)}"


def _filled(rest: Sequence[Column]) -> Iterator[str]:
    for column in rest:
        if column.identity:
            yield f"{column.name} = {_IDENTITY}"
        elif column.default and not column.generated:
            yield f"{column.name} = {_HIDDEN if column.hidden else column.default}"


def _follows(column: Column, change: Change) -> bool:
    """Is it computed from what is written?"""
    if not column.generated or change.verb == "delete":
        return False
    return change.verb == "insert" or bool(column.of & set(change.columns))


def _computed(column: Column) -> str:
    return f"{column.name} = {_HIDDEN if column.hidden else column.default}"


def _short(text: str) -> str:
    """An expression as people wrote it."""
    return text.replace("pg_catalog.", "")
