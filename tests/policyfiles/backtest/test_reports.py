"""The reports of a backtest: of nothing, of one run and of ten thousand; with whatever alerts hold."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest

from remediator.policyfiles.backtest import picture
from remediator.policyfiles.backtest.page import as_html
from remediator.policyfiles.backtest.reports import as_markdown, as_text
from remediator.policyfiles.backtest.result import (
    PolicySeen,
    Result,
    RunSeen,
    StepSeen,
    overlapping,
    summed,
)
from tests.web.test_hostile import CORPUS

START = datetime(2026, 11, 1, tzinfo=UTC)
END = START + timedelta(days=7)
MINUTE = timedelta(minutes=1)


def ran(number: int, **other: Any) -> RunSeen:
    at = START + number * MINUTE
    fields: dict[str, Any] = {
        "policy": f"p-{number % 30}",
        "target": f"worker/w-{number % 7}",
        "mode": "act",
        "alert": "Stuck",
        "opened_at": at,
        "closed_at": at + 20 * MINUTE,
        "outcome": ("fixed", "fixed", "refused", "failed")[number % 4],
        "steps": (StepSeen("restart", at + MINUTE, "disruptive"),),
        "gates": 1,
    }
    return RunSeen(**fields | other)


def result(*runs: RunSeen, **other: Any) -> Result:
    overlaps = overlapping(runs, END)
    names = sorted({run.policy for run in runs}) or ["p-0"]
    policies = tuple(
        summed(
            PolicySeen(
                policy=name, mode="act", troubles=1, stopped={"cooldown": 2}, overlaps=overlaps.get(name, ())
            ),
            (run for run in runs if run.policy == name),
            END,
        )
        for name in names
    )
    fields: dict[str, Any] = {
        "source": "alerts.jsonl",
        "since": START,
        "until": END,
        "people": "approve",
        "deliveries": 1_000_000,
        "alerts": 1,
        "troubles": len(runs),
        "policies": policies,
        "runs": runs,
        "assumptions": ("People approve.",),
    }
    return Result(**fields | other)


class Page(HTMLParser):
    """Every tag is closed in its turn; what it names of elsewhere, and what a reader sees."""

    VOID = frozenset({"meta", "br", "line", "rect"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.seen = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in self.VOID or (tag == "rect" and not self.get_starttag_text().endswith("/>")):  # type: ignore[union-attr]
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.seen += data


@pytest.mark.parametrize("many", [0, 1, 40, 10_000])
def test_the_page_stands_alone_and_stays_small(many: int) -> None:
    whole = result(*map(ran, range(many)))
    text = as_html(whole)
    page = Page(text)
    assert not page.tags & {"script", "link", "img", "iframe"}
    assert not [value for name, value in page.attributes if name in ("src", "href") or name.startswith("on")]
    assert "http" not in re.sub(r'http-equiv="', "", text)
    assert len(text) < 1_500_000
    assert ("svg" in page.tags) is bool(many)
    assert "People approve." in page.seen


def test_few_runs_are_drawn_one_by_one_and_many_are_counted() -> None:
    (lane,) = picture.picture(result(ran(0), ran(30), ran(60))).lanes[:1]
    assert lane.policy == "p-0"
    runs = [ran(n, policy="p") for n in range(3)]
    (lane,) = picture.picture(result(*runs)).lanes
    assert len(lane.bars) == 3
    assert len({bar.y for bar in lane.bars}) == 3, "they overlap, so each has a row"
    runs = [ran(n, policy="p") for n in range(5000)]
    (lane,) = picture.picture(result(*runs)).lanes
    assert len(lane.bars) <= picture.SLICES * len(picture.ORDER)
    assert lane.told == "5,000"


@pytest.mark.parametrize("many", [1, 120, 121, 5000])
def test_no_bar_leaves_its_lane(many: int) -> None:
    late = [ran(n, policy="p", closed_at=None, outcome=None) for n in range(many)]
    drawn = picture.picture(result(*late, ran(10_079, policy="p")))
    for lane in drawn.lanes:
        for bar in lane.bars:
            assert bar.x >= 0
            assert bar.x + bar.width <= picture.WIDTH + 0.01
            assert lane.y - 0.01 <= bar.y
            assert bar.y + bar.height <= lane.y + picture.LANE + 0.01
            assert bar.width > 0 < bar.height


@pytest.mark.parametrize("days", [0, 0.0001, 0.02, 0.4, 3, 40, 900])
def test_the_axis_has_a_handful_of_ticks_within_it(days: float) -> None:
    ticks = picture.picture(result(until=START + timedelta(days=days))).ticks
    assert 1 <= len(ticks) <= 10
    assert all(0 <= tick.x <= picture.WIDTH for tick in ticks)


def test_policies_without_a_lane_are_counted() -> None:
    drawn = picture.picture(result(*map(ran, range(300))))
    assert (len(drawn.lanes), drawn.left_out) == (picture.MOST_LANES, 30 - picture.MOST_LANES)


def hostile() -> Result:
    runs = [
        ran(number, target=f"x/{text}", alert=text, reason=text, asks=(text,), policy="p")
        for number, text in enumerate(CORPUS)
    ]
    return msgspec.structs.replace(result(*runs, ran(0, target=f"x/{CORPUS[0]}")), source=CORPUS[0])


def test_hostile_texts_stay_texts_on_the_page() -> None:
    text = as_html(hostile())
    page = Page(text)
    assert not page.tags & {"script", "img", "iframe", "form", "base", "button"}
    assert not set(text) & {"\u202e", "\x1b", "\u200b"}


def test_hostile_texts_stay_texts_in_markdown_and_at_a_terminal() -> None:
    text = as_markdown(hostile())
    assert "\\<script\\>" in text
    assert not re.search(r"(?<!\\)<(?!details>|/details>|summary>|/summary>)", text)
    assert not set(text + as_text(hostile())) & {"\u202e", "\x1b", "\u200b"}


def test_markdown_is_a_table_that_a_comment_can_hold() -> None:
    text = as_markdown(result(*map(ran, range(10_000))))
    assert len(text) < 60_000
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {10}
    assert len(rows) == 2 + 30


def test_the_text_says_what_a_reviewer_should_not_miss() -> None:
    runs = (ran(0, policy="a"), ran(1, policy="b", target="worker/w-0"), ran(9, policy="c", asks=("queue",)))
    text = as_text(result(*runs))
    assert "a: 1 run on a target while b had one there, such as worker/w-0" in text
    assert "c: would ask, and no record answers: queue (1)" in text
    assert "3 runs of 3 policies, 3 steps started, people asked 3 times, 0 pages" in text


def test_a_backtest_of_nothing_says_so() -> None:
    nothing = result(policies=(PolicySeen(policy="p", mode="act"),))
    assert "No alert concerned 1 policy." in as_text(nothing)
    assert "No alert concerned 1 policy." in as_markdown(nothing)
    assert "No run would have been opened." in as_html(nothing)
