"""The clock jumps by a day while the daemon works: it starts nothing more, and says so; undos go on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from remediator import connectors
from remediator.app import App
from remediator.clock import SystemClock
from remediator.config_file import load
from remediator.store.audit import audit
from tests.e2e.policies import UNATTENDED, holding, pausing, text
from tests.e2e.stage import Stage
from tests.rig.daemon import SECRETS, Daemon, settings
from tests.rig.room import until
from tests.rig.slack import FakeSlack
from tests.rig.webhook import Webhook, running_webhook
from tests.rig.world import LoyaltyWorld

pytestmark = [pytest.mark.e2e, pytest.mark.no_cover]

ACTS, ASKS, HOLDS = "act-now", "pause-campaign", "hold-campaign"
DAY = timedelta(days=1)


@dataclass
class Wall(SystemClock):
    """The real clocks, but the one on the wall is put forward or back."""

    put: timedelta = timedelta()

    def now(self) -> datetime:
        return super().now() + self.put


@dataclass
class Inside(Daemon):
    """A daemon within this process, whose clock a story can reach."""

    address: str = ""
    wall: Wall = field(default_factory=Wall)

    @property
    def url(self) -> str:
        return self.address


@asynccontextmanager
async def inside(
    world: LoyaltyWorld, slack: FakeSlack, pager: Webhook, folder: Path
) -> AsyncIterator[tuple[Stage, Inside, App]]:
    written = settings(world=world.url, slack=slack, page_webhook={"url": pager.url})
    daemon = Inside(folder, written)
    for policy in (pausing(ACTS, gate=UNATTENDED), pausing(ASKS), holding(after="3s")):
        daemon.policy(policy["policy"], text(policy))
    file = folder / "remediator.yaml"
    file.write_text(json.dumps(written))
    app = App(load(file, SECRETS, check=connectors.problems), folder, clock=daemon.wall)
    async with app.running():
        daemon.address = app.address
        yield Stage(world, slack, daemon), daemon, app


async def _refused(play: Stage, campaign: str) -> bool:
    standing = (await play.daemon.get("/status"))["refusals"]
    return any(one["bound"] == "halt" and campaign in one["target"] for one in standing)


async def _halts(play: Stage) -> list[dict[str, Any]]:
    return list((await play.daemon.get("/api/v1/halts"))["halts"])


async def test_a_jump_of_a_day_stops_starts_pages_and_opens_no_gate_early(
    one_world: LoyaltyWorld, slack: FakeSlack, tmp_path: Path
) -> None:
    for name in ("forward", "back"):
        (tmp_path / name).mkdir()
    await asyncio.gather(
        _story(one_world, slack, tmp_path / "forward", DAY), _story(one_world, slack, tmp_path / "back", -DAY)
    )


async def _story(one_world: LoyaltyWorld, slack: FakeSlack, folder: Path, jump: timedelta) -> None:
    async with running_webhook() as pager, inside(one_world, slack, pager, folder) as (play, daemon, app):
        waits, held, new = await play.campaign(), await play.campaign(), await play.campaign()
        run = await play.asked(ASKS, waits)
        await play.fire(HOLDS, held)
        await play.run_at("holding", held)
        daemon.wall.put = jump
        await play.fire(ACTS, new)
        await until(lambda: _refused(play, new), "the new alert was not refused by the halt")
        told = await pager.wait_for(lambda one: "the clock jumped" in one.body["text"])
        (halt,) = await _halts(play)
        assert f"remediator resume {halt['id']}" in told.body["text"]
        assert (halt["scope"], halt["by"], halt["undos"]) == ("all", "remediator", False)
        assert (await play.daemon.wait_run(lambda one: one["id"] == run["id"]))["stage"] == "waiting"
        await until(lambda: play.calls(held, "resume"), "the undo did not run in its time")
        for person in ("amina", "bob"):
            assert (await play.vote(str(run["gate"]), person))[0] == 200
        await asyncio.sleep(2.5)  # another pulse, and another look at everything
        assert [one["id"] for one in await _halts(play)] == [halt["id"]]
        assert len([one for one in pager.deliveries if "remediator resume" in one.body["text"]]) == 1
        assert (await play.calls(waits), await play.calls(new)) == (0, 0), "something was started in doubt"
        daemon.wall.put = timedelta()  # somebody sets it right, and says so
        resumed = await app.desk.resume(halt["id"], by="chen")
        assert resumed.ok, resumed
        await play.closed(new, "fixed")
        assert await play.calls(new) == 1
        assert await _halts(play) == []
        assert (await audit(app.store)).problems == ()
