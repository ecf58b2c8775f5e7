"""The real daemon as its own process, and the hands of operators and people on it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.rig.patience import PATIENCE_S
from tests.rig.processes import Child, Program, python_module, scratch, start
from tests.rig.slack import APP_TOKEN, BOT_TOKEN, SIGNING_SECRET, FakeSlack
from tests.rig.world import TOKEN as WORLD_TOKEN

HOOK_TOKEN = "hook-token-of-the-tests"
SECRETS = {
    "HOOK_TOKEN": HOOK_TOKEN,
    "LOYALTY_TOKEN": WORLD_TOKEN,
    "SLACK_BOT_TOKEN": BOT_TOKEN,
    "SLACK_SIGNING_SECRET": SIGNING_SECRET,
    "SLACK_APP_TOKEN": APP_TOKEN,
}
"""What the references of `settings` stand for."""
SELDOM = 0.2
"""Seconds between two looks at what takes its time."""
PEOPLE = {"amina": "U0AMINA", "bob": "U0BOB", "chen": "U0CHEN"}
ROLES = {"oncall": ["bob"], "ops_marketing": ["amina"], "lead": ["chen"]}


def token_of(person: str) -> str:
    """A person's API token in the tests."""
    return f"token-of-{person}-0123456789"


def settings(
    *, world: str, prometheus: str = "http://127.0.0.1:9", slack: FakeSlack | None = None, **more: object
) -> dict[str, Any]:
    """A config as operators write it; ``more`` replaces whole keys."""
    people = {
        name: {
            "slack": f"T01TEST/{user}",
            "token_sha256": hashlib.sha256(token_of(name).encode()).hexdigest(),
        }
        for name, user in PEOPLE.items()
    }
    config: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "public_url": "http://127.0.0.1",
        "store": "sqlite:state.db",
        "policies": "policies",
        "hooks": {"alertmanager": {"bearer": "${env:HOOK_TOKEN}"}},
        "connections": {
            "prometheus": {"kind": "prometheus", "url": prometheus},
            "loyalty_api": {
                "kind": "http",
                "base_url": world,
                "headers": {"Authorization": "Bearer ${env:LOYALTY_TOKEN}"},
                "endpoints": {"POST /api/workers/*": "safe", "POST /api/campaigns/*/pause": "destructive"},
                "timeout": "3s",
            },
        },
        "people": people,
        "roles": ROLES,
        "targets": ["campaign", "worker", "service", "loyalty-program"],
        "escalations": {"default": [{"role": "oncall", "after": "0s"}, {"role": "lead", "after": "15m"}]},
        "resolved_debounce": "2s",
    }
    if slack is not None:
        config["slack"] = {
            "bot_token": "${env:SLACK_BOT_TOKEN}",
            "signing_secret": "${env:SLACK_SIGNING_SECRET}",
            "channel": "C0OPS",
            "app_id": slack.app_id,
            "api_url": slack.api_url,
        }
    return config | more


@dataclass
class Daemon:
    """One daemon's folder, and its process once it was started."""

    folder: Path
    config: dict[str, Any]
    child: Child | None = None
    environment: dict[str, str] = field(default_factory=dict)
    module: str = "remediator"
    """What is run: this, or something that wraps it."""
    start_within: float = PATIENCE_S
    host: str = "127.0.0.1"
    """On Linux all of 127.0.0.0/8 is this machine; of 127.0.0.2 the daemon thinks that others reach it."""
    by: tuple[str, ...] = ()
    """What runs it: words before its own, such as those that put it on another host."""

    @property
    def url(self) -> str:
        """Its base URL."""
        assert self.child is not None
        return self.child.url

    @property
    def hook(self) -> str:
        """Where Alertmanager posts."""
        return f"{self.url}/hooks/alertmanager"

    def policy(self, name: str, text: str) -> None:
        """Write a policy file; the daemon must be started, or told to reload."""
        (self.folder / "policies").mkdir(exist_ok=True)
        (self.folder / "policies" / f"{name}.yaml").write_text(text)

    def start(self, port: int | None = None) -> Child:
        """Start it (again: on the same port), and wait until it is ready."""
        environment = {**SECRETS, **self.environment}
        port = port or (self.child.port if self.child is not None else None)

        def argv(port: int) -> list[str]:
            file = self.folder / "remediator.yaml"
            file.write_text(json.dumps(self.config | {"listen": f"{self.host}:{port}"}))  # JSON is YAML
            return [*self.by, *python_module(self.module, "serve", "--config", str(file))]

        self.child = start(
            Program(
                "remediator",
                argv,
                "/readyz",
                environment=environment,
                start_within=self.start_within,
                host=self.host,
            ),
            self.folder,
            port=port,
        )
        return self.child

    async def get(self, path: str) -> Any:
        """An API answer."""
        headers = {"Accept": "application/json"}
        async with aiohttp.ClientSession(headers=headers) as session, session.get(self.url + path) as answer:
            return await answer.json()

    async def post(self, path: str, body: Mapping[str, object], *, by: str = "") -> tuple[int, Any]:
        """Status and answer of a change, as a person (or nobody)."""
        headers = {"Authorization": f"Bearer {token_of(by)}"} if by else {}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.url + path, json=dict(body), headers=headers) as answer,
        ):
            return answer.status, await answer.json()

    async def webhook(self, body: Mapping[str, object]) -> int:
        """What Alertmanager would post, by hand; the status."""
        headers = {"Authorization": f"Bearer {HOOK_TOKEN}"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.hook, json=dict(body), headers=headers) as answer,
        ):
            return answer.status

    async def runs(self, **query: str) -> list[dict[str, Any]]:
        """Runs, newest first."""
        words = "&".join(f"{name}={value}" for name, value in query.items())
        answer = await self.get(f"/api/v1/runs?{words}")
        return list(answer["runs"])

    async def wait_run(
        self, pleases: Callable[[dict[str, Any]], bool], *, within: float = PATIENCE_S, policy: str = ""
    ) -> dict[str, Any]:
        """The first run that pleases; on giving up, says what runs there were."""
        give_up, pause = time.monotonic() + within, 0.05
        while True:
            runs = await self.runs(**({"policy": policy} if policy else {}))
            for run in runs:
                if pleases(run):
                    return run
            if time.monotonic() > give_up:
                told = [
                    (run["id"], run["policy"], run["stage"], run["outcome"], run["reason"]) for run in runs
                ]
                raise AssertionError(f"no run pleased within {within} s: {told}")
            await asyncio.sleep(pause)
            pause = min(1.2 * pause, SELDOM)

    async def wait_stage(self, stage: str, *, within: float = PATIENCE_S, policy: str = "") -> dict[str, Any]:
        """The first run at this stage."""
        return await self.wait_run(lambda run: run["stage"] == stage, within=within, policy=policy)

    async def wait_outcome(
        self, outcome: str, *, within: float = PATIENCE_S, policy: str = ""
    ) -> dict[str, Any]:
        """The first run that closed so."""
        return await self.wait_run(lambda run: run["outcome"] == outcome, within=within, policy=policy)

    async def journal(self, run: str) -> list[dict[str, Any]]:
        """All lines of a run's journal."""
        answer = await self.get(f"/api/v1/runs/{run}/journal")
        return list(answer["entries"])

    async def kinds(self, run: str) -> list[str]:
        """The kinds of a journal's lines, in order."""
        return [entry["kind"] for entry in await self.journal(run)]


@contextmanager
def daemon(
    config: dict[str, Any], policies: Mapping[str, str], *, host: str = "127.0.0.1", **environment: str
) -> Iterator[Daemon]:
    """A folder with a config and policies, the daemon started in it, ended and removed at the end.

    It listens on the port that the config names; where that is 0, on a free one.
    """
    with scratch("daemon") as folder:
        one = Daemon(folder, config, environment=environment, host=host)
        for name, text in policies.items():
            one.policy(name, text)
        one.start(int(config["listen"].rpartition(":")[2]) or None)
        try:
            yield one
        except BaseException:
            assert one.child is not None
            print(f"---- the daemon said ----\n{one.child.said()[-12000:]}")
            raise
        finally:
            if one.child is not None:
                one.child.end()


def alert(
    status: str = "firing", *, starts_at: str = "2026-11-21T07:00:00.123Z", **labels: str
) -> dict[str, Any]:
    """One alert of a webhook; its fingerprint is made of its labels."""
    ended = "2026-11-21T08:00:00Z" if status == "resolved" else "0001-01-01T00:00:00Z"
    return {
        "status": status,
        "labels": labels,
        "annotations": {"summary": f"{labels.get('alertname')} on {labels.get('campaign_id', 'something')}"},
        "startsAt": starts_at,
        "endsAt": ended,
        "generatorURL": "http://prometheus.example/graph",
        "fingerprint": hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()[:16],
    }


def webhook(*alerts: Mapping[str, object], truncated: int = 0) -> dict[str, Any]:
    """Alertmanager's webhook, version 4, as recorded in tests/payloads."""
    return {
        "version": "4",
        "groupKey": '{}:{alertname="x"}',
        "truncatedAlerts": truncated,
        "status": "firing",
        "receiver": "hook",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example:9093",
        "alerts": [dict(one) for one in alerts],
    }
