"""The API's GETs: what the store holds, as JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from remediator.core.run import Run, Stage
from remediator.ports import Explanation, RunFilter, Tx
from remediator.web import shapes
from remediator.web.bodies import Query
from remediator.web.problems import Problem
from remediator.web.services import services
from remediator.web.views import gate_row, open_gate, policy_rows, readable, run_row

T = TypeVar("T")

STATES = ("open", *(str(stage) for stage in Stage))
MOST_RUNS = 500


def told(value: Any, status: int = 200) -> web.Response:
    """An answer in JSON."""
    body = msgspec.json.encode(value)
    return web.Response(body=body, status=status, content_type="application/json", charset="utf-8")


async def _ask(request: web.Request, work: Callable[[Tx], Awaitable[T]]) -> T:
    return await services(request).store.read(work)


async def runs(request: web.Request) -> web.Response:
    """List runs, newest first."""
    query = Query(request, "state", "policy", "target", "before", "limit")
    limit = query.number("limit", 100, MOST_RUNS)
    which = RunFilter(
        state=query.choice("state", STATES),
        policy=query.text("policy"),
        target=query.text("target"),
        before=query.text("before"),
        limit=limit,
    )

    async def work(tx: Tx) -> list[Run] | None:
        if which.before and await tx.run(which.before) is None:
            return None
        return await tx.runs(which)

    found = await _ask(request, work)
    if found is None:
        raise Problem(400, "before is not the id of a run")
    after = found[-1].id if len(found) == limit else None
    return told(shapes.RunList([run_row(one) for one in found], after))


async def found_run(request: web.Request) -> Run:
    """The run that the path names. Raises Problem 404."""
    number = request.match_info["id"]
    run = await _ask(request, lambda tx: tx.run(number)) if known(number) else None
    if run is None:
        raise Problem(404, "there is no such run")
    return run


def known(number: str) -> bool:
    """Could this be an identity at all?"""
    return len(number) <= 200 and number.isascii() and number.isprintable()


async def run(request: web.Request) -> web.Response:
    """One run, with all that is known of it."""
    Query(request)
    return told(readable(await found_run(request)))


async def journal(request: web.Request) -> web.Response:
    """Read a run's journal, from its first line."""
    Query(request)
    found = await found_run(request)
    entries = await _ask(request, lambda tx: tx.read_journal(found.id))
    return told(shapes.JournalShape(found.id, entries))


async def alerts(request: web.Request) -> web.Response:
    """List alerts as last heard."""
    query = Query(request, "state", "limit")
    firing = query.choice("state", ("firing",)) == "firing"
    limit = query.number("limit", 500, 2000)
    return told(shapes.AlertList(await _ask(request, lambda tx: tx.alerts(firing_only=firing, limit=limit))))


async def explained(request: web.Request) -> Explanation:
    """What every policy says to the alert that the path names. Raises Problem 404."""
    fingerprint, here = request.match_info["fingerprint"], services(request)

    async def work(tx: Tx) -> Explanation | None:
        row = await tx.alert(fingerprint)
        return await here.explain(tx, row.alert) if row is not None else None

    found = await _ask(request, work) if known(fingerprint) else None
    if found is None:
        raise Problem(404, "no such alert was heard of")
    return found


async def explain(request: web.Request) -> web.Response:
    """Why did, or didn't, it act? What every policy says to an alert."""
    Query(request)
    return told(await explained(request))


async def policies(request: web.Request) -> web.Response:
    """List the running policies and how their runs ended."""
    Query(request)
    counts = await _ask(request, lambda tx: tx.policy_counts())
    running, refused = services(request).policies(), list(services(request).refused())
    return told(shapes.PolicyList(policy_rows(running, counts), running.version, refused))


async def gates(request: web.Request) -> web.Response:
    """List open gates, the first to expire first."""
    Query(request)

    async def work(tx: Tx) -> tuple[list[Run], datetime]:
        return await tx.runs(RunFilter(state=str(Stage.WAITING), limit=MOST_RUNS)), tx.now

    waiting, now = await _ask(request, work)
    roles = services(request).policies().catalog.roles_at(now)
    rows = [gate_row(one, gate, roles) for one in waiting if (gate := open_gate(one)) is not None]
    return told(shapes.GateList(sorted(rows, key=lambda row: (row.expires_at, row.id))))


async def halts(request: web.Request) -> web.Response:
    """List halts in force."""
    Query(request)
    return told(shapes.HaltList(await _ask(request, lambda tx: tx.halts())))


async def pages(request: web.Request) -> web.Response:
    """List pages that nobody has acknowledged."""
    Query(request)
    return told(shapes.PageList(await _ask(request, lambda tx: tx.pages())))


async def rejected(request: web.Request) -> web.Response:
    """List webhooks that could not be taken, newest first."""
    Query(request)
    return told(shapes.RejectedList(await _ask(request, lambda tx: tx.rejected())))
