"""What follows from a click, whichever door it came through."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from remediator.errors import StoreError
from remediator.people.clicks import Click, Declined
from remediator.people.interactivity import REMEMBERED, Clicks, Heard
from remediator.ports import Answer
from tests.people.stories import HASH, NOW

VOTE = Click("bob", "deny", "r-1.1", HASH[:16], "T01TEST/U02BOB", NOW, "big sale today")


@dataclass
class Desk:
    """Keeps what it was asked; may be slow, or say no, or be unable to keep anything."""

    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answer: Answer = field(default_factory=lambda: Answer(ok=True, text="heard"))
    works: bool = True
    takes: float = 0.0

    async def _hear(self, what: str, subject: str, **said: Any) -> Answer:
        await asyncio.sleep(self.takes)
        if not self.works:
            raise StoreError("state.db", "the disk is full")
        self.asked.append((what, {"subject": subject, **said}))
        return self.answer

    async def vote(self, gate: str, **said: Any) -> Answer:
        return await self._hear("vote", gate, **said)

    async def acknowledge(self, page: str, **said: Any) -> Answer:
        return await self._hear("acknowledge", page, **said)

    async def ask_again(self, gate: str, **said: Any) -> Answer:
        return await self._hear("again", gate, **said)

    async def settle(self, run: str, **said: Any) -> Answer:
        return await self._hear("settle", run, **said)


@dataclass
class Door:
    """Clicks before a desk, and who was whispered to or turned away."""

    desk: Desk = field(default_factory=Desk)
    whispers: list[tuple[str, str]] = field(default_factory=list)
    turned: list[tuple[str, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clicks = Clicks(self.desk, self._whisper, self._turn_away)  # type: ignore[arg-type]

    async def _whisper(self, user: str, text: str) -> None:
        await asyncio.sleep(0)
        self.whispers.append((user, text))

    async def _turn_away(self, gate: str, who: str, why: str) -> None:
        if not self.desk.works:
            raise StoreError("state.db", "the disk is full")
        self.turned.append((gate, who, why))

    async def hears(self, click: Click | Declined) -> Heard:
        heard = await self.clicks.hear(click)
        for _ in range(3):
            await asyncio.sleep(0)
        return heard


async def test_a_vote_goes_to_the_desk_with_its_reason_and_what_was_seen() -> None:
    door = Door()
    assert await door.hears(VOTE) == Heard("heard")
    said = {"by": "bob", "approve": False, "via": "slack", "reason": "big sale today", "seen": HASH[:16]}
    assert door.desk.asked == [("vote", {"subject": "r-1.1", **said})]
    assert door.whispers == []


async def test_a_wish_to_ask_again_goes_to_the_desk_and_its_answer_to_whoever_wished() -> None:
    door = Door()
    door.desk.answer = Answer(ok=True, text="asked again: run r-2 was opened")
    await door.hears(Click("bob", "again", "r-1.1", "", "T01TEST/U02BOB", NOW))
    assert door.desk.asked == [("again", {"subject": "r-1.1", "by": "bob", "via": "slack"})]
    assert door.whispers == [("T01TEST/U02BOB", "asked again: run r-2 was opened")]


async def test_a_no_is_whispered() -> None:
    door = Door()
    door.desk.answer = Answer(ok=False, text="this vote does not count: the gate has expired", status=409)
    assert (await door.hears(VOTE)).kept
    assert door.whispers == [("T01TEST/U02BOB", "this vote does not count: the gate has expired")]


async def test_the_very_same_click_once_more_is_the_same_vote() -> None:
    door = Door()
    door.desk.takes = 0.05
    first, second = await asyncio.gather(door.clicks.hear(VOTE), door.clicks.hear(VOTE))
    assert first == second == await door.hears(VOTE)
    assert len(door.desk.asked) == 1
    await door.hears(replace(VOTE, at=NOW + timedelta(seconds=1)))
    assert len(door.desk.asked) == 2


async def test_what_could_not_be_kept_is_taken_when_it_comes_again() -> None:
    door = Door()
    door.desk.works = False
    assert not (await door.hears(VOTE)).kept
    assert "please click again" in door.whispers[0][1]
    door.desk.works = True
    assert (await door.hears(VOTE)).kept
    assert len(door.desk.asked) == 1


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (msgspec.ValidationError("no `id`"), "r-1.1 cannot be read until somebody has mended it"),
        (RuntimeError("a bug"), "the card shows whether your click was taken"),
    ],
)
async def test_whoever_clicks_hears_that_it_went_wrong(
    monkeypatch: pytest.MonkeyPatch, problem: Exception, words: str
) -> None:
    door = Door()

    async def breaks(*_: Any, **__: Any) -> Answer:
        raise problem

    with monkeypatch.context() as patch:
        patch.setattr(door.desk, "vote", breaks)
        assert not (await door.hears(VOTE)).kept
    assert words in door.whispers[0][1]
    assert (await door.hears(VOTE)).kept, "once it works again"


async def test_only_the_newest_clicks_are_remembered() -> None:
    door = Door()
    for second in range(REMEMBERED + 1):
        await door.clicks.hear(replace(VOTE, at=NOW + timedelta(seconds=second)))
    assert len(door.clicks._taken) == REMEMBERED
    await door.clicks.hear(VOTE)
    assert len(door.desk.asked) == REMEMBERED + 2


@pytest.mark.parametrize("works", [True, False])
async def test_somebody_unknown_hears_no_and_the_gate_shows_it_if_it_can(works: bool) -> None:
    door = Door()
    door.desk.works = works
    assert await door.hears(Declined("nobody knows you", "T01/U9", "r-1.1")) == Heard("nobody knows you")
    assert door.whispers == [("T01/U9", "this click does not count: nobody knows you")]
    assert door.turned == ([("r-1.1", "T01/U9", "nobody knows you")] if works else [])
    assert await door.hears(Declined("this is no click")) == Heard("this is no click")
    assert len(door.whispers) == 1


async def test_a_vote_that_is_being_kept_is_kept_when_whoever_waited_for_it_goes() -> None:
    door = Door()
    door.desk.takes = 0.1
    waits = asyncio.create_task(door.clicks.hear(VOTE))
    await asyncio.sleep(0.02)
    waits.cancel()
    await door.clicks.finish()
    assert len(door.desk.asked) == 1


async def test_a_stop_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remediator.people.interactivity.FINISH_S", 0.05)
    door = Door()
    door.desk.takes = 60.0
    before = asyncio.all_tasks()
    waits = asyncio.create_task(door.clicks.hear(VOTE))
    await asyncio.sleep(0.02)
    await door.clicks.finish()
    with pytest.raises(asyncio.CancelledError):
        await waits
    assert asyncio.all_tasks() == before
