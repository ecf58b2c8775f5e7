"""A shop in a fake cluster, the connection to it, and acts with their marks: for stories about Kubernetes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from remediator.connectors.kubernetes import Kubernetes, KubernetesSettings
from remediator.core.evidence import Picture
from remediator.core.intention import Call
from remediator.core.messages import Result
from remediator.ports import Order
from tests.rig.kubernetes import RESET, SETTLE, FakeKubernetes, putting, workload

JOB_SPEC = {
    "template": {
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "job", "image": "job:1", "env": [{"name": "FIXED", "value": "x"}]}],
        }
    }
}
SETTINGS: dict[str, Any] = {
    "namespaces": ["shop"],
    "kinds": ["deployment", "statefulset", "daemonset", "pod", "secret", "job", "certificate"],
    "workloads": {
        "shop/deployment/web": {
            "replicas": {"floor": 2, "ceiling": 10},
            "restart": True,
            "rollback": True,
            "memory": {"floor": "256Mi", "ceiling": "4Gi"},
        },
        "shop/statefulset/*": {"replicas": {"floor": 1, "ceiling": 5}, "restart": True},
        "shop/daemonset/agent": {"restart": True},
    },
    "pods": ["shop"],
    "secrets": ["shop/web-tls"],
    "jobs": {
        "reindex": {"namespace": "shop", "spec": JOB_SPEC, "values": {"ORDER": "[a-z0-9-]{1,20}"}},
        "nightly": {"namespace": "shop", "cronjob": "nightly"},
    },
}


TLS = {"kind": "Secret", "metadata": {"name": "web-tls", "namespace": "shop"}, "type": "kubernetes.io/tls"}
TLS["data"] = {"tls.crt": "canary-cert", "tls.key": "canary-key"}
NIGHTLY = {
    "kind": "CronJob",
    "metadata": {"name": "nightly", "namespace": "shop"},
    "spec": {
        "jobTemplate": {
            "spec": {
                "template": {
                    "spec": {"restartPolicy": "Never", "containers": [{"name": "n", "image": "nightly:3"}]}
                }
            }
        }
    },
}


IN_THE_SHOP = (
    RESET,
    putting(workload("web", image="app:1"), workload("db", "StatefulSet"), TLS, NIGHTLY),
    putting(workload("agent", "DaemonSet")),
    SETTLE,
    putting(workload("web", image="app:2"), manager="kubectl-set"),
    SETTLE,
)


@dataclass
class Shop:
    """kube: the fake; connector: the real thing; marks: what was kept before anything became final."""

    kube: FakeKubernetes
    connector: Kubernetes
    marks: list[dict[str, Any]] = field(default_factory=list)

    async def act(
        self, operation: str, key: str = "run-1/step", shown: Picture | None = None, **args: Any
    ) -> Result:
        """Do it as the engine does."""
        order = Order(key, shown, self.keep)
        return await self.connector.act(call(operation, **args), order=order, timeout=20)

    async def preview(self, operation: str, **args: Any) -> Picture:
        return await self.connector.preview(call(operation, **args), timeout=20)

    async def read(self, kind: str, name: str) -> dict[str, Any]:
        got = call("get", kind=kind, name=name)
        return await self.connector.read(got, timeout=20)

    async def release(self, name: str) -> dict[str, Any]:
        return await self.connector.read(call("release", name=name), timeout=20)

    async def inquire(self, operation: str, **args: Any) -> Result | None:
        """By the last mark."""
        return await self.connector.inquire(call(operation, **args), self.marks[-1], timeout=20)

    async def undo(self, result: Result, key: str = "run-1/step/undo") -> Result:
        """Take back what an act returned."""
        restore = getattr(result, "result")["restore"]  # noqa: B009 - only Done has one
        back = Call("kubernetes.restore", "cluster", restore)
        return await self.connector.act(back, order=Order(key, None, self.keep), timeout=20)

    def close(self) -> None:
        """What was made ready stays so."""
        _READY[self.kube.url] = self.connector._link._ready

    async def keep(self, about: dict[str, Any]) -> str:
        self.marks.append(about)
        return ""


def call(operation: str, **args: Any) -> Call:
    """A resolved use; of the shop, unless it says otherwise."""
    where = {} if operation == "job" else {"namespace": "shop"}
    return Call(f"kubernetes.{operation}", "cluster", {**where, **args})


def connector(kube: FakeKubernetes, **more: Any) -> Kubernetes:
    """A configured connection to the fake."""
    given = {"kubeconfig": str(kube.kubeconfig()), **SETTINGS, **more}
    made = Kubernetes(KubernetesSettings.model_validate(given))
    if not more:
        made._link._ready = _READY.get(kube.url)
    return made


_READY: dict[str, Any] = {}
"""What a connection reads of its kubeconfig, by the fake's address: the same for all stories."""


WEB: dict[str, Any] = {"kind": "deployment", "name": "web"}
ACTS: dict[str, tuple[str, dict[str, Any], str]] = {
    # its name here → operation, arguments, the verb by which the API server hears of it
    "scale": ("scale", {**WEB, "replicas": 5}, "patch"),
    "restart": ("restart", WEB, "patch"),
    "rollback": ("rollback", {"name": "web"}, "patch"),
    "resources": ("resources", {**WEB, "container": "app", "limits": {"memory": "2Gi"}}, "patch"),
    "delete a pod": ("delete", {"kind": "pod", "name": "db-0"}, "delete"),
    "delete a secret": ("delete", {"kind": "secret", "name": "web-tls"}, "delete"),
    "job": ("job", {"job": "reindex", "values": {"ORDER": "o-1"}}, "create"),
}
