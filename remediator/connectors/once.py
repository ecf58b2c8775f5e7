"""One request, once: what all connectors that speak HTTP share.

A fresh connection for each request, no redirects, no proxies, no cookies; aiohttp's own second try (it
re-sends PUT and DELETE when the peer hangs up) switched off; and when the way is there, one last look
whether it is too late.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

CONNECT = 5.0
"""Seconds to connect, at most; ever less than the whole, so that nothing sent is told from no answer."""


class _TooLateError(aiohttp.ClientError):
    """The way is there, and nothing may be sent any more."""


class _CannotSendOnceError(aiohttp.ClientError):
    """This aiohttp cannot be kept from sending twice."""


NEVER_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    _CannotSendOnceError,
    _TooLateError,
)
"""Errors after which it is certain that no byte of the request left."""


class _Punctual(aiohttp.BaseConnector):
    """Connections on which nothing is sent if connecting took too long."""

    late: Callable[[], str]

    async def connect(self, *given: Any, **more: Any) -> Any:
        """As ever; then asks whether it is too late."""
        connection = await super().connect(*given, **more)
        if why := self.late():
            connection.close()
            raise _TooLateError(why)
        return connection


class _Tcp(_Punctual, aiohttp.TCPConnector):
    pass


class _Unix(_Punctual, aiohttp.UnixConnector):
    pass


def never_late() -> str:
    """For what may be repeated."""
    return ""


def over_tcp(late: Callable[[], str] = never_late, trust: ssl.SSLContext | bool = True) -> _Punctual:  # noqa: FBT001, FBT002 - aiohttp's own
    """The way to one host, for one request. ``late``: why nothing may be sent any more, or ""."""
    connector = _Tcp(force_close=True, limit=1, ssl=trust)
    connector.late = late
    return connector


def over_unix(path: str, late: Callable[[], str] = never_late) -> _Punctual:
    """The same, to a socket of this machine."""
    connector = _Unix(path, force_close=True, limit=1)
    connector.late = late
    return connector


@asynccontextmanager
async def session(connector: aiohttp.BaseConnector, within: float) -> AsyncIterator[aiohttp.ClientSession]:
    """For one request of so many seconds. Raises one of `NEVER_SENT` where it cannot be kept to one."""
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=within, connect=min(within / 2, CONNECT)),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        raise_for_status=False,
    ) as made:
        send_only_once(made)
        yield made


def send_only_once(session: aiohttp.ClientSession) -> None:
    """Switch off the second try that aiohttp makes by itself for PUT and DELETE.

    There is no public switch (aiohttp 3.14, `client.py`, `_retry_connection`). If it ever goes,
    nothing is sent, rather than perhaps twice.
    """
    if getattr(session, "_retry_connection", None) is not True:
        raise _CannotSendOnceError(f"aiohttp {aiohttp.__version__} is not known to send a request only once")
    session._retry_connection = False  # noqa: SLF001 - see above
