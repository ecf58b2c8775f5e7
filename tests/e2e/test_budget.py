"""A program's budget runs out, with everything real: PostgreSQL, Prometheus, Alertmanager, the daemon.

The shipped policy, its hours shortened to seconds. What is asked of it: one row is halved, once, when
two people agree; the rate comes back; nothing else in the database moves.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.policies import PACK
from tests.e2e.stage import Stage
from tests.rig.alertmanager import running_alertmanager
from tests.rig.daemon import HOOK_TOKEN, Daemon, alert, daemon, settings, webhook
from tests.rig.meter import running_meter
from tests.rig.patience import PATIENCE_S
from tests.rig.postgres import Server, running_postgres
from tests.rig.processes import free_port
from tests.rig.prometheus import Prometheus, running_prometheus
from tests.rig.slack import FakeSlack
from tests.rig.world import LoyaltyWorld

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.real,
    pytest.mark.needs("postgresql", "prometheus", "alertmanager"),
]

POLICY = "molam-budget-exhaustion"
ROLES = {
    "oncall": ["bob"],
    "finance_ops": ["amina", "chen"],
    "ops_marketing": ["bob", "chen"],
    "lead": ["chen"],
}
TABLES = ["loyalty_programs", "loyalty_balances", "loyalty_transactions"]
SHORTER = {
    "recheck: 5m": "recheck: 1s",
    "cooldown: 30m": "cooldown: 3s",
    "within: 10m": "within: 60s",
    "every: 30s": "every: 1s",
    "for: 1m": "for: 2s",
    "[5m]": "[8s]",
    "after: 24h": "after: 15s",
}


def shipped(**replaced: str) -> str:
    """The policy as it is shipped, with other times."""
    text = (PACK / "budget-exhaustion.yaml").read_text()
    for old, new in {**SHORTER, **replaced}.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def steady(rules: str) -> str:
    """The same rules; a scrape that a busy machine misses does not resolve the alert."""
    fires = ">= 0.9\n"
    assert rules.count(fires) == 1
    return rules.replace(fires, f"{fires}        keep_firing_for: 2m\n")


def unproved(after: str = "30s", early: str = "unverified") -> str:
    """The same; nothing waits for Prometheus."""
    text = shipped().replace("after: 15s", f"after: {after}").replace("early: unverified", f"early: {early}")
    begin, end = text.index("    verify:\n"), text.index("    undo:\n")
    return text[:begin] + "    verify: {none: this story is about the rows}\n" + text[end:]


def config(world: LoyaltyWorld, slack: FakeSlack, prometheus: str = "http://127.0.0.1:9") -> dict[str, Any]:
    """With the database, and two roles that share one person."""
    made = settings(world=world.url, prometheus=prometheus, slack=slack, roles=ROLES)
    made["connections"]["loyalty_db"] = {"kind": "postgres", "dsn": "${env:LOYALTY_DSN}", "tables": TABLES}
    return made


@dataclass
class Books(Stage):
    """The stage, and the database beside it."""

    server: Server
    database: str

    async def sql(self, statement: str, *args: Any) -> list[Any]:
        """What an application or a DBA does."""
        async with self.server.connected(self.database) as connection:
            return list(await connection.fetch(statement, *args))

    async def programs(self) -> dict[str, dict[str, Any]]:
        return {row["id"]: dict(row) for row in await self.sql("SELECT * FROM loyalty_programs")}

    async def rate(self) -> Decimal:
        ((rate,),) = await self.sql("SELECT earn_rate FROM loyalty_programs WHERE id = 'p-17'")
        return Decimal(rate)

    async def spent(self, percent: float) -> None:
        """So much of the budget of p-17 is spent."""
        await _spent(self.server, self.database, percent)

    async def budget_fires(self, status: str = "firing") -> None:
        """The alert, posted by hand."""
        labels = {"alertname": "LoyaltyProgramBudgetHigh", "program_id": "p-17"}
        assert await self.daemon.webhook(webhook(alert(status, **labels))) == 200

    async def at(self, stage: str, *, within: float = PATIENCE_S) -> dict[str, Any]:
        """The run, once it is at this stage."""
        return await self.daemon.wait_stage(stage, within=within, policy=POLICY)

    async def ended(self, outcome: str, *, within: float = PATIENCE_S) -> dict[str, Any]:
        return await self.daemon.wait_outcome(outcome, within=within, policy=POLICY)

    async def agreed(self, gate: str, *people: str) -> None:
        """These people approve, and it counts."""
        for person in people:
            status, told = await self.vote(gate, person)
            assert status == 200, told


async def _spent(server: Server, database: str, percent: float) -> None:
    """So much of the budget of p-17 is spent."""
    sql = "UPDATE loyalty_programs SET budget_spent = budget_limit * $1 / 100 WHERE id = 'p-17'"
    async with server.connected(database) as connection:
        await connection.execute(sql, percent)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_postgres() as running:
        yield running


@asynccontextmanager
async def books(
    world: LoyaltyWorld, slack: FakeSlack, server: Server, policy: str, dsn: str = ""
) -> AsyncIterator[Books]:
    """A fresh database and a daemon; alerts come by hand. ``dsn``: another way to ``{database}``."""
    database = await server.copy()
    way = dsn.format(database=database) if dsn else server.dsn(database)
    with daemon(config(world, slack), {"budget-exhaustion": policy}, LOYALTY_DSN=way) as one:
        yield Books(world, slack, one, server, database)


# ── The main job ────────────────────────────────────────────────────────────────────────────────


async def test_a_budget_runs_out_and_one_row_is_halved_for_a_day(
    world: LoyaltyWorld, slack: FakeSlack, server: Server, tmp_path: Path
) -> None:
    database, port = await server.copy(), free_port()
    await _spent(server, database, 92)  # before anybody looks
    rules = tmp_path / "alerts.yaml"
    rules.write_text(steady((PACK / "alerts.yaml").read_text()))
    hook = f"http://127.0.0.1:{port}/hooks/alertmanager"
    async with running_meter(server.dsn(database)) as meter:
        with (
            running_alertmanager(hook, HOOK_TOKEN, group_by=("alertname", "program_id")) as alertmanager,
            running_prometheus(
                {"loyalty": meter}, alertmanager=alertmanager.url, rule_files=[rules]
            ) as prometheus,
            daemon(
                config(world, slack, prometheus.url),
                {"budget-exhaustion": shipped()},
                LOYALTY_DSN=server.dsn(database),
            ) as one,
        ):
            await asyncio.to_thread(_listens_at, one, port)  # the meter is scraped meanwhile
            await _plays(Books(world, slack, one, server, database), prometheus)


def _listens_at(one: Daemon, port: int) -> None:
    assert one.child is not None
    one.child.end()
    one.start(port)


async def _plays(stage: Books, prometheus: Prometheus) -> None:
    warned = await stage.ended("fixed")
    assert "started" in await stage.daemon.kinds(warned["id"])
    (told,) = (await stage.slack.messages("C0LOYALTY"))[:1]
    assert "Teranga has 8 % of its budget left" in told["text"]
    assert await stage.rate() == Decimal("0.0700")

    await stage.spent(96.8)  # the same alert goes on firing
    before = await stage.programs()
    run = await stage.at("waiting")
    gate = f"{run['id']}.1"
    await stage.card_says(gate, "earn_rate", "0.0700", "0.0350", "p-17")
    await stage.agreed(gate, "amina")
    assert (await stage.at("waiting"))["id"] == run["id"]
    # What the proof compares with: all of its window has been scraped.
    spending = 'rate(loyalty_budget_spent_total{program_id="p-17"}[8s])'
    await prometheus.wait_for(spending, lambda found: bool(found) and found[0].value > 60)
    await stage.agreed(gate, "bob")

    held = await stage.at("holding")
    after = await stage.programs()
    assert held["id"] == run["id"]
    assert after["p-17"]["earn_rate"] == Decimal("0.0350")
    assert after["p-17"]["updated_at"] > before["p-17"]["updated_at"]
    kinds = await stage.daemon.kinds(run["id"])
    assert kinds.count("marked") == 1
    assert "verified" in kinds  # by PromQL

    await stage.daemon.wait_run(
        lambda one: one["id"] == run["id"] and one["outcome"] == "fixed", policy=POLICY
    )
    back = await stage.programs()
    assert back["p-17"].pop("updated_at") == after["p-17"]["updated_at"]
    del before["p-17"]["updated_at"]
    assert back == before
    assert (await stage.sql("SELECT count(*) FROM loyalty_programs"))[0][0] == 2


# ── People ──────────────────────────────────────────────────────────────────────────────────────


async def test_one_person_with_both_roles_is_one_person(
    world: LoyaltyWorld, slack: FakeSlack, server: Server
) -> None:
    async with books(world, slack, server, unproved()) as stage:
        await stage.budget_fires()
        run = await stage.at("waiting")
        gate = f"{run['id']}.1"
        await stage.agreed(gate, "chen")
        status, told = await stage.vote(gate, "chen")
        assert (status, "voted already" in told["text"]) == (409, True)
        assert (await stage.at("waiting"))["id"] == run["id"]
        assert await stage.rate() == Decimal("0.0700")
        await stage.agreed(gate, "amina")
        await stage.at("holding")
        assert await stage.rate() == Decimal("0.0350")


async def test_a_vote_after_the_row_has_changed_asks_again_with_the_new_picture(
    world: LoyaltyWorld, slack: FakeSlack, server: Server
) -> None:
    async with books(world, slack, server, unproved()) as stage:
        await stage.budget_fires()
        run = await stage.at("waiting")
        await stage.agreed(f"{run['id']}.1", "amina")
        await stage.sql("UPDATE loyalty_programs SET earn_rate = 0.06 WHERE id = 'p-17'")
        await stage.agreed(f"{run['id']}.1", "bob")
        await stage.card_says(f"{run['id']}.2", "0.0600", "0.0300")
        await stage.card_says(f"{run['id']}.1", "No longer valid")
        assert await stage.rate() == Decimal("0.0600")
        status, _told = await stage.vote(f"{run['id']}.1", "bob")
        assert status == 409
        await stage.agreed(f"{run['id']}.2", "amina", "bob")
        await stage.at("holding")
        assert await stage.rate() == Decimal("0.0300")


async def test_what_a_dba_changed_during_the_hold_is_left_alone_and_paged(
    world: LoyaltyWorld, slack: FakeSlack, server: Server
) -> None:
    async with books(world, slack, server, unproved("30m", early="resolved")) as stage:
        await stage.budget_fires()
        run = await stage.at("waiting")
        await stage.agreed(f"{run['id']}.1", "amina", "bob")
        await stage.at("holding")
        await stage.sql("UPDATE loyalty_programs SET earn_rate = 0.05 WHERE id = 'p-17'")
        await stage.budget_fires("resolved")
        ended = await stage.ended("failed")
        assert ended["id"] == run["id"]
        assert await stage.rate() == Decimal("0.0500")
        await stage.paged("is not whole")
        undone = await stage.entry(run["id"], "undone")
        assert "0.05" in json.dumps(undone["data"])
        assert "left alone" in undone["data"]["left"]
