"""Reading PostgreSQL: one probe, a SELECT with bind arguments inside a read-only transaction.

Three fences stand one behind the other: the statement must be one SELECT of listed tables by pure
functions (`core.sql`, judged again here); the transaction is READ ONLY; and it is always rolled back.
What the connection's login may read is a fourth, and the database's own affair. No state outlives a
transaction and no statement has a name, so that a pooler in transaction mode may stand between.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, field_validator

from remediator.config import Duration, Secret
from remediator.connectors import postgres_values as values
from remediator.connectors.settings import Settings
from remediator.connectors.unoffered import Unoffered
from remediator.core import sql
from remediator.core.catalog import Escape, Kind, Operation, Param, Reach
from remediator.core.run import Call
from remediator.errors import ConnectorError
from remediator.ports import ConnectorKind

LONGEST = timedelta(seconds=30)
"""The longest statement_timeout that may be set."""

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

CONNECT = 5.0
"""Seconds to wait for a connection."""
AT_ONCE = 4
IDLE = 30.0
"""Seconds after which an unused connection is closed."""
AT_A_TIME = 50
"""Rows that are fetched together, before they are counted and weighed."""

_TABLE = re.compile(r"[^.\s]+(\.[^.\s]+){0,2}")
_COLUMN = re.compile(r"[^.\s]+(\.[^.\s]+){1,3}")
_COLUMNS_OF = """
    SELECT attname::text FROM pg_catalog.pg_attribute
    WHERE attrelid = pg_catalog.to_regclass($1::text) AND NOT attisdropped
"""
_FUNCTIONS_OF = """
    SELECT proname::text FROM pg_catalog.pg_proc
    WHERE proname::text = ANY ($1::text[]) AND pronamespace <> 'pg_catalog'::regnamespace
"""

_REMEDIES = {
    "57014": "make it cheaper, or raise the connection's statement_timeout",
    "55P03": "something else holds the lock; raise the connection's lock_timeout",
    "42501": "GRANT SELECT to the connection's login",
    "25006": "a probe may only read",
}


def _address(value: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(value.get_secret_value())
        whole = parts.scheme in ("postgresql", "postgres") and bool(parts.hostname)
    except ValueError:
        whole = False
    if not whole:
        raise ValueError("write postgresql://login:password@host:port/database")
    return value


class PostgresSettings(Settings):
    """A PostgreSQL database."""

    dsn: Annotated[Secret, AfterValidator(_address)] = Field(
        description="its address, such as ${env:LOYALTY_DSN}"
    )
    tables: tuple[str, ...] = Field(
        description="the tables that policies may name, with their schema or without it"
    )
    hidden: tuple[str, ...] = Field(default=(), description="columns that never leave: table.column")
    functions: tuple[str, ...] = Field(
        default=(), description="functions allowed beside the built-in ones; they must only read"
    )
    statement_timeout: Duration = Field(default=timedelta(seconds=5), gt=timedelta(0), le=LONGEST)
    lock_timeout: Duration = Field(default=timedelta(seconds=1), gt=timedelta(0), le=LONGEST)
    rows: int = Field(default=1000, gt=0, le=100_000, description="rows of one answer, at most")
    bytes: int = Field(default=1024 * 1024, gt=0, le=64 * 1024 * 1024, description="its size, at most")

    @field_validator("tables", "functions")
    @classmethod
    def _named(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _fitting(value, _TABLE, "a name, such as loyalty_programs or public.loyalty_programs")

    @field_validator("hidden")
    @classmethod
    def _in_a_table(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _fitting(value, _COLUMN, "a column, such as loyalty_users.password_hash")

    @property
    def reach(self) -> Reach:
        """As written in the config."""
        return Reach(frozenset(self.tables), frozenset(self.hidden), frozenset(self.functions))


def _fitting(names: tuple[str, ...], pattern: re.Pattern[str], what: str) -> tuple[str, ...]:
    """In one order, so that the digest is the same after each start."""
    for name in names:
        if not pattern.fullmatch(name):
            raise ValueError(f"{name!r} is not {what}")
    return tuple(sorted(set(names)))


class Postgres(Unoffered):
    """A configured PostgreSQL."""

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings
        self._pool: Any = None
        self._opening = asyncio.Lock()

    async def read(self, call: Call, *, timeout: float) -> dict[str, Any]:
        """`rows`, `row` and `count` of a SELECT."""
        text, args = call.args.get("sql"), call.args.get("args", [])
        if not isinstance(text, str) or not isinstance(args, list):
            raise ConnectorError(call.connection, "not asked: sql must be a text, and args a list")
        query = sql.read(text, self._settings.reach)
        if isinstance(query, list):
            raise ConnectorError(
                call.connection, f"not asked: {query[0].code} {query[0].problem}", remedy=query[0].remedy
            )
        if query.args != len(args):
            raise ConnectorError(
                call.connection, f"not asked: the statement takes {query.args} values, and got {len(args)}"
            )
        try:
            async with asyncio.timeout(timeout), self._transaction(call.connection) as database:
                rows = await _Asking(call.connection, self._settings, database).rows(query, args)
        except TimeoutError:
            raise ConnectorError(call.connection, f"no answer within {timeout:g} s") from None
        return {"rows": rows, "row": rows[0] if rows else None, "count": len(rows)}

    async def close(self) -> None:
        """Close all connections, at once."""
        if self._pool is not None:
            self._pool.terminate()

    @contextlib.asynccontextmanager
    async def _transaction(self, name: str) -> AsyncIterator[Any]:
        """A connection inside a read-only transaction. Whatever breaks, nothing of it stays behind."""
        import asyncpg

        database = await self._connected(name)
        try:
            try:
                await database.execute(self._beginning())
                yield database
            except TimeoutError:
                raise
            except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError) as error:
                raise _cut(name, error) from None
            except asyncpg.PostgresError as error:
                raise _refused(name, error) from None
            finally:
                await self._ended(database)
        finally:
            await self._pool.release(database)

    async def _ended(self, database: Any) -> None:
        """Roll back; a connection of which anything is doubtful is thrown away."""
        import asyncpg

        try:
            await database.execute("ROLLBACK", timeout=2)
        except BaseException as error:
            with contextlib.suppress(asyncpg.InterfaceError):  # it is closed already
                database.terminate()
            if not isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError | OSError):
                raise

    def _beginning(self) -> str:
        statement, lock = (
            int(limit.total_seconds() * 1000) or 1
            for limit in (self._settings.statement_timeout, self._settings.lock_timeout)
        )
        return (
            "BEGIN TRANSACTION READ ONLY;"
            f"SET LOCAL statement_timeout = {statement}; SET LOCAL lock_timeout = {lock};"
            f"SET LOCAL idle_in_transaction_session_timeout = {statement + 10_000};"
            "SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'iso_8601';"
            "SET LOCAL extra_float_digits = 1"
        )

    async def _connected(self, name: str) -> Any:
        import asyncpg

        try:
            async with self._opening:
                if self._pool is None:
                    self._pool = await asyncpg.create_pool(
                        self._settings.dsn.get_secret_value(),
                        min_size=0,
                        max_size=AT_ONCE,
                        max_inactive_connection_lifetime=IDLE,
                        statement_cache_size=0,
                        timeout=CONNECT,
                        init=_text_codecs,
                        reset=_nothing,  # every transaction is rolled back, and sets nothing beyond itself
                        server_settings={"application_name": "remediator"},
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


class _Asking:
    """One statement on one connection, inside its transaction."""

    def __init__(self, name: str, settings: PostgresSettings, database: Any) -> None:
        self._name = name
        self._settings = settings
        self._database = database

    async def rows(self, query: sql.Query, args: list[Any]) -> list[dict[str, Any]]:
        await self._check_dotted(query)
        statement = await self._database.prepare(query.text, name="")
        columns = self._columns(statement)
        portal = await statement.cursor(*self._encoded(statement, args))
        rows: list[dict[str, Any]] = []
        weight = 0
        while True:
            most = min(AT_A_TIME, self._settings.rows + 1 - len(rows))
            records = await portal.fetch(most)
            for record in records:
                weight += sum(map(_weight, record.values()))
                self._check_size(len(rows) + 1, weight)
                rows.append({name: self._decoded(name, kind, record[name]) for name, kind in columns.items()})
            if len(records) < most:
                return rows

    async def _check_dotted(self, query: sql.Query) -> None:
        """``u.row_to_json`` calls a function on the whole row, unless there is such a column."""
        for table, names in query.dotted.items():
            columns = {one[0] for one in await self._database.fetch(_COLUMNS_OF, _quoted(table))}
            if strangers := sorted(names - columns):
                raise self._error(f"not asked: {table} has no column {strangers[0]!r}", "is it a function?")
        if query.derived:
            functions = [one[0] for one in await self._database.fetch(_FUNCTIONS_OF, sorted(query.derived))]
            if functions:
                raise self._error(
                    f"not asked: {functions[0]!r} may be a function here", "give the column another name"
                )

    def _columns(self, statement: Any) -> dict[str, str]:
        """Column → type, in order."""
        columns: dict[str, str] = {}
        for column in statement.get_attributes():
            if column.name in columns:
                raise self._error(
                    f"not asked: there are two columns {column.name!r}", "name one of them with AS"
                )
            if not values.known(column.type.name):
                raise self._error(
                    f"not asked: column {column.name!r} is of type {column.type.name}, not a plain one",
                    f"cast it: {column.name}::text",
                )
            columns[column.name] = column.type.name
        return columns

    def _encoded(self, statement: Any, args: list[Any]) -> list[Any]:
        encoded = []
        for number, (kind, value) in enumerate(zip(statement.get_parameters(), args, strict=True), 1):
            try:
                encoded.append(values.encode(kind.name, value))
            except values.Unfit as error:
                raise self._error(
                    f"not asked: ${number} is of type {kind.name}, and {error}", "is it the right value?"
                ) from None
        return encoded

    def _decoded(self, name: str, kind: str, value: Any) -> Any:
        try:
            return values.decode(kind, value)
        except values.Unfit as error:
            raise self._error(
                f"column {name!r}, of type {kind}, cannot be read: {error}", "guard it in the query"
            ) from None

    def _check_size(self, rows: int, weight: int) -> None:
        if rows > self._settings.rows:
            raise self._error(
                f"more than {self._settings.rows} rows",
                "aggregate or LIMIT, or raise `rows` of the connection",
            )
        if weight > self._settings.bytes:
            raise self._error(
                f"more than {self._settings.bytes} bytes", "ask for less, or raise `bytes` of the connection"
            )

    def _error(self, problem: str, remedy: str = "") -> ConnectorError:
        return ConnectorError(self._name, problem, remedy=remedy)


async def _text_codecs(database: Any) -> None:
    """A new connection: everything that asyncpg would change comes and goes as the server's own text."""
    for name in values.AS_TEXT:
        await database.set_type_codec(name, schema="pg_catalog", encoder=str, decoder=str, format="text")


async def _nothing(database: Any) -> None:
    del database


def _quoted(table: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in table.split("."))


def _weight(value: Any) -> int:
    match value:
        case str():
            return len(value.encode())
        case list():
            return sum(map(_weight, value))
    return 8


# ── What went wrong, without addresses and logins ───────────────────────────────────────────────


def _refused(name: str, error: Any) -> ConnectorError:
    """Of the server's answer only its first line: the detail may hold rows."""
    problem = f"the server refused the query ({error.sqlstate}): {str(error.args[0])[:300]}"
    return ConnectorError(name, problem, remedy=_REMEDIES.get(error.sqlstate, ""))


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


KIND = ConnectorKind(
    name="postgres",
    doc="A PostgreSQL database, by asyncpg.",
    operations=(QUERY,),
    settings=PostgresSettings,
    make=Postgres,
)
