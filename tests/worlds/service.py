"""An application's HTTP API in this process, which misbehaves on demand and keeps account of what it did.

A system's world is a subclass or a set of handlers over it: what it holds is plain Python, looked at and
changed by the test itself; the daemon, a process of its own, meets it over real HTTP.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from remediator.demo.faults import Fault, FaultKind, Faults
from tests.rig.patience import PATIENCE_S
from tests.rig.served import served

TOKEN = "world-token"


@dataclass(frozen=True)
class Asked:
    """A request as it came over the wire. ``fields``: what the path's placeholders stand for."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    headers: Mapping[str, str]
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """A status and a JSON body."""

    status: int
    body: Any = None


Handler = Callable[[Asked], Reply]


@dataclass
class Service:
    """An API. ``requests``: all it was asked; ``ledger``: what was answered 2xx, and changed something.

    Its figures say of when they are, so that Prometheus keeps the last ones while it gets no answer.
    """

    token: str = TOKEN
    requests: list[Asked] = field(default_factory=list)
    ledger: list[Asked] = field(default_factory=list)
    gauges: dict[tuple[str, tuple[tuple[str, str], ...]], float] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    url: str = ""
    _routes: list[tuple[str, str, Handler]] = field(default_factory=list)
    _answers: dict[str, Reply] = field(default_factory=dict)

    def on(self, method: str, path: str, handler: Handler) -> None:
        """Answer ``GET /api/things/{id}`` so. Handlers do not await: nothing comes between look and deed."""
        self._routes.append((method, path, handler))

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """What ``/metrics`` tells from now on."""
        self.gauges[name, tuple(sorted(labels.items()))] = float(value)

    def fault(self, kind: FaultKind, method: str = "*", path: str = "*", **more: Any) -> None:
        """The next such request meets a fault: see `remediator.demo.faults`. ``times=None``: all of them."""
        self.faults.waiting.append(Fault(kind, method, path, **more))

    def done(self, method: str, path: str) -> int:
        """How often this had an effect."""
        return sum((one.method, one.path) == (method, path) for one in self.ledger)

    def asked(self, method: str, path: str) -> int:
        """How often it was asked for."""
        return sum((one.method, one.path) == (method, path) for one in self.requests)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """On loopback, until the block ends; the base URL, which is ``url`` from then on too."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        for method, path, handler in self._routes:
            app.router.add_route(method, path, self._served(handler))
        async with served(app) as self.url:
            try:
                yield self.url
            finally:
                await asyncio.sleep(0.05)  # who came last is let in, and seen to have gone

    async def _metrics(self, _request: web.Request) -> web.Response:
        at = round(1000 * time.time())
        lines = []
        for (name, labels), value in self.gauges.items():
            inside = ",".join(f"{key}={json.dumps(text, ensure_ascii=False)}" for key, text in labels)
            lines.append(f"{name}{{{inside}}} {value} {at}\n")
        return web.Response(text="".join(lines))

    def _served(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve(request: web.Request) -> web.StreamResponse:
            text = await request.text()
            asked = Asked(
                request.method,
                request.path,
                dict(request.query),
                _decoded(text),
                dict(request.headers),
                dict(request.match_info),
            )
            self.requests.append(asked)
            given = request.headers.get("Authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
                return web.json_response({"error": "who are you?"}, status=401)
            return await self._behaving(request, asked, handler)

        return serve

    async def _behaving(self, request: web.Request, asked: Asked, handler: Handler) -> web.StreamResponse:
        fault = self.faults.take(asked.method, asked.path)
        kind = fault.kind if fault is not None else ""
        seconds, status = (fault.seconds, fault.status) if fault is not None else (0.0, 0)
        if kind == "late":
            await asyncio.sleep(seconds)
        if kind == "cut":
            return _hung_up(request)
        if kind == "status":
            return web.json_response({"error": "out of order"}, status=status)
        reply = self._performed(asked, handler)
        if kind == "delay":
            await asyncio.sleep(seconds)
        if kind == "hang":
            await asyncio.Event().wait()
        if kind == "close":
            return _hung_up(request)
        if kind == "status_after":
            return web.json_response({"error": "out of order"}, status=status)
        return web.json_response(reply.body, status=reply.status)

    def _performed(self, asked: Asked, handler: Handler) -> Reply:
        """Does it, once for each ``Idempotency-Key``."""
        key = asked.headers.get("Idempotency-Key", "")
        if key and key in self._answers:
            return self._answers[key]
        reply = handler(asked)
        if asked.method != "GET" and reply.status < 300:
            self.ledger.append(asked)
        if key:
            self._answers[key] = reply
        return reply


def _decoded(text: str) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text


def _hung_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.close()
    return web.Response(status=500)


async def eventually(holds: Callable[[], object], otherwise: str, *, within: float = PATIENCE_S) -> None:
    """Wait until it holds; fail with these words if it never does."""
    give_up = time.monotonic() + within
    while not holds():
        if time.monotonic() > give_up:
            raise AssertionError(otherwise)
        await asyncio.sleep(0.02)
