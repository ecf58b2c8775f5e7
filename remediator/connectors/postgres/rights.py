"""What the connection's login must be allowed for a change and its way back: asked before people are."""

from __future__ import annotations

from collections.abc import Iterator

from remediator.connectors.postgres.rows import Place
from remediator.core.sql.change import Change, Verb
from remediator.core.sql.table import Table

_LACKING = """
    SELECT verb, name FROM unnest($2::text[], $3::text[]) AS needed (verb, name)
    WHERE NOT CASE
        WHEN name <> '' THEN has_column_privilege($1::text, name, verb)
        WHEN verb = 'UPDATE' THEN has_any_column_privilege($1::text, verb)
        ELSE has_table_privilege($1::text, verb)
    END
"""


async def check_rights(place: Place, change: Change, table: Table, *, restores: bool) -> None:
    """ConnectorError with the GRANT that helps, where the login lacks it. ``restores``: also to undo."""
    needed = [*_needed(change.verb, change.columns)]
    if restores and change.verb != "update":
        whole = tuple(column.name for column in table.columns.values() if not column.generated)
        needed += _needed("delete" if change.verb == "insert" else "insert", whole)
    lacking = await place.database.fetch(
        _LACKING, table.name, [verb for verb, _ in needed], [name for _, name in needed]
    )
    if lacking:
        verb = lacking[0]["verb"]
        names = ", ".join(one["name"] for one in lacking if one["verb"] == verb and one["name"])
        what = f"{verb} ({names})" if names else verb
        raise place.error(
            f"its login may not {what} {change.table}, which the change{' or its undo' * restores} takes",
            f"GRANT {what} ON {change.table} TO the connection's login",
        )


def _needed(verb: Verb, columns: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """What to be allowed, and on which column; "" for the table, or for any column where rows are locked."""
    match verb:
        case "delete":
            yield from (("DELETE", ""), ("UPDATE", ""))
        case "insert" | "update":
            yield from ((verb.upper(), name) for name in columns)
