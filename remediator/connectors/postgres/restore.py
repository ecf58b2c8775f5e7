"""postgres.restore: takes a change back, row by row, wherever nobody has changed it since.

Generated from what `change` returned, never written in a policy. A row is restored only where it
still holds what the change itself left there; anything newer belongs to whoever wrote it, and is told.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from remediator.connectors.postgres.change import Row, as_row, judged_text
from remediator.connectors.postgres.rows import Place, Statement
from remediator.connectors.postgres.settings import LONGEST, PostgresSettings
from remediator.connectors.postgres.table import facts
from remediator.core.catalog import Fence, Kind, Operation, Risk
from remediator.core.exact import plain, same
from remediator.core.messages import Done
from remediator.core.run import Call
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
    """A call of postgres.restore: the change, as it stood, and the rows that it changed."""

    name: str
    change: Change
    key: tuple[str, ...]
    types: dict[str, str]
    rows: tuple[Row, ...]

    async def restored(self, place: Place) -> Done:
        """Take back what may be, inside the open transaction. ConnectorError: nothing may become final."""
        await place.database.prepare(self.change.text, name="")  # from here on nobody alters the table
        table = await facts(place, self.change.table)
        if problem := self._altered(table) or objection(self.change, table, restores=True):
            raise place.error(problem)
        holding = sqlpicture.holding(self.change, table)
        restoring = sqlpicture.restoring(self.change, table)
        self._check_rows((*holding.columns, *restoring.params))
        looks = (await place.prepare(holding.text)).named(name for _, name in holding.columns)
        restores = await place.prepare(restoring.text)
        back: list[dict[str, Any]] = []
        already: list[dict[str, Any]] = []
        left: list[Drift] = []
        for row in self.rows:
            values = await looks.row(_given(holding.params, row))
            drift = self._drift(row, as_row(place, holding, values) if values is not None else None)
            if isinstance(drift, Drift):
                left.append(drift)
            elif drift:
                already.append(row.key)
            elif await self._done(place, restores, _given(restoring.params, row)):
                back.append(row.key)
            else:
                left.append(Drift(row.key, "is there again", {}, {}))
        result = {"restored": len(back), "rows": back, "left": [one.shown for one in left]}
        if already:
            result["already"] = already
        return Done(result, _told(left, len(self.rows)))

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

    async def _done(self, place: Place, statement: Statement, args: Sequence[Any]) -> bool:
        """Only a deleted row may turn out not to be restorable: somebody has taken its key just now."""
        done = await statement.row(args) is not None
        if not done and self.change.verb != "delete":
            raise place.error("a locked row could not be restored")
        return done

    def _drift(self, row: Row, found: Row | None) -> Drift | bool:
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


def owed(call: Call, settings: PostgresSettings) -> Owed:
    """What a call asks for. ConnectorError where it may not be asked."""
    match call.args:
        case {"sql": str(text), "key": list(key), "types": dict(types), "rows": list(rows)}:
            change = judged_text(call.connection, text, settings)
            kept = tuple(_row(call.connection, one) for one in rows)
            return Owed(call.connection, change, tuple(map(str, key)), types, kept)
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
    return f"{len(left)} of {count} {'row' if count == 1 else 'rows'} left alone: {told}{more}"


def _pairs(columns: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_text(value)}" for name, value in columns.items())


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else str(value) if not isinstance(value, dict | list) else ""
    return (text or json.dumps(plain(value), ensure_ascii=False))[:100]
