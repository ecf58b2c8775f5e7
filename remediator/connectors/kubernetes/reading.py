"""kubernetes.get: one object, without what must not leave: values of environments, contents of secrets.

Beside what Kubernetes says of it stand `rolled_out` (workloads), `ready` (pods) and `finished` (Jobs): what
`kubectl rollout status` and `kubectl wait` would say.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from remediator.connectors.kubernetes.jobs import JOB_LABEL
from remediator.connectors.kubernetes.kinds import WORKLOADS, Place
from remediator.connectors.kubernetes.link import Link
from remediator.connectors.kubernetes.owners import LAST_APPLIED
from remediator.connectors.kubernetes.settings import READABLE, KubernetesSettings
from remediator.connectors.kubernetes.workloads import LONGEST, NAMESPACE, place_of
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

HIDDEN = "[hidden]"
_DATA = ("data", "stringData", "binaryData")


async def read(link: Link, call: Call, settings: KubernetesSettings) -> dict[str, Any]:
    """The object. ConnectorError."""
    kind = call.args.get("kind")
    if kind not in settings.kinds:
        raise ConnectorError(
            call.connection,
            f"not asked: the connection does not let {kind!r} be read",
            remedy=f"list it under kinds; it has [{', '.join(settings.kinds)}]",
        )
    place = place_of(call, settings)
    declared = settings.jobs.get(place.name) if kind == "job" else None
    if declared is not None and declared.namespace == place.namespace:
        return shown(await _newest(link, call.connection, place))
    return shown((await link.get(call.connection, place)).object)


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
    (meta.get("annotations") or {}).pop(LAST_APPLIED, None)
    for part in _DATA:
        if isinstance(told.get(part), dict):
            told[part] = dict.fromkeys(told[part], HIDDEN)
    _hide_environments(told.get("spec"))
    spec, status = told.setdefault("spec", {}), told.setdefault("status", {})
    kind = str(told.get("kind", "")).lower()
    conditions = {one.get("type"): one.get("status") for one in status.get("conditions") or ()}
    told["rolled_out"] = _rolled_out(kind, meta, spec, status) if kind in WORKLOADS else None
    told["ready"] = conditions.get("Ready") == "True" if kind == "pod" else None
    ends = [one for one in ("Complete", "Failed") if conditions.get(one) == "True"]
    told["finished"] = "".join(ends[:1]) if kind == "job" else None
    return told


def _hide_environments(value: Any) -> None:
    """Wherever containers stand, in whatever template."""
    if isinstance(value, list):
        for one in value:
            _hide_environments(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            if name == "env" and isinstance(one, list):
                for variable in one:
                    if isinstance(variable, dict) and "value" in variable:
                        variable["value"] = HIDDEN
            else:
                _hide_environments(one)


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
