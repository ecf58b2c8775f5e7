"""Talking to one HTTP service at a fixed host: a probe (GET) and an action (POST, PUT, PATCH, DELETE).

Exactly one request goes on the wire, however the other side misbehaves (`once`). An answer is data:
bounded, decoded leniently, believed only in its status.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Annotated, Any
from urllib.parse import quote

import aiohttp
from pydantic import AfterValidator, Field
from yarl import URL

from remediator.config import Duration
from remediator.connectors import once
from remediator.connectors.decoding import as_json
from remediator.connectors.once import NEVER_SENT
from remediator.connectors.settings import Authorities, BaseUrl, Headers, Settings, header_problem
from remediator.connectors.unoffered import Unoffered
from remediator.core.canonical import inert
from remediator.core.catalog import Escape, Fence, Kind, Operation, Param, Risk
from remediator.core.cutting import broken_off, shortened, words
from remediator.core.escaping import checked_path
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.errors import ConnectorError
from remediator.ports import ConnectorKind, Order

METHODS = ("POST", "PUT", "PATCH", "DELETE")
MOST_BYTES = 64 * 1024
LONGEST = timedelta(seconds=60)

_PATH = Param(
    "Path below the connection's base_url, from its first slash; each `${…}` is one percent-encoded segment.",
    escape=Escape.PATH,
    required=True,
)
_QUERY = Param("Map of query parameters; text, numbers and booleans, or lists of them.", type="map")

GET = Operation(
    name="http.get",
    kind=Kind.PROBE,
    doc="GET a path. `json` is null when the answer is no JSON; `text` is its first 64 KiB.",
    params={
        "path": _PATH,
        "query": _QUERY,
        "expect_status": Param("The one status that counts as an answer; by default any 2xx.", type="int"),
    },
    longest=LONGEST,
    reads=("status", "json", "text"),
)

REQUEST = Operation(
    name="http.request",
    kind=Kind.ACTION,
    doc="Send one request. 2xx is done; 3xx and 4xx are refused; 5xx or no answer is unknown.",
    params={
        "method": Param("The method.", escape=Escape.LITERAL, required=True, choices=METHODS),
        "path": _PATH,
        "query": _QUERY,
        "body": Param("Any value, sent as JSON; left out, nothing is sent.", type="any"),
        "headers": Param("Map of further headers; the connection's own cannot be replaced.", type="strings"),
        "ok": Param("Statuses that count as done, such as [200, 404]; by default any 2xx.", type="list"),
    },
    risk=Risk.DISRUPTIVE,
    longest=LONGEST,
)

_RESERVED = frozenset(
    [
        "accept-encoding",
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)
_ENDPOINT = re.compile(rf"({'|'.join(METHODS)}) /[!-~]*")


def _endpoints(value: dict[str, Risk]) -> dict[str, Risk]:
    for pattern in value:
        if not _ENDPOINT.fullmatch(pattern):
            raise ValueError(f"{pattern!r} is no endpoint: write METHOD /path, such as 'POST /api/workers/*'")
        if any("*" in part and part != "*" for part in pattern.split("/")):
            raise ValueError(f"{pattern!r}: a * stands for one whole path segment")
    return value


def _key_header(value: str | None) -> str | None:
    if value is not None and (problem := header_problem(value, "")):
        raise ValueError(problem)
    if value is not None and value.lower() in _RESERVED:
        raise ValueError(f"{value} means something else already; services use Idempotency-Key")
    return value


class HttpSettings(Settings):
    """An HTTP service."""

    base_url: BaseUrl = Field(description="its address, such as https://loyalty.internal:3077")
    headers: Headers = Field(default={}, description="added to each request, such as Authorization")
    endpoints: Annotated[dict[str, Risk], AfterValidator(_endpoints)] = Field(
        default={},
        description="risks of single endpoints, such as 'POST /api/workers/*': safe. A * is one segment; a "
        "slash at the end and percent-encoding make no other endpoint; the pattern with most segments "
        "spelled out wins, the riskiest of several",
    )
    idempotency_header: Annotated[str | None, AfterValidator(_key_header)] = Field(
        default=None, description="the header by which the service does a repeated request only once"
    )
    timeout: Duration = Field(default=timedelta(seconds=10), gt=timedelta(0), le=LONGEST)
    ca: Authorities = None

    @property
    def risks(self) -> Mapping[str, Risk]:
        """As written in the config."""
        return MappingProxyType(self.endpoints)

    @property
    def fence(self) -> Fence:
        """A key, if the service honours one."""
        return Fence.KEY if self.idempotency_header else Fence.NONE


@dataclass(frozen=True)
class _Request:
    method: str
    url: URL
    headers: Mapping[str, str]
    body: bytes | None = None


@dataclass(frozen=True)
class _Answer:
    status: int
    raw: bytes
    encoded: str = ""  # a Content-Encoding that was not asked for

    def shown(self) -> dict[str, Any]:
        text = "" if self.encoded else self.raw[:MOST_BYTES].decode("utf-8", "replace")
        kept = broken_off(text) if len(self.raw) > MOST_BYTES else text
        return {
            "status": self.status,
            "json": as_json(text),
            "text": kept.replace("\0", "\N{REPLACEMENT CHARACTER}"),
        }


class Http(Unoffered):
    """A configured HTTP service."""

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._own = {name: value.get_secret_value() for name, value in settings.headers.items()}
        self._trust: ssl.SSLContext | bool = True
        if settings.ca is not None:
            self._trust = ssl.create_default_context(cafile=str(settings.ca))

    async def read(self, call: Call, *, timeout: float) -> dict[str, Any]:
        """`status`, `json` and `text` of a GET."""
        try:
            request = self._request("GET", call.args)
        except ValueError as error:
            raise ConnectorError(call.connection, f"not asked: {error}") from error
        try:
            answer = await self._send(request, timeout)
        except TimeoutError as error:
            raise ConnectorError(
                call.connection, f"no answer within {self._within(timeout):g} s to GET {request.url.raw_path}"
            ) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ConnectorError(
                call.connection,
                f"GET {request.url.raw_path}: {words(error)}",
                remedy="is its base_url right?",
            ) from error
        if answer.encoded:
            raise ConnectorError(
                call.connection, f"answered in {shortened(answer.encoded, 40)!r}, which was not asked for"
            )
        check_answered(call, request.url.raw_path, answer.status)
        return answer.shown()

    async def act(self, call: Call, *, order: Order, timeout: float) -> Result:
        """Send it, once."""
        try:
            ok = statuses(call.args.get("ok"))
            request = self._request(_method(call.args), call.args, order.key)
        except (ValueError, TypeError) as error:
            return Refused(f"never sent: {error}")
        try:
            answer = await self._send(request, timeout, order.late)
        except NEVER_SENT as error:
            return Refused(f"never sent: {words(error)}")
        except TimeoutError:
            return Unknown(f"no answer within {self._within(timeout):g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Unknown(f"sent, and then: {words(error)}")
        keyed = bool(self._settings.idempotency_header)
        return judged(answer.shown(), _brief(answer), ok, keyed=keyed)

    def _request(self, method: str, args: Mapping[str, Any], key: str = "") -> _Request:
        """Raises ValueError or TypeError for what may not be sent."""
        address = _address(args)
        body = None
        headers = {"Accept-Encoding": "identity", "User-Agent": "remediator"}
        if "body" in args:
            body = json.dumps(inert(args["body"]), allow_nan=False).encode()
            headers["Content-Type"] = "application/json"
        own = {name.lower() for name in self._own}
        if self._settings.idempotency_header:
            own.add(self._settings.idempotency_header.lower())
        headers |= _further(args, own)
        headers.update(self._own)
        if self._settings.idempotency_header and key:
            if problem := header_problem(self._settings.idempotency_header, key):
                raise ValueError(problem)
            headers[self._settings.idempotency_header] = key
        return _Request(method, URL(self._settings.base_url + address, encoded=True), headers, body)

    def _within(self, timeout: float) -> float:
        return min(timeout, self._settings.timeout.total_seconds())

    async def _send(self, request: _Request, timeout: float, late: Callable[[], str] = lambda: "") -> _Answer:
        within = self._within(timeout)
        way = once.over_tcp(late, self._trust)
        async with asyncio.timeout(within), once.session(way, within) as session:
            response = await session.request(
                request.method,
                request.url,
                headers=request.headers,
                data=request.body,
                allow_redirects=False,
            )
            async with response:
                encoded = response.headers.get("Content-Encoding", "identity").strip().lower()
                raw = await _first(response)
                return _Answer(response.status, raw, "" if encoded == "identity" else encoded)


# ── What needs no connection: which requests are sent, and what an answer's status means ─────────────


def unsendable(call: Call) -> str:
    """Why no HTTP connection would send this, or "". A connection may have headers of its own besides."""
    try:
        _address(call.args)
        if call.operation == REQUEST.name:
            _method(call.args)
            statuses(call.args.get("ok"))
            _further(call.args, set())
    except (ValueError, TypeError) as error:
        return str(error)
    return ""


def check_answered(call: Call, path: str, status: int) -> None:
    """Raises ConnectorError for an answer that is no reading."""
    expected = call.args.get("expect_status")
    if status != expected if expected is not None else not 200 <= status < 300:
        wanted = expected if expected is not None else "2xx"
        raise ConnectorError(
            call.connection,
            f"GET {path} answered {status}, not {wanted}",
            remedy="write expect_status if this status is meant",
        )


def judged(shown: Mapping[str, Any], brief: str, ok: frozenset[int], *, keyed: bool) -> Result:
    """What became of a request. ``keyed``: the service does a repeated one only once."""
    status = shown["status"]
    said = f"answered {status}: {brief}"
    if status in ok:
        return Done(dict(shown))
    if status == 409 and keyed:
        # The same key may still be at work there: a conflict with ourselves.
        return Unknown(said)
    if 300 <= status < 400:
        return Refused(f"answered {status}; redirects are not followed")
    if 400 <= status < 500:
        return Refused(said)
    return Unknown(said)


async def _first(response: aiohttp.ClientResponse) -> bytes:
    """The whole body, or of a longer one its first 64 KiB and one byte. One that breaks off before raises."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(8192):
        body += chunk
        if len(body) > MOST_BYTES:
            break
    return bytes(body[: MOST_BYTES + 1])


def _method(args: Mapping[str, Any]) -> str:
    method = args.get("method")
    if method not in METHODS:
        raise ValueError(f"{method!r} is not one of {', '.join(METHODS)}")
    return str(method)


def _address(args: Mapping[str, Any]) -> str:
    """Path and query, behind the base_url."""
    return checked_path(args.get("path")) + _query_string(args.get("query") or {})


def _further(args: Mapping[str, Any], own: set[str]) -> dict[str, str]:
    """The headers of a policy. ``own``: the connection's, in small letters."""
    headers = {}
    for name, value in (args.get("headers") or {}).items():
        if name.lower() in _RESERVED | own:
            raise ValueError(f"header {name} cannot be set by a policy")
        if problem := header_problem(name, str(value)):
            raise ValueError(problem)
        headers[name] = str(value)
    return headers


def _query_string(query: object) -> str:
    if not isinstance(query, Mapping):
        raise TypeError("the query must be a map")
    pairs = [
        f"{quote(str(name), safe='')}={quote(_query_value(str(name), one), safe='')}"
        for name, value in query.items()
        for one in (value if isinstance(value, list | tuple) else (value,))
    ]
    return "?" + "&".join(pairs) if pairs else ""


def _query_value(name: str, value: object) -> str:
    match inert(value):
        case bool(yes):
            return "true" if yes else "false"
        case str(text):
            return text
        case int() | float() as number:
            return str(number)
    raise ValueError(f"query parameter {name} is neither text, a number nor a boolean")


def statuses(ok: object) -> frozenset[int]:
    """Those that count as done. Raises ValueError."""
    if ok is None:
        return frozenset(range(200, 300))
    if not isinstance(ok, list | tuple) or not ok:
        raise ValueError("ok must be a list of statuses, such as [200, 404]")
    for status in ok:
        if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status < 500:
            raise ValueError(f"{status!r} cannot count as done; only 200 to 499 can")
    return frozenset(ok)


def _brief(answer: _Answer) -> str:
    return shortened(" ".join(answer.shown()["text"].split())) or "(nothing)"


KIND = ConnectorKind(
    name="http",
    doc="An HTTP service at a fixed host.",
    operations=(GET, REQUEST),
    settings=HttpSettings,
    make=Http,
)
