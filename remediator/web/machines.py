"""What other machines ask: is it alive, is it ready, its metrics, its API's description."""

from __future__ import annotations

import inspect

from aiohttp import web

from remediator.web import openapi, shapes
from remediator.web.reading import told
from remediator.web.route import LISTED
from remediator.web.services import services

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


async def healthz(_request: web.Request) -> web.Response:
    """Say that the process lives."""
    return told(shapes.HealthShape("ok"))


async def readyz(request: web.Request) -> web.Response:
    """Say whether it can work; why not is told to this machine only."""
    ours = services(request)
    problems = ours.ready()
    shown = problems if ours.config.loopback else []
    return told(shapes.HealthShape("not ready" if problems else "ok", shown), 503 if problems else 200)


async def metrics(request: web.Request) -> web.Response:
    """Give Prometheus its metrics."""
    body = services(request).metrics()
    if inspect.isawaitable(body):
        body = await body
    return web.Response(body=body, headers={"Content-Type": METRICS_TYPE})


async def description(request: web.Request) -> web.Response:
    """Describe this API (OpenAPI 3.1)."""
    listed, config = request.config_dict[LISTED], services(request).config
    return told(openapi.document(listed, config.public_url, loopback=config.loopback))
