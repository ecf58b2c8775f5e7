"""A real HTTP server of the app, over a real SQLite store and a desk that remembers."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from remediator.config import Config
from remediator.core.policyset import PolicySet
from remediator.engine.explain import explain
from remediator.ports import Store
from remediator.store import open_store
from remediator.web.server import make_app
from remediator.web.services import Handler, Services
from tests.rig.served import served
from tests.store.samples import HandClock
from tests.web.scene import FakeDesk, policies

TOKENS = {"amina": "amina-token-0123456789", "bob": "bob-token-0123456789"}


@dataclass
class FakeFeed:
    """Tells of changes when the test says so."""

    watchers: list[Callable[[str], None]] = field(default_factory=list)

    def watch(self, changed: Callable[[str], None]) -> Callable[[], None]:
        self.watchers.append(changed)
        return lambda: self.watchers.remove(changed)

    def tell(self, run: str) -> None:
        for changed in self.watchers:
            changed(run)


@dataclass
class Site:
    """A running server, and what stands behind it."""

    url: str
    client: aiohttp.ClientSession
    services: Services
    app: web.Application
    store: Store
    clock: HandClock
    desk: FakeDesk
    feed: FakeFeed
    problems: list[str]
    refused: list[str]

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        async with self.client.get(self.url + path, headers=_plain(headers), allow_redirects=False) as answer:
            return answer.status, await answer.text()

    async def json(self, path: str, **headers: str) -> Any:
        async with self.client.get(self.url + path, headers=_plain(headers)) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """A change, by default just as amina would send it."""
        sent = {"Authorization": f"Bearer {TOKENS['amina']}", "Content-Type": "application/json"}
        sent = {name: value for name, value in (sent | _plain(headers)).items() if value}
        data = body if isinstance(body, bytes) else None
        async with self.client.request(
            method, self.url + path, data=data, json=None if data is not None else body, headers=sent
        ) as answer:
            return answer.status, await answer.json()


def _plain(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


Opened = Callable[..., Awaitable[Site]]


@pytest.fixture
async def open_site(tmp_path: Path) -> AsyncIterator[Opened]:
    """Makes sites; ``exposed``: as if it listened for everybody."""
    ends = contextlib.AsyncExitStack()
    numbers = itertools.count()

    async def opened(
        *,
        exposed: bool = False,
        running: PolicySet | None = None,
        extra_routes: tuple[tuple[str, str, Handler], ...] = (),
        clock: HandClock | None = None,
    ) -> Site:
        clock = clock or HandClock()
        store = open_store(f"sqlite:///{tmp_path}/{next(numbers)}.db", clock)
        await store.open()
        people = {
            name: {"token_sha256": hashlib.sha256(token.encode()).hexdigest()}
            for name, token in TOKENS.items()
        }
        listen = "0.0.0.0:8080" if exposed else "127.0.0.1:8080"
        config = Config.model_validate(
            {"listen": listen, "public_url": "https://remediator.example", "people": people}
        )
        desk, feed, problems, refused = FakeDesk(), FakeFeed(), list[str](), list[str]()
        found = {token: name for name, token in TOKENS.items()}
        running = running or policies()
        services = Services(
            config=config,
            store=store,
            desk=desk,
            feed=feed,
            policies=lambda: running,
            refused=lambda: refused,
            identify=found.get,
            ready=lambda: list(problems),
            metrics=lambda: b"remediator_build_info 1\n",
            explain=lambda tx, alert: explain(tx, running, alert),
            extra_routes=extra_routes,
        )
        app = make_app(services)
        ends.push_async_callback(store.close)
        url = await ends.enter_async_context(served(app))
        client = await ends.enter_async_context(aiohttp.ClientSession())
        return Site(url, client, services, app, store, clock, desk, feed, problems, refused)

    async with ends:
        yield opened


@pytest.fixture
async def site(open_site: Opened) -> Site:
    return await open_site()
