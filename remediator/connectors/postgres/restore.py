"""postgres.restore: takes a change back, row by row, wherever nobody has changed it since.

Generated from what `change` returned, never written in a policy. A row is restored only where it
still holds what the change itself left there; anything newer belongs to whoever wrote it, and is told.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from remediator.connectors.postgres import names
from remediator.connectors.postgres.change import Row, as_row, judged_text
from remediator.connectors.postgres.link import said
from remediator.connectors.postgres.rows import Place, Statement
from remediator.connectors.postgres.settings import LONGEST, PostgresSettings
from remediator.connectors.postgres.table import facts
from remediator.core.catalog import Fence, Kind, Operation, Risk
from remediator.core.counting import counted
from remediator.core.exact import plain, same
from remediator.core.intention import Call
from remediator.core.messages import Done
from remediator.core.sql import picture as sqlpicture
from remediator.core.sql.change import Change
from remediator.core.sql.table import Table, objection
from remediator.errors import ConnectorError

RESTORE = Operation(
    name="postgres.restore",
    kind=Kind.ACTION,
    doc="Takes back what postgres.execute changed, where nobody has changed it since.",
    params={},
    risk=Risk.DESTRUCTIVE,
    fence=Fence.TRANSACTION,
    longest=LONGEST * 2,
    internal=True,
)

TOLD = 3
"""Rows that are told one by one; of more, the number."""


@dataclass(frozen=True)
class Drift:
    """A row that is left alone: what it was expected to hold, and what it holds."""

    key: dict[str, Any]
    why: str
    expected: dict[str, Any]
    found: dict[str, Any]

    @property
    def shown(self) -> dict[str, Any]:
        """As results hold it."""
        return {"key": self.key, "why": self.why, "expected": self.expected, "found": self.found}

    def __str__(self) -> str:
        return f"{_pairs(self.key)} {self.why}"


@dataclass(frozen=True)
class Owed:
    """A call of postgres.restore: the change, as it stood, the table that it changed, and its rows."""

    name: str
    change: Change
    key: tuple[str, ...]
    types: dict[str, str]
    relation: dict[str, Any]
    rows: tuple[Row, ...]

    async def restored(self, place: Place) -> Done:
        """Take back what may be, inside the open transaction. ConnectorError: nothing may become final."""
        sent, standing = await names.change(place, self.change)
        if standing.oid != self.relation["oid"]:
            was = f"{self.relation['name']} (oid {self.relation['oid']})"
            raise place.error(
                f"{was} was changed, and {self.change.table} is {standing} (oid {standing.oid}) now"
            )
        await place.database.prepare(sent.text, name="")  # from here on nobody alters the table
        table = await facts(place, standing)
        if problem := self._altered(table) or objection(self.change, table, restores=True):
            raise place.error(problem)
        back = _Back(self, place, await self._statements(place, table))
        await back.all_at_once()
        result = {"restored": len(back.back), "rows": back.back, "left": [one.shown for one in back.left]}
        if back.already:
            result["already"] = back.already
        return Done(result, _told(back.left, len(self.rows)))

    async def _statements(self, place: Place, table: Table) -> _Statements:
        """What is sent for each row. ConnectorError where a row lacks what they take."""
        holding = sqlpicture.holding(self.change, table)
        restoring = sqlpicture.restoring(self.change, table)
        self._check_rows((*holding.columns, *restoring.params))
        looks = (await place.prepare(holding.text)).named(name for _, name in holding.columns)
        return _Statements(holding, looks, restoring, await place.prepare(restoring.text))

    def _altered(self, table: Table) -> str:
        """What is no longer as it was when the change was made, of what the undo stands on."""
        for name, kind in self.types.items():
            if name not in table.columns or table.columns[name].type != kind:
                return f"{self.change.table}.{name} was altered since: it was {kind}"
        if table.key != self.key:
            now = ", ".join(table.key) or "nothing"
            return f"the primary key of {self.change.table} is {now} now: it was {', '.join(self.key)}"
        return ""

    def _check_rows(self, parts: Iterable[tuple[sqlpicture.Part, str]]) -> None:
        """ConnectorError where a row lacks a value that the undo takes or compares."""
        for part, name in parts:
            if any(name not in row.shown.get(part, {name}) for row in self.rows):
                if name in self.types:
                    raise _odd(self.name)
                raise ConnectorError(self.name, f"{self.change.table}.{name} was added or altered since")

    def drift(self, row: Row, found: Row | None) -> Drift | bool:
        """Why it is left alone; True where it is as before already; False where it is to be restored."""
        if self.change.verb == "delete":
            return False if found is None else Drift(row.key, "is there again", {}, {})
        if found is None:
            return True if self.change.verb == "insert" else Drift(row.key, "is gone", row.after, {})
        expected = {name: row.after[name] for name in found.after}
        other = [name for name, value in found.after.items() if not same(value, expected[name])]
        if not other:
            return False
        if self.change.verb == "update" and all(same(found.after[one], row.before[one]) for one in expected):
            return True
        holds = ", ".join(f"{one} {_text(found.after[one])}, not {_text(expected[one])}" for one in other)
        return Drift(row.key, f"holds {holds}", expected, found.after)


@dataclass(frozen=True)
class _Statements:
    """looks: locks one row and reads it, as `holding` says; restores: takes it back, as `restoring` says."""

    holding: sqlpicture.Derived
    looks: Statement
    restoring: sqlpicture.Derived
    restores: Statement


class _Back:
    """One restoring: rows that are back, those that were so already, and those that are left alone."""

    def __init__(self, owed: Owed, place: Place, statements: _Statements) -> None:
        self.back: list[dict[str, Any]] = []
        self.already: list[dict[str, Any]] = []
        self.left: list[Drift] = []
        self._owed = owed
        self._place = place
        self._statements = statements

    async def all_at_once(self) -> None:
        """All rows; where one of them breaks what the table demands, each alone."""
        if await self._kept(self._owed.rows):
            self.back, self.already, self.left = [], [], []
            await self._one_by_one()

    async def _one_by_one(self) -> None:
        """Again and again, as long as one more is back: a row may need another one of them."""
        waiting = list(self._owed.rows)
        while waiting:
            broken = [(row, why) for row in waiting if (why := await self._kept([row]))]
            if len(broken) == len(waiting):
                self.left += [Drift(row.key, f"cannot be as it was: {why}", {}, {}) for row, why in broken]
                return
            waiting = [row for row, _ in broken]

    async def _kept(self, rows: Sequence[Row]) -> str:
        """Take back these rows together, or none of them and why the table's constraints forbid it."""
        import asyncpg

        database = self._place.database
        await database.execute("SAVEPOINT back")
        try:
            for row in rows:
                await self._take_back(row)
            await database.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except asyncpg.IntegrityConstraintViolationError as error:
            await database.execute("ROLLBACK TO SAVEPOINT back")
            return f"{said(error)} ({error.sqlstate})"
        return ""

    async def _take_back(self, row: Row) -> None:
        holding, restoring = self._statements.holding, self._statements.restoring
        values = await self._statements.looks.row(_given(holding.params, row))
        found = as_row(self._place, holding, values) if values is not None else None
        drift = self._owed.drift(row, found)
        if isinstance(drift, Drift):
            self.left.append(drift)
        elif drift:
            self.already.append(row.key)
        elif await self._statements.restores.row(_given(restoring.params, row)) is not None:
            self.back.append(row.key)
        elif self._owed.change.verb == "delete":
            self.left.append(Drift(row.key, "is there again", {}, {}))  # somebody took its key just now
        else:
            raise self._place.error("a locked row could not be restored")


def owed(call: Call, settings: PostgresSettings) -> Owed:
    """What a call asks for. ConnectorError where it may not be asked."""
    match call.args:
        case {
            "sql": str(text),
            "key": list(key),
            "types": dict(types),
            "relation": {"name": str(), "oid": int()} as relation,
            "rows": list(rows),
        }:
            change = judged_text(call.connection, text, settings)
            kept = tuple(_row(call.connection, one) for one in rows)
            return Owed(call.connection, change, tuple(map(str, key)), types, relation, kept)
    raise _odd(call.connection)


def _row(name: str, row: Any) -> Row:
    match row:
        case {"key": dict(key), "before": dict(before), "after": dict(after)}:
            return Row(key, before, after)
    raise _odd(name)


def _odd(name: str) -> ConnectorError:
    return ConnectorError(name, "this is not what postgres.execute returned")


def _given(params: Iterable[tuple[sqlpicture.Part, str]], row: Row) -> list[Any]:
    parts: Mapping[str, Mapping[str, Any]] = row.shown
    return [parts[part][name] for part, name in params]


def _told(left: Sequence[Drift], count: int) -> str:
    if not left:
        return ""
    told = "; ".join(map(str, left[:TOLD]))
    more = f"; and {len(left) - TOLD} more" if len(left) > TOLD else ""
    return f"{len(left)} of {counted(count, 'row')} left alone: {told}{more}"


def _pairs(columns: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_text(value)}" for name, value in columns.items())


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else str(value) if not isinstance(value, dict | list) else ""
    return (text or json.dumps(plain(value), ensure_ascii=False))[:100]
