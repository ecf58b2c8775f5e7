"""The pages for people: the status of the daemon, one run with its timeline, one alert explained."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from aiohttp import web

from remediator.core.policyset import PolicySet
from remediator.core.run import Page, Run, Stage
from remediator.ports import AlertRow, Disposition, JournalEntry, Tx
from remediator.web import rendering
from remediator.web.access import PERSON
from remediator.web.negotiation import wants_page
from remediator.web.problems import Problem
from remediator.web.reading import explained, known, told
from remediator.web.services import services
from remediator.web.snapshot import take
from remediator.web.timeline import told as in_words
from remediator.web.views import gate_row, open_gate

VARIES = {"Vary": "Accept"}
MOST_LINES = 2000


async def front(_request: web.Request) -> web.Response:
    """Lead to the status page."""
    return web.Response(status=302, headers={"Location": "/status"})


async def status(request: web.Request) -> web.Response:
    """Show everything at a glance: a page for people, JSON for programs."""
    snapshot = await take(services(request), request.get(PERSON))
    if not wants_page(request):
        answer = told(snapshot.shape(), 200 if snapshot.store_up else 503)
        answer.headers.update(VARIES)
        return answer
    roles = snapshot.roles
    page = rendering.render(
        _whole_or_part(request, "status"),
        now=snapshot.now,
        at=snapshot,
        rows=snapshot.rows,
        gates={run.id: gate_row(run, run.gate, roles) for run in snapshot.waiting if run.gate is not None},
    )
    return _html(page, 200 if snapshot.store_up else 503)


async def run(request: web.Request) -> web.Response:
    """Show one run: what was read, planned, agreed, done and proved, and its timeline."""
    found = await _look(request)
    roles = services(request).policies().catalog.roles_at(found.now)
    asked = found.run.gate if open_gate(found.run) is not None else None
    page = rendering.render(
        _whole_or_part(request, "run"),
        now=found.now,
        found=found,
        run=found.run,
        asked=gate_row(found.run, asked, roles) if asked is not None else None,
        gates=[gate_row(found.run, gate, roles) for gate in found.run.all_gates],
        policy=_policy(services(request).policies(), found.run),
        lines=[in_words(entry) for entry in found.journal],
        asking=found.run.stage is Stage.ASKING,
    )
    return _html(page)


async def alert(request: web.Request) -> web.Response:
    """Show one alert, and why each policy does or does not act on it."""
    found = await explained(request)
    page = rendering.render(_whole_or_part(request, "alert"), now=found.at, found=found, alert=found.alert)
    return _html(page)


@dataclass(frozen=True)
class _Found:
    """A run with what the store has beside it."""

    run: Run
    now: datetime
    journal: list[JournalEntry]
    pages: list[Page]
    alerts: list[tuple[str, AlertRow | None]]
    dispositions: list[Disposition]


async def _look(request: web.Request) -> _Found:
    number = request.match_info["id"]

    async def work(tx: Tx) -> _Found | None:
        run = await tx.run(number)
        if run is None:
            return None
        return _Found(
            run=run,
            now=tx.now,
            journal=await tx.read_journal(run.id, limit=MOST_LINES),
            pages=await tx.pages(open_only=False, run=run.id),
            alerts=[(fingerprint, await tx.alert(fingerprint)) for fingerprint in list(run.members)[:50]],
            dispositions=await tx.dispositions(fingerprint=run.alert.fingerprint),
        )

    found = await services(request).store.read(work) if known(number) else None
    if found is None:
        raise Problem(404, "there is no such run")
    return found


def _policy(policies: PolicySet, run: Run) -> dict[str, str]:
    """What the running policy says of itself; empty when it is gone."""
    current = policies.by_name.get(run.policy)
    if current is None:
        return {}
    same = current.version == run.version
    return {
        "summary": current.policy.summary,
        "owner": current.policy.owner,
        "runbook": current.policy.runbook,
        "file": current.file,
        "changed": "" if same else "the policy has changed since",
    }


def _whole_or_part(request: web.Request, name: str) -> str:
    """The script asks for the changing part alone."""
    return f"_{name}.html" if request.query.get("fragment") == "1" else f"{name}.html"


def _html(page: str, status: int = 200) -> web.Response:
    return web.Response(text=page, status=status, content_type="text/html", charset="utf-8", headers=VARIES)
