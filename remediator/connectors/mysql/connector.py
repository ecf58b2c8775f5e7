"""A MySQL or MariaDB: statements that the config declares, read or change; sessions that idle too long."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from remediator.connectors.bound import bound
from remediator.connectors.declared import found
from remediator.connectors.mysql import sessions
from remediator.connectors.mysql.change import Change, Sending, fate
from remediator.connectors.mysql.link import BrokenError, Link, SaidNoError, linked
from remediator.connectors.mysql.sessions import KILL
from remediator.connectors.mysql.settings import LONGEST, MysqlSettings
from remediator.connectors.mysql.statement import Statement
from remediator.connectors.unoffered import Unoffered
from remediator.core.catalog import Escape, Fence, Kind, Operation, Param, Risk
from remediator.core.evidence import Picture
from remediator.core.exact import shown
from remediator.core.intention import Call
from remediator.core.messages import Refused, Result, Unknown
from remediator.errors import ConnectorError
from remediator.ports import ConnectorKind, Order

__all__ = ["EXECUTE", "KILL", "KIND", "QUERY", "Mysql", "MysqlSettings"]

AT_ONCE = 8
"""Threads: calls that wait for the server at once."""
_READING = "START TRANSACTION READ ONLY"

_PARAMS = {
    "statement": Param(
        "The name under which the connection declares it.", escape=Escape.LITERAL, required=True
    ),
    "slots": Param("Map of a value for each of its slots: `{job: '${job_id}'}`.", type="map", exact=True),
}

QUERY = Operation(
    name="mysql.query",
    kind=Kind.PROBE,
    doc="A statement that the connection declares and that only reads. `row` is the first row, or null.",
    params=_PARAMS,
    longest=LONGEST,
    reads=("rows", "row", "count"),
)
EXECUTE = Operation(
    name="mysql.execute",
    kind=Kind.ACTION,
    doc="A statement that the connection declares, in one transaction, its rows counted before COMMIT.",
    params=_PARAMS,
    risk=Risk.DESTRUCTIVE,
    fence=Fence.TRANSACTION,
    longest=LONGEST,
    previews=True,
    counts=True,
)


class Mysql(Unoffered):
    """A configured MySQL or MariaDB."""

    def __init__(self, settings: MysqlSettings) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="mysql")

    async def read(self, call: Call, *, timeout: float) -> dict[str, Any]:
        """`rows`, `row` and `count` of a declared statement."""
        try:
            statement = self._declared(call, reads=True)
            literals = statement.filled(call.args.get("slots"))
        except ValueError as error:
            raise ConnectorError(call.connection, f"not asked: {error}") from None
        async with self._asking(call, timeout) as link:
            await link.said(_READING)
            rows = (await link.prepared(statement.prepared, literals, statement.rows)).rows
        return {"rows": rows, "row": rows[0] if rows else None, "count": len(rows)}

    async def preview(self, call: Call, *, timeout: float) -> Picture:
        """What the statement's own preview shows; the sessions that would end."""
        match call.operation:
            case EXECUTE.name:
                try:
                    change = self._change(call)
                except ValueError as error:
                    raise ConnectorError(call.connection, f"never sent: {error}") from None
                if change.statement.preview is None:
                    return Picture(0, change.text)
                async with self._asking(call, timeout) as link:
                    await link.said(_READING)
                    return await change.picture(link)
            case KILL.name:
                sought = sessions.sought(call, self._settings)
                async with self._asking(call, timeout) as link:
                    return await sought.picture(link)
        return await super().preview(call, timeout=timeout)

    async def act(self, call: Call, *, order: Order, timeout: float) -> Result:
        """Change rows, or end sessions; once."""
        match call.operation:
            case EXECUTE.name:
                return await self._execute(call, order, self._within(timeout))
            case KILL.name:
                return await self._kill(call, order, timeout)
        return await super().act(call, order=order, timeout=timeout)

    async def inquire(self, call: Call, mark: dict[str, Any], *, timeout: float) -> Result | None:
        """What became of a marked transaction; one that has not come to be never will."""
        if call.operation != EXECUTE.name:
            return await super().inquire(call, mark, timeout=timeout)
        async with self._asking(call, timeout) as link:
            return await fate(link, mark)

    async def close(self) -> None:
        """Let the threads end; each has its deadline."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _execute(self, call: Call, order: Order, within: float) -> Result:
        try:
            change = self._change(call)
        except ValueError as error:
            return Refused(f"never sent: {error}")
        except ConnectorError as error:
            return Refused(f"never sent: {error.told}")
        if order.mark is None:
            return Refused("never sent: nothing would keep the mark of its transaction")
        sending = Sending(change, order)
        try:
            async with asyncio.timeout(within), linked(self._settings, self._pool) as link:
                return await sending.through(link)
        except TimeoutError:
            problem = f"not through within {within:g} s"
        except (BrokenError, SaidNoError) as error:
            problem = str(error)
        if sending.sent:
            return Unknown(f"COMMIT was sent, and then: {problem}")
        return Refused(f"never committed: {problem}")

    async def _kill(self, call: Call, order: Order, timeout: float) -> Result:
        try:
            ending = sessions.Ending(sessions.sought(call, self._settings), order)
        except ConnectorError as error:
            return Refused(f"never sent: {error.told}")
        try:
            async with asyncio.timeout(timeout), linked(self._settings, self._pool) as link:
                return await ending.through(link)
        except TimeoutError:
            problem = f"not through within {timeout:g} s"
        except (BrokenError, SaidNoError) as error:
            problem = str(error)
        except ConnectorError as error:
            problem = error.told
        if not ending.told:
            return Refused(f"never sent: {problem}")
        told = ", ".join(str(row["key"]["id"]) for row in ending.told)
        return Unknown(f"{told} told to end, and then: {problem}")

    def _declared(self, call: Call, *, reads: bool) -> Statement:
        """Raises ValueError."""
        name = call.args.get("statement")
        statement = found(self._settings.statements, name, "statement")
        if statement.reads is not reads:
            raise ValueError(f"{name} {'changes rows' if reads else 'only reads'}")
        return statement

    def _change(self, call: Call) -> Change:
        """Raises ValueError; ConnectorError for more rows than the statement may change."""
        statement = self._declared(call, reads=False)
        limit = bound(call, statement.rows)
        literals = statement.filled(call.args.get("slots"))
        return Change(statement, literals, limit, self._settings.marks, shown(call.args.get("slots") or {}))

    @contextlib.asynccontextmanager
    async def _asking(self, call: Call, timeout: float) -> AsyncIterator[Link]:
        """A connection for asking. ConnectorError."""
        within = self._within(timeout)
        try:
            async with asyncio.timeout(within), linked(self._settings, self._pool) as link:
                yield link
        except TimeoutError:
            raise ConnectorError(call.connection, f"no answer within {within:g} s") from None
        except BrokenError as error:
            raise ConnectorError(call.connection, str(error), remedy="is its url right?") from None
        except SaidNoError as error:
            raise ConnectorError(call.connection, f"answered with an error: {error}") from None

    def _within(self, timeout: float) -> float:
        return min(timeout, self._settings.timeout.total_seconds() + 1)


KIND = ConnectorKind(
    name="mysql",
    doc="A MySQL or MariaDB database, by PyMySQL.",
    operations=(QUERY, EXECUTE, KILL),
    settings=MysqlSettings,
    make=Mysql,
    needs="pymysql",
    judges={KILL.name: sessions.sought},
)
