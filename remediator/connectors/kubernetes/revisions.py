"""The revisions of a Deployment: its ReplicaSets, each with the template that it was made of.

Which one "the one before" is, is settled here and shown by name. What is shown of a template is its images, a
digest, and which fields differ; values only of images and resources, never of its environment. Revisions of
the same images are one release: what merely restarted or resized its pods is none. A revision that was rolled
back from, by Remediator or by anybody, is never the one before: a release that stays bad would otherwise come
back with every second rollback.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from remediator.connectors.kubernetes.kinds import HIDDEN, KINDS, Place
from remediator.connectors.kubernetes.link import Link
from remediator.core.canonical import digest
from remediator.errors import ConnectorError

NUMBER = "deployment.kubernetes.io/revision"
CAUSE = "kubernetes.io/change-cause"
HASH = "pod-template-hash"
LEFT = "remediator/rolled-back-from"
"""The annotation of a Deployment that names the ReplicaSet which was left last."""
WHOLE = ("images", "template")
"""What is always shown of a template; beside it, the fields that differ."""
FIELDS = 20
"""Fields that differ and are shown by name."""


def template_of(held: Mapping[str, Any], fields: tuple[str, ...] = ()) -> dict[str, Any]:
    """Of a Deployment or a ReplicaSet, as people see it. fields: of its template, as `differing` names."""
    template = _plain(held["spec"]["template"])
    containers = (template.get("spec") or {}).get("containers") or ()
    images = ", ".join(f"{one.get('name')}={one.get('image')}" for one in containers)
    leaves = dict(_leaves(template)) if fields else {}
    return {
        "images": images,
        "template": digest(template)[:16],
        **{field: _told(field, leaves.get(field)) for field in fields},
    }


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields in which the templates of two objects differ, such as ``containers.app.image``."""
    was, will = (dict(_leaves(_plain(held["spec"]["template"]))) for held in (one, other))
    return tuple(sorted(field for field in was.keys() | will.keys() if was.get(field) != will.get(field)))


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All values of a template, the items of a list by their names where they have such."""
    if isinstance(value, list) and value and all(isinstance(one, dict) and "name" in one for one in value):
        value = {one["name"]: one for one in value}
    if not isinstance(value, dict):
        yield path, value
        return
    for name, one in value.items():
        yield from _leaves(one, f"{path}.{name}".removeprefix(".").removeprefix("spec."))


def _told(field: str, value: Any) -> Any:
    shown = field.endswith(".image") or ".resources." in field
    return value if shown or value is None else HIDDEN


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
    def created(self) -> str:
        """When it was first made; going back to it makes it no younger."""
        return str(self.held["metadata"]["creationTimestamp"])

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

    @property
    def release(self) -> tuple[Revision, ...]:
        """The current one and those right before it that have the same images."""
        since = [one for one in self.revisions if one.number <= self.current.number]
        return tuple(takewhile(lambda one: one.images == self.current.images, since))

    @property
    def gone_back_from(self) -> tuple[Revision, ...]:
        """Those that were made after its images had been there already: somebody went back to them."""
        first = min(one.created for one in self.revisions if one.images == self.current.images)
        return tuple(
            one
            for one in self.revisions
            if one.images != self.current.images and one.number < self.current.number and one.created > first
        )

    @property
    def before(self) -> Revision | None:
        """The newest of another release, not of one that was rolled back from."""
        left = {one.images for one in self.revisions if one.name == self.left or one in self.gone_back_from}
        return next((one for one in self._earlier if one.images not in left | {self.current.images}), None)

    def target(self, number: int | None, *, release: bool) -> Revision:
        """The one of this number; without it, the one before; release: with other images. ConnectorError."""
        if number == self.current.number:
            raise ConnectorError(self.name, f"{self.place} is at revision {number} already")
        if number is not None:
            found = next((one for one in self.revisions if one.number == number), None)
        else:
            found = self.before if release else next(iter(self._earlier), None)
        if found is None:
            raise self._nothing(number, release=release)
        if release and found.images == self.current.images:
            raise ConnectorError(
                self.name, f"revision {number} of {self.place} is no other release: it has the same images"
            )
        return found

    @property
    def _earlier(self) -> list[Revision]:
        left = {self.left, *(one.name for one in self.gone_back_from)}
        return [one for one in self.revisions if one.number < self.current.number and one.name not in left]

    def _nothing(self, number: int | None, *, release: bool) -> ConnectorError:
        kept = ", ".join(str(one.number) for one in self.revisions)
        other = " with other images" if release else ""
        what = f"no revision {number}" if number is not None else f"no earlier revision{other} to go back to"
        names = {one.name for one in self.gone_back_from} | ({self.left} if self.left else set())
        left = f"; rolled back from was {', '.join(sorted(names))}" if names and number is None else ""
        told = f"{self.place} has {what}; kept are {kept}, the current one is {self.current.number}{left}"
        return ConnectorError(self.name, told)


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
