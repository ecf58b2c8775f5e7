"""One change of one object: seen, shown, compared, marked, and sent only to the object that was seen.

Each change carries the version of the object that it was made for, so that the API server refuses it where
anybody was quicker. A status that merely moved on (sick pods move it every second) is no reason to give up:
then the newest object is read again, and as long as nobody has changed what it *should* be, the same change
is sent to that, a refusal being certain. Before the first one is sent, a mark is committed: the object, its
generation (which counts changes of what it should be) and the server's time. By these and by what every
change of ours leaves on the object, it can be told afterwards what became of it. What is not to be seen is
given up by a note on the object: that makes it a newer version, which refuses whatever is still on its way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from remediator.connectors.kubernetes.kinds import Place
from remediator.connectors.kubernetes.link import (
    MANAGER,
    SERVER_TIMEOUT,
    Answer,
    AnsweredError,
    Link,
    LostError,
    NeverSentError,
    judged,
)
from remediator.connectors.once import never_late
from remediator.core.evidence import Picture
from remediator.core.exact import same
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.errors import ConnectorError
from remediator.ports import Order

INTENT = "remediator/intent"
"""The annotation by which an object tells whose change it was that it saw last."""
GIVEN_UP = "remediator/given-up"
"""The annotation by which an object tells which change may not come any more."""
TRIES = 3
"""How often one change is sent to newer and newer versions, each having been refused for certain."""
MARKED = 5.0
"""Seconds for the mark to be kept."""
SETTLED = 30.0
"""Seconds of the server's time after which a change that cannot be given up, and is not to be seen, is taken
not to come any more: the server ends it after 10, and nothing of ours sends it again. So it is for scales
and deletions, whose accounts need not be allowed to write anything else."""

Reader = Callable[[Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Edit:
    """What is to be changed of an object, as it stands now.

    reads: the fields that it is about, of any version of the object; after: what they will be; patch: a
    strategic merge; scales: through the scale subresource; undo: what the way back needs beside the fields.
    """

    place: Place
    reads: Reader
    after: dict[str, Any]
    patch: dict[str, Any]
    text: str
    scales: bool = False
    undo: dict[str, Any] = field(default_factory=dict)

    def row(self, held: Mapping[str, Any]) -> dict[str, Any]:
        """As pictures hold it."""
        key = {**self.place.key, "uid": held["metadata"]["uid"]}
        return {"key": key, "before": self.reads(held), "after": self.after}


class Wanted(Protocol):
    """A call that changes one object, judged."""

    @property
    def name(self) -> str:
        """The connection."""
        ...

    @property
    def place(self) -> Place:
        """The object."""
        ...

    async def edit(self, link: Link, held: Answer, intent: str) -> Edit:
        """What is to be changed of the object as it stands. ConnectorError where it may not be."""
        ...


async def picture(link: Link, wanted: Wanted) -> Picture:
    """What it would change; the API server tries it without doing it. ConnectorError, also for a refusal."""
    held = await link.get(wanted.name, wanted.place)
    edit = await wanted.edit(link, held, "preview")
    try:
        tried = await _send(link, edit, held.object, dry=True)
    except (NeverSentError, LostError, AnsweredError) as error:
        raise ConnectorError(wanted.name, f"{edit.text}: the dry run {error}") from None
    if edit.reads(tried.object) == edit.reads(held.object):
        raise ConnectorError(wanted.name, f"{edit.text}: the API server would leave it as it is")
    return Picture(1, edit.text, (edit.row(held.object),))


async def make(link: Link, wanted: Wanted, order: Order) -> Result:
    """Change it. Never raises for what the world does."""
    if order.mark is None:
        return Refused("never sent: nothing would keep its mark")
    try:
        held = await link.get(wanted.name, wanted.place)
        edit = await wanted.edit(link, held, order.key)
    except ConnectorError as error:
        return Refused(f"never sent: {error.told}")
    if order.shown is not None and not same((edit.row(held.object),), order.shown.rows):
        return Refused(f"never sent: {edit.place} is no longer as it was approved: {edit.text}")
    if reason := await kept_mark(order, _mark(edit, held, order.key)):
        return Refused(f"never sent: {reason}")
    return await _sent(link, wanted, edit, held, order)


async def _sent(link: Link, wanted: Wanted, edit: Edit, held: Answer, order: Order) -> Result:
    """To this version, or to a newer one that differs only in its status."""
    for left in reversed(range(TRIES)):
        try:
            answer = await _send(link, edit, held.object, late=order.late)
        except AnsweredError as error:
            if error.status != 409:
                return judged(error)
            try:
                newer = await link.get(wanted.name, wanted.place)
            except ConnectorError as gone:
                return Refused(f"{error}; and now: {gone.told}")
            if (newer.object["metadata"].get("annotations") or {}).get(GIVEN_UP) == order.key:
                return Refused(f"{error}; it was given up meanwhile")
            if left == 0 or _moved(held.object, newer.object):
                return Refused(f"{error}{_who(held.object, newer.object)}")
            held = newer
        except (NeverSentError, LostError) as error:
            return judged(error)
        else:
            return Done(_result(edit, held.object, edit.reads(answer.object)))
    raise AssertionError("the last try returns")


async def _send(
    link: Link,
    edit: Edit,
    held: Mapping[str, Any],
    *,
    dry: bool = False,
    late: Callable[[], str] = never_late,
) -> Answer:
    patch = {**edit.patch, "metadata": {**edit.patch.get("metadata", {}), **_version(held)}}
    query = {"fieldManager": MANAGER, "timeout": SERVER_TIMEOUT}
    if dry:  # of whatever version: a status that moves on meanwhile is no reason to ask nobody
        del patch["metadata"]["resourceVersion"]
        query["dryRun"] = "All"
    path = edit.place.path("scale" if edit.scales else "")
    return await link.send("PATCH", path, query=query, body=patch, late=late)


def _version(held: Mapping[str, Any]) -> dict[str, Any]:
    """Goes along, so that nothing happens to any other version."""
    return {name: held["metadata"][name] for name in ("uid", "resourceVersion")}


def _result(edit: Edit, held: Mapping[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    row = {**edit.row(held), "after": after}
    restore = {"table": str(edit.place), "rows": [row], **edit.undo}
    return {**edit.place.key, "before": row["before"], "after": after, "restore": restore}


def _moved(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Did anybody change what it should be?"""
    names = ("uid", "generation")
    return any(old["metadata"].get(name) != new["metadata"].get(name) for name in names)


def _who(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Who changed it since, as the API server keeps it."""
    known = {_writing(one) for one in _writers(old)}
    newer = [one for one in _writers(new) if _writing(one) not in known]
    if not newer:
        return ""
    last = max(reversed(newer), key=lambda one: str(one.get("time", "")))
    return f"; {last.get('manager')} changed it at {last.get('time')}"


def _writers(held: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Of what it should be."""
    listed = held["metadata"].get("managedFields") or ()
    return [one for one in listed if isinstance(one, dict) and "f:spec" in (one.get("fieldsV1") or {})]


def _writing(one: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(one.get(name)) for name in ("manager", "operation", "subresource", "time"))


# ── The mark, and what it tells ─────────────────────────────────────────────────────────────────


async def kept_mark(order: Order, mark: dict[str, Any]) -> str:
    """Commit the mark: "", or why nothing may be sent."""
    assert order.mark is not None
    try:
        async with asyncio.timeout(MARKED):
            return await order.mark(mark)
    except TimeoutError:
        return f"its mark was not kept within {MARKED:g} s"


def _mark(edit: Edit, held: Answer, intent: str) -> dict[str, Any]:
    meta = held.object["metadata"]
    return {
        "result": _result(edit, held.object, edit.after),
        "place": edit.place.key,
        "uid": meta["uid"],
        "generation": meta["generation"],
        "intent": intent,
        "scales": edit.after["replicas"] if edit.scales else None,
        "at": held.at,
    }


async def inquire(link: Link, name: str, place: Place, mark: dict[str, Any]) -> Result | None:
    """What became of a marked change. None while it may still come; raises ConnectorError."""
    uid, generation, at = mark.get("uid"), mark.get("generation"), mark.get("at")
    if not isinstance(generation, int) or not isinstance(uid, str):
        return Unknown("its mark cannot be read")
    held = await link.get(name, place)
    meta = held.object["metadata"]
    if meta["uid"] != uid:
        return Unknown(f"{place} was deleted since, and another one has its name")
    if is_ours(held.object, mark):
        return Done(mark.get("result") or {})
    if meta["generation"] == generation:
        if mark.get("scales") is None:
            return await _given_up(link, place, held, str(mark.get("intent")))
        return settled(at, held.at, "it never came to be changed")
    if meta["generation"] == generation + 1 and not _looks_so(held.object, mark):
        return Refused(f"somebody else changed it first{_who({'metadata': {}}, held.object)}")
    return Unknown(
        f"it was changed {meta['generation'] - generation} times since; whether by this, cannot be told"
    )


async def _given_up(link: Link, place: Place, held: Answer, intent: str) -> Refused | None:
    """None where somebody was quicker: then it is looked at again. Raises ConnectorError."""
    body = {"metadata": {**_version(held.object), "annotations": {GIVEN_UP: intent}}}
    query = {"fieldManager": MANAGER, "timeout": SERVER_TIMEOUT}
    try:
        await link.send("PATCH", place.path(), query=query, body=body)
    except AnsweredError as error:
        if error.status == 409:
            return None
        raise ConnectorError(str(place), f"a change cannot be given up: {error}") from None
    except (NeverSentError, LostError) as error:
        raise ConnectorError(str(place), f"a change cannot be given up: {error}") from None
    return Refused("it never came to be changed, and was given up")


def settled(sent: object, now: float | None, what: str) -> Result | None:
    """By the server's time: may it still come? ``what``: what is said where it may not."""
    if not isinstance(sent, int | float) or now is None:
        return Unknown("it is not to be seen, and the API server tells no time: it may still come")
    return None if now < sent + SETTLED else Refused(what)


def is_ours(held: Mapping[str, Any], mark: Mapping[str, Any]) -> bool:
    """Is what stands there our change? Of a scale, the API server tells who owns the number."""
    if mark.get("scales") is None:
        return bool((held["metadata"].get("annotations") or {}).get(INTENT) == mark["intent"])
    return _looks_so(held, mark) and any(
        one.get("manager") == MANAGER and "f:replicas" in ((one.get("fieldsV1") or {}).get("f:spec") or {})
        for one in held["metadata"].get("managedFields") or ()
    )


def _looks_so(held: Mapping[str, Any], mark: Mapping[str, Any]) -> bool:
    """Could it be our change, by the look of it? Only of a number."""
    return mark.get("scales") is not None and held["spec"].get("replicas") == mark["scales"]
