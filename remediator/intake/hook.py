"""``POST /hooks/alertmanager``: who may post, how much, and 200 only once it is committed.

Alertmanager repeats after 5xx and network errors only; 4xx drops the alerts, and it follows
redirects. So whatever may pass is answered 503, never 429, and never a redirect.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec
from aiohttp import web

from remediator.config import Config, Hook
from remediator.errors import IntakeError, Overloaded, StoreError
from remediator.intake.alertmanager import LARGE, Parsed, parse
from remediator.ports import Rejected, Store, Tx

SOURCE = "alertmanager"
KEPT_BODY = 64 * 1024
"""Bytes of a rejected body that are kept for the operator."""

_READ_TIMEOUT_S = 10.0
_LARGE_AT_ONCE = 2
_TOLD = 20
"""Of so many bad alerts the reason is told."""


_FOR_GOOD = (400, 413, 415)
"""Statuses after which the sender gives up: the operator must know."""


@dataclass
class HookCounts:
    """What came in since the start; read by telemetry."""

    deliveries: int = 0
    alerts: int = 0
    bad_alerts: int = 0
    rejected: Counter[int] = field(default_factory=Counter)  # by HTTP status
    not_kept: int = 0  # rejected bodies that could not be kept for the operator

    def by_result(self) -> dict[tuple[str, str], int]:
        """(source, result) → how many, for the metrics; a rejected one's result is its status."""
        told = {("alertmanager", "accepted"): self.deliveries, ("alertmanager", "alerts"): self.alerts}
        return told | {("alertmanager", str(status)): number for status, number in self.rejected.items()}


def check_hook(config: Config) -> list[str]:
    """Why the daemon may not start with this hook: anybody on the network could post alerts."""
    hook = config.hooks.alertmanager
    if hook.bearer or hook.basic or config.loopback:
        return []
    problem = f"has no bearer and no basic, and {config.listen} can be reached from other machines"
    return [f"hooks.alertmanager: {problem}; set hooks.alertmanager.bearer, or listen on 127.0.0.1"]


class AlertmanagerHook:
    """Mount `handle` for every method: it answers the wrong ones itself.

    loopback: only this machine can reach us, so a hook without credentials is open. accepted: called
    after each commit, for each row. max_backlog: from so many waiting deliveries on (``depth()``), 503.
    """

    def __init__(
        self,
        hook: Hook,
        loopback: bool,  # noqa: FBT001 - named at its only call
        store: Store,
        accepted: Callable[[], None],
        max_backlog: int,
        depth: Callable[[], int] = lambda: 0,
    ) -> None:
        """See the class."""
        self._bearer = hook.bearer.get_secret_value().encode() if hook.bearer else None
        self._basic = None
        if hook.basic:
            self._basic = f"{hook.basic.username}:{hook.basic.password.get_secret_value()}".encode()
        self._open = loopback and hook.bearer is None and hook.basic is None
        self._max_body = hook.max_body
        self._store = store
        self._accepted = accepted
        self._max_backlog = max_backlog
        self._depth = depth
        self.on_lost: Callable[[str], None] = lambda _problem: None
        """Told when a known sender's alerts were refused for good."""
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)
        self.counts = HookCounts()

    async def handle(self, request: web.Request) -> web.Response:
        """Answer 200, 400, 401, 405, 413, 415 or 503."""
        try:
            parsed = await self._take(request)
        except IntakeError as error:
            return self._refusal(error)
        self.counts.deliveries += 1
        self.counts.alerts += len(parsed.delivery.alerts)
        self.counts.bad_alerts += len(parsed.bad)
        answer = {"accepted": len(parsed.delivery.alerts), "bad": parsed.bad[:_TOLD]}
        return web.json_response(body=msgspec.json.encode(answer))

    async def _take(self, request: web.Request) -> Parsed:
        """Check, read, parse, commit: in this order, so that a stranger costs nothing."""
        if request.method != "POST":
            raise IntakeError("request", "only POST is taken here", status=405)
        if not self._known(request):
            raise IntakeError("request", "the credentials are missing or wrong", status=401)
        body = b""
        async with AsyncExitStack() as until_answered:  # a large body keeps the others out until then
            try:
                _check_headers(request)
                if self._depth() >= self._max_backlog:
                    raise Overloaded("too many deliveries wait to be decided on")
                body = await self._read(request, until_answered)
                parsed = await _parsed(body)
                await self._keep(parsed, body)
            except IntakeError as error:
                if error.status in _FOR_GOOD:
                    await self._keep_rejected(str(error), body)
                    self.on_lost(str(error))
                raise
        return parsed

    # ── Who ───────────────────────────────────────────────────────────────────────────────────────

    def _known(self, request: web.Request) -> bool:
        if self._open:
            return True
        given = request.headers.getall("Authorization", [])
        if len(given) != 1:
            return False
        scheme, _, credentials = given[0].encode("utf-8", "surrogateescape").partition(b" ")
        if scheme.lower() == b"bearer" and self._bearer is not None:
            return hmac.compare_digest(credentials.strip(), self._bearer)
        if scheme.lower() == b"basic" and self._basic is not None:
            try:
                return hmac.compare_digest(base64.b64decode(credentials.strip(), validate=True), self._basic)
            except binascii.Error:
                return False
        return False

    # ── How much ──────────────────────────────────────────────────────────────────────────────────

    async def _read(self, request: web.Request, until_answered: AsyncExitStack) -> bytes:
        """The body. Few large ones at once: the others wait in their senders' sockets."""
        if (request.content_length or 0) > self._max_body:
            raise self._too_large()
        body = bytearray()
        large = False
        try:
            if request.content.is_eof() and 0 < (request.content_length or 0) <= LARGE:
                return request.content.read_nowait()  # nearly always: it is all here, nothing need be timed
            async with asyncio.timeout(_READ_TIMEOUT_S):
                while chunk := await request.content.readany():
                    body += chunk
                    if len(body) > self._max_body:
                        raise self._too_large()
                    if len(body) > LARGE and not large:
                        large = True
                        await until_answered.enter_async_context(self._large)
        except TimeoutError as error:
            raise IntakeError("body", f"did not arrive within {_READ_TIMEOUT_S:g} s", status=503) from error
        except (web.RequestPayloadError, ConnectionError) as error:
            raise IntakeError("body", "broke off") from error
        return bytes(body)

    def _too_large(self) -> IntakeError:
        return IntakeError(
            "body",
            f"is larger than {self._max_body:,} bytes",
            status=413,
            remedy="set max_alerts in the webhook's config, or raise hooks.alertmanager.max_body",
        )

    # ── Keeping ───────────────────────────────────────────────────────────────────────────────────

    async def _keep(self, parsed: Parsed, body: bytes) -> None:
        """Commit the good alerts, and why the others were left out, in one transaction."""
        if not parsed.delivery.alerts:
            return

        async def work(tx: Tx) -> None:
            # Received is a time of the store's clock, like all that it will be compared with.
            for part in msgspec.structs.replace(parsed.delivery, received_at=tx.now).parts():
                await tx.put_delivery(part)
            if parsed.bad:
                await tx.put_rejected(_rejected(tx, _told(parsed), body))

        try:
            await self._store.transact(work)
        except StoreError as error:
            why = f"it could not be stored: {error.place}: {error.problem}"
            raise Overloaded(why, remedy=error.remedy) from error
        for _ in parsed.delivery.parts():
            self._accepted()

    async def _keep_rejected(self, problem: str, body: bytes) -> None:
        try:
            await self._store.transact(lambda tx: tx.put_rejected(_rejected(tx, problem, body)))
        except StoreError:
            self.counts.not_kept += 1

    def _refusal(self, error: IntakeError) -> web.Response:
        self.counts.rejected[error.status] += 1
        answer = {"error": f"{error.place}: {error.problem}", "remedy": error.remedy}
        response = web.json_response(body=msgspec.json.encode(answer), status=error.status)
        if error.status == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
        elif error.status == 405:
            response.headers["Allow"] = "POST"
        if error.status != 400:
            response.force_close()  # the body may be unread
        return response


def _check_headers(request: web.Request) -> None:
    encodings = request.headers.getall("Content-Encoding", [])
    if any(one.strip().lower() != "identity" for one in encodings):
        raise IntakeError("Content-Encoding", "only identity is taken", status=415, remedy="do not compress")
    types = request.headers.getall("Content-Type", [])
    name, _, parameters = types[0].partition(";") if len(types) == 1 else ("", "", "")
    charset = parameters.replace(" ", "").replace('"', "").lower()
    if name.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
        raise IntakeError("Content-Type", "only application/json is taken", status=415)


async def _parsed(body: bytes) -> Parsed:
    received_at = datetime.now(UTC)
    if len(body) > LARGE:
        parsed = await asyncio.to_thread(parse, body, received_at, SOURCE)
    else:
        parsed = parse(body, received_at, SOURCE)
    if parsed.bad and not parsed.delivery.alerts:
        raise IntakeError("body", f"has no good alert: {_told(parsed)}")
    return parsed


def _told(parsed: Parsed) -> str:
    more = len(parsed.bad) - _TOLD
    return "; ".join(parsed.bad[:_TOLD]) + (f"; and {more} more" if more > 0 else "")


def _rejected(tx: Tx, problem: str, body: bytes) -> Rejected:
    text = body[:KEPT_BODY].decode("utf-8", "replace").replace("\0", "\ufffd")
    return Rejected(tx.now, SOURCE, problem, text)
