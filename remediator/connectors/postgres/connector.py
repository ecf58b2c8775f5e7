"""A PostgreSQL database: what it offers, and to whom each call goes.

Probes: `read`. Actions: `change` and its way back `restore`, both behind the
fence of `final`; `sessions`; `upkeep`. The way to the server is `link`;
statements and their rows are `rows`, the facts of a table `table`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from remediator.connectors.postgres import change as changing
from remediator.connectors.postgres import final, sessions
from remediator.connectors.postgres import read as reading
from remediator.connectors.postgres import restore as restoring
from remediator.connectors.postgres import upkeep as keeping
from remediator.connectors.postgres.change import EXECUTE
from remediator.connectors.postgres.link import Link
from remediator.connectors.postgres.read import QUERY
from remediator.connectors.postgres.restore import RESTORE
from remediator.connectors.postgres.rows import Place
from remediator.connectors.postgres.sessions import TERMINATE
from remediator.connectors.postgres.settings import PostgresSettings
from remediator.connectors.postgres.upkeep import MAINTAIN
from remediator.connectors.unoffered import Unoffered
from remediator.core.evidence import Picture
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result
from remediator.errors import ConnectorError
from remediator.ports import ConnectorKind, Order

__all__ = ["EXECUTE", "KIND", "MAINTAIN", "QUERY", "RESTORE", "TERMINATE", "Postgres", "PostgresSettings"]

AT_ONCE = 4
"""Connections for reading; as many again for changes, which take two each, and for upkeep."""


class Postgres(Unoffered):
    """A configured PostgreSQL."""

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings
        self._reading = Link(settings, AT_ONCE)
        self._changing = Link(settings, AT_ONCE)
        self._keeping = Link(settings, AT_ONCE)

    async def read(self, call: Call, *, timeout: float) -> dict[str, Any]:
        """`rows`, `row` and `count` of a SELECT."""
        asked = reading.query(call, self._settings.reach)
        try:
            async with asyncio.timeout(timeout), self._reading.transaction(call.connection) as database:
                place = self._place(call, database, probing=True)
                return await reading.answer(place, asked, call.args.get("args", []))
        except TimeoutError:
            raise _late(call, timeout) from None

    async def preview(self, call: Call, *, timeout: float) -> Picture:
        """The rows that a change would touch, before and after, or the sessions that would end."""
        try:
            async with asyncio.timeout(timeout):
                match call.operation:
                    case EXECUTE.name:
                        wanted = changing.wanted(call, self._settings)
                        async with self._reading.transaction(call.connection) as database:
                            return await wanted.picture(self._place(call, database))
                    case TERMINATE.name:
                        return await sessions.sought(call, self._settings).picture(self._reading)
        except TimeoutError:
            raise _late(call, timeout) from None
        return await super().preview(call, timeout=timeout)

    async def act(self, call: Call, *, order: Order, timeout: float) -> Result:
        """Change rows or take a change back, in one transaction; end sessions; keep a table in shape."""
        try:
            match call.operation:
                case TERMINATE.name:
                    sought = sessions.sought(call, self._settings)
                    return await sought.ended(self._reading, order=order, timeout=timeout)
                case MAINTAIN.name:
                    return await keeping.upkeep(call, self._settings).done(self._keeping)
            work = self._work(call, order)
        except ConnectorError as error:
            return Refused(f"never sent: {error.told}")
        if work is None:
            return await super().act(call, order=order, timeout=timeout)
        return await final.act(call.connection, self._changing, work, order=order, timeout=timeout)

    def _work(self, call: Call, order: Order) -> final.Work | None:
        match call.operation:
            case EXECUTE.name:
                wanted = changing.wanted(call, self._settings)

                async def change(database: Any) -> Done | Refused:
                    return await wanted.made(self._place(call, database), order.shown)

                return change
            case RESTORE.name:
                owed = restoring.owed(call, self._settings)

                async def restore(database: Any) -> Done:
                    return await owed.restored(self._place(call, database))

                return restore
        return None

    async def inquire(self, call: Call, mark: dict[str, Any], *, timeout: float) -> Result | None:
        """What became of a marked transaction."""
        if call.operation not in (EXECUTE.name, RESTORE.name):
            return await super().inquire(call, mark, timeout=timeout)
        return await final.inquire(call.connection, self._reading, mark, timeout=timeout)

    async def close(self) -> None:
        """Close all connections, at once."""
        self._reading.close()
        self._changing.close()
        self._keeping.close()

    def _place(self, call: Call, database: Any, *, probing: bool = False) -> Place:
        return Place(call.connection, self._settings, database, probing=probing)


def _late(call: Call, timeout: float) -> ConnectorError:
    return ConnectorError(call.connection, f"no answer within {timeout:g} s")


KIND = ConnectorKind(
    name="postgres",
    doc="A PostgreSQL database, by asyncpg.",
    operations=(QUERY, EXECUTE, RESTORE, TERMINATE, MAINTAIN),
    settings=PostgresSettings,
    make=Postgres,
    judges={TERMINATE.name: sessions.sought, MAINTAIN.name: keeping.upkeep},
)
