"""A tiny receiver of webhooks, inside the test: keeps what it was sent, answers what it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.rig.patience import PATIENCE_S
from tests.rig.served import served


@dataclass(frozen=True)
class Delivery:
    """One request that was received."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Webhook:
    """A running receiver. ``status`` is what it answers from now on."""

    url: str = ""
    status: int = 200
    deliveries: list[Delivery] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait_for(self, wanted: Callable[[Delivery], object], *, within: float = PATIENCE_S) -> Delivery:
        """The first delivery, former ones included, that pleases."""
        async with asyncio.timeout(within):
            while True:
                for delivery in self.deliveries:
                    if wanted(delivery):
                        return delivery
                self._news.clear()
                await self._news.wait()

    async def _receive(self, request: web.Request) -> web.Response:
        self.deliveries.append(Delivery(request.path, dict(request.headers), await request.json()))
        self._news.set()
        return web.Response(status=self.status)


@asynccontextmanager
async def running_webhook() -> AsyncIterator[Webhook]:
    """Start one on a free loopback port, and end it."""
    webhook = Webhook()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/{path:.*}", webhook._receive)
    async with served(app) as webhook.url:
        yield webhook
