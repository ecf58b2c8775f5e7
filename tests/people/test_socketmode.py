"""Clicks by Socket Mode: the real client library over real sockets, against a fake Slack of its own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import SecretStr

from remediator.clock import SystemClock
from remediator.errors import StoreError
from remediator.people import socketmode
from remediator.people.interactivity import Clicks
from remediator.people.slack import SlackRoad
from remediator.people.socketmode import SlackSocket
from remediator.ports import Answer
from tests.fakes.slack_clicks import Click as Press
from tests.people.stories import HASH, PEOPLE, PUBLIC, gate, slack_app, waiting
from tests.rig.patience import PATIENCE_S
from tests.rig.slack import APP_TOKEN, FakeSlack

PERSON = "a person who still waits for Slack"


@dataclass
class Desk:
    """Keeps what it was asked; may be slow, or unable to keep anything."""

    votes: list[dict[str, Any]] = field(default_factory=list)
    begun: int = 0
    works: bool = True
    takes: float = 0.0

    async def vote(self, gate: str, **said: Any) -> Answer:
        self.begun += 1
        await asyncio.sleep(self.takes)
        if not self.works:
            raise StoreError("state.db", "the disk is full")
        self.votes.append({"gate": gate, **said})
        return Answer(ok=True, text="counted")


@dataclass
class Listening:
    """The door as a daemon has it, with what came of it."""

    slack: FakeSlack
    desk: Desk
    socket: SlackSocket
    whispers: list[tuple[str, str]]
    silences: list[str]

    async def press(self, action: str = "approve", **more: Any) -> int:
        """Somebody clicks on the card; was the envelope acknowledged?"""
        given: dict[str, Any] = {"user_id": "U02BOB", "socket": True, "patience": 2.0} | more
        return (await self.slack.click(Press("", action, **given))).status

    async def connections(self, opened: int, open_now: int = 1) -> None:
        """Wait until so many were opened, ever, and so many are open."""

        async def there() -> bool:
            how = await self.slack.sockets()
            return (how["opened"], how["open"]) == (opened, open_now)

        await until(there)


async def until(holds: Callable[[], Awaitable[bool]], within: float = PATIENCE_S) -> None:
    give_up = time.monotonic() + within
    while not await holds():
        assert time.monotonic() < give_up, "it never held"
        await asyncio.sleep(0.05)


@asynccontextmanager
async def listening(slack: FakeSlack, *, greeted: bool = True, **settings: Any) -> AsyncIterator[Listening]:
    """A door that listens, before a card; ended as a daemon ends it, with nothing left."""
    app = slack_app(
        slack.api_url, signing_secret=None, app_token=SecretStr(APP_TOKEN), app_id="A01APP", **settings
    )
    desk, whispers, silences = Desk(), [], []

    async def whisper(user: str, text: str) -> None:
        whispers.append((user, text))

    async def turn_away(_gate: str, _who: str, _why: str) -> None:
        return None

    async def on_silence(problem: str) -> None:
        silences.append(problem)

    await SlackRoad(app, PUBLIC, PEOPLE).card(waiting(), None)
    clicks = Clicks(desk, whisper, turn_away)  # type: ignore[arg-type]
    socket = SlackSocket(app, PEOPLE, clicks, SystemClock(), on_silence)
    before = asyncio.all_tasks()
    task = asyncio.create_task(socket.run())
    one = Listening(slack, desk, socket, whispers, silences)
    try:
        if greeted:
            await one.connections(1)
        yield one
    finally:
        task.cancel()
        await asyncio.wait([task])
        await clicks.finish()
    assert task.cancelled()
    await until(lambda: _is(_others() == before))  # sockets that were closed take a moment to be gone
    await one.connections((await slack.sockets())["opened"], open_now=0)


def _others() -> set[asyncio.Task[Any]]:
    """All tasks but those of people."""
    return {one for one in asyncio.all_tasks() if one.get_name() != PERSON}


async def test_a_click_becomes_a_vote_and_is_acknowledged(slack: FakeSlack) -> None:
    async with listening(slack) as door:
        assert await door.press(typed={"reason": " seen\u202e "}) == 200
    assert door.desk.votes == [
        {
            "gate": "r-1.1",
            "by": "bob",
            "approve": True,
            "via": "slack",
            "reason": r"seen\u202e",
            "seen": HASH[:16],
        }
    ]
    (opening,) = await slack.calls("apps.connections.open")
    assert APP_TOKEN not in str(opening), "the token stands in a header, never in an argument"


async def test_it_is_acknowledged_only_after_the_vote_was_kept(slack: FakeSlack) -> None:
    async with listening(slack) as door:
        door.desk.takes = 1.0
        assert await door.press(patience=0.2) == 0
        assert door.desk.votes == []
        await until(lambda: _is(len(door.desk.votes) == 1))
        await until(lambda: _acknowledged(slack, 1))


async def test_what_could_not_be_kept_is_not_acknowledged_and_counts_when_it_comes_again(
    slack: FakeSlack,
) -> None:
    async with listening(slack) as door:
        door.desk.works = False
        first = await slack.click(Press("", "approve", user_id="U02BOB", socket=True, patience=0.5))
        assert (first.status, door.desk.votes) == (0, [])
        await until(lambda: _is(bool(door.whispers)))
        assert door.whispers == [
            ("T01TEST/U02BOB", "Remediator cannot keep your click just now; please click again")
        ]
        door.desk.works = True
        assert await door.press(replay=first.click) == 200
        assert len(door.desk.votes) == 1


async def test_the_same_envelope_twice_is_one_vote_with_two_acknowledgements(slack: FakeSlack) -> None:
    async with listening(slack) as door:
        door.desk.takes = 0.2
        assert await door.press(times=2) == 200
        await until(lambda: _acknowledged(slack, 2))
        assert len(door.desk.votes) == 1
        assert door.whispers == []


async def test_each_click_of_a_person_is_a_click_of_its_own(slack: FakeSlack) -> None:
    async with listening(slack) as door:
        for action in ("approve", "deny", "deny"):
            assert await door.press(action) == 200
        assert [one["approve"] for one in door.desk.votes] == [True, False, False]


@pytest.mark.parametrize(
    "forged",
    [{"user_id": "U99NOBODY"}, {"team_id": "T99EVIL"}, {"app_id": "A99EVIL"}, {"value": "r-1.1:nonsense"}],
)
async def test_a_strangers_click_is_acknowledged_and_counts_for_nothing(
    slack: FakeSlack, forged: dict[str, str]
) -> None:
    async with listening(slack) as door:
        assert await door.press(**forged) == 200
        assert door.desk.votes == []


@pytest.mark.parametrize(
    "envelope",
    [
        {"type": "events_api", "payload": {"event": {"type": "message"}}},
        {"type": "slash_commands", "payload": {"command": "/remediator"}},
        {"type": "something_new", "payload": {}},
        {"type": "interactive", "payload": {"type": "view_submission"}},
        {"type": "interactive", "payload": {"type": "block_actions", "actions": 7}},
    ],
)
async def test_envelopes_that_are_no_clicks_are_acknowledged_and_left(
    slack: FakeSlack, envelope: dict[str, Any]
) -> None:
    async with listening(slack) as door:
        await slack.sockets("say", message={"envelope_id": "e-1", **envelope})
        await until(lambda: _acknowledged(slack, 1))
        assert await door.press() == 200
        assert len(door.desk.votes) == 1


@pytest.mark.parametrize("message", [{}, {"type": "disconnected"}, {"payload": [1]}, {"type": 7}])
async def test_nonsense_does_not_end_the_connection(slack: FakeSlack, message: dict[str, Any]) -> None:
    async with listening(slack) as door:
        await slack.sockets("say", message=message)
        assert await door.press() == 200


@pytest.mark.parametrize("end", ["cut", "close"])
async def test_a_connection_that_ends_is_replaced(slack: FakeSlack, end: str) -> None:
    async with listening(slack) as door:
        for opened in (2, 3):
            await slack.sockets(end)
            await door.connections(opened)
        assert await door.press() == 200
        assert len(door.desk.votes) == 1
    assert door.silences == []


@pytest.mark.parametrize("reason", ["warning", "refresh_requested"])
async def test_where_slack_asks_for_another_connection_the_new_one_comes_before_the_old_one_goes(
    slack: FakeSlack, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(slack) as door:
        await slack.mode("slow", delay=1.0, methods=["apps.connections.open"])
        await slack.sockets("say", message={"type": "disconnect", "reason": reason})
        await asyncio.sleep(0.2)
        assert (await slack.sockets())["open"] == 1
        assert await door.press() == 200, "the old one still listens"
        await door.connections(2)
        assert await door.press("deny") == 200
        assert len(door.desk.votes) == 2


async def test_where_slack_has_too_many_connections_the_old_one_goes_first(slack: FakeSlack) -> None:
    async with listening(slack) as door:
        await slack.mode("slow", delay=1.0, methods=["apps.connections.open"])
        await slack.sockets("say", message={"type": "disconnect", "reason": "too_many_websockets"})
        await door.connections(1, open_now=0)
        await door.connections(2)
        assert await door.press() == 200


@pytest.mark.parametrize("trouble", ["down", "5xx", "429", "lost"])
async def test_a_slack_that_is_down_is_tried_until_it_answers(slack: FakeSlack, trouble: str) -> None:
    await slack.mode(trouble, methods=["apps.connections.open"], times=2)
    async with listening(slack) as door:
        assert await door.press() == 200
        assert len(await slack.calls("apps.connections.open")) == 3


async def test_a_handshake_that_fails_is_tried_again_with_a_new_address(
    slack: FakeSlack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(socketmode, "WITHIN", 0.5)
    await slack.sockets(refuses=True)
    async with listening(slack, greeted=False) as door:
        await until(lambda: _called(slack, 2))
        await slack.sockets(refuses=False)
        await door.connections(1)
        assert await door.press() == 200
    (problem, *_) = [vars(one)["problem"] for one in caplog.records if "do not arrive" in one.message]
    assert "403" in problem
    assert "its address" in problem
    assert "_socket" not in problem, "a ticket that was not used up would let anybody connect"


async def test_a_socket_that_never_greets_is_given_up(
    slack: FakeSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socketmode, "WITHIN", 0.5)
    await slack.sockets(silent=True)
    async with listening(slack, greeted=False) as door:
        await until(lambda: _called(slack, 2))
        await slack.sockets(silent=False)
        await door.connections(opened=(await slack.sockets())["opened"] + 1)
        assert await door.press() == 200


async def test_somebody_hears_of_it_once_when_no_connection_can_be_had_for_long(
    slack: FakeSlack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(socketmode, "SILENT_S", 0.3)
    monkeypatch.setattr(socketmode, "PAUSES_S", (0.1,))
    await slack.workspace(refusals={"apps.connections.open": "invalid_auth"})
    with caplog.at_level(logging.INFO):
        async with listening(slack, greeted=False) as door:
            await until(lambda: _called(slack, 8))
            assert door.silences == ["apps.connections.open: invalid_auth"]
            await slack.reset()
            await door.connections(1)
    told = [one.message for one in caplog.records]
    assert "Slack's clicks do not arrive" in told
    assert "Slack's clicks arrive again" in told


async def test_a_socket_elsewhere_is_never_dialled(slack: FakeSlack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socketmode, "of_slack", lambda *_: False)
    async with listening(slack, greeted=False):
        await until(lambda: _called(slack, 2))
    assert (await slack.sockets())["opened"] == 0


async def test_a_vote_in_hand_is_kept_when_the_daemon_stops(slack: FakeSlack) -> None:
    async with listening(slack) as door:
        door.desk.takes = 0.5
        pressed = asyncio.create_task(door.press(), name=PERSON)
        await until(lambda: _is(door.desk.begun == 1))
    assert len(door.desk.votes) == 1
    assert await pressed == 200


async def test_the_environment_does_not_lead_it_astray(
    slack: FakeSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with listening(slack) as door:
        assert await door.press() == 200


async def test_other_gates_cards_are_clicked_through_the_same_connection(slack: FakeSlack) -> None:
    async with listening(slack) as door:
        road = SlackRoad(slack_app(slack.api_url), PUBLIC, PEOPLE)
        await road.card(waiting(gate(id="r-2.1"), id="r-2"), None)
        assert await door.press() == 200
        assert door.desk.votes[0]["gate"] == "r-2.1"


async def _is(holds: bool) -> bool:
    return holds


async def _acknowledged(slack: FakeSlack, times: int) -> bool:
    return len((await slack.sockets())["acknowledged"]) == times


async def _called(slack: FakeSlack, times: int) -> bool:
    return len(await slack.calls("apps.connections.open")) >= times
