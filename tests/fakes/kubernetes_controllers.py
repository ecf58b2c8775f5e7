"""What the controllers of a cluster do after a change: revisions and pods of workloads, statuses, Jobs.

A Deployment's template that is new gets a ReplicaSet with the next revision; one that was there before is
taken up again under the next revision, as the real controller does. Pods of a bad image never get ready.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.kubernetes_objects import Key, Object, Objects, Writing, after, timestamp

REVISION = "deployment.kubernetes.io/revision"
CERTIFICATE = "cert-manager.io/certificate-name"
WORKLOADS = ("deployments", "statefulsets", "daemonsets")
HASH = "pod-template-hash"
STATUS = Writing("kube-controller-manager", "status")
SPEC = Writing("kube-controller-manager")


@dataclass
class Controllers:
    """They come round ``delay`` seconds after a change.

    bad: images whose pods never get ready. failing: Jobs of these images fail. again: secrets, as
    ``namespace/name``, that cert-manager makes anew once they are gone.
    """

    objects: Objects
    delay: float = 0.02
    bad: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)
    again: set[str] = field(default_factory=set)
    coming: dict[Key, asyncio.TimerHandle] = field(default_factory=dict)

    def changed(self, key: Key) -> None:
        """Come round soon."""
        if key[0] in (*WORKLOADS, "jobs", "secrets") and key not in self.coming:
            self.coming[key] = asyncio.get_running_loop().call_later(self.delay, self.sync, key)

    def sync(self, key: Key) -> None:
        """Bring everything to what the spec says."""
        if (handle := self.coming.pop(key, None)) is not None:
            handle.cancel()
        plural, _, name = key
        if key not in self.objects.held:
            self._gone(key)
            return
        match plural:
            case "deployments":
                self._deployment(key)
            case "statefulsets" | "daemonsets":
                self._status(
                    key, self._pods(self.objects.held[key], f"{name}-", _template(key, self.objects))
                )
            case "jobs":
                self._job(key)

    def _gone(self, key: Key) -> None:
        plural, namespace, name = key
        if plural == "secrets" and f"{namespace}/{name}" in self.again:
            meta = {"name": name, "annotations": {CERTIFICATE: name}}
            made = {"metadata": meta, "type": "kubernetes.io/tls", "data": {"tls.crt": "bmV3"}}
            self.objects.create("secrets", namespace, made, Writing("cert-manager"))

    def _deployment(self, key: Key) -> None:
        deployment = self.objects.get(key)
        current = self._current(deployment)
        sets = self._sets(deployment)
        newest = max([_revision(one) for one in sets], default=0)
        if current is None or _revision(current) < newest:
            current = self._revised(deployment, current, newest + 1)
        for one in self._sets(deployment):
            wanted = deployment["spec"].get("replicas", 1) if _is(one, current) else 0
            self._change(one, lambda held, n=wanted: held["spec"].update(replicas=n))
        self._prune(deployment)
        revision = current["metadata"]["annotations"][REVISION]
        self._change(deployment, lambda held: _annotations(held).update({REVISION: revision}))
        prefix = f"{current['metadata']['name']}-"
        ready = self._pods(deployment, prefix, current["spec"]["template"])
        self._status(key, ready, f'ReplicaSet "{current["metadata"]["name"]}" has successfully progressed.')

    def _current(self, deployment: Object) -> Object | None:
        template = deployment["spec"]["template"]
        return next(
            (one for one in self._sets(deployment) if _plain(one["spec"]["template"]) == template), None
        )

    def _revised(self, deployment: Object, known: Object | None, revision: int) -> Object:
        why = _annotations(deployment).get("kubernetes.io/change-cause")
        noted = {REVISION: str(revision)} | ({"kubernetes.io/change-cause": why} if why else {})
        if known is not None:
            return self._change(known, lambda held: _annotations(held).update(noted))
        template = copy.deepcopy(deployment["spec"]["template"])
        text = json.dumps(template, sort_keys=True).encode()
        digest = hashlib.sha256(text).hexdigest()[:9]
        labels = template.setdefault("metadata", {}).setdefault("labels", {})
        labels[HASH] = digest
        made = {
            "metadata": {
                "name": f"{deployment['metadata']['name']}-{digest}",
                "labels": dict(labels),
                "annotations": noted,
                "ownerReferences": [_owner(deployment)],
            },
            "spec": {
                "replicas": deployment["spec"].get("replicas", 1),
                "selector": {"matchLabels": dict(labels)},
                "template": template,
            },
        }
        earlier = [one["metadata"]["creationTimestamp"] for one in self._sets(deployment)]
        made = self.objects.create("replicasets", deployment["metadata"]["namespace"], made, SPEC)
        self.objects.held[_key(made)]["metadata"]["creationTimestamp"] = after(earlier)
        return made

    def _sets(self, deployment: Object) -> list[Object]:
        namespace, uid = deployment["metadata"]["namespace"], deployment["metadata"]["uid"]
        return [
            one
            for one in self.objects.all("replicasets", namespace)
            if any(owner["uid"] == uid for owner in one["metadata"].get("ownerReferences", []))
        ]

    def _prune(self, deployment: Object) -> None:
        limit = deployment["spec"].get("revisionHistoryLimit", 10)
        idle = sorted((one for one in self._sets(deployment) if not one["spec"]["replicas"]), key=_revision)
        for one in idle[: max(0, len(idle) - limit)]:
            self.objects.drop(_key(one))

    def _pods(self, owner: Object, prefix: str, template: Object) -> int:
        """Bring the pods in line; how many are ready."""
        meta = owner["metadata"]
        wanted = owner["spec"].get("replicas", 1)
        images = {one.get("image", "") for one in template["spec"]["containers"]}
        ready = not images & self.bad
        names = [f"{prefix}{number}" for number in range(wanted)]
        for pod in self.objects.all("pods", meta["namespace"]):
            owners = [one["uid"] for one in pod["metadata"].get("ownerReferences", [])]
            if meta["uid"] in owners and pod["metadata"]["name"] not in names:
                self.objects.drop(_key(pod))
        for name in names:
            if ("pods", meta["namespace"], name) not in self.objects.held:
                self._pod(owner, name, template, ready=ready)
        return wanted if ready else 0

    def _pod(self, owner: Object, name: str, template: Object, *, ready: bool) -> None:
        labels = dict((template.get("metadata") or {}).get("labels") or {})
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        made = {
            "metadata": {"name": name, "labels": labels, "ownerReferences": [_owner(owner)]},
            "spec": copy.deepcopy(template["spec"]),
            "status": {"phase": "Running", "conditions": conditions, "startTime": timestamp()},
        }
        self.objects.create("pods", owner["metadata"]["namespace"], made, SPEC)

    def _status(self, key: Key, ready: int, progress: str = "") -> None:
        """progress: the message of its rollout, whose time moves on when it is another."""
        held = self.objects.get(key)
        known = [
            one for one in held.get("status", {}).get("conditions", []) if one.get("message") == progress
        ]
        since = known[0]["lastUpdateTime"] if known else timestamp()
        wanted = held["spec"].get("replicas", 1)
        held["status"] = {
            **held.get("status", {}),
            "observedGeneration": held["metadata"]["generation"],
            "replicas": wanted,
            "updatedReplicas": wanted,
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": wanted - ready,
            "conditions": [
                {"type": "Available", "status": "True" if ready == wanted else "False"},
                {
                    "type": "Progressing",
                    "status": "True",
                    "reason": "NewReplicaSetAvailable",
                    "message": progress,
                    "lastUpdateTime": since,
                },
            ],
        }
        del held["metadata"]["resourceVersion"]
        self.objects.update(key, held, STATUS)

    def _job(self, key: Key) -> None:
        job = self.objects.get(key)
        images = {one.get("image", "") for one in job["spec"]["template"]["spec"]["containers"]}
        done = "failed" if images & self.failing else "succeeded"
        kind = "Failed" if done == "failed" else "Complete"
        job["status"] = {done: 1, "conditions": [{"type": kind, "status": "True"}]}
        del job["metadata"]["resourceVersion"]
        self.objects.update(key, job, STATUS)

    def _change(self, one: Object, change: Any) -> Object:
        held = self.objects.get(_key(one))
        change(held)
        return self.objects.update(_key(one), held, SPEC)


def _template(key: Key, objects: Objects) -> Object:
    template: Object = objects.held[key]["spec"]["template"]
    return template


def _key(one: Object) -> Key:
    plural = {"ReplicaSet": "replicasets", "Pod": "pods"}.get(one["kind"], f"{one['kind'].lower()}s")
    return plural, one["metadata"]["namespace"], one["metadata"]["name"]


def _is(one: Object, other: Object) -> bool:
    return bool(one["metadata"]["uid"] == other["metadata"]["uid"])


def _annotations(one: Object) -> Object:
    found: Object = one["metadata"].setdefault("annotations", {})
    return found


def _revision(one: Object) -> int:
    return int(_annotations(one).get(REVISION, 0))


def _plain(template: Object) -> Object:
    """Without the label that the controller adds."""
    plain = copy.deepcopy(template)
    plain["metadata"]["labels"].pop(HASH, None)
    return plain


def _owner(one: Object) -> Object:
    return {
        "apiVersion": one["apiVersion"],
        "kind": one["kind"],
        "name": one["metadata"]["name"],
        "uid": one["metadata"]["uid"],
        "controller": True,
    }
