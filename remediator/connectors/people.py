"""Paging people, as a step of a policy: for what a policy may find out and only a person may mend.

The built-in connection `people`. The page is a row like any other: it escalates by its chain until
somebody acknowledges. Its key is the step's, so the same step never pages twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from remediator.connectors.settings import Settings
from remediator.connectors.unoffered import Unoffered
from remediator.core.catalog import Escape, Fence, Kind, Operation, Param, Risk
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.errors import StoreError
from remediator.ports import ConnectorKind, Order

PAGE = Operation(
    name="people.page",
    kind=Kind.ACTION,
    doc="Page people with what was found. It escalates by its chain until somebody acknowledges.",
    params={
        "text": Param("What they must know.", escape=Escape.TEXT, required=True),
        "chain": Param("An escalation chain of the config; `default` if left out.", escape=Escape.LITERAL),
    },
    risk=Risk.SAFE,
    fence=Fence.KEY,
)

MOST_CHARACTERS = 2000

OpenPage = Callable[..., Awaitable[None]]
"""``(key, text, *, run, chain)``: commits the page; raises StoreError."""


class PeopleSettings(Settings):
    """Nothing to set: chains and roads are the config's own."""


class People(Unoffered):
    """The built-in connection."""

    def __init__(self, settings: PeopleSettings) -> None:
        del settings
        self._open: OpenPage | None = None

    def attach(self, open_page: OpenPage) -> None:
        """Who opens pages; tied here once, by the wiring."""
        self._open = open_page

    async def act(self, call: Call, *, order: Order, timeout: float) -> Result:  # noqa: ARG002 - no wire
        """Open the page; committed when this returns."""
        text = call.args.get("text")
        if self._open is None:
            return Refused("nobody opens pages here")
        if not isinstance(text, str) or not text.strip():
            return Refused("never sent: the page is empty")
        run = order.key.partition("/")[0]
        chain = call.args.get("chain") or "default"
        try:
            await self._open(f"step:{order.key}", text[:MOST_CHARACTERS], run=run, chain=chain)
        except StoreError as error:
            return Unknown(str(error))
        return Done({})


KIND = ConnectorKind(
    name="people",
    doc="The people of the config; built in.",
    operations=(PAGE,),
    settings=PeopleSettings,
    make=People,
    built_in=True,
)
