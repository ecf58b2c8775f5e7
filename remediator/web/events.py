"""GET /api/v1/events: tells those who watch which runs have changed (server-sent events).

An event says only *that* a run changed; whoever hears it reads the run. So what a slow client has not
heard yet is a set of ids, and a bounded one: beyond it there is one event "many".
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from remediator.ports import Feed
from remediator.web.bodies import Query
from remediator.web.problems import Problem

MOST_CLIENTS = 500
MOST_WAITING = 200
"""Runs that one client may have waiting."""
HEARTBEAT_S = 15.0
WRITE_S = 20.0
"""A client that takes no byte for so long is let go."""


class Listener:
    """One client, and what it has yet to hear."""

    def __init__(self) -> None:
        self._waiting: dict[str, None] = {}
        self._many = False
        self._wake = asyncio.Event()
        self.over = False

    def changed(self, run: str) -> None:
        """Never blocks, never grows without bound."""
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.clear()
            self._many = True
        if not self._many:
            self._waiting[run] = None
        self._wake.set()

    def end(self) -> None:
        """The daemon stops."""
        self.over = True
        self._wake.set()

    async def news(self) -> bytes:
        """What is to be sent next: events, or a heartbeat after a while without."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_S):  # wait_for may lose a cancellation (Python 3.11)
                await self._wake.wait()
        self._wake.clear()
        waiting, many = list(self._waiting), self._many
        self._waiting.clear()
        self._many = False
        if many:
            return _event("many", {})
        return b"".join(_event("run", {"run": run}) for run in waiting) or b": still here\n\n"


class Listeners:
    """All clients; hears the feed once for all of them."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._all: set[Listener] = set()

    async def running(self, _app: web.Application) -> AsyncIterator[None]:
        """Follow the feed while the application runs."""
        stop: Callable[[], None] | None = self._feed.watch(self._changed)
        yield
        if stop is not None:
            stop()

    def _changed(self, run: str) -> None:
        for listener in self._all:
            listener.changed(run)

    async def end(self, _app: web.Application) -> None:
        """Open streams must not hold up the daemon's stop."""
        for listener in self._all:
            listener.end()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Tell of changes until the client goes."""
        Query(request)
        if len(self._all) >= MOST_CLIENTS:
            raise Problem(503, f"{MOST_CLIENTS} clients listen already", {"Retry-After": "10"})
        listener = Listener()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        response.headers["X-Accel-Buffering"] = "no"
        self._all.add(listener)
        try:
            await response.prepare(request)
            await response.write(b"retry: 2000\n\n" + _event("hello", {}))
            while not listener.over:
                news = await listener.news()
                async with asyncio.timeout(WRITE_S):
                    await response.write(news)
        except ConnectionError:
            pass
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._all.discard(listener)
        return response

    def __len__(self) -> int:
        return len(self._all)


LISTENERS = web.AppKey("listeners", Listeners)


async def events(request: web.Request) -> web.StreamResponse:
    """Stream which runs have changed."""
    return await request.config_dict[LISTENERS].stream(request)


def _event(kind: str, data: dict[str, str]) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()
