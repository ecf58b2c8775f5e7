"""The fence of an act: a marker in its own MULTI.

The marker is there before, as *pending*; it is watched; its name and value go into the journal; then MULTI,
the command, the marker as *done*, EXEC: all in one write. Whoever asks afterwards reads it. *Done* was done.
*Pending* is taken back to *given up*, after which the watched EXEC of a sender that wakes late does nothing.
A marker that is gone tells nothing: a person looks.

A command that changes the server itself (CONFIG SET …) goes without: a full server, which is when it is
needed, takes neither marker nor MULTI. What became of a setting, the server says itself.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from remediator.connectors.redis.answers import facts, kept
from remediator.connectors.redis.link import Answers, Link
from remediator.core.calls import printable
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.errors import ConnectorError
from remediator.ports import Order

MARKER = "remediator:step:"
KEPT = 24 * 3600 * 1000
"""Milliseconds for which a marker stands. Later, it tells nothing any more."""
GIVEN_UP = "given-up"
MARKED = 5.0
"""Seconds for the journal to keep the mark."""


class Sending:
    """One command that may come to be. ``sent``: from then on it may have."""

    def __init__(self, words: Sequence[str], order: Order, *, marked: bool, was: str | None = None) -> None:
        self._words = words
        self._order = order
        self._was = was
        self._in_transaction = marked
        self.sent = False

    async def through(self, link: Link) -> Result:
        here = facts(await link.asked("INFO"))
        if problem := unfit(here):
            return Refused(f"never sent: {problem}")
        return await (self._fenced(link, here) if self._in_transaction else self._alone(link))

    async def _alone(self, link: Link) -> Result:
        if self._was is not None and (now := await _held(link, self._words[2])) != self._was:
            return Refused(f"never sent: {self._words[2]} is {now} and not {self._was}: somebody has set it")
        if why := await self._marked({"result": {"reply": None}, "marker": None}) or self._order.late():
            return Refused(f"never sent: {why}")
        self.sent = True
        return _reply(await link.answered(*self._words))

    async def _fenced(self, link: Link, here: Mapping[str, Any]) -> Result:
        nonce = secrets.token_hex(16)
        marker, pending = f"{MARKER}{self._order.key}:{nonce}", f"pending:{nonce}"
        if await link.asked("SET", marker, pending, "NX", "PX", KEPT) != "OK":
            return Refused("never sent: its marker is there already")
        await link.asked("WATCH", marker)
        if await link.asked("GET", marker) != pending:
            return Refused("never sent: its marker was taken away")
        if why := self._order.late():
            return Refused(f"never sent: {why}")
        mark = {"result": {"reply": None}, "marker": marker, "pending": pending, "server": here["run_id"]}
        if why := await self._marked(mark):
            return Refused(f"never sent: {why}")
        self.sent = True
        done = ("SET", marker, _done(pending), "PX", KEPT)
        return _became(await link.transaction([self._words, done]))

    async def _marked(self, mark: dict[str, Any]) -> str:
        assert self._order.mark is not None
        try:
            async with asyncio.timeout(MARKED):
                return await self._order.mark(mark)
        except TimeoutError:
            return f"its mark was not kept within {MARKED:g} s"


def _became(answers: Answers) -> Result:
    """What the server answered to the whole transaction."""
    if answers.refused:
        return Refused(f"the server refused it: {answers.refused}")
    if answers.replies is None:
        return Refused("never done: its marker changed meanwhile")
    return _reply(answers.replies[0])


def _reply(reply: Any) -> Result:
    if isinstance(reply, Exception):
        return Refused(f"the server refused it: {printable(str(reply))}")
    return Done({"reply": kept(reply)})


def unmarked(mark: Mapping[str, Any]) -> bool:
    """Was it sent without a marker?"""
    return "marker" in mark and mark["marker"] is None


async def setting(link: Link, words: Sequence[str], mark: Mapping[str, Any]) -> Result:
    """What became of a command without a marker: does what it was to set hold?"""
    if [word.upper() for word in words[:2]] != ["CONFIG", "SET"]:
        return Unknown("nothing tells whether it was done")
    name, wanted = words[2:]
    if (now := await _held(link, name)) == wanted:
        return Done(dict(mark.get("result") or {}))
    return Unknown(f"{name} is {now}: it was not set, or somebody has set it since")


async def _held(link: Link, name: str) -> str:
    """A setting as it is now."""
    found = await link.asked("CONFIG", "GET", name)
    return printable(str(found[1]), 80) if isinstance(found, list) and len(found) == 2 else "not there"


async def fate(name: str, link: Link, mark: Mapping[str, Any]) -> Result | None:
    """What became of a marked transaction. One that has not come to be is given up, and never will."""
    marker, pending, server = (mark.get(key) for key in ("marker", "pending", "server"))
    if not isinstance(marker, str) or not isinstance(pending, str) or not isinstance(server, str):
        return Unknown("its mark cannot be read")
    here = facts(await link.asked("INFO"))
    if problem := unfit(here):
        raise ConnectorError(name, problem, remedy="is there a new master?")
    await link.asked("WATCH", marker)
    found = await link.asked("GET", marker)
    if found == _done(pending):
        return Done(dict(mark.get("result") or {}))
    if found is None:
        return Unknown("its marker is gone: flushed, evicted, or the server was started anew")
    if found == GIVEN_UP:
        return Refused("it never came to be, and was given up")
    if found != pending:
        return Unknown("its marker says something else")
    if here["run_id"] != server:
        return Unknown("the server was started anew since, or failed over, and may have lost it")
    answers = await link.transaction([("SET", marker, GIVEN_UP, "PX", KEPT)])
    if answers.refused:
        raise ConnectorError(name, answers.refused)
    return None if answers.replies is None else Refused("it never came to be, and was given up")


def _done(pending: str) -> str:
    return pending.replace("pending", "done", 1)


def unfit(here: Mapping[str, Any]) -> str:
    """Why nothing may be changed on this server, by its INFO; "" when it may."""
    if here.get("role") != "master":
        return f"the server is a {here.get('role', 'server that hides its role')}"
    if here.get("cluster_enabled") == 1:
        return "the server is part of a cluster, which is not supported"
    if here.get("loading") == 1:
        return "the server is still loading its data"
    return "" if isinstance(here.get("run_id"), str) else "the server does not say which one it is"
