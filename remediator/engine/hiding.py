"""Around every connector: an answer that holds one of our secrets, an echoed header say, is kept without it.

What the world answers is journalled, shown on cards and sent on; the settings' secrets never are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from typing import Any

import msgspec

from remediator.core.evidence import Picture
from remediator.core.intention import Call
from remediator.core.messages import Done, Result
from remediator.errors import ConnectorError
from remediator.ports import Connector, Order

HIDDEN = "[hidden]"
SHORTEST = 6
"""Characters; a shorter value would be found in half of all texts."""


def hider(secrets: Collection[str]) -> Callable[[Any], Any]:
    """A function that replaces these texts wherever they stand in plain data."""
    hidden = sorted({one for one in secrets if len(one) >= SHORTEST}, key=len, reverse=True)

    def hide(value: Any) -> Any:
        match value:
            case str():
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
