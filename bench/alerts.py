"""Alerts of the usual size, each distinct, spelled quickly: the sender must not be the slow part."""

from __future__ import annotations

import json
from collections.abc import Iterator

# About 1 KiB, as the rules of the Kubernetes mixin produce them. NUMBER becomes the alert's own.
_ALERT = {
    "status": "firing",
    "labels": {
        "alertname": "ALERTNAME",
        "cluster": "prod-eu-west-1",
        "container": "loyalty-worker",
        "endpoint": "http-metrics",
        "instance": "10.24.117.NUMBER:8080",
        "job": "loyalty/loyalty-worker",
        "namespace": "loyalty",
        "node": "ip-10-24-117-18.eu-west-1.compute.internal",
        "pod": "loyalty-worker-6c9d8b7f5d-NUMBER",
        "prometheus": "monitoring/k8s",
        "service": "loyalty-worker",
        "severity": "warning",
        "team": "loyalty-ops",
        "host": "w-NUMBER",
    },
    "annotations": {
        "description": "Pod loyalty-worker-6c9d8b7f5d-NUMBER has restarted 7 times in the last 10 minutes.",
        "runbook_url": "https://runbooks.example/loyalty/worker-restarts",
        "summary": "Worker loyalty-worker-6c9d8b7f5d-NUMBER restarts again and again",
    },
    "startsAt": "2026-11-21T07:39:04.813735766Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus.example:9090/graph?g0.expr=increase%28kube_pod_container_status_restarts_total%5B10m%5D%29+%3E+5&g0.tab=1",
    "fingerprint": "NUMBER",
}
_HEAD = (
    b'{"receiver":"remediator","status":"firing","groupLabels":{"alertname":"WorkerRestarts"},"commonLabels":'
    b'{"team":"loyalty-ops"},"commonAnnotations":{},"externalURL":"http://alertmanager.example:9093",'
    b'"version":"4","groupKey":"{}:{alertname=\\"WorkerRestarts\\"}","truncatedAlerts":0,"alerts":['
)

NOBODYS = "WorkerRestarts"
"""The alertname that no policy of the bench wants."""


def fingerprint(number: int) -> str:
    """16 hexadecimal digits, as Alertmanager's."""
    return f"{number:016x}"


def bodies(per_post: int, alertname: str = NOBODYS, first: int = 0) -> Iterator[tuple[range, bytes]]:
    """Webhooks without end, and the numbers of the alerts in each."""
    pieces = (
        json.dumps(_ALERT, separators=(",", ":")).replace("ALERTNAME", alertname).encode().split(b"NUMBER")
    )
    while True:
        numbers = range(first, first + per_post)
        alerts = [fingerprint(number).encode().join(pieces) for number in numbers]
        yield numbers, _HEAD + b",".join(alerts) + b"]}"
        first += per_post
