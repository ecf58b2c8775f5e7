"""A pack of policies as it is shipped, with its example config, before the world of a test. Only quicker.

The policies are the files of ``policies/SYSTEM``, the config is `example`. Changed are the
addresses, the people of the tests, and how long things take: minutes become seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.rig.alertmanager import running_alertmanager
from tests.rig.daemon import HOOK_TOKEN, Daemon, alert, daemon, settings, webhook
from tests.rig.patience import PATIENCE_S
from tests.rig.processes import REPOSITORY, scratch
from tests.rig.prometheus import Prometheus, running_prometheus
from tests.rig.room import Room, until
from tests.rig.slack import FakeSlack

POLICIES = REPOSITORY / "policies"
EXAMPLES = REPOSITORY / "examples"
FIRST = "molam-loyalty"
"""The pack whose settings are `examples/remediator.yaml`: the one that README and docs begin with."""

QUICKER = {
    "every": "1s",
    "for": "1s",
    "cooldown": "2s",
    "recheck": "1s",
    "after": "4s",
    "within": "15s",
    "range": "5s",
}
KEPT = "4s"
"""How long an alert outlives its figures: a target that does not answer for a moment has not recovered."""
_RANGES = re.compile(r"\[\d+[smhd](:\d+[smhd])?\]")
_TIMES = re.compile(r"\b(every|for|cooldown|recheck|after|within): (\d+(?:ms|s|m|h|d))+")


def example(system: str) -> Path:
    """The settings that fit a pack."""
    return EXAMPLES / f"{'remediator' if system == FIRST else system}.yaml"


def quicker(text: str, **times: str) -> str:
    """A text with short times, PromQL's ranges too; gates keep theirs. ``times``: other ones."""
    wanted = QUICKER | times

    def shorter(line: str) -> str:
        if "votes:" in line or "late:" in line:
            return line
        return _TIMES.sub(
            lambda found: f"{found[1]}: {wanted[found[1]]}",
            _RANGES.sub(lambda found: f"[{wanted['range']}{':1s' if found[1] else ''}]", line),
        )

    return "\n".join(map(shorter, text.split("\n")))


def policies(system: str, replaced: Mapping[str, str] = {}, **times: str) -> dict[str, str]:
    """The texts of a pack's policies, by their files' names, quicker. ``replaced``: thresholds of time."""
    texts = {
        one.stem: quicker(one.read_text(), **times)
        for one in sorted((POLICIES / system).glob("*.yaml"))
        if not one.name.endswith(".test.yaml") and one.name != "alerts.yaml"
    }
    for old, new in replaced.items():
        assert any(old in text for text in texts.values()), old
        texts = {name: text.replace(old, new) for name, text in texts.items()}
    return texts


def config(system: str, slack: FakeSlack, connections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The pack's example config with these keys of its connections replaced, and the people of the tests."""
    shipped: dict[str, Any] = yaml.safe_load(example(system).read_text())
    given = settings(world="http://127.0.0.1:9", slack=slack)
    for name, keys in connections.items():
        assert name in shipped["connections"], name
        shipped["connections"][name] |= keys
    ours = ("listen", "public_url", "store", "policies", "hooks", "people", "slack", "resolved_debounce")
    given["people"] = shipped["people"] | given["people"]
    return shipped | {key: given[key] for key in ours}


@dataclass
class PackRoom(Room):
    """A daemon with a whole pack."""

    system: str
    slack: FakeSlack
    daemon: Daemon

    async def fire(self, name: str, status: str = "firing", **labels: str) -> None:
        """The alert of this name, as Alertmanager would post it."""
        answered = await self.daemon.webhook(webhook(alert(status, alertname=name, **labels)))
        assert answered == 200, f"the webhook was answered {answered}"

    async def run(self, policy: str, target: str, **wanted: str) -> dict[str, Any]:
        """The newest run of a policy on a target that is so: ``stage="waiting"``, ``outcome="fixed"``."""

        def pleases(run: dict[str, Any]) -> bool:
            return run["target"] == target and all(run[key] == value for key, value in wanted.items())

        return await self.daemon.wait_run(pleases, policy=policy)

    async def agreed(self, gate: str, *people: str) -> None:
        """These people approve, and it counts."""
        for person in people:
            status, told = await self.vote(gate, person)
            assert status == 200, told

    async def refused(
        self, policy: str, name: str, *, within: float = PATIENCE_S, **labels: str
    ) -> dict[str, Any]:
        """What this policy says to the alert with these labels, once it refuses it."""
        path = f"/api/v1/alerts/{alert(alertname=name, **labels)['fingerprint']}/explain"
        said: list[dict[str, Any]] = []

        async def there() -> bool:
            told = (await self.daemon.get(path)).get("policies", [])
            said[:] = [one for one in told if one["policy"] == policy and one["says"] == "refused"]
            return bool(said)

        await until(there, f"{policy} does not refuse {labels}", within=within)
        return said[0]


@contextmanager
def room(
    system: str,
    slack: FakeSlack,
    connections: Mapping[str, Mapping[str, Any]],
    *,
    times: Mapping[str, str] | None = None,
    replaced: Mapping[str, str] | None = None,
    port: int = 0,
    **environment: str,
) -> Iterator[PackRoom]:
    """Start a daemon with a pack. ``connections``: where the test's world is; ``times``: see `quicker`.

    replaced: other texts in its policies, such as a minute in SQL; port: where `watched` sends its alerts.
    """
    texts = policies(system, replaced or {}, **(times or {}))
    made = config(system, slack, connections) | {"listen": f"127.0.0.1:{port}"}
    with daemon(made, texts, **environment) as one:
        yield PackRoom(system, slack, one)


@contextmanager
def watched(system: str, targets: Mapping[str, str], port: int, **times: str) -> Iterator[Prometheus]:
    """A real Prometheus with the pack's own rules, quicker, and a real Alertmanager that tells the daemon.

    targets: job → the base URL whose ``/metrics`` is scraped; port: the daemon's (`free_port`).
    """
    with (
        scratch("rules") as folder,
        running_alertmanager(
            f"http://127.0.0.1:{port}/hooks/alertmanager", HOOK_TOKEN, group_by=("...",)
        ) as alertmanager,
    ):
        shipped = yaml.safe_load(quicker((POLICIES / system / "alerts.yaml").read_text(), **times))
        for rule in (one for group in shipped["groups"] for one in group["rules"]):
            rule["keep_firing_for"] = KEPT
        rules = folder / "alerts.yaml"
        rules.write_text(yaml.safe_dump(shipped))
        with running_prometheus(targets, alertmanager=alertmanager.url, rule_files=[rules]) as prometheus:
            try:
                yield prometheus
            finally:  # the daemon has gone: neither is to wait for an answer to what it still has to tell
                prometheus.child.kill()
                alertmanager.child.kill()
