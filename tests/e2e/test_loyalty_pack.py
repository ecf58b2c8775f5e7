"""The rest of the loyalty pack on real rows and a real API: fraud is frozen, a budget is raised by hand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from tests.e2e.policies import PACK
from tests.e2e.test_budget import Books, config
from tests.rig.daemon import alert, daemon, webhook
from tests.rig.postgres import Server, running_postgres
from tests.rig.slack import FakeSlack
from tests.rig.world import LoyaltyWorld

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.real,
    pytest.mark.needs("postgresql"),
]

QUICKER = {
    "every: 10s": "every: 1s",
    "after: 72h": "after: 4s",
    "cooldown: 1h": "cooldown: 3s",
    "recheck: 15m": "recheck: 1s",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_postgres() as running:
        yield running


@asynccontextmanager
async def pack(world: LoyaltyWorld, slack: FakeSlack, server: Server) -> AsyncIterator[Books]:
    """Both policies as they are shipped, but quicker."""
    policies = {}
    for name in ("fraud-freeze", "budget-increase"):
        policies[name] = (PACK / f"{name}.yaml").read_text()
        for old, new in QUICKER.items():
            policies[name] = policies[name].replace(old, new)
    made = config(world, slack)
    made["targets"] = [*made["targets"], "loyalty-balance"]
    made["connections"]["loyalty_api"]["endpoints"]["PUT /api/programs/*"] = "destructive"
    database = await server.copy()
    with daemon(made, policies, LOYALTY_DSN=server.dsn(database)) as one:
        yield Books(world, slack, one, server, database)


async def _suspect(stage: Books, user: str) -> None:
    labels = {"alertname": "LoyaltyFraudSuspected", "user_id": user, "program_id": "p-17"}
    assert await stage.daemon.webhook(webhook(alert(**labels))) == 200


async def test_a_fraudster_is_frozen_and_the_points_are_locked_for_a_while(
    world: LoyaltyWorld, slack: FakeSlack, server: Server
) -> None:
    async with pack(world, slack, server) as stage:
        others = await stage.sql("SELECT * FROM loyalty_balances WHERE id <> 'b-1'")
        await _suspect(stage, "u-1")
        run = await stage.daemon.wait_stage("waiting")
        await stage.card_says(f"{run['id']}.1", "is_frozen", "emergency_freeze", "b-1")
        await stage.agreed(f"{run['id']}.1", "amina", "bob")
        await stage.card_says(f"{run['id']}.2", "locked", "15300.50")
        (row,) = await stage.sql("SELECT * FROM loyalty_balances WHERE id = 'b-1'")
        assert (row["is_frozen"], row["locked"]) == (True, 0)
        assert json.loads(row["fraud_flags"]) == ["new_device", "emergency_freeze"]
        await stage.agreed(f"{run['id']}.2", "chen", "bob")
        await stage.daemon.wait_stage("holding")
        (row,) = await stage.sql("SELECT * FROM loyalty_balances WHERE id = 'b-1'")
        assert row["locked"] == Decimal("15300.50")
        await stage.daemon.wait_outcome("fixed")
        (row,) = await stage.sql("SELECT * FROM loyalty_balances WHERE id = 'b-1'")
        assert (row["is_frozen"], row["locked"]) == (True, 0)
        assert await stage.sql("SELECT * FROM loyalty_balances WHERE id <> 'b-1'") == others


async def test_points_that_were_not_locked_at_once_are_asked_about_again(
    world: LoyaltyWorld, slack: FakeSlack, server: Server
) -> None:
    async with pack(world, slack, server) as stage:
        await _suspect(stage, "u-1")
        run = await stage.daemon.wait_stage("waiting")
        await stage.agreed(f"{run['id']}.1", "amina", "bob")
        await stage.card_says(f"{run['id']}.2", "locked")
        status, _told = await stage.vote(f"{run['id']}.2", "amina", "deny", reason="later")
        assert status == 200
        closed = await stage.daemon.wait_outcome("denied")
        assert "done before, and standing: freeze" in closed["reason"]
        later = await stage.daemon.wait_run(lambda one: one["id"] != run["id"] and one["stage"] == "waiting")
        await stage.agreed(f"{later['id']}.1", "amina", "bob")
        await stage.daemon.wait_stage("holding")
        (row,) = await stage.sql("SELECT * FROM loyalty_balances WHERE id = 'b-1'")
        assert row["locked"] == Decimal("15300.50")


async def test_below_the_red_flags_nothing_is_frozen_and_a_person_looks(
    world: LoyaltyWorld, slack: FakeSlack, server: Server
) -> None:
    async with pack(world, slack, server) as stage:
        await _suspect(stage, "u-2")
        await stage.daemon.wait_outcome("fixed")
        await stage.paged("below the red flags")
        assert await stage.sql("SELECT FROM loyalty_balances WHERE is_frozen") == []


async def test_a_budget_is_raised_by_hand_with_the_number_of_its_approval(
    world: LoyaltyWorld, slack: FakeSlack, server: Server
) -> None:
    async with pack(world, slack, server) as stage:
        await world.control("programs/p-hand", budget_limit=100000.0)
        words = ["program_id=p-hand", "budget_limit=150000", "approval_request_id=apr-20261121"]
        params = [one for word in words for one in ("--param", word)]
        said = await stage.cli("runs", "start", "molam-budget-increase", *params, by="amina")
        assert said.status == 0, said.err
        run = await stage.daemon.wait_stage("waiting")
        status, told = await stage.vote(f"{run['id']}.1", "amina")
        assert (status, "started this run" in told["text"]) == (409, True)
        await stage.agreed(f"{run['id']}.1", "chen", "bob")
        await stage.daemon.wait_outcome("fixed")
    (entry,) = [one for one in await world.ledger() if one["path"] == "/api/programs/p-hand"]
    assert entry["approval"] == "apr-20261121"
    assert entry["body"]["budgetLimit"] == 150000


async def test_a_budget_that_is_more_than_doubled_reaches_a_person_instead(
    world: LoyaltyWorld, slack: FakeSlack, server: Server
) -> None:
    async with pack(world, slack, server) as stage:
        await world.control("programs/p-slip", budget_limit=100000.0)
        fired = alert(alertname="LoyaltyBudgetIncreaseAgreed", program_id="p-slip")
        fired["annotations"] |= {"budget_limit": "1500000", "approval_request_id": "apr-20261122"}
        assert await stage.daemon.webhook(webhook(fired)) == 200
        await stage.daemon.wait_outcome("fixed")
        await stage.paged("more than twice")
    assert [one for one in await world.ledger() if one["path"] == "/api/programs/p-slip"] == []
