"""One line of the table of routes: what a request must bring, who may ask, and what answers."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from aiohttp import web

from remediator.web.access import Access
from remediator.web.services import Handler


@dataclass(frozen=True)
class Param:
    """One parameter of a query."""

    doc: str
    choices: tuple[str, ...] = ()
    most: int | None = None  # it is a whole number from 1 to this


@dataclass(frozen=True)
class Route:
    """One method on one path.

    handler: None where app.py brings it. takes, gives: the shapes of the bodies; None: not JSON.
    """

    method: str
    path: str
    access: Access
    handler: Handler | None
    gives: type[msgspec.Struct] | None = None
    takes: type[msgspec.Struct] | None = None
    query: dict[str, Param] = field(default_factory=dict)
    media: str = "application/json"  # what it answers with

    @property
    def name(self) -> str:
        """As routers and logs call it."""
        return f"{self.method} {self.path}"


LISTED = web.AppKey("listed", tuple[Route, ...])
"""The whole table, as the application has it: its description is made of it."""
