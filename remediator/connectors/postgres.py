"""A PostgreSQL database: what it offers, and to whom each call goes.

Probes: `postgres_read`. The way to the server is `postgres_link`; statements and their rows are
`postgres_rows`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from remediator.connectors import postgres_read as reading
from remediator.connectors.postgres_link import Link
from remediator.connectors.postgres_read import QUERY
from remediator.connectors.postgres_rows import Place
from remediator.connectors.postgres_settings import PostgresSettings
from remediator.connectors.unoffered import Unoffered
from remediator.core.run import Call
from remediator.errors import ConnectorError
from remediator.ports import ConnectorKind

__all__ = ["KIND", "QUERY", "Postgres", "PostgresSettings"]

AT_ONCE = 4
"""Connections for reading."""


class Postgres(Unoffered):
    """A configured PostgreSQL."""

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings
        self._reading = Link(settings, AT_ONCE)

    async def read(self, call: Call, *, timeout: float) -> dict[str, Any]:
        """`rows`, `row` and `count` of a SELECT."""
        asked = reading.query(call, self._settings.reach)
        try:
            async with asyncio.timeout(timeout), self._reading.transaction(call.connection) as database:
                place = Place(call.connection, self._settings, database)
                return await reading.answer(place, asked, call.args.get("args", []))
        except TimeoutError:
            raise ConnectorError(call.connection, f"no answer within {timeout:g} s") from None

    async def close(self) -> None:
        """Close all connections, at once."""
        self._reading.close()


KIND = ConnectorKind(
    name="postgres",
    doc="A PostgreSQL database, by asyncpg.",
    operations=(QUERY,),
    settings=PostgresSettings,
    make=Postgres,
)
