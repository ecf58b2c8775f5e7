"""postgres.execute: one UPDATE, INSERT or DELETE on one plain table, counted and compared before it is final.

The preview shows rows by a SELECT that is derived from the change. The act locks them, and refuses if they
are others than those that people approved; then it makes the change, and refuses if that touched another
row or left another value than was foretold. Both read the table's own facts anew: triggers, rules,
cascades and whatever else would change more than the statement says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from remediator.connectors.bound import Bound, bound
from remediator.connectors.postgres import names
from remediator.connectors.postgres.names import Standing
from remediator.connectors.postgres.rights import check_rights
from remediator.connectors.postgres.rows import Place
from remediator.connectors.postgres.settings import LONGEST, PostgresSettings
from remediator.connectors.postgres.table import facts
from remediator.connectors.postgres.telling import told
from remediator.core.canonical import canonical
from remediator.core.catalog import Escape, Fence, Kind, Operation, Param, Risk
from remediator.core.evidence import Picture
from remediator.core.exact import kept, same
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused
from remediator.core.sql import picture as sqlpicture
from remediator.core.sql.change import Change, change
from remediator.core.sql.table import Table, objection
from remediator.errors import ConnectorError

EXECUTE = Operation(
    name="postgres.execute",
    kind=Kind.ACTION,
    doc="One UPDATE, INSERT or DELETE on one plain table; its rows are counted before it becomes final.",
    params={
        "sql": Param(
            "One UPDATE, INSERT or DELETE with $1, $2 … for its values.",
            type="change",
            escape=Escape.LITERAL,
            required=True,
        ),
        "args": Param(
            "The values, in order; each as the parameter's type takes it.", type="list", exact=True
        ),
    },
    risk=Risk.DESTRUCTIVE,
    fence=Fence.TRANSACTION,
    longest=LONGEST * 2,
    previews=True,
    counts=True,
    restores=True,
)


DOUBTS: Mapping[str, str] = MappingProxyType(
    {
        "shape": "{} holds an array that no list tells: it does not begin at 1, or is a matrix of JSON",
        "length": "the value is too long for {}, and would be cut",
    }
)
"""What is wrong where a derived statement says so, of which column."""


@dataclass(frozen=True)
class Row:
    """A row that changes, by column. after: without what depends on the time, unless it was given back."""

    key: dict[str, Any]
    before: dict[str, Any]
    after: dict[str, Any]

    @property
    def shown(self) -> dict[str, Any]:
        """As pictures and results hold it."""
        return {"key": self.key, "before": self.before, "after": self.after}


@dataclass(frozen=True)
class Wanted:
    """A call of postgres.execute, judged again. restores: its undo is generated."""

    change: Change
    sql: str
    args: list[Any]
    bound: Bound
    restores: bool

    async def picture(self, place: Place) -> Picture:
        """What it would change, without a lock. ConnectorError, also for what would be refused."""
        sent, standing = await names.change(place, self.change)
        return await replace(self, change=sent).picture_on(place, standing)

    async def picture_on(self, place: Place, standing: Standing) -> Picture:
        """The same, of the change as it is sent."""
        table = await self._judged(place, standing)
        await place.read(self.change.text)
        rows = await self._found(place, sqlpicture.looking(self.change, table))
        if problem := self._objection(rows) or await self._taken(place, table, rows):
            raise place.error(problem)
        return self._shown(rows, table, standing)

    async def made(self, place: Place, shown: Picture | None) -> Done | Refused:
        """Change the rows inside the open transaction. ConnectorError: nothing may become final."""
        sent, standing = await names.change(place, self.change)
        return await replace(self, change=sent).made_on(place, standing, shown)

    async def made_on(self, place: Place, standing: Standing, shown: Picture | None) -> Done | Refused:
        """The same, of the change as it is sent."""
        await place.database.prepare(self.change.text, name="")  # from here on nobody alters the table
        table = await self._judged(place, standing)
        derive = sqlpicture.looking if self.change.verb == "insert" else sqlpicture.locking
        locked = await self._found(place, derive(self.change, table))
        if problem := self._objection(locked):
            return Refused(f"never sent: {problem}")
        if shown is not None and (problem := _other(self._shown(locked, table, standing), shown)):
            return Refused(f"never sent: {problem}")
        changed = await self._found(place, sqlpicture.changing(self.change, table))
        pairs = _paired(self.change, locked, changed)
        if problem := self.bound.broken_by(len(changed), "changed") or _differs(pairs, locked, changed):
            return Refused(f"never committed: {problem}")
        rows = [Row(new.key, old.before, new.after) for old, new in pairs]
        result: dict[str, Any] = {"rows": len(rows), "changed": [row.shown for row in rows]}
        if self.restores:
            result["restore"] = self._way_back(table, standing, rows)
        return Done(result)

    async def _taken(self, place: Place, table: Table, rows: Sequence[Row]) -> str:
        """Which row an INSERT would find there already; the server says so too, but only in the act."""
        if self.change.verb != "insert" or not all(row.key.keys() == set(table.key) for row in rows):
            return ""
        standing = sqlpicture.standing(table)
        statement = await place.prepare(standing.text)
        for row in rows:
            if await statement.row([row.key[name] for _, name in standing.params]):
                return f"there is a row with this key already: {row.key}"
        return ""

    async def _found(self, place: Place, derived: sqlpicture.Derived) -> list[Row]:
        """The rows of a statement that is derived from the change."""
        statement = (await place.prepare(derived.text)).named(name for _, name in derived.columns)
        args = [*self.args, self.bound.most + 1] if derived.limited else self.args
        return [as_row(place, derived, values) for values in await statement.rows(args)]

    async def _judged(self, place: Place, standing: Standing) -> Table:
        """The table as it is now, which has nothing against the change. ConnectorError."""
        table = await facts(place, standing)
        if problem := objection(self.change, table, restores=self.restores):
            raise place.error(problem)
        await check_rights(place, self.change, table, restores=self.restores)
        return table

    def _objection(self, rows: Sequence[Row]) -> str:
        """Why these rows may not be changed: too many, too few, or nothing would be different."""
        if problem := self.bound.broken_by(len(rows), "would change"):
            return problem
        idle = self.change.verb == "update" and not self.change.varying
        if not rows or (idle and all(same(row.before, row.after) for row in rows)):
            return "it would change no row"
        return ""

    def _shown(self, rows: Sequence[Row], table: Table, standing: Standing) -> Picture:
        text = told(self.change, table, standing, self.bound.counted(len(rows)))
        return Picture(len(rows), text, tuple(row.shown for row in rows))

    def _way_back(self, table: Table, standing: Standing, rows: Sequence[Row]) -> dict[str, Any]:
        """All that postgres.restore needs. types: by which it sees that the table was altered since."""
        named = {*table.key, *(name for row in rows for name in (*row.before, *row.after))}
        return {
            "sql": self.sql,
            "table": self.change.table,
            "relation": {"name": str(standing), "oid": standing.oid},
            "key": list(table.key),
            "types": {name: table.columns[name].type for name in sorted(named)},
            "rows": [row.shown for row in rows],
        }


def wanted(call: Call, settings: PostgresSettings) -> Wanted:
    """What a call asks for. ConnectorError where it may not be asked."""
    text, args = call.args.get("sql"), call.args.get("args", [])
    if not isinstance(text, str) or not isinstance(args, list):
        raise ConnectorError(call.connection, "sql must be a text, and args a list")
    found = judged_text(call.connection, text, settings)
    if found.args != len(args):
        raise ConnectorError(call.connection, f"the statement takes {found.args} values, and got {len(args)}")
    return Wanted(found, text, args, bound(call, settings.rows), restores=call.args.get("undo") == "restore")


def judged_text(name: str, text: str, settings: PostgresSettings) -> Change:
    """The statement, judged again. ConnectorError."""
    found = change(text, settings.reach)
    if isinstance(found, list):
        raise ConnectorError(name, f"{found[0].code} {found[0].problem}", remedy=found[0].remedy)
    return found


def as_row(place: Place, derived: sqlpicture.Derived, values: Iterable[Any]) -> Row:
    """A row of a derived statement, each value in its part. ConnectorError where one cannot be believed."""
    row = Row({}, {}, {})
    for (part, name), value in zip(derived.columns, values, strict=True):
        if part in DOUBTS and value:
            raise place.error(DOUBTS[part].format(name))
        if part in row.shown:
            row.shown[part][name] = value
    return row


def _other(picture: Picture, shown: Picture) -> str:
    """What is no longer as people approved it; "" where all is."""
    if picture.count != shown.count or not same(picture.rows, shown.rows):
        return "it would change other rows or other values than were approved"
    if picture.text != shown.text:
        return f"it would do something else than was approved: {picture.text}"
    return ""


def _paired(change: Change, foretold: Sequence[Row], changed: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Rows as foretold and as changed, by their key; of an INSERT, in order."""
    if change.verb == "insert":
        return list(zip(foretold, changed, strict=False))
    by_key = {_name(row.key): row for row in changed}
    return [(row, by_key[_name(row.key)]) for row in foretold if _name(row.key) in by_key]


def _differs(pairs: Sequence[tuple[Row, Row]], foretold: Sequence[Row], changed: Sequence[Row]) -> str:
    """What the change did otherwise than foretold; "" when it did just that."""
    if not len(pairs) == len(foretold) == len(changed):
        return "it changed other rows than those that were locked"
    for old, new in pairs:
        found = {**new.key, **new.after}
        for column, value in {**old.key, **old.after}.items():
            if column not in found or not same(found[column], value):
                return f"it left another {column} than was foretold"
    return ""


def _name(key: Mapping[str, Any]) -> str:
    return canonical(kept(dict(key)))
