"""Watches open runs without Alertmanager: one for each row, until the row has gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from tests.e2e.policies import UNATTENDED, pausing
from tests.e2e.stage import Stage, stage
from tests.rig.daemon import settings
from tests.rig.prometheus import running_prometheus
from tests.rig.room import until
from tests.rig.served import served
from tests.rig.slack import FakeSlack
from tests.rig.world import LoyaltyWorld

pytestmark = [pytest.mark.e2e, pytest.mark.no_cover]

WATCHES = "watch-campaigns"


@dataclass
class Listing:
    """A service that lists campaigns in trouble. ``status``: what it answers."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    asked: int = 0
    url: str = ""


@pytest.fixture
async def listing() -> AsyncIterator[Listing]:
    one = Listing()

    async def show(_request: web.Request) -> web.Response:
        one.asked += 1
        return web.json_response(one.rows, status=one.status)

    app = web.Application()
    app.router.add_get("/troubles", show)
    async with served(app) as one.url:
        yield one


def _watching(**more: Any) -> dict[str, Any]:
    policy = pausing(WATCHES, **more)
    policy.pop("match")
    watch = {
        "every": "1s",
        "use": "http.get",
        "via": "listing",
        "with": {"path": "/troubles"},
        "key": ["campaign_id"],
    }
    return {**policy, "watch": watch}


@pytest.fixture
def play(one_world: LoyaltyWorld, one_slack: FakeSlack, listing: Listing) -> Iterator[Stage]:
    with _listed(one_world, one_slack, listing, _watching(gate=UNATTENDED)) as one:
        yield one


@contextlib.contextmanager
def _listed(
    world: LoyaltyWorld, slack: FakeSlack, listing: Listing, policy: dict[str, Any]
) -> Iterator[Stage]:
    connections = settings(world=world.url)["connections"]
    connections["listing"] = {"kind": "http", "base_url": listing.url}
    with stage(world, slack, policy, connections=connections) as one:
        yield one


async def _row(play: Stage) -> tuple[str, dict[str, str]]:
    campaign = await play.campaign()
    return campaign, {"campaign_id": campaign, "program_id": f"p-{campaign}"}


async def test_each_row_opens_a_run_of_its_own(play: Stage, listing: Listing) -> None:
    (one, first), (two, second) = await _row(play), await _row(play)
    listing.rows = [first, second]
    for campaign in (one, two):
        run = await play.closed(campaign, "fixed")
        assert run["opened_by"] == "watch"
        assert await play.calls(campaign) == 1


async def test_a_row_that_has_gone_is_over_but_a_watch_that_failed_says_nothing(
    one_world: LoyaltyWorld, one_slack: FakeSlack, listing: Listing
) -> None:
    with _listed(one_world, one_slack, listing, _watching()) as play:
        campaign, row = await _row(play)
        listing.rows = [row]
        run = await play.run_at("waiting", campaign)
        listing.status = 500
        before = listing.asked
        await until(_asked(listing, before + 2), "the watch has given up")
        assert (await play.daemon.get(f"/api/v1/runs/{run['id']}"))["stage"] == "waiting"
        listing.status, listing.rows = 200, []
        await play.closed(campaign, "recovered")
        assert await play.calls(campaign) == 0


async def test_it_goes_on_after_a_restart_and_knows_its_rows(
    one_world: LoyaltyWorld, one_slack: FakeSlack, listing: Listing
) -> None:
    with _listed(one_world, one_slack, listing, _watching()) as play:
        campaign, row = await _row(play)
        listing.rows = [row]
        run = await play.run_at("waiting", campaign)
        assert play.daemon.child is not None
        play.daemon.child.kill()
        another, late = await _row(play)
        listing.rows = [row, late]
        play.daemon.start()
        await play.run_at("waiting", another)
        runs = await play.daemon.runs(target=f"campaign/{campaign}")
        assert [one["id"] for one in runs] == [run["id"]]
        play.daemon.child.kill()
        listing.rows = [late]
        play.daemon.start()
        await play.closed(campaign, "recovered")


async def test_a_watch_that_was_removed_looks_no_more(play: Stage, listing: Listing) -> None:
    await until(_asked(listing, 1), "it never looked")
    (play.daemon.folder / "policies" / f"{WATCHES}.yaml").unlink()
    assert (await play.daemon.post("/api/v1/policies/reload", {}, by="chen"))[0] == 200
    await asyncio.sleep(1.2)
    before = listing.asked
    await asyncio.sleep(2.0)
    assert listing.asked == before


@pytest.mark.parametrize(
    "body", ['[{"campaign_id": 7}]', '["x", 1, null, {}]', '{"rows": []}', "[]"], ids=str
)
async def test_rows_of_any_shape_break_nothing(play: Stage, listing: Listing, body: str) -> None:
    listing.rows = json.loads(body)
    before = listing.asked
    await until(_asked(listing, before + 2), "the watch has stopped")
    campaign, row = await _row(play)
    listing.rows = [row]
    await play.closed(campaign, "fixed")


@pytest.mark.real
@pytest.mark.needs("prometheus")
async def test_a_watch_over_promql_opens_a_run_for_each_series(
    world: LoyaltyWorld, one_slack: FakeSlack
) -> None:
    watch = {
        "every": "1s",
        "use": "prometheus.query",
        "via": "prometheus",
        "with": {"query": "loyalty_campaign_stuck == 1"},
        "key": ["campaign_id"],
    }
    with running_prometheus({"loyalty": world.url}) as prometheus:
        policy = _watching()
        policy["watch"] = watch
        policy["params"]["program_id"] = {
            "from": '"p-23"', "type": "string", "pattern": "[a-z0-9-]{1,64}"
        }  # fmt: skip
        policy["decide"] = [{"do": ["pause"]}]
        connections = settings(world=world.url, prometheus=prometheus.url)["connections"]
        with stage(world, one_slack, policy, connections=connections) as play:
            await world.control("campaigns/c-103", stuck=True, retrigger="fails")
            run = await play.run_at("waiting", "c-103")
            await world.control("campaigns/c-103", stuck=False, status="running")
            assert (await play.closed("c-103", "recovered"))["id"] == run["id"]


def _asked(listing: Listing, times: int) -> Any:
    async def reached() -> bool:
        return listing.asked >= times

    return reached
