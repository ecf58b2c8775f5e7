"""Reading PostgreSQL: one probe, a SELECT with bind arguments inside a read-only transaction.

Three fences stand one behind the other: the statement must be one SELECT of listed tables by pure
functions (`core.sql`, judged again here); the transaction is READ ONLY; and it is always rolled back.
What the connection's login may read is a fourth, and the database's own affair.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from remediator.connectors.postgres import names
from remediator.connectors.postgres.rows import Place
from remediator.connectors.postgres.settings import LONGEST
from remediator.core.catalog import Escape, Kind, Operation, Param, Reach
from remediator.core.intention import Call
from remediator.core.sql import reading as sql
from remediator.errors import ConnectorError

QUERY = Operation(
    name="postgres.query",
    kind=Kind.PROBE,
    doc="One SELECT in a read-only transaction. `row` is the first row, or null.",
    params={
        "sql": Param(
            "One SELECT with $1, $2 … for its values.", type="select", escape=Escape.LITERAL, required=True
        ),
        "args": Param(
            "The values, in order; each as the parameter's type takes it.", type="list", exact=True
        ),
    },
    longest=LONGEST + timedelta(seconds=15),
    reads=("rows", "row", "count"),
)


def query(call: Call, reach: Reach) -> sql.Query:
    """The SELECT of a call, judged again. ConnectorError."""
    text, args = call.args.get("sql"), call.args.get("args", [])
    if not isinstance(text, str) or not isinstance(args, list):
        raise ConnectorError(call.connection, "not asked: sql must be a text, and args a list")
    found = sql.read(text, reach)
    if isinstance(found, list):
        raise ConnectorError(
            call.connection, f"not asked: {found[0].code} {found[0].problem}", remedy=found[0].remedy
        )
    if found.args != len(args):
        raise ConnectorError(
            call.connection, f"not asked: the statement takes {found.args} values, and got {len(args)}"
        )
    return found


async def answer(place: Place, asked: sql.Query, args: list[Any]) -> dict[str, Any]:
    """`rows`, `row` and `count`. ConnectorError."""
    statement = await place.prepare(await names.query(place, asked))
    for number, name in enumerate(statement.names):
        if name in statement.names[:number]:
            raise place.error(f"not asked: there are two columns {name!r}", "name one of them with AS")
    rows = [dict(zip(statement.names, row, strict=True)) for row in await statement.rows(args)]
    return {"rows": rows, "row": rows[0] if rows else None, "count": len(rows)}
