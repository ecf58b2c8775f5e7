"""The fake Slack, driven by the real client: it must refuse what the real one refuses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from slack_sdk.errors import SlackApiError
from slack_sdk.models.blocks import ActionsBlock, ButtonElement, SectionBlock
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from tests.fakes.slack_clicks import Click
from tests.rig.slack import SIGNING_SECRET, FakeSlack


def card(question: str = "Restart web-1?", value: str = "gate-1") -> list[dict[str, Any]]:
    approve = ButtonElement(text="Approve", action_id="approve", value=value, style="primary")
    deny = ButtonElement(text="Deny", action_id="deny", value=value, style="danger")
    blocks = [SectionBlock(text=question), ActionsBlock(block_id="gate", elements=[approve, deny])]
    return [block.to_dict() for block in blocks]


def section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def button(**changes: object) -> dict[str, Any]:
    plain = {"type": "button", "action_id": "a", "text": {"type": "plain_text", "text": "Yes"}, "value": "v"}
    return {"type": "actions", "elements": [{**plain, **changes}]}


@asynccontextmanager
async def receiver(secret: str = SIGNING_SECRET) -> AsyncIterator[str]:
    """Answers 200 to a callback that slack_sdk's own verifier believes, 401 to others."""
    verifier = SignatureVerifier(secret)

    async def actions(request: web.Request) -> web.Response:
        body = await request.read()
        try:
            good = verifier.is_valid_request(body, dict(request.headers))
        except ValueError:
            good = False
        return web.Response(status=200 if good else 401, text="seen" if good else "no")

    app = web.Application()
    app.router.add_post("/hooks/slack/actions", actions)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hooks/slack/actions"
    finally:
        await runner.cleanup()


async def test_says_who_the_bot_is(slack: FakeSlack) -> None:
    answer = await slack.client().auth_test()
    assert (answer["team_id"], answer["user_id"]) == ("T01TEST", "U0BOT")


@pytest.mark.parametrize(("token", "error"), [("xoxb-other", "invalid_auth"), ("", "not_authed")])
async def test_a_wrong_token_is_refused(slack: FakeSlack, token: str, error: str) -> None:
    with pytest.raises(SlackApiError) as refused:
        await AsyncWebClient(token=token, base_url=slack.api_url).auth_test()
    assert refused.value.response["error"] == error


async def test_a_card_is_posted_updated_and_kept(slack: FakeSlack) -> None:
    client = slack.client()
    posted = await client.chat_postMessage(channel="C0OPS", text="approve?", blocks=card())
    await client.chat_update(channel="C0OPS", ts=posted["ts"], text="approve?", blocks=card("Restart web-2?"))
    (message,) = await slack.messages("C0OPS")
    assert message["ts"] == posted["ts"]
    assert message["updates"] == 1
    assert message["blocks"][0]["text"]["text"] == "Restart web-2?"
    assert message["versions"][0]["blocks"][0]["text"]["text"] == "Restart web-1?"
    assert [call["method"] for call in await slack.calls()] == ["chat.postMessage", "chat.update"]


async def test_an_update_with_text_alone_removes_the_blocks(slack: FakeSlack) -> None:
    client = slack.client()
    posted = await client.chat_postMessage(channel="C0OPS", text="approve?", blocks=card())
    await client.chat_update(channel="C0OPS", ts=posted["ts"], text="over")
    (message,) = await slack.messages()
    assert message["blocks"] == []


async def test_an_update_of_nothing_is_refused(slack: FakeSlack) -> None:
    with pytest.raises(SlackApiError, match="message_not_found"):
        await slack.client().chat_update(channel="C0OPS", ts="1.000001", text="x")


async def test_only_one_person_sees_an_ephemeral_message(slack: FakeSlack) -> None:
    await slack.client().chat_postEphemeral(channel="C0OPS", user="U01ALICE", text="not you")
    (message,) = await slack.messages()
    assert (message["ephemeral"], message["user"]) == (True, "U01ALICE")


async def test_a_direct_conversation_is_opened(slack: FakeSlack) -> None:
    client = slack.client()
    first = await client.conversations_open(users="U01ALICE")
    again = await client.conversations_open(users=["U01ALICE"])
    assert first["channel"]["id"] == again["channel"]["id"]
    assert first["channel"]["id"].startswith("D")
    await client.chat_postMessage(channel=first["channel"]["id"], text="page")


async def test_knows_guests_and_bots(slack: FakeSlack) -> None:
    await slack.workspace(users={"U0GUEST": {"is_restricted": True}, "U0GONE": {"missing": True}})
    client = slack.client()
    assert (await client.users_info(user="U0GUEST"))["user"]["is_restricted"] is True
    assert (await client.users_info(user="U01ALICE"))["user"]["is_restricted"] is False
    with pytest.raises(SlackApiError, match="user_not_found"):
        await client.users_info(user="U0GONE")


@pytest.mark.parametrize(
    ("blocks", "complaint"),
    [
        ([section("x")] * 51, "no more than 50 items allowed"),
        ([section("x" * 3001)], "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"),
        ([section("")], "must be more than 0 characters"),
        ([button(text={"type": "plain_text", "text": "x" * 76})], "must be less than 76 characters"),
        ([button(text={"type": "mrkdwn", "text": "x"})], "unsupported type"),
        ([button(value="x" * 2001)], "must be less than 2001 characters"),
        ([button(action_id="x" * 256)], "must be less than 256 characters"),
        ([button(style="green")], "must be one of: primary, danger"),
        ([{"type": "actions", "elements": []}], "no less than 1 items allowed"),
        ([{"type": "marquee"}], "unsupported type"),
        ([{**section("x"), "block_id": "same"}] * 2, "`block_id` same already exists"),
    ],
)
async def test_block_kit_limits(slack: FakeSlack, blocks: list[dict[str, Any]], complaint: str) -> None:
    with pytest.raises(SlackApiError) as refused:
        await slack.client().chat_postMessage(channel="C0OPS", text="x", blocks=blocks)
    assert refused.value.response["error"] == "invalid_blocks"
    assert complaint in refused.value.response["errors"][0]
    assert await slack.messages() == []


async def test_the_greatest_that_is_allowed_is_taken(slack: FakeSlack) -> None:
    text = {"type": "plain_text", "text": "x" * 75}
    blocks = [*[section("x" * 3000)] * 49, button(text=text, value="v" * 2000, action_id="a" * 255)]
    await slack.client().chat_postMessage(channel="C0OPS", text="x", blocks=blocks)
    assert len((await slack.messages())[0]["blocks"]) == 50


async def test_refuses_no_text_and_no_channel(slack: FakeSlack) -> None:
    await slack.workspace(missing_channels=["C0GONE"])
    with pytest.warns(UserWarning, match="text"), pytest.raises(SlackApiError, match="no_text"):
        await slack.client().chat_postMessage(channel="C0OPS", text="")
    with pytest.raises(SlackApiError, match="channel_not_found"):
        await slack.client().chat_postMessage(channel="C0GONE", text="x")


async def test_too_many_posts_to_one_channel_are_held_off(slack: FakeSlack) -> None:
    await slack.workspace(per_channel=1.0)
    client = slack.client()
    await client.chat_postMessage(channel="C0OPS", text="one")
    with pytest.raises(SlackApiError) as refused:
        await client.chat_postMessage(channel="C0OPS", text="two")
    assert refused.value.response.status_code == 429
    assert refused.value.response.headers["Retry-After"] == "1"
    await client.chat_postMessage(channel="C0ELSE", text="another channel")


async def test_moods(slack: FakeSlack) -> None:
    client = slack.client()
    await slack.mode("429", retry_after=7, times=1)
    with pytest.raises(SlackApiError) as limited:
        await client.chat_postMessage(channel="C0OPS", text="x")
    assert limited.value.response.headers["Retry-After"] == "7"
    await client.chat_postMessage(channel="C0OPS", text="the mood was for one call")

    await slack.mode("5xx", methods=["chat.update"])
    await client.chat_postMessage(channel="C0OPS", text="other methods work")
    with pytest.raises(SlackApiError):
        await client.chat_update(channel="C0OPS", ts="1.1", text="x")

    await slack.mode("slow", delay=0.3)
    began = time.monotonic()
    await client.auth_test()
    assert time.monotonic() - began >= 0.3
    assert [call["mood"] for call in await slack.calls()] == ["429", "ok", "ok", "5xx", "slow"]


@pytest.mark.parametrize(("mood", "kept"), [("down", 0), ("lost", 1)])
async def test_a_closed_connection_before_or_after_the_message(
    slack: FakeSlack, mood: str, kept: int
) -> None:
    await slack.mode(mood)
    client = AsyncWebClient(token=slack.bot_token, base_url=slack.api_url, retry_handlers=[])
    with pytest.raises(aiohttp.ClientError):
        await client.chat_postMessage(channel="C0OPS", text="x")
    assert len(await slack.messages()) == kept


async def test_a_click_is_signed_and_shaped_as_the_real_one(slack: FakeSlack) -> None:
    posted = await slack.client().chat_postMessage(channel="C0OPS", text="approve?", blocks=card())
    async with receiver() as url:
        answer = await slack.click(Click(url, "approve", user_id="U0AMINA"))
    assert (answer.status, answer.body) == (200, "seen")
    payload = answer.payload
    assert payload["type"] == "block_actions"
    assert payload["user"]["id"] == "U0AMINA"
    assert (payload["team"]["id"], payload["api_app_id"]) == ("T01TEST", "A01APP")
    assert payload["container"]["message_ts"] == payload["message"]["ts"] == posted["ts"]
    assert payload["channel"]["id"] == "C0OPS"
    (action,) = payload["actions"]
    assert (action["action_id"], action["block_id"], action["value"]) == ("approve", "gate", "gate-1")


async def test_forged_and_stale_clicks_are_not_believed(slack: FakeSlack) -> None:
    await slack.client().chat_postMessage(channel="C0OPS", text="approve?", blocks=card())
    async with receiver() as url:
        forged = [
            Click(url, "approve", signature="corrupt"),
            Click(url, "approve", signature="other-secret"),
            Click(url, "approve", signature="missing"),
            Click(url, "approve", time_offset=-400),
            Click(url, "approve", time_offset=400),
            Click(url, "approve", timestamp="soon"),
        ]
        assert [(await slack.click(click)).status for click in forged] == [401] * 6


async def test_a_click_may_lie_about_everything(slack: FakeSlack) -> None:
    await slack.client().chat_postMessage(channel="C0OPS", text="approve?", blocks=card())
    async with receiver() as url:
        answer = await slack.click(
            Click(url, "approve", user_id="U0EVE", team_id="T0EVIL", app_id="A0EVIL", value="gate-2")
        )
    assert answer.status == 200
    assert answer.payload["team"]["id"] == answer.payload["user"]["team_id"] == "T0EVIL"
    assert answer.payload["api_app_id"] == "A0EVIL"
    assert answer.payload["actions"][0]["value"] == "gate-2"


async def test_a_former_click_is_replayed_byte_by_byte(slack: FakeSlack) -> None:
    await slack.client().chat_postMessage(channel="C0OPS", text="approve?", blocks=card())
    async with receiver() as url:
        first = await slack.click(Click(url, "approve"))
        again = await slack.click(Click(url, replay=first.click))
        await asyncio.sleep(1.1)
        resigned = await slack.click(Click(url, replay=first.click, resign=True))
    assert again.sent == first.sent
    assert resigned.sent["body"] == first.sent["body"]
    assert resigned.sent["headers"] != first.sent["headers"]
    assert resigned.status == 200


async def test_the_response_url_of_a_click_is_answered(slack: FakeSlack) -> None:
    await slack.client().chat_postMessage(channel="C0OPS", text="approve?", blocks=card())
    async with receiver() as url:
        answer = await slack.click(Click(url, "deny"))
    url = answer.payload["response_url"]
    async with aiohttp.ClientSession() as session, session.post(url, json={"text": "noted"}) as reply:
        assert reply.status == 200
    assert [one["body"] for one in await slack.responses()] == [{"text": "noted"}]


async def test_a_slash_command_is_signed(slack: FakeSlack) -> None:
    async with receiver() as url:
        answer = await slack.command(url, "/remediator", "halt", user_id="U0BOB")
        assert answer.status == 200
        assert "command=%2Fremediator&text=halt" in answer.sent["body"]
        assert (await slack.command(url, "/remediator", signature="corrupt")).status == 401


async def test_nobody_clicks_a_button_that_is_not_there(slack: FakeSlack) -> None:
    with pytest.raises(AssertionError, match="no message with a button"):
        await slack.click(Click("http://127.0.0.1:9/", "approve"))
    await slack.reset()
    assert await slack.messages() == []
