"""The world: connections, and the time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Protocol

from remediator.core.catalog import Operation
from remediator.core.evidence import Picture
from remediator.core.intention import Call
from remediator.core.messages import Result


class Clock(Protocol):
    """Time, for the parts outside the core."""

    def now(self) -> datetime:
        """Wall clock, UTC, aware."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow."""
        ...


@dataclass(frozen=True)
class Order:
    """What goes with an act.

    key: the idempotency key, the same for every attempt at one step. shown: what people agreed to, its
    rows as plain values; an act that would change anything else must refuse. mark: commits a mark of what
    is about to become final, ``{"result": …}`` and whatever `Connector.inquire` needs; it returns "" or
    why it may not become final. late: why it may not be sent any more, or ""; to be asked once more when the
    way to the target is there, for that may take seconds. approved: who agreed, where anybody was asked.
    """

    key: str
    shown: Picture | None = None
    mark: Callable[[dict[str, Any]], Awaitable[str]] | None = None
    late: Callable[[], str] = lambda: ""
    approved: tuple[str, ...] = ()


class Connector(Protocol):
    """A configured connection of one kind."""

    async def read(self, call: Call, *, timeout: float) -> dict[str, Any]:
        """Read a probe. Raises ConnectorError; never changes anything."""
        ...

    async def preview(self, call: Call, *, timeout: float) -> Picture:
        """Show what an action would change. Raises ConnectorError; never changes anything."""
        ...

    async def act(self, call: Call, *, order: Order, timeout: float) -> Result:
        """Do it at most once. Never raises for what the world does: done, refused or unknown."""
        ...

    async def inquire(self, call: Call, mark: dict[str, Any], *, timeout: float) -> Result | None:
        """What became of an act, by its mark. None: not yet to be told. Raises ConnectorError likewise.

        ``mark``: as it was committed, with plain values.
        """
        ...

    async def close(self) -> None:
        """Let go of sockets."""
        ...


@dataclass(frozen=True)
class ConnectorKind:
    """One kind of connection: what it offers, and how an instance is made from its settings.

    settings: the pydantic model of its part of the config. make: settings → connector. needs: the module
    of a client library that only ``pip install 'remediator[<name>]'`` brings; "" for none. judges: by
    operation, what raises ConnectorError or ValueError where the settings alone refuse a call; the connector
    asks the same ones.
    """

    name: str
    doc: str
    operations: tuple[Operation, ...]
    settings: type[Any]
    make: Callable[[Any], Connector]
    built_in: bool = False
    needs: str = ""
    judges: Mapping[str, Callable[[Call, Any], object]] = field(default_factory=lambda: MappingProxyType({}))
