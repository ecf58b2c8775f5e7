"""One step for each of twelve campaigns: one card with all of them, and each is paused and resumed once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.policies import RESUME_PATH, gated, pausing
from tests.e2e.stage import Stage, stage
from tests.rig.slack import FakeSlack
from tests.rig.world import LoyaltyWorld

pytestmark = [pytest.mark.e2e, pytest.mark.no_cover]

SEVERAL = "pause-several"
GONE = 5
"""The number of a campaign that is not there: its item is not begun, and the next one is."""


def several() -> dict[str, Any]:
    """The campaigns whose names are the alert's own and a number."""
    numbers = ", ".join(str(number) for number in range(1, 13))
    step: dict[str, Any] = {
        "for_each": f'${{[{numbers}].map(n, {{"id": campaign_id + "-" + string(n)}})}}',
        "at_most": 12,
        "stop_after": 3,
        "on_failure": "continue",
        "gate": gated(oncall=1),
        "undo": {
            "use": "http.request",
            "with": {"method": "POST", "path": RESUME_PATH.replace("campaign_id", "each.id"), "body": {}},
            "after": "10s",  # the last has begun before the first is taken back
        },
    }
    found = pausing(SEVERAL, **step)
    pause = found["steps"]["pause"]
    pause["verify"]["until"] = f"before.ok && {pause['verify']['until']}"  # what cannot be read is let be
    for call in (pause, pause["verify"]):
        call["with"] = {**call["with"], "path": call["with"]["path"].replace("campaign_id", "each.id")}
    return found


@pytest.fixture
def play(one_world: LoyaltyWorld, one_slack: FakeSlack) -> Iterator[Stage]:
    with stage(one_world, one_slack, several()) as one:
        yield one


async def test_twelve_campaigns_are_paused_and_resumed_by_one_approval(play: Stage) -> None:
    name = await play.campaign()
    for number in range(1, 13):
        if number != GONE:
            about = {"status": "running", "program_id": f"p-{name}", "points_per_second": 0.0}
            await play.world.control(f"campaigns/{name}-{number}", **about)
    run = await play.asked(SEVERAL, name)
    gate = str(run["gate"])
    await play.card_says(gate, "… 2 more of 12 items of pause", "All 12 items stand in")
    (file,) = await play.slack.files()
    assert all(f"/api/campaigns/{name}-{number}/pause" in file["content"] for number in range(1, 13))
    assert await play.calls(f"{name}-1") == 0
    assert (await play.click(gate, "bob")).status == 200
    await play.card_says(gate, "11 proved, 1 refused")
    closed = await play.closed(name, "failed")
    assert closed["reason"].startswith(f"pause: 1 of 12 items did not work: pause[{GONE}]: ")
    for number in range(1, 13):
        there = number != GONE
        assert await play.calls(f"{name}-{number}") == there
        assert await play.done(f"{name}-{number}") == there
        assert await play.done(f"{name}-{number}", "resume") == there
