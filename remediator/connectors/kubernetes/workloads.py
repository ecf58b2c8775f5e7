"""What is done to workloads: scaled, restarted, rolled back, their containers given other resources.

Each operation says what it would change of the object as it stands, or why it may not; sending it, once,
is `change`'s affair. All values are absolute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from remediator.connectors.kubernetes import owners, revisions
from remediator.connectors.kubernetes.amounts import amount, same_amount
from remediator.connectors.kubernetes.change import INTENT, Edit, Reader
from remediator.connectors.kubernetes.kinds import KINDS, WORKLOADS, Place, is_name
from remediator.connectors.kubernetes.link import Answer, Link
from remediator.connectors.kubernetes.settings import Amounts, KubernetesSettings
from remediator.core.catalog import Escape, Fence, Kind, Operation, Param, Risk
from remediator.core.counting import counted
from remediator.core.intention import Call
from remediator.errors import ConnectorError

LONGEST = timedelta(minutes=2)
"""For all requests of one operation together; each has the connection's timeout."""

KIND = Param(f"One of {', '.join(WORKLOADS)}.", escape=Escape.LITERAL, required=True, choices=WORKLOADS)
NAMESPACE = Param("One of the connection's namespaces.", required=True)
NAME = Param("The object's name.", required=True)
WHERE = {"kind": KIND, "namespace": NAMESPACE, "name": NAME}

SCALE = Operation(
    name="kubernetes.scale",
    kind=Kind.ACTION,
    doc="Set the number of replicas of a workload, between the connection's floor and ceiling.",
    params={**WHERE, "replicas": Param("How many there shall be.", type="int", required=True)},
    risk=Risk.DISRUPTIVE,
    fence=Fence.TRANSACTION,
    longest=LONGEST,
    previews=True,
    restores=True,
)
RESTART = Operation(
    name="kubernetes.restart",
    kind=Kind.ACTION,
    doc="Make all pods of a workload anew, by its own update strategy, as `kubectl rollout restart`.",
    params=WHERE,
    risk=Risk.DISRUPTIVE,
    fence=Fence.TRANSACTION,
    longest=LONGEST,
    previews=True,
)
ROLLBACK = Operation(
    name="kubernetes.rollback",
    kind=Kind.ACTION,
    doc="Take a Deployment back to an earlier revision, which people see before they agree to it.",
    params={
        **{name: WHERE[name] for name in ("namespace", "name")},
        "revision": Param("The revision's number; left out, the one before the current one.", type="int"),
        "images": Param(
            "`other`: only to a release with other images; past what merely restarted or resized the pods.",
            escape=Escape.LITERAL,
            choices=("other",),
        ),
    },
    risk=Risk.DISRUPTIVE,
    fence=Fence.TRANSACTION,
    longest=LONGEST,
    previews=True,
    restores=True,
)
RESOURCES = Operation(
    name="kubernetes.resources",
    kind=Kind.ACTION,
    doc="Set memory and CPU of one container of a workload, between the connection's floors and ceilings.",
    params={
        **WHERE,
        "container": Param("The container's name.", escape=Escape.LITERAL, required=True),
        "limits": Param("Map of memory and cpu, such as {memory: 2Gi}.", type="strings"),
        "requests": Param("Likewise.", type="strings"),
    },
    risk=Risk.DISRUPTIVE,
    fence=Fence.TRANSACTION,
    longest=LONGEST,
    previews=True,
    restores=True,
)
RESTARTED = "kubectl.kubernetes.io/restartedAt"


def place_of(call: Call, settings: KubernetesSettings, kind: str = "") -> Place:
    """The object that a call names. ConnectorError where it may not be named."""
    kind = kind or str(call.args.get("kind"))
    namespace, name = call.args.get("namespace"), call.args.get("name")
    if kind not in KINDS:
        raise ConnectorError(call.connection, f"{kind!r} is no kind that policies may name")
    if namespace not in settings.namespaces:
        raise ConnectorError(
            call.connection,
            f"namespace {namespace!r} is not among those that the connection allows",
            remedy=f"it has namespaces: [{', '.join(settings.namespaces)}]",
        )
    if not is_name(name):
        raise ConnectorError(call.connection, f"{name!r} cannot be the name of an object")
    return Place(KINDS[kind], str(namespace), str(name))


def _not_allowed(call: Call, place: Place, what: str, key: str) -> ConnectorError:
    return ConnectorError(
        call.connection, f"{place} may not be {what}", remedy=f"list it under workloads: {place}: {{{key}}}"
    )


def _workload(call: Call, settings: KubernetesSettings) -> Place:
    place = place_of(call, settings)
    if place.kind.name not in WORKLOADS:
        raise ConnectorError(call.connection, f"{place.kind.name} is no workload: {', '.join(WORKLOADS)}")
    return place


def annotated(intent: str, **more: str | None) -> dict[str, Any]:
    """The metadata of a patch that carries its intent."""
    return {"annotations": {INTENT: intent, **more}}


# ── How many ────────────────────────────────────────────────────────────────────────────────────


def replicas(held: Mapping[str, Any]) -> dict[str, Any]:
    """Of a workload, or of its scale."""
    return {"replicas": (held.get("spec") or {}).get("replicas", 1)}


@dataclass(frozen=True)
class Scaling:
    """A call of kubernetes.scale, judged."""

    name: str
    place: Place
    count: int

    async def edit(self, link: Link, held: Answer, intent: str) -> Edit:  # noqa: ARG002 - the owner is its mark
        """To the number, unless it has it, or somebody else is in charge of it."""
        await check_unscaled(self.name, link, self.place)
        was = replicas(held.object)["replicas"]
        if was == self.count:
            raise ConnectorError(self.name, f"{self.place} has {counted(was, 'replica')} already")
        return scaled(self.place, was, self.count, undo=_declared(held, "replicas"))


def scaled(place: Place, was: int, count: int, undo: Mapping[str, Any] | None = None) -> Edit:
    """From one number to another. undo: what the way back needs."""
    text = f"scales {place} from {was} to {count} replicas"
    after = {"replicas": count}
    return Edit(
        place, replicas, after, {"spec": after}, text, scales=True, undo={"of": SCALE.name, **(undo or {})}
    )


def _declared(held: Answer, *fields: str, container: str | None = None) -> dict[str, Any]:
    """Who has set these fields so far, and when we looked: whoever ships them anew since then means them."""
    paths = [owners.path_of(field, container) for field in fields]
    declared = {owners.declared_by(held.object, path) for path in paths} - {""}
    return {"declared": sorted(declared), "at": held.at}


async def check_unscaled(name: str, link: Link, place: Place) -> None:
    """ConnectorError where an autoscaler is in charge: it would put its own number back at once."""
    what = f"the autoscalers of {place.namespace}"
    listed = await link.read(name, KINDS["horizontalpodautoscaler"].path(place.namespace), what)
    for one in listed.object.get("items") or ():
        target = (one.get("spec") or {}).get("scaleTargetRef") or {}
        if (str(target.get("kind")).lower(), target.get("name")) == (place.kind.name, place.name):
            raise ConnectorError(
                name,
                f"the HorizontalPodAutoscaler {one['metadata']['name']} scales {place}",
                remedy="it would undo this at once: change its minReplicas and maxReplicas instead",
            )


def scaling(call: Call, settings: KubernetesSettings) -> Scaling:
    """What a call asks for. ConnectorError where it may not be asked."""
    place, count = _workload(call, settings), call.args.get("replicas")
    bounds = settings.allowed(place).replicas
    if bounds is None:
        raise _not_allowed(call, place, "scaled", "replicas: {floor: 2, ceiling: 10}")
    if not isinstance(count, int) or isinstance(count, bool):
        raise ConnectorError(call.connection, f"replicas must be a whole number, not {count!r}")
    if not bounds.floor <= count <= bounds.ceiling:
        raise ConnectorError(
            call.connection,
            f"{count} replicas of {place} are outside {bounds.floor} to {bounds.ceiling}",
            remedy="ask for a number between its floor and its ceiling",
        )
    return Scaling(call.connection, place, count)


# ── Made anew ───────────────────────────────────────────────────────────────────────────────────


def restarted(held: Mapping[str, Any]) -> dict[str, Any]:
    """When it was restarted last."""
    annotations = (held["spec"]["template"].get("metadata") or {}).get("annotations") or {}
    return {"restarted": annotations.get(RESTARTED, "never"), "by": annotations.get(INTENT, "")}


@dataclass(frozen=True)
class Restarting:
    """A call of kubernetes.restart, judged."""

    name: str
    place: Place

    async def edit(self, link: Link, held: Answer, intent: str) -> Edit:  # noqa: ARG002 - nothing else to read
        """Its template gets the time, at which the controller makes all pods anew."""
        spec = held.object["spec"]
        if spec.get("paused"):
            raise ConnectorError(
                self.name, f"{self.place} is paused", remedy=f"kubectl rollout resume {self.place.name}"
            )
        strategy = (spec.get("updateStrategy") or spec.get("strategy") or {}).get("type", "RollingUpdate")
        if strategy == "OnDelete":
            raise ConnectorError(self.name, f"{self.place} has the strategy OnDelete: no pod would restart")
        at = datetime.fromtimestamp(held.at or 0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        template = {"metadata": {"annotations": {RESTARTED: at, INTENT: intent}}}
        number = (held.object.get("status") or {}).get("replicas")
        pods = f", {counted(number, 'pod')}" if isinstance(number, int) else ""
        return Edit(
            self.place,
            restarted,
            {"restarted": "now", "by": "this step"},
            {"metadata": annotated(intent), "spec": {"template": template}},
            f"restarts {self.place}{pods}, by its strategy {strategy}",
        )


def restarting(call: Call, settings: KubernetesSettings) -> Restarting:
    """What a call asks for. ConnectorError where it may not be asked."""
    place = _workload(call, settings)
    if not settings.allowed(place).restart:
        raise _not_allowed(call, place, "restarted", "restart: true")
    return Restarting(call.connection, place)


# ── Back ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Rolling:
    """A call of kubernetes.rollback, judged."""

    name: str
    place: Place
    revision: int | None
    release: bool

    async def edit(self, link: Link, held: Answer, intent: str) -> Edit:
        """To the template of an earlier revision."""
        if held.object["spec"].get("paused"):
            raise ConnectorError(
                self.name, f"{self.place} is paused", remedy=f"kubectl rollout resume {self.place.name}"
            )
        history = await revisions.history(self.name, link, self.place, held.object)
        current, target = history.current, history.target(self.revision, release=self.release)
        noted = {revisions.LEFT: current.name, revisions.CAUSE: target.cause}
        differing = revisions.differing(held.object, target.held)
        reads = partial(revisions.template_of, fields=differing[: revisions.FIELDS])
        text = f"rolls {self.place} back from revision {current.number} to {target.number} ({target.images})"
        return Edit(
            self.place,
            reads,
            reads(target.held),
            {"metadata": annotated(intent, **noted), "spec": {"template": target.patch}},
            f"{text}, which changes {_some(differing)}",
            undo={"of": ROLLBACK.name, "replicaset": {"name": current.name, "uid": current.uid}},
        )


def _some(fields: tuple[str, ...]) -> str:
    """The first few, and how many more there are."""
    more = len(fields) - revisions.FIELDS
    return ", ".join(fields[: revisions.FIELDS]) + (f" and {counted(more, 'more field')}" if more > 0 else "")


def rolling(call: Call, settings: KubernetesSettings) -> Rolling:
    """What a call asks for. ConnectorError where it may not be asked."""
    place, revision = place_of(call, settings, "deployment"), call.args.get("revision")
    images = call.args.get("images")
    if not settings.allowed(place).rollback:
        raise _not_allowed(call, place, "rolled back", "rollback: true")
    if revision is not None and (not isinstance(revision, int) or isinstance(revision, bool) or revision < 1):
        raise ConnectorError(call.connection, f"revision must be a number from 1, not {revision!r}")
    if images not in (None, "other"):
        raise ConnectorError(call.connection, f"images must be other, or left out, not {images!r}")
    return Rolling(call.connection, place, revision, images == "other")


# ── How much ────────────────────────────────────────────────────────────────────────────────────

PARTS = ("limits", "requests")


def resources_of(container: str, fields: tuple[str, ...]) -> Reader:
    """Reads these fields, such as ``limits.memory``, of one container; None where there is no such thing."""

    def read(held: Mapping[str, Any]) -> dict[str, Any]:
        containers = held["spec"]["template"]["spec"]["containers"]
        found: dict[str, Any] = next((one for one in containers if one["name"] == container), {})
        resources = found.get("resources") or {}
        parted = [(field, *field.split(".", 1)) for field in fields]
        return {field: (resources.get(part) or {}).get(name) for field, part, name in parted}

    return read


def image_of(held: Mapping[str, Any], container: str) -> str:
    """Of a container of a workload."""
    containers = held["spec"]["template"]["spec"]["containers"]
    return next((str(one.get("image", "")) for one in containers if one["name"] == container), "")


def resources_patch(container: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Sets these fields; None takes one away."""
    resources: dict[str, dict[str, Any]] = {}
    for field, value in fields.items():
        part, name = field.split(".", 1)
        resources.setdefault(part, {})[name] = value
    return {"spec": {"template": {"spec": {"containers": [{"name": container, "resources": resources}]}}}}


def same_resources(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """However they are spelled."""
    return one.keys() == other.keys() and all(same_amount(one[field], other[field]) for field in one)


@dataclass(frozen=True)
class Resizing:
    """A call of kubernetes.resources, judged. fields: such as ``limits.memory``."""

    name: str
    place: Place
    container: str
    fields: dict[str, str]

    async def edit(self, link: Link, held: Answer, intent: str) -> Edit:  # noqa: ARG002 - nothing else to read
        """To these amounts, unless it has them."""
        containers = [one["name"] for one in held.object["spec"]["template"]["spec"]["containers"]]
        if self.container not in containers:
            raise ConnectorError(
                self.name, f"{self.place} has no container {self.container!r}, but: {', '.join(containers)}"
            )
        reads = resources_of(self.container, tuple(self.fields))
        was = reads(held.object)
        if same_resources(was, self.fields):
            raise ConnectorError(self.name, f"{self.place} has these resources already")
        told = ", ".join(f"{field} {was[field] or 'unset'} → {value}" for field, value in self.fields.items())
        return Edit(
            self.place,
            reads,
            dict(self.fields),
            {"metadata": annotated(intent), **resources_patch(self.container, self.fields)},
            f"sets {told} of container {self.container} of {self.place}, which restarts its pods",
            undo={
                "of": RESOURCES.name,
                "container": self.container,
                "image": image_of(held.object, self.container),
                **_declared(held, *self.fields, container=self.container),
            },
        )


def resizing(call: Call, settings: KubernetesSettings) -> Resizing:
    """What a call asks for. ConnectorError where it may not be asked."""
    place, container = _workload(call, settings), call.args.get("container")
    allowed = settings.allowed(place)
    bounds = {"memory": allowed.memory, "cpu": allowed.cpu}
    fields = {
        f"{part}.{name}": value for part in PARTS for name, value in dict(call.args.get(part) or {}).items()
    }
    if not isinstance(container, str) or not is_name(container) or not fields:
        raise ConnectorError(call.connection, "write the container, and limits or requests: {memory: 2Gi}")
    for field, value in fields.items():
        _check_amount(call, place, field, value, bounds.get(field.split(".", 1)[1]))
    return Resizing(call.connection, place, container, fields)


def _check_amount(call: Call, place: Place, field: str, value: object, bounds: Amounts | None) -> None:
    if bounds is None:
        what = field.split(".", 1)[1]
        if what not in ("memory", "cpu"):
            raise ConnectorError(call.connection, f"{field}: only memory and cpu can be set")
        raise _not_allowed(call, place, f"given other {what}", f"{what}: {{floor: …, ceiling: …}}")
    try:
        wanted = amount(value)
    except ValueError as error:
        raise ConnectorError(call.connection, f"{field}: {error}") from None
    if not amount(bounds.floor) <= wanted <= amount(bounds.ceiling):
        raise ConnectorError(
            call.connection, f"{field} {value} of {place} is outside {bounds.floor} to {bounds.ceiling}"
        )
