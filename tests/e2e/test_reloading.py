"""A policy file is edited beside the running daemon: read by itself, said in words, or refused and said."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.e2e.policies import gated, holding, pausing, text
from tests.e2e.stage import Stage, stage
from tests.rig.room import CHANNEL, until
from tests.rig.slack import FakeSlack
from tests.rig.world import LoyaltyWorld

pytestmark = [pytest.mark.e2e, pytest.mark.no_cover]

ASKS, HOLDS = "pause-campaign", "hold-campaign"


@pytest.fixture
def play(one_world: LoyaltyWorld, one_slack: FakeSlack) -> Iterator[Stage]:
    with stage(one_world, one_slack, pausing(ASKS), holding(after="6s"), reload={"every": "1s"}) as one:
        yield one


async def announced(play: Stage, words: str) -> str:
    """The channel's message that holds these words."""
    found: list[str] = []

    async def there() -> bool:
        said = await play.slack.messages(CHANNEL)
        found[:] = [one["text"] for one in said if words in one["text"]]
        return bool(found)

    await until(there, f"the channel was not told {words!r}")
    return found[-1]


async def listed(play: Stage) -> dict[str, Any]:
    found: dict[str, Any] = await play.daemon.get("/api/v1/policies")
    return found


async def test_an_edit_is_read_by_itself_and_an_error_leaves_the_running_set_alone(play: Stage) -> None:
    first = (await listed(play))["version"]
    campaign = await play.campaign()
    gate = str((await play.asked(ASKS, campaign))["gate"])

    # One vote fewer, and a name that would call everybody.
    looser = pausing(ASKS, gate=gated(oncall=1))
    looser["summary"] = "<!channel> & friends"
    play.daemon.policy(ASKS, text(looser))
    await play.card_says(gate, "No longer valid", "the policy has changed")
    told = await announced(play, "Policies reloaded (file change): changed pause-campaign")
    lines = told.splitlines()
    assert lines[1] == "• LOOSENED: pause-campaign: steps.pause: gate lost ops_marketing"
    assert "&lt;!channel&gt; &amp; friends" in told
    second = (await listed(play))["version"]
    assert second != first
    assert await play.calls(campaign) == 0

    # What cannot be used changes nothing, and is said wherever somebody looks.
    play.daemon.policy(ASKS, "policy: [")
    told = await announced(play, "Policies not reloaded (file change)")
    assert f"{ASKS}.yaml:" in told
    now = await listed(play)
    assert (now["version"], len(now["policies"])) == (second, 2)
    assert f"{ASKS}.yaml:" in now["refused"][0]
    assert any("the older ones run on" in one for one in (await play.daemon.get("/status"))["problems"])

    # Taken back by hand, and read at once. What has acted keeps its version, though its policy is gone.
    held = await play.campaign()
    await play.fire(HOLDS, held)
    await play.run_at("holding", held)
    (play.daemon.folder / "policies" / f"{HOLDS}.yaml").unlink()
    play.daemon.policy(ASKS, text(pausing(ASKS)))
    assert play.daemon.child is not None
    play.daemon.child.process.send_signal(signal.SIGHUP)
    await announced(play, f"(SIGHUP): changed {ASKS}; removed {HOLDS}")

    async def mended() -> bool:
        now = await listed(play)
        return now["version"] not in (first, second) and not now["refused"]

    await until(mended, "the third set does not run")
    await play.closed(held, "fixed")
    assert await play.calls(held, "resume") == 1
    entries = _journal(play)
    assert [kind for kind, _ in entries] == ["reloaded", "reload-refused", "reloaded"]
    assert entries[0][1]["version"] == second
    assert "gate lost ops_marketing" in json.dumps(entries[0][1]["changes"])
    assert f"{ASKS}.yaml:" in json.dumps(entries[1][1]["problems"])


def _journal(play: Stage) -> list[tuple[str, dict[str, Any]]]:
    """What the system journal says of reloads."""
    asked = "SELECT kind, data FROM journal WHERE run = 'system' AND kind LIKE 'reload%' ORDER BY seq"
    with closing(sqlite3.connect(play.daemon.folder / "state.db")) as database:
        return [(kind, json.loads(data)) for kind, data in database.execute(asked)]
