"""Every route there is, with what it asks of its clients. What does not stand here does not exist.

The first stop of a request: `server` builds the router from this table and `access` enforces it;
`openapi` describes it; a test walks it, route by role.
"""

from __future__ import annotations

from remediator.core.run import Run
from remediator.ports import Explanation
from remediator.web import assets, changing, events, machines, pages, reading, shapes
from remediator.web.access import Access
from remediator.web.route import Param, Route

_RUNS = {
    "state": Param("open, holding, closed, or a stage", reading.STATES),
    "policy": Param("of this policy only"),
    "target": Param("on this target only"),
    "before": Param("a run's id: only older ones"),
    "limit": Param("at most so many", most=reading.MOST_RUNS),
}
_ALERTS = {
    "state": Param("firing: only those that fire", ("firing",)),
    "limit": Param("at most so many", most=2000),
}

_OPEN, _READ, _CHANGE, _ITSELF = Access.OPEN, Access.READ, Access.CHANGE, Access.ITSELF
_HTML = "text/html"

ROUTES: tuple[Route, ...] = (
    # Doors that prove their senders themselves
    Route("POST", "/hooks/alertmanager", _ITSELF, None),
    Route("POST", "/hooks/grafana", _ITSELF, None),
    Route("POST", "/hooks/slack/actions", _ITSELF, None),
    Route("POST", "/hooks/slack/commands", _ITSELF, None),
    # For people
    Route("GET", "/", _OPEN, pages.front, media=_HTML),
    Route("GET", "/status", _READ, pages.status, shapes.StatusShape),
    Route("GET", "/runs/{id}", _READ, pages.run, media=_HTML),
    Route("GET", "/alerts/{fingerprint}", _READ, pages.alert, media=_HTML),
    Route("GET", "/static/{name}", _OPEN, assets.serve, media="*/*"),
    # For machines
    Route("GET", "/healthz", _OPEN, machines.healthz, shapes.HealthShape),
    Route("GET", "/readyz", _OPEN, machines.readyz, shapes.HealthShape),
    Route("GET", "/metrics", _READ, machines.metrics, media="text/plain"),
    # The API: reading
    Route("GET", "/api/v1/openapi.json", _READ, machines.description),
    Route("GET", "/api/v1/runs", _READ, reading.runs, shapes.RunList, query=_RUNS),
    Route("GET", "/api/v1/runs/{id}", _READ, reading.run, Run),
    Route("GET", "/api/v1/runs/{id}/journal", _READ, reading.journal, shapes.JournalShape),
    Route("GET", "/api/v1/alerts", _READ, reading.alerts, shapes.AlertList, query=_ALERTS),
    Route("GET", "/api/v1/alerts/{fingerprint}/explain", _READ, reading.explain, Explanation),
    Route("GET", "/api/v1/policies", _READ, reading.policies, shapes.PolicyList),
    Route("GET", "/api/v1/gates", _READ, reading.gates, shapes.GateList),
    Route("GET", "/api/v1/halts", _READ, reading.halts, shapes.HaltList),
    Route("GET", "/api/v1/pages", _READ, reading.pages, shapes.PageList),
    Route("GET", "/api/v1/rejected", _READ, reading.rejected, shapes.RejectedList),
    Route("GET", "/api/v1/events", _READ, events.events, media="text/event-stream"),
    # The API: changing
    Route("POST", "/api/v1/gates/{id}/votes", _CHANGE, changing.vote, shapes.Told, shapes.VoteBody),
    Route("POST", "/api/v1/gates/{id}/ask", _CHANGE, changing.ask_again, shapes.Told, shapes.AskBody),
    Route("POST", "/api/v1/runs", _CHANGE, changing.start, shapes.Told, shapes.StartBody),
    Route("POST", "/api/v1/runs/{id}/settle", _CHANGE, changing.settle, shapes.Told, shapes.SettleBody),
    Route("POST", "/api/v1/halts", _CHANGE, changing.halt, shapes.Told, shapes.HaltBody),
    Route("DELETE", "/api/v1/halts/{id}", _CHANGE, changing.resume, shapes.Told, shapes.Nothing),
    Route("POST", "/api/v1/policies/reload", _CHANGE, changing.reload, shapes.Told, shapes.Nothing),
    Route("POST", "/api/v1/pages/{id}/ack", _CHANGE, changing.acknowledge, shapes.Told, shapes.Nothing),
)

BY_NAME = {route.name: route for route in ROUTES}
