"""Recorded webhooks, and one that is easily bent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PAYLOADS = Path(__file__).parent.parent / "payloads"
RECORDED = sorted(PAYLOADS.glob("alertmanager_*.json"))


def recorded(name: str) -> bytes:
    return (PAYLOADS / f"alertmanager_{name}.json").read_bytes()


def an_alert(pod: str = "a", **other: Any) -> dict[str, Any]:
    fields = {
        "status": "firing",
        "labels": {"alertname": "QueueStuck", "pod": pod},
        "annotations": {"summary": "stuck"},
        "startsAt": "2026-11-21T07:38:58.033Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example/graph",
        "fingerprint": f"00000000000000{pod.encode().hex()}"[-16:],
    }
    return {key: value for key, value in (fields | other).items() if value is not ...}


def webhook(*alerts: Any, **other: Any) -> bytes:
    fields = {"version": "4", "status": "firing", "groupKey": "{}:{}", "truncatedAlerts": 0}
    return json.dumps(fields | {"alerts": alerts or (an_alert(),)} | other).encode()
