"""A message as a step of a policy, with the real client against a fake Slack that is its own process."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr

from remediator.config import Slack
from remediator.connectors.slack import MOST_CHARACTERS, SlackMessages, SlackSettings
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.ports import Order
from tests.connectors.peers import answers, peer
from tests.rig.slack import FakeSlack


def messages(api_url: str, token: str = "xoxb-test") -> SlackMessages:
    app = Slack(bot_token=SecretStr(token), signing_secret=SecretStr("s"), channel="C0OPS", api_url=api_url)
    return SlackMessages(SlackSettings.of(app))


async def say(connection: SlackMessages, **args: Any) -> Result:
    call = Call("slack.message", "slack", {"channel": "C0LOYALTY", "text": "Teranga: 3.2 % left", **args})
    return await connection.act(call, order=Order("r-1/warn"), timeout=5)


async def test_a_message_is_said_once_in_its_channel(slack: FakeSlack) -> None:
    result = await say(messages(slack.api_url))
    (message,) = await slack.messages()
    assert result == Done({"channel": "C0LOYALTY", "ts": message["ts"]})
    assert message["text"] == "Teranga: 3.2 % left"


async def test_what_slack_refuses_is_refused_in_its_words(slack: FakeSlack) -> None:
    await slack.workspace(missing_channels=["C0LOYALTY"])
    assert await say(messages(slack.api_url)) == Refused("Slack refused: channel_not_found")
    assert await say(messages(slack.api_url, token="xoxb-stolen")) == Refused("Slack refused: invalid_auth")


async def test_a_rate_limit_is_a_refusal_and_is_not_waited_for(slack: FakeSlack) -> None:
    await slack.mode("429", retry_after=30)
    assert await say(messages(slack.api_url)) == Refused("Slack refused: too many messages (429)")
    assert len(await slack.calls("chat.postMessage")) == 1


async def test_a_message_whose_answer_is_lost_is_unknown(slack: FakeSlack) -> None:
    await slack.mode("lost")
    assert isinstance(await say(messages(slack.api_url)), Unknown)
    assert len(await slack.calls("chat.postMessage")) == 1


@pytest.mark.parametrize("error", ["internal_error", "fatal_error", "service_unavailable", "request_timeout"])
async def test_where_slack_itself_does_not_know_neither_do_we(error: str) -> None:
    body = json.dumps({"ok": False, "error": error}).encode()
    async with peer(answers(200, body)) as other:
        assert await say(messages(f"{other.url}/api/")) == Unknown(f"Slack answered {error}")


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"null", b'{"ok":true}', b"<html>", b'{"ok":false,"error":7}']
)
async def test_an_answer_that_means_nothing_is_unknown(body: bytes) -> None:
    async with peer(answers(200, body)) as other:
        assert isinstance(await say(messages(f"{other.url}/api/")), Unknown)


async def test_without_a_slack_it_says_so() -> None:
    assert await say(SlackMessages(SlackSettings.of(None))) == Refused("Slack is not configured")


@pytest.mark.parametrize(
    "args",
    [
        {"channel": "general"},
        {"channel": ""},
        {"channel": None},
        {"channel": "C0OPS\nC1"},
        {"channel": "@bob"},
        {"channel": "#a b"},
        {"text": ""},
        {"text": " \n"},
        {"text": 7},
    ],
)
async def test_what_is_no_message_is_never_sent(args: dict[str, Any]) -> None:
    result = await say(messages("http://127.0.0.1:1/api/"), **args)
    assert isinstance(result, Refused)
    assert result.reason.startswith("never sent: ")


async def test_a_long_message_is_cut_visibly(slack: FakeSlack) -> None:
    await say(messages(slack.api_url), channel="#loyalty-ops", text="x" * 50_000)
    (message,) = await slack.messages()
    assert len(message["text"]) <= MOST_CHARACTERS
    assert message["text"].endswith(" … (cut)")
