"""Pages climb their chain until somebody acknowledges, and reach people while one road is open."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from remediator.config import Config, Rung
from remediator.core.run import Page, Question, Run
from remediator.people.pages import AT_ONCE, MOST_SENT, Pager, next_rung
from remediator.ports import CardRef, Told
from tests.people.stories import NOW, page

REPEAT = timedelta(minutes=15)
CHAIN = (
    Rung(role="oncall"),
    Rung(role="lead", after=timedelta(minutes=15)),
    Rung(role="cto", after=timedelta(hours=1)),
)


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


# ── The chain ─────────────────────────────────────────────────────────────────────────────────────


def test_the_first_rung_is_told_at_once() -> None:
    rung = next_rung(page(), CHAIN, NOW, REPEAT)
    assert (rung.level, rung.roles, rung.next_at) == (0, ("oncall",), at(15))


def test_each_rung_is_told_when_its_time_has_come() -> None:
    assert next_rung(page(level=0), CHAIN, at(14), REPEAT).roles == ()
    rung = next_rung(page(level=0), CHAIN, at(15), REPEAT)
    assert (rung.level, rung.roles, rung.next_at) == (1, ("lead",), at(60))


def test_after_the_last_rung_it_is_told_again_and_again() -> None:
    reached = next_rung(page(level=1), CHAIN, at(60), REPEAT)
    assert (reached.level, reached.roles, reached.next_at) == (2, ("cto",), at(75))
    early = next_rung(page(level=2, next_at=at(75)), CHAIN, at(70), REPEAT)
    assert (early.roles, early.next_at) == ((), at(75))
    again = next_rung(page(level=2, next_at=at(75)), CHAIN, at(75), REPEAT)
    assert (again.level, again.roles, again.next_at) == (2, ("cto",), at(90))


def test_after_an_outage_every_rung_that_was_missed_is_told() -> None:
    rung = next_rung(page(), CHAIN, at(50), REPEAT)
    assert (rung.level, rung.roles, rung.next_at) == (1, ("oncall", "lead"), at(60))


def test_an_acknowledged_page_climbs_no_further() -> None:
    rung = next_rung(page(level=0, acked_by="bob"), CHAIN, at(60), REPEAT)
    assert (rung.level, rung.roles, rung.next_at) == (0, (), None)


def test_a_chain_may_begin_later_and_be_written_in_any_order() -> None:
    chain = (CHAIN[2], CHAIN[1])
    rung = next_rung(page(), chain, NOW, REPEAT)
    assert (rung.level, rung.roles, rung.next_at) == (-1, (), at(15))
    assert next_rung(page(), chain, at(15), REPEAT).roles == ("lead",)


def test_a_role_on_two_rungs_is_told_once_at_a_time() -> None:
    chain = (Rung(role="oncall"), Rung(role="oncall", after=timedelta(minutes=5)))
    assert next_rung(page(), chain, at(9), REPEAT).roles == ("oncall",)


def test_a_chain_that_a_reload_made_shorter_still_repeats() -> None:
    assert next_rung(page(level=2, next_at=at(75)), CHAIN[:1], at(75), REPEAT).roles == ("oncall",)


# ── Telling ───────────────────────────────────────────────────────────────────────────────────────


class Road:
    def __init__(self, road: str, *, ok: bool = True, breaks: bool = False) -> None:
        self.road = road
        self.ok = ok
        self.breaks = breaks
        self.told: list[tuple[int, list[str]]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def page(self, page: Page, people: Sequence[str]) -> Told:
        if self.breaks:
            raise RuntimeError("bug")
        self.told.append((page.level, list(people)))
        await self.open.wait()
        return Told(ok=self.ok, road=self.road, detail="" if self.ok else "down")

    async def question(self, run: Run, question: Question, ref: CardRef | None) -> CardRef | None:
        del run, question, ref
        return None

    async def withdraw(self, ref: CardRef) -> None:
        raise AssertionError(ref)

    async def card(self, run: Run, ref: CardRef | None) -> CardRef | None:
        return None


class At:
    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return 0.0


def config(**changes: Any) -> Config:
    return Config.model_validate(
        {
            "people": {"amina": {}, "bob": {}, "carol": {}},
            "roles": {"oncall": ["bob", "carol"], "lead": ["amina"]},
            "escalations": {"default": [{"role": "oncall"}, {"role": "lead", "after": "15m"}]},
            **changes,
        }
    )


def pager(*roads: Road, now: datetime = NOW, **changes: Any) -> Pager:
    return Pager(roads, config(**changes), At(now))


async def test_every_road_is_told_who_is_meant() -> None:
    slack, hook = Road("slack"), Road("webhook")
    told = await pager(slack, hook).deliver(page())
    assert slack.told == hook.told == [(0, ["bob", "carol"])]
    assert (told.level, told.next_at, told.error) == (0, at(15), "")
    assert told.sent == (
        "2026-11-20T14:00:00Z bob, carol (oncall) by slack",
        "2026-11-20T14:00:00Z bob, carol (oncall) by webhook",
    )


async def test_one_open_road_is_enough_and_the_other_is_noted() -> None:
    told = await pager(Road("slack", ok=False), Road("webhook")).deliver(page())
    assert (told.level, told.error) == (0, "slack: down")
    assert len(told.sent) == 1


async def test_a_road_that_hangs_holds_up_no_other_road_of_any_page() -> None:
    slack, hook = Road("slack"), Road("webhook")
    slack.open.clear()
    one = pager(slack, hook)
    telling = asyncio.gather(*(one.deliver(page(id=f"p{n}")) for n in range(3 * AT_ONCE)))
    for _ in range(10):
        await asyncio.sleep(0)
    assert (len(hook.told), len(slack.told)) == (3 * AT_ONCE, AT_ONCE)
    slack.open.set()
    assert [len(told.sent) for told in await telling] == [2] * 3 * AT_ONCE


async def test_who_covers_a_role_is_told_while_the_cover_lasts() -> None:
    cover = [{"by": "amina", "from": at(10), "until": at(20)}]
    roles = {"oncall": {"people": ["bob"], "cover": cover}}
    told = []
    for minutes in (9, 10, 19, 20):
        slack = Road("slack")
        due = page(opened_at=at(minutes))
        await pager(slack, now=at(minutes), roles=roles).deliver(due)
        told += slack.told
    assert told == [(0, ["bob"]), (0, ["amina", "bob"]), (0, ["amina", "bob"]), (0, ["bob"])]


async def test_when_no_road_is_open_it_is_tried_again_soon() -> None:
    told = await pager(Road("slack", ok=False), Road("webhook", breaks=True)).deliver(page())
    assert (told.level, told.next_at, told.sent) == (-1, NOW + timedelta(seconds=10), ())
    assert told.error == "slack: down; webhook: RuntimeError: bug"
    slack = Road("slack")
    again = await pager(slack, now=NOW + timedelta(seconds=10)).deliver(told)
    assert (again.level, again.error, slack.told) == (0, "", [(0, ["bob", "carol"])])


async def test_without_any_road_it_says_so() -> None:
    told = await pager().deliver(page())
    assert "configure slack or page_webhook" in told.error
    assert told.next_at == NOW + timedelta(seconds=10)


async def test_a_page_that_is_not_due_is_left_alone() -> None:
    slack = Road("slack")
    before = page(level=0, next_at=at(15))
    assert await pager(slack, now=at(5)).deliver(before) == before
    assert slack.told == []


async def test_an_acknowledged_page_is_not_told() -> None:
    slack = Road("slack")
    told = await pager(slack, now=at(60)).deliver(page(level=0, acked_by="bob"))
    assert (told.next_at, slack.told) == (None, [])


@pytest.mark.parametrize("chain", ["gone", "default"])
async def test_a_chain_that_the_config_has_lost_does_not_swallow_the_page(chain: str) -> None:
    slack = Road("slack")
    await pager(slack).deliver(page(chain=chain))
    await pager(slack, escalations={}).deliver(page(chain=chain))
    assert slack.told == [(0, ["bob", "carol"])] * 2


async def test_a_role_that_nobody_has_is_still_told_to_the_roads() -> None:
    slack = Road("slack")
    told = await pager(slack, roles={}).deliver(page())
    assert slack.told == [(0, [])]
    assert told.sent == ("2026-11-20T14:00:00Z nobody (oncall) by slack",)


async def test_what_was_told_is_kept_bounded() -> None:
    told = page(sent=tuple(str(n) for n in range(MOST_SENT)))
    told = msgspec.structs.replace(told, level=1, next_at=at(30))
    after = await pager(Road("slack"), now=at(30)).deliver(told)
    assert len(after.sent) == MOST_SENT
    assert after.sent[-1].endswith("by slack")
