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
from slack_sdk.models.blocks import (
    ActionsBlock,
    ButtonElement,
    InputBlock,
    PlainTextInputElement,
    SectionBlock,
)
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from tests.fakes import slack_blocks
from tests.fakes.slack_clicks import Click
from tests.rig.served import served
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
    async with served(app) as url:
        yield f"{url}/hooks/slack/actions"


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


def line(**changes: Any) -> dict[str, Any]:
    """An input block with a line of text; a change to None leaves that out."""
    element = {"type": "plain_text_input", "action_id": "reason"} | changes.pop("element", {})
    label = {"type": "plain_text", "text": "Reason"}
    block = {"type": "input", "block_id": "reason", "label": label, "element": element} | changes
    return {name: one for name, one in block.items() if one is not None}


@pytest.mark.parametrize(
    "block",
    [
        InputBlock(
            label="Reason", element=PlainTextInputElement(action_id="reason"), optional=True
        ).to_dict(),
        line(element={"max_length": 3000, "min_length": 0, "multiline": True}, dispatch_action=False),
        line(
            label={"type": "plain_text", "text": "x" * 2000},
            hint={"type": "plain_text", "text": "x" * 2000},
            element={"placeholder": {"type": "plain_text", "text": "x" * 150}, "action_id": "a" * 255},
        ),
        line(element={"initial_value": "as before"}),
    ],
)
async def test_a_line_to_type_in_is_taken_in_a_message_and_in_its_update(
    slack: FakeSlack, block: dict[str, Any]
) -> None:
    client = slack.client()
    posted = await client.chat_postMessage(channel="C0OPS", text="x", blocks=[block])
    await client.chat_update(channel="C0OPS", ts=posted["ts"], text="x", blocks=[block])


def test_an_input_block_is_refused_as_slack_refuses_it() -> None:
    plain = {"type": "plain_text", "text": "x"}
    for block, complaint in (
        (line(label=None), "must be a text object [json-pointer:/blocks/0/label]"),
        (line(label={"type": "mrkdwn", "text": "x"}), "unsupported type"),
        (line(label={**plain, "text": "x" * 2001}), "must be less than 2001 characters"),
        (line(label={**plain, "text": ""}), "must be more than 0 characters"),
        (line(hint={**plain, "text": "x" * 2001}), "must be less than 2001 characters"),
        ({**line(), "element": None}, "missing required field: element"),
        (line(element={"type": "button"}), "unsupported type"),
        (line(element={"type": "file_input"}), "unsupported type"),
        (line(optional="yes"), "must be a boolean"),
        (line(dispatch_action=1), "must be a boolean"),
        (line(element={"max_length": 3001}), "must be between 1 and 3000"),
        (line(element={"max_length": 0}), "must be between 1 and 3000"),
        (line(element={"min_length": -1}), "must be between 0 and 3000"),
        (line(element={"max_length": True}), "must be an integer"),
        (line(element={"action_id": "a" * 256}), "must be less than 256 characters"),
        (line(element={"placeholder": {**plain, "text": "x" * 151}}), "must be less than 151 characters"),
        (line(element={"value": "x"}), "invalid additional property: value"),
        (line(value="x"), "invalid additional property: value"),
        ({"type": "rich_text"}, "must be an array"),
        ({"type": "rich_text", "elements": [{"type": "table"}]}, "unsupported type"),
    ):
        assert complaint in slack_blocks.problems([block])[0], block


async def test_what_was_typed_comes_along_with_a_click(slack: FakeSlack) -> None:
    blocks = [line(), line(block_id="other", element={"action_id": "note"}), *card()]
    await slack.client().chat_postMessage(channel="C0OPS", text="x", blocks=blocks)
    async with receiver() as url:
        silent = await slack.click(Click(url, "deny"))
        told = await slack.click(Click(url, "deny", typed={"reason": "big sale"}))
    values = {"type": "plain_text_input", "value": None}
    assert silent.payload["state"]["values"] == {"reason": {"reason": values}, "other": {"note": values}}
    assert told.payload["state"]["values"]["reason"]["reason"]["value"] == "big sale"


# ── Files ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_file_is_begun_uploaded_and_shown_in_a_thread(slack: FakeSlack) -> None:
    client = slack.client()
    posted = await client.chat_postMessage(channel="C0OPS", text="card")
    done = await client.files_upload_v2(
        content="id,rate\n", filename="rows.csv", channel="C0OPS", thread_ts=posted["ts"]
    )
    (file,) = await slack.files()
    assert (file["id"], file["content"], file["shared"]) == (done["file"]["id"], "id,rate\n", True)
    assert (file["channel"], file["thread_ts"]) == ("C0OPS", posted["ts"])


async def test_a_file_is_refused_as_slack_refuses_it(slack: FakeSlack) -> None:
    client = slack.client()
    with pytest.raises(SlackApiError, match="invalid_arguments"):
        await client.files_getUploadURLExternal(filename="", length=3)
    begun = await client.files_getUploadURLExternal(filename="rows.txt", length=3)
    shown: dict[str, Any] = {"files": [{"id": begun["file_id"]}], "channel_id": "C0OPS"}
    with pytest.raises(SlackApiError, match="file_not_found"):
        await client.files_completeUploadExternal(**shown)
    async with aiohttp.ClientSession() as session:
        for data, status in ((b"four", 400), (b"abc", 200), (b"abc", 400)):
            async with session.post(begun["upload_url"], data=data) as answer:
                assert answer.status == status
    with pytest.raises(SlackApiError, match="thread_not_found"):
        await client.files_completeUploadExternal(**shown, thread_ts="1.1")
    await client.files_completeUploadExternal(**shown)
    with pytest.raises(SlackApiError, match="file_not_found"):
        await client.files_completeUploadExternal(**shown)


async def test_a_scope_may_be_missing(slack: FakeSlack) -> None:
    await slack.workspace(refusals={"files.getUploadURLExternal": "missing_scope"})
    with pytest.raises(SlackApiError) as refused:
        await slack.client().files_getUploadURLExternal(filename="a", length=1)
    assert (refused.value.response["error"], refused.value.response["needed"]) == (
        "missing_scope",
        "files:write",
    )


# ── Socket Mode ───────────────────────────────────────────────────────────────────────────────────


async def test_a_socket_is_opened_with_the_apps_token_alone_and_once(slack: FakeSlack) -> None:
    with pytest.raises(SlackApiError, match="not_allowed_token_type"):
        await slack.client().apps_connections_open(app_token=slack.bot_token)
    with pytest.raises(SlackApiError, match="not_allowed_token_type"):
        await slack.client(slack.app_token).auth_test()
    opened = await slack.client().apps_connections_open(app_token=slack.app_token)
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(opened["url"]) as stream:
            assert (await stream.receive_json())["type"] == "hello"
            assert (await slack.sockets())["open"] == 1
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(opened["url"])


async def test_a_click_goes_through_a_socket_until_it_is_acknowledged(slack: FakeSlack) -> None:
    await slack.client().chat_postMessage(channel="C0OPS", text="approve?", blocks=card())
    assert (await slack.click(Click("", "approve", socket=True))).status == 0, "there is no connection"
    opened = await slack.client().apps_connections_open(app_token=slack.app_token)
    async with aiohttp.ClientSession() as session, session.ws_connect(opened["url"]) as stream:
        await stream.receive_json()
        clicked = asyncio.create_task(slack.click(Click("", "approve", socket=True, times=2)))
        first, second = await stream.receive_json(), await stream.receive_json()
        assert first == second
        assert (first["type"], first["payload"]["actions"][0]["value"]) == ("interactive", "gate-1")
        await stream.send_json({"envelope_id": first["envelope_id"]})
        answer = await clicked
        assert (answer.status, answer.payload) == (200, first["payload"])
        ignored = await slack.click(Click("", "approve", socket=True, patience=0.1))
        assert ignored.status == 0
        await slack.sockets("say", message={"type": "disconnect", "reason": "warning"})
        await stream.receive_json()
        assert (await stream.receive_json())["reason"] == "warning"
        await slack.sockets("cut")
        assert (await stream.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)


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
