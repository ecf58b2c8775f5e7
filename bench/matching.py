"""How long it takes to find the policies that want one alert, among 10,000; beside asking each of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from bench.figures import Bar, Figure
from remediator.core.alert import Alert
from remediator.core.catalog import Catalog
from remediator.core.matching import parse_selector
from remediator.core.policy import Policy
from remediator.core.policyset import PolicySet, Versioned

POLICIES = 10_000


def match(*, quick: bool) -> Iterator[Figure]:
    """Alerts that one policy wants, that several want, and that nobody wants."""
    rounds, turns = (3, 500) if quick else (15, 5_000)
    policies = _set(POLICIES)
    alerts = _alerts()
    ours = [_microseconds(policies.matching, alerts, turns) for _ in range(rounds)]
    floor = [_microseconds(lambda alert: _asked_each(policies, alert), alerts, 1) for _ in range(3)]
    worst = max(_microseconds(policies.matching, [alert], turns) for alert in alerts)
    more = {
        "policies": POLICIES,
        "worst_alert": round(worst, 2),
        "baseline_is": "asking every policy in turn",
    }
    yield Figure("match", Bar("us", "at most", 20), ours, floor, more)


def _set(count: int) -> PolicySet:
    """Such as a large company would write: most by alertname, some by a label that many share."""
    model = Policy.model_validate(
        {
            "policy": "p",
            "summary": "s",
            "match": ['{alertname="A"}'],
            "target": "worker/x",
            "decide": [{"do": "nothing"}],
        }
    )
    named = []
    for number in range(count):
        shapes = (
            f'{{alertname="Alert{number}"}}',
            f'{{alertname="Alert{number}", severity=~"warning|critical", env!="dev"}}',
            f'{{alertname=~"Alert{number}|Other{number}", team="loyalty-ops"}}',
            f'{{alertname="WorkerRestarts", service="service-{number}"}}',
            f'{{service="loyalty-worker", alertname="Alert{number}", pod=~"loyalty-.*"}}',
        )
        own = {"policy": f"p-{number}", "match": (parse_selector(shapes[number % len(shapes)]),)}
        named.append(Versioned(model.model_copy(update=own), "v"))
    return PolicySet.of(named, Catalog({}))


def _alerts() -> list[Alert]:
    usual = {
        "cluster": "prod-eu-west-1",
        "container": "loyalty-worker",
        "env": "prod",
        "instance": "10.24.117.18:8080",
        "job": "loyalty/loyalty-worker",
        "namespace": "loyalty",
        "pod": "loyalty-worker-6c9d8b7f5d-x7k2p",
        "severity": "warning",
        "team": "loyalty-ops",
    }
    own = (
        {"alertname": "Alert5000"},
        {"alertname": "Alert5001"},
        {"alertname": "Other5002"},
        {"alertname": "WorkerRestarts", "service": "service-5003"},
        {"alertname": "Alert5004", "service": "loyalty-worker"},
        {"alertname": "WorkerRestarts", "service": "of-nobody"},
        {"alertname": "OfNobody", "service": "loyalty-worker"},
    )
    at = datetime(2026, 11, 21, 7, tzinfo=UTC)
    return [
        Alert(fingerprint=f"{n:016x}", status="firing", labels=usual | labels, starts_at=at)
        for n, labels in enumerate(own)
    ]


def _asked_each(policies: PolicySet, alert: Alert) -> list[Versioned]:
    return [
        one
        for one in policies.by_name.values()
        if any(wanted.holds(alert.labels) for wanted in one.policy.selectors)
    ]


def _microseconds(find: Callable[[Alert], list[Versioned]], alerts: list[Alert], turns: int) -> float:
    began = time.perf_counter()
    for _ in range(turns):
        for alert in alerts:
            find(alert)
    return (time.perf_counter() - began) / turns / len(alerts) * 1e6
