"""The way to the server: a few connections, a transaction on one of them, and words for what breaks.

No state outlives a transaction and no statement has a name, so that a pooler in transaction mode may
stand between. Whatever breaks, nothing of it stays behind; a connection of which anything is doubtful
is thrown away.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from typing import Any

from remediator.connectors.postgres import values
from remediator.connectors.postgres.settings import PostgresSettings
from remediator.core.cutting import shortened
from remediator.errors import ConnectorError

OURS = "remediator"
"""The name under which the server knows our sessions."""
CONNECT = 5.0
"""Seconds to wait for a connection."""
IDLE = 30.0
"""Seconds after which an unused connection is closed."""

ROLLBACK = 1.0
"""Seconds to wait for the end of what was given up: it tells the server to let go of its locks at once."""

PLAINLY = "SET LOCAL search_path = pg_catalog, pg_temp"
"""Operators and functions are searched for in `pg_catalog` alone: whoever may create anything in a schema of
the login's own search_path could otherwise have his run as ours."""
_ASIDE = (
    "SELECT pg_catalog.set_config('remediator.path', pg_catalog.current_schemas(true)::pg_catalog.text, true)"
)
"""The login's own search_path, by which `names` finds what a statement names."""

READING = "BEGIN TRANSACTION READ ONLY;"
CHANGING = "BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED;"

_OWN = frozenset("08 0A 21 22 23 25 26 28 2B 34 3B 3D 3F 40 42 44 53 54 55 57 58".split())
"""Classes of errors that the server itself raises, in its own words."""
_REMEDIES = {
    "57014": "make it cheaper, or raise the connection's statement_timeout",
    "55P03": "something else holds the lock; raise the connection's lock_timeout",
    "25006": "a probe may only read",
}


class Link:
    """Connections to one database, ``at_once`` at most."""

    def __init__(self, settings: PostgresSettings, at_once: int) -> None:
        self._settings = settings
        self._at_once = at_once
        self._pool: Any = None
        self._opening = asyncio.Lock()
        self.pairs = asyncio.Semaphore(at_once // 2)
        """Held by whoever takes two connections: so nobody waits for one that never comes back."""

    def close(self) -> None:
        """Close all connections, at once."""
        if self._pool is not None:
            self._pool.terminate()

    @contextlib.asynccontextmanager
    async def transaction(self, name: str, begin: str = READING) -> AsyncIterator[Any]:
        """A connection inside a transaction, which is rolled back unless it was committed. ConnectorError."""
        async with self.connection(name) as database:
            await database.execute(begin + self._limits())
            yield database

    @contextlib.asynccontextmanager
    async def connection(self, name: str) -> AsyncIterator[Any]:
        """A connection outside any transaction; afterwards it is outside of any again. ConnectorError."""
        import asyncpg

        database = await self._acquired(name)
        whole = False
        try:
            try:
                yield database
                whole = True
            except TimeoutError:
                raise
            except _broken() as error:
                raise _cut(name, error) from None
            except asyncpg.PostgresError as error:
                whole = True
                raise refused(name, error) from None
            finally:
                await _ended(database, whole=whole)
        finally:
            await self._pool.release(database)

    def _limits(self) -> str:
        statement, lock = (
            int(limit.total_seconds() * 1000) or 1
            for limit in (self._settings.statement_timeout, self._settings.lock_timeout)
        )
        return (
            f"SET LOCAL statement_timeout = {statement}; SET LOCAL lock_timeout = {lock};"
            f"SET LOCAL idle_in_transaction_session_timeout = {statement + 10_000};"
            "SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'iso_8601';"
            f"SET LOCAL extra_float_digits = 1; {_ASIDE}; {PLAINLY}"
        )

    async def _acquired(self, name: str) -> Any:
        import asyncpg

        try:
            async with self._opening:
                if self._pool is None:
                    self._pool = await asyncpg.create_pool(
                        self._settings.dsn.get_secret_value(),
                        min_size=0,
                        max_size=self._at_once,
                        max_inactive_connection_lifetime=IDLE,
                        statement_cache_size=0,
                        timeout=CONNECT,
                        init=_text_codecs,
                        reset=_nothing,  # every transaction has its end, and sets nothing beyond itself
                        server_settings={"application_name": OURS},
                    )
            return await self._pool.acquire(timeout=CONNECT)
        except TimeoutError:
            raise ConnectorError(
                name,
                f"no connection within {CONNECT:g} s",
                remedy="is its address right, or are its queries too slow?",
            ) from None
        except asyncpg.PostgresError as error:
            raise _locked_out(name, error) from None
        except OSError as error:
            raise ConnectorError(
                name, f"cannot be reached: {_words(error)}", remedy="is its address right?"
            ) from None
        except (asyncpg.InterfaceError, ValueError):  # which may quote the address
            raise ConnectorError(
                name, "cannot be reached: its dsn cannot be used", remedy="try it with psql"
            ) from None


@contextlib.asynccontextmanager
async def plainly(database: Any) -> AsyncIterator[None]:
    """A short transaction on a bare connection, in which only `pg_catalog` is searched."""
    async with database.transaction():
        await database.execute(f"{_ASIDE}; {PLAINLY}")
        yield


def _broken() -> tuple[type[Exception], ...]:
    """What asyncpg raises on a connection that is gone; the last, where it went between two statements."""
    import asyncpg

    return asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError, asyncpg.InternalClientError


async def _ended(database: Any, *, whole: bool) -> None:
    """Roll back what is open. Only a connection that was neither cut nor given up is used again."""
    import asyncpg

    try:
        if database.is_in_transaction():
            await database.execute("ROLLBACK", timeout=ROLLBACK)
    except BaseException as error:
        whole = False
        if not isinstance(error, (asyncpg.PostgresError, *_broken())):
            raise
    finally:
        if not whole:
            with contextlib.suppress(asyncpg.InterfaceError):  # it is closed already
                database.terminate()


async def _text_codecs(database: Any) -> None:
    """A new connection: everything that asyncpg would change comes and goes as the server's own text."""
    async with plainly(database):
        for name in values.AS_TEXT:
            await database.set_type_codec(name, schema="pg_catalog", encoder=str, decoder=str, format="text")


async def _nothing(database: Any) -> None:
    del database


# ── What went wrong, without addresses and logins ───────────────────────────────────────────────


def refused(name: str, error: Any) -> ConnectorError:
    """What the server refused, and what helps."""
    told = said(error)
    remedy = _REMEDIES.get(error.sqlstate) or _grant(error.sqlstate, told)
    return ConnectorError(
        name, f"the server refused the query ({error.sqlstate}){told and ': '}{told}", remedy=remedy
    )


def said(error: Any) -> str:
    """Of the server's own answer the first line. The detail may hold rows; so may what a function raises."""
    raised = str(getattr(error, "server_source_filename", None) or "").startswith("pl")
    if raised or str(error.sqlstate)[:2] not in _OWN:
        return ""
    return shortened(str(error.args[0]))


def _grant(state: str, said: str) -> str:
    if state != "42501":
        return ""
    lacks = re.fullmatch(r"permission denied for (function|table|schema) (\S+)", said)
    match lacks.groups() if lacks else ():
        case "function", name:
            return f"GRANT EXECUTE ON FUNCTION {name} TO the connection's login"
        case "schema", name:
            return f"GRANT USAGE ON SCHEMA {name} TO the connection's login"
        case "table", name:
            return f"GRANT SELECT, and what it is to change, ON {name} TO the connection's login"
    return "GRANT what it needs to the connection's login"


def _locked_out(name: str, error: Any) -> ConnectorError:
    match error.sqlstate[:2]:
        case "28":
            return ConnectorError(name, "the server refused the login", remedy="are name and password right?")
        case "3D":
            return ConnectorError(name, "there is no such database", remedy="is the dsn right?")
    return ConnectorError(name, f"the server lets nobody in now ({error.sqlstate})")


def _cut(name: str, error: Exception) -> ConnectorError:
    remedy = "did the server restart? A pooler must be in transaction or session mode"
    return ConnectorError(name, f"the connection was lost: {_words(error)}", remedy=remedy)


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return type(error).__name__
