"""The API's changes: what a known person asks for, handed to the desk, and what the desk made of it."""

from __future__ import annotations

import logging
from dataclasses import replace
from urllib.parse import quote

from aiohttp import web

from remediator.ports import Answer
from remediator.web import shapes
from remediator.web.access import person
from remediator.web.bodies import Query, read
from remediator.web.problems import Problem
from remediator.web.reading import known, told
from remediator.web.services import services

log = logging.getLogger(__name__)


def _told(request: web.Request, what: str, answer: Answer) -> web.Response:
    """The desk's answer; a "no" keeps its words and its status."""
    fields = {"what": what, "by": person(request), "ok": answer.ok, "answer": answer.text}
    log.info("asked by a person", extra=fields)
    status = answer.status if answer.ok or answer.status >= 400 else 409
    return told(shapes.Told(answer.ok, answer.text, answer.data or {}), status)


def _number(request: web.Request, what: str) -> str:
    Query(request)
    number = request.match_info["id"]
    if not known(number):
        raise Problem(404, f"there is no such {what}")
    return number


async def vote(request: web.Request) -> web.Response:
    """Approve or deny a gate."""
    gate = _number(request, "gate")
    body = await read(request, shapes.VoteBody)
    answer = await services(request).desk.vote(
        gate,
        by=person(request),
        approve=body.vote == "approve",
        via=body.via,
        reason=body.reason,
        seen=body.hash,
    )
    return _told(request, f"{body.vote} {gate}", answer)


async def ask_again(request: web.Request) -> web.Response:
    """Have a gate that expired asked again: its alerts are decided anew at once."""
    gate = _number(request, "gate")
    body = await read(request, shapes.AskBody)
    answer = await services(request).desk.ask_again(gate, by=person(request), via=body.via)
    return _told(request, f"ask again {gate}", answer)


async def start(request: web.Request) -> web.Response:
    """Start a run by hand: opened as for an alert, within the same bounds."""
    Query(request)
    body = await read(request, shapes.StartBody)
    desk = services(request).desk
    answer = await desk.start(body.policy, body.params, by=person(request), key=body.key)
    if (run := (answer.data or {}).get("run")) is not None:
        page = f"{services(request).config.public_url.rstrip('/')}/runs/{quote(str(run), safe='')}"
        answer = replace(answer, data={**(answer.data or {}), "page": page})
    return _told(request, f"start {body.policy}", answer)


async def settle(request: web.Request) -> web.Response:
    """Say what became of an unknown outcome."""
    run = _number(request, "run")
    body = await read(request, shapes.SettleBody)
    answer = await services(request).desk.settle(
        run,
        by=person(request),
        verdict=body.verdict,
        reason=body.reason,
        via=body.via,
        question=body.question,
    )
    return _told(request, f"settle {run} {body.verdict}", answer)


async def halt(request: web.Request) -> web.Response:
    """Throw the kill switch: for a policy, a target, or everything."""
    Query(request)
    body = await read(request, shapes.HaltBody)
    if not body.reason.strip():
        raise Problem(400, "say why: others will ask (reason)")
    scope = _scope(body)
    answer = await services(request).desk.halt(
        by=person(request), scope=scope, reason=body.reason, undos=body.undos
    )
    return _told(request, f"halt {scope}", answer)


def _scope(body: shapes.HaltBody) -> str:
    match body.policy, body.target:
        case str(), str():
            raise Problem(400, "name a policy or a target, not both; name neither to halt everything")
        case str(policy), _:
            return f"policy:{policy}"
        case _, str(target):
            return f"target:{target}"
        case _:
            return "all"


async def resume(request: web.Request) -> web.Response:
    """Lift a halt."""
    number = _number(request, "halt")
    await read(request, shapes.Nothing)
    return _told(request, f"resume {number}", await services(request).desk.resume(number, by=person(request)))


async def acknowledge(request: web.Request) -> web.Response:
    """Say that a page has reached somebody."""
    number = _number(request, "page")
    await read(request, shapes.Nothing)
    answer = await services(request).desk.acknowledge(number, by=person(request))
    return _told(request, f"acknowledge {number}", answer)


async def reload(request: web.Request) -> web.Response:
    """Read the policies again: all or nothing."""
    Query(request)
    await read(request, shapes.Nothing)
    return _told(request, "reload policies", await services(request).desk.reload(by=person(request)))
