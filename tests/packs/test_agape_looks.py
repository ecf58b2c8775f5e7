"""The pack agape-looks on a shop with real rows, a real standby, real metrics, and commands written down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from tests.packs.room import PackRoom, example, room, watched
from tests.rig.docker import FakeDocker
from tests.rig.docker import running as running_docker
from tests.rig.postgres import Server, standby_of
from tests.rig.processes import free_port
from tests.rig.slack import running_slack
from tests.worlds.agape_looks import CANARY, LOGIN, READER, Agape, agape
from tests.worlds.service import TOKEN, eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.real,
    pytest.mark.needs("postgresql", "prometheus", "alertmanager"),
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]

SYSTEM = "agape-looks"
TIMES = {"cooldown": "90s", "after": "90s", "within": "5s", "range": "3s"}
SOON_TOLD_AGAIN = {
    "bounds: {cooldown: 90s, at_once: 1, deadline: 1h}": "bounds: {cooldown: 1s, at_once: 1, deadline: 1h}"
}
"""The bounds of agape-database-failover, which only tells."""
ADA = "6f1c0d1e-6a52-4c53-9d0a-0e7a5b3f2c11"


@dataclass
class Place:
    """The shop, its standby, its Docker engine, and the daemon with its people."""

    shop: Agape
    standby: Server
    docker: FakeDocker
    room: PackRoom


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(server: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    async with agape(server, Path(tmp_path_factory.mktemp("agape"))) as shop:
        port = free_port()
        jobs = {"agape": shop.api.url, "paystack": shop.paystack.url, "agape-postgres": shop.exporter.url}
        with (
            standby_of(server) as standby,
            watched(SYSTEM, jobs, port, **TIMES) as prometheus,
            running_docker() as docker,
            running_slack() as slack,
        ):
            await docker.put("agape_app")
            declared = yaml.safe_load(example(SYSTEM).read_text())["connections"]["app_host"]["commands"]
            connections: dict[str, dict[str, Any]] = {
                "prometheus": {"url": prometheus.url},
                "agape_api": {"base_url": shop.api.url},
                "engine": {"host": f"unix://{docker.socket}"},
                "app_host": {"commands": shop.commands(declared)},
            }
            with room(
                SYSTEM,
                slack,
                connections,
                times=TIMES,
                replaced=SOON_TOLD_AGAIN,
                port=port,
                AGAPE_ADMIN_TOKEN=TOKEN,
                AGAPE_DSN=server.dsn(shop.database, LOGIN, shop.line.port),
                AGAPE_REPLICA_DSN=standby.dsn("postgres", READER),
            ) as one:
                yield Place(shop, standby, docker, one)


# ── From a metric on ────────────────────────────────────────────────────────────────────────────


async def test_paystack_is_away_so_the_shop_closes_until_a_probe_reaches_it(
    place: Place,
) -> None:
    shop = place.shop
    shop.paystack.gauge("probe_success", 0)
    shop.failing = 0.4
    run = await place.room.run("agape-payment-gateway", "service/agape-backend", stage="waiting")
    gate = f"{run['id']}.1"
    await place.room.card_says(gate, "MAINTENANCE_MODE=true", "/api/v1/admin/marketing/pause")
    await place.room.agreed(gate, "bob")
    assert (shop.maintenance, shop.marketing["paused"]) == (False, False)
    await place.room.agreed(gate, "amina")
    await place.room.run("agape-payment-gateway", "service/agape-backend", stage="holding")
    assert (shop.maintenance, shop.marketing["paused"]) == (True, True)

    shop.failing = 0.0  # nobody can buy, so nothing fails: the alert ends, and the shop stays closed
    await place.room.entry(run["id"], "resolved")
    assert (await place.room.run("agape-payment-gateway", "service/agape-backend"))["stage"] == "holding"
    assert (shop.maintenance, shop.marketing["paused"]) == (True, True)

    shop.paystack.gauge("probe_success", 1)
    await place.room.run("agape-payment-gateway", "service/agape-backend", outcome="fixed")
    assert (shop.maintenance, shop.marketing["paused"]) == (False, False)
    ours = [line for line in shop.ran if line.startswith("MAINTENANCE_MODE")]
    command = "/usr/bin/pm2 restart agape-backend --update-env"
    assert ours == [f"MAINTENANCE_MODE=true {command}", f"MAINTENANCE_MODE=false {command}"]
    marketing = [one.path.rpartition("/")[2] for one in shop.api.ledger if "/marketing/" in one.path]
    assert marketing == ["pause", "resume"]
    ended = [one["data"] for one in await place.room.daemon.journal(run["id"]) if one["kind"] == "early"]
    assert any(one["holds"] for one in ended)  # the probe's word, not the time box


async def test_what_was_sold_twice_is_told_and_corrected_by_two_people(place: Place) -> None:
    shop = place.shop
    await shop.sql("UPDATE product_variants SET stock = -3 WHERE id = 'v-2'")
    before = {row["id"]: row for row in await shop.sql("SELECT * FROM product_variants")}
    shop.api.gauge("agape_negative_stock_variants", 1)
    run = await place.room.run("agape-oversell", "inventory/agape", stage="waiting")
    told = await place.room.paged("Sold and not there")
    assert "AG-1001 (3 of WIG-18, paid)" in told["text"]
    assert "AG-0900" not in told["text"]  # delivered
    await place.room.card_says(f"{run['id']}.1", "v-2", "-3")
    shop.api.gauge("agape_negative_stock_variants", 1)
    await place.room.agreed(f"{run['id']}.1", "amina", "bob")
    await place.room.run("agape-oversell", "inventory/agape", outcome="fixed")
    shop.api.gauge("agape_negative_stock_variants", 0)
    after = {row["id"]: row for row in await shop.sql("SELECT * FROM product_variants")}
    assert after.pop("v-2")["stock"] == 0
    del before["v-2"]
    assert after == before
    marked = await place.room.entry(run["id"], "marked")
    assert "-3" in json.dumps(marked["data"])  # what it was


# ── From a webhook on ───────────────────────────────────────────────────────────────────────────


async def test_failed_webhooks_are_reprocessed_one_by_one_and_proved(place: Place) -> None:
    await place.shop.sql(  # the newest ones are a person's, and would fill any list of twenty newest ones
        "INSERT INTO webhook_events (id, event_type, status, retry_count, created_at)"
        " SELECT 'spent-' || n, 'charge.success', 'failed', 5, now() - interval '30 minutes'"
        " FROM generate_series(1, 25) n"
        " UNION ALL SELECT 'wh-0', 'charge.success', 'failed', 0, now() - interval '1 hour'"
    )
    await place.room.fire("AgapeWebhooksFailed")
    run = await place.room.run("agape-failed-webhooks", "webhooks/paystack", stage="waiting")
    await place.room.card_says(f"{run['id']}.1", "wh-1", "wh-2", "wh-0")
    await place.shop.sql(  # one more fails while the on-call reads: that voids nothing
        "INSERT INTO webhook_events (id, event_type, status, created_at)"
        " VALUES ('wh-5', 'charge.success', 'failed', now() + interval '1 hour')"  # whatever the clock says
    )
    await place.room.agreed(f"{run['id']}.1", "bob")
    await place.room.run("agape-failed-webhooks", "webhooks/paystack", outcome="fixed")
    rows = {
        row["id"]: row
        for row in await place.shop.sql("SELECT * FROM webhook_events WHERE id NOT LIKE 'spent-%'")
    }
    assert {name: (row["status"], row["retry_count"]) for name, row in rows.items()} == {
        "wh-0": ("processed", 1),
        "wh-1": ("processed", 1),
        "wh-2": ("processed", 2),
        "wh-3": ("failed", 5),
        "wh-4": ("processed", 0),
        "wh-5": ("failed", 0),
    }
    sent = [one.body["webhookId"] for one in place.shop.api.ledger if one.path.endswith("/reprocess")]
    assert sent == ["wh-1", "wh-2", "wh-0"]  # oldest first


async def test_an_accounts_sessions_are_revoked_and_its_password_stays_with_a_person(place: Place) -> None:
    shop = place.shop
    users = await shop.sql("SELECT * FROM users ORDER BY id")
    await place.room.fire("AgapeAccountCompromised", user_id=ADA)
    run = await place.room.run("agape-compromised-account", f"account/{ADA}", stage="waiting")
    told = await place.room.paged("may be in other hands")
    assert f"SET password_hash = 'REVOKED' WHERE id = '{ADA}'" in told["text"]
    assert "2 open sessions from 2 addresses" in told["text"]
    await place.room.agreed(f"{run['id']}.1", "chen")
    await place.room.run("agape-compromised-account", f"account/{ADA}", outcome="fixed")
    open_ones = await shop.sql("SELECT user_id::text AS id FROM sessions WHERE revoked_at IS NULL")
    assert [row["id"] for row in open_ones] == ["6f1c0d1e-6a52-4c53-9d0a-0e7a5b3f2c12"]
    assert await shop.sql("SELECT * FROM users ORDER BY id") == users
    kept = json.dumps(await place.room.daemon.journal(run["id"])) + json.dumps(
        await place.room.slack.messages("C0OPS")
    )
    assert CANARY not in kept


async def test_an_account_that_would_end_the_statement_is_refused(place: Place) -> None:
    hostile = f"{ADA}' OR ''='"
    await place.room.fire("AgapeAccountCompromised", user_id=hostile)
    said = await place.room.refused("agape-compromised-account", "AgapeAccountCompromised", user_id=hostile)
    assert "user_id" in said["reason"]


async def test_what_is_tried_rung_by_rung_asks_anew_at_each(place: Place) -> None:
    """Both at once, for both wait."""
    await asyncio.gather(_errors_end_with_more_instances(place), _the_queue_is_emptied(place))


async def _errors_end_with_more_instances(place: Place) -> None:
    shop = place.shop
    shop.errors = 0.2
    run = await place.room.run("agape-error-rate", "service/agape-backend", stage="waiting")
    await place.room.agreed(f"{run['id']}.1", "bob")
    await place.room.card_says(f"{run['id']}.2", "scale agape-backend 4")
    (restarted,) = await place.docker.restarts()
    assert restarted["path"].endswith("/restart")
    await place.room.agreed(f"{run['id']}.2", "bob")
    await eventually(lambda: "scale agape-backend 4" in shop.ran, "it was never scaled")
    shop.errors = 0.0
    await place.room.run("agape-error-rate", "service/agape-backend", stage="holding")


async def _the_queue_is_emptied(place: Place) -> None:
    shop = place.shop
    shop.queue |= {"waiting": 480, "failed": 60}
    await place.room.fire("AgapeEmailQueueBacklog", queue="email")
    run = await place.room.run("agape-queue-backlog", "queue/email", stage="waiting")
    await place.room.card_says(f"{run['id']}.1", "QUEUE_CONCURRENCY=10")
    await place.room.agreed(f"{run['id']}.1", "bob")
    await place.room.card_says(f"{run['id']}.2", "scripts/process-queue.js email")
    await place.room.agreed(f"{run['id']}.2", "bob")
    await eventually(
        lambda: "scripts/process-queue.js email" in shop.ran, "the stuck jobs were not processed"
    )
    shop.queue["waiting"] = 0
    await place.room.run("agape-queue-backlog", "queue/email", outcome="fixed")
    workers = [line for line in shop.ran if "queue-workers" in line]
    assert [line.split()[0] for line in workers] == ["QUEUE_CONCURRENCY=10", "QUEUE_CONCURRENCY=5"]

    await place.room.fire("AgapeEmailJobsDead", queue="email")
    cleared = await place.room.run("agape-dead-jobs", "queue/email", stage="waiting")
    await place.room.agreed(f"{cleared['id']}.1", "amina")
    assert "scripts/clear-failed-jobs.js" not in shop.ran
    await place.room.agreed(f"{cleared['id']}.1", "bob")
    await eventually(lambda: "scripts/clear-failed-jobs.js" in shop.ran, "they were not cleared")
    shop.queue["failed"] = 0
    await place.room.run("agape-dead-jobs", "queue/email", outcome="fixed")


async def test_the_database_is_gone_and_a_person_is_told_how_far_the_replica_is_and_of_a_second_primary(
    place: Place,
) -> None:
    shop = place.shop
    shop.line.cut()
    await place.room.fire("AgapeDatabaseDown", severity="critical")
    told = await place.room.paged("The replica does")
    await place.room.run("agape-database-failover", "database/agape", outcome="fixed")
    async with place.standby.connected() as connection:
        standby, received = await connection.fetchrow(
            "SELECT pg_is_in_recovery(), pg_last_wal_receive_lsn()::text"
        )
    assert standby  # nobody promoted it
    assert received.partition("/")[0] in told["text"]
    assert "pg_ctl promote -D /var/lib/postgresql/data" in told["text"]

    await place.room.fire("AgapeDatabaseDown", "resolved", severity="critical")
    async with place.standby.connected() as connection:
        assert await connection.fetchval("SELECT pg_promote()")
    shop.line.down = False  # the old one comes back: the shop is well, on one of two
    await place.room.fire("AgapeTwoPrimaries", severity="critical")
    await place.room.paged("Two databases take writes")
    await place.room.fire("AgapeReplicaDown")
    await place.room.paged("works without a replica: ours answers, and does not follow")
