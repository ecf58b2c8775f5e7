"""The half of performing that cannot change anything: probes and previews, each with its deadline.

Whoever holds a `Looking` can read and preview, and nothing else: the performer uses it for the effects
that may be repeated, `rehearsal` for all that it does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Protocol

import msgspec

from remediator.core.calls import printable
from remediator.core.catalog import Catalog
from remediator.core.evidence import Picture, Reading
from remediator.core.exact import kept, revived
from remediator.core.intention import Call
from remediator.errors import ConnectorError, RemediatorError
from remediator.ports import Clock

log = logging.getLogger(__name__)

GRACE_S = 2.0
"""How long a connector may overrun its own limit before it is cut off here."""


class Looks(Protocol):
    """What is asked of a connector here. That it could act as well is not to be known."""

    async def read(self, call: Call, *, timeout: float) -> dict[str, Any]:
        """As `ports.Connector.read`."""
        ...

    async def preview(self, call: Call, *, timeout: float) -> Picture:
        """As `ports.Connector.preview`."""
        ...


class OnlyLooks:
    """The reading half of a connector: whoever is given this has no way to act."""

    def __init__(self, connector: Looks) -> None:
        self.read = connector.read
        self.preview = connector.preview


class Looking:
    """Reads and previews over live connections."""

    def __init__(self, connectors: Mapping[str, Looks], clock: Clock, catalog: Callable[[], Catalog]) -> None:
        self._connectors = connectors
        self._clock = clock
        self._catalog = catalog

    async def read(self, call: Call) -> Reading:
        """One reading; what goes wrong is part of it."""
        limit = longest(self._catalog(), call.operation)
        try:
            async with asyncio.timeout(limit + GRACE_S):
                value = await self._connectors[call.connection].read(live(call), timeout=limit)
            return Reading(self._clock.now(), ok=True, value=kept(value))
        except RemediatorError as error:
            problem = str(error)
        except TimeoutError:
            problem = f"no answer within {limit:g} s"
        except Exception as error:  # a connector's bug must not look like a value
            log.exception("a probe failed", extra={"operation": call.operation})
            problem = f"{type(error).__name__}: {error}"
        return Reading(self._clock.now(), ok=False, error=printable(problem))

    async def preview(self, call: Call) -> tuple[Picture | None, str]:
        """What an action would change; or None, and why that cannot be shown."""
        limit = longest(self._catalog(), call.operation)
        try:
            async with asyncio.timeout(limit + GRACE_S):
                picture = await self._connectors[call.connection].preview(live(call), timeout=limit)
            rows = tuple(kept(row) for row in picture.rows)
            return msgspec.structs.replace(picture, rows=rows), ""
        except (ConnectorError, TimeoutError) as error:
            return None, printable(str(error) or "no answer in time")


def live(call: Call) -> Call:
    """The call as connectors take it: with the very values."""
    return msgspec.structs.replace(call, args=revived(call.args))


def longest(catalog: Catalog, name: str) -> float:
    """Seconds that one execution of an operation may take."""
    operation = catalog.operations.get(name)
    return (operation.longest if operation is not None else timedelta(seconds=10)).total_seconds()
