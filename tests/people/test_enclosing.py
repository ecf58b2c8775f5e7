"""Rows that no card holds, as a file in its thread: nobody can approve before it is there."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from aiohttp import web

from remediator.core.run import Run
from remediator.errors import ConnectorError
from remediator.people import enclosing
from remediator.people.slack import SlackRoad
from remediator.ports import CardRef
from tests.people.stories import PEOPLE, PUBLIC, gate, halved, slack_app, table, vote, waiting
from tests.rig.served import served
from tests.rig.slack import FakeSlack

MANY = 40


def long(**changes: Any) -> Run:
    """A run whose gate would change more rows than a card holds."""
    rows = table(*(halved(number) for number in range(MANY)))
    return waiting(gate(pictures={"pause_campaigns": rows}, **changes))


@pytest.fixture
def road(slack: FakeSlack) -> SlackRoad:
    return SlackRoad(slack_app(slack.api_url), PUBLIC, PEOPLE)


async def shown(slack: FakeSlack) -> tuple[list[str], str]:
    """The buttons of the one card, and all that it says."""
    cards = [one for one in await slack.messages("C0OPS") if not one["thread_ts"]]
    blocks = cards[-1]["blocks"]
    elements = [one for block in blocks if block["type"] == "actions" for one in block["elements"]]
    return [one["action_id"] for one in elements], json.dumps(blocks, ensure_ascii=False)


async def test_the_card_comes_first_then_the_file_and_only_then_the_approve_button(
    slack: FakeSlack, road: SlackRoad
) -> None:
    ref = await road.card(long(), None)
    assert ref is not None
    (card,) = await slack.messages("C0OPS")
    (before,) = card["versions"]
    assert '"approve"' not in json.dumps(before["blocks"])
    (file,) = await slack.files()
    assert (file["channel"], file["thread_ts"], file["title"]) == ("C0OPS", card["ts"], "r-1.1.txt")
    assert (file["id"], file["shared"]) == (ref.attached, True)
    for number in range(MANY):
        assert f"p-{number} " in file["content"]
    buttons, text = await shown(slack)
    assert buttons == ["approve", "deny"]
    assert f"All {MANY} rows stand in the file in this thread" in text
    order = [one["method"] for one in await slack.calls()]
    assert order == [
        "chat.postMessage",
        "files.getUploadURLExternal",
        "upload",
        "files.completeUploadExternal",
        "chat.update",
    ]


async def test_a_file_is_attached_once_however_often_the_card_changes(
    slack: FakeSlack, road: SlackRoad
) -> None:
    ref = await road.card(long(), None)
    again = await road.card(long(votes=(vote("amina"),)), ref)
    later = SlackRoad(slack_app(slack.api_url), PUBLIC, PEOPLE)  # after a restart
    last = await later.card(long(state="denied", note="bob denied"), again)
    assert last is not None
    assert ref is not None
    assert last.attached == ref.attached
    assert len(await slack.files()) == 1


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("files.getUploadURLExternal", "missing_scope"),
        ("files.completeUploadExternal", "not_in_channel"),
    ],
)
async def test_where_slack_refuses_the_file_nobody_can_approve_on_the_card(
    slack: FakeSlack, road: SlackRoad, method: str, error: str
) -> None:
    await slack.workspace(refusals={method: error})
    ref = await road.card(long(), None)
    assert ref is not None
    assert ref.attached == ""
    buttons, text = await shown(slack)
    assert buttons == ["deny"]
    assert f"could not be attached ({error}), so nobody can approve here" in text
    assert "Read and approve on" in text


async def test_what_was_refused_is_tried_again_when_the_card_next_changes(
    slack: FakeSlack, road: SlackRoad
) -> None:
    await slack.workspace(refusals={"files.getUploadURLExternal": "missing_scope"})
    ref = await road.card(long(), None)
    assert await road.card(long(), ref) == ref
    assert len(await slack.calls("files.getUploadURLExternal")) == 2
    (card,) = await slack.messages("C0OPS")
    assert card["updates"] == 1, "the same problem is not shown again"
    await _no_refusals(slack)
    ref = await road.card(long(votes=(vote("amina"),)), ref)
    assert ref is not None
    assert ref.attached
    assert (await shown(slack))[0] == ["approve", "deny"]


async def _no_refusals(slack: FakeSlack) -> None:
    """An administrator has added the scope."""
    await slack.workspace(refusals={"files.getUploadURLExternal": ""})


@pytest.mark.parametrize("methods", [["files.getUploadURLExternal"], ["upload"]])
async def test_a_slack_that_fails_before_the_file_is_shown_leaves_the_card_without_approval(
    slack: FakeSlack, road: SlackRoad, methods: list[str]
) -> None:
    await slack.mode("5xx", methods=methods)
    ref = await road.card(long(), None)
    assert ref is not None
    assert ref.attached == ""
    assert (await shown(slack))[0] == ["deny"]
    await slack.mode()
    assert (await road.card(long(), ref)) != ref
    assert (await shown(slack))[0] == ["approve", "deny"]


@pytest.mark.parametrize("mood", ["lost", "5xx"])
async def test_a_file_that_may_be_there_is_never_sent_twice_and_never_approved_by(
    slack: FakeSlack, road: SlackRoad, mood: str
) -> None:
    await slack.mode(mood, methods=["files.completeUploadExternal"])
    ref = await road.card(long(), None)
    await slack.mode()
    assert ref is not None
    assert ref.attached == enclosing.LOST
    again = await road.card(long(votes=(vote("amina"),)), ref)
    assert again is not None
    assert again.attached == enclosing.LOST
    assert len(await slack.files()) == 1
    buttons, text = await shown(slack)
    assert buttons == ["deny"]
    assert "Slack did not say whether it arrived" in text


async def test_the_bytes_go_to_slacks_own_side_only(slack: FakeSlack, road: SlackRoad) -> None:
    heard: list[bytes] = []

    async def hear(request: web.Request) -> web.Response:
        heard.append(await request.read())
        return web.Response()

    app = web.Application()
    app.router.add_post("/{tail:.*}", hear)
    async with served(app) as elsewhere:
        await slack.workspace(upload_base=elsewhere)
        ref = await road.card(long(), None)
    assert ref is not None
    assert (ref.attached, heard) == ("", [])
    buttons, text = await shown(slack)
    assert (buttons, "an address that is not its own" in text) == (["deny"], True)


async def test_too_many_bytes_are_not_sent(
    slack: FakeSlack, road: SlackRoad, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enclosing, "MOST_BYTES", 100)
    await road.card(long(), None)
    assert await slack.files() == []
    assert "bytes are too many" in (await shown(slack))[1]


async def test_a_card_that_was_deleted_is_posted_anew_with_its_file_in_the_new_thread(
    slack: FakeSlack, road: SlackRoad
) -> None:
    gone = CardRef("r-1.1", "C0OPS", "1.000001", "old", "F0OLD")
    ref = await road.card(long(), gone)
    assert ref is not None
    (file,) = await slack.files()
    assert (ref.attached, file["thread_ts"]) == (file["id"], ref.ts)
    (card,) = await slack.messages("C0OPS")
    assert '"approve"' not in json.dumps(card["versions"][0]["blocks"]), "no approval before the new file"


async def test_a_card_that_was_posted_is_not_posted_again_when_the_next_call_fails(
    slack: FakeSlack, road: SlackRoad
) -> None:
    await slack.mode("5xx", methods=["chat.update"], times=1)
    with pytest.raises(ConnectorError):
        await road.card(long(), None)
    ref = await road.card(long(), None)
    assert ref is not None
    assert len(await slack.messages("C0OPS")) == 1
    assert len(await slack.files()) == 1
    assert (await shown(slack))[0] == ["approve", "deny"]


async def test_rows_that_fit_need_no_file(slack: FakeSlack, road: SlackRoad) -> None:
    run = waiting(gate(pictures={"pause_campaigns": table(halved(1))}))
    assert run.gate is not None
    ref = await road.card(run, None)
    assert ref is not None
    closed = msgspec.structs.replace(run, gate=msgspec.structs.replace(run.gate, state="void"))
    await road.card(closed, ref)
    assert (ref.attached, await slack.files()) == ("", [])
