"""A real Prometheus: scrapes given targets every second, evaluates given rules, sends to an Alertmanager."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from tests.rig.components import program
from tests.rig.patience import PATIENCE_S
from tests.rig.processes import Child, Program, scratch, start


@dataclass(frozen=True)
class Series:
    """One series of an instant query's answer."""

    labels: dict[str, str]
    value: float


@dataclass
class Prometheus:
    """A running Prometheus. ``url`` is its base URL."""

    child: Child
    targets: Mapping[str, str]
    alertmanager: str | None

    @property
    def url(self) -> str:
        """Its base URL, without a slash at the end."""
        return self.child.url

    async def get(self, path: str, **params: str) -> Any:
        """The ``data`` of one of its API's answers, such as ``get("/api/v1/alerts")``."""
        async with aiohttp.ClientSession() as session, session.get(self.url + path, params=params) as answer:
            body = await answer.json()
        assert body["status"] == "success", body
        return body["data"]

    async def query(self, expression: str) -> list[Series]:
        """An instant query for a vector or a scalar."""
        data = await self.get("/api/v1/query", query=expression)
        if data["resultType"] == "scalar":
            return [Series({}, float(data["result"][1]))]
        return [Series(one["metric"], float(one["value"][1])) for one in data["result"]]

    async def wait_for(
        self, expression: str, until: Callable[[list[Series]], object] = bool, *, within: float = PATIENCE_S
    ) -> list[Series]:
        """Ask until the answer pleases (by default: until there is one)."""
        give_up = time.monotonic() + within
        while True:
            answer = await self.query(expression)
            if until(answer):
                return answer
            assert time.monotonic() < give_up, f"{expression} within {within} s: {answer}"
            await asyncio.sleep(0.1)

    async def rules(self, rules: Sequence[Mapping[str, object]]) -> None:
        """Put other alerting or recording rules in the place of the present ones, and reload."""
        _write_rules(self.child.folder, rules)
        async with aiohttp.ClientSession() as session, session.post(self.url + "/-/reload") as answer:
            assert answer.status == 200, await answer.text()


@contextmanager
def running_prometheus(
    targets: Mapping[str, str],
    rules: Sequence[Mapping[str, object]] = (),
    alertmanager: str | None = None,
    *,
    rule_files: Sequence[Path] = (),
) -> Iterator[Prometheus]:
    """Start one, and end it.

    It is ready at once, but takes its targets and its Alertmanager up after 5 s (its discovery ticks so):
    start one for a module rather than for a test, and change its rules.

    Args:
        targets: job name to the base URL whose ``/metrics`` is scraped every second.
        rules: rules as in a rule file, such as ``{"alert": "Sick", "expr": "sick > 0", "for": "0s"}``.
        alertmanager: the base URL that alerts are sent to.
        rule_files: files copied beside the rules, as they are (a product's own alerts).
    """
    with scratch("prometheus") as folder:
        _write_rules(folder, rules)
        for file in rule_files:
            (folder / f"given-{file.name}").write_bytes(file.read_bytes())
        config = _config(targets, alertmanager, [f"given-{file.name}" for file in rule_files])
        (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML

        def argv(port: int) -> list[str]:
            return [
                program("prometheus"),
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
                "--web.enable-lifecycle",
                "--rules.alert.resend-delay=2s",  # after four without a word the alert is taken for over
            ]

        with start(Program("prometheus", argv, ready="/-/ready", unprivileged=True), folder) as child:
            yield Prometheus(child, targets, alertmanager)


def _write_rules(folder: Path, rules: Sequence[Mapping[str, object]]) -> None:
    group = {"name": "test", "interval": "1s", "rules": [dict(rule) for rule in rules]}
    (folder / "rules.yml").write_text(json.dumps({"groups": [group]}))


def _config(targets: Mapping[str, str], alertmanager: str | None, rule_files: list[str]) -> dict[str, object]:
    config: dict[str, object] = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml", *rule_files],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [urlsplit(url).netloc]}]}
            for job, url in targets.items()
        ],
    }
    if alertmanager is not None:
        config["alerting"] = {
            "alertmanagers": [{"static_configs": [{"targets": [urlsplit(alertmanager).netloc]}]}]
        }
    return config
