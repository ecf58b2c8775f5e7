"""The pack linkist-nfc on real rows and sessions, real metrics, and scripts that are written down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
import yaml

from tests.packs.room import PackRoom, example, room, watched
from tests.rig.postgres import Server
from tests.rig.processes import free_port
from tests.rig.slack import running_slack
from tests.worlds.linkist_nfc import ADA, BISI, CANARY, DATABASE, LOGIN, Linkist, linkist
from tests.worlds.service import TOKEN, eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.real,
    pytest.mark.needs("postgresql", "prometheus", "alertmanager"),
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]

SYSTEM = "linkist-nfc"
TIMES = {"within": "60s", "after": "2s", "range": "3s"}
RESTARTED = "== 1.0\n      within: {}\n      every: 1s\n      for: 1s\n    undo: {{none: 'a restart"
MINUTES_ARE_SECONDS = {
    "date_bin('15 minutes'": "date_bin('1 second'",
    "interval '5 minutes'": "interval '1 second'",
    "interval '1 minute'": "interval '1 second'",
    "longer_than: 5m": "longer_than: 1s",
    "longer_than: 1m": "longer_than: 1s",
    "db.linkist.internal": "localhost",
    "/srv/linkist/files": "/dev/shm",
    RESTARTED.format("60s"): RESTARTED.format("5s"),  # which is to give way to the rollback
}


@dataclass
class Place:
    """The platform, and the daemon with its people."""

    linkist: Linkist
    room: PackRoom


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(server: Server) -> AsyncIterator[Place]:
    declared = yaml.safe_load(example(SYSTEM).read_text())["connections"]["app_host"]["commands"]
    async with linkist(server) as system:
        port = free_port()
        jobs = {"linkist": system.metrics.url, "linkist-health": system.health.url}
        ours = {"Authorization": "Bearer ${env:STRIPE_READ_KEY}"}
        with watched(SYSTEM, jobs, port, **TIMES) as prometheus, running_slack() as slack:
            connections: dict[str, dict[str, Any]] = {
                "prometheus": {"url": prometheus.url},
                "stripe_api": {"base_url": system.stripe.url},
                "stripe_status": {"base_url": system.stripe.url, "headers": ours},
                "status_page": {"base_url": system.page.url, "headers": ours},
                "resolver": {"names": ["localhost"]},
                "app_disk": {"mounts": ["/dev/shm"]},
                "app_host": {"commands": system.scripts.declared(declared)},
            }
            with room(
                SYSTEM,
                slack,
                connections,
                times=TIMES,
                replaced=MINUTES_ARE_SECONDS,
                port=port,
                LINKIST_DSN=server.dsn(DATABASE, LOGIN),
                STRIPE_READ_KEY=TOKEN,
            ) as one:
                yield Place(system, one)


async def test_a_bad_release_of_payments_is_shown_to_customers_restarted_and_rolled_back(
    place: Place,
) -> None:
    system = place.linkist
    system.broken.add("payment-service")
    system.down.add("payment-service")
    run = await place.room.run("linkist-service-down", "service/payment-service", stage="waiting")
    shown = await place.room.run("linkist-status-page", "status-page/payment-service", stage="waiting")
    await place.room.card_says(f"{run['id']}.1", "service:restart:healthy", "--name=payment-service")
    await place.room.card_says(f"{shown['id']}.1", "/components/payment-service", "major_outage")
    assert (system.scripts.ran, system.page.ledger) == ([], [])
    await place.room.agreed(f"{shown['id']}.1", "bob")
    await place.room.run("linkist-status-page", "status-page/payment-service", stage="holding")
    assert system.components["payment-service"] == "major_outage"

    await place.room.agreed(f"{run['id']}.1", "bob")
    await place.room.card_says(f"{run['id']}.2", "linkist-rollback@rollback-plan-122")
    await place.room.agreed(f"{run['id']}.2", "bob")
    assert system.scripts.ran == ["service:restart:healthy -- --name=payment-service"]
    await place.room.agreed(f"{run['id']}.2", "chen")
    await place.room.run("linkist-service-down", "service/payment-service", outcome="fixed")
    assert system.scripts.ran[1] == "start --no-block linkist-rollback@rollback-plan-122"

    await place.room.run("linkist-status-page", "status-page/payment-service", outcome="fixed")
    assert set(system.components.values()) == {"operational"}
    words = [one.body["component"]["status"] for one in system.page.ledger]
    assert words == ["major_outage", "operational"]
    assert len(system.scripts.ran) == 2
    assert not system.down


async def test_orders_that_stripe_calls_paid_are_booked_when_two_agree_and_no_other(place: Place) -> None:
    system = place.linkist
    before = len(system.scripts.ran)
    await system.sql(
        "INSERT INTO webhook_events (id, type, payment_intent, status) SELECT 'evt_' || n,"
        " 'payment_intent.succeeded', 'pi_' || n, 'processed' FROM unnest(array[21, 22, 25]) n"
    )
    await system.sql(
        "INSERT INTO webhook_events (id, type, payment_intent, status) VALUES"
        " ('evt_24', 'payment_intent.succeeded', 'pi_24', 'processed'),"
        " ('evt_24r', 'charge.refunded', 'pi_24', 'processed'),"
        " ('evt_0', 'charge.refunded', NULL, 'processed')"
    )
    await system.sql(
        "INSERT INTO orders (id, status, total, payment_intent, created_at) SELECT 'ord-' || n, 'pending',"
        " 49.90, 'pi_' || n, now() - make_interval(mins => 60 - n) FROM generate_series(21, 25) n"
    )
    await system.sql(  # paid twice once, and looked into: it keeps nothing from being booked
        "INSERT INTO orders (id, status, total, payment_intent, created_at) SELECT 'ord-old-' || n,"
        " 'refunded', 49.90, 'pi_old', now() - interval '2 years' FROM generate_series(1, 2) n"
    )
    system.given_back["ord-22"] = "pi_25"
    run = await place.room.run("linkist-stuck-orders", "payments/stripe", stage="waiting")
    await place.room.card_says(f"{run['id']}.1", "--order=ord-21", "--order=ord-22", "--order=ord-25")
    card = str((await place.room.card(f"{run['id']}.1"))["blocks"])
    assert "ord-23" not in card  # of which Stripe says nothing
    assert "ord-24" not in card  # which was given back
    await place.room.agreed(f"{run['id']}.1", "bob")
    assert system.scripts.ran[before:] == []
    await place.room.agreed(f"{run['id']}.1", "amina")
    await place.room.run("linkist-stuck-orders", "payments/stripe", id=run["id"], outcome="failed")
    await place.room.paged(
        "process[3]: the reading before process[3] failed"
    )  # given back since people agreed
    assert system.scripts.ran[before:] == [f"orders:process:payments -- --order=ord-{n}" for n in (21, 22)]
    await system.sql("DELETE FROM orders WHERE payment_intent = 'pi_old'")
    rows = await system.sql("SELECT id, status, email FROM orders ORDER BY id")
    assert [(row["id"], row["status"]) for row in rows] == [
        ("ord-1", "paid"), ("ord-21", "paid"), ("ord-22", "paid"), ("ord-23", "pending"),
        ("ord-24", "pending"), ("ord-25", "pending"),
    ]  # fmt: skip
    await place.room.paged("3 orders have been pending for over 15 minutes")
    assert CANARY not in str(await place.room.daemon.get(f"/api/v1/runs/{run['id']}"))
    await system.sql("DELETE FROM orders WHERE status = 'pending'")


async def test_failed_webhooks_are_sent_again_one_by_one_but_not_a_sixth_time(place: Place) -> None:
    system = place.linkist
    before = len(system.scripts.ran)
    await system.sql(
        "INSERT INTO webhook_events (id, type, status, attempts) VALUES ('evt_A', 'refund', 'failed', 1),"
        " ('evt_B', 'refund', 'failed', 0), ('evt_C', 'refund', 'failed', 5)"
    )
    await place.room.fire("LinkistWebhooksFailed")
    run = await place.room.run("linkist-failed-webhooks", "payments/stripe", stage="waiting")
    await place.room.card_says(f"{run['id']}.1", "--event=evt_A", "--event=evt_B")
    await place.room.agreed(f"{run['id']}.1", "bob")
    await place.room.run("linkist-failed-webhooks", "payments/stripe", id=run["id"], outcome="fixed")
    assert sorted(system.scripts.ran[before:]) == [
        f"stripe:webhooks:retry -- --event=evt_{one}" for one in "AB"
    ]
    await place.room.paged("1 webhooks of Stripe have failed five times or more")
    left = await system.sql("SELECT id, attempts FROM webhook_events WHERE status = 'failed'")
    assert left == [{"id": "evt_C", "attempts": 5}]
    await system.sql("DELETE FROM webhook_events WHERE status = 'failed'")


async def test_a_session_that_leaked_is_ended_and_one_that_works_is_not(place: Place) -> None:
    system = place.linkist
    before = len(system.scripts.ran)
    async with system.session("BEGIN") as leaked, system.session("SELECT pg_sleep(600)") as works:
        await leaked
        await place.room.fire("LinkistDatabaseTimeouts")
        run = await place.room.run("linkist-database-timeouts", "service/app", stage="waiting")
        await place.room.card_says(f"{run['id']}.1", "linkist_app", "idle in transaction")
        await place.room.agreed(f"{run['id']}.1", "bob")
        await place.room.run("linkist-database-timeouts", "service/app", outcome="fixed")
        assert not works.done()
        states = await system.sql("SELECT state FROM pg_stat_activity WHERE usename = 'linkist_app'")
        assert states == [{"state": "active"}]
    assert system.scripts.ran[before:] == []


async def test_old_statistics_are_made_anew_unasked_and_then_a_long_query_is_ended(place: Place) -> None:
    system = place.linkist
    analyzed = "SELECT last_analyze IS NOT NULL AS done FROM pg_stat_user_tables WHERE relname = 'orders'"
    system.slow = f"NOT ({analyzed})"
    await place.room.fire("LinkistQueriesSlow")
    await place.room.run("linkist-slow-queries", "database/linkist", outcome="fixed")
    assert await system.sql(analyzed) == [{"done": True}]

    there = "SELECT FROM pg_stat_activity WHERE usename = 'linkist_app' AND state = 'active'"
    system.slow = f"EXISTS ({there})"
    async with system.session("SELECT pg_sleep(600)") as query:
        run = await place.room.run("linkist-slow-queries", "database/linkist", stage="waiting")
        await place.room.card_says(f"{run['id']}.1", "linkist_app", "SELECT", "active")
        await place.room.agreed(f"{run['id']}.1", "bob")
        await place.room.run("linkist-slow-queries", "database/linkist", id=run["id"], outcome="fixed")
        assert await system.sql(there) == []
        assert isinstance((await asyncio.gather(query, return_exceptions=True))[0], Exception)
    system.slow = "false"


async def test_what_handles_files_is_restarted_where_disk_and_tools_are_well(place: Place) -> None:
    system = place.linkist
    before = len(system.scripts.ran)
    system.failing |= {"uploads": 0.4, "files": 0.4}
    commands = {"upload": "uploads:restart", "processing": "processing:restart"}
    policies = {"upload": "linkist-uploads", "processing": "linkist-processing"}
    await place.room.fire("LinkistUploadsFailing")
    await place.room.fire("LinkistProcessingFailing")
    for service, command in commands.items():
        run = await place.room.run(policies[service], f"service/{service}-service", stage="waiting")
        await place.room.card_says(f"{run['id']}.1", command)
        await place.room.agreed(f"{run['id']}.1", "bob")
    for service, policy in policies.items():
        await place.room.run(policy, f"service/{service}-service", outcome="fixed")
    assert sorted(system.scripts.ran[before:]) == sorted(commands.values())


async def test_newsletters_stop_before_ses_stops_us_and_go_on_after_their_time(place: Place) -> None:
    system = place.linkist
    before = len(system.scripts.ran)
    system.bounces = 0.084
    await place.room.fire("LinkistEmailReputation")
    run = await place.room.run("linkist-email-bounces", "email/ses", stage="waiting")
    await place.room.paged("Bounces are 8.4 %")
    await place.room.agreed(f"{run['id']}.1", "amina")
    await eventually(lambda: not system.newsletters, "they were never stopped")
    system.bounces = 0.01
    await place.room.run("linkist-email-bounces", "email/ses", outcome="fixed")
    assert system.newsletters
    words = "sesv2 put-configuration-set-sending-options --configuration-set-name newsletters"
    assert system.scripts.ran[before:] == [f"{words} --no-sending-enabled", f"{words} --sending-enabled"]


async def test_declines_and_backups_are_told_with_what_is_known(place: Place) -> None:
    system = place.linkist
    before = len(system.scripts.ran)
    system.failing["payments"] = 0.3
    system.backup = time.time() - 30 * 3600
    await place.room.paged("do_not_honor 12")
    told = await place.room.paged("hours old and holds")
    assert "backup-123" in told["text"]
    await place.room.run("linkist-payment-declines", "payments/stripe", outcome="fixed")
    await place.room.run("linkist-backup-overdue", "backup/linkist", outcome="fixed")
    system.failing["payments"] = 0.0
    system.backup = time.time()
    assert system.scripts.ran[before:] == []


async def test_the_sessions_of_an_account_are_revoked_and_nobody_elses(place: Place) -> None:
    await place.room.fire("LinkistLoginsSuspicious", user_id=ADA)
    run = await place.room.run("linkist-unauthorized-access", f"account/{ADA}", stage="waiting")
    assert (await place.room.card(f"{run['id']}.1"))["blocks"]
    await place.room.agreed(f"{run['id']}.1", "chen")
    await place.room.run("linkist-unauthorized-access", f"account/{ADA}", outcome="fixed")
    rows = await place.linkist.sql(
        "SELECT user_id::text, revoked_at IS NULL AS open FROM sessions ORDER BY id"
    )
    assert [(row["user_id"], row["open"]) for row in rows] == [(ADA, False), (ADA, False), (BISI, True)]


async def test_hostile_labels_are_refused_with_the_reason(place: Place) -> None:
    before = place.linkist.scripts.ran
    service, account = "app --name=all; reboot", f"{ADA}' OR ''='"
    await place.room.fire("LinkistServiceDown", service=service)
    said = await place.room.refused("linkist-service-down", "LinkistServiceDown", service=service)
    assert "service" in said["reason"]
    await place.room.fire("LinkistLoginsSuspicious", user_id=account)
    said = await place.room.refused("linkist-unauthorized-access", "LinkistLoginsSuspicious", user_id=account)
    assert "user_id" in said["reason"]
    assert place.linkist.scripts.ran == before


async def test_the_escalations_are_the_runbooks_response_and_escalation_times() -> None:
    chains = yaml.safe_load(example(SYSTEM).read_text())["escalations"]
    told = {
        name: [(rung["role"], rung["after"]) for rung in chains[name]] for name in ("p0", "p1", "p2", "p3")
    }
    assert told == {
        "p0": [("oncall", "0m"), ("secondary", "5m"), ("manager", "15m")],
        "p1": [("oncall", "0m"), ("secondary", "15m"), ("manager", "1h")],
        "p2": [("oncall", "0m"), ("secondary", "1h"), ("manager", "4h")],
        "p3": [("oncall", "0m"), ("secondary", "4h"), ("manager", "24h")],
    }
