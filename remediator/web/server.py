"""The daemon's HTTP side: `make_app` turns the table of routes into an application.

Around every handler: who asks (`access`), security headers on every answer, problems in the form
that the client reads, and a request id that ties an answer to its line in the log.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from types import MappingProxyType

import msgspec
from aiohttp import web

from remediator.errors import RemediatorError, StoreError
from remediator.web.access import PERSON, admit
from remediator.web.bodies import MOST
from remediator.web.events import LISTENERS, Listeners, events
from remediator.web.problems import REQUEST_ID, Problem, answer
from remediator.web.route import LISTED, Route
from remediator.web.routes import BY_NAME, ROUTES
from remediator.web.services import SERVICES, Handler, Services

log = logging.getLogger(__name__)

SECURITY = MappingProxyType(
    {
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
)


def make_app(services: Services) -> web.Application:
    """The application over these services. Raises ValueError for an extra route that is not listed."""
    app = web.Application(
        middlewares=(_answered, _admitted),
        client_max_size=max(MOST, services.config.hooks.alertmanager.max_body),
    )
    app[SERVICES] = services
    app[LISTED] = ROUTES
    app[LISTENERS] = listeners = Listeners(services.feed)
    app.cleanup_ctx.append(listeners.running)
    app.on_shutdown.append(listeners.end)
    app.on_response_prepare.append(_secured)
    for route in ROUTES:
        if route.handler is not None:
            _add(app, route, route.handler)
    for method, path, handler in services.extra_routes:
        door = BY_NAME.get(f"{method} {path}")
        if door is None or door.handler is not None:
            raise ValueError(f"{method} {path} does not stand in web/routes.py as a door of its own")
        _add(app, door, handler)
    return app


def _add(app: web.Application, route: Route, handler: Handler) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await handler(request)

    if route.method == "GET":
        app.router.add_get(route.path, handle, name=None, allow_head=handler is not events)
    else:
        app.router.add_route(route.method, route.path, handle)


def route_of(request: web.Request) -> Route | None:
    """The line of the table that this request came by; None: no such path or method."""
    resource = request.match_info.route.resource
    method = "GET" if request.method == "HEAD" else request.method
    return BY_NAME.get(f"{method} {resource.canonical}") if resource is not None else None


@web.middleware
async def _answered(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Every request gets an answer, and a line in the log; no answer holds a traceback."""
    request[REQUEST_ID] = secrets.token_hex(6)
    began = time.perf_counter()
    try:
        response = await handler(request)
    except Problem as problem:
        response = answer(request, problem)
    except web.HTTPException as error:
        response = answer(request, _from_aiohttp(error)) if error.status >= 400 else error
    except StoreError as error:
        log.warning(
            "the store does not answer", extra={"request": request[REQUEST_ID], "problem": str(error)}
        )
        response = answer(request, Problem(503, f"the store does not answer: {error.problem}"))
    except msgspec.DecodeError as error:  # a row of the store: what others send is read by `bodies`
        about = {"request": request[REQUEST_ID], "path": request.path, "problem": str(error)}
        log.warning("a row that was asked for cannot be read", extra=about)
        text = "what the store keeps of this cannot be read until somebody has mended it; the log says why"
        response = answer(request, Problem(500, text))
    except RemediatorError as error:
        log.warning("refused", extra={"request": request[REQUEST_ID], "problem": str(error)})
        response = answer(request, Problem(getattr(error, "status", 500), error.problem))
    except Exception:
        log.exception("a request broke", extra={"request": request[REQUEST_ID], "path": request.path})
        response = answer(request, Problem(500, "this went wrong; the log has the details"))
    _log(request, response, time.perf_counter() - began)
    return response


@web.middleware
async def _admitted(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Nobody comes past who may not. A route that is not in the table lets nobody in."""
    if request.match_info.http_exception is not None:
        return await handler(request)  # 404 or 405
    route = route_of(request)
    if route is None:
        raise Problem(403, "this route is not listed")
    services = request.config_dict[SERVICES]
    admit(request, route.access, services.config, services.identify)
    return await handler(request)


async def _secured(request: web.Request, response: web.StreamResponse) -> None:
    """On every answer, whatever made it."""
    for name, value in SECURITY.items():
        response.headers[name] = value
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Request-Id"] = request.get(REQUEST_ID, "")
    response.headers.popall("Server", None)


def _from_aiohttp(error: web.HTTPException) -> Problem:
    allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
    return Problem(error.status, HTTPStatus(error.status).phrase.lower(), allowed)


def _log(request: web.Request, response: web.StreamResponse, seconds: float) -> None:
    usual = request.method in ("GET", "HEAD") or request.path.startswith("/hooks/")
    quiet = response.status < (500 if request.method in ("GET", "HEAD") else 300)
    level = logging.DEBUG if usual and quiet else logging.INFO
    if not log.isEnabledFor(level):
        return
    log.log(
        level,
        "%s %s %s",
        request.method,
        request.path[:200],
        response.status,
        extra={
            "request": request[REQUEST_ID],
            "person": request.get(PERSON, ""),
            "peer": request.remote or "",
            "ms": round(seconds * 1000, 1),
        },
    )
