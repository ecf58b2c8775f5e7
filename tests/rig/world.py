"""The demo's world, and the hands that make it go wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from remediator.demo.ledger import Ledger
from remediator.demo.loyalty import small_business
from remediator.demo.world import World, application
from tests.rig.hosted import hosted
from tests.rig.processes import Child, Program, python_module, scratch, start

TOKEN = "world-token"


@dataclass(frozen=True)
class Said:
    """An answer: status and JSON body (None where it is not JSON)."""

    status: int
    body: Any


@dataclass
class LoyaltyWorld:
    """A running world. Its API's base URL is ``url``, its metrics are at ``url + "/metrics"``."""

    url: str
    """Its base URL, without a slash at the end."""
    ledger_file: Path
    token: str = TOKEN

    async def ask(
        self, method: str, path: str, body: object = None, *, key: str | None = None, token: str | None = None
    ) -> Said:
        """One request, sent once. ``body``: JSON; ``key``: the Idempotency-Key."""
        headers = {"Authorization": f"Bearer {token if token is not None else self.token}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session,
            session.request(method, self.url + path, json=body, headers=headers) as answer,
        ):
            text = await answer.text()
            is_json = answer.content_type == "application/json"
            return Said(answer.status, json.loads(text) if is_json else text)

    async def control(self, what: str, **settings: object) -> Any:
        """``POST /_control/WHAT``, such as ``control("campaigns/c-9", stuck=True, retrigger="fails")``."""
        said = await self.ask("POST", f"/_control/{what}", settings)
        assert said.status == 200, said.body
        return said.body

    async def fault(self, kind: str, **settings: object) -> None:
        """``late delay hang close cut status status_after``, with ``method path seconds status times``."""
        await self.control("faults", kind=kind, **settings)

    async def ledger(self) -> list[dict[str, Any]]:
        """Effects, oldest first: at, method, path, body, key."""
        entries: list[dict[str, Any]] = (await self.ask("GET", "/_control/ledger")).body
        return entries

    async def requests(self) -> list[dict[str, Any]]:
        """All requests to ``/api`` as they came over the wire: at, method, path, key."""
        entries: list[dict[str, Any]] = (await self.ask("GET", "/_control/requests")).body
        return entries

    async def metric(self, series: str) -> float:
        """One series' value, such as ``loyalty_campaign_stuck{campaign_id="c-9"}``, exactly as exposed."""
        text = (await self.ask("GET", "/metrics")).body
        for line in text.splitlines():
            name, _, value = line.rpartition(" ")
            if name == series:
                return float(value)
        raise KeyError(series)


@contextmanager
def running_world() -> Iterator[LoyaltyWorld]:
    """Start one, and end it."""
    with scratch("world") as folder:
        file = folder / "ledger.jsonl"
        world = World(small_business(time.time()), Ledger.at(file), TOKEN)
        try:
            with hosted(lambda _port: application(world)) as url:
                yield LoyaltyWorld(url, file)
        finally:
            world.ledger.close()


@contextmanager
def world_that_may_die(ledger: Path) -> Iterator[tuple[LoyaltyWorld, Child]]:
    """One as its own process. ``ledger``: a file that outlives it."""

    def argv(port: int) -> list[str]:
        options = ["--port", str(port), "--token", TOKEN, "--ledger", str(ledger)]
        return python_module("remediator.demo.world", *options)

    with (
        scratch("world") as folder,
        start(Program("world", argv, ready="/healthz"), folder) as child,
    ):
        yield LoyaltyWorld(child.url, ledger), child
