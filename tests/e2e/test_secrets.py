"""Canaries in every place that holds a secret: after a whole day of trouble none of them sings anywhere."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from remediator.web.routes import ROUTES
from tests.e2e.policies import UNATTENDED, UNPROVABLE, holding, pausing, text
from tests.e2e.stage import Stage
from tests.rig.daemon import HOOK_TOKEN, alert, daemon, settings, token_of, webhook
from tests.rig.room import terminal
from tests.rig.served import served
from tests.rig.slack import FakeSlack
from tests.rig.webhook import Webhook, running_webhook
from tests.rig.world import TOKEN, LoyaltyWorld

pytestmark = [pytest.mark.e2e]

ASKS, BLIND, HOLDS, ECHO = "pause-campaign", "pause-unproved", "hold-campaign", "ask-echo"
PAGER, ECHOED, BASIC = "canary-of-the-pager-7c1", "canary-that-is-echoed-41d", "canary-of-basic-93e"


@pytest.fixture
async def pager() -> AsyncIterator[Webhook]:
    async with running_webhook() as one:
        yield one


@pytest.fixture
async def echo() -> AsyncIterator[str]:
    """A service that answers with what it was sent, headers and all, and in its errors too."""

    async def answer(request: web.Request) -> web.Response:
        said = {"headers": dict(request.headers), "url": str(request.url)}
        return web.json_response(said, status=int(request.query.get("status", "200")))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with served(app) as url:
        yield url


def _canaries(slack: FakeSlack) -> dict[str, str]:
    return {
        "hook": HOOK_TOKEN,
        "loyalty api": TOKEN,
        "slack bot": slack.bot_token,
        "slack app": slack.app_token,
        "slack signing": slack.signing_secret,
        "pager": PAGER,
        **{person: token_of(person) for person in ("amina", "bob", "chen")},
    }


@pytest.fixture
def play(world: LoyaltyWorld, slack: FakeSlack, pager: Webhook, tmp_path: Path) -> Iterator[Stage]:
    policies = [pausing(ASKS), pausing(BLIND, gate=UNATTENDED, verify=UNPROVABLE), holding(after="1s")]
    road = {"url": pager.url, "headers": {"X-Pager-Key": "${env:PAGER_KEY}"}}
    config = settings(world=world.url, slack=slack, page_webhook=road)
    signing = tmp_path / "signing"
    signing.write_text(f"{slack.signing_secret}\n")
    config["slack"] |= {"bot_token": "${env:BOT_TOKEN}", "signing_secret": f"${{file:{signing}}}"}
    config["slack"]["app_token"] = "${env:SLACK_APP_TOKEN}"
    texts = {policy["policy"]: text(policy) for policy in policies}
    with daemon(config, texts, PAGER_KEY=PAGER, BOT_TOKEN=slack.bot_token) as one:
        yield Stage(world, slack, one)


async def _a_day_of_trouble(play: Stage, pager: Webhook) -> None:
    """Gates, clicks, forged ones, unknown outcomes, pages on both roads, an API that fails, a bad reload."""
    campaign, blind, held, sick = [await play.campaign() for _ in range(4)]
    gate = str((await play.asked(ASKS, campaign))["gate"])
    await play.click(gate, "amina")
    await play.click(gate, "bob", signature="corrupt")
    await play.click(gate, "bob", user_id="U0STRANGER")
    await play.vote(gate, "bob")
    await play.closed(campaign, "fixed")
    await play.world.fault("close", path=f"/api/campaigns/{blind}/pause")
    await play.fire(BLIND, blind)
    run = await play.run_at("asking", blind)
    await pager.wait_for(lambda one: one.body["run"] == run["id"])
    await play.fire(HOLDS, held)
    await play.closed(held, "fixed")
    await play.world.fault("status", path=f"/api/campaigns/{sick}/pause", status=401)
    await play.fire(BLIND, sick)
    await play.closed(sick, "failed")
    pager.status = 500
    await play.slack.mode("down")
    await play.slack.sockets("cut")
    unheard = await play.campaign()
    await play.world.fault("close", path=f"/api/campaigns/{unheard}/pause")
    await play.fire(BLIND, unheard)
    await play.run_at("asking", unheard)
    await play.slack.mode("ok")
    play.daemon.policy("broken", "policy: [")
    await play.daemon.post("/api/v1/policies/reload", {}, by="chen")
    async with aiohttp.ClientSession() as session:
        for wrong in ("Bearer wrong", f"Basic {PAGER}", f"bearer{HOOK_TOKEN}"):
            headers = {"Authorization": wrong}
            body = webhook(alert("firing", alertname=ASKS, campaign_id=campaign))
            async with session.post(play.daemon.hook, json=body, headers=headers) as answer:
                assert answer.status == 401


async def _everything_said(play: Stage, pager: Webhook) -> dict[str, str]:
    """Every surface, by its name."""
    assert play.daemon.child is not None
    said = {"the log": play.daemon.child.said()}
    runs = [one["id"] for one in await play.daemon.runs()]
    for route in ROUTES:
        if route.method != "GET" or route.path in ("/static/{name}", "/api/v1/events"):
            continue
        paths = [route.path.replace("{id}", run) for run in runs] if "{id}" in route.path else [route.path]
        for path in dict.fromkeys(paths):
            for accept in ("application/json", "text/html"):
                said[f"{accept} {path}"] = await _page(f"{play.daemon.url}{path}", accept)
    said["slack"] = json.dumps([one | {"versions": one["versions"]} for one in await play.slack.messages()])
    said["whispers"] = json.dumps([one["arguments"] for one in await play.slack.calls("chat.postEphemeral")])
    said["pages"] = json.dumps([one.body for one in pager.deliveries])
    for words in (("runs", "show", runs[0]), ("gates", "list"), ("pages", "list"), ("runs", "list")):
        answer = await play.cli(*words, by="bob")
        said[" ".join(words)] = answer.out + answer.err
    for file in play.daemon.folder.glob("state.db*"):
        said[file.name] = file.read_bytes().decode("latin-1")
    return said


async def _page(url: str, accept: str) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers={"Accept": accept}) as answer,
    ):
        return f"{dict(answer.headers)} {await answer.text()}"


async def test_no_secret_is_ever_written_shown_or_sent(play: Stage, pager: Webhook) -> None:
    await _a_day_of_trouble(play, pager)
    said = await _everything_said(play, pager)
    assert sum(len(words) for name, words in said.items() if name.startswith("state.db")) > 50_000
    assert any("pause-campaign" in words for name, words in said.items() if name.startswith("state.db"))
    found = [
        f"{name} in {place}"
        for place, text_ in said.items()
        for name, canary in _canaries(play.slack).items()
        if canary in text_
    ]
    assert not found
    assert {one.headers["X-Pager-Key"] for one in pager.deliveries} == {PAGER}  # it went where it belongs


async def test_a_service_that_echoes_its_credentials_gives_none_away(
    one_world: LoyaltyWorld, one_slack: FakeSlack, echo: str
) -> None:
    policy = pausing(ECHO, gate=UNATTENDED, verify=UNPROVABLE)
    policy["diagnose"]["echoed"] = {"use": "http.get", "via": "echo", "with": {"path": "/well"}}
    policy["diagnose"]["failed"] = {
        "use": "http.get",
        "via": "echo",
        "with": {"path": "/ill", "query": {"status": "500"}},
        "optional": True,
    }
    policy["steps"]["pause"] |= {"via": "echo"}
    connections = settings(world=one_world.url)["connections"]
    headers = {"Authorization": "Bearer ${env:ECHOED}", "X-Other": "${env:OTHER}"}
    connections["echo"] = {"kind": "http", "base_url": echo, "headers": headers}
    config = settings(world=one_world.url, slack=one_slack, connections=connections)
    with daemon(config, {ECHO: text(policy)}, ECHOED=ECHOED, OTHER=BASIC) as one:
        play = Stage(one_world, one_slack, one)
        campaign = await play.campaign()
        await play.fire(ECHO, campaign)
        run = await play.closed(campaign, "fixed")
        assert play.daemon.child is not None
        surfaces = {
            "journal": json.dumps(await play.daemon.journal(run["id"])),
            "run": json.dumps(await play.daemon.get(f"/api/v1/runs/{run['id']}")),
            "log": play.daemon.child.said(),
        }
        for file in play.daemon.folder.glob("state.db*"):
            surfaces[file.name] = file.read_bytes().decode("latin-1")
    assert "/well" in surfaces["journal"]  # it was echoed indeed
    assert not [
        (name, canary) for name, said in surfaces.items() for canary in (ECHOED, BASIC) if canary in said
    ]


@pytest.mark.parametrize(
    "spoilt",
    [
        {"base_url": "ftp://user:CANARY@x"},
        {"base_url": "CANARY"},
        {"headers": {"Authorization": "two\nCANARY"}},
        {"headers": {"bad name": "CANARY"}},
        {"headers": "CANARY"},
        {"timeout": "CANARY"},
        {"kind": "http", "endpoints": {"POST /x": "CANARY"}},
    ],
    ids=str,
)
async def test_settings_that_cannot_be_used_are_told_without_their_secrets(
    tmp_path: Path, spoilt: dict[str, Any]
) -> None:
    config = settings(world="http://127.0.0.1:9")
    written = json.dumps(config["connections"]["loyalty_api"] | spoilt).replace("CANARY", "${env:SPOILT}")
    config["connections"]["loyalty_api"] = json.loads(written)
    (tmp_path / "policies").mkdir()
    (tmp_path / "remediator.yaml").write_text(json.dumps(config))
    given: dict[str, Any] = {"HOOK_TOKEN": "t", "LOYALTY_TOKEN": "t", "SPOILT": "canary-in-spoilt"}
    said = await terminal("serve", cwd=tmp_path, **given)
    assert said.status == 2
    assert "loyalty_api" in said.err
    assert "canary-in-spoilt" not in said.err + said.out
