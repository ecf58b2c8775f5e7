"""Who asks, and may they? Asked before any handler runs, of every request.

Reading needs a person only where others than this machine could read. Changing always needs a
person's own bearer token: nothing that a browser adds by itself (cookies, Basic) changes anything.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from enum import StrEnum
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from remediator.config import SHORTEST_TOKEN, Config
from remediator.web.bodies import json_only
from remediator.web.problems import Problem

PERSON = web.RequestKey("person", str)
"""Who asks, once that is known."""

_LOOPBACK = ("127.0.0.1", "[::1]", "localhost")
_BASIC = 'Basic realm="Remediator", charset="UTF-8"'
_BEARER = 'Bearer realm="Remediator"'

Identify = Callable[[str], str | None]


class Access(StrEnum):
    """What a route asks of its clients."""

    OPEN = "open"  # nothing
    READ = "read"  # a person, unless only this machine can reach us
    CHANGE = "change"  # a person by bearer token, JSON, and no other site's page
    ITSELF = "itself"  # the handler proves its senders itself (hooks)


def person(request: web.Request) -> str:
    """Who asks for a change; the gatekeeper has made sure that it is somebody."""
    return request[PERSON]


def admit(request: web.Request, access: Access, config: Config, identify: Identify) -> None:
    """Raises Problem 401, 403 or 415; remembers who it is."""
    match access:
        case Access.READ:
            _may_read(request, config, identify)
        case Access.CHANGE:
            _may_change(request, config, identify)
        case Access.OPEN | Access.ITSELF:
            pass


def _may_read(request: web.Request, config: Config, identify: Identify) -> None:
    given = request.headers.getall(hdrs.AUTHORIZATION, [])
    who = _bearer(given, identify) or _basic(given, identify)
    if who is not None:
        request[PERSON] = who
    elif given or not (config.loopback and _by_loopback_name(request)):
        told = _nobodys(given) if given else "say who you are: your name and your API token"
        raise Problem(401, told, {hdrs.WWW_AUTHENTICATE: _BASIC})


def _may_change(request: web.Request, config: Config, identify: Identify) -> None:
    _same_site(request, config)
    given = request.headers.getall(hdrs.AUTHORIZATION, [])
    who = _bearer(given, identify)
    if who is None:
        bearer = any(one.lower().startswith("bearer ") for one in given)
        told = "changes need Authorization: Bearer and a person's API token"
        told = _nobodys(given) if bearer else told
        raise Problem(401, told, {hdrs.WWW_AUTHENTICATE: _BEARER})
    json_only(request)
    request[PERSON] = who


def _nobodys(given: list[str]) -> str:
    short = 0 < len(_credentials(given, "bearer")) < SHORTEST_TOKEN
    return f"this token is nobody's{f': it has less than {SHORTEST_TOKEN} characters' if short else ''}"


def _by_loopback_name(request: web.Request) -> bool:
    """A name that another site made point here (DNS rebinding) is not one of ours."""
    host = request.headers.get(hdrs.HOST, "").lower()
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host) in _LOOPBACK


def _same_site(request: web.Request, config: Config) -> None:
    """No page of another site may have caused this. Clients that are no browser send neither header."""
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise Problem(403, "refused: another site's page has sent this")
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None:
        return
    host = request.headers.get(hdrs.HOST, "").lower()
    ours = urlsplit(config.public_url).netloc.lower()
    found = urlsplit(origin.lower())
    if found.scheme not in ("http", "https") or not found.netloc or found.netloc not in (host, ours):
        raise Problem(403, "refused: another site's page has sent this")


def _bearer(given: list[str], identify: Identify) -> str | None:
    token = _credentials(given, "bearer")
    return identify(token) if token else None


def _basic(given: list[str], identify: Identify) -> str | None:
    packed = _credentials(given, "basic")
    try:
        name, colon, token = base64.b64decode(packed, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    if not (name and colon and token):
        return None
    who = identify(token)
    return who if who == name else None


def _credentials(given: list[str], wanted: str) -> str:
    """The one Authorization header's credentials, if they are of this kind."""
    if len(given) != 1:
        return ""
    scheme, _, rest = given[0].partition(" ")
    return rest.strip() if scheme.lower() == wanted else ""
