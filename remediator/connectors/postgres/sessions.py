"""postgres.terminate: ends sessions that sit in a transaction, or have been at work, for too long.

Only sessions of other logins' clients in this very database, never our own, a superuser's or one that
replicates. Those that people saw are ended, known by their number and their birth: a number that was given
to somebody else since is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from remediator.connectors.bound import Bound, bound
from remediator.connectors.postgres.link import OURS, Link, plainly
from remediator.connectors.postgres.settings import PostgresSettings
from remediator.core.catalog import Escape, Holds, Kind, Operation, Param, Risk
from remediator.core.durations import parse_duration
from remediator.core.evidence import Picture
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.errors import ConnectorError
from remediator.ports import Order

STATES = ("idle in transaction", "active")
KINDS = (
    *("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "COPY", "CALL", "DO", "LOCK", "SET", "SHOW"),
    *(
        "BEGIN",
        "START",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT",
        "DECLARE",
        "FETCH",
        "EXPLAIN",
        "ANALYZE",
        "VACUUM",
    ),
    *("REINDEX", "CREATE", "ALTER", "DROP", "TRUNCATE"),
)
"""First words that tell what kind of statement somebody else's is. The rest of it may hold what is hidden."""
ENDED_WITHIN = 5.0
"""Seconds in which a session that was told to end must have ended."""

TERMINATE = Operation(
    name="postgres.terminate",
    kind=Kind.ACTION,
    doc="End sessions of this database that sit in a transaction, or have been at work, for too long.",
    params={
        "state": Param(
            "`idle in transaction`, or `active`.", escape=Escape.LITERAL, required=True, choices=STATES
        ),
        "longer_than": Param(
            "For how long already, such as 10m.", escape=Escape.LITERAL, required=True, holds=Holds.LONGER
        ),
        "user": Param("Only sessions of this login.", escape=Escape.LITERAL, holds=Holds.THERE),
        "application": Param(
            "Only sessions with this application_name.", escape=Escape.LITERAL, holds=Holds.THERE
        ),
    },
    risk=Risk.DISRUPTIVE,
    settle=timedelta(seconds=ENDED_WITHIN),
    longest=timedelta(seconds=30),
    previews=True,
    counts=True,
)

_FOUND = r"""
    SELECT s.pid, to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS backend_start,
        usename::text AS user, application_name AS application, state,
        to_char(since.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since,
        upper(substring(query FROM '^\s*([A-Za-z]+)')) AS word,
        pg_has_role(usesysid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE') AS allowed
    FROM pg_catalog.pg_stat_activity s JOIN pg_catalog.pg_roles r ON r.oid = usesysid,
        LATERAL (SELECT CASE state WHEN 'active' THEN query_start ELSE state_change END AS at) since
    WHERE datname = current_database() AND backend_type = 'client backend' AND s.pid <> pg_backend_pid()
        AND NOT (application_name = $1 AND usename = session_user) AND NOT rolsuper AND NOT rolreplication
        AND (state = $2 OR state = $2 || ' (aborted)') AND since.at < clock_timestamp() - $3::text::interval
        AND ($4::text IS NULL OR usename = $4::text) AND ($5::text IS NULL OR application_name = $5::text)
    ORDER BY since.at, s.pid
"""
_HIDDEN = """
    SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity
        WHERE datname = current_database() AND query = '<insufficient privilege>')
"""
_END = """
    SELECT count(*) FILTER (WHERE pg_terminate_backend(s.pid)) FROM pg_catalog.pg_stat_activity s
    JOIN unnest($1::int[], $2::text[]) AS told (pid, born)
        ON told.pid = s.pid AND told.born::timestamptz = s.backend_start
"""
_LEFT = """
    SELECT array_agg(s.pid) FROM pg_catalog.pg_stat_activity s
    JOIN unnest($1::int[], $2::text[]) AS told (pid, born)
        ON told.pid = s.pid AND told.born::timestamptz = s.backend_start
"""


@dataclass(frozen=True)
class Sought:
    """A call of postgres.terminate, judged again."""

    name: str
    state: str
    longer_than: timedelta
    user: str | None
    application: str | None
    bound: Bound

    async def picture(self, link: Link) -> Picture:
        """The sessions that it would end. ConnectorError, also for what would be refused."""
        async with link.connection(self.name) as database:
            rows = await self._found(database)
        if problem := self.bound.broken_by(len(rows), "would end"):
            raise ConnectorError(self.name, problem)
        return Picture(len(rows), f"ends {self.bound.counted(len(rows))}", tuple(rows))

    async def ended(self, link: Link, *, order: Order, timeout: float) -> Result:
        """End those that people saw and that are still so."""
        told: list[dict[str, Any]] | None = None  # once it was sent
        try:
            async with asyncio.timeout(timeout), link.connection(self.name) as database:
                rows = await self._found(database)
                gone = []
                if order.shown is not None:
                    seen = [row.get("key") for row in order.shown.rows]
                    rows = [row for row in rows if row["key"] in seen]
                    gone = [key for key in seen if key not in [row["key"] for row in rows]]
                if problem := self.bound.broken_by(len(rows), "would end"):
                    return Refused(f"never sent: {problem}")
                told = rows
                async with plainly(database):
                    await database.fetchval(_END, *_known(rows))
                left = await _left(database, rows)
        except TimeoutError:
            problem = f"not through within {timeout:g} s"
        except ConnectorError as error:
            problem = error.told
        else:
            if left:
                return Unknown(f"told to end, and still there: {', '.join(f'pid {pid}' for pid in left)}")
            return Done({"rows": len(rows), "ended": [_flat(row) for row in rows], "gone": gone})
        return Refused(f"never sent: {problem}") if told is None else Unknown(f"sent, and then: {problem}")

    async def _found(self, database: Any) -> list[dict[str, Any]]:
        """Those that are as sought now, as rows of a picture. ConnectorError where some cannot be judged."""
        longer = f"{self.longer_than.total_seconds()} seconds"
        async with plainly(database):
            if await database.fetchval(_HIDDEN):
                raise ConnectorError(
                    self.name, "it may not see what others do", remedy="GRANT pg_read_all_stats TO its login"
                )
            found = await database.fetch(_FOUND, OURS, self.state, longer, self.user, self.application)
        for row in found:
            if not row["allowed"]:
                raise ConnectorError(
                    self.name,
                    f"it may not end sessions of {row['user']}",
                    remedy="GRANT pg_signal_backend TO its login",
                )
        about = ("user", "application", "state", "since")
        return [
            {
                "key": {"pid": row["pid"], "backend_start": row["backend_start"]},
                "before": {**{name: row[name] for name in about}, "statement": _kind(row["word"])},
                "after": {},
            }
            for row in found
        ]


def sought(call: Call, settings: PostgresSettings) -> Sought:
    """What a call asks for. ConnectorError where it may not be asked."""
    given = {name: call.args.get(name) for name in ("state", "longer_than", "user", "application")}
    if given["state"] not in STATES or not isinstance(given["longer_than"], str):
        raise ConnectorError(call.connection, f"state must be one of {', '.join(STATES)}, longer_than a text")
    if not all(isinstance(given[name], str | None) for name in ("user", "application")):
        raise ConnectorError(call.connection, "user and application must be texts")
    try:
        longer = parse_duration(given["longer_than"])
    except ValueError as error:
        raise ConnectorError(call.connection, f"longer_than: {error}") from None
    if longer <= timedelta(0):
        raise ConnectorError(call.connection, "longer_than must be a time, such as 10m")
    limit = bound(call, settings.rows, "session")
    return Sought(call.connection, given["state"], longer, given["user"], given["application"], limit)


async def _left(database: Any, rows: Sequence[dict[str, Any]]) -> list[int]:
    """Which of them have not ended in time."""
    pause = 0.02
    left: list[int] = []
    for _ in range(round(ENDED_WITHIN / pause)):
        async with plainly(database):
            left = await database.fetchval(_LEFT, *_known(rows)) or []
        if not left:
            break
        await asyncio.sleep(pause)
    return left


def _kind(word: str | None) -> str:
    return word if word in KINDS else "other"


def _known(rows: Sequence[dict[str, Any]]) -> tuple[list[int], list[str]]:
    return [row["key"]["pid"] for row in rows], [row["key"]["backend_start"] for row in rows]


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {**row["key"], **row["before"]}
