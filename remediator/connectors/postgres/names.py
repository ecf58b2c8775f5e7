"""Where a statement's tables and functions stand: looked up once, by the login's own search_path.

Afterwards they are named with their schema, and nothing is searched for anywhere but in `pg_catalog`
(see `link`): an operator, a function or a table that somebody else puts on the login's search_path is
never ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from remediator.connectors.postgres.rows import Place
from remediator.core.sql.change import Change, placed
from remediator.core.sql.reading import Query
from remediator.core.sql.spelling import quoted
from remediator.core.sql.tree import Fault
from remediator.errors import ConnectorError

_TABLES = """
    SELECT written, found.*, (SELECT array_agg(attname::text) FROM pg_attribute
        WHERE attrelid = found.oid AND NOT attisdropped) AS columns
    FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (written, given, bare)
    CROSS JOIN LATERAL (
        SELECT nspname::text AS schema, relname::text AS bare, c.oid
        FROM unnest(CASE given WHEN '' THEN current_setting('remediator.path')::text[] ELSE ARRAY[given] END)
            WITH ORDINALITY AS path (name, place)
        JOIN pg_namespace n ON n.nspname = path.name
        JOIN pg_class c ON relnamespace = n.oid AND relname = asked.bare
        ORDER BY place LIMIT 1
    ) found
"""
_FUNCTIONS = """
    SELECT written, found.* FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (written, given, bare)
    CROSS JOIN LATERAL (
        SELECT nspname::text AS schema, count(DISTINCT proowner) AS owners
        FROM unnest(CASE given WHEN '' THEN current_setting('remediator.path')::text[] ELSE ARRAY[given] END)
            WITH ORDINALITY AS path (name, place)
        JOIN pg_namespace n ON n.nspname = path.name
        JOIN pg_proc ON pronamespace = n.oid AND proname = asked.bare
        GROUP BY place, nspname ORDER BY place LIMIT 1
    ) found
"""

_Found = TypeVar("_Found", str, Change)


@dataclass(frozen=True)
class Standing:
    """A table of the database. columns: by name, the system's own among them."""

    schema: str
    bare: str
    oid: int
    columns: frozenset[str]

    def __str__(self) -> str:
        return f"{self.schema}.{self.bare}"

    @property
    def name(self) -> str:
        """Quoted, safe to insert into SQL."""
        return f"{quoted(self.schema)}.{quoted(self.bare)}"


async def standing(place: Place, tables: Iterable[str]) -> dict[str, Standing]:
    """Table as written → where it stands. ConnectorError where there is none."""
    asked = sorted(set(tables))
    records = await _asked(place, _TABLES, asked)
    found = {
        one["written"]: Standing(one["schema"], one["bare"], one["oid"], frozenset(one["columns"] or ()))
        for one in records
    }
    for table in asked:
        if table not in found:
            raise place.error(f"there is no table {table!r}", "is its schema in the login's search_path?")
    return found


async def query(place: Place, asked: Query) -> str:
    """The text of a SELECT as it is sent. ConnectorError, also where a name behind a dot is no column."""
    tables = await standing(place, asked.tables.values())
    for table, names in asked.dotted.items():
        if strangers := sorted(names - tables[table].columns):
            raise place.error(f"{table} has no column {strangers[0]!r}", "is it a function?")
    functions = await _functions(place, asked.listed.values())
    schemas = {name: one.schema for name, one in tables.items()}
    return _proved(place, asked.text(schemas, functions))


async def change(place: Place, wanted: Change) -> tuple[Change, Standing]:
    """The change as it is sent, and its table. ConnectorError."""
    found = (await standing(place, [wanted.table]))[wanted.table]
    return _proved(place, placed(wanted, found.schema)), found


async def _functions(place: Place, names: Iterable[str]) -> dict[str, str]:
    """Listed function as written → its schema. ConnectorError where somebody else may have overloaded it."""
    asked = sorted(set(names))
    found: Mapping[str, Any] = {one["written"]: one for one in await _asked(place, _FUNCTIONS, asked)}
    for name in asked:
        if name not in found:
            remedy = "is its schema in the login's search_path? List it as schema.function"
            raise place.error(f"there is no function {name}()", remedy)
        if found[name]["owners"] > 1:
            problem = (
                f"there are functions {found[name]['schema']}.{name.rpartition('.')[2]}() of several owners"
            )
            raise place.error(problem, "keep it in a schema where only its owner may create anything")
    return {name: one["schema"] for name, one in found.items()}


async def _asked(place: Place, text: str, names: list[str]) -> list[Any]:
    """Names as the config writes them, looked up in one go."""
    if not names:
        return []
    parts = [name.split(".")[-2:] for name in names]
    schemas = [part[0] if len(part) > 1 else "" for part in parts]
    records: list[Any] = await place.database.fetch(text, names, schemas, [part[-1] for part in parts])
    return records


def _proved(place: Place, found: _Found | Fault) -> _Found:
    if isinstance(found, Fault):
        raise ConnectorError(place.name, f"{found.code} {found.problem}", remedy=found.remedy)
    return found
