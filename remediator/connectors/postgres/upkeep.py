"""postgres.maintain: counts one declared table anew, or builds its indexes anew, beside those who use it.

Neither runs inside a transaction, nor is anything left set on the connection: what takes too long is
cancelled. A REINDEX CONCURRENTLY that fails leaves an invalid index behind, which is named.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from remediator.connectors.postgres import names
from remediator.connectors.postgres.final import unfit
from remediator.connectors.postgres.link import Link, plainly, said
from remediator.connectors.postgres.rows import Place
from remediator.connectors.postgres.settings import LONGEST_UPKEEP, PostgresSettings
from remediator.core.catalog import Escape, Holds, Kind, Operation, Param, Risk
from remediator.core.cutting import shortened
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.core.sql.spelling import quoted as identifier
from remediator.errors import ConnectorError

TASKS = ("analyze", "reindex")

MAINTAIN = Operation(
    name="postgres.maintain",
    kind=Kind.ACTION,
    doc="ANALYZE one table, or REINDEX it or one of its indexes CONCURRENTLY.",
    params={
        "task": Param("`analyze` or `reindex`.", escape=Escape.LITERAL, required=True, choices=TASKS),
        "table": Param("One of the connection's tables.", escape=Escape.LITERAL, required=True),
        "index": Param(
            "One index of the table, to build only this one anew.", escape=Escape.LITERAL, holds=Holds.THERE
        ),
    },
    risk=Risk.DISRUPTIVE,
    longest=LONGEST_UPKEEP + timedelta(minutes=2),
)

AFTERWARDS = 20.0
"""Seconds for looking at what a task left behind."""

_TABLE = """
    SELECT c.oid, c.relkind::text AS kind, n.nspname::text AS schema, c.relname::text AS name,
        pg_has_role(c.relowner, 'USAGE') OR CASE WHEN current_setting('server_version_num')::int >= 170000
            THEN has_table_privilege(c.oid, 'MAINTAIN') ELSE false END AS allowed,
        CASE WHEN current_setting('server_version_num')::int >= 170000
                THEN format('GRANT MAINTAIN ON %s TO its login', c.oid::regclass)
            WHEN rolsuper THEN 'a superuser owns it: give it to a role that is none, and grant that one'
            ELSE format('GRANT %I TO its login', rolname) END AS remedy
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_roles owner ON owner.oid = c.relowner
    WHERE c.oid = $1::oid
"""
_INDEXES = """
    SELECT c.relname::text AS name, indisvalid AS valid
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = indexrelid
    WHERE indrelid = $1::oid ORDER BY c.relname
"""


@dataclass(frozen=True)
class Upkeep:
    """A call of postgres.maintain, judged again. within: in seconds."""

    name: str
    task: str
    table: str
    index: str | None
    within: float
    settings: PostgresSettings

    async def done(self, link: Link) -> Result:
        """Do it. Never raises for what the server does."""
        sent = False
        try:
            async with link.connection(self.name) as database:
                async with asyncio.timeout(AFTERWARDS), plainly(database):
                    oid, text = await self._ready(database)
                    invalid = await _invalid(database, oid)
                sent = True
                problem = await _run(database, text, self.within)
                async with asyncio.timeout(AFTERWARDS), plainly(database):
                    left = [one for one in await _invalid(database, oid) if one not in invalid]
        except TimeoutError:
            return Unknown(f"{self.task} of {self.table}: the server does not answer any more")
        except ConnectorError as error:
            told = error.told
            return Unknown(f"sent, and then: {told}") if sent else Refused(f"never sent: {told}")
        if left:
            drop = "; ".join(f"DROP INDEX CONCURRENTLY {identifier(one)}" for one in left)
            problem = f"{problem or 'it did not finish'}. It left an invalid index: {drop}"
        if problem:
            return Refused(problem)
        return Done({"task": self.task, "table": self.table, "index": self.index})

    async def _ready(self, database: Any) -> tuple[int, str]:
        """The table, and the statement. ConnectorError."""
        if reason := await unfit(database, keeps=False):
            raise ConnectorError(self.name, reason)
        place = Place(self.name, self.settings, database)
        standing = (await names.standing(place, [self.table]))[self.table]
        table = await database.fetchrow(_TABLE, standing.oid)
        if table is None:
            raise ConnectorError(self.name, f"there is no table {self.table!r}")
        if table["kind"] != "r":
            raise ConnectorError(self.name, f"{self.table} is not a plain table")
        if not table["allowed"]:
            raise ConnectorError(
                self.name, f"only the owner of {self.table} may do that", remedy=table["remedy"]
            )
        whole = f"{identifier(table['schema'])}.{identifier(table['name'])}"
        if self.task == "analyze":
            return table["oid"], f"ANALYZE {whole}"
        if self.index is None:
            return table["oid"], f"REINDEX TABLE CONCURRENTLY {whole}"
        if self.index not in {row["name"] for row in await database.fetch(_INDEXES, table["oid"])}:
            raise ConnectorError(self.name, f"{self.table} has no index {self.index!r}")
        index = f"{identifier(table['schema'])}.{identifier(self.index)}"
        return table["oid"], f"REINDEX INDEX CONCURRENTLY {index}"


def upkeep(call: Call, settings: PostgresSettings) -> Upkeep:
    """What a call asks for. ConnectorError where it may not be asked."""
    task, table, index = (call.args.get(name) for name in ("task", "table", "index"))
    if task not in TASKS:
        raise ConnectorError(call.connection, f"task must be one of {', '.join(TASKS)}")
    if not isinstance(table, str) or table not in settings.tables:
        raise ConnectorError(call.connection, f"the connection lists no table {table!r}")
    if not isinstance(index, str | None) or (index is not None and task != "reindex"):
        raise ConnectorError(call.connection, "index must be a text, and needs task: reindex")
    return Upkeep(call.connection, task, table, index, settings.upkeep_timeout.total_seconds(), settings)


async def _run(database: Any, text: str, within: float) -> str:
    """Why it did not happen; "" when it did. What takes too long is cancelled there."""
    import asyncpg

    warnings: list[str] = []

    def hear(_database: Any, message: Any) -> None:
        if message.severity == "WARNING":
            warnings.append(shortened(str(message.message), 200))

    database.add_log_listener(hear)
    try:
        await database.execute(text, timeout=within)
    except TimeoutError:
        return f"it was cancelled: not finished within {within:g} s"
    except (asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError, asyncpg.CrashShutdownError):
        raise
    except asyncpg.PostgresError as error:
        return f"the server refused it ({error.sqlstate}): {said(error)}"
    finally:
        database.remove_log_listener(hear)
    return "; ".join(warnings)


async def _invalid(database: Any, oid: int) -> list[str]:
    return [row["name"] for row in await database.fetch(_INDEXES, oid) if not row["valid"]]
