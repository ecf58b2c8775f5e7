"""The pack molam-loyalty on real rows, sessions and metrics.

Its first policies are in tests/e2e: `test_budget` and `test_main_job`, from a metric on; `test_loyalty_pack`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from tests.packs.room import PackRoom, room, watched
from tests.rig.postgres import Server
from tests.rig.processes import free_port
from tests.rig.slack import running_slack
from tests.worlds.molam_loyalty import DATABASE, LOGIN, Molam, molam
from tests.worlds.service import TOKEN

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.real,
    pytest.mark.needs("postgresql", "prometheus", "alertmanager"),
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]

SYSTEM = "molam-loyalty"
A_MINUTE_IS_A_SECOND = {"longer_than: 1m": "longer_than: 1s", "q.seconds > 60": "q.seconds > 1"}


@dataclass
class Place:
    """The system, and the daemon with its people."""

    molam: Molam
    room: PackRoom


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(server: Server) -> AsyncIterator[Place]:
    async with molam(server) as system:
        system.latency(balance=0.12, earn=0.2)
        await system.sql("DELETE FROM loyalty_campaigns")
        port = free_port()
        with watched(SYSTEM, {"loyalty": system.api.url}, port) as prometheus, running_slack() as slack:
            connections = {
                "prometheus": {"url": prometheus.url},
                "loyalty_api": {"base_url": system.api.url},
            }
            dsn = server.dsn(DATABASE, LOGIN)
            with room(
                SYSTEM,
                slack,
                connections,
                replaced=A_MINUTE_IS_A_SECOND,
                port=port,
                LOYALTY_TOKEN=TOKEN,
                LOYALTY_DSN=dsn,
            ) as one:
                yield Place(system, one)


async def test_fraud_spikes_in_prometheus_and_finance_and_marketing_stop_the_program(place: Place) -> None:
    await place.molam.sql(
        "INSERT INTO loyalty_balances (id, user_id, program_id) SELECT 's-' || n, 'spike-' || n, 'p-18'"
        " FROM generate_series(1, 7) n"
    )
    await place.molam.sql(
        "INSERT INTO loyalty_transactions (balance_id, event_type, amount, ip_address)"
        " SELECT 's-' || n, 'earn', 6000, '203.0.113.9' FROM generate_series(1, 2) n, generate_series(1, 2)"
    )
    before = await _books(place.molam)
    for number in range(1, 8):
        place.molam.api.gauge("loyalty_fraud_suspected", 1, program_id="p-18", user_id=f"spike-{number}")

    run = await place.room.run("molam-fraud-spike", "loyalty-program/p-18", stage="waiting")
    gate = f"{run['id']}.1"
    await place.room.card_says(gate, "/api/programs/p-18/suspend", "remediator-gate")
    await place.molam.sql(  # another one goes on earning while people read: that voids nothing
        "INSERT INTO loyalty_transactions (balance_id, event_type, amount, ip_address)"
        " SELECT 's-3', 'earn', 6000, '203.0.113.9' FROM generate_series(1, 2)"
    )
    status, _told = await place.room.vote(gate, "chen")
    assert status == 200  # both roles, and still one person
    assert (await place.room.run("molam-fraud-spike", "loyalty-program/p-18"))["stage"] == "waiting"
    assert place.molam.api.asked("POST", "/api/programs/p-18/suspend") == 0
    await place.room.agreed(gate, "bob")
    await place.room.card_says(f"{run['id']}.2", "under_investigation", "s-1", "s-2", "s-3")
    await place.room.agreed(f"{run['id']}.2", "amina", "bob")
    await place.room.run("molam-fraud-spike", "loyalty-program/p-18", outcome="fixed")

    (sent,) = [one for one in place.molam.api.ledger if one.path.endswith("/suspend")]
    assert sent.headers["X-Approval-Request-Id"] == "remediator-gate"
    after = await _books(place.molam)
    assert after["loyalty_programs"].pop("p-18")["status"] == "suspended"
    del before["loyalty_programs"]["p-18"]
    for balance in ("s-1", "s-2", "s-3"):
        row = after["loyalty_balances"].pop(balance)
        assert json.loads(row["fraud_flags"]) == ["suspicious_pattern_detected", "under_investigation"]
        assert (row["is_frozen"], row["locked"]) == (False, 0)
        del before["loyalty_balances"][balance]
    assert after == before
    for number in range(1, 8):
        place.molam.api.gauge("loyalty_fraud_suspected", 0, program_id="p-18", user_id=f"spike-{number}")


async def test_a_long_query_is_ended_when_the_on_call_agrees_and_no_other_session(place: Place) -> None:
    place.molam.latency(balance=0.9)
    async with place.molam.working() as query, place.molam.working("SELECT 1") as quick:
        await quick
        run = await place.room.run("molam-api-latency", "service/loyalty-api", stage="waiting")
        gate = f"{run['id']}.1"
        await place.room.card_says(gate, "molam_reports", "SELECT", "active")
        assert not query.done()
        told = next(
            one["text"] for one in await place.room.slack.messages("C0LOYALTY") if "P95" in one["text"]
        )
        assert "P95 is 900 ms" in told
        assert "pg_sleep" not in told  # what people ask stays in the database
        await place.room.agreed(gate, "bob")
        with pytest.raises(asyncpg.PostgresConnectionError):
            await asyncio.wait_for(query, 20)
        place.molam.latency(balance=0.12)
        await place.room.run("molam-api-latency", "service/loyalty-api", outcome="fixed")
        (left,) = await place.molam.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'molam_reports' AND datname = $1", DATABASE
        )
        assert left["count"] == 1


async def test_a_campaign_that_gives_away_too_much_is_paused_for_a_while(place: Place) -> None:
    await _launched(place.molam, "c-much", status="running", points=1200)
    run = await place.room.run("molam-campaign-check", "campaign/c-much", stage="waiting")
    await place.room.card_says(f"{run['id']}.1", "/api/campaigns/c-much/pause")
    await place.room.agreed(f"{run['id']}.1", "bob")
    await place.room.run("molam-campaign-check", "campaign/c-much", stage="holding")
    (row,) = await place.molam.sql("SELECT status FROM loyalty_campaigns WHERE id = 'c-much'")
    assert row["status"] == "paused"
    await place.molam.sql("UPDATE loyalty_campaigns SET total_points_awarded = 0 WHERE id = 'c-much'")
    await place.room.run("molam-campaign-check", "campaign/c-much", outcome="fixed")
    done = [one.path for one in place.molam.api.ledger if "c-much" in one.path]
    assert done == ["/api/campaigns/c-much/pause", "/api/campaigns/c-much/resume"]
    await place.molam.sql("DELETE FROM loyalty_campaigns WHERE id = 'c-much'")


@pytest.mark.parametrize(("name", "points", "fine"), [("c-fine", 1100, True), ("c-more", 1101, False)])
async def test_what_a_campaign_awarded_is_held_against_its_estimate(
    place: Place, name: str, points: int, fine: bool
) -> None:
    """500 points for each of the two who hold balances of p-17, within 10 %."""
    await _launched(place.molam, name, status="completed", points=points)
    outcome = "nothing-to-do" if fine else "fixed"
    run = await place.room.run("molam-campaign-check", f"campaign/{name}", outcome=outcome)
    assert run["opened_by"] == "watch"
    if not fine:
        await place.room.paged(f"{points} points to 2 members, where 1000 to 2 were planned")
    (row,) = await place.molam.sql("SELECT total_points_awarded FROM loyalty_campaigns WHERE id = $1", name)
    assert row["total_points_awarded"] == points
    await place.molam.sql("DELETE FROM loyalty_campaigns WHERE id = $1", name)


async def test_a_campaign_that_its_program_cannot_afford_is_told_a_day_before(place: Place) -> None:
    """32,000 points are left of p-17: 16,000 for each of two are as many, 15,999 are not."""
    for name, bonus in (("c-dear", 16_000), ("c-cheap", 15_999)):
        await place.molam.sql(
            "INSERT INTO loyalty_campaigns (id, program_id, name, campaign_type, bonus_points, start_date,"
            " status) VALUES ($1, 'p-17', $1, 'bonus', $2, now() + interval '3 hours', 'scheduled')",
            name, bonus,
        )  # fmt: skip
    await place.room.run("molam-campaign-plan", "campaign/c-cheap", outcome="nothing-to-do")
    await place.room.run("molam-campaign-plan", "campaign/c-dear", outcome="fixed")
    told = await place.room.paged("it needs 32000 points for 2 members, of 32000")
    assert "Teranga (active) has left" in told["text"]
    rows = await place.molam.sql("DELETE FROM loyalty_campaigns WHERE id LIKE 'c-%' RETURNING status")
    assert [row["status"] for row in rows] == ["scheduled", "scheduled"]


async def test_a_hostile_program_is_refused_with_the_reason(place: Place) -> None:
    hostile = "p-17'; UPDATE loyalty_programs SET status = 'suspended'; --"
    await place.room.fire("LoyaltyFraudSpike", program_id=hostile)
    said = await place.room.refused("molam-fraud-spike", "LoyaltyFraudSpike", program_id=hostile)
    assert "program_id" in said["reason"]


async def _launched(system: Molam, name: str, *, status: str, points: int) -> None:
    await system.sql(
        "INSERT INTO loyalty_campaigns (id, program_id, name, campaign_type, bonus_points, start_date,"
        " status, users_awarded, total_points_awarded, executed_at) VALUES ($1, 'p-17', $1, 'bonus', 500,"
        " now() - interval '90 minutes', $2, 2, $3, now() - interval '90 minutes')",
        name, status, points,
    )  # fmt: skip


async def _books(system: Molam) -> dict[str, dict[str, dict[str, Any]]]:
    """All rows, by their keys, without the time at which they were touched."""
    return {
        table: {
            row["id"]: {name: value for name, value in row.items() if name != "updated_at"}
            for row in await system.sql(f"SELECT * FROM {table}")
        }
        for table in ("loyalty_programs", "loyalty_balances")
    }
