"""What went wrong, as an answer: short JSON for programs, a small page for people, never a traceback."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from aiohttp import web

from remediator.web import rendering
from remediator.web.negotiation import wants_page
from remediator.web.shapes import ProblemShape

MACHINES = ("/api/", "/hooks/", "/metrics", "/healthz", "/readyz", "/static/")
"""Paths that no person opens: they are always answered in JSON."""

REQUEST_ID = web.RequestKey("request_id", str)


class Problem(Exception):
    """An answer that is not 2xx, with one line for whoever asked."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        """``text`` names the problem and, where there is one, the remedy."""
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = dict(headers or {})


def answer(request: web.Request, problem: Problem) -> web.Response:
    """The problem in the form that the client reads."""
    number = request.get(REQUEST_ID, "")
    headers = {"Cache-Control": "no-store"} | problem.headers
    if not request.path.startswith(MACHINES) and wants_page(request):
        page = rendering.render(
            "error.html",
            title=HTTPStatus(problem.status).phrase,
            status=problem.status,
            text=problem.text,
            number=number,
        )
        return web.Response(text=page, status=problem.status, content_type="text/html", headers=headers)
    body = msgspec.json.encode(ProblemShape(problem.text, problem.status, number))
    return web.Response(
        body=body, status=problem.status, content_type="application/json", charset="utf-8", headers=headers
    )
