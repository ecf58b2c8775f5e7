"""The Slack road, with the real client against a fake Slack that is its own process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from aiohttp import web

from remediator.core.run import Outcome, Stage
from remediator.errors import ConnectorError
from remediator.people import calling
from remediator.people.clicks import Click, Declined, parse_click, verify
from remediator.people.slack import SlackRoad
from remediator.ports import CardRef
from tests.fakes.slack_clicks import Click as Press
from tests.people.stories import HASH, NOW, PEOPLE, PUBLIC, gate, page, pause, slack_app, vote, waiting
from tests.people.test_questions import ASKED, asking
from tests.rig.served import served
from tests.rig.slack import FakeSlack


@pytest.fixture
def road(slack: FakeSlack) -> SlackRoad:
    return SlackRoad(slack_app(slack.api_url), PUBLIC, PEOPLE)


async def test_a_gate_is_asked_once_and_its_card_follows_the_run(slack: FakeSlack, road: SlackRoad) -> None:
    run = waiting()
    ref = await road.card(run, None)
    assert ref is not None
    assert (ref.gate, ref.channel) == ("r-1.1", "C0OPS")

    assert await road.card(run, ref) == ref, "the same card is not sent again"

    voted = msgspec.structs.replace(run, gate=gate(votes=(vote("amina"),)))
    second = await road.card(voted, ref)
    closed = waiting(gate(state="denied", note="bob denied"), stage=Stage.CLOSED, outcome=Outcome.DENIED)
    third = await road.card(closed, second)
    assert third is not None
    assert third.ts == ref.ts

    (message,) = await slack.messages("C0OPS")
    assert message["updates"] == 2
    assert [block for block in message["blocks"] if block["type"] == "actions"] == []
    assert "Denied" in message["text"]


async def test_an_older_gate_keeps_its_own_card(slack: FakeSlack, road: SlackRoad) -> None:
    old, new = gate(state="void", note="the plan has changed"), gate(id="r-1.2")
    run = waiting(new, past_gates=(old,))
    first = await road.card(waiting(), None)
    await road.card(run, first)
    second = await road.card(run, None)
    assert second is not None
    assert second.gate == "r-1.2"
    texts = [one["text"] for one in await slack.messages("C0OPS")]
    assert ["No longer valid" in texts[0], "Approval needed" in texts[1]] == [True, True]


async def test_a_run_without_a_gate_has_no_card(road: SlackRoad) -> None:
    assert await road.card(waiting(gate=None), None) is None


async def test_a_deleted_card_is_posted_anew(slack: FakeSlack, road: SlackRoad) -> None:
    ref = await road.card(waiting(), CardRef("r-1.1", "C0OPS", "1.000001", "old"))
    assert ref is not None
    assert ref.ts != "1.000001"


async def test_a_card_too_large_to_approve_is_taken_by_slack(slack: FakeSlack, road: SlackRoad) -> None:
    assert await road.card(waiting(gate(pause({"body": "<!channel>" * 4000}))), None) is not None


async def test_the_channel_is_told_briefly_and_nothing_in_it_is_followed(
    slack: FakeSlack, road: SlackRoad
) -> None:
    lines = [f"LOOSENED: p-{number}: <!channel> & <@U0BOB> \u202e {'x' * 900}" for number in range(60)]
    await road.announce("Policies reloaded: <!here>\n> quoted", lines)
    (message,) = await slack.messages("C0OPS")
    text = message["text"]
    assert len(text) <= 3500
    assert text.startswith(
        "Policies reloaded: &lt;!here&gt;\\u000a&gt; quoted\n• LOOSENED: p-0: &lt;!channel&gt;"
    )
    assert not {"<", ">", "\u202e"} & set(text)
    await road.announce("Policies reloaded", [f"tightened: p-{number}" for number in range(60)])
    assert (await slack.messages("C0OPS"))[-1]["text"].endswith("• tightened: p-19\n• … and 40 more")


async def test_a_channel_that_cannot_be_told_is_no_error(
    slack: FakeSlack, road: SlackRoad, caplog: pytest.LogCaptureFixture
) -> None:
    await slack.mode("down")
    await road.announce("Policies reloaded", ["changed web"])
    assert "the channel could not be told" in caplog.text
    assert await slack.messages("C0OPS") == []


@pytest.mark.parametrize("mood", ["down", "5xx", "lost"])
async def test_a_slack_that_is_down_is_told_and_the_next_try_shows_the_card(
    slack: FakeSlack, road: SlackRoad, mood: str
) -> None:
    await slack.mode(mood)
    with pytest.raises(ConnectorError, match=r"slack: the card of gate r-1\.1 could not be shown"):
        await road.card(waiting(), None)
    told = await road.page(page(), ["amina"])
    assert not told.ok
    assert told.detail
    await slack.mode("ok")
    assert await road.card(waiting(), None) is not None


async def test_a_slow_slack_is_not_waited_for_forever(
    slack: FakeSlack, road: SlackRoad, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calling, "WITHIN", 0.3)
    await slack.mode("slow", delay=30)
    async with asyncio.timeout(20):
        told = await road.page(page(), ["amina"])
    assert (told.ok, told.detail) == (False, "no answer from Slack within 0.3 s")


async def test_a_rate_limit_is_waited_for(slack: FakeSlack, road: SlackRoad) -> None:
    await slack.mode("429", retry_after=1, times=1)
    started = asyncio.get_running_loop().time()
    assert (await road.page(page(), ["amina"])).ok
    assert 0.9 < asyncio.get_running_loop().time() - started < 20
    assert [one["mood"] for one in await slack.calls("chat.postMessage")] == ["429", "ok"]


async def test_a_long_rate_limit_is_not_waited_for(slack: FakeSlack, road: SlackRoad) -> None:
    await slack.mode("429", retry_after=31)
    async with asyncio.timeout(20):
        told = await road.page(page(), ["amina"])
    assert (told.ok, told.detail) == (False, "Slack allows no more messages now (429)")
    assert len(await slack.calls("chat.postMessage")) == 1


async def test_a_wrong_channel_or_token_is_told_in_slacks_words(slack: FakeSlack, road: SlackRoad) -> None:
    await slack.workspace(missing_channels=["C0OPS"])
    assert (await road.page(page(), [])).detail == "channel_not_found"


async def test_a_page_mentions_its_people_and_can_be_acknowledged(slack: FakeSlack, road: SlackRoad) -> None:
    told = await road.page(page(text="<!channel> & <https://evil|x>\u202e"), ["amina", "carol"])
    assert told.ok
    (message,) = await slack.messages("C0OPS")
    assert message["text"] == ("<@U01ALICE> (and carol) &lt;!channel&gt; &amp; &lt;https://evil|x&gt;\\u202e")
    (button,) = message["blocks"][1]["elements"]
    assert (button["action_id"], button["value"]) == ("ack", "pg-1")


async def test_the_page_of_a_gate_that_expired_offers_to_ask_again(slack: FakeSlack, road: SlackRoad) -> None:
    await road.page(page(key="r-1:expired:r-1.1"), ["amina"])
    (message,) = await slack.messages("C0OPS")
    acknowledge, again = message["blocks"][1]["elements"]
    assert (acknowledge["action_id"], again["action_id"], again["value"]) == ("ack", "again", "r-1.1")


async def test_a_page_for_nobody_with_a_slack_id_calls_the_channel(slack: FakeSlack, road: SlackRoad) -> None:
    for people in ([], ["carol"], ["unheard-of"]):
        assert (await road.page(page(run=""), people)).ok
    assert all(one["text"].startswith("<!channel>") for one in await slack.messages("C0OPS"))


# ── There and back again ──────────────────────────────────────────────────────────────────────────


class Hook:
    """Where clicks arrive: answers with what they were understood to be."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.clicks: list[Click | Declined] = []

    async def hear(self, request: web.Request) -> web.Response:
        raw = await request.read()
        if not verify(request.headers, raw, self.secret, datetime.now(UTC)):
            return web.Response(status=401)
        self.clicks.append(parse_click(raw, slack_app(app_id="A01APP"), PEOPLE))
        return web.Response()


@pytest.fixture
async def hook(slack: FakeSlack) -> AsyncIterator[tuple[Hook, str]]:
    heard = Hook(slack.signing_secret)
    app = web.Application()
    app.router.add_post("/hooks/slack/actions", heard.hear)
    async with served(app) as url:
        yield heard, f"{url}/hooks/slack/actions"


async def test_a_click_on_the_card_comes_back_as_that_persons_vote(
    slack: FakeSlack, road: SlackRoad, hook: tuple[Hook, str]
) -> None:
    heard, url = hook
    await road.card(waiting(), None)
    assert (await slack.click(Press(url=url, action_id="approve", user_id="U02BOB"))).status == 200
    (click,) = heard.clicks
    assert isinstance(click, Click)
    assert (click.person, click.action, click.subject, click.hash_prefix) == (
        "bob",
        "approve",
        "r-1.1",
        HASH[:16],
    )
    assert abs(click.at - datetime.now(UTC)) < timedelta(seconds=30)


async def test_a_denial_takes_along_what_was_typed_and_one_click_is_enough(
    slack: FakeSlack, road: SlackRoad, hook: tuple[Hook, str]
) -> None:
    heard, url = hook
    await road.card(waiting(), None)
    await slack.click(Press(url=url, action_id="deny"))
    await slack.click(
        Press(url=url, action_id="deny", typed={"reason": "the sale\u202e ends <!channel> tonight"})
    )
    await slack.click(Press(url=url, action_id="approve", typed={"reason": "looked at it"}))
    assert [one.reason for one in heard.clicks if isinstance(one, Click)] == [
        "",
        r"the sale\u202e ends <!channel> tonight",
        "looked at it",
    ]


async def test_a_wish_to_ask_again_comes_back(
    slack: FakeSlack, road: SlackRoad, hook: tuple[Hook, str]
) -> None:
    heard, url = hook
    await road.card(waiting(gate(state="expired"), stage=Stage.CLOSED, outcome=Outcome.EXPIRED), None)
    await slack.click(Press(url=url, action_id="again", user_id="U02BOB"))
    (click,) = heard.clicks
    assert isinstance(click, Click)
    assert (click.person, click.action, click.subject, click.hash_prefix) == ("bob", "again", "r-1.1", "")


async def test_an_acknowledgement_comes_back(
    slack: FakeSlack, road: SlackRoad, hook: tuple[Hook, str]
) -> None:
    heard, url = hook
    await road.page(page(), ["amina"])
    await slack.click(Press(url=url, action_id="ack"))
    (click,) = heard.clicks
    assert isinstance(click, Click)
    assert (click.person, click.action, click.subject) == ("amina", "ack", "pg-1")


@pytest.mark.parametrize(
    "forged",
    [
        {"signature": "corrupt"},
        {"signature": "other-secret"},
        {"signature": "missing"},
        {"time_offset": -400},
        {"time_offset": 400},
        {"timestamp": "soon"},
    ],
)
async def test_a_forged_or_stale_click_does_not_arrive(
    slack: FakeSlack, road: SlackRoad, hook: tuple[Hook, str], forged: dict[str, object]
) -> None:
    heard, url = hook
    await road.card(waiting(), None)
    press = Press(url=url, action_id="approve", **forged)  # type: ignore[arg-type]
    assert (await slack.click(press)).status == 401
    assert heard.clicks == []


@pytest.mark.parametrize("foreign", [{"team_id": "T99EVIL"}, {"app_id": "A99EVIL"}, {"user_id": "U99NOBODY"}])
async def test_a_strangers_click_is_declined(
    slack: FakeSlack, road: SlackRoad, hook: tuple[Hook, str], foreign: dict[str, str]
) -> None:
    heard, url = hook
    await road.card(waiting(), None)
    await slack.click(Press(url=url, action_id="approve", **foreign))  # type: ignore[arg-type]
    assert isinstance(heard.clicks[0], Declined)


async def test_a_replayed_click_is_the_same_click(
    slack: FakeSlack, road: SlackRoad, hook: tuple[Hook, str]
) -> None:
    heard, url = hook
    await road.card(waiting(), None)
    first = await slack.click(Press(url=url, action_id="approve"))
    await slack.click(Press(url=url, replay=first.click))
    assert heard.clicks[0] == heard.clicks[1]


# ── What people are asked about an unknown outcome ────────────────────────────────────────────────


async def test_a_question_is_asked_once_and_its_card_follows_its_answer(
    slack: FakeSlack, road: SlackRoad
) -> None:
    run = asking()
    ref = await road.question(run, ASKED, None)
    assert ref is not None
    assert (ref.gate, ref.channel) == ("r-1.q1", "C0OPS")
    assert await road.question(run, ASKED, ref) == ref, "the same card is not sent again"
    settled = msgspec.structs.replace(ASKED, by="bob", verdict="happened", via="slack", at=NOW)
    over = msgspec.structs.replace(run, questions=(settled,), stage=Stage.CLOSED)
    second = await road.question(over, settled, ref)
    assert second is not None
    assert second.ts == ref.ts
    (message,) = await slack.messages("C0OPS")
    assert [block for block in message["blocks"] if block["type"] == "actions"] == []
    assert "Settled" in message["text"]


async def test_a_question_that_slack_does_not_take_is_told(slack: FakeSlack, road: SlackRoad) -> None:
    await slack.mode("down")
    with pytest.raises(ConnectorError, match=r"the card of question r-1\.q1 could not be shown"):
        await road.question(asking(), ASKED, None)


async def test_a_question_whose_card_is_gone_is_asked_anew(slack: FakeSlack, road: SlackRoad) -> None:
    gone = CardRef("r-1.q1", "C0OPS", "1.000001", "other")
    ref = await road.question(asking(), ASKED, gone)
    assert ref is not None
    assert ref.ts != gone.ts
    assert len(await slack.messages("C0OPS")) == 1


async def test_a_second_card_is_taken_back_and_has_no_buttons(slack: FakeSlack, road: SlackRoad) -> None:
    ref = await road.card(waiting(), None)
    assert ref is not None
    await road.withdraw(ref)
    (message,) = await slack.messages("C0OPS")
    assert message["text"] == "This card was posted twice; the other one counts."
    assert [block for block in message["blocks"] if block["type"] == "actions"] == []
    await road.withdraw(CardRef("r-1.1", "C0OPS", "1.000001"))  # best effort: it is gone already
