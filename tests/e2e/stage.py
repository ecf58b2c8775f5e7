"""One stage for a story: the loyalty API, the fake Slack and the daemon, each its own process."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.e2e.policies import text
from tests.rig.daemon import Daemon, alert, daemon, settings, webhook
from tests.rig.patience import PATIENCE_S
from tests.rig.room import Room
from tests.rig.slack import FakeSlack
from tests.rig.world import LoyaltyWorld

_numbers = itertools.count(1)


@dataclass
class Stage(Room):
    """What the stories of this folder play on."""

    world: LoyaltyWorld
    slack: FakeSlack
    daemon: Daemon

    async def campaign(self, **more: object) -> str:
        """A new campaign that runs, with a program of its own; its id. The program's is ``p-`` + id."""
        name = f"c{os.getpid()}-{next(_numbers)}"
        await self.world.control(f"programs/p-{name}", earn_rate=0.07)
        campaign = {"status": "running", "program_id": f"p-{name}", "points_per_second": 0.0}
        await self.world.control(f"campaigns/{name}", **(campaign | more))
        return name

    async def fire(self, policy: str, campaign: str, status: str = "firing", **more: str) -> None:
        """The alert of this name about a campaign, as Alertmanager would post it."""
        labels = {"alertname": policy, "campaign_id": campaign, "program_id": f"p-{campaign}", **more}
        answered = await self.daemon.webhook(webhook(alert(status, **labels)))
        assert answered == 200, f"the webhook was answered {answered}"

    async def asked(self, policy: str, campaign: str) -> dict[str, Any]:
        """Fire it, and wait until its run waits at a gate; the run."""
        await self.fire(policy, campaign)
        return await self.run_at("waiting", campaign)

    async def run_at(self, stage: str, campaign: str, *, within: float = PATIENCE_S) -> dict[str, Any]:
        """The newest run on this campaign, once it is at this stage."""
        return await self.run_with(campaign, lambda run: run["stage"] == stage, within=within)

    async def closed(self, campaign: str, outcome: str, *, within: float = PATIENCE_S) -> dict[str, Any]:
        """A run on this campaign that closed so."""
        return await self.run_with(campaign, lambda run: run["outcome"] == outcome, within=within)

    async def run_with(
        self, campaign: str, pleases: Callable[[dict[str, Any]], bool], *, within: float = PATIENCE_S
    ) -> dict[str, Any]:
        """The newest run on this campaign that pleases."""
        about = f"campaign/{campaign}"
        return await self.daemon.wait_run(lambda run: run["target"] == about and pleases(run), within=within)

    async def calls(self, campaign: str, what: str = "pause") -> int:
        """How often the API was asked to do this, as it came over the wire."""
        path = f"/api/campaigns/{campaign}/{what}"
        return sum(one["path"] == path and one["method"] == "POST" for one in await self.world.requests())

    async def done(self, campaign: str, what: str = "pause") -> int:
        """How often it did it."""
        path = f"/api/campaigns/{campaign}/{what}"
        return sum(one["path"] == path for one in await self.world.ledger())


@contextmanager
def stage(world: LoyaltyWorld, slack: FakeSlack, *policies: dict[str, Any], **config: Any) -> Iterator[Stage]:
    """A daemon with these policies before this world and this Slack. ``config``: replaces whole keys."""
    texts = {policy["policy"]: text(policy) for policy in policies}
    with daemon(settings(world=world.url, slack=slack, **config), texts) as one:
        yield Stage(world, slack, one)
