"""The way to the API server: one request, once, by the client library, and what an answer means.

The library finds the way (kubeconfig, service account, certificates, tokens) and writes the request; the
connection under it is ours: fresh for each, never tried twice, never redirected, asked once more whether it
is too late. It is imported in a thread when first used, for that takes most of a second.
"""

from __future__ import annotations

import asyncio
import copy
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from remediator.connectors import once
from remediator.connectors.kubernetes.kinds import Place
from remediator.connectors.kubernetes.settings import KubernetesSettings
from remediator.connectors.once import NEVER_SENT, never_late
from remediator.core.calls import printable
from remediator.core.cutting import words
from remediator.core.messages import Refused, Result, Unknown
from remediator.errors import ConnectorError

MANAGER = "remediator"
"""The field manager under which the API server knows what we change."""
SERVER_TIMEOUT = "10s"
"""How long the API server may work on one change of ours: after that it gives it up by itself."""
MOST_BYTES = 8 * 1024 * 1024
RELOADED = 300.0
"""Seconds after which a kubeconfig is read again: tokens and certificates are renewed."""
PATCH = "application/strategic-merge-patch+json"


@dataclass(frozen=True)
class Answer:
    """An object, and the server's time in seconds since 1970; None where it did not say."""

    object: dict[str, Any]
    at: float | None


class NeverSentError(Exception):
    """Not a byte of it left."""


class LostError(Exception):
    """It was sent, and it is not known what came of it."""


class AnsweredError(Exception):
    """The server said no. reason: its own word for it, such as ``Conflict``."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(f"answered {status}{f' {reason}' if reason else ''}: {message}")

    @property
    def certain(self) -> bool:
        """Is it sure that nothing was changed?

        429 is said before a request is begun (priority and fairness, a disruption budget). 408 and 5xx may be
        said by somebody in between, or about a change that goes on: the 504 of a timeout above all.
        """
        return self.status < 500 and self.status != 408


class MissingError(ConnectorError):
    """There is no such object."""


class Link:
    """The way to one cluster."""

    def __init__(self, settings: KubernetesSettings) -> None:
        self._settings = settings
        self._ready: _Ready | None = None
        self._opening = asyncio.Lock()

    async def get(self, name: str, place: Place) -> Answer:
        """Read one object. Raises ConnectorError, of which MissingError."""
        return await self.read(name, place.path(), f"{place.kind.name} {place.namespace}/{place.name}")

    async def read(self, name: str, path: str, what: str, query: Mapping[str, str] | None = None) -> Answer:
        """GET. ``what``: for people. Raises ConnectorError."""
        try:
            return await self.send("GET", path, query=query)
        except AnsweredError as error:
            if error.status == 404 and error.reason == "NotFound":
                raise MissingError(name, f"there is no {what}") from None
            raise ConnectorError(name, f"{what}: {error}", remedy=_remedy(error)) from None
        except (NeverSentError, LostError) as error:
            raise ConnectorError(name, f"{what}: {error}", remedy="is the cluster reachable?") from None

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        late: Callable[[], str] = never_late,
    ) -> Answer:
        """One request. Raises NeverSentError, AnsweredError, LostError, ConnectorError."""
        within = self._settings.timeout.total_seconds()
        ready = await self._prepared()
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": PATCH if method == "PATCH" else "application/json",
        }
        try:
            async with asyncio.timeout(within):
                return await ready.call(method, path, dict(query or {}), headers, body, (late, within))
        except NEVER_SENT as error:
            raise NeverSentError(f"never sent: {words(error)}") from None
        except TimeoutError:
            raise LostError(f"no answer within {within:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise LostError(f"sent, and then: {words(error)}") from None

    async def _prepared(self) -> _Ready:
        async with self._opening:
            now = asyncio.get_running_loop().time()
            if self._ready is None or (self._settings.kubeconfig and now > self._ready.since + RELOADED):
                self._ready = await _prepare(self._settings, now)
            return self._ready


def judged(error: NeverSentError | LostError | AnsweredError) -> Result:
    """What became of a change, by what was said to it."""
    if isinstance(error, NeverSentError):
        return Refused(str(error))
    if isinstance(error, AnsweredError) and error.certain:
        remedy = _remedy(error)
        return Refused(f"{error}; {remedy}" if remedy else str(error))
    return Unknown(str(error))


def _remedy(error: AnsweredError) -> str:
    match error.status:
        case 401:
            return "is its token still valid?"
        case 403:
            return "grant it to the connection's account: docs/kubernetes.md has a Role for each operation"
        case 429:
            return "the API server is overloaded, or a disruption budget forbids it now"
        case 404:
            return "has it been deleted?"
    return ""


# ── The library, and what stands under it ───────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Ready:
    """The library's client with its configuration; trust: for TLS; since: on the loop's clock."""

    client: Any
    trust: ssl.SSLContext | bool
    since: float

    async def call(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        headers: dict[str, str],
        body: Any,
        punctual: tuple[Callable[[], str], float],
    ) -> Answer:
        """One request by the library, over a connection of ours."""
        from kubernetes_asyncio.client.exceptions import ApiException

        client = copy.copy(self.client)
        client.rest_client = copy.copy(self.client.rest_client)
        client.rest_client.pool_manager = _Once(self.trust, *punctual)
        try:
            read, _, said = await client.call_api(
                path,
                method,
                query_params=list(query.items()),
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
                response_types_map=dict.fromkeys((200, 201, 202), "object"),
            )
        except ApiException as error:
            raise _answered(error.status, str(error.body or "")) from None
        if not isinstance(read, dict):
            raise LostError("sent, and then: it answered something that is no object of Kubernetes")
        return Answer(read, _at(said))


class _Once:
    """Stands where the library keeps its session: each request has one of its own."""

    def __init__(self, trust: ssl.SSLContext | bool, late: Callable[[], str], within: float) -> None:  # noqa: FBT001 - aiohttp's own
        self._trust = trust
        self._late = late
        self._within = within

    async def request(self, **given: Any) -> _Read:
        """As aiohttp's session; what it answers is read already."""
        given.pop("timeout", None)
        way = once.over_tcp(self._late, self._trust)
        async with once.session(way, self._within) as session:
            response = await session.request(**given, allow_redirects=False)
            try:
                body = await _whole(response)
            finally:
                response.close()
            return _Read(response.status, response.reason or "", dict(response.headers), body)


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > MOST_BYTES:
            raise aiohttp.ClientPayloadError(f"it answers more than {MOST_BYTES} bytes")
    return bytes(body)


@dataclass(frozen=True)
class _Read:
    """A response as the library takes it."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes

    async def read(self) -> bytes:
        return self.body


async def _prepare(settings: KubernetesSettings, now: float) -> _Ready:
    """Raises ConnectorError."""
    await asyncio.to_thread(_import)
    return await _configured(settings, now)


def _import() -> None:
    import kubernetes_asyncio.client  # noqa: F401 - so that the loop does not wait for it later


async def _configured(settings: KubernetesSettings, now: float) -> _Ready:
    from kubernetes_asyncio import client, config

    configuration = client.Configuration()
    try:
        if settings.in_cluster:
            config.load_incluster_config(configuration)
        else:
            await config.load_kube_config(
                str(settings.kubeconfig), settings.context, configuration, persist_config=False
            )
        trust = _trust(configuration)
        api = client.ApiClient(configuration)
    except (config.ConfigException, OSError, ValueError) as error:
        where = "the pod's service account" if settings.in_cluster else f"kubeconfig {settings.kubeconfig}"
        raise ConnectorError(
            "kubernetes",
            f"{where}: {printable(words(error))}",
            remedy="outside a cluster, write kubeconfig:" if settings.in_cluster else "try it with kubectl",
        ) from None
    await api.close()
    api.user_agent = MANAGER
    return _Ready(api, trust, now)


def _trust(configuration: Any) -> ssl.SSLContext | bool:
    if not str(configuration.host).startswith("https:"):
        return True
    trust = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        trust.load_cert_chain(configuration.cert_file, configuration.key_file)
    return trust


def _answered(status: int, body: str) -> AnsweredError:
    try:
        told = json.loads(body)
        reason, message = str(told.get("reason") or ""), str(told.get("message") or "")
    except (ValueError, AttributeError):
        reason, message = "", body
    return AnsweredError(status, reason, printable(" ".join(message.split())) or "(nothing)")


def _at(headers: Mapping[str, str]) -> float | None:
    try:
        return parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except ValueError:
        return None
