"""The demo's world: the loyalty API that the demo's policies repair, with its metrics and its ledger.

Run it as its own process: ``python -m remediator.demo.world --port N``. ``/api`` wants the bearer token and
honours ``Idempotency-Key``; ``/_control`` (loopback only, see ``control``) makes things go wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from remediator.demo import control
from remediator.demo.exposition import metrics
from remediator.demo.faults import Fault, Faults
from remediator.demo.ledger import Ledger
from remediator.demo.loyalty import (
    Business,
    Campaign,
    ConflictError,
    Program,
    UnknownThingError,
    Worker,
    iso,
    small_business,
)

TOKEN = "demo-token"  # noqa: S105 - the demo's world holds nothing worth guarding
SLOW = 0.5
"""Seconds; an endpoint whose 95th percentile lies above is slow (the runbook's 500 ms)."""


@dataclass(frozen=True)
class Reply:
    """A status and a JSON body."""

    status: int
    body: dict[str, Any]

    def response(self) -> web.Response:
        """For aiohttp."""
        return web.json_response(self.body, status=self.status)


@dataclass
class World:
    """The business, and what the world remembers of its visitors."""

    business: Business
    ledger: Ledger = field(default_factory=Ledger)
    token: str = TOKEN
    faults: Faults = field(default_factory=Faults)
    requests: list[dict[str, object]] = field(default_factory=list)
    """Every request to ``/api``, refused and repeated ones included, as it came over the wire."""
    answers: dict[str, tuple[str, Reply]] = field(default_factory=dict)
    """Idempotency key to the request that used it first, and its answer."""


WORLD = web.AppKey("world", World)
Effect = Callable[[World, str, dict[str, Any]], Reply]


# --------------------------------------------------------------------------------------- what it shows


def _program(program: Program) -> dict[str, Any]:
    return {
        "id": program.id,
        "name": program.name,
        "status": program.status,
        "earnRate": program.earn_rate,
        "budgetLimit": program.budget_limit,
        "budgetSpent": round(program.budget_spent, 2),
        "version": program.version,
    }


def _campaign(campaign: Campaign) -> dict[str, Any]:
    return {
        "id": campaign.id,
        "name": campaign.name,
        "programId": campaign.program_id,
        "status": campaign.status,
        "startDate": iso(campaign.start_date),
        "executedAt": iso(campaign.executed_at),
        "usersAwarded": campaign.users_awarded,
        "totalPointsAwarded": round(campaign.points_awarded),
    }


def _worker(worker: Worker) -> dict[str, Any]:
    return {
        "name": worker.name,
        "status": "failing" if worker.failing else "ok",
        "executions": worker.executions,
        "lastRun": iso(worker.last_run),
        "lastSuccess": iso(worker.last_success),
    }


async def _show_program(request: web.Request) -> web.Response:
    return web.json_response(_program(_now(request).program(request.match_info["id"])))


async def _show_campaign(request: web.Request) -> web.Response:
    return web.json_response(_campaign(_now(request).campaign(request.match_info["id"])))


async def _show_worker(request: web.Request) -> web.Response:
    return web.json_response(_worker(_now(request).worker(request.match_info["id"])))


async def _show_queues(request: web.Request) -> web.Response:
    queues = _now(request).queues
    return web.json_response(
        {"queues": [{"name": name, "depth": int(depth)} for name, depth in queues.items()]}
    )


async def _show_slow(request: web.Request) -> web.Response:
    slow = [(seconds, name) for name, seconds in _now(request).latency.items() if seconds > SLOW]
    worst = sorted(slow, reverse=True)[:5]
    return web.json_response(
        {"endpoints": [{"endpoint": name, "p95Seconds": seconds} for seconds, name in worst]}
    )


async def _metrics(request: web.Request) -> web.Response:
    text = metrics(_now(request))
    return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def _health(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def _now(request: web.Request) -> Business:
    business = request.app[WORLD].business
    business.advance(time.time())
    return business


# --------------------------------------------------------------------------------------- what it does


def _pause(world: World, name: str, _body: dict[str, Any]) -> Reply:
    return Reply(200, _campaign(world.business.pause(name)))


def _resume(world: World, name: str, _body: dict[str, Any]) -> Reply:
    return Reply(200, _campaign(world.business.resume(name)))


def _change_program(world: World, name: str, body: dict[str, Any]) -> Reply:
    program = world.business.program(name)
    limit, rate = body.get("budgetLimit", program.budget_limit), body.get("earnRate", program.earn_rate)
    for given in (limit, rate):
        if isinstance(given, bool) or not isinstance(given, int | float) or given < 0:
            return Reply(400, {"error": "budgetLimit and earnRate are numbers of at least 0"})
    status = body.get("status", program.status)
    if status not in {"active", "suspended"}:
        return Reply(400, {"error": "status is active or suspended"})
    if body.get("ifVersion", program.version) != program.version:
        return Reply(409, {"error": f"program {name} is at version {program.version}"})
    program.budget_limit, program.earn_rate, program.status = float(limit), float(rate), status
    program.version += 1
    return Reply(200, _program(program))


def _raises_budget(world: World, request: web.Request, body: dict[str, Any]) -> bool:
    """The business wants the number of an approval with it."""
    limit = body.get("budgetLimit")
    if request.method != "PUT" or isinstance(limit, bool) or not isinstance(limit, int | float):
        return False
    return limit > world.business.program(request.match_info["id"]).budget_limit


def _execute_campaign(world: World, _name: str, body: dict[str, Any]) -> Reply:
    name = body.get("campaignId")
    if not isinstance(name, str):
        return Reply(400, {"error": "campaignId is missing"})
    campaign = world.business.execute_campaign(name)
    return Reply(202, {"accepted": True, "worker": "campaign-execution", "campaignId": campaign.id})


def _evaluate_tiers(world: World, _name: str, body: dict[str, Any]) -> Reply:
    program = body.get("programId")
    if program is not None and not isinstance(program, str):
        return Reply(400, {"error": "programId is a string"})
    worker = world.business.evaluate_tiers(program)
    return Reply(202, {"accepted": True, "worker": worker.name, "programId": program})


def _effectful(effect: Effect) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Wraps an effect with its faults, its idempotency key and its ledger entry."""

    async def handle(request: web.Request) -> web.StreamResponse:
        world = request.app[WORLD]
        raw = await request.text()
        try:
            body = json.loads(raw or "{}")
        except ValueError:
            body = None
        if not isinstance(body, dict):
            return Reply(400, {"error": "the body is no JSON object"}).response()
        fault = world.faults.take(request.method, request.path)
        if fault is not None:
            match fault.kind:
                case "late":
                    await asyncio.sleep(fault.seconds)
                case "cut":
                    return _close(request)
                case "status":
                    return Reply(fault.status, {"error": "out of order"}).response()
                case _:
                    pass
        reply = _perform(request, effect, raw, body)
        return reply.response() if fault is None else await _spoil(request, fault, reply)

    return handle


def _perform(request: web.Request, effect: Effect, raw: str, body: dict[str, Any]) -> Reply:
    """Does it once per idempotency key. No await: nothing comes between the look and the deed."""
    world = request.app[WORLD]
    key = request.headers.get("Idempotency-Key")
    asked = f"{request.method} {request.path} {raw}"
    if key is not None and key in world.answers:
        first, reply = world.answers[key]
        return reply if first == asked else Reply(422, {"error": "the key was used for another request"})
    _now(request)
    approval = request.headers.get("X-Approval-Request-Id")
    try:
        if not approval and _raises_budget(world, request, body):
            roles = ["ops_marketing", "finance_ops"]
            return Reply(403, {"status": "approval_required", "requiredRoles": roles})
        reply = effect(world, request.match_info.get("id", ""), body)
    except ConflictError as conflict:
        reply = Reply(409, {"error": str(conflict)})
    except UnknownThingError as unknown:
        reply = Reply(404, {"error": str(unknown)})
    if reply.status < 300:
        world.ledger.append(
            {
                "at": iso(time.time()),
                "method": request.method,
                "path": request.path,
                "body": body,
                "key": key,
                "approval": approval,
            }
        )
    if key is not None:
        world.answers[key] = (asked, reply)
    return reply


async def _read(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """A reading has no effect: before and after are the same."""
    fault = request.app[WORLD].faults.take(request.method, request.path)
    if fault is None:
        return await handler(request)
    match fault.kind:
        case "late" | "delay":
            await asyncio.sleep(fault.seconds)
            return await handler(request)
        case "hang":
            await asyncio.Event().wait()
        case "status" | "status_after":
            return Reply(fault.status, {"error": "out of order"}).response()
        case "close" | "cut":
            pass
    return _close(request)


async def _spoil(request: web.Request, fault: Fault, reply: Reply) -> web.StreamResponse:
    match fault.kind:
        case "delay":
            await asyncio.sleep(fault.seconds)
        case "hang":
            await asyncio.Event().wait()
        case "close":
            return _close(request)
        case "status_after":
            return Reply(fault.status, {"error": "out of order"}).response()
        case _:
            pass
    return reply.response()


def _close(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.close()
    return web.Response(status=500)


# --------------------------------------------------------------------------------------------- serving


@web.middleware
async def _guard(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    world = request.app[WORLD]
    if request.path.startswith("/api/"):
        key = request.headers.get("Idempotency-Key")
        world.requests.append({"at": time.time(), "method": request.method, "path": request.path, "key": key})
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {world.token}".encode()):
            return Reply(401, {"error": "who are you?"}).response()
    try:
        if request.path.startswith("/api/") and request.method == "GET":
            return await _read(request, handler)
        return await handler(request)
    except UnknownThingError as unknown:
        return Reply(404, {"error": str(unknown)}).response()


def application(world: World) -> web.Application:
    """The API, the metrics and the control API of one world."""
    app = web.Application(middlewares=[_guard])
    app[WORLD] = world
    app.router.add_get("/healthz", _health)
    app.router.add_get("/metrics", _metrics)
    app.router.add_get("/api/programs/{id}", _show_program)
    app.router.add_get("/api/campaigns/{id}", _show_campaign)
    app.router.add_get("/api/workers/{id}", _show_worker)
    app.router.add_get("/api/queues", _show_queues)
    app.router.add_get("/api/endpoints/slow", _show_slow)
    app.router.add_put("/api/programs/{id}", _effectful(_change_program))
    app.router.add_post("/api/campaigns/{id}/pause", _effectful(_pause))
    app.router.add_post("/api/campaigns/{id}/resume", _effectful(_resume))
    app.router.add_post("/api/workers/campaign-execution", _effectful(_execute_campaign))
    app.router.add_post("/api/workers/tier-evaluation", _effectful(_evaluate_tiers))
    app.add_subapp(
        "/_control/", control.application(world.business, world.ledger, world.faults, world.requests)
    )
    return app


def main() -> None:
    """Serve on loopback until told to end."""
    parser = argparse.ArgumentParser(
        prog="python -m remediator.demo.world", description="the demo's loyalty API"
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token", default=TOKEN)
    parser.add_argument(
        "--ledger", type=Path, help="append one JSON line per effect, on disk before the answer"
    )
    options = parser.parse_args()
    world = World(small_business(time.time()), Ledger.at(options.ledger), options.token)
    app = application(world)
    web.run_app(app, host="127.0.0.1", port=options.port, print=None, access_log=None, shutdown_timeout=0.2)
    world.ledger.close()


if __name__ == "__main__":
    main()
