"""Rows of a real database on a real card: in columns where they fit, else whole in a file in its thread."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from tests.e2e.policies import gated, pausing, text
from tests.e2e.test_budget import Books, config
from tests.rig.daemon import alert, daemon, webhook
from tests.rig.postgres import Server, running_postgres
from tests.rig.slack import FakeSlack
from tests.rig.world import LoyaltyWorld

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.real,
    pytest.mark.needs("postgresql"),
    pytest.mark.no_cover,
]

POLICY = "lock-points"
SQL = (
    "UPDATE loyalty_balances SET locked = $2, is_frozen = true, updated_at = now() "
    "WHERE program_id = $1 AND NOT is_frozen"
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_postgres() as running:
        yield running


def locking() -> dict[str, Any]:
    """Freezes every balance of a program, if two people agree on every row."""
    one = pausing(POLICY)
    change = {
        "use": "postgres.execute",
        "via": "loyalty_db",
        "with": {"sql": SQL, "args": ["${program_id}", 12]},
        "rows": {"at_most": 50},
        "gate": gated(within="40s"),
        "verify": {"none": "this story is about what people are shown"},
        "undo": {"how": "restore", "after": "1h"},
    }
    names = {"program_id": one["params"]["program_id"]}
    return one | {
        "params": names,
        "target": "loyalty-program/${program_id}",
        "diagnose": {},
        "decide": [{"do": ["lock"]}],
        "steps": {"lock": change},
    }


@asynccontextmanager
async def books(
    world: LoyaltyWorld, slack: FakeSlack, server: Server, more: int = 0
) -> AsyncIterator[tuple[Books, str]]:
    """A program with two balances and ``more``; the stage, and the gate that asks to freeze them."""
    database = await server.copy()
    made = config(world, slack)
    with daemon(made, {POLICY: text(locking())}, LOYALTY_DSN=server.dsn(database)) as one:
        stage = Books(world, slack, one, server, database)
        await stage.sql(
            "INSERT INTO loyalty_balances (id, user_id, program_id, points_balance) "
            "SELECT 'b-1' || n, 'u-1' || n, 'p-17', 100 + n FROM generate_series(1, $1) AS n",
            more,
        )
        fired = alert(alertname=POLICY, program_id="p-17")
        assert await one.webhook(webhook(fired)) == 200
        yield stage, str((await one.wait_stage("waiting"))["gate"])


async def test_rows_that_fit_stand_on_the_card_before_and_after(
    world: LoyaltyWorld, slack: FakeSlack, server: Server
) -> None:
    async with books(world, slack, server) as (stage, gate):
        await stage.card_says(gate, "b-1", "0.00 → 12.00", "false → true", "updated_at = now()")
        assert await slack.files() == []
        for person in ("chen", "bob"):
            assert (await stage.click(gate, person)).status == 200
        await stage.daemon.wait_stage("holding")
        rows = await stage.sql("SELECT locked FROM loyalty_balances")
        assert [row["locked"] for row in rows] == [Decimal("12.00")] * 2


async def test_more_rows_stand_in_a_file_and_are_approved_once_it_is_there(
    world: LoyaltyWorld, slack: FakeSlack, server: Server
) -> None:
    async with books(world, slack, server, more=30) as (stage, gate):
        await stage.card_says(gate, "All 32 rows stand in the file in this thread", '"approve"')
        (file,) = await slack.files()
        card = await stage.card(gate)
        assert (file["thread_ts"], file["shared"]) == (card["ts"], True)
        lines = [line for line in file["content"].splitlines() if "0.00 → 12.00" in line]
        known = await stage.sql("SELECT id FROM loyalty_balances")
        assert sorted(line.split()[0] for line in lines) == sorted(row["id"] for row in known)
        for person in ("chen", "bob"):
            assert (await stage.click(gate, person)).status == 200
        await stage.daemon.wait_stage("holding")
        assert await stage.sql("SELECT FROM loyalty_balances WHERE NOT is_frozen") == []
        assert len(await slack.files()) == 1


async def test_without_the_file_nobody_approves_on_the_card_but_on_the_page(
    world: LoyaltyWorld, slack: FakeSlack, server: Server
) -> None:
    await slack.workspace(refusals={"files.getUploadURLExternal": "missing_scope"})
    async with books(world, slack, server, more=30) as (stage, gate):
        await stage.card_says(gate, "could not be attached (missing_scope), so nobody can approve here")
        assert '"approve"' not in json.dumps((await stage.card(gate))["blocks"])
        for person in ("chen", "bob"):
            assert (await stage.vote(gate, person))[0] == 200
        await stage.daemon.wait_stage("holding")
