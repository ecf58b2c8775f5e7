"""The demo's world over real HTTP, as its own process: each effect once, on disk, whatever the answer."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from tests.rig.prometheus import running_prometheus
from tests.rig.world import LoyaltyWorld, world_that_may_die

PAUSE = "/api/campaigns/c-101/pause"


async def becomes(world: LoyaltyWorld, path: str, status: str) -> None:
    """Wait until what is there has this status."""
    async with asyncio.timeout(30):
        while (await world.ask("GET", path)).body["status"] != status:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)


async def test_shows_its_programs_campaigns_workers_and_queues(world: LoyaltyWorld) -> None:
    program = (await world.ask("GET", "/api/programs/p-17")).body
    assert (program["name"], program["earnRate"], program["budgetLimit"]) == ("Teranga", 0.07, 100_000)
    campaign = (await world.ask("GET", "/api/campaigns/c-101")).body
    assert (campaign["programId"], campaign["status"]) == ("p-17", "running")
    assert (await world.ask("GET", "/api/workers/tier-evaluation")).body["status"] == "ok"
    queues = (await world.ask("GET", "/api/queues")).body["queues"]
    assert {queue["name"] for queue in queues} == {"campaign-execution", "tier-evaluation", "webhooks"}
    assert (await world.ask("GET", "/api/campaigns/c-0")).status == 404


async def test_wants_the_token(world: LoyaltyWorld) -> None:
    assert (await world.ask("POST", PAUSE, token="other")).status == 401
    assert await world.ledger() == []
    assert len(await world.requests()) == 1


async def test_pausing_stops_the_awards(world: LoyaltyWorld) -> None:
    series = 'loyalty_campaign_points_awarded_total{campaign_id="c-101"}'
    before = await world.metric(series)
    await asyncio.sleep(0.2)
    assert await world.metric(series) > before
    assert (await world.ask("POST", PAUSE)).body["status"] == "paused"
    stopped = await world.metric(series)
    await asyncio.sleep(0.2)
    assert await world.metric(series) == stopped
    assert (await world.ask("POST", PAUSE)).status == 409
    assert (await world.ask("POST", "/api/campaigns/c-101/resume")).body["status"] == "running"


async def test_every_effect_is_in_the_ledger_and_on_disk(world: LoyaltyWorld) -> None:
    await world.ask("POST", PAUSE, key="k-1")
    await world.ask("PUT", "/api/programs/p-17", {"earnRate": 0.035, "reason": "budget"}, key="k-2")
    await world.ask("POST", PAUSE, key="k-3")  # refused: it is paused
    on_disk = [json.loads(line) for line in world.ledger_file.read_text().splitlines()]
    assert on_disk == await world.ledger()
    assert [(entry["method"], entry["path"], entry["key"]) for entry in on_disk] == [
        ("POST", PAUSE, "k-1"),
        ("PUT", "/api/programs/p-17", "k-2"),
    ]
    assert on_disk[1]["body"] == {"earnRate": 0.035, "reason": "budget"}


async def test_the_same_key_gets_the_same_answer_and_is_executed_once(world: LoyaltyWorld) -> None:
    both = await asyncio.gather(*(world.ask("POST", PAUSE, key="k-1") for _ in range(2)))
    assert both[0] == both[1]
    assert both[0].status == 200
    assert len(await world.ledger()) == 1
    assert len(await world.requests()) == 2
    other = await world.ask("POST", "/api/campaigns/c-102/pause", key="k-1")
    assert other.status == 422


async def test_a_program_is_changed_only_from_the_version_that_was_seen(world: LoyaltyWorld) -> None:
    seen = (await world.ask("GET", "/api/programs/p-17")).body["version"]
    first = await world.ask("PUT", "/api/programs/p-17", {"earnRate": 0.035, "ifVersion": seen})
    second = await world.ask("PUT", "/api/programs/p-17", {"earnRate": 0.01, "ifVersion": seen})
    assert (first.status, second.status) == (200, 409)
    assert (await world.ask("GET", "/api/programs/p-17")).body["earnRate"] == 0.035


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/api/programs/p-17", {"earnRate": "0.1; DROP TABLE"}),
        ("PUT", "/api/programs/p-17", {"budgetLimit": True}),
        ("PUT", "/api/programs/p-17", {"status": "gone"}),
        ("PUT", "/api/programs/p-17", [1]),
        ("POST", "/api/workers/campaign-execution", {}),
        ("POST", "/api/workers/tier-evaluation", {"programId": 7}),
    ],
)
async def test_bad_requests_have_no_effect(world: LoyaltyWorld, method: str, path: str, body: object) -> None:
    assert (await world.ask(method, path, body)).status == 400
    assert await world.ledger() == []


async def test_a_stuck_campaign_is_retriggered(world: LoyaltyWorld) -> None:
    await world.control("settings", execution_seconds=0.1)
    await world.control("campaigns/c-9", stuck=True, retrigger="helps_second_time")
    assert await world.metric('loyalty_campaign_stuck{campaign_id="c-9"}') == 1
    for key, expected in (("k-1", "scheduled"), ("k-2", "running")):
        said = await world.ask("POST", "/api/workers/campaign-execution", {"campaignId": "c-9"}, key=key)
        assert said.status == 202
        await asyncio.sleep(0.2)  # it has come to its end then, or soon
        await becomes(world, "/api/campaigns/c-9", expected)
    assert await world.metric('loyalty_campaign_executions_total{campaign_id="c-9",status="success"}') == 1
    assert await world.metric('loyalty_campaign_stuck{campaign_id="c-9"}') == 0


async def test_a_failing_worker_is_run_by_hand(world: LoyaltyWorld) -> None:
    await world.control("settings", execution_seconds=0.1)
    await world.control("workers/tier-evaluation", failing=True)
    assert (await world.ask("GET", "/api/workers/tier-evaluation")).body["status"] == "failing"
    assert (await world.ask("POST", "/api/workers/tier-evaluation", {"programId": "p-17"})).status == 202
    await becomes(world, "/api/workers/tier-evaluation", "ok")


async def test_slow_endpoints_are_named_slowest_first(world: LoyaltyWorld) -> None:
    await world.control("latency", endpoint="/api/transactions", p95=0.9)
    await world.control("latency", endpoint="/api/balances", p95=1.2)
    slow = (await world.ask("GET", "/api/endpoints/slow")).body["endpoints"]
    assert [one["endpoint"] for one in slow] == ["/api/balances", "/api/transactions"]
    assert await world.metric('loyalty_api_latency_seconds{endpoint="/api/balances",quantile="0.95"}') == 1.2


@pytest.mark.parametrize(("kind", "effects"), [("close", 1), ("cut", 0)])
async def test_a_closed_connection_after_or_before_the_effect(
    world: LoyaltyWorld, kind: str, effects: int
) -> None:
    await world.fault(kind, method="POST", path="/api/campaigns/*")
    with pytest.raises(aiohttp.ClientError):
        await world.ask("POST", PAUSE, key="k-1")
    assert len(await world.ledger()) == effects
    assert len(await world.requests()) == 1
    assert (await world.ask("POST", PAUSE, key="k-1")).status == 200
    assert len(await world.ledger()) == 1


@pytest.mark.parametrize(("kind", "effects"), [("status", 0), ("status_after", 1)])
async def test_an_error_without_or_with_the_effect(world: LoyaltyWorld, kind: str, effects: int) -> None:
    await world.fault(kind, status=500)
    assert (await world.ask("POST", PAUSE)).status == 500
    assert len(await world.ledger()) == effects


@pytest.mark.parametrize(("kind", "soon", "later"), [("delay", 1, 1), ("late", 0, 1), ("hang", 1, 1)])
async def test_an_answer_that_comes_late_or_never(
    world: LoyaltyWorld, kind: str, soon: int, later: int
) -> None:
    await world.fault(kind, seconds=1.0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.6):
            await world.ask("POST", PAUSE)
    assert len(await world.ledger()) == soon
    await asyncio.sleep(0.5)
    async with asyncio.timeout(30):
        while len(await world.ledger()) < later:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
    assert len(await world.ledger()) == later


async def test_readings_fail_too_and_faults_are_forgotten(world: LoyaltyWorld) -> None:
    await world.fault("status", method="GET", status=503, times=None)
    assert (await world.ask("GET", "/api/queues")).status == 503
    assert (await world.ask("GET", "/api/queues")).status == 503
    assert (await world.ask("DELETE", "/_control/faults")).body == []
    assert (await world.ask("GET", "/api/queues")).status == 200


async def test_unknown_settings_are_refused_with_the_known_ones(world: LoyaltyWorld) -> None:
    said = await world.ask("POST", "/_control/workers/tier-evaluation", {"sick": True})
    assert said.status == 400
    assert "unknown: sick; known: executions, failing" in said.body
    assert (await world.ask("POST", "/_control/workers/none", {"failing": True})).status == 404


async def test_the_ledger_outlives_a_crash(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    with world_that_may_die(ledger) as (world, process):
        await world.ask("POST", PAUSE, key="k-1")
        process.kill()
    with world_that_may_die(ledger) as (again, _):
        assert [entry["key"] for entry in await again.ledger()] == ["k-1"]


@pytest.mark.real
@pytest.mark.needs("prometheus")
async def test_a_real_prometheus_reads_its_metrics(world: LoyaltyWorld) -> None:
    await world.control("campaigns/c-9", stuck=True)
    with running_prometheus({"loyalty": world.url}) as prometheus:
        (stuck,) = await prometheus.wait_for("loyalty_campaign_stuck == 1")
        assert stuck.labels["campaign_id"] == "c-9"
        awards = 'rate(loyalty_campaign_points_awarded_total{campaign_id="c-101"}[5s])'
        await prometheus.wait_for(awards, lambda found: found and found[0].value > 5)
        await world.ask("POST", PAUSE)
        await prometheus.wait_for(awards, lambda found: found and found[0].value == 0)
        targets = await prometheus.get("/api/v1/targets")
        assert [one["health"] for one in targets["activeTargets"]] == ["up"]
