"""The pack iamenu on a real Redis, real rows and indexes, and the scripts of its runbook.

What has a target of its own happens `beside` the tests of Redis, as troubles do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml

from tests.packs.beside import Beside
from tests.packs.room import PackRoom, example, room, watched
from tests.rig.postgres import Server
from tests.rig.processes import free_port
from tests.rig.slack import running_slack
from tests.worlds.iamenu import DATABASE, LOGIN, PASSWORD, Iamenu, iamenu
from tests.worlds.service import TOKEN, eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.real,
    pytest.mark.needs("postgresql", "prometheus", "alertmanager", "redis"),
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]

SYSTEM = "iamenu"
MiB = 1024 * 1024


@dataclass
class Place:
    """The system, and the daemon with its people."""

    iamenu: Iamenu
    room: PackRoom
    alertmanager: str

    async def silences(self) -> list[dict[str, Any]]:
        """Those of Alertmanager, expired ones included."""
        url = f"{self.alertmanager}/api/v2/silences"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            silences: list[dict[str, Any]] = await answer.json()
            return silences


beside: Beside[Place] = Beside()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(server: Server, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    declared = yaml.safe_load(example(SYSTEM).read_text())["connections"]["app"]["commands"]
    async with iamenu(server) as system:
        port = free_port()
        with watched(SYSTEM, {"iamenu": system.api.url}, port) as prometheus, running_slack() as slack:
            assert prometheus.alertmanager is not None
            connections: dict[str, dict[str, Any]] = {
                "prometheus": {"url": prometheus.url},
                "business_api": {"base_url": system.api.url},
                "cache": {"url": f"redis://127.0.0.1:{system.redis.port}/0"},
                "engine": {"host": f"unix://{system.engine.socket}"},
                "alertmanager": {"url": prometheus.alertmanager},
                "alertmanager_api": {"base_url": prometheus.alertmanager},
                "app": {"commands": system.scripts.declared(declared)},
            }
            with room(
                SYSTEM,
                slack,
                connections,
                times={"after": "60s"},
                replaced={"interval '1 minute'": "interval '1 second'"},
                port=port,
                IAMENU_TOKEN=TOKEN,
                IAMENU_DSN=server.dsn(DATABASE, LOGIN),
                REDIS_PASSWORD=PASSWORD,
            ) as one:
                there = Place(system, one, prometheus.alertmanager)
                async with beside.begun(there, request):
                    yield there


async def test_a_cache_that_answers_nothing_is_flushed_and_fills_again(place: Place) -> None:
    async with place.iamenu.cached(1) as elsewhere, place.iamenu.cached() as cache:
        await elsewhere.set("bull:notifications:meta", "kept")
        await place.iamenu.poison()
        run = await place.room.run("iamenu-cache-hit-rate", "service/redis", stage="waiting")
        await place.room.card_says(f"{run['id']}.1", "FLUSHDB ASYNC", "database 0", "destructive")
        assert await cache.exists("cache:poison")
        await place.room.agreed(f"{run['id']}.1", "bob")
        await place.room.run("iamenu-cache-hit-rate", "service/redis", id=run["id"], outcome="fixed")
        assert not await cache.exists("cache:poison")
        assert await cache.get("cache:product:1") == "pasta"
        assert await elsewhere.get("bull:notifications:meta") == "kept"
    assert "iamenu-redis" not in await place.iamenu.restarted()


async def test_a_full_cache_gets_more_memory(place: Place) -> None:
    async with place.iamenu.cached() as cache:
        for number in range(58):
            await cache.setrange(f"cache:filler:{number}", MiB - 128, "x")
        await cache.config_set("maxmemory", 64 * MiB)
        await place.iamenu.poison(keep=True)
        run = await place.room.run("iamenu-cache-hit-rate", "service/redis", stage="waiting")
        await place.room.card_says(f"{run['id']}.1", "CONFIG SET maxmemory 1073741824", "disruptive")
        await place.room.agreed(f"{run['id']}.1", "bob")
        await place.room.entry(run["id"], "finished")
        await cache.delete("cache:poison")  # what was dropped is kept now
        await place.room.run("iamenu-cache-hit-rate", "service/redis", id=run["id"], outcome="fixed")
        assert await cache.config_get("maxmemory") == {"maxmemory": str(1024 * MiB)}
        assert await cache.exists(*(f"cache:filler:{number}" for number in range(58))) == 58
        await cache.flushdb()
        await cache.config_set("maxmemory", 0)


async def test_the_queue_in_the_same_database_is_never_flushed(place: Place) -> None:
    async with place.iamenu.cached() as cache:
        await place.iamenu.poison()
        await cache.set("bull:notifications:meta", "kept")
        await place.room.paged("the queue of notifications is in the same database")
        assert await cache.exists("cache:poison")
        assert await cache.get("bull:notifications:meta") == "kept"
        await cache.flushdb()


@beside
async def test_payments_are_off_while_stripe_is_and_what_was_missed_is_reconciled(place: Place) -> None:
    before = await _books(place.iamenu)
    place.iamenu.doubted = True
    told = await place.room.paged("Whether Stripe answers is in doubt")
    assert "our own test says yes" in told["text"]
    place.iamenu.stripe = place.iamenu.doubted = False
    run = await place.room.run("iamenu-payments-down", "payments/marketplace", stage="waiting")
    gate = f"{run['id']}.1"
    await place.room.card_says(gate, "payments_enabled", "PAYMENTS_ENABLED")
    await place.room.agreed(gate, "bob")
    assert await _books(place.iamenu) == before
    await place.room.agreed(gate, "chen")
    await place.room.run("iamenu-payments-down", "payments/marketplace", stage="holding")
    off = await _books(place.iamenu)
    assert off["configuration"].pop("PAYMENTS_ENABLED") == {
        **before["configuration"]["PAYMENTS_ENABLED"],
        "payments_enabled": False,
    }
    await place.iamenu.sql("""
        INSERT INTO marketplace."Order" SELECT n, 'pi_' || n, 'pending', now() - interval '20 minutes'
        FROM generate_series(101, 103) n UNION ALL SELECT 104, 'pi_103', 'paid', now()
        UNION ALL SELECT n, 'pi_of_old', 'paid', now() - interval '2 years' FROM generate_series(105, 106) n
    """)
    place.iamenu.stripe = True
    await place.room.run("iamenu-payments-down", "payments/marketplace", id=run["id"], outcome="fixed")
    assert (await _books(place.iamenu))["configuration"] == before["configuration"]

    told = await place.room.paged("1 payments belong to several orders each")
    assert "pi_103" in told["text"]
    place.iamenu.signed = False
    place.iamenu.tell()
    await place.iamenu.sql("""DELETE FROM marketplace."Order" WHERE id = 104""")
    await place.room.paged("Stripe's webhooks have signatures that are not valid, and 3 orders wait")
    place.iamenu.signed = True
    run = await place.room.run("iamenu-payments-reconcile", "payments/marketplace", stage="waiting")
    await place.room.card_says(f"{run['id']}.1", "scripts:reconcile-stripe-payments -- --full")
    await place.room.agreed(f"{run['id']}.1", "chen", "bob")
    await place.room.run("iamenu-payments-reconcile", "payments/marketplace", id=run["id"], outcome="fixed")
    after = await _books(place.iamenu)
    assert [after["Order"].pop(number)["status"] for number in (101, 102, 103, 105, 106)] == ["paid"] * 5
    assert after == before
    assert _of(place.iamenu.scripts.ran, "stripe") == ["scripts:reconcile-stripe-payments -- --full"]


async def test_redis_that_is_down_is_restarted(place: Place) -> None:
    old = place.iamenu.redis.pid
    place.iamenu.redis.kill()
    run = await place.room.run("iamenu-redis-down", "service/redis", stage="waiting")
    await place.room.card_says(f"{run['id']}.1", "iamenu-redis:1", "running")
    assert "iamenu-redis" not in await place.iamenu.restarted()
    await place.room.agreed(f"{run['id']}.1", "bob")
    await place.room.run("iamenu-redis-down", "service/redis", id=run["id"], outcome="fixed")
    assert place.iamenu.redis.pid != old
    async with place.iamenu.cached() as cache:
        assert await cache.ping()
    assert (await place.iamenu.restarted()).count("iamenu-redis") == 1


@beside
async def test_a_stuck_worker_is_restarted_unasked_and_what_failed_is_sent_again(place: Place) -> None:
    place.iamenu.mail = False
    place.iamenu.queue |= {"waiting": 340, "failed": 112}
    place.iamenu.tell()
    await place.room.fire("IamenuNotificationsNotSent", instance="worker:1")
    await place.room.paged("The email service does not answer: 340 notifications wait, 112 have failed")
    assert "iamenu-notification-worker" not in await place.iamenu.restarted()
    place.iamenu.mail = True
    run = await place.room.run("iamenu-notifications", "service/notifications", stage="waiting")
    await place.room.card_says(f"{run['id']}.1", "retry-failed-notifications -- --limit 100")
    assert (await place.iamenu.restarted()).count("iamenu-notification-worker") == 1
    assert _of(place.iamenu.scripts.ran, "notifications") == []
    await place.room.agreed(f"{run['id']}.1", "bob")
    await place.room.run("iamenu-notifications", "service/notifications", id=run["id"], outcome="fixed")
    assert _of(place.iamenu.scripts.ran, "notifications") == [
        "scripts:retry-failed-notifications -- --limit 100"
    ]
    await place.room.fire("IamenuNotificationsNotSent", "resolved", instance="worker:1")
    await eventually(lambda: place.iamenu.queue["failed"] == 12, "a hundred were not sent again")
    assert place.iamenu.queue == {"waiting": 0, "active": 0, "completed": 5440, "failed": 12}


@beside
async def test_slow_search_gets_new_statistics_a_new_index_and_then_all_entries_anew(place: Place) -> None:
    """But not while somebody holds locks."""
    before = (await _books(place.iamenu))["Product"]
    (index,) = await place.iamenu.sql(_INDEX)
    async with place.iamenu.server.connected(DATABASE) as migration:
        await migration.execute("BEGIN")
        await asyncio.sleep(1.5)
        place.iamenu.cure = (
            "SELECT last_analyze IS NOT NULL FROM pg_stat_user_tables WHERE relname = 'Product'"
        )
        await place.room.paged("somebody holds locks")
        assert await place.iamenu.sql(place.iamenu.cure) == [{"?column?": False}]
    await place.room.run("iamenu-search-slow", "service/search", reason="analyze proved")
    assert await place.iamenu.sql(_INDEX) == [index]

    place.iamenu.cure = f"SELECT relfilenode <> {index['relfilenode']} FROM ({_INDEX}) one"
    run = await place.room.run("iamenu-search-slow", "service/search", stage="waiting")
    await place.room.agreed(f"{run['id']}.1", "bob")
    await place.room.entry(run["id"], "verified")
    (new,) = await place.iamenu.sql(_INDEX)
    assert (new["relfilenode"] != index["relfilenode"], new["indisvalid"]) == (True, True)
    assert (await _books(place.iamenu))["Product"] == before

    place.iamenu.cure = "false"
    run = await place.room.run("iamenu-search-slow", "service/search", stage="waiting")
    await place.room.agreed(f"{run['id']}.1", "bob")
    await place.room.card_says(f"{run['id']}.2", "scripts:rebuild-search-index -- --service marketplace")
    await place.room.agreed(f"{run['id']}.2", "bob")
    await place.room.run("iamenu-search-slow", "service/search", id=run["id"], outcome="fixed")


@beside
async def test_stale_analytics_are_recalculated_and_rebuilt_if_that_does_not_help(place: Place) -> None:
    place.iamenu.analysing = False
    place.iamenu.analytics = time.time() - 720
    await place.room.paged("their engine does not say that it is well")
    place.iamenu.analysing = True
    await place.room.run("iamenu-analytics-stale", "service/analytics", reason="recalculate proved")
    recalculated = "scripts:recalculate-analytics -- --force"
    assert _of(place.iamenu.scripts.ran, "analytics") == [recalculated]

    place.iamenu.stubborn = True
    place.iamenu.analytics = time.time() - 720
    run = await place.room.run("iamenu-analytics-stale", "service/analytics", stage="waiting")
    await place.room.card_says(f"{run['id']}.1", "iamenu-rebuild-analytics.service")
    await place.room.agreed(f"{run['id']}.1", "bob")
    await place.room.run("iamenu-analytics-stale", "service/analytics", id=run["id"], outcome="fixed")
    rebuilt = "start --no-block iamenu-rebuild-analytics.service"
    assert _of(place.iamenu.scripts.ran, "analytics") == [recalculated, recalculated, rebuilt]


@beside
async def test_a_storm_of_alerts_is_silenced_until_its_cause_is_gone(place: Place) -> None:
    for worker in range(22):
        place.iamenu.api.gauge("iamenu_notifications_waiting", 1, worker=str(worker))
        place.iamenu.api.gauge("iamenu_notifications_sent_total", 7, worker=str(worker))
    target = "alerting/IamenuNotificationsNotSent"
    run = await place.room.run("iamenu-alert-storm", target, stage="waiting")
    await place.room.card_says(f"{run['id']}.1", "IamenuNotificationsNotSent", "up to 100", "1h")
    assert await place.silences() == []
    await place.room.agreed(f"{run['id']}.1", "bob")
    await place.room.run("iamenu-alert-storm", target, stage="holding")
    (silence,) = await place.silences()
    assert {one["name"]: (one["value"], one["isRegex"]) for one in silence["matchers"]} == {
        "alertname": ("IamenuNotificationsNotSent", False),
        "severity": ("high", False),
    }
    assert (silence["status"]["state"], silence["createdBy"]) == ("active", "remediator")
    assert "approved by bob" in silence["comment"]
    lasts = datetime.fromisoformat(silence["endsAt"]) - datetime.fromisoformat(silence["updatedAt"])
    assert timedelta(minutes=59) < lasts < timedelta(minutes=61)
    for worker in range(22):
        place.iamenu.api.gauge("iamenu_notifications_waiting", 0, worker=str(worker))
    await place.room.run("iamenu-alert-storm", target, id=run["id"], outcome="fixed")
    (silence,) = await place.silences()
    assert silence["status"]["state"] == "expired"


async def test_critical_alerts_are_not_silenced_whoever_asks(place: Place) -> None:
    noisy = "IamenuPaymentsDown"
    await place.room.fire("IamenuAlertStorm", noisy=noisy, noisy_severity="critical")
    said = await place.room.refused(
        "iamenu-alert-storm", "IamenuAlertStorm", noisy=noisy, noisy_severity="critical"
    )
    assert "noisy_severity" in said["reason"]
    assert all(one["status"]["state"] == "expired" for one in await place.silences())


_INDEX = """
    SELECT relfilenode::bigint, indisvalid FROM pg_class JOIN pg_index ON indexrelid = oid
    WHERE relname = 'idx_products_search_gin'
"""


def _of(lines: list[str], word: str) -> list[str]:
    return [line for line in lines if word in line]


async def _books(system: Iamenu) -> dict[str, dict[Any, dict[str, Any]]]:
    """All rows, by their keys."""
    return {
        table: {
            next(iter(row.values())): row for row in await system.sql(f'SELECT * FROM marketplace."{table}"')
        }
        for table in ("configuration", "Product", "Order")
    }
