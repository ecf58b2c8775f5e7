"""What the parts of an SQLite transaction share: running a statement, and how values become columns."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from remediator.errors import StoreError
from remediator.store.steady import Instant
from remediator.store.unread import Unread

log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_json = msgspec.json.Encoder()

Row = tuple[Any, ...]


def micros(moment: datetime) -> int:
    """Microseconds since 1970, UTC."""
    return (moment - EPOCH) // _MICROSECOND


def moment(micros: int) -> datetime:
    """The reverse of `micros`."""
    return EPOCH + timedelta(microseconds=micros)


def micros_or_none(moment: datetime | None) -> int | None:
    """The same for a column that may be NULL."""
    return None if moment is None else micros(moment)


def moment_or_none(micros: int | None) -> datetime | None:
    """The same for a column that may be NULL."""
    return None if micros is None else moment(micros)


def as_json(value: Any) -> bytes:
    """The value whole, for a ``doc`` column. Raises StoreError for what JSON cannot hold."""
    try:
        return _json.encode(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise StoreError(type(value).__name__, f"cannot be kept as JSON: {error}") from error


def readable(read: Callable[[K], V], rows: Iterable[K]) -> list[V]:
    """All but those that this program cannot read: one of them hides none of the others."""
    found = []
    for row in rows:
        try:
            found.append(read(row))
        except msgspec.DecodeError as error:
            log.warning("a row cannot be read", extra={"problem": str(error)})
    return found


def where_all(conditions: Sequence[str]) -> str:
    """A WHERE clause of all these conditions; empty without any."""
    return "WHERE " + " AND ".join(conditions) if conditions else ""


class Statements:
    """One transaction's statements. After a failed one nothing more is done: it will be rolled back."""

    __slots__ = ("_connection", "_doubts", "_explain", "_replica", "_unread", "failure", "now")

    def __init__(
        self,
        connection: sqlite3.Connection,
        instant: Instant,
        explain: Callable[[sqlite3.Error], StoreError],
        replica: str,
        unread: Unread,
    ) -> None:
        """``explain`` turns what SQLite says into an error with a remedy; ``replica``: who writes.

        ``unread``: hears of what lists leave out.
        """
        self._replica = replica
        self._unread = unread
        self._connection = connection
        self._explain = explain
        self.now = instant.now
        self._doubts = instant.doubts
        self.failure: StoreError | None = None

    def _execute(
        self, sql: str, arguments: Sequence[Any] | dict[str, Any] = (), breach: str = ""
    ) -> sqlite3.Cursor:
        if self.failure is not None:
            raise self.failure
        try:
            return self._connection.execute(sql, arguments)
        except sqlite3.Error as error:
            if breach and isinstance(error, sqlite3.IntegrityError):
                self.failure = StoreError("store", breach)
            else:
                self.failure = self._explain(error)
            raise self.failure from error

    def _rows(self, sql: str, arguments: Sequence[Any] | dict[str, Any] = ()) -> list[Row]:
        cursor = self._execute(sql, arguments)
        try:
            return cursor.fetchall()
        except sqlite3.Error as error:
            self.failure = self._explain(error)
            raise self.failure from error

    def _row(self, sql: str, arguments: Sequence[Any] = ()) -> Row | None:
        rows = self._rows(sql, arguments)
        return rows[0] if rows else None
