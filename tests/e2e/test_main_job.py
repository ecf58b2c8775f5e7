"""The main job, with everything real: a metric crosses a line, and production is repaired safely."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.policies import PACK, pack, stuck_campaign
from tests.fakes.slack_clicks import Click
from tests.rig.alertmanager import running_alertmanager
from tests.rig.daemon import HOOK_TOKEN, PEOPLE, Daemon, daemon, settings
from tests.rig.processes import free_port
from tests.rig.prometheus import running_prometheus
from tests.rig.slack import FakeSlack
from tests.rig.world import LoyaltyWorld

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.real,
    pytest.mark.needs("prometheus", "alertmanager"),
]

PAUSED = ("POST", "/api/campaigns/c-103/pause")


@pytest.fixture
def live(world: LoyaltyWorld, slack: FakeSlack, tmp_path: Path) -> Iterator[Daemon]:
    """World → Prometheus → Alertmanager → daemon → Slack, all as their own processes."""
    port = free_port()
    rules = tmp_path / "alerts.yaml"  # the shipped ones, with an hour shortened to seconds
    rules.write_text((PACK / "alerts.yaml").read_text().replace("> 3600", "> 4"))
    hook = f"http://127.0.0.1:{port}/hooks/alertmanager"
    with (
        running_alertmanager(hook, HOOK_TOKEN, group_by=("alertname", "campaign_id")) as alertmanager,
        running_prometheus(
            {"loyalty": world.url}, alertmanager=alertmanager.url, rule_files=[rules]
        ) as prometheus,
    ):
        config = settings(world=world.url, prometheus=prometheus.url, slack=slack)
        policies = {name: pack(name) for name in ("tier-evaluator",)}
        with daemon(config, policies | {"stuck-campaign": stuck_campaign()}) as one:
            assert one.child is not None
            one.child.end()
            one.start(port)
            yield one


async def _card(slack: FakeSlack, gate: str) -> dict[str, Any]:
    """The message that shows a gate."""
    for _ in range(600):
        for message in await slack.messages("C0OPS"):
            if gate in json.dumps(message["blocks"]):
                return message
        await asyncio.sleep(0.05)
    raise AssertionError(f"no card shows {gate}")


async def _followed(slack: FakeSlack, ts: str, word: str) -> str:
    """The same message, once it shows a word."""
    shown = ""
    for _ in range(600):
        shown = json.dumps(next(one["blocks"] for one in await slack.messages("C0OPS") if one["ts"] == ts))
        if word in shown:
            return shown
        await asyncio.sleep(0.05)
    raise AssertionError(f"the card never shows {word}: {shown}")


def _value(card: dict[str, Any], action: str) -> str:
    for block in card["blocks"]:
        for element in block.get("elements", []):
            if element.get("action_id") == action:
                return str(element["value"])
    raise AssertionError(f"the card has no {action} button")


async def test_a_stuck_campaign_is_retriggered_then_paused_with_two_peoples_word_and_given_back(
    live: Daemon, world: LoyaltyWorld, slack: FakeSlack
) -> None:
    await world.control("campaigns/c-103", stuck=True, retrigger="fails")

    run = await live.wait_stage("waiting", policy="molam-stuck-campaign")
    posts = [(one["method"], one["path"]) for one in await world.requests() if one["method"] != "GET"]
    assert posts == [("POST", "/api/workers/campaign-execution")]  # the safe step ran by itself
    card = await _card(slack, f"{run['id']}.1")
    shown = json.dumps(card["blocks"])
    assert "LoyaltyCampaignStuck" in shown
    assert "/api/campaigns/c-103/pause" in shown

    where = f"{live.url}/hooks/slack/actions"
    for person in ("amina", "bob"):
        value = _value(card, "approve")
        click = Click(where, "approve", user_id=PEOPLE[person], channel="C0OPS", ts=card["ts"], value=value)
        assert (await slack.click(click)).status == 200

    await live.wait_stage("holding", policy="molam-stuck-campaign")
    posts = [(one["method"], one["path"]) for one in await world.requests() if one["method"] != "GET"]
    assert posts.count(PAUSED) == 1
    closed = await live.wait_outcome("fixed", policy="molam-stuck-campaign")
    assert closed["id"] == run["id"]
    kinds = await live.kinds(run["id"])
    for expected in ("opened", "decided", "started", "unverified", "gate-opened", "vote", "gate-approved",
                     "verified", "holding", "undo-started", "undone", "closed"):  # fmt: skip
        assert expected in kinds, f"{expected} is missing in {kinds}"
    assert kinds.index("gate-approved") < len(kinds) - kinds[::-1].index("started")
    paths = [entry["path"] for entry in await world.ledger()]
    assert paths.count("/api/campaigns/c-103/pause") == 1
    assert paths.count("/api/campaigns/c-103/resume") == 1
    final = await _followed(slack, card["ts"], "fixed")
    assert "amina, bob" in final
    assert '"action_id": "approve"' not in final


async def test_a_failed_tier_evaluator_is_run_again_without_anybody(
    live: Daemon, world: LoyaltyWorld
) -> None:
    await world.control("workers/tier-evaluation", failing=True, retrigger="helps", interval=1)
    run = await live.wait_outcome("fixed", policy="molam-tier-evaluator-failed")
    assert "verified" in await live.kinds(run["id"])
    paths = [entry["path"] for entry in await world.ledger()]
    assert paths == ["/api/workers/tier-evaluation"]
