"""The revisions of a Deployment: its ReplicaSets, each with the template that it was made of.

Which one "the one before" is, is settled here and shown by name; what is shown of a template is its images
and a digest, never its environment. A revision that Remediator rolled back from is never the one before:
a release that stays bad would otherwise come back with every second rollback.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from remediator.connectors.kubernetes.kinds import KINDS, Place
from remediator.connectors.kubernetes.link import Link
from remediator.core.canonical import digest
from remediator.errors import ConnectorError

NUMBER = "deployment.kubernetes.io/revision"
CAUSE = "kubernetes.io/change-cause"
HASH = "pod-template-hash"
LEFT = "remediator/rolled-back-from"
"""The annotation of a Deployment that names the ReplicaSet which was left last."""


def template_of(held: Mapping[str, Any]) -> dict[str, Any]:
    """Of a Deployment or a ReplicaSet, as people see it."""
    template = _plain(held["spec"]["template"])
    containers = (template.get("spec") or {}).get("containers") or ()
    images = ", ".join(f"{one.get('name')}={one.get('image')}" for one in containers)
    return {"images": images, "template": digest(template)[:16]}


def _plain(template: Mapping[str, Any]) -> dict[str, Any]:
    """Without the label that the controller adds."""
    plain = copy.deepcopy(dict(template))
    meta = plain.get("metadata") or {}
    meta.pop("creationTimestamp", None)
    (meta.get("labels") or {}).pop(HASH, None)
    return plain


@dataclass(frozen=True)
class Revision:
    """One ReplicaSet of a Deployment."""

    number: int
    held: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The ReplicaSet's."""
        return str(self.held["metadata"]["name"])

    @property
    def uid(self) -> str:
        """The ReplicaSet's."""
        return str(self.held["metadata"]["uid"])

    @property
    def cause(self) -> str | None:
        """Why it was rolled out, if anybody wrote that."""
        found = (self.held["metadata"].get("annotations") or {}).get(CAUSE)
        return str(found) if found is not None else None

    @property
    def shown(self) -> dict[str, Any]:
        """As people see it."""
        return template_of(self.held)

    @property
    def images(self) -> str:
        """Likewise."""
        return str(self.shown["images"])

    @property
    def patch(self) -> dict[str, Any]:
        """The whole template, in place of the one that is there."""
        return {"$patch": "replace", **_plain(self.held["spec"]["template"])}


@dataclass(frozen=True)
class History:
    """All revisions of a Deployment that are still kept, the newest first. left: see `LEFT`."""

    name: str
    place: Place
    revisions: tuple[Revision, ...]
    current: Revision
    left: str

    def target(self, number: int | None) -> Revision:
        """The one of this number; without it, the one before. ConnectorError."""
        if number == self.current.number:
            raise ConnectorError(self.name, f"{self.place} is at revision {number} already")
        if number is not None:
            found = [one for one in self.revisions if one.number == number]
        else:
            found = [
                one for one in self.revisions if one.number < self.current.number and one.name != self.left
            ]
        if not found:
            kept = ", ".join(str(one.number) for one in self.revisions)
            what = f"no revision {number}" if number is not None else "no earlier revision to go back to"
            left = f"; {self.left} was rolled back from" if self.left and number is None else ""
            raise ConnectorError(
                self.name,
                f"{self.place} has {what}; kept are {kept}, the current one is {self.current.number}{left}",
            )
        return found[0]


async def history(name: str, link: Link, place: Place, held: Mapping[str, Any]) -> History:
    """The revisions of a Deployment as it stands. ConnectorError, also where its controller is behind."""
    meta = held["metadata"]
    if (held.get("status") or {}).get("observedGeneration", 0) < meta.get("generation", 0):
        raise ConnectorError(name, f"{place}: its controller has not seen its newest change yet")
    listed = await link.read(
        name, KINDS["replicaset"].path(place.namespace), f"the ReplicaSets of {place.namespace}"
    )
    found = [
        Revision(int(number), one)
        for one in listed.object.get("items") or ()
        if any(owner.get("uid") == meta["uid"] for owner in one["metadata"].get("ownerReferences") or ())
        and (number := (one["metadata"].get("annotations") or {}).get(NUMBER, "")).isdecimal()
    ]
    found.sort(key=lambda one: one.number, reverse=True)
    template = template_of(held)["template"]
    current = next((one for one in found if one.shown["template"] == template), None)
    if current is None:
        raise ConnectorError(name, f"{place}: none of its ReplicaSets has its template yet")
    left = (meta.get("annotations") or {}).get(LEFT, "")
    return History(name, place, tuple(found), current, str(left))
