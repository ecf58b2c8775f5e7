"""The fence of a change: it is marked before it becomes final, and the mark tells afterwards whether it did.

The mark is the transaction's own number, journalled before COMMIT. What fails before COMMIT is sent is
certain not to have happened; from then until its answer it is unknown, and `inquire` asks the server what
became of the number. The number is flushed to the server's disk before it is marked: a server that
crashes would otherwise give it to somebody else's transaction, whose fate would pass for ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from remediator.connectors.postgres.link import CHANGING, PLAINLY, READING, Link, plainly, said
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.errors import ConnectorError
from remediator.ports import Order

_FIT = """
    SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only') = 'on' AS read_only,
        current_setting('synchronous_commit') = 'off' AS forgetful
"""
_STANDING = """
    SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system,
        substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) AS timeline,
        pg_current_wal_insert_lsn()::text AS lsn
"""
_NUMBER = "SELECT pg_current_xact_id()::text"
_FLUSH = f"BEGIN; {PLAINLY}; SELECT pg_logical_emit_message(true, 'remediator', ''); COMMIT"
_FLUSHED = "SELECT pg_current_wal_flush_lsn() >= $1::text::pg_lsn"
_FATE = "SELECT pg_xact_status($1::text::xid8)"
_FORWARD = "SELECT pg_current_wal_insert_lsn() >= $1::text::pg_lsn"
MARKED = 5.0
"""Seconds for the mark to be kept: all the while the rows are locked."""
COMMITTED = 10.0
"""Seconds for COMMIT to be answered: then it is unknown, and asked about."""
_CERTAIN = ("23", "40001", "40002", "40P01")
"""Errors, or their class, with which the server answers a COMMIT that it rolled back. 40003 is none: it says
that nobody knows."""

Work = Callable[[Any], Awaitable[Done | Refused]]
"""What is done inside the transaction, given its connection. May raise ConnectorError: then it is refused."""


async def act(name: str, link: Link, work: Work, *, order: Order, timeout: float) -> Result:
    """Do the work in one transaction, mark it, and commit. ``link`` needs two connections."""
    if order.mark is None:
        return Refused("never sent: nothing would keep the mark of its transaction")
    final = _Final(link, work, order.mark)
    try:
        async with asyncio.timeout(timeout), link.pairs:
            return await final.act(name)
    except TimeoutError:
        problem = f"not through within {min(timeout, COMMITTED) if final.sent else timeout:g} s"
    except ConnectorError as error:
        problem = error.told
    if final.sent:
        return Unknown(f"COMMIT was sent, and then: {problem}")
    return Refused(f"never committed: {problem}")


class _Final:
    """One transaction that may become final."""

    def __init__(self, link: Link, work: Work, mark: Callable[[dict[str, Any]], Awaitable[str]]) -> None:
        self._link = link
        self._work = work
        self._mark = mark
        self.sent = False

    async def act(self, name: str) -> Result:
        async with self._link.connection(name) as beside, self._link.transaction(name, CHANGING) as database:
            if reason := await unfit(database):
                return Refused(f"never sent: {reason}")
            done = await self._work(database)
            if isinstance(done, Refused):
                return done
            mark = {"result": done.result, "left": done.left, "xid": await database.fetchval(_NUMBER)}
            mark.update(await database.fetchrow(_STANDING))
            await _flush(name, beside, mark["lsn"])
            if reason := await self._marked(mark):
                return Refused(f"never committed: {reason}")
            return await self._commit(database) or done

    async def _marked(self, mark: dict[str, Any]) -> str:
        try:
            async with asyncio.timeout(MARKED):
                return await self._mark(mark)
        except TimeoutError:
            return f"its mark was not kept within {MARKED:g} s"

    async def _commit(self, database: Any) -> Refused | None:
        import asyncpg

        if database.is_closed():
            return Refused("never committed: the connection was lost")
        self.sent = True
        try:
            async with asyncio.timeout(COMMITTED):
                answer = await database.execute("COMMIT")
        except asyncpg.PostgresError as error:
            if str(error.sqlstate).startswith(_CERTAIN):
                return Refused(f"rolled back at its end ({error.sqlstate}): {said(error)}")
            raise
        return None if answer == "COMMIT" else Refused("rolled back at its end")


async def unfit(database: Any, *, keeps: bool = True) -> str:
    """Why nothing may be changed on this server; "" when it may. ``keeps``: it must survive a crash."""
    standing = await database.fetchrow(_FIT)
    if standing["standby"]:
        return "the server is a standby"
    if standing["read_only"]:
        return "the server is read-only"
    if keeps and standing["forgetful"]:
        return "synchronous_commit is off: what is committed could be lost"
    return ""


async def _flush(name: str, beside: Any, lsn: str) -> None:
    """Whatever was written up to here must survive a crash: a commit beside it takes it to the disk."""
    await beside.execute(_FLUSH)
    async with plainly(beside):
        if not await beside.fetchval(_FLUSHED, lsn):
            raise ConnectorError(name, "the server does not write its log to disk")


async def inquire(name: str, link: Link, mark: dict[str, Any], *, timeout: float) -> Result | None:
    """What became of a marked transaction. None while it is under way; raises ConnectorError."""
    parts = [mark.get(key) for key in ("xid", "system", "timeline", "lsn")]
    if not all(isinstance(part, str) for part in parts):
        return Unknown("its mark cannot be read")
    try:
        async with asyncio.timeout(timeout), link.transaction(name, READING) as database:
            return await _fate(name, database, mark)
    except TimeoutError:
        raise ConnectorError(name, f"no answer within {timeout:g} s") from None


async def _fate(name: str, database: Any, mark: dict[str, Any]) -> Result | None:
    import asyncpg

    if await database.fetchval("SELECT pg_is_in_recovery()"):
        raise ConnectorError(name, "the server is a standby", remedy="is there a new primary?")
    here = await database.fetchrow(_STANDING)
    if here["system"] != mark["system"]:
        return Unknown("this is another server than the one that was changed")
    if here["timeline"] != mark["timeline"]:
        return Unknown("the server failed over since, and may have lost it")
    if not await database.fetchval(_FORWARD, mark["lsn"]):
        return Unknown("the server was set back to an earlier state")
    try:
        fate = await database.fetchval(_FATE, mark["xid"])
    except asyncpg.InvalidParameterValueError:  # it is yet to come
        return Unknown("the server was set back to an earlier state")
    match fate:
        case "committed":
            return Done(mark.get("result") or {}, mark.get("left") or "")
        case "aborted":
            return Refused("rolled back")
        case "in progress":
            return None
    return Unknown("it is so long ago that the server does not know it any more")
