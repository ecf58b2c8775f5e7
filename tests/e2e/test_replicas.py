"""Two daemons on one PostgreSQL: a run goes its whole way, and goes on when its daemon is killed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from tests.e2e.policies import UNATTENDED, pausing, text
from tests.e2e.stage import Stage
from tests.rig.daemon import daemon, settings
from tests.rig.postgres import Server
from tests.rig.room import terminal, until
from tests.rig.slack import FakeSlack
from tests.rig.world import LoyaltyWorld

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.real,
    pytest.mark.needs("postgresql"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.no_cover,
]

ASKS, PROVED = "pause-campaign", "prove-pause"


async def _database(server: Server, name: str) -> str:
    async with server.connected() as connection:
        await connection.execute(f"CREATE DATABASE {name}")
    return f"{server.dsn(name)}?may_lose_data=yes"


@pytest.fixture(scope="module")
def first(server: Server, one_world: LoyaltyWorld, one_slack: FakeSlack) -> Iterator[Stage]:
    """A daemon on an empty database: it makes its tables."""
    store = asyncio.run(_database(server, "replicas"))
    policies = pausing(ASKS), pausing(PROVED, gate=UNATTENDED)
    config = settings(world=one_world.url, slack=one_slack, store="${env:STORE}")
    with daemon(config, {one["policy"]: text(one) for one in policies}, STORE=store) as one:
        yield Stage(one_world, one_slack, one)


@pytest.fixture(scope="module")
def second(first: Stage) -> Iterator[Stage]:
    """Another, with the same settings and policies, in a folder of its own."""
    files = (first.daemon.folder / "policies").iterdir()
    policies = {file.stem: file.read_text() for file in files}
    with daemon(first.daemon.config, policies, **first.daemon.environment) as one:
        yield Stage(first.world, first.slack, one)


async def test_the_main_job_is_done_by_either_of_two(first: Stage, second: Stage) -> None:
    """One hears of it, the other is asked; it is done once."""
    campaign = await first.campaign()
    await first.fire(ASKS, campaign)
    run = await first.run_at("waiting", campaign)
    gate = f"{run['id']}.1"
    for person in ("amina", "bob"):
        status, told = await second.vote(gate, person)
        assert status == 200, told
    closed = await first.closed(campaign, "fixed")
    assert closed["id"] == run["id"]
    assert await first.done(campaign) == 1
    kinds = await second.daemon.kinds(run["id"])
    assert kinds.index("gate-approved") < kinds.index("started") < kinds.index("verified")


async def test_whoever_is_killed_in_the_middle_of_a_run_is_taken_over_within_15_seconds(
    first: Stage, second: Stage
) -> None:
    campaign = await first.campaign()
    await first.world.fault("late", path=f"/api/campaigns/{campaign}/pause", seconds=5.0)
    await first.fire(PROVED, campaign)
    await until(lambda: first.calls(campaign), "the API was not called")
    run = await first.run_at("acting", campaign)
    assert first.daemon.child is not None
    first.daemon.child.process.kill()
    died = time.monotonic()

    closed = await second.closed(campaign, "fixed")
    assert time.monotonic() - died < 15
    assert closed["id"] == run["id"]
    assert "unknown" in await second.daemon.kinds(run["id"])
    assert await first.done(campaign) == 1
    said = await terminal("audit", "verify", "--store", second.daemon.environment["STORE"], "--json")
    assert said.json["problems"] == []
