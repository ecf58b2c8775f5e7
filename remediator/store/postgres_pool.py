"""Connections to the PostgreSQL store: a few, made when needed, none trusted after a failure.

Nothing here waits for ever: a cut cable shows within `ANSWER_S`, and a server that freezes a daemon's
transaction ends it itself, so that what it had locked is free before its lease is over.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from remediator.errors import RemediatorError, StoreError

ANSWER_S = 5.0
"""How long a question may take, its wait for a lock included."""

TURN_S = 10.0
"""How long to wait for a free connection."""

AT_ONCE = 12
"""Connections for transactions and reads together; one more listens for news."""

NAME = "remediator"
MAY_LOSE = "may_lose_data"

_SESSION = """
SET search_path = remediator, pg_catalog, pg_temp; SET timezone = 'UTC'; SET client_min_messages = error;
SET enable_seqscan = off; SET jit = off; SET plan_cache_mode = force_generic_plan;
SET statement_timeout = 4500; SET lock_timeout = 4000; SET idle_in_transaction_session_timeout = 5000;
SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3
"""
# Plans are made once, and the tables may be small then: so indices are always taken.

_SURE = """
SELECT set_config('synchronous_commit', 'on', false)
 WHERE current_setting('synchronous_commit') <> 'remote_apply'
"""
"""What was confirmed is on the disk, whatever the server is set to meanwhile."""

_REMEDIES = {
    "53100": "free some space on its disk",
    "53300": "let it take more connections (max_connections)",
    "53": "is the server short of memory or disk?",
    "28": "are login and password right?",
    "3D": "create the database, or name the right one",
    "42501": "run `remediator db migrate` as the schema's owner, and grant what docs/postgresql.md names",
    "42": "run `remediator db migrate` as the schema's owner",
    "25006": "name the primary, not a standby",
    "57P03": "it is starting or stopping; it is asked again by itself",
    "57": "is the server stopping?",
    "58": "check its disk",
    "XX": "check its disk; put a backup in its place",
}
_POOLER = "connect to the server itself, or set the pooler to session mode"


class Unanswered(Exception):
    """The connection is gone or silent: what became of the last statement is not known."""


class Address:
    """The ``store:`` URL. Never shown whole: it may hold a password."""

    def __init__(self, url: str) -> None:
        """Raises StoreError without repeating it."""
        try:
            parts = urlsplit(url)
            self.shown = f"postgresql://{parts.hostname or 'localhost'}:{parts.port or 5432}{parts.path}"
        except ValueError:
            raise StoreError(
                "store", "not the address of a PostgreSQL database",
                remedy="write postgresql://login:password@host:5432/database",
            ) from None  # fmt: skip
        query = dict(parse_qsl(parts.query))
        self.may_lose = query.pop(MAY_LOSE, "") == "yes"
        self.dsn = parts._replace(query=urlencode(query)).geturl()


class Pool:
    """Connections, lent one by one."""

    def __init__(self, address: Address, connection: Any = None) -> None:
        """``connection``: the class of its connections; tests make one that fails.

        ``greet``, once it is set, is called with each new one before it is lent.
        """
        self.address = address
        self._class = connection
        self.greet: Callable[[Any], Awaitable[None]] = _let_in
        self._idle: list[Any] = []
        self._trust = object()  # another one since something was wrong with the way to the server
        self._turns = asyncio.Semaphore(AT_ONCE)

    @contextlib.asynccontextmanager
    async def lent(self, begin: str) -> AsyncIterator[Any]:
        """A connection on which this statement was done. Used again if its transaction has had its end."""
        try:
            async with asyncio.timeout(TURN_S):
                await self._turns.acquire()
        except TimeoutError:
            raise StoreError(self.address.shown, "is too busy", remedy="is the server slow?") from None
        try:
            connection, trust = await self._begun(begin), self._trust
            try:
                yield connection
            finally:
                if trust is not self._trust or connection.is_closed() or connection.is_in_transaction():
                    _end(connection)
                else:
                    self._idle.append(connection)
        finally:
            self._turns.release()

    async def _begun(self, begin: str) -> Any:
        """One that waited may have been cut meanwhile: nothing was done on it yet, so another is tried."""
        while self._idle:
            connection = self._idle.pop()
            with contextlib.suppress(*broken()):
                await self._told(connection, begin)
                return connection
            self.forget()
        connection = await self.dial()
        try:
            await self.greet(connection)
            await self._told(connection, begin)
        except BaseException as error:
            _end(connection)
            if isinstance(error, errors()):
                raise self.explain(error) from error
            raise
        return connection

    async def _told(self, connection: Any, statement: str) -> None:
        try:
            await connection.execute(statement)
        except BaseException as error:
            _end(connection)
            if isinstance(error, errors()) and not isinstance(error, broken()):
                raise self.explain(error) from error
            raise

    async def dial(self) -> Any:
        """A new connection, set up. Raises StoreError with a remedy."""
        import asyncpg

        try:
            async with asyncio.timeout(ANSWER_S):
                connection = await asyncpg.connect(
                    self.address.dsn,
                    timeout=ANSWER_S,
                    command_timeout=ANSWER_S,
                    connection_class=self._class or asyncpg.Connection,
                    target_session_attrs="read-write",
                    server_settings={"application_name": NAME},
                )
            try:
                await connection.execute(_SESSION if self.address.may_lose else f"{_SESSION};{_SURE}")
            except BaseException:
                _end(connection)
                raise
        except errors() as error:
            raise self.explain(error) from None
        except ValueError:  # which may quote the address
            raise StoreError("store", "the address cannot be used", remedy="try it with psql") from None
        return connection

    def forget(self) -> None:
        """Something is wrong with the server or the way to it: no connection is used again."""
        self._trust = object()
        idle, self._idle = self._idle, []
        for connection in idle:
            _end(connection)

    def explain(self, error: BaseException) -> RemediatorError:
        """What the server or the network says, with a remedy, without address and login."""
        import asyncpg

        place = self.address.shown
        match error:
            case RemediatorError():
                return error
            case TimeoutError():
                return StoreError(
                    place, f"no answer within {ANSWER_S:g} s", remedy="is it up, and the way to it?"
                )
            case asyncpg.TargetServerAttributeNotMatched():
                return StoreError(place, "is read-only, or a standby", remedy="name the primary")
            case asyncpg.PostgresError() if error.sqlstate is not None:
                said = str(error.args[0]) if error.args else ""
                if "unsupported startup parameter" in said or error.sqlstate in ("26000", "42P05"):
                    return pooler(place)
                state = str(error.sqlstate)
                remedy = next((_REMEDIES[one] for one in (state, state[:2]) if one in _REMEDIES), "")
                return StoreError(place, f"{said[:300]} ({state})", remedy=remedy)
            case OSError() if error.strerror:
                return StoreError(
                    place, f"cannot be reached: {error.strerror}", remedy="is it up, and its address right?"
                )
        return StoreError(place, "the connection was lost", remedy="is it up, and the way to it?")

    def close(self) -> None:
        """At once."""
        self.forget()


async def _let_in(_connection: Any) -> None:
    """Nobody wants to know who answers."""


def pooler(place: str) -> StoreError:
    """What stands between us and the server gives our sessions away."""
    return StoreError(place, "there is a pooler in transaction mode before it", remedy=_POOLER)


def broken() -> tuple[type[BaseException], ...]:
    """What is raised on a connection that is gone."""
    import asyncpg

    return (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError,
            asyncpg.AdminShutdownError, asyncpg.CrashShutdownError,
            asyncpg.IdleInTransactionSessionTimeoutError, OSError)  # fmt: skip


def errors() -> tuple[type[BaseException], ...]:
    """All that a server or the way to it can raise."""
    import asyncpg

    return (asyncpg.PostgresError, *broken(), TimeoutError)


def _end(connection: Any) -> None:
    with contextlib.suppress(Exception):  # it is gone already
        connection.terminate()
