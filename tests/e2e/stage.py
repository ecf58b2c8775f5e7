"""One stage for a story: the loyalty API, the fake Slack and the daemon, each its own process."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.policies import text
from tests.fakes.slack_clicks import Click
from tests.rig.daemon import PEOPLE, Daemon, alert, daemon, settings, token_of, webhook
from tests.rig.processes import REPOSITORY, python_module
from tests.rig.slack import Answer, FakeSlack
from tests.rig.world import LoyaltyWorld

CHANNEL = "C0OPS"
_numbers = itertools.count(1)


@dataclass
class Stage:
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

    async def run_at(self, stage: str, campaign: str, *, within: float = 20.0) -> dict[str, Any]:
        """The newest run on this campaign, once it is at this stage."""
        return await self.run_with(campaign, lambda run: run["stage"] == stage, within=within)

    async def closed(self, campaign: str, outcome: str, *, within: float = 20.0) -> dict[str, Any]:
        """A run on this campaign that closed so."""
        return await self.run_with(campaign, lambda run: run["outcome"] == outcome, within=within)

    async def run_with(
        self, campaign: str, pleases: Callable[[dict[str, Any]], bool], *, within: float = 20.0
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

    async def entry(self, run: str, kind: str, *, within: float = 10.0) -> dict[str, Any]:
        """The last line of this kind in a run's journal, once there is one."""
        found: list[dict[str, Any]] = []

        async def there() -> bool:
            found[:] = [one for one in await self.daemon.journal(run) if one["kind"] == kind]
            return bool(found)

        await until(there, f"the journal of {run} has no {kind}", within=within)
        return found[-1]

    # ── In Slack ──────────────────────────────────────────────────────────────────────────────────

    async def card(self, gate: str, *, within: float = 10.0) -> dict[str, Any]:
        """The message that shows a gate: the last, should Slack have lost an answer."""
        found: list[dict[str, Any]] = []

        async def there() -> bool:
            found[:] = [one for one in await self.slack.messages(CHANNEL) if _shows(one, gate)]
            return bool(found)

        await until(there, f"no card shows {gate}", within=within)
        return found[-1]

    async def card_says(self, gate: str, *words: str, within: float = 10.0) -> None:
        """Wait until the card of a gate holds all these words."""
        seen = ""

        async def there() -> bool:
            nonlocal seen
            seen = json.dumps((await self.card(gate))["blocks"], ensure_ascii=False)
            return all(word in seen for word in words)

        try:
            await until(there, "", within=within)
        except AssertionError:
            raise AssertionError(f"the card of {gate} does not say {words}: {seen}") from None

    async def click(self, gate: str, person: str, action: str = "approve", **forged: Any) -> Answer:
        """A person clicks a button of a gate's card. ``forged``: any field of `Click`."""
        card = await self.card(gate)
        given = {"user_id": PEOPLE.get(person, person), "channel": CHANNEL, "ts": card["ts"]}
        values = {"value": button(card, action)} if "value" not in forged else {}
        where = f"{self.daemon.url}/hooks/slack/actions"
        return await self.slack.click(Click(where, action, **(given | values | forged)))

    async def vote(self, gate: str, person: str, vote: str = "approve", **more: str) -> tuple[int, Any]:
        """The same through the API."""
        return await self.daemon.post(f"/api/v1/gates/{gate}/votes", {"vote": vote, **more}, by=person)

    async def paged(self, words: str, *, within: float = 15.0) -> dict[str, Any]:
        """The Slack message that pages somebody with these words."""
        found: list[dict[str, Any]] = []

        async def there() -> bool:
            said = await self.slack.messages(CHANNEL)
            found[:] = [one for one in said if words in one["text"] and "<@" in one["text"]]
            return bool(found)

        await until(there, f"nobody was paged with {words!r}", within=within)
        return found[0]

    async def whispered(self, person: str, words: str) -> None:
        """Wait until Slack shows these words to this person alone."""

        async def there() -> bool:
            calls = [one["arguments"] for one in await self.slack.calls("chat.postEphemeral")]
            return any(words in one["text"] and one["user"] == PEOPLE.get(person, person) for one in calls)

        await until(there, f"{person} was not told {words!r}")

    # ── At a terminal ─────────────────────────────────────────────────────────────────────────────

    async def cli(self, *words: str, by: str = "", **environment: str) -> Said:
        """Run a command against the daemon, as a person."""
        given: dict[str, Any] = {"REMEDIATOR_URL": self.daemon.url, **environment}
        return await terminal(*words, by=by, **given)


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, decoded."""
        return json.loads(self.out)


async def terminal(*words: str, by: str = "", cwd: Path = REPOSITORY, **environment: str) -> Said:
    """``remediator WORDS``, as a person types it."""
    given = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
    if by:
        given["REMEDIATOR_TOKEN"] = token_of(by)
    run = await asyncio.to_thread(
        subprocess.run,
        python_module("remediator", *words),
        capture_output=True,
        text=True,
        env=given,
        cwd=cwd,
        timeout=30,
        check=False,
    )
    return Said(run.returncode, run.stdout, run.stderr)


def button(card: dict[str, Any], action: str) -> str:
    """The value of a card's button."""
    for block in card["blocks"]:
        for element in block.get("elements", []):
            if element.get("action_id") == action:
                return str(element["value"])
    raise AssertionError(f"the card has no {action} button: {card['blocks']}")


def _shows(message: dict[str, Any], gate: str) -> bool:
    """A card is known by the value of its buttons; later versions have none, so all are searched."""
    return any(f"{gate}:" in json.dumps(one) for one in [message, *message["versions"]])


async def until(holds: Callable[[], Awaitable[object]], otherwise: str, *, within: float = 10.0) -> None:
    """Wait until it holds; fail with these words if it never does."""
    give_up = time.monotonic() + within
    while not await holds():
        if time.monotonic() > give_up:
            raise AssertionError(otherwise)
        await asyncio.sleep(0.05)


@contextmanager
def stage(world: LoyaltyWorld, slack: FakeSlack, *policies: dict[str, Any], **config: Any) -> Iterator[Stage]:
    """A daemon with these policies before this world and this Slack. ``config``: replaces whole keys."""
    texts = {policy["policy"]: text(policy) for policy in policies}
    with daemon(settings(world=world.url, slack=slack, **config), texts) as one:
        yield Stage(world, slack, one)
