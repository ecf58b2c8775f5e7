"""The way to the server: one connection for one call, tried once and never mended.

redis-py sends a command up to eleven times by itself. Only its single connection is used here, with all of
its second tries switched off.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from remediator.connectors.redis.settings import RedisSettings
from remediator.core.calls import printable
from remediator.core.cutting import words

if TYPE_CHECKING:
    from redis.asyncio.connection import Connection

MOST_ANSWER = 1024 * 1024
"""Bytes of one answer, with all of its parts."""
FULL = "raise maxmemory first: a declared CONFIG SET needs no room for a marker"
CONNECT = 5.0
"""Seconds to connect, at most; ever less than the whole."""


class BrokenError(Exception):
    """The server cannot be reached, broke off, or answered with an error."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.remedy = remedy

    @property
    def told(self) -> str:
        return f"{self}; {self.remedy}" if self.remedy else str(self)


class Answers:
    """To a transaction. replies: None when a watched key had changed; refused: why it was not run at all."""

    def __init__(self, replies: list[Any] | None, refused: str = "") -> None:
        self.replies = replies
        self.refused = refused


@contextlib.asynccontextmanager
async def linked(settings: RedisSettings) -> AsyncIterator[Link]:
    """Connected, and let in. Raises BrokenError and TimeoutError; so does whoever uses it."""
    connection = _connection(settings)
    try:
        with _told("is its url right?"):
            await connection.connect()  # type: ignore[no-untyped-call]
        yield Link(connection)
    finally:
        await connection.disconnect(nowait=True)


class Link:
    """One connection, which never sends anything twice: once it is broken, it stays so."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def asked(self, *words: str | int) -> Any:
        """What one command answers. Raises BrokenError, also for an answer that is an error."""
        self._check()
        with _told():
            await self._connection.send_command(*words)
            return await self._connection.read_response()

    async def answered(self, *words: str | int) -> Any:
        """The same; an answer that is an error is one, too."""
        self._check()
        with _told():
            await self._connection.send_command(*words)
            return await self._answer()

    async def transaction(self, commands: Sequence[Sequence[str | int]]) -> Answers:
        """All of them or none, in one write."""
        self._check()
        whole = [("MULTI",), *commands, ("EXEC",)]
        with _told():
            await self._connection.send_packed_command(self._connection.pack_commands(whole))
            refused = [
                str(one) for one in [await self._answer() for _ in whole[:-1]] if isinstance(one, Exception)
            ]
            replies = await self._answer()
        if isinstance(replies, Exception):
            return Answers(None, printable("; ".join(refused) or str(replies)))
        return Answers(replies)

    async def _answer(self) -> Any:
        """One answer; an error of the server is one, too."""
        from redis.exceptions import ResponseError

        try:
            return await self._connection.read_response()
        except ResponseError as error:
            return error

    def _check(self) -> None:
        """redis-py would connect anew by itself, and outside of any WATCH."""
        if not self._connection.is_connected:
            raise BrokenError("the connection is broken")


@contextlib.contextmanager
def _told(remedy: str = "") -> Iterator[None]:
    from redis import exceptions as theirs

    try:
        yield
    except (theirs.TimeoutError, TimeoutError):
        raise TimeoutError from None
    except theirs.NoPermissionError as error:
        raise BrokenError(printable(str(error)), "ACL SETUSER it what docs/redis.md lists") from None
    except theirs.AuthenticationError as error:
        raise BrokenError(printable(str(error)), "are its username and password right?") from None
    except theirs.ResponseError as error:
        remedy = FULL if isinstance(error, theirs.OutOfMemoryError) else ""
        raise BrokenError(f"answered with an error: {printable(str(error))}", remedy) from None
    except (theirs.RedisError, OSError, ValueError, RecursionError, EOFError) as error:
        raise BrokenError(printable(words(error)), remedy) from None


def _bounded() -> type[Any]:
    """redis-py's reader of answers, which takes no answer that is longer than `MOST_ANSWER`."""
    from redis._parsers import _AsyncRESP2Parser
    from redis.exceptions import InvalidResponse

    class Bounded(_AsyncRESP2Parser):
        left = MOST_ANSWER

        async def read_response(self, disable_decoding: bool = False) -> Any:  # noqa: FBT001, FBT002 - theirs
            self.left = MOST_ANSWER
            return await super().read_response(disable_decoding)

        async def _read(self, length: int) -> bytes:
            self._count(length)
            return await super()._read(length)

        async def _readline(self) -> bytes:
            line = await super()._readline()
            self._count(len(line))
            return line

        def _count(self, length: int) -> None:
            self.left -= length
            if self.left < 0:
                raise InvalidResponse(f"an answer of more than {MOST_ANSWER} bytes")

    return Bounded


def _connection(settings: RedisSettings) -> Connection:
    """Not connected yet. One try, no health checks, nothing that the server could push."""
    from redis.asyncio.connection import Connection, SSLConnection
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    parts, within = urlsplit(settings.url), settings.timeout.total_seconds()
    given: dict[str, Any] = {
        "host": parts.hostname,
        "port": parts.port or 6379,
        "db": settings.database,
        "username": settings.username,
        "password": settings.password.get_secret_value() if settings.password is not None else None,
        "socket_timeout": within,
        "socket_connect_timeout": min(within / 2, CONNECT),
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "health_check_interval": 0,
        "protocol": 2,
        "parser_class": _bounded(),
        "driver_info": None,
        "decode_responses": True,
        "encoding_errors": "replace",
    }
    if parts.scheme == "redis":
        return Connection(**given)
    return SSLConnection(
        **given,
        ssl_ca_certs=str(settings.ca) if settings.ca is not None else None,
        ssl_check_hostname=True,
        ssl_min_version=ssl.TLSVersion.TLSv1_2,
    )
