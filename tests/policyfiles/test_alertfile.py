"""An alert as people have it at hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from remediator.core.alert import fingerprint
from remediator.errors import IntakeError
from remediator.policyfiles.alertfile import alerts

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PAYLOADS = sorted((Path(__file__).parent.parent / "payloads").glob("*.json"))


@pytest.mark.parametrize("file", PAYLOADS, ids=lambda file: file.stem)
def test_our_fingerprint_is_alertmanagers_own(file: Path) -> None:
    for one in json.loads(file.read_bytes())["alerts"]:
        assert fingerprint(one["labels"]) == one["fingerprint"]


def test_a_webhook_gives_all_its_alerts() -> None:
    found = alerts(PAYLOADS[0].read_bytes(), "webhook", NOW)
    written = json.loads(PAYLOADS[0].read_bytes())["alerts"]
    assert [one.fingerprint for one in found] == [one["fingerprint"] for one in written]


@pytest.mark.parametrize(
    "text",
    [
        '{"alertname": "X", "env": "prod"}',
        "alertname: X\nenv: prod\n",
        "labels: {alertname: X, env: prod}\n",
        '{"labels": {"alertname": "X", "env": "prod"}, "status": "firing"}',
    ],
)
def test_labels_are_enough_it_fires_since_now_under_its_own_fingerprint(text: str) -> None:
    (one,) = alerts(text.encode(), "alert.yaml", NOW)
    assert one.labels == {"alertname": "X", "env": "prod"}
    assert (one.firing, one.starts_at, one.fingerprint) == (True, NOW, fingerprint(one.labels))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[1, 2]", "is no alert"),
        ("", "there is not one document in it"),
        ("a: [", "alert.yaml:"),
        ("alertname: 7", "alerts"),
        ('{"alerts": []}', "there is no alert in it"),
        ('{"alerts": [3]}', "alerts"),
        ("{}", "has no labels"),
    ],
)
def test_what_is_no_alert_says_so_with_a_remedy(text: str, told: str) -> None:
    with pytest.raises(IntakeError) as error:
        alerts(text.encode(), "alert.yaml", NOW)
    assert told in str(error.value)
