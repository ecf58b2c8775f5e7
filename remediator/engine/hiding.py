"""Around every connector: an answer that holds one of our secrets, an echoed header say, is kept without it.

What the world answers is journalled, shown on cards and sent on; the settings' secrets never are. Hidden
is a secret in each spelling in which services echo it, and what is left of one where a text was cut off
(`core.cutting`): connectors shorten what they tell before it comes here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from typing import Any
from urllib.parse import quote, quote_plus

import msgspec

from remediator.core.calls import printable
from remediator.core.cutting import SEAM
from remediator.core.evidence import Picture
from remediator.core.intention import Call
from remediator.core.messages import Done, Result
from remediator.errors import ConnectorError
from remediator.ports import Connector, Order

_ESCAPE = re.compile("%[0-9A-F]{2}")
HIDDEN = "[hidden]"
SHORTEST = 6
"""Characters; a shorter value would be found in half of all texts."""


def hider(secrets: Collection[str]) -> Callable[[Any], Any]:
    """A function that replaces these texts wherever they stand in plain data."""
    spelled = {form for one in secrets if len(one) >= SHORTEST for form in _spellings(one)}
    hidden = sorted((one for one in spelled if len(one) >= SHORTEST), key=len, reverse=True)

    def hide(value: Any) -> Any:
        match value:
            case str():
                value = _without_rests(value, hidden)
                for secret in hidden:
                    value = value.replace(secret, HIDDEN)
                return value
            case dict():
                return {hide(key): hide(item) for key, item in value.items()}
            case list():
                return [hide(item) for item in value]
            case tuple():
                return tuple(hide(item) for item in value)
            case _:
                return value

    return hide


def _spellings(secret: str) -> set[str]:
    """As it is, and as it stands in JSON, in a URL, in Python's words, and in one line of a reason."""
    percent = [quote(secret, safe=""), quote(secret), quote_plus(secret)]
    quoted = [json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]]
    one_line = " ".join(secret.split())
    lines = [one_line, printable(secret, len(secret)), printable(one_line, len(secret))]
    small = [_ESCAPE.sub(lambda found: found[0].lower(), one) for one in percent]
    return {secret, *percent, *small, *quoted, *lines}


def _without_rests(text: str, hidden: Collection[str]) -> str:
    """The text without what a cut has left of a secret: its beginning before a seam, its end after one.

    Up to five characters of it may stand there still: as few would be found at half of all seams.
    """
    if SEAM not in text:
        return text
    hidden = [one for one in hidden if one[:SHORTEST] in text or one[-SHORTEST:] in text]
    first, *others = text.split(SEAM)
    parts = [first, *(_without_end_of(part, hidden) for part in others)] if hidden else [first, *others]
    *before, last = parts
    return SEAM.join([*(_without_start_of(part, hidden) for part in before), last])


def _without_start_of(part: str, hidden: Collection[str]) -> str:
    left = max((_overlap(part, secret) for secret in hidden), default=0)
    return part[: len(part) - left] + HIDDEN if left else part


def _without_end_of(part: str, hidden: Collection[str]) -> str:
    left = max((_overlap(secret, part) for secret in hidden), default=0)
    return HIDDEN + part[left:] if left else part


def _overlap(one: str, other: str) -> int:
    """How many characters at the end of the one are the beginning of the other; 0 for fewer than count."""
    longest = min(len(one), len(other))
    return next((size for size in range(longest, SHORTEST - 1, -1) if one.endswith(other[:size])), 0)


class Discreet:
    """A connector whose answers hold no secret."""

    def __init__(self, connector: Connector, hide: Callable[[Any], Any]) -> None:
        """``hide`` as `hider` makes it."""
        self._connector = connector
        self._hide = hide

    async def read(self, call: Call, *, timeout: float) -> dict[str, Any]:
        """As the connector reads."""
        try:
            read: dict[str, Any] = self._hide(await self._connector.read(call, timeout=timeout))
        except ConnectorError as error:
            raise self._told(error) from None
        return read

    async def preview(self, call: Call, *, timeout: float) -> Picture:
        """As the connector previews."""
        try:
            picture = await self._connector.preview(call, timeout=timeout)
        except ConnectorError as error:
            raise self._told(error) from None
        return Picture(picture.count, self._hide(picture.text), self._hide(picture.rows))

    async def act(self, call: Call, *, order: Order, timeout: float) -> Result:
        """As the connector acts; what would be kept with one of our secrets in it is not done at all."""
        discreet = replace(order, mark=self._discreet(order.mark)) if order.mark else order
        return self._without(await self._connector.act(call, order=discreet, timeout=timeout))

    async def inquire(self, call: Call, mark: dict[str, Any], *, timeout: float) -> Result | None:
        """As the connector finds out."""
        try:
            result = await self._connector.inquire(call, mark, timeout=timeout)
        except ConnectorError as error:
            raise self._told(error) from None
        return None if result is None else self._without(result)

    def _discreet(self, mark: Callable[[dict[str, Any]], Awaitable[str]]) -> Callable[..., Awaitable[str]]:
        """What stands in a mark is written back one day, so nothing in it may be replaced."""

        async def marked(about: dict[str, Any]) -> str:
            if self._hide(about) != about:
                return "a row holds one of the settings' secrets: list its column under `hidden`"
            return await mark(about)

        return marked

    def _without(self, result: Result) -> Result:
        if isinstance(result, Done):
            return Done(self._hide(result.result), self._hide(result.left))
        return msgspec.structs.replace(result, reason=self._hide(result.reason))

    async def close(self) -> None:
        """Let go of sockets."""
        await self._connector.close()

    def _told(self, error: ConnectorError) -> ConnectorError:
        return ConnectorError(error.place, self._hide(error.problem), remedy=self._hide(error.remedy))
