"""A cluster changed by a real daemon: a release rolled back whose answer was lost, a scale undone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from tests.rig.daemon import Daemon, alert, daemon, settings, webhook
from tests.rig.kubernetes import SETTLE, FakeKubernetes, putting, running, workload

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.e2e]

POLICY = """
policy: {name}
summary: A workload is in trouble
mode: act
match: ['{{alertname="{name}"}}']
params:
  app: {{from: labels.app, pattern: '[a-z-]{{1,40}}'}}
target: worker/${{app}}
bounds: {{per_target: 3 in 24h}}
diagnose:
  found:
    use: kubernetes.get
    via: cluster
    with: {{kind: deployment, namespace: shop, name: '${{app}}'}}
decide:
  - when: found.rolled_out
    do: [{steps}]
steps:
  {steps}:
    use: kubernetes.{steps}
    via: cluster
    with: {{{args} namespace: shop, name: '${{app}}'}}
    gate: {{waived: it is undone by itself}}
    verify:
      use: kubernetes.get
      via: cluster
      with: {{kind: deployment, namespace: shop, name: '${{app}}'}}
      until: verify.rolled_out
      within: 20s
      every: 1s
    undo: {{how: restore, after: {after}}}
"""


@dataclass
class Play:
    daemon: Daemon
    kube: FakeKubernetes

    async def fire(self, policy: str, app: str) -> None:
        assert await self.daemon.webhook(webhook(alert(alertname=policy, app=app))) == 200

    async def spec(self, app: str) -> dict[str, Any]:
        found = await self.kube.object("Deployment", app)
        assert found is not None
        spec: dict[str, Any] = found["spec"]
        return spec

    async def image(self, app: str) -> str:
        return str((await self.spec(app))["template"]["spec"]["containers"][0]["image"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def play() -> AsyncIterator[Play]:
    apps = ("web", "api")
    with running() as kube:
        first = [putting(workload(name, image="app:1")) for name in apps]
        second = [putting(workload(name, image="app:2")) for name in apps]
        await kube.do(*first, SETTLE, *second, SETTLE)
        connections = {
            "cluster": {
                "kind": "kubernetes",
                "kubeconfig": str(kube.kubeconfig()),
                "namespaces": ["shop"],
                "workloads": {
                    "shop/deployment/*": {"rollback": True, "replicas": {"floor": 1, "ceiling": 5}}
                },
            }
        }
        policies = {
            "bad": POLICY.format(name="bad", steps="rollback", args="", after="1h"),
            "busy": POLICY.format(
                name="busy", steps="scale", args="kind: deployment, replicas: 5,", after="2s"
            ),
        }
        config = settings(world="http://127.0.0.1:9", connections=connections)
        with daemon(config, policies) as one:
            yield Play(one, kube)


async def test_a_lost_answer_is_found_out_and_the_release_is_rolled_back_once(play: Play) -> None:
    await play.kube.mood("close", "patch", applied=True)
    await play.fire("bad", "web")
    run = await play.daemon.wait_run(lambda one: one["stage"] == "holding", policy="bad")
    assert await play.image("web") == "app:1"
    assert len(await play.kube.changes()) == 1
    kinds = await play.daemon.kinds(run["id"])
    assert kinds.index("marked") < kinds.index("unknown") < kinds.index("found-out")
    step = (await play.daemon.get(f"/api/v1/runs/{run['id']}"))["steps"]["rollback"]
    assert step["result"]["before"]["images"] == "app=app:2"
    assert "canary" not in str(step) + str(await play.daemon.journal(run["id"]))


async def test_a_scale_is_proved_and_taken_back_when_its_time_is_up(play: Play) -> None:
    before = len(await play.kube.changes())
    await play.fire("busy", "api")
    await play.daemon.wait_outcome("fixed", policy="busy")
    sent = (await play.kube.changes())[before:]
    assert [one["body"]["spec"] for one in sent] == [{"replicas": 5}, {"replicas": 3}]
    assert (await play.spec("api"))["replicas"] == 3


async def test_what_the_api_server_forbids_is_told_and_pages(play: Play) -> None:
    await play.kube.set(forbidden=["patch deployments/scale"])
    await play.fire("busy", "web")
    run = await play.daemon.wait_run(
        lambda one: one["target"] == "worker/web" and one["outcome"], policy="busy"
    )
    assert "forbidden" in run["reason"].lower()
    assert (await play.spec("web"))["replicas"] == 3
