"""kubernetes.restore: takes a scale, a rollback or other resources back, where nobody has changed them since.

Generated from what the act returned, never written in a policy. What somebody has changed since, or set for
good to what the act had set for a while, belongs to them: it is left alone, and told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from remediator.connectors.kubernetes import change, owners, revisions, workloads
from remediator.connectors.kubernetes.change import Edit
from remediator.connectors.kubernetes.kinds import KINDS, WORKLOADS, Place, is_name
from remediator.connectors.kubernetes.link import Answer, Link, MissingError
from remediator.connectors.kubernetes.settings import KubernetesSettings
from remediator.connectors.kubernetes.workloads import RESOURCES, ROLLBACK, SCALE, annotated
from remediator.core.catalog import Fence, Kind, Operation, Risk
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result
from remediator.errors import ConnectorError
from remediator.ports import Order

RESTORE = Operation(
    name="kubernetes.restore",
    kind=Kind.ACTION,
    doc="Takes back what kubernetes.scale, rollback or resources changed, where nobody has changed it since.",
    params={},
    risk=Risk.DISRUPTIVE,
    fence=Fence.TRANSACTION,
    longest=workloads.LONGEST,
    internal=True,
)


@dataclass(frozen=True)
class Restoring:
    """A call of kubernetes.restore: the act that it takes back, the object, and its fields then."""

    name: str
    place: Place
    of: str
    uid: str
    before: dict[str, Any]
    after: dict[str, Any]
    more: Mapping[str, Any]

    async def restored(self, link: Link, order: Order) -> Result:
        """Take it back, unless that is so already, or somebody has changed it since."""
        try:
            held = await link.get(self.name, self.place)
        except MissingError:
            return self._left("is gone")
        except ConnectorError as error:
            return Refused(f"never sent: {error.told}")
        if held.object["metadata"]["uid"] != self.uid:
            return self._left("was deleted since, and another one has its name")
        now = self._reads(held.object)
        if self._same(now, self.before):
            return Done({**self.place.key, "restored": 0, "already": now})
        if not self._same(now, self.after):
            return self._left(f"holds {_listed(now)}, not {_listed(self.after)}")
        if theirs := self._theirs(held.object):
            return self._left(theirs)
        try:
            await self.edit(link, held, order.key)
        except _LeftAlone as why:
            return self._left(str(why))
        except ConnectorError as error:
            return Refused(f"never sent: {error.told}")
        return await change.make(link, self, order)

    async def edit(self, link: Link, held: Answer, intent: str) -> Edit:
        """Back to what it was. Raises _LeftAlone."""
        if not self._same(self._reads(held.object), self.after):
            raise _LeftAlone(self.name, "was changed a moment ago")
        if theirs := self._theirs(held.object):
            raise _LeftAlone(self.name, theirs)
        text = f"takes {self.place} back to {_listed(self.before)}"
        match self.of:
            case SCALE.name:
                try:
                    await workloads.check_unscaled(self.name, link, self.place)
                except ConnectorError as error:
                    raise _LeftAlone(self.name, error.problem) from None
                return workloads.scaled(self.place, self.after["replicas"], self.before["replicas"])
            case RESOURCES.name:
                patch = workloads.resources_patch(self.more["container"], self.before)
                meta = annotated(intent)
            case _:
                patch = {"spec": {"template": (await self._former(link)).patch}}
                meta = annotated(intent, **{revisions.LEFT: None})
        return Edit(self.place, self._reads, self.before, {"metadata": meta, **patch}, text)

    async def _former(self, link: Link) -> revisions.Revision:
        """The ReplicaSet that was left, as it was then."""
        known = self.more["replicaset"]
        place = Place(KINDS["replicaset"], self.place.namespace, known["name"])
        gone = _LeftAlone(self.name, f"cannot go back: the ReplicaSet {known['name']} is not kept any more")
        try:
            held = await link.get(self.name, place)
        except MissingError:
            raise gone from None
        former = revisions.Revision(0, held.object)
        if former.uid != known["uid"] or self._reads(former.held) != self.before:
            raise gone
        return former

    def _reads(self, held: Mapping[str, Any]) -> dict[str, Any]:
        match self.of:
            case SCALE.name:
                return workloads.replicas(held)
            case RESOURCES.name:
                return workloads.resources_of(self.more["container"], tuple(self.before))(held)
        return revisions.template_of(held, tuple(self.before.keys() - set(revisions.WHOLE)))

    def _theirs(self, held: Mapping[str, Any]) -> str:
        """Who has made its fields their own. A template, nobody sets to what it is already.

        With another image somebody has shipped the container anew, and its resources with it.
        """
        container = self.more.get("container")
        if self.of == ROLLBACK.name:
            return ""
        if container is not None:
            image = workloads.image_of(held, container)
            if image != self.more.get("image", image):
                return f"was shipped anew with {_listed(self.after)} and the image {image}"
        declared, at = self.more.get("declared") or (), self.more.get("at")
        if at is not None and (shipper := owners.shipped_since(held, declared, at)):
            return (
                f"was changed since by {shipper}, which had set it before, and left at {_listed(self.after)}"
            )
        for field, value in self.after.items():
            path = owners.path_of(field, container)
            if owner := owners.other_owner(held, path, value):
                return f"holds {field} {value}, which {owner} has made its own since"
        return ""

    def _same(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        return workloads.same_resources(one, other) if self.of == RESOURCES.name else one == other

    def _left(self, why: str) -> Done:
        return Done({**self.place.key, "restored": 0}, f"{self.place} was left alone: it {why}")


class _LeftAlone(ConnectorError):
    """Nobody's to take back any more."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)

    def __str__(self) -> str:
        return self.problem


def restoring(call: Call, settings: KubernetesSettings) -> Restoring:
    """What a call asks for. ConnectorError where it may not be asked."""
    match call.args:
        case {
            "of": (SCALE.name | ROLLBACK.name | RESOURCES.name) as of,
            "rows": [
                {
                    "key": {
                        "kind": str(kind),
                        "namespace": str(namespace),
                        "name": str(name),
                        "uid": str(uid),
                    },
                    "before": dict(before),
                    "after": dict(after),
                }
            ],
            **more,
        } if kind in WORKLOADS and namespace in settings.namespaces and is_name(name):
            place = Place(KINDS[kind], namespace, name)
            return Restoring(call.connection, place, of, uid, before, after, more)
    raise ConnectorError(call.connection, "this is not what an act on a workload returned")


def _listed(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {'unset' if value is None else value}" for name, value in fields.items())
