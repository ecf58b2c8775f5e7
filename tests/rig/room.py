"""A daemon and the Slack of its people, and what they see and do there. For stories of any world."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes.slack_clicks import Click
from tests.rig import forked
from tests.rig.daemon import PEOPLE, SELDOM, Daemon, token_of
from tests.rig.patience import PATIENCE_S
from tests.rig.processes import REPOSITORY
from tests.rig.slack import Answer, FakeSlack

CHANNEL = "C0OPS"


class Room:
    """Where people and the daemon meet."""

    slack: FakeSlack
    daemon: Daemon

    async def entry(self, run: str, kind: str, *, within: float = PATIENCE_S) -> dict[str, Any]:
        """The last line of this kind in a run's journal, once there is one."""
        found: list[dict[str, Any]] = []

        async def there() -> bool:
            found[:] = [one for one in await self.daemon.journal(run) if one["kind"] == kind]
            return bool(found)

        await until(there, f"the journal of {run} has no {kind}", within=within)
        return found[-1]

    # ── In Slack ──────────────────────────────────────────────────────────────────────────────────

    async def card(self, gate: str, *, within: float = PATIENCE_S) -> dict[str, Any]:
        """The message that shows a gate: the last, should Slack have lost an answer."""
        found: list[dict[str, Any]] = []

        async def there() -> bool:
            found[:] = [one for one in await self.slack.messages(CHANNEL) if _shows(one, gate)]
            return bool(found)

        await until(there, f"no card shows {gate}", within=within)
        return found[-1]

    async def card_says(self, gate: str, *words: str, within: float = PATIENCE_S) -> None:
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

    async def paged(self, words: str, *, within: float = PATIENCE_S) -> dict[str, Any]:
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
    run = await asyncio.to_thread(forked.run, words, cwd=cwd, env=given, within=PATIENCE_S)
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


async def until(
    holds: Callable[[], Awaitable[object]], otherwise: str, *, within: float = PATIENCE_S
) -> None:
    """Wait until it holds, asking ever less often; fail with these words if it never does."""
    give_up, pause = time.monotonic() + within, 0.05
    while not await holds():
        if time.monotonic() > give_up:
            raise AssertionError(otherwise)
        await asyncio.sleep(pause)
        pause = min(1.2 * pause, SELDOM)
