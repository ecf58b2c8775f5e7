"""kubernetes.delete: one pod that somebody makes anew, or one secret that the connection names.

The very object that was seen: its uid and its version go along. Afterwards its uid tells: gone, or being
deleted, is done, whoever did it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from remediator.connectors.kubernetes.change import kept_mark, settled
from remediator.connectors.kubernetes.kinds import Place
from remediator.connectors.kubernetes.link import (
    SERVER_TIMEOUT,
    Answer,
    AnsweredError,
    Link,
    LostError,
    MissingError,
    NeverSentError,
    judged,
)
from remediator.connectors.kubernetes.settings import KubernetesSettings
from remediator.connectors.kubernetes.workloads import LONGEST, NAME, NAMESPACE, place_of
from remediator.core.catalog import Escape, Fence, Kind, Operation, Param, Risk
from remediator.core.evidence import Picture
from remediator.core.exact import same
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result
from remediator.errors import ConnectorError
from remediator.ports import Order

KINDS = ("pod", "secret")

DELETE = Operation(
    name="kubernetes.delete",
    kind=Kind.ACTION,
    doc="Delete one pod that its controller makes anew, or one secret that the connection names.",
    params={
        "kind": Param("`pod` or `secret`.", escape=Escape.LITERAL, required=True, choices=KINDS),
        "namespace": NAMESPACE,
        "name": NAME,
    },
    risk=Risk.DESTRUCTIVE,
    fence=Fence.TRANSACTION,
    longest=LONGEST,
    previews=True,
)


@dataclass(frozen=True)
class Removal:
    """A call of kubernetes.delete, judged."""

    name: str
    place: Place

    async def picture(self, link: Link) -> Picture:
        """What would be deleted; the API server tries it without doing it. ConnectorError."""
        held = await self._held(link)
        try:
            await self._send(link, held, {"dryRun": "All"})
        except (NeverSentError, LostError, AnsweredError) as error:
            raise ConnectorError(self.name, f"deletes {self.place}: the dry run {error}") from None
        return Picture(1, f"deletes {self.place}", (self._row(held),))

    async def done(self, link: Link, order: Order) -> Result:
        """Delete it. Never raises for what the world does."""
        if order.mark is None:
            return Refused("never sent: nothing would keep its mark")
        try:
            held = await self._held(link)
        except ConnectorError as error:
            return Refused(f"never sent: {error.told}")
        row = self._row(held)
        if order.shown is not None and not same((row,), order.shown.rows):
            return Refused(f"never sent: {self.place} is no longer the one that was approved")
        result = {**self.place.key, "uid": row["key"]["uid"], "before": row["before"]}
        if reason := await kept_mark(order, {"result": result, "uid": row["key"]["uid"], "at": held.at}):
            return Refused(f"never sent: {reason}")
        try:
            await self._send(link, held, {}, order)
        except (NeverSentError, LostError, AnsweredError) as error:
            return judged(error)
        return Done(result)

    async def became(self, link: Link, mark: Mapping[str, Any]) -> Result | None:
        """What became of it. None while it may still come; raises ConnectorError."""
        try:
            held = await link.get(self.name, self.place)
        except MissingError:
            return Done(mark.get("result") or {})
        meta = held.object["metadata"]
        if meta["uid"] != mark.get("uid") or meta.get("deletionTimestamp"):
            return Done(mark.get("result") or {})
        return settled(mark.get("at"), held.at, "it was not deleted")

    async def _held(self, link: Link) -> Answer:
        held = await link.get(self.name, self.place)
        meta = held.object["metadata"]
        if meta.get("deletionTimestamp"):
            raise ConnectorError(self.name, f"{self.place} is being deleted already")
        if self.place.kind.name == "pod" and not meta.get("ownerReferences"):
            raise ConnectorError(self.name, f"nobody would make {self.place} anew: it has no owner")
        return held

    def _row(self, held: Answer) -> dict[str, Any]:
        meta = held.object["metadata"]
        about: dict[str, Any] = {"created": meta.get("creationTimestamp", "")}
        if self.place.kind.name == "pod":
            about["owner"] = ", ".join(f"{one['kind']}/{one['name']}" for one in meta["ownerReferences"])
            about["node"] = (held.object.get("spec") or {}).get("nodeName", "")
        else:
            about["type"] = held.object.get("type", "")
            about["keys"] = ", ".join(sorted(held.object.get("data") or {}))
        return {"key": {**self.place.key, "uid": meta["uid"]}, "before": about, "after": {}}

    async def _send(
        self, link: Link, held: Answer, query: dict[str, str], order: Order | None = None
    ) -> Answer:
        meta = held.object["metadata"]
        exactly = ("uid", "resourceVersion") if order is not None else ("uid",)
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {name: meta[name] for name in exactly},
        }
        late = {"late": order.late} if order is not None else {}
        query = {"timeout": SERVER_TIMEOUT, **query}
        return await link.send("DELETE", self.place.path(), query=query, body=body, **late)


def removal(call: Call, settings: KubernetesSettings) -> Removal:
    """What a call asks for. ConnectorError where it may not be asked."""
    kind = call.args.get("kind")
    if kind not in KINDS:
        raise ConnectorError(call.connection, f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    place = place_of(call, settings)
    if kind == "pod" and place.namespace not in settings.pods:
        raise ConnectorError(
            call.connection,
            f"pods of {place.namespace} may not be deleted",
            remedy=f"list it under pods: [{place.namespace}]",
        )
    name = f"{place.namespace}/{place.name}"
    if kind == "secret" and name not in settings.secrets:
        raise ConnectorError(
            call.connection, f"secret {name} may not be deleted", remedy=f"list it under secrets: [{name}]"
        )
    return Removal(call.connection, place)
