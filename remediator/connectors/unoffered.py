"""What a connector answers when it is asked for something that it does not offer.

The catalogue keeps policies from asking; these answers stand behind it.
"""

from __future__ import annotations

from typing import Any

from remediator.core.evidence import Picture
from remediator.core.intention import Call
from remediator.core.messages import Refused, Result, Unknown
from remediator.errors import ConnectorError
from remediator.ports import Order


class Unoffered:
    """A connector that reads nothing, does nothing and keeps nothing open. Override what is offered."""

    async def read(self, call: Call, *, timeout: float) -> dict[str, Any]:  # noqa: ARG002 - the port's
        """No probe by this name."""
        raise ConnectorError(call.connection, f"{call.operation} is no probe of this connection")

    async def preview(self, call: Call, *, timeout: float) -> Picture:  # noqa: ARG002 - the port's
        """No preview of this."""
        raise ConnectorError(call.connection, f"{call.operation} has no preview")

    async def act(self, call: Call, *, order: Order, timeout: float) -> Result:  # noqa: ARG002 - the port's
        """No action by this name."""
        return Refused(f"never sent: {call.operation} is no action of this connection")

    async def inquire(
        self,
        call: Call,
        mark: dict[str, Any],  # noqa: ARG002 - the port's
        *,
        timeout: float,  # noqa: ARG002 - likewise
    ) -> Result | None:
        """Nothing of it can be asked."""
        return Unknown(f"{call.operation} leaves no mark")

    async def close(self) -> None:
        """Nothing stays open between calls."""
