"""An alert as people have it at hand: a webhook's body, one alert of it, or only labels, in JSON or YAML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from remediator.core.alert import Alert, fingerprint
from remediator.documents import read
from remediator.errors import IntakeError
from remediator.intake.alertmanager import parse

REMEDY = "give a webhook's body, one alert with its labels, or labels alone: alertname: X"


def alerts(data: bytes, place: str, now: datetime) -> list[Alert]:
    """All alerts of the text. ``now``: when those began that do not say it. Raises IntakeError."""
    found = _value(data, place)
    if isinstance(found.get("alerts"), list):
        written = found["alerts"]
    elif isinstance(found.get("labels"), Mapping):
        written = [found]
    else:
        written = [{"labels": found}]
    body = msgspec.json.encode({"alerts": [_whole(one, now) for one in written]})
    parsed = parse(body, now)
    if parsed.bad:
        raise IntakeError(place, "; ".join(parsed.bad), remedy=REMEDY)
    if not parsed.delivery.alerts:
        raise IntakeError(place, "there is no alert in it", remedy=REMEDY)
    return list(parsed.delivery.alerts)


def _value(data: bytes, place: str) -> dict[str, Any]:
    try:
        found: Any = json.loads(data)
    except (ValueError, RecursionError):
        documents, findings = read(data, place)
        if len(documents) != 1:
            told = "; ".join(map(str, findings)) or "there is not one document in it"
            raise IntakeError(place, told, remedy=REMEDY) from None
        found = documents[0].value
    if not isinstance(found, dict):
        raise IntakeError(place, "is no alert", remedy=REMEDY)
    return found


def _whole(one: Any, now: datetime) -> Any:
    """One alert with what may be left out: it fires, since now, under Alertmanager's own fingerprint."""
    if not isinstance(one, dict):
        return one
    labels = one.get("labels")
    plain = isinstance(labels, dict) and all(isinstance(value, str) for value in labels.values())
    more = {"fingerprint": fingerprint(labels)} if plain and isinstance(labels, dict) else {}
    return {"status": "firing", "startsAt": now, **more, **one}
