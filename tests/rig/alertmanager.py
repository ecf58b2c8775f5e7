"""A real Alertmanager: sends webhooks, with a bearer token, as soon as it can."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp

from tests.rig.components import program
from tests.rig.processes import Child, Program, scratch, start


@dataclass
class Alertmanager:
    """A running Alertmanager. ``url`` is its base URL."""

    child: Child

    @property
    def url(self) -> str:
        """Its base URL, without a slash at the end."""
        return self.child.url

    async def post(
        self,
        labels: Mapping[str, str],
        annotations: Mapping[str, str] | None = None,
        *,
        starts_at: datetime | None = None,
        ends_at: datetime | None = None,
    ) -> None:
        """Post one alert, as Prometheus does (API v2). ``ends_at`` in the past resolves it."""
        alert: dict[str, object] = {"labels": dict(labels), "annotations": dict(annotations or {})}
        if starts_at is not None:
            alert["startsAt"] = starts_at.isoformat()
        if ends_at is not None:
            alert["endsAt"] = ends_at.isoformat()
        await self.post_all([alert])

    async def post_all(self, alerts: Sequence[Mapping[str, object]]) -> None:
        """Post alerts in the API's own shape, in one request."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/api/v2/alerts", json=list(alerts)) as answer,
        ):
            assert answer.status == 200, await answer.text()

    async def alerts(self) -> list[dict[str, Any]]:
        """What it holds as firing."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/api/v2/alerts") as answer:
            alerts: list[dict[str, Any]] = await answer.json()
            return alerts

    async def silences(self) -> list[dict[str, Any]]:
        """Its silences, expired ones included."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/api/v2/silences") as answer:
            silences: list[dict[str, Any]] = await answer.json()
            return silences


@contextmanager
def running_alertmanager(
    webhook: str, bearer: str, *, group_by: Sequence[str] = ("alertname",), repeat_interval: str = "1h"
) -> Iterator[Alertmanager]:
    """Start one that posts to ``webhook`` with ``Authorization: Bearer …``, and end it.

    No waiting: ``group_wait`` 0 s, ``group_interval`` 1 s; resolved alerts are sent.
    """
    config = {
        "route": {
            "receiver": "hook",
            "group_by": list(group_by),
            "group_wait": "0s",
            "group_interval": "1s",
            "repeat_interval": repeat_interval,
        },
        "receivers": [
            {
                "name": "hook",
                "webhook_configs": [
                    {
                        "url": webhook,
                        "send_resolved": True,
                        "http_config": {"authorization": {"type": "Bearer", "credentials": bearer}},
                    }
                ],
            }
        ],
    }
    with scratch("alertmanager") as folder:
        (folder / "alertmanager.yml").write_text(json.dumps(config))  # JSON is YAML

        def argv(port: int) -> list[str]:
            return [
                program("alertmanager"),
                f"--config.file={folder}/alertmanager.yml",
                f"--storage.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
            ]

        with start(Program("alertmanager", argv, ready="/-/ready", unprivileged=True), folder) as child:
            yield Alertmanager(child)
