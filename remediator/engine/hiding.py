"""Around every connector: an answer that holds one of our secrets, an echoed header say, is kept without it.

What the world answers is journalled, shown on cards and sent on; the settings' secrets never are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from remediator.core.messages import Done, Result
from remediator.core.run import Call, Picture
from remediator.errors import ConnectorError
from remediator.ports import Connector

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

    async def act(self, call: Call, *, key: str, timeout: float) -> Result:
        """As the connector acts."""
        result = await self._connector.act(call, key=key, timeout=timeout)
        if isinstance(result, Done):
            return Done(self._hide(result.result))
        return msgspec.structs.replace(result, reason=self._hide(result.reason))

    async def close(self) -> None:
        """Let go of sockets."""
        await self._connector.close()

    def _told(self, error: ConnectorError) -> ConnectorError:
        return ConnectorError(error.place, self._hide(error.problem), remedy=self._hide(error.remedy))
