"""The daemon reads a real database: what it read before a crash reaches SQL afterwards as the very value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.policies import gated, pausing, text
from tests.rig.daemon import alert, daemon, settings, webhook
from tests.rig.postgres import Server, running_postgres
from tests.rig.world import LoyaltyWorld

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.real,
    pytest.mark.needs("postgresql"),
]

LIMIT = "9007199254740993.01"  # which no double can hold


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_postgres() as running:
        yield running


def policy() -> dict[str, Any]:
    """Pauses a campaign after approval; the database proves it, by the very limit that was read."""
    verify = _query(
        "SELECT count(*) AS n FROM loyalty_programs WHERE id = $1 AND budget_limit = $2",
        "${program_id}",
        "${budget.row.budget_limit}",
    )
    proof = {**verify, "until": "verify.row.n == 1", "within": "3s", "every": "1s"}
    one = pausing("budget-high", gate=gated(oncall=1), verify=proof)
    one["diagnose"] = {
        "budget": {
            **_query("SELECT name, budget_limit FROM loyalty_programs WHERE id = $1", "${program_id}"),
            "expect": "one row",
        }
    }
    one["decide"] = [{"when": "budget.row.budget_limit > 9.0e15", "do": ["pause"]}, {"do": "nothing"}]
    del one["steps"]["warn"]
    one["steps"]["pause"]["with"]["body"] = {"limit": "${budget.row.budget_limit}"}
    return one


def _query(sql: str, *args: str) -> dict[str, Any]:
    return {"use": "postgres.query", "via": "loyalty_db", "with": {"sql": sql, "args": list(args)}}


async def test_a_decimal_outlives_a_crash_and_the_database_knows_it_again(
    world: LoyaltyWorld, server: Server
) -> None:
    database = await server.copy()
    async with server.connected(database) as db:
        await db.execute(f"UPDATE loyalty_programs SET budget_limit = {LIMIT} WHERE id = 'p-17'")
    await world.control("campaigns/c-pg", status="running", program_id="p-17", points_per_second=0.0)
    config = settings(world=world.url)
    config["connections"]["loyalty_db"] = {
        "kind": "postgres",
        "dsn": "${env:LOYALTY_DSN}",
        "tables": ["loyalty_programs", "loyalty_campaigns", "loyalty_users", "loyalty_balances"],
    }
    dsn = server.dsn(database).replace("nobody@", "nobody:canary-of-the-dsn@")
    with daemon(config, {"budget-high": text(policy())}, LOYALTY_DSN=dsn) as one:
        fired = alert(alertname="budget-high", campaign_id="c-pg", program_id="p-17")
        assert await one.webhook(webhook(fired)) == 200
        run = await one.wait_stage("waiting")
        assert one.child is not None
        one.child.kill()
        one.start()
        status, _ = await one.post(f"/api/v1/gates/{run['id']}.1/votes", {"vote": "approve"}, by="bob")
        assert status == 200
        closed = await one.wait_outcome("fixed")
        told = json.dumps(await one.get(f"/api/v1/runs/{closed['id']}"))
        journal = await one.journal(closed["id"])
        said = one.child.said()
    assert sum(call["path"] == "/api/campaigns/c-pg/pause" for call in await world.requests()) == 1
    assert LIMIT in told
    assert '"#"' not in told
    assert journal[1]["data"]["value"]["row"] == {"name": "Teranga", "budget_limit": LIMIT}
    assert "canary" not in told + json.dumps(journal) + said
