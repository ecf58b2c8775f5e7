"""All servers that tests have within their own process, begun and ended in one way: no handler outlives it.

aiohttp ends the handlers of connections that are still there. One whose client has gone, and which waits
on (as a fake that never answers does), it has forgotten by then; the interpreter tells of it at its end.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

_PATIENCE = 0.1
"""Seconds for those who are being answered; who still waits then is cut off."""


@asynccontextmanager
async def served(
    app: web.Application,
    *,
    host: str = "127.0.0.1",
    listener: socket.socket | None = None,
    auto_decompress: bool = True,
) -> AsyncIterator[str]:
    """Serve it on a free port of this address, or on this socket; yields the URL, no slash at the end."""
    under_way: set[asyncio.Task[Any]] = set()

    @web.middleware
    async def counted(request: web.Request, handler: Handler) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        under_way.add(task)
        try:
            return await handler(request)
        finally:
            under_way.discard(task)

    app.middlewares.insert(0, counted)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_PATIENCE, auto_decompress=auto_decompress)
    try:
        await runner.setup()
        site = web.SockSite(runner, listener) if listener is not None else web.TCPSite(runner, host, 0)
        await site.start()
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
        forgotten = list(under_way)
        for task in forgotten:
            task.cancel()
        await asyncio.gather(*forgotten, return_exceptions=True)
