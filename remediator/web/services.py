"""What the web needs of the rest of the daemon; built by app.py, read by every route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from remediator.config import Config
from remediator.core.alert import Alert
from remediator.core.policyset import PolicySet
from remediator.ports import Desk, Explanation, Feed, Store, Tx

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True)
class Services:
    """Everything that a route may ask.

    refused: why the policies in the folder cannot be used, a problem each, while the running set goes on.
    identify: an API token → the person whose it is. ready: why the daemon is not ready; empty when
    it is. metrics: Prometheus' text format. explain: what every running policy says to an alert.
    extra_routes: (method, path, handler) of doors that check their senders themselves; each must
    stand in `routes.ROUTES`.
    """

    config: Config
    store: Store
    desk: Desk
    feed: Feed
    policies: Callable[[], PolicySet]
    refused: Callable[[], Sequence[str]]
    identify: Callable[[str], str | None]
    ready: Callable[[], list[str]]
    metrics: Callable[[], bytes | Awaitable[bytes]]
    explain: Callable[[Tx, Alert], Awaitable[Explanation]]
    extra_routes: Sequence[tuple[str, str, Handler]] = ()


SERVICES = web.AppKey("services", Services)


def services(request: web.Request) -> Services:
    """Those of the application that answers this request."""
    return request.config_dict[SERVICES]
