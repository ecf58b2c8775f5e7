"""The fake Kubernetes as its own process, what stands in it, and the hands that change it meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.rig.certificates import certificate
from tests.rig.processes import Child, Program, free_port, python_module, scratch, start

TOKEN = "sa-token-" + "k" * 8


Step = tuple[str, dict[str, Any]]
SETTLE: Step = ("sync", {})
RESET: Step = ("reset", {})


@dataclass
class FakeKubernetes:
    """A running fake."""

    child: Child
    folder: Path
    secure_port: int = 0

    @property
    def url(self) -> str:
        """Its base URL, without a slash at the end."""
        return self.child.url

    def kubeconfig(self, name: str = "kubeconfig", **user: object) -> Path:
        """A kubeconfig file that leads here. user: instead of the token."""
        return kubeconfig(self.folder / name, self.url, **(user or {"token": TOKEN}))

    async def put(
        self, *objects: dict[str, Any], manager: str = "kubectl-create", applies: bool = False
    ) -> None:
        """Create these objects, or make them so. applies: by a server-side apply."""
        await self.do(putting(*objects, manager=manager, applies=applies))

    async def mood(self, mood: str, *verbs: str, **settings: object) -> None:
        """See ``tests.fakes.moods.Mood``."""
        await self.do(("mood", {"mood": mood, "verbs": list(verbs), **settings}))

    async def set(self, **settings: object) -> None:
        """``forbidden`` (``verb resource``), ``touches``, ``delay``, ``bad``, ``failing``, ``again``."""
        await self.do(("set", settings))

    async def age(self, kind: str, *, hours: float) -> None:
        """All objects of a kind were made, and changed last, so long ago."""
        await self.do(("age", {"kind": kind, "hours": hours}))

    async def settle(self) -> None:
        """All controllers have come round."""
        await self.do(SETTLE)

    async def do(self, *steps: Step) -> None:
        """All of these, in order."""
        url = f"{self.url}/_control/do"
        async with aiohttp.ClientSession() as session, session.post(url, json=steps) as answer:
            assert answer.status == 200, await answer.text()

    async def requests(self, *verbs: str) -> list[dict[str, Any]]:
        """Recorded requests, oldest first; of these verbs only, if any are given."""
        return [one for one in await self._get("requests") if not verbs or one["verb"] in verbs]

    async def changes(self) -> list[dict[str, Any]]:
        """Recorded requests that would change something, dry runs not among them."""
        mutating = await self.requests("create", "update", "patch", "delete")
        dry = [one for one in mutating if one["query"].get("dryRun") or (one["body"] or {}).get("dryRun")]
        return [one for one in mutating if one not in dry]

    async def object(self, kind: str, name: str, namespace: str = "shop") -> dict[str, Any] | None:
        """As it is now."""
        for one in await self.objects():
            if (one["kind"], one["metadata"]["name"], one["metadata"]["namespace"]) == (
                kind,
                name,
                namespace,
            ):
                found: dict[str, Any] = one
                return found
        return None

    async def objects(self) -> list[dict[str, Any]]:
        """All that stands in it."""
        return list(await self._get("objects"))

    async def _get(self, what: str) -> Any:
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/_control/{what}") as answer:
            return await answer.json()


def putting(*objects: dict[str, Any], manager: str = "kubectl-create", applies: bool = False) -> Step:
    """A step that creates these objects, or makes them so. applies: by a server-side apply."""
    return "put", {"objects": objects, "manager": manager, "applies": applies}


def kubeconfig(path: Path, server: str, **user: object) -> Path:
    """Write one. user: as in the file, such as ``token`` or ``exec``."""
    cluster = {"server": server}
    written = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "fake", "cluster": cluster}],
        "users": [{"name": "remediator", "user": user}],
        "contexts": [{"name": "here", "context": {"cluster": "fake", "user": "remediator"}}],
    }
    path.write_text(yaml.safe_dump(written))
    return path


@contextmanager
def running(*, secure: bool = False) -> Iterator[FakeKubernetes]:
    """Start one, and end it. secure: it also listens with TLS; its authority is ``ca.crt`` in its folder."""
    with scratch("kubernetes") as folder:
        options, port = ["--token", TOKEN], 0
        if secure:
            port = free_port()
            options += ["--tls", str(port), *certificate(folder)]
        program = Program(
            "kubernetes",
            lambda own: python_module("tests.fakes.kubernetes", "--port", str(own), *options),
        )
        with start(program, folder) as child:
            yield FakeKubernetes(child, folder, port)


# ── What stands in a cluster ────────────────────────────────────────────────────────────────────


def workload(name: str, kind: str = "Deployment", *, image: str = "app:1", **more: Any) -> dict[str, Any]:
    """A Deployment, StatefulSet or DaemonSet of one container, ``app``. more: of its spec."""
    labels = {"app": name}
    namespace = more.pop("namespace", "shop")
    resources = more.pop("resources", {})
    secret = {"name": "DB_PASSWORD", "value": "canary-password"}
    return {
        "kind": kind,
        "apiVersion": "apps/v1",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            **({} if kind == "DaemonSet" else {"replicas": 3}),
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": dict(labels)},
                "spec": {
                    "containers": [{"name": "app", "image": image, "resources": resources, "env": [secret]}]
                },
            },
            **more,
        },
    }
