"""What a loyalty service exposes: budgets as the database has them, a counter driven by the earn rate."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
from aiohttp import web

from tests.rig.served import served

PER_SECOND = 1000.0
"""Money that members spend with a program each second; its earn rate makes points of it."""


@dataclass
class Meter:
    """Reads the programs at each scrape; what they spent since the last one follows their earn rate."""

    dsn: str
    totals: dict[str, float] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)

    async def metrics(self, _request: web.Request) -> web.Response:
        """In Prometheus's text form."""
        connection = await asyncpg.connect(self.dsn)
        try:
            rows = await connection.fetch(
                "SELECT id, earn_rate, budget_spent, budget_limit FROM loyalty_programs"
            )
        finally:
            await connection.close()
        now = time.monotonic()
        lines = []
        for row in rows:
            program = row["id"]
            passed = now - self.seen.get(program, now)
            self.seen[program] = now
            self.totals[program] = self.totals.get(program, 1e6) + passed * PER_SECOND * float(
                row["earn_rate"]
            )
            labels = f'{{program_id="{program}"}}'
            lines += [
                f"loyalty_program_budget_spent{labels} {row['budget_spent']}",
                f"loyalty_program_budget_limit{labels} {row['budget_limit']}",
                f"loyalty_budget_spent_total{labels} {self.totals[program]}",
            ]
        return web.Response(text="\n".join(lines) + "\n")


@asynccontextmanager
async def running_meter(dsn: str) -> AsyncIterator[str]:
    """Serve ``/metrics`` of this database; the base URL."""
    app = web.Application()
    app.router.add_get("/metrics", Meter(dsn).metrics)
    async with served(app) as url:
        yield url
