"""Alertmanager's webhook (version 4, and Grafana's 1): bytes → a delivery. First stop of an alert.

Pure, and lenient in what does not matter: unknown fields are ignored, absent ones tolerated, the
group's status is not believed. A bad alert is left out with its reason and never drops its siblings.
Source: Alertmanager, notify/webhook/webhook.go and template/template.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

from remediator.core.alert import Alert, Delivery, fingerprint
from remediator.errors import IntakeError
from remediator.intake.shape import check_shape, mark_lone_surrogates

LARGE = 256 * 1024
"""Bytes from which a body should be parsed in a thread of its own."""

MAX_ALERTS = 10_000
MAX_LABELS = 256
MAX_NAME = 1024  # bytes
MAX_LABEL = 16 * 1024
MAX_ANNOTATION = 64 * 1024
MAX_LINK = 8 * 1024
MAX_GROUP_KEY = 16 * 1024

_FINGERPRINT = re.compile(r"[0-9A-Za-z_.:-]{1,128}")
_STATUS: Mapping[str, Literal["firing", "resolved"]] = {"firing": "firing", "resolved": "resolved"}
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Alert(msgspec.Struct):
    """As sent. Null and absent are the same."""

    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    status: str | None = None
    starts_at: datetime | None = msgspec.field(default=None, name="startsAt")
    ends_at: datetime | None = msgspec.field(default=None, name="endsAt")
    generator_url: str | None = msgspec.field(default=None, name="generatorURL")
    fingerprint: str | None = None


class _Webhook(msgspec.Struct):
    alerts: list[_Alert]
    group_key: str | None = msgspec.field(default=None, name="groupKey")
    truncated: int | None = msgspec.field(default=None, name="truncatedAlerts")


class _Envelope(msgspec.Struct):
    """The same, not looked into yet."""

    alerts: msgspec.Raw = msgspec.Raw(b"null")
    group_key: msgspec.Raw = msgspec.field(default=msgspec.Raw(b"null"), name="groupKey")
    truncated: msgspec.Raw = msgspec.field(default=msgspec.Raw(b"null"), name="truncatedAlerts")


_webhook = msgspec.json.Decoder(_Webhook)
_envelope = msgspec.json.Decoder(_Envelope)
_alert = msgspec.json.Decoder(_Alert)
_raws = msgspec.json.Decoder(list[msgspec.Raw])
_text = msgspec.json.Decoder(str | None)
_number = msgspec.json.Decoder(int | None)


class Parsed(msgspec.Struct, frozen=True):
    """A delivery of the good alerts, and what was wrong with the others: ``alerts[3]: …``."""

    delivery: Delivery
    bad: tuple[str, ...] = ()


class _BadAlert(Exception):
    """This one alert cannot be taken."""


def parse(body: bytes, received_at: datetime, source: str = "alertmanager") -> Parsed:
    """Read one webhook. Of a key that comes twice the last one counts, as in Go.

    Raises IntakeError (400) for a body that is no such webhook at all. May take a second for 32 MiB:
    call it in a thread for more than `LARGE` bytes.
    """
    check_shape(body)
    try:
        # Piece by piece where much is to be built: one step of a decoder keeps all threads waiting.
        webhook = _webhook.decode(body) if len(body) <= LARGE else None
    except _UNREADABLE:
        webhook = None
    if webhook is not None and len(webhook.alerts) <= MAX_ALERTS:
        group_key, truncated = webhook.group_key or "", _count(webhook.truncated)
        candidates: Iterable[_Alert | msgspec.Raw] = webhook.alerts
    else:
        group_key, truncated, candidates = _open(body)
    alerts = []
    bad = []
    for number, one in enumerate(candidates):
        try:
            alert = _decoded(one) if isinstance(one, msgspec.Raw) else one
            alerts.append(_checked(alert, truncated, source))
        except _BadAlert as problem:
            bad.append(f"alerts[{number}]: {problem}")
    if "\0" in group_key or _bytes_over(group_key, MAX_GROUP_KEY):
        group_key = ""  # it only says which alerts came together
    delivery = Delivery(
        source=source,
        alerts=tuple(alerts),
        received_at=received_at,
        group_key=group_key,
        truncated=truncated,
    )
    return Parsed(delivery, tuple(bad))


def _open(body: bytes) -> tuple[str, int, list[msgspec.Raw]]:
    """Group key, count of truncated alerts, and each alert still as bytes."""
    try:
        envelope = _envelope.decode(body)
    except _UNREADABLE:
        try:
            envelope = _envelope.decode(mark_lone_surrogates(body))
        except _UNREADABLE as error:
            raise IntakeError("body", f"is no webhook: {error}", remedy="send Alertmanager's JSON") from error
    try:
        alerts = _raws.decode(envelope.alerts)
    except _UNREADABLE as error:
        raise IntakeError("alerts", "is no list", remedy="send Alertmanager's JSON") from error
    if len(alerts) > MAX_ALERTS:
        raise IntakeError(
            "alerts", f"has more than {MAX_ALERTS:,} entries", remedy="set max_alerts in the webhook's config"
        )
    try:
        group_key = _text.decode(envelope.group_key) or ""
    except _UNREADABLE:
        group_key = ""
    try:
        truncated = _count(_number.decode(envelope.truncated))
    except _UNREADABLE:
        truncated = _count(-1)
    return group_key, truncated, alerts


def _count(truncated: int | None) -> int:
    if truncated is None:
        return 0
    if not 0 <= truncated < 2**31:  # unknown is not zero: blast-radius bounds rest on it
        raise IntakeError("truncatedAlerts", "is no count of alerts")
    return truncated


def _decoded(raw: msgspec.Raw) -> _Alert:
    try:
        return _alert.decode(raw)
    except _UNREADABLE as error:
        raise _BadAlert(str(error)[:200]) from error


def _checked(alert: _Alert, truncated: int, source: str) -> Alert:
    labels, annotations = alert.labels or {}, alert.annotations or {}
    if not labels:
        raise _BadAlert("has no labels")
    if not plain(labels, MAX_LABEL):
        _check_texts("label", labels, MAX_LABEL)
    if not plain(annotations, MAX_ANNOTATION):
        _check_texts("annotation", annotations, MAX_ANNOTATION)
    status = _STATUS.get(alert.status or "")
    if status is None:
        raise _BadAlert("its status is neither firing nor resolved")
    starts_at = _time("startsAt", alert.starts_at)
    if starts_at is None:
        raise _BadAlert("has no startsAt")
    link = alert.generator_url or ""
    if "\0" in link or _bytes_over(link, MAX_LINK):
        link = ""  # half a link leads nowhere
    known_as = alert.fingerprint or fingerprint(labels)
    if not _FINGERPRINT.fullmatch(known_as):
        raise _BadAlert("its fingerprint is none")
    return Alert(
        fingerprint=known_as,
        status=status,
        labels=labels,
        annotations=annotations,
        starts_at=starts_at,
        ends_at=_time("endsAt", alert.ends_at),
        generator_url=link,
        truncated=truncated,
        source=source,
    )


def _check_texts(what: str, texts: Mapping[str, str], longest: int) -> None:
    if len(texts) > MAX_LABELS:
        raise _BadAlert(f"has more than {MAX_LABELS} {what}s")
    for name, value in texts.items():
        if not name or "\0" in name or _bytes_over(name, MAX_NAME):
            raise _BadAlert(f"the name of a {what} is empty, too long or holds NUL or half a character")
        if "\0" in value:
            raise _BadAlert(f"{what} {name[:60]!a} holds NUL or half a character")
        if _bytes_over(value, longest):
            raise _BadAlert(f"{what} {name[:60]!a} is longer than {longest // 1024} KiB")


def plain(texts: Mapping[str, str], longest: int) -> bool:
    """A quick yes for nearly all: together they are shorter than any one of them may be."""
    names, values = "".join(texts), "".join(texts.values())
    return (
        len(texts) <= MAX_LABELS
        and len(names) * 4 <= MAX_NAME
        and len(values) * 4 <= longest
        and "" not in texts
        and "\0" not in names
        and "\0" not in values
    )


def _bytes_over(text: str, limit: int) -> bool:
    return len(text) * 4 > limit and len(text.encode()) > limit


def _time(field: str, value: datetime | None) -> datetime | None:
    """In UTC; Go's zero time is none."""
    if value is None or value.year == 1:
        return None
    if value.tzinfo is None:
        raise _BadAlert(f"{field} has no time zone")
    if value.tzinfo is UTC:
        return value
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise _BadAlert(f"{field} is no time") from error
