"""What it stands on is missing: Prometheus, Slack, the pager, the API. It does nothing wrong, and says so."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.policies import UNATTENDED, UNPROVABLE, pausing, text
from tests.e2e.stage import Stage, stage
from tests.rig.processes import free_port
from tests.rig.room import until
from tests.rig.slack import FakeSlack
from tests.rig.webhook import Webhook
from tests.rig.world import LoyaltyWorld

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.no_cover]

ACTS, ASKS, PROM, BLIND = "act-now", "pause-campaign", "ask-prometheus", "pause-unproved"


def _asking_prometheus() -> dict[str, Any]:
    policy = pausing(PROM, gate=UNATTENDED)
    policy["diagnose"]["stuck"] = {
        "use": "prometheus.query", "via": "prometheus", "with": {"query": "sum(loyalty_campaign_stuck)"}
    }  # fmt: skip
    return policy


@pytest.fixture(scope="module")
def shared(one_world: LoyaltyWorld, one_slack: FakeSlack, one_pager: Webhook) -> Iterator[Stage]:
    policies = [
        pausing(ACTS, gate=UNATTENDED),
        pausing(ASKS),
        _asking_prometheus(),
        pausing(BLIND, gate=UNATTENDED, verify=UNPROVABLE),
    ]
    with stage(one_world, one_slack, *policies, page_webhook={"url": one_pager.url}) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def play(shared: Stage, one_pager: Webhook) -> AsyncIterator[Stage]:
    """The stage, with everything well again after each story."""
    yield shared
    await shared.slack.mode("ok")
    one_pager.status = 200


@pytest.fixture
def pager(play: Stage, one_pager: Webhook) -> Webhook:
    assert play.daemon.child is not None
    return one_pager


def _aged(play: Stage, by: timedelta) -> None:
    """The same store, that much later: every refusal has stood so much longer."""
    database = sqlite3.connect(play.daemon.folder / "state.db")
    for policy, fingerprint, doc in database.execute(
        "SELECT policy, fingerprint, doc FROM dispositions"
    ).fetchall():
        row = json.loads(doc)
        if row.get("refused_since"):
            row["refused_since"] = (datetime.fromisoformat(row["refused_since"]) - by).isoformat()
        database.execute(
            "UPDATE dispositions SET doc = ? WHERE policy = ? AND fingerprint = ?",
            (json.dumps(row).encode(), policy, fingerprint),
        )
    database.commit()
    database.close()


async def test_without_prometheus_nothing_acts_and_when_patience_is_over_somebody_is_paged(
    play: Stage, pager: Webhook
) -> None:
    campaign = await play.campaign()
    await play.fire(PROM, campaign)
    run = await play.closed(campaign, "refused")
    assert run["reason"].startswith("probe: stuck:")
    await until(lambda: _several(play, campaign, 2), "it was not decided again")
    assert await play.calls(campaign) == 0
    assert not [one for one in pager.deliveries if campaign in one.body["text"]]
    assert play.daemon.child is not None
    play.daemon.child.kill()
    _aged(play, timedelta(minutes=16))  # severity high waits for 15
    play.daemon.start()
    told = await pager.wait_for(lambda one: campaign in one.body["text"])
    assert "still fires, and has been refused" in told.body["text"]
    assert "probe: stuck" in told.body["text"]
    await play.paged(f"campaign/{campaign}")
    await asyncio.sleep(1.5)
    assert len([one for one in pager.deliveries if campaign in one.body["text"]]) == 1
    assert await play.calls(campaign) == 0


async def _several(play: Stage, campaign: str, times: int) -> bool:
    return len(await play.daemon.runs(target=f"campaign/{campaign}")) >= times


async def test_without_slack_a_gate_pages_by_the_other_road_and_its_card_comes_later(
    play: Stage, pager: Webhook
) -> None:
    await play.slack.mode("down")
    campaign = await play.campaign()
    run = await play.asked(ASKS, campaign)
    gate = str(run["gate"])
    told = await pager.wait_for(lambda one: gate in one.body["text"])
    for word in ("Slack cannot show it", f"/api/campaigns/{campaign}/pause", "1 of oncall", "gates approve"):
        assert word in told.body["text"]
    assert (await play.vote(gate, "amina"))[0] == 200
    await play.slack.mode("ok")
    await play.card_says(gate, "amina approved")
    assert (await play.click(gate, "bob")).status == 200
    await play.closed(campaign, "fixed")
    assert await play.calls(campaign) == 1


async def test_without_slack_votes_at_the_terminal_are_enough(play: Stage) -> None:
    await play.slack.mode("down")
    campaign = await play.campaign()
    gate = str((await play.asked(ASKS, campaign))["gate"])
    for person in ("amina", "bob"):
        assert (await play.cli("gates", "approve", gate, by=person)).status == 0
    await play.closed(campaign, "fixed")
    assert await play.calls(campaign) == 1


@pytest.mark.parametrize(
    "mode", [{"mode": "429", "retry_after": 1}, {"mode": "5xx"}, {"mode": "lost"}], ids=str
)
async def test_when_slack_refuses_a_while_the_card_comes_all_the_same(
    play: Stage, mode: dict[str, Any]
) -> None:
    await play.slack.mode(**mode, times=2)
    campaign = await play.campaign()
    gate = str((await play.asked(ASKS, campaign))["gate"])
    for person in ("amina", "bob"):
        assert (await play.click(gate, person)).status == 200
    run = await play.closed(campaign, "fixed")

    async def shown() -> bool:  # by one card at least: Slack may have lost the answer about others
        said = [json.dumps(one["blocks"]) for one in await play.slack.messages("C0OPS")]
        return any(run["id"] in one and "Outcome: fixed" in one for one in said)

    await until(shown, "no card tells the end")


async def test_a_page_takes_the_road_that_is_open(play: Stage, pager: Webhook) -> None:
    pager.status = 500
    campaign = await play.campaign()
    await play.world.fault("hang", path=f"/api/campaigns/{campaign}/pause")
    await play.fire(BLIND, campaign)
    run = await play.run_at("asking", campaign)
    await play.paged(f"remediator runs settle {run['id']}")
    pages = [one for one in (await play.daemon.get("/api/v1/pages"))["pages"] if one["run"] == run["id"]]
    assert [("slack" in str(one["sent"]), "webhook: answered 500" in one["error"]) for one in pages] == [
        (True, True)
    ]


async def test_a_page_that_reached_nobody_is_kept_and_delivered_when_a_road_opens(
    play: Stage, pager: Webhook
) -> None:
    pager.status = 500
    await play.slack.mode("down")
    campaign = await play.campaign()
    await play.world.fault("hang", path=f"/api/campaigns/{campaign}/pause")
    await play.fire(BLIND, campaign)
    run = await play.run_at("asking", campaign)
    await pager.wait_for(lambda one: one.body["run"] == run["id"])
    await until(lambda: _page(play, run, "error"), "the page does not say that it reached nobody")
    assert play.daemon.child is not None
    play.daemon.child.kill()
    play.daemon.start()
    before = _deliveries(pager, run)
    pager.status = 200
    await until(lambda: _page(play, run, "sent"), "the page was forgotten")
    assert _deliveries(pager, run) == before + 1
    pages = (await play.daemon.get("/api/v1/pages"))["pages"]
    page = next(one["id"] for one in pages if one["run"] == run["id"])
    assert (await play.cli("pages", "ack", page, by="bob")).status == 0
    assert not await _page(play, run, "id")


async def _page(play: Stage, run: dict[str, Any], what: str) -> bool:
    pages = (await play.daemon.get("/api/v1/pages"))["pages"]
    return any(one[what] for one in pages if one["run"] == run["id"])


def _deliveries(pager: Webhook, run: dict[str, Any]) -> int:
    return len([one for one in pager.deliveries if one.body["run"] == run["id"]])


async def test_an_api_that_cannot_be_read_is_not_acted_on(play: Stage) -> None:
    faults: list[dict[str, Any]] = [
        {"kind": "status"}, {"kind": "hang"}, {"kind": "cut"}, {"kind": "status", "status": 404}
    ]  # fmt: skip

    async def story(fault: dict[str, Any]) -> None:
        campaign = await play.campaign()
        await play.world.fault(**fault, method="GET", path=f"/api/programs/p-{campaign}")
        await play.fire(ACTS, campaign)
        run = await play.run_with(campaign, lambda one: one["outcome"] in ("refused", "failed"))
        assert "program" in run["reason"]
        await play.closed(campaign, "fixed")  # the fault was for once; the alert fires on
        assert await play.calls(campaign) == 1

    await asyncio.gather(*map(story, faults))


async def test_an_act_that_did_not_happen_is_not_sent_again_by_itself(play: Stage) -> None:
    async def story(kind: str) -> None:
        campaign = await play.campaign()
        await play.world.fault(kind, path=f"/api/campaigns/{campaign}/pause")
        await play.fire(ACTS, campaign)
        run = await play.run_at("asking", campaign)
        await play.paged(f"remediator runs settle {run['id']}")
        await asyncio.sleep(1.5)
        assert (await play.calls(campaign), await play.done(campaign)) == (1, 0)
        said = await play.cli("runs", "settle", run["id"], "not-happened", "--reason", "it runs", by="bob")
        assert said.status == 0, said
        await play.closed(campaign, "failed")

    await asyncio.gather(story("status"), story("cut"))


@pytest.mark.parametrize("kind", ["close", "hang", "status_after"])
async def test_an_act_whose_answer_was_lost_is_proved_by_looking(play: Stage, kind: str) -> None:
    campaign = await play.campaign()
    await play.world.fault(kind, path=f"/api/campaigns/{campaign}/pause")
    await play.fire(ACTS, campaign)
    run = await play.closed(campaign, "fixed")
    verified = await play.entry(run["id"], "verified")
    assert verified["data"]["settles_unknown"] is True
    assert (await play.calls(campaign), await play.done(campaign)) == (1, 1)


async def test_an_act_that_the_api_refuses_is_a_failure_and_is_told(play: Stage) -> None:
    campaign = await play.campaign()
    await play.world.fault("status", path=f"/api/campaigns/{campaign}/pause", status=422)
    await play.fire(ACTS, campaign)
    run = await play.closed(campaign, "failed")
    assert "422" in run["reason"]
    await play.paged("pause was refused")
    assert await play.calls(campaign) == 1


async def test_an_api_that_is_not_there_refuses_the_run(one_world: LoyaltyWorld, slack: FakeSlack) -> None:
    with stage(one_world, slack, pausing(ACTS, gate=UNATTENDED)) as play:
        assert play.daemon.child is not None
        play.daemon.child.end()
        connections = play.daemon.config["connections"]
        nowhere = {**connections["loyalty_api"], "base_url": f"http://127.0.0.1:{free_port()}"}
        play.daemon.config["connections"] = connections | {"loyalty_api": nowhere}
        play.daemon.start()
        campaign = await play.campaign()
        await play.fire(ACTS, campaign)
        run = await play.closed(campaign, "refused")
        assert "campaign" in run["reason"]


async def test_a_bad_policy_on_reload_keeps_the_running_set_and_says_all_that_is_wrong(play: Stage) -> None:
    assert play.daemon.child is not None
    bad = pausing(ASKS)
    bad["steps"]["pause"].pop("gate")
    bad["steps"]["pause"]["via"] = "loyalty_apu"
    play.daemon.policy(ASKS, text(bad))
    play.daemon.policy("broken", "policy: [")
    play.daemon.child.process.send_signal(signal.SIGHUP)
    await until(lambda: _said(play, "nothing was changed"), "the log says nothing")
    status, answer = await play.daemon.post("/api/v1/policies/reload", {}, by="chen")
    assert status == 409
    problems = "\n".join(answer["data"]["problems"])
    assert "broken.yaml:" in problems
    assert f"{ASKS}.yaml:" in problems
    assert "did you mean loyalty_api?" in problems
    campaign = await play.campaign()
    await play.asked(ASKS, campaign)
    (play.daemon.folder / "policies" / "broken.yaml").unlink()
    play.daemon.policy(ASKS, text(pausing(ASKS)))
    assert {one["name"] for one in (await play.daemon.get("/api/v1/policies"))["policies"]} == {
        ACTS,
        ASKS,
        PROM,
        BLIND,
    }


async def _said(play: Stage, words: str) -> bool:
    return play.daemon.child is not None and words in play.daemon.child.said()
