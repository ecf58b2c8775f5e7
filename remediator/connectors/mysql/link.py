"""The way to the server: one connection for one call, tried once and never mended.

PyMySQL waits in a thread. Whoever gives up cuts the line, and the thread ends with it; the server rolls back
whatever was not committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from remediator.connectors.mysql import values
from remediator.connectors.mysql.settings import MysqlSettings
from remediator.connectors.mysql.statement import Prepared
from remediator.core.calls import printable
from remediator.core.cutting import words

CONNECT = 5.0
"""Seconds to connect, at most; ever less than the whole."""
SILENT = 60
"""Seconds after which the server ends a session of ours that says nothing any more, with its transaction."""

LOST = range(2000, 3000)
"""Codes that the client library gives, when the line is no more."""
ENDED = frozenset({1053, 1077, 1079, 1152, 1158, 1159, 1160, 1161, 1927, 3169, 4031})
"""Codes with which a server says that it ends the session."""

Found = TypeVar("Found")


class BrokenError(Exception):
    """The server cannot be reached, or broke off."""


class SaidNoError(Exception):
    """The server answered with an error, and goes on. code: its number."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}, {text}")
        self.code = code


@dataclass(frozen=True)
class Answer:
    """rows: by the columns' names. changed: how many a change found."""

    rows: list[dict[str, Any]]
    changed: int


@contextlib.asynccontextmanager
async def linked(settings: MysqlSettings, pool: ThreadPoolExecutor) -> AsyncIterator[Link]:
    """Connected, and set up. Raises BrokenError, SaidNoError and TimeoutError; so does whoever uses it."""
    link = Link(settings, pool)
    try:
        await link.open()
        yield link
    finally:
        link.close()


class Link:
    """One connection. Once it is broken, it stays so."""

    def __init__(self, settings: MysqlSettings, pool: ThreadPoolExecutor) -> None:
        self._settings = settings
        self._pool = pool
        self._busy = False
        self._client: Any = None

    async def open(self) -> None:
        """Connect once, and set the session up."""
        self._client = _client(self._settings)
        await self._in_thread(self._client.connect)
        version = str(self._client.server_version)
        await self.said(f"SET SESSION {', '.join(set_up(self._settings, version))}")

    async def said(self, sql: str, most: int = 1) -> Answer:
        """What one statement of our own answers."""
        return await self._in_thread(lambda: self._ask(sql, most))

    async def prepared(self, statement: Prepared, literals: Mapping[str, str], most: int) -> Answer:
        """What a declared statement answers, with its values beside it."""
        given = [f"@remediator_{number} = {literals[name]}" for number, name in enumerate(statement.slots)]
        text = f"@remediator = _utf8mb4 X'{statement.text.encode().hex()}'"
        await self.said(f"SET {', '.join([text, *given])}")
        await self.said("PREPARE remediator FROM @remediator")
        using = ", ".join(f"@remediator_{number}" for number in range(len(given)))
        return await self.said("EXECUTE remediator" + (f" USING {using}" if using else ""), most)

    def close(self) -> None:
        """Say goodbye; or cut the line where a thread still waits for an answer."""
        if self._client is None:
            return
        with contextlib.suppress(Exception):
            if self._busy:
                self._client._sock.shutdown(socket.SHUT_RDWR)  # noqa: SLF001 - it cannot be interrupted else
            else:
                self._client.close()

    async def _in_thread(self, work: Callable[[], Found]) -> Found:
        import pymysql

        self._busy = True
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except pymysql.err.MySQLError as error:
            code, *text = error.args or (0,)
            said = printable(str(text[0]) if text and text[0] else type(error).__name__)
            self._busy = False
            if not isinstance(code, int) or code in LOST or code in ENDED or not code:
                raise BrokenError(said) from None
            raise SaidNoError(code, said) from None
        except (OSError, EOFError, ValueError, IndexError, AssertionError, RuntimeError, TypeError) as error:
            if isinstance(error, TimeoutError):
                raise
            self._busy = False
            raise BrokenError(printable(words(error))) from None
        self._busy = False
        return found

    def _ask(self, sql: str, most: int) -> Answer:
        """In a thread."""
        from pymysql.cursors import SSCursor

        cursor = SSCursor(self._client)
        try:
            cursor.execute(sql)
            return self._answer(cursor, most)
        finally:
            self._drop_the_rest()

    def _answer(self, cursor: Any, most: int) -> Answer:
        about = cursor.description or ()
        names, kinds = [one[0] for one in about], [one[1] for one in about]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise SaidNoError(0, f"there are two columns {name!r}; name one of them with AS")
        changed, size = cursor.rowcount, 0
        rows: list[dict[str, Any]] = []
        while about and (row := cursor.fetchone()) is not None:
            size += sum(len(one) for one in row if one is not None)
            if size > self._settings.bytes:
                raise SaidNoError(0, f"it answers more than {self._settings.bytes} bytes")
            if len(rows) == most:
                raise SaidNoError(0, f"it answers more than {most} rows")
            rows.append(_row(names, kinds, row))
        return Answer(rows, changed)

    def _drop_the_rest(self) -> None:
        """An answer that was not read to its end is not read any more, and the line is done for."""
        result = self._client._result  # noqa: SLF001 - it would read all of it when it is forgotten
        if result is not None and result.unbuffered_active:
            result.unbuffered_active = False
            self._client._force_close()  # noqa: SLF001 - likewise


def _row(names: Sequence[str], kinds: Sequence[int], row: Sequence[Any]) -> dict[str, Any]:
    found = {}
    for name, kind, value in zip(names, kinds, row, strict=True):
        try:
            found[name] = values.read(kind, value)
        except (ValueError, ArithmeticError) as error:
            raise SaidNoError(0, f"column {name}: {error}") from None
    return found


def set_up(settings: MysqlSettings, version: str) -> list[str]:
    """What a session of ours is like, on this server."""
    within = settings.timeout.total_seconds()
    limit = (
        f"max_statement_time = {within:g}"  # of every statement
        if "mariadb" in version.lower()
        else f"max_execution_time = {max(1, round(within * 1000))}"  # of a SELECT alone
    )
    return [
        limit,
        f"innodb_lock_wait_timeout = {round(settings.lock_timeout.total_seconds())}",
        f"lock_wait_timeout = {round(settings.lock_timeout.total_seconds())}",
        f"wait_timeout = {SILENT}",
        "time_zone = '+00:00'",
        "completion_type = 'NO_CHAIN'",
        "sql_mode = CONCAT_WS(',', NULLIF(@@sql_mode, ''), 'STRICT_ALL_TABLES')",
    ]


def trusted(ca: Path | None) -> ssl.SSLContext:
    """The authorities of a file, or the system's. Raises BrokenError. Of each state of a file one is kept."""
    try:
        return _trusted(ca, ca.stat().st_mtime_ns if ca is not None else 0)
    except OSError as error:  # SSLError is one
        raise BrokenError(f"the authorities of {ca} cannot be read: {error.strerror or error}") from None


@functools.lru_cache(maxsize=32)
def _trusted(ca: Path | None, changed: int) -> ssl.SSLContext:
    del changed
    trust = ssl.create_default_context(cafile=str(ca) if ca is not None else None)
    trust.minimum_version = ssl.TLSVersion.TLSv1_2
    return trust


def _client(settings: MysqlSettings) -> Any:
    """Not connected yet."""
    from pymysql.connections import Connection
    from pymysql.constants import CLIENT

    place, within = settings.place, settings.timeout.total_seconds()
    trust = trusted(settings.ca) if settings.tls or settings.ca is not None else None
    return Connection(
        host=place.hostname,
        port=place.port or 3306,
        user=settings.username,
        password=settings.password.get_secret_value() if settings.password is not None else "",
        database=place.path.removeprefix("/"),
        charset="utf8mb4",
        connect_timeout=min(within / 2, CONNECT),
        read_timeout=within + 1,
        write_timeout=within + 1,
        autocommit=True,
        local_infile=False,
        client_flag=CLIENT.FOUND_ROWS,
        conv={},
        ssl=trust,
        ssl_disabled=trust is None,
        program_name="remediator",
        defer_connect=True,
    )
