"""What reading a row by `postgres.query` takes beyond a bare fetch: from the call to the reading kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from statistics import median

import asyncpg

from bench.figures import Bar, Figure, percentile
from remediator.clock import SystemClock
from remediator.connectors.postgres import QUERY, Postgres, PostgresSettings
from remediator.core.catalog import Catalog
from remediator.core.intention import Call
from remediator.engine.hiding import Discreet, hider
from remediator.engine.looking import Looking
from tests.rig.postgres import Server, running_postgres

ONE_TABLE = """
    SELECT name, earn_rate, round(100 * (budget_limit - budget_spent) / budget_limit, 2) AS remaining_pct
    FROM loyalty_programs WHERE id = $1
"""
TWO_TABLES = """
    SELECT p.name, p.earn_rate, c.id AS campaign, c.status, c.start_date
    FROM loyalty_programs p JOIN loyalty_campaigns c ON c.program_id = p.id WHERE p.id = $1
"""
"""Here the columns of both tables are looked up first: a name behind a dot may be a function."""


def probe_postgres(*, quick: bool) -> Iterator[Figure]:
    """One row by its key, out of one table and out of two."""
    with running_postgres() as server:
        for name, statement in (("probe_postgres", ONE_TABLE), ("probe_postgres_join", TWO_TABLES)):
            yield asyncio.run(_measured(name, statement, server, quick=quick))


async def _measured(name: str, statement: str, server: Server, *, quick: bool) -> Figure:
    rounds, turns = (1, 200) if quick else (5, 2_000)
    dsn = server.dsn(await server.copy())
    settings = PostgresSettings.model_validate(
        {"dsn": dsn, "tables": ["loyalty_programs", "loyalty_campaigns"]}
    )
    connector = Postgres(settings)
    catalog = Catalog.of([QUERY])
    looking = Looking(
        {"loyalty_db": Discreet(connector, hider(["a-secret-of-the-settings"]))},
        SystemClock(),
        lambda: catalog,
    )
    call = Call("postgres.query", "loyalty_db", {"sql": statement, "args": ["p-17"]})
    bare = await asyncpg.connect(dsn)

    async def probe() -> None:
        reading = await looking.read(call)
        assert reading.ok and reading.value["count"] == 1, reading

    async def fetch() -> None:
        assert len(await bare.fetch(statement, "p-17")) == 1

    try:
        await _alternating(probe, fetch, 100)  # connections are made, the statement is known
        found = [await _alternating(probe, fetch, turns) for _ in range(rounds)]
    finally:
        await bare.close()
        await connector.close()
    beyond = [percentile(ours, 0.5) - percentile(floor, 0.5) for ours, floor in found]
    more = {
        "baseline_is": "a bare fetch; the figure is what the probe takes beyond it",
        "probe_p50": round(median(percentile(ours, 0.5) for ours, _ in found), 3),
        "probe_p99": round(median(percentile(ours, 0.99) for ours, _ in found), 3),
        "baseline_p99": round(median(percentile(floor, 0.99) for _, floor in found), 3),
    }
    return Figure(name, Bar("ms", "at most", 3), beyond, [percentile(floor, 0.5) for _, floor in found], more)


async def _alternating(
    one: Callable[[], Awaitable[None]], other: Callable[[], Awaitable[None]], turns: int
) -> tuple[list[float], list[float]]:
    """Milliseconds of each, in turn: whatever else the machine does meets both alike."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(turns):
        for work, found in zip((one, other), taken, strict=True):
            began = time.perf_counter()
            await work()
            found.append((time.perf_counter() - began) * 1000)
    return taken
