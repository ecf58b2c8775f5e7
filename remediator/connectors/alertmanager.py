"""Alertmanager: silences by exact matchers, with an end, and their way back.

A silence carries a mark in its comment that is in the journal before it is sent: a lost answer is settled by
looking for it. It ends by itself, at a time that is fixed before it is sent; whoever sends it late silences
nothing beyond that.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import ssl
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

import aiohttp
from pydantic import AfterValidator, Field
from yarl import URL

from remediator.config import Duration
from remediator.connectors import once
from remediator.connectors.settings import Authorities, BaseUrl, Headers, Settings
from remediator.connectors.unoffered import Unoffered
from remediator.core.calls import printable
from remediator.core.catalog import Escape, Fence, Holds, Kind, Operation, Param, Risk
from remediator.core.cutting import words
from remediator.core.durations import parse_duration
from remediator.core.evidence import Picture
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.errors import ConnectorError
from remediator.ports import ConnectorKind, Order

LONGEST = timedelta(seconds=30)
"""The longest that one request may be given."""
MOST_BYTES = 16 * 1024 * 1024
MOST_MATCHERS = 20
MOST_ROWS = 50
"""Kinds of alerts that a preview names."""
MARKED = 5.0
"""Seconds for the journal to keep the mark."""
ARRIVES = timedelta(seconds=10)
"""How much later than its deadline a request, or the gossip between several Alertmanagers, may arrive."""

SILENCE = Operation(
    name="alertmanager.silence",
    kind=Kind.ACTION,
    doc="Silence alerts by exact matchers. It expires by itself; `how: restore` expires it before its time.",
    params={
        "matchers": Param(
            "Map of a value for each label: `{alertname: HighCpu, env: '${env}'}`. Each is an equality.",
            type="strings",
            required=True,
            holds=Holds.THERE,
        ),
        "for": Param("How long, such as 1h.", escape=Escape.LITERAL, required=True, holds=Holds.SHORTER),
        "comment": Param("Why, for whoever reads it in Alertmanager.", escape=Escape.TEXT),
    },
    risk=Risk.DISRUPTIVE,
    fence=Fence.TRANSACTION,
    longest=LONGEST,
    previews=True,
    restores=True,
)
RESTORE = Operation(
    name="alertmanager.restore",
    kind=Kind.ACTION,
    doc="Expire a silence of ours, unless somebody has changed anything of it since.",
    params={},
    risk=Risk.SAFE,
    fence=Fence.TRANSACTION,
    longest=LONGEST,
    internal=True,
)

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ID = re.compile(r"[0-9A-Za-z-]{1,64}")


def _labels(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if not _LABEL.fullmatch(name):
            raise ValueError(f"{name!r} is no label; write one such as env")
    return tuple(sorted(set(value)))


class AlertmanagerSettings(Settings):
    """An Alertmanager, or one of several that gossip."""

    url: BaseUrl = Field(description="its address, such as http://127.0.0.1:9093")
    headers: Headers = Field(default={}, description="added to each request, such as Authorization")
    timeout: Duration = Field(default=timedelta(seconds=10), gt=timedelta(0), le=LONGEST)
    ca: Authorities = None
    longest: Duration = Field(
        default=timedelta(hours=4),
        gt=timedelta(0),
        le=timedelta(days=7),
        description="how long a silence may last",
    )
    required: Annotated[tuple[str, ...], AfterValidator(_labels)] = Field(
        default=(),
        description="labels that each silence must name; where none are, one at least beside alertname",
    )


@dataclass(frozen=True)
class _Wanted:
    matchers: Mapping[str, str]
    lasts: timedelta
    comment: str

    @property
    def spelled(self) -> str:
        return "{" + ", ".join(f"{name}={_quoted(value)}" for name, value in self.matchers.items()) + "}"

    def silences(self, labels: object) -> bool:
        return isinstance(labels, Mapping) and all(labels.get(k) == v for k, v in self.matchers.items())


class _OddError(Exception):
    """It answered something else than was asked for."""


class Alertmanager(Unoffered):
    """A configured Alertmanager."""

    def __init__(self, settings: AlertmanagerSettings) -> None:
        self._settings = settings
        self._headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        self._trust: ssl.SSLContext | bool = True
        if settings.ca is not None:
            self._trust = ssl.create_default_context(cafile=str(settings.ca))

    async def preview(self, call: Call, *, timeout: float) -> Picture:
        """Which kinds of alerts fire now that it would silence, and roughly how many of each."""
        if call.operation != SILENCE.name:
            return await super().preview(call, timeout=timeout)
        try:
            wanted = asked_for(call, self._settings)
        except ValueError as error:
            raise ConnectorError(call.connection, f"not asked: {error}") from None
        query = [("silenced", "false"), ("inhibited", "false"), ("active", "true")]
        query += [("filter", f"{name}={_quoted(value)}") for name, value in wanted.matchers.items()]
        found = await self._asked(call, f"/api/v2/alerts?{urlencode(query)}", timeout)
        alerts = found if isinstance(found, list) else []
        firing = [one["labels"] for one in alerts if isinstance(one, dict) and wanted.silences(one["labels"])]
        text = f"silences {wanted.spelled} for {call.args['for']}; "
        return Picture(
            0, text + ("of what fires now:" if firing else "nothing of it fires now"), _kinds(firing)
        )

    async def act(self, call: Call, *, order: Order, timeout: float) -> Result:
        """Create a silence, or expire one of ours."""
        within = self._within(timeout)
        match call.operation:
            case SILENCE.name:
                return await self._silence(call, order, within)
            case RESTORE.name:
                return await self._lift(call, order, within)
        return await super().act(call, order=order, timeout=timeout)

    async def inquire(self, call: Call, mark: dict[str, Any], *, timeout: float) -> Result | None:
        """Is there a silence with this mark, or none any more?"""
        try:
            until = datetime.fromisoformat(mark["until"])
            if call.operation == RESTORE.name:
                return await self._lifted(call, mark, until, timeout)
            nonce, sent = str(mark["nonce"]), dict(mark["sent"])
        except (KeyError, TypeError, ValueError):
            return Unknown("its mark cannot be read")
        found = await self._asked(call, "/api/v2/silences", timeout)
        for one in found if isinstance(found, list) else []:
            if isinstance(one, dict) and nonce in str(one.get("comment")):
                return Done(_made(str(one["id"]), sent))
        return Refused("there is no silence with its mark") if datetime.now(UTC) > until else None

    async def _lifted(
        self, call: Call, mark: Mapping[str, Any], until: datetime, timeout: float
    ) -> Result | None:
        """What became of a lifting, which can come no more after ``until``."""
        name = str(mark.get("silence"))
        if await self._standing(call, name, timeout) is None:
            return Done(dict(mark.get("result") or {}))
        return Refused(f"the silence {name} still stands") if datetime.now(UTC) > until else None

    async def _silence(self, call: Call, order: Order, within: float) -> Result:
        try:
            wanted = asked_for(call, self._settings)
        except ValueError as error:
            return Refused(f"never sent: {error}")
        now, nonce = datetime.now(UTC), secrets.token_hex(8)
        matchers = [
            {"name": name, "value": value, "isRegex": False, "isEqual": True}
            for name, value in wanted.matchers.items()
        ]
        who = f"approved by {', '.join(order.approved)}" if order.approved else "nobody was asked"
        said = f"{wanted.comment}. " if wanted.comment else ""
        sent = {
            "matchers": matchers,
            "endsAt": (now + wanted.lasts).isoformat(timespec="milliseconds"),
            "createdBy": "remediator",
            "comment": f"{said}Remediator, step {order.key}; {who}; mark {nonce}",
        }
        if why := await _marked(order, {"result": {"silence": None}, "nonce": nonce, "sent": sent}, within):
            return Refused(f"never sent: {why}")
        begins = (now - ARRIVES).isoformat(timespec="milliseconds")  # at once, if its clock is behind

        def judged(answer: Any) -> Result:
            name = answer.get("silenceID") if isinstance(answer, dict) else None
            if not isinstance(name, str) or not _ID.fullmatch(name):
                return Unknown("answered 200, but not which silence it is")
            return Done(_made(name, sent))

        body = {**sent, "startsAt": begins}
        return await self._sent("POST", "/api/v2/silences", body, order, within, judged)

    async def _lift(self, call: Call, order: Order, within: float) -> Result:
        name, sent = str(call.args.get("silence")), call.args.get("sent")
        if not _ID.fullmatch(name) or not isinstance(sent, Mapping):
            return Refused("never sent: it is not known which silence")
        about = {"silence": name}
        try:
            found = await self._standing(call, name, within)
        except ConnectorError as error:
            return Refused(f"never sent: {error.told}")
        if found is None:
            return Done({**about, "already": True})
        if changed := ", ".join(_changed(found, sent)):
            by, end = printable(str(found.get("createdBy")), 80), printable(str(found.get("endsAt")), 40)
            return Done(
                about, f"the silence {name} was changed since ({changed}; by {by}): it stands until {end}"
            )
        if why := await _marked(order, {"result": about, **about}, within):
            return Refused(f"never sent: {why}")
        return await self._sent(
            "DELETE", f"/api/v2/silence/{name}", None, order, within, lambda _answer: Done(about)
        )

    async def _standing(self, call: Call, name: str, timeout: float) -> dict[str, Any] | None:
        """The silence as long as it silences anything. Raises ConnectorError."""
        if not _ID.fullmatch(name):
            raise ConnectorError(call.connection, "it is not known which silence")
        found = await self._asked(call, f"/api/v2/silence/{name}", timeout, missing=True)
        if not isinstance(found, dict) or (found.get("status") or {}).get("state") == "expired":
            return None
        return found

    # ── The wire ──────────────────────────────────────────────────────────────────────────────────

    async def _sent(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        order: Order,
        within: float,
        judged: Callable[[Any], Result],
    ) -> Result:
        """One request that changes something, once."""
        try:
            status, raw = await self._request(method, path, body, within, order.late)
        except once.NEVER_SENT as error:
            return Refused(f"never sent: {words(error)}")
        except TimeoutError:
            return Unknown(f"no answer within {within:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Unknown(f"sent, and then: {words(error)}")
        said = f"answered {status}: {printable(raw.decode('utf-8', 'replace'))}"
        if status == 200:
            try:
                return judged(json.loads(raw) if raw.strip() else None)
            except (ValueError, RecursionError):
                return Unknown(said)
        return Refused(said) if 300 <= status < 500 else Unknown(said)

    async def _asked(self, call: Call, path: str, timeout: float, *, missing: bool = False) -> Any:
        """What a GET answers; ``missing``: None for a 404. Raises ConnectorError."""
        within = self._within(timeout)
        try:
            status, raw = await self._request("GET", path, None, within)
            if missing and status == 404:
                return None
            _check(status, raw)
            return json.loads(raw)
        except TimeoutError:
            raise ConnectorError(call.connection, f"no answer within {within:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError, RecursionError, _OddError) as error:
            raise ConnectorError(call.connection, words(error), remedy="is its url right?") from None

    async def _request(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        within: float,
        late: Callable[[], str] = once.never_late,
    ) -> tuple[int, bytes]:
        headers = {"User-Agent": "remediator", "Accept-Encoding": "identity", **self._headers}
        url = URL(self._settings.url + path, encoded=True)
        way = once.over_tcp(late, self._trust)
        async with (
            asyncio.timeout(within),
            once.session(way, within) as session,
            session.request(method, url, headers=headers, json=body, allow_redirects=False) as response,
        ):
            raw = bytearray()
            async for chunk in response.content.iter_chunked(65536):
                raw += chunk
                if len(raw) > MOST_BYTES:
                    raise _OddError(f"answered more than {MOST_BYTES} bytes")
            return response.status, bytes(raw)

    def _within(self, timeout: float) -> float:
        return min(timeout, self._settings.timeout.total_seconds())


def asked_for(call: Call, settings: AlertmanagerSettings) -> _Wanted:
    """What a call asks for. Raises ValueError where it may not be asked."""
    matchers, lasts, comment = (call.args.get(name) for name in ("matchers", "for", "comment"))
    if not isinstance(matchers, Mapping) or not 0 < len(matchers) <= MOST_MATCHERS:
        raise ValueError(f"a silence needs 1 to {MOST_MATCHERS} matchers; without any it silences everything")
    for name, value in matchers.items():
        if not isinstance(name, str) or not _LABEL.fullmatch(name):
            raise ValueError(f"{printable(str(name), 80)!r} is no label")
        if not isinstance(value, str) or not value or len(value) > 1000 or _CONTROL.search(value):
            raise ValueError(f"the matcher of {name} must be a text of 1 to 1000 printable characters")
        value.encode()  # half a character has no spelling: a UnicodeEncodeError is a ValueError
    required = set(settings.required)
    if missing := ", ".join(sorted(required - matchers.keys())):
        raise ValueError(f"a silence of this connection must name {missing}")
    if not required and not matchers.keys() - {"alertname"}:
        raise ValueError("it names alertname alone; name a label beside it, such as env or instance")
    span = parse_duration(lasts) if isinstance(lasts, str) else timedelta()
    if not timedelta(0) < span <= settings.longest:
        longest = f"{settings.longest.total_seconds():g} s"
        raise ValueError(f"for must be a time such as 1h, and no longer than this connection's {longest}")
    return _Wanted(dict(sorted(matchers.items())), span, printable(str(comment or ""), 300).strip(" ."))


def _check(status: int, raw: bytes) -> None:
    if status != 200:
        raise _OddError(f"answered {status}: {printable(raw.decode('utf-8', 'replace'))}")


async def _marked(order: Order, mark: dict[str, Any], within: float) -> str:
    """Why nothing may be sent, or "" once the mark is kept."""
    if order.mark is None:
        return "nothing would keep its mark"
    arrives = datetime.now(UTC) + timedelta(seconds=MARKED + within) + ARRIVES
    try:
        async with asyncio.timeout(MARKED):
            return await order.mark({**mark, "until": arrives.isoformat()})
    except TimeoutError:
        return f"its mark was not kept within {MARKED:g} s"


def _made(name: str, sent: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a silence of ours, as it was sent; and what takes it back."""
    return {"silence": name, "until": sent["endsAt"], "restore": {"silence": name, "sent": dict(sent)}}


def _changed(found: Mapping[str, Any], sent: Mapping[str, Any]) -> list[str]:
    """What is no longer as we sent it: then it is somebody else's silence, whose id it still has."""
    alike = {
        "its author": found.get("createdBy") == sent.get("createdBy"),
        "its comment": found.get("comment") == sent.get("comment"),
        "its matchers": _matchers(found) == _matchers(sent),
        "its end": _same_time(found.get("endsAt"), str(sent.get("endsAt"))),
    }
    return [part for part, same in alike.items() if not same]


def _matchers(silence: Mapping[str, Any]) -> list[str]:
    found = silence.get("matchers")
    return sorted(json.dumps(one, sort_keys=True) for one in found) if isinstance(found, list) else []


def _same_time(one: object, other: str) -> bool:
    try:
        return abs(datetime.fromisoformat(str(one)) - datetime.fromisoformat(other)) < timedelta(seconds=1)
    except (ValueError, TypeError):
        return False


def _kinds(firing: Iterable[Mapping[str, str]]) -> tuple[dict[str, Any], ...]:
    """By alertname and severity, and how many in powers of ten: so a storm moves it seldom."""
    counted = Counter((one.get("alertname", ""), one.get("severity", "")) for one in firing)
    rows = [
        {"alertname": printable(name, 120), "severity": printable(severity, 40), "firing": _roughly(count)}
        for (name, severity), count in sorted(counted.items())
    ]
    left = len(rows) - MOST_ROWS
    return (*rows[:MOST_ROWS], *([{"more": f"{left} other kinds"}] if left > 0 else []))


def _roughly(count: int) -> str:
    return "1" if count == 1 else f"up to {10 ** len(str(count - 1))}"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


KIND = ConnectorKind(
    name="alertmanager",
    doc="An Alertmanager, by its API v2.",
    operations=(SILENCE, RESTORE),
    settings=AlertmanagerSettings,
    make=Alertmanager,
    judges={SILENCE.name: asked_for},
)
