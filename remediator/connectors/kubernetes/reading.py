"""What is read: one object, without what must not leave, and the release of a Deployment.

Hidden are values of environments, arguments, commands, headers of probes, annotations of strangers, and all
contents of secrets and the keystores of certificates.

Beside what Kubernetes says of it stand `rolled_out` (workloads), `ready` (pods, certificates) and `finished`
(Jobs): what `kubectl rollout status` and `kubectl wait` would say.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from remediator.connectors.kubernetes import revisions
from remediator.connectors.kubernetes.jobs import JOB_LABEL
from remediator.connectors.kubernetes.kinds import HIDDEN, WORKLOADS, Place
from remediator.connectors.kubernetes.link import Link
from remediator.connectors.kubernetes.owners import LAST_APPLIED
from remediator.connectors.kubernetes.settings import READABLE, KubernetesSettings
from remediator.connectors.kubernetes.workloads import LONGEST, NAME, NAMESPACE, place_of
from remediator.core.catalog import Escape, Kind, Operation, Param
from remediator.core.intention import Call
from remediator.errors import ConnectorError

GET = Operation(
    name="kubernetes.get",
    kind=Kind.PROBE,
    doc="One object as it is now, with `rolled_out`, `ready` or `finished`, and without secret values.",
    params={
        "kind": Param(
            f"One of {', '.join(READABLE)}.", escape=Escape.LITERAL, required=True, choices=READABLE
        ),
        "namespace": NAMESPACE,
        "name": Param(
            "The object's name; of a job also one that the connection declares: its newest.", required=True
        ),
    },
    longest=LONGEST,
    reads=("metadata", "spec", "status", "rolled_out", "ready", "finished"),
)

_DATA = ("data", "stringData", "binaryData")
_WORDS = ("args", "command")
"""Of containers, and of what their probes and hooks run."""
_VALUES = ("env", "httpHeaders")
_NOTED = re.compile(r"([a-z.-]+\.)?(kubernetes|k8s|cert-manager)\.io/|remediator/")


RELEASE = Operation(
    name="kubernetes.release",
    kind=Kind.PROBE,
    doc="The release that a Deployment serves: images, since when, the one before, what was gone back from.",
    params={"namespace": NAMESPACE, "name": NAME},
    longest=LONGEST,
    reads=("revision", "images", "since", "age", "before", "back_from"),
)


def looked(call: Call, settings: KubernetesSettings) -> Place:
    """The object that is to be read. ConnectorError where it may not be."""
    kind = call.args.get("kind")
    if kind not in settings.kinds:
        raise ConnectorError(
            call.connection,
            f"not asked: the connection does not let {kind!r} be read",
            remedy=f"list it under kinds; it has [{', '.join(settings.kinds)}]",
        )
    place = place_of(call, settings)
    if kind == "secret" and f"{place.namespace}/{place.name}" not in settings.secrets:
        raise ConnectorError(
            call.connection,
            f"not asked: the connection does not list the secret {place.namespace}/{place.name}",
            remedy=f"list it under secrets; it has [{', '.join(settings.secrets)}]",
        )
    return place


async def read(link: Link, call: Call, settings: KubernetesSettings) -> dict[str, Any]:
    """The object. ConnectorError."""
    place = looked(call, settings)
    declared = settings.jobs.get(place.name) if place.kind.name == "job" else None
    if declared is not None and declared.namespace == place.namespace:
        return shown(await _newest(link, call.connection, place))
    return shown((await link.get(call.connection, place)).object)


def released(call: Call, settings: KubernetesSettings) -> Place:
    """The Deployment whose release is to be read. ConnectorError where it may not be."""
    return place_of(call, settings, "deployment")


async def release(link: Link, call: Call, settings: KubernetesSettings) -> dict[str, Any]:
    """The release. age: in seconds. before, back_from: their revision and images, or None. ConnectorError."""
    place = released(call, settings)
    held = await link.get(call.connection, place)
    history = await revisions.history(call.connection, link, place, held.object)
    if held.at is None:
        raise ConnectorError(call.connection, "the API server tells no time")
    since, left = _since(history.release, held.object), history.gone_back_from
    return {
        "revision": history.current.number,
        "images": history.current.images,
        "since": since,
        "age": max(0.0, held.at - datetime.fromisoformat(since).timestamp()),
        "before": _named(history.before),
        "back_from": _named(left[0] if left else None),
    }


def _named(one: revisions.Revision | None) -> dict[str, Any] | None:
    return None if one is None else {"revision": one.number, "images": one.images}


def _since(release: tuple[revisions.Revision, ...], held: Mapping[str, Any]) -> str:
    """When it came. Its first ReplicaSet may be one of old that was gone back to: its rollout tells when."""
    created = release[-1].created
    rolled = [
        str(one["lastUpdateTime"])
        for one in (held.get("status") or {}).get("conditions") or ()
        if one.get("type") == "Progressing" and one.get("lastUpdateTime")
    ]
    return max(created, *rolled) if len(release) == 1 else created


async def _newest(link: Link, name: str, place: Place) -> Mapping[str, Any]:
    """Of the Jobs that were begun by this name; one that does not exist yet has no uid."""
    path = place.kind.path(place.namespace)
    what = f"the Jobs of {place.namespace}"
    listed = await link.read(name, path, what, {"labelSelector": f"{JOB_LABEL}={place.name}"})
    items = [{"kind": "Job", **one} for one in listed.object.get("items") or ()]
    nothing = {"kind": "Job", "metadata": {"name": "", "uid": "", "creationTimestamp": ""}}
    return max(items, key=lambda one: str(one["metadata"]["creationTimestamp"]), default=nothing)


def shown(held: Mapping[str, Any]) -> dict[str, Any]:
    """An object as it may be shown."""
    told = copy.deepcopy(dict(held))
    meta = told.get("metadata") or {}
    meta.pop("managedFields", None)
    for part in _DATA:
        if isinstance(told.get(part), dict):
            told[part] = dict.fromkeys(told[part], HIDDEN)
    (told.get("spec") or {}).pop("keystores", None)  # a certificate's: its passwords may stand there
    _hide([meta, told.get("spec")])
    spec, status = told.setdefault("spec", {}), told.setdefault("status", {})
    kind = str(told.get("kind", "")).lower()
    conditions = {one.get("type"): one.get("status") for one in status.get("conditions") or ()}
    told["rolled_out"] = _rolled_out(kind, meta, spec, status) if kind in WORKLOADS else None
    told["ready"] = conditions.get("Ready") == "True" if kind in ("pod", "certificate") else None
    ends = [one for one in ("Complete", "Failed") if conditions.get(one) == "True"]
    told["finished"] = "".join(ends[:1]) if kind == "job" else None
    return told


def _hide(value: Any) -> None:
    """Wherever containers, probes and annotations stand, in whatever template."""
    if isinstance(value, list):
        for one in value:
            _hide(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            if name in _WORDS and isinstance(one, list):
                value[name] = [HIDDEN] * len(one)
            elif name in _VALUES and isinstance(one, list):
                for item in one:
                    if isinstance(item, dict) and "value" in item:
                        item["value"] = HIDDEN
            elif name == "annotations" and isinstance(one, dict):
                value[name] = _notes(one)
            else:
                _hide(one)


def _notes(annotations: Mapping[str, Any]) -> dict[str, Any]:
    """Those of Kubernetes, of cert-manager and our own as they are; of others, that they are there."""
    kept = {name: value for name, value in annotations.items() if name != LAST_APPLIED}
    return {name: value if _NOTED.match(name) else HIDDEN for name, value in kept.items()}


def _rolled_out(
    kind: str, meta: Mapping[str, Any], spec: Mapping[str, Any], status: Mapping[str, Any]
) -> bool:
    if status.get("observedGeneration", 0) < meta.get("generation", 0):
        return False
    if kind == "daemonset":
        wanted = status.get("desiredNumberScheduled", 0)
        counts = ["updatedNumberScheduled", "numberAvailable"]
    else:
        wanted = spec.get("replicas", 1)
        ready = "availableReplicas" if kind == "deployment" else "readyReplicas"
        counts = ["updatedReplicas", ready, "replicas"]
    return all(status.get(count, 0) == wanted for count in counts)
