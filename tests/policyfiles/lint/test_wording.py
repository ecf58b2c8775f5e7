"""Words: what a step's name, path or SQL tells of it, and which acts are taken for opposites."""

from __future__ import annotations

from typing import Any

import pytest

from remediator.policyfiles.checks.wording import LASTS_A_WHILE, STOPS, words
from remediator.policyfiles.lint.opposites import Act, opposed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pause_campaign", ("pause", "campaign")),
        ("/api/pauseCampaign/${campaign_id}", ("api", "pause", "campaign", "*")),
        (
            "UPDATE loyalty_programs SET paused = true",
            ("update", "loyalty", "programs", "set", "paused", "true"),
        ),
        ("", ()),
    ],
)
def test_a_text_is_cut_into_words(text: str, said: tuple[str, ...]) -> None:
    assert words(text) == said


@pytest.mark.parametrize("word", ["pause", "paused", "pausing", "stopped", "halve", "mute", "frozen"])
def test_words_for_what_takes_traffic_away(word: str) -> None:
    assert STOPS.fullmatch(word) and LASTS_A_WHILE.fullmatch(word)


@pytest.mark.parametrize("word", ["unblock", "resume", "mutex", "stopwatch", "restart", "shell"])
def test_words_that_only_look_like_them(word: str) -> None:
    assert not STOPS.fullmatch(word)


def act(step: str, path: str = "", method: str = "POST", **more: Any) -> Act:
    blank: dict[str, Any] = {"table": "", "verb": "", "written": {}}
    return Act(step, "api", words(step), method, path, words(path), **blank | more)


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        (act("pause"), act("resume"), True),
        (act("pause_one"), act("resume_one"), True),
        (act("pause_one"), act("resume_two"), False),
        (act("a", "/x/${id}/start"), act("b", "/x/${name}/stop"), True),
        (act("a", "/x/${id}/start"), act("b", "/y/${name}/stop"), False),
        (act("a", "/x/${id}", "PUT"), act("b", "/x/${id}", "DELETE"), True),
        (act("a", "/x/${id}", "PUT"), act("b", "/x/${id}", "PATCH"), False),
        (act("a", table="t", verb="insert"), act("b", table="t", verb="delete"), True),
        (act("a", table="t", verb="insert"), act("b", table="u", verb="delete"), False),
        (act("a", table="t", written={"c": "1"}), act("b", table="t", written={"c": "2"}), True),
        (act("a", table="t", written={"c": "1"}), act("b", table="t", written={"c": "1", "d": "2"}), False),
        (act("a"), act("b"), False),
    ],
)
def test_acts_that_work_against_each_other(one: Act, other: Act, told: bool) -> None:
    assert bool(opposed(one, other)) is told
    assert bool(opposed(other, one)) is told
