"""The rig itself: a metric moves, Prometheus notices, Alertmanager tells us; and it is over again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from tests.rig.alertmanager import running_alertmanager
from tests.rig.processes import DidNotStartError, Program, python_module, start
from tests.rig.prometheus import running_prometheus
from tests.rig.served import served
from tests.rig.webhook import Delivery, running_webhook

pytestmark = pytest.mark.real


@dataclass
class Patient:
    """Something with a fever."""

    url: str = ""
    fever: float = 0.0


@asynccontextmanager
async def running_patient() -> AsyncIterator[Patient]:
    patient = Patient()

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(text=f'fever_celsius{{ward="w1"}} {patient.fever}\n')

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    async with served(app) as patient.url:
        yield patient


FEVER = {
    "alert": "Fever",
    "expr": "fever_celsius > 38",
    "for": "0s",
    "labels": {"severity": "critical"},
    "annotations": {"summary": "{{ $labels.ward }} is hot"},
}


@pytest.mark.needs("prometheus", "alertmanager")
async def test_a_metric_becomes_a_webhook_and_resolves() -> None:
    async with running_webhook() as webhook, running_patient() as patient:
        with (
            running_alertmanager(
                f"{webhook.url}/hooks/alertmanager", "s3cret", group_by=["alertname", "ward"]
            ) as am,
            running_prometheus({"ward": patient.url}, [FEVER], am.url) as prometheus,
        ):
            patient.fever = 39.5
            firing = await webhook.wait_for(lambda one: _has(one, "firing"))
            assert firing.path == "/hooks/alertmanager"
            assert firing.headers["Authorization"] == "Bearer s3cret"
            assert firing.body["version"] == "4"
            assert firing.body["commonAnnotations"] == {"summary": "w1 is hot"}
            assert [series.value for series in await prometheus.query("fever_celsius")] == [39.5]
            patient.fever = 36.6
            await webhook.wait_for(lambda one: _has(one, "resolved"))


@pytest.mark.needs("prometheus")
async def test_rules_are_replaced_while_it_runs() -> None:
    async with running_patient() as patient:
        with running_prometheus({"ward": patient.url}) as prometheus:
            patient.fever = 39.5
            await prometheus.wait_for("fever_celsius > 38")
            assert await prometheus.query("ALERTS") == []
            await prometheus.rules([FEVER])
            (alert,) = await prometheus.wait_for('ALERTS{alertstate="firing"}')
            assert alert.labels["ward"] == "w1"


@pytest.mark.needs("alertmanager")
async def test_an_alert_is_posted_by_hand_and_ended_by_hand() -> None:
    async with running_webhook() as webhook:
        with running_alertmanager(webhook.url, "s3cret") as am:
            began = datetime.now(UTC) - timedelta(minutes=1)
            await am.post({"alertname": "ByHand", "pod": "p-1"}, {"summary": "by hand"}, starts_at=began)
            firing = await webhook.wait_for(lambda one: _has(one, "firing"))
            assert firing.body["alerts"][0]["endsAt"] == "0001-01-01T00:00:00Z"
            assert [alert["labels"]["pod"] for alert in await am.alerts()] == ["p-1"]
            await am.post({"alertname": "ByHand", "pod": "p-1"}, starts_at=began, ends_at=datetime.now(UTC))
            await webhook.wait_for(lambda one: _has(one, "resolved"))
            assert await am.silences() == []


def test_a_child_that_cannot_start_says_why(tmp_path: Path) -> None:
    program = Program("broken", lambda _port: python_module("no.such.module"))
    with pytest.raises(DidNotStartError, match=r"(?s)broken ended with 1.*no\.such"):
        start(program, tmp_path)


def _has(delivery: Delivery, status: str) -> bool:
    return any(alert["status"] == status for alert in delivery.body["alerts"])
