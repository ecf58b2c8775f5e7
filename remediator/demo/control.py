"""How to make the demo's world go wrong: ``/_control/…``, loopback only.

POST /_control/campaigns/ID   {"stuck": true, "retrigger": "helps" | "fails" | "helps_second_time"}
                              or any field of Campaign; an unknown ID is created
POST /_control/programs/ID    any field of Program; an unknown ID is created
POST /_control/workers/NAME   {"failing": true, "retrigger": …, "interval": 15}
POST /_control/queues/NAME    {"depth": 120}
POST /_control/latency        {"endpoint": "/api/transactions", "p95": 0.9}
POST /_control/settings       {"execution_seconds": 0.2}
POST /_control/faults         any field of Fault       DELETE: forget them       GET: those that wait
GET  /_control/ledger         effects, oldest first    GET /_control/requests: all requests to /api
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from remediator.demo.faults import Fault, Faults
from remediator.demo.ledger import Ledger
from remediator.demo.loyalty import STUCK_AFTER, Business, Campaign, Program

_LOOPBACK = {"127.0.0.1", "::1"}


class Control:
    """The handlers, bound to one world's parts."""

    def __init__(
        self, business: Business, ledger: Ledger, faults: Faults, requests: list[dict[str, object]]
    ) -> None:
        self.business = business
        self.ledger = ledger
        self.faults = faults
        self.requests = requests

    async def campaigns(self, request: web.Request) -> web.Response:
        """Change or create a campaign; ``stuck`` makes it overdue and passed over, or frees it."""
        given = await _given(request)
        name = request.match_info["id"]
        program = given.get("program_id", next(iter(self.business.programs), ""))
        campaign = self.business.campaigns.setdefault(
            name, Campaign(name, program, start_date=self.business.now)
        )
        stuck = given.pop("stuck", None)
        if stuck is not None:
            campaign.blocked = bool(stuck)
        if stuck:
            campaign.status = "scheduled"
            campaign.start_date = self.business.now - STUCK_AFTER - 3600
            campaign.executed_at = None
        return _change(campaign, given)

    async def programs(self, request: web.Request) -> web.Response:
        """Change or create a program."""
        given = await _given(request)
        name = request.match_info["id"]
        program = self.business.programs.setdefault(name, Program(name, name))
        return _change(program, given)

    async def workers(self, request: web.Request) -> web.Response:
        """Change a worker."""
        return _change(self.business.worker(request.match_info["id"]), await _given(request))

    async def queues(self, request: web.Request) -> web.Response:
        """Set a queue's depth."""
        self.business.queues[request.match_info["id"]] = float((await _given(request))["depth"])
        return web.json_response(self.business.queues)

    async def latency(self, request: web.Request) -> web.Response:
        """Set an endpoint's 95th percentile."""
        given = await _given(request)
        self.business.latency[str(given["endpoint"])] = float(given["p95"])
        return web.json_response(self.business.latency)

    async def settings(self, request: web.Request) -> web.Response:
        """How long a manual execution takes."""
        self.business.execution_seconds = float((await _given(request))["execution_seconds"])
        return web.json_response({"execution_seconds": self.business.execution_seconds})

    async def add_fault(self, request: web.Request) -> web.Response:
        """Let the next fitting request fail in some way."""
        try:
            self.faults.waiting.append(Fault(**await _given(request)))
        except TypeError as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        return await self.list_faults(request)

    async def forget_faults(self, request: web.Request) -> web.Response:
        """No more faults."""
        self.faults.waiting.clear()
        return await self.list_faults(request)

    async def list_faults(self, _request: web.Request) -> web.Response:
        """Those that wait."""
        return web.json_response([dataclasses.asdict(one) for one in self.faults.waiting])

    async def show_ledger(self, _request: web.Request) -> web.Response:
        """All effects so far."""
        return web.json_response(self.ledger.entries)

    async def show_requests(self, _request: web.Request) -> web.Response:
        """All requests to ``/api`` so far."""
        return web.json_response(self.requests)

    @web.middleware
    async def loopback_only(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Refuses whoever is not on this machine; brings the business up to date for the others."""
        if request.remote not in _LOOPBACK:
            raise web.HTTPForbidden(text="loopback only")
        self.business.advance(time.time())
        return await handler(request)


async def _given(request: web.Request) -> dict[str, Any]:
    given = await request.json()
    if not isinstance(given, dict):
        raise web.HTTPBadRequest(text="the body is no JSON object")
    return given


def _change(thing: Any, given: dict[str, Any]) -> web.Response:
    known = {one.name for one in dataclasses.fields(thing)} - {"id"}
    unknown = sorted(given.keys() - known)
    if unknown:
        raise web.HTTPBadRequest(text=f"unknown: {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    for name, value in given.items():
        setattr(thing, name, value)
    return web.json_response(dataclasses.asdict(thing))


def application(
    business: Business, ledger: Ledger, faults: Faults, requests: list[dict[str, object]]
) -> web.Application:
    """The control API, to be mounted under ``/_control/``."""
    control = Control(business, ledger, faults, requests)
    app = web.Application(middlewares=[control.loopback_only])
    app.router.add_post("/campaigns/{id}", control.campaigns)
    app.router.add_post("/programs/{id}", control.programs)
    app.router.add_post("/workers/{id}", control.workers)
    app.router.add_post("/queues/{id}", control.queues)
    app.router.add_post("/latency", control.latency)
    app.router.add_post("/settings", control.settings)
    app.router.add_post("/faults", control.add_fault)
    app.router.add_delete("/faults", control.forget_faults)
    app.router.add_get("/faults", control.list_faults)
    app.router.add_get("/ledger", control.show_ledger)
    app.router.add_get("/requests", control.show_requests)
    return app
