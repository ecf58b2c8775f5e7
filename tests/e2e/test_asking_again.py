"""A gate that nobody answered in time is asked again: from the card, the page, the API and the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.policies import gated, pausing
from tests.e2e.stage import Stage, stage
from tests.rig.room import button
from tests.rig.slack import FakeSlack
from tests.rig.world import LoyaltyWorld

pytestmark = [pytest.mark.e2e, pytest.mark.no_cover]

SOON_OVER = "soon-over"


@pytest.fixture(scope="module")
def play(one_world: LoyaltyWorld, one_slack: FakeSlack) -> Iterator[Stage]:
    """A gate that expires after three seconds, and a cooldown that outlasts every story."""
    policy = pausing(SOON_OVER, gate=gated(within="3s"))
    policy["bounds"]["cooldown"] = "1h"
    with stage(one_world, one_slack, policy) as one:
        yield one


async def _expired(play: Stage) -> tuple[str, dict[str, Any], str]:
    """A campaign, the run that nobody answered, and its gate."""
    campaign = await play.campaign()
    run = await play.asked(SOON_OVER, campaign)
    await play.closed(campaign, "expired")
    await play.card_says(str(run["gate"]), "Nobody answered in time", "Ask again")
    return campaign, run, str(run["gate"])


async def _agreed(play: Stage, campaign: str, expired: str) -> None:
    """People are asked anew, and this time they answer."""
    again = await play.run_with(campaign, lambda run: run["id"] != expired and bool(run["gate"]))
    for person in ("amina", "bob"):
        assert (await play.click(str(again["gate"]), person)).status == 200
    await play.closed(campaign, "fixed")
    assert await play.calls(campaign) == 1


async def test_from_the_card_it_is_asked_again_at_once_and_approved(play: Stage) -> None:
    campaign, run, gate = await _expired(play)
    assert (await play.click(gate, "amina", "again")).status == 200
    await play.whispered("amina", "asked again: run r-")
    entry = await play.entry(run["id"], "asked-again")
    assert (entry["data"]["by"], entry["data"]["via"]) == ("amina", "slack")
    await play.card_says(gate, f"amina asked again: run {entry['data']['opened']} was opened")
    assert '"again"' not in str((await play.card(gate))["blocks"]).replace("'", '"')
    await _agreed(play, campaign, run["id"])


async def test_from_the_page_that_reached_somebody_in_slack(play: Stage) -> None:
    campaign, run, gate = await _expired(play)
    paged = await play.paged(f"gate {gate} expired")
    given = {"channel": paged["channel"], "ts": paged["ts"], "value": button(paged, "again")}
    assert given["value"] == gate
    assert (await play.click(gate, "bob", "again", **given)).status == 200
    await _agreed(play, campaign, run["id"])


async def test_by_api_and_terminal_and_the_second_wish_finds_the_open_run(play: Stage) -> None:
    campaign, run, gate = await _expired(play)
    status, told = await play.daemon.post(f"/api/v1/gates/{gate}/ask", {}, by="chen")
    assert (status, "has none of the roles" in told["text"]) == (403, True)
    assert (await play.daemon.post(f"/api/v1/gates/{gate}/ask", {}))[0] == 401
    said = await play.cli("gates", "ask", gate, by="bob")
    assert said.status == 0, said
    assert "asked again: run r-" in said.out
    status, told = await play.daemon.post(f"/api/v1/gates/{gate}/ask", {}, by="amina")
    assert (status, told["ok"]) == (200, True)
    assert f"is open about campaign/{campaign} already" in told["text"]
    runs = [one for one in await play.daemon.runs() if one["target"] == f"campaign/{campaign}"]
    assert len(runs) == 2
    assert told["data"]["run"] == runs[0]["id"] != run["id"]
    await _agreed(play, campaign, run["id"])


async def test_a_denial_stays_denied(play: Stage) -> None:
    campaign = await play.campaign()
    run = await play.asked(SOON_OVER, campaign)
    gate = str(run["gate"])
    assert (await play.click(gate, "bob", "deny", typed={"reason": "the sale ends tonight"})).status == 200
    denied = await play.closed(campaign, "denied")
    assert denied["reason"] == "denied by bob: the sale ends tonight"
    await play.card_says(gate, "bob denied", "the sale ends tonight")
    status, told = await play.daemon.post(f"/api/v1/gates/{gate}/ask", {}, by="bob")
    assert (status, "this one is denied" in told["text"]) == (409, True)
    assert (await play.cli("gates", "ask", gate, by="bob")).status != 0
    assert await play.calls(campaign) == 0


async def test_an_alert_that_ended_meanwhile_is_not_asked_about(play: Stage) -> None:
    campaign, run, gate = await _expired(play)
    await play.fire(SOON_OVER, campaign, "resolved")
    assert (await play.click(gate, "amina", "again")).status == 200
    await play.whispered("amina", f"no alert of run {run['id']} fires any more")
    assert await play.calls(campaign) == 0
