"""One statement and its rows: bound by the prepared parameters' types, read in pieces, within limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from remediator.connectors.postgres import values
from remediator.connectors.postgres.settings import PostgresSettings
from remediator.errors import ConnectorError

AT_A_TIME = 50
"""Rows that are fetched together, before they are counted and weighed."""

_KINDS_OF = """
    WITH RECURSIVE down AS (
        SELECT oid AS asked, oid, '' AS behind FROM pg_catalog.pg_type WHERE oid = ANY ($1::oid[])
        UNION ALL
        SELECT down.asked, next.oid, behind || CASE WHEN one.typtype = 'd' THEN '' ELSE '[]' END
        FROM down JOIN pg_catalog.pg_type one ON one.oid = down.oid
        JOIN pg_catalog.pg_type next
            ON next.oid = CASE WHEN one.typtype = 'd' THEN one.typbasetype ELSE one.typelem END
        WHERE one.typtype = 'd' OR next.typarray = one.oid
    )
    SELECT asked, behind, typname::text AS name, typtype::text AS sort,
        typnamespace = 'pg_catalog'::regnamespace AS built_in
    FROM down JOIN pg_catalog.pg_type one USING (oid)
    WHERE typtype <> 'd' AND NOT EXISTS (SELECT FROM pg_catalog.pg_type WHERE typarray = one.oid)
"""
"""What a type comes down to: through domains to their base, through arrays to their elements."""


_UNKNOWN = "?"


@dataclass(frozen=True)
class Place:
    """Where statements are sent: a connection of this name, inside a transaction.

    probing: nothing that is read here is compared or written back, so JSON null may pass for NULL.
    """

    name: str
    settings: PostgresSettings
    database: Any
    probing: bool = field(default=False, kw_only=True)

    def error(self, problem: str, remedy: str = "") -> ConnectorError:
        """What is wrong here."""
        return ConnectorError(self.name, problem, remedy=remedy)

    async def read(self, text: str) -> None:
        """Let the server read a statement that is not sent yet; what that locks is let go at once."""
        await self.database.execute("SAVEPOINT reading")
        await self.database.prepare(text, name="")
        await self.database.execute("ROLLBACK TO SAVEPOINT reading")

    async def prepare(self, text: str) -> Statement:
        """Let the server read a statement; ConnectorError where it takes or gives what has no plain value."""
        prepared = await self.database.prepare(text, name="")
        columns, takes = prepared.get_attributes(), prepared.get_parameters()
        types = {one.oid: one for one in (*(column.type for column in columns), *takes)}
        kinds = {oid: one.name for oid, one in types.items()}
        if odd := [oid for oid, one in types.items() if one.schema != "pg_catalog"]:
            kinds.update(await kinds_of(self.database, odd))
        for column in columns:
            kind = kinds[column.type.oid]
            if not values.known(kind):
                raise self.error(
                    f"column {column.name!r} is of type {column.type.name}, not a plain one",
                    f"cast it: {column.name}::text",
                )
        named = tuple(column.name for column in columns)
        gives = tuple(kinds[column.type.oid] for column in columns)
        return Statement(self, prepared, named, gives, tuple((one.name, kinds[one.oid]) for one in takes))


@dataclass(frozen=True)
class Statement:
    """A prepared statement. names, gives: of its columns; takes: the types of its values, named and known."""

    place: Place
    prepared: Any
    names: tuple[str, ...]
    gives: tuple[str, ...]
    takes: tuple[tuple[str, str], ...]

    def named(self, names: Iterable[str]) -> Statement:
        """The same, by other names of its columns: the server's own may tell nothing."""
        return replace(self, names=tuple(names))

    async def rows(self, args: Sequence[Any]) -> list[list[Any]]:
        """All rows, or ConnectorError where they are more or heavier than the connection allows."""
        portal = await self.prepared.cursor(*self._encoded(args))
        rows: list[list[Any]] = []
        weight = 0
        while True:
            most = min(AT_A_TIME, self.place.settings.rows + 1 - len(rows))
            records = await portal.fetch(most)
            for record in records:
                weight += sum(map(_weight, record))
                self._check_size(len(rows) + 1, weight)
                rows.append(self._decoded(record))
            if len(records) < most:
                return rows

    async def row(self, args: Sequence[Any]) -> list[Any] | None:
        """The only row, or None."""
        records = await self.prepared.fetch(*self._encoded(args))
        assert len(records) <= 1
        return self._decoded(records[0]) if records else None

    def _encoded(self, args: Sequence[Any]) -> list[Any]:
        if len(self.takes) != len(args):
            raise self.place.error(f"the statement takes {len(self.takes)} values, and got {len(args)}")
        encoded = []
        for number, ((name, kind), value) in enumerate(zip(self.takes, args, strict=True), 1):
            try:
                encoded.append(values.encode(kind, value))
            except values.Unfit as error:
                problem = f"${number} is of type {name}, and {error}"
                raise self.place.error(problem, "is it the right value?") from None
        return encoded

    def _decoded(self, record: Any) -> list[Any]:
        return [
            self._plain(name, kind, value)
            for name, kind, value in zip(self.names, self.gives, record, strict=True)
        ]

    def _plain(self, name: str, kind: str, value: Any) -> Any:
        if not self.place.probing and values.json_null(kind, value):
            raise self.place.error(f"{name} holds JSON null, which cannot be told from NULL")
        try:
            return values.decode(kind, value)
        except values.Unfit as error:
            problem = f"column {name!r}, of type {kind}, cannot be read: {error}"
            raise self.place.error(problem, "guard it in the query") from None

    def _check_size(self, rows: int, weight: int) -> None:
        settings = self.place.settings
        if rows > settings.rows:
            raise self.place.error(
                f"more than {settings.rows} rows", "aggregate or LIMIT, or raise `rows` of the connection"
            )
        if weight > settings.bytes:
            raise self.place.error(
                f"more than {settings.bytes} bytes", "ask for less, or raise `bytes` of the connection"
            )


async def kinds_of(database: Any, oids: Sequence[int]) -> dict[int, str]:
    """Type → the name by which `values` knows its values, or one that it does not know."""
    records = await database.fetch(_KINDS_OF, list(oids))
    return dict.fromkeys(oids, _UNKNOWN) | {one["asked"]: _kind(one) + one["behind"] for one in records}


def _kind(one: Mapping[str, Any]) -> str:
    if one["sort"] == "e" or (one["name"] == "citext" and not one["built_in"]):
        return "text"
    return str(one["name"]) if one["built_in"] else _UNKNOWN


def _weight(value: Any) -> int:
    match value:
        case str():
            return len(value.encode())
        case list():
            return sum(map(_weight, value))
    return 8
