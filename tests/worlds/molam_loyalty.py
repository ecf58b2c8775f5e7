"""Molam's loyalty system: its tables in a real PostgreSQL, and the API that changes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from tests.rig.postgres import Server
from tests.worlds.service import Asked, Reply, Service

DATABASE = "molam_connect"
LOGIN = "molam_remediator"
"""The daemon's: it may do what docs/postgres.md says that it needs, and no more."""

_GRANTS = f"""
    GRANT SELECT ON loyalty_programs, loyalty_campaigns, loyalty_balances, loyalty_transactions TO {LOGIN};
    GRANT UPDATE (fraud_flags, is_frozen, locked, updated_at) ON loyalty_balances TO {LOGIN};
    GRANT UPDATE (earn_rate, updated_at) ON loyalty_programs TO {LOGIN};
    ALTER TABLE loyalty_programs OWNER TO molam_owner;
    ALTER TABLE loyalty_balances OWNER TO molam_owner;
"""


@dataclass
class Molam:
    """The system. ``slow``: endpoints and their P95 in seconds."""

    server: Server
    api: Service = field(default_factory=Service)
    slow: dict[str, float] = field(default_factory=dict)
    _writes: set[asyncio.Task[Any]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.api.on("GET", "/api/endpoints/slow", self._slowest)
        self.api.on("GET", "/api/queues", lambda _asked: Reply(200, {"queues": []}))
        self.api.on("POST", "/api/programs/{id}/suspend", self._suspend)
        self.api.on("POST", "/api/campaigns/{id}/pause", lambda asked: self._campaign(asked, "paused"))
        self.api.on("POST", "/api/campaigns/{id}/resume", lambda asked: self._campaign(asked, "running"))

    async def sql(self, statement: str, *args: Any) -> list[Any]:
        """What the application or a DBA does."""
        async with self.server.connected(DATABASE) as connection:
            return [dict(row) for row in await connection.fetch(statement, *args)]

    def latency(self, **seconds: float) -> None:
        """The P95 of an endpoint, from now on."""
        self.slow |= seconds
        for endpoint, value in seconds.items():
            self.api.gauge("loyalty_api_latency_seconds", value, endpoint=endpoint, quantile="0.95")

    def _slowest(self, _asked: Asked) -> Reply:
        worst = sorted(self.slow.items(), key=lambda one: -one[1])[:5]
        return Reply(200, {"endpoints": [{"endpoint": name, "p95Seconds": value} for name, value in worst]})

    def _suspend(self, asked: Asked) -> Reply:
        if not asked.headers.get("X-Approval-Request-Id"):
            return Reply(
                403, {"status": "approval_required", "requiredRoles": ["finance_ops", "ops_marketing"]}
            )
        self._write("UPDATE loyalty_programs SET status = 'suspended' WHERE id = $1", asked.fields["id"])
        return Reply(200, {"status": "suspended"})

    def _campaign(self, asked: Asked, status: str) -> Reply:
        self._write("UPDATE loyalty_campaigns SET status = $2 WHERE id = $1", asked.fields["id"], status)
        return Reply(200, {"status": status})

    def _write(self, statement: str, *args: Any) -> None:
        """Soon: an answer does not wait for it, which is why proofs look at the rows."""
        task = asyncio.get_running_loop().create_task(self.sql(statement, *args))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    @asynccontextmanager
    async def working(self, query: str = "SELECT pg_sleep(600)") -> AsyncIterator[asyncio.Task[Any]]:
        """A report that somebody runs; the task ends as its query does."""
        connection = await asyncpg.connect(self.server.dsn(DATABASE, "molam_reports"))
        task = asyncio.create_task(connection.execute(query))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            connection.terminate()


@asynccontextmanager
async def molam(server: Server) -> AsyncIterator[Molam]:
    """Its tables, in the database that the runbook names, and its API."""
    name = await server.copy()
    async with server.connected() as connection:
        await connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        await connection.execute(f"ALTER DATABASE {name} RENAME TO {DATABASE}")
        there = {row["rolname"] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
        for role in {LOGIN, "molam_reports", "molam_owner"} - there:  # the server outlives a system
            await connection.execute(f"CREATE ROLE {role} LOGIN")
        await connection.execute(f"GRANT pg_read_all_stats, pg_signal_backend TO {LOGIN}")
    system = Molam(server)
    async with server.connected(DATABASE) as connection:
        await connection.execute(_GRANTS)
    async with system.api.serve():
        yield system
