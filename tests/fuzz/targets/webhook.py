"""``POST /hooks/alertmanager``: one of six answers, and what is stored is what was sent, byte for byte."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from pydantic import SecretStr

from remediator.config import Hook
from remediator.core.alert import Alert, Delivery, fingerprint
from remediator.intake.alertmanager import parse
from remediator.intake.hook import KEPT_BODY, AlertmanagerHook
from remediator.ports import Rejected
from tests.fuzz.requests import read, written
from tests.fuzz.target import Target
from tests.hostile.bodies import quick
from tests.intake.samples import RECORDED

TOKEN = "honest-sender"
USUAL = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
ANSWERS = {200, 400, 401, 413, 415, 503}
LONGEST = 6 * 1024
MAX_BODY = 5 * 1024
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)

WORDS = [
    *(b'"alerts":', b'"labels":{', b'"annotations":{', b'"status":"firing"', b'"status":"resolved"'),
    *(b'"startsAt":', b'"endsAt":', b'"fingerprint":', b'"generatorURL":', b'"groupKey":"'),
    *(b'"truncatedAlerts":', b'"0001-01-01T00:00:00Z"', b'"9999-12-31T23:59:59.999999999-23:59"'),
    *(b'"2026-11-21T07:38:58"', b"\\ud800", b"\\udfff", b"\\u0000", b"\\\\", b'\\"', b"\xff", b"\x00"),
    *(b"[[[[[[[[", b'{"a":{"a":{"a":', b"null", b"NaN", b"-1", b"2147483648", b"1e999", b"{},", b"[],"),
    *(b"Content-Type: ", b"application/json; charset=utf-8", b"Content-Encoding: gzip\n", b"\n\n"),
    *(b"Authorization: Bearer ", b"Authorization: Basic ", b"Transfer-Encoding: chunked\n"),
]


@dataclass
class Kept:
    """The store, as far as the hook asks it; what one request left in it."""

    now: datetime = NOW
    deliveries: list[Delivery] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)

    async def transact(self, work: Callable[[Any], Awaitable[None]]) -> None:
        await work(self)

    async def put_delivery(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)

    async def put_rejected(self, rejected: Rejected) -> None:
        self.rejected.append(rejected)


def target() -> Target:
    loop = asyncio.new_event_loop()
    settings = Hook(bearer=SecretStr(TOKEN), max_body=MAX_BODY)

    def check(data: bytes) -> bool:
        request, kept = read(data, USUAL, loop), Kept()
        hook = AlertmanagerHook(settings, False, kept, lambda: None, 10)  # type: ignore[arg-type]
        response = loop.run_until_complete(hook.handle(request))  # type: ignore[arg-type]
        told = json.loads(response.body)  # type: ignore[arg-type]
        assert response.status in ANSWERS, response.status
        assert len(response.body) < 20_000  # type: ignore[arg-type]
        proved = _proved(request.headers.getall("Authorization"))
        assert (response.status != 401) is proved, (response.status, proved)
        alerts = sum(len(one.alerts) for one in kept.deliveries)
        assert len(kept.deliveries) == (response.status == 200 and told["accepted"] > 0)
        assert alerts == (told["accepted"] if response.status == 200 else 0)
        part_of_it_bad = response.status == 200 and bool(told["bad"])
        assert len(kept.rejected) == (response.status in (400, 413, 415) or part_of_it_bad)
        for one in kept.rejected:
            assert len(one.body) <= KEPT_BODY
            assert "\0" not in one.body
            one.body.encode()
        for delivery in kept.deliveries:
            _as_sent(delivery, request.body)
        return alerts > 0

    seeds = [one.read_bytes() for one in RECORDED]
    seeds += [written(knock.headers, knock.body) for knock in quick(TOKEN)]
    return Target(check, [one for one in seeds if len(one) <= LONGEST], WORDS, LONGEST, loop.close)


def _proved(given: list[str]) -> bool:
    """The whole rule, said once more in other words."""
    return len(given) == 1 and re.fullmatch(rf"(?i:bearer) \s*{TOKEN}", given[0]) is not None


def _as_sent(delivery: Delivery, body: bytes) -> None:
    """Another reader of JSON saw the very same texts, and every alert is either here or called bad."""
    parsed = parse(body, delivery.received_at)
    assert parsed.delivery == delivery
    assert msgspec.json.decode(msgspec.json.encode(delivery), type=Delivery) == delivery
    bad = {int(one[len("alerts[") :].partition("]")[0]) for one in parsed.bad}
    sent = json.loads(body, parse_int=str, parse_float=str)["alerts"]
    assert len(bad) == len(parsed.bad)
    assert len(sent) == len(delivery.alerts) + len(bad)
    good = [one for number, one in enumerate(sent) if number not in bad]
    for alert, one in zip(delivery.alerts, good, strict=True):
        _same(alert, one)


def _same(alert: Alert, sent: dict[str, Any]) -> None:
    assert alert.labels == sent["labels"]
    assert alert.labels
    assert alert.annotations == (sent.get("annotations") or {})
    assert alert.status == sent["status"]
    assert alert.fingerprint == (sent.get("fingerprint") or fingerprint(alert.labels))
    assert alert.generator_url in ("", sent.get("generatorURL"))
    assert alert.starts_at.tzinfo is UTC
    assert str(alert.starts_at.year) in sent["startsAt"] or sent["startsAt"][5:10] in ("12-31", "01-01")
    texts = [*alert.labels, *alert.labels.values(), *alert.annotations, *alert.annotations.values()]
    "".join([*texts, alert.fingerprint, alert.generator_url]).encode()  # no half characters
    assert not any("\0" in text for text in texts)
