"""What people are asked about an outcome that nobody knows: all that helps to find out, and who said what."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from remediator.core.evidence import Reading
from remediator.core.run import Question, Run, Stage, StepRun, StepState
from remediator.people.cards import Card
from remediator.people.clicks import Click, Declined, parse_click
from remediator.people.questions import question_card
from tests.fakes.slack_blocks import problems
from tests.people.stories import NOW, PEOPLE, PUBLIC, pause, waiting
from tests.people.test_clicks import APP, pressed
from tests.people.test_interactivity import Door

ASKED = Question("r-1.q1", "pause", NOW)
PROOF = Reading(NOW - timedelta(seconds=20), ok=True, value={"value": 39.0})


def asking(question: Question = ASKED, **step: Any) -> Run:
    """A run whose step may or may not have happened."""
    started, error = NOW - timedelta(minutes=1), "no answer within 10 s"
    one = StepRun(
        "pause", StepState.UNKNOWN, pause(), attempt=1, started_at=started, error=error, unknown=True
    )
    one = msgspec.structs.replace(one, **step)
    return msgspec.structs.replace(
        waiting(), stage=Stage.ASKING, plan=("pause",), steps={"pause": one}, questions=(question,)
    )


def card(run: Run) -> Card:
    shown = question_card(run, run.questions[-1], PUBLIC)
    assert problems(shown.blocks) == []
    return shown


def buttons(shown: Card) -> list[dict[str, Any]]:
    return [one for block in shown.blocks if block["type"] == "actions" for one in block["elements"]]


def test_it_shows_what_was_sent_where_to_when_the_problem_and_the_last_look() -> None:
    text = json.dumps(card(asking(proof=PROOF)).blocks)
    for part in (
        pause().summary,
        pause().call.connection,
        "no answer within 10 s",
        "value = 39",
        "*Started*",
    ):
        assert part in text, part


def test_without_a_proof_it_says_that_nothing_can_tell() -> None:
    assert "nothing that the policy reads can tell" in json.dumps(card(asking()).blocks)


def test_each_of_its_three_buttons_asks_once_more_before_it_counts() -> None:
    shown = buttons(card(asking()))
    assert [(one["action_id"], one["value"]) for one in shown] == [
        ("happened", "r-1.q1"),
        ("not-happened", "r-1.q1"),
        ("handled", "r-1.q1"),
    ]
    assert [one["text"]["text"] for one in shown] == ["It happened", "It did not happen", "I'll handle it"]
    assert all(one["confirm"]["title"]["text"].endswith("?") for one in shown)


def test_a_settled_card_says_who_said_what_and_has_no_button() -> None:
    settled = msgspec.structs.replace(
        ASKED, by="bob", verdict="not-happened", via="slack", reason="the row is as it was", at=NOW
    )
    shown = card(msgspec.structs.replace(asking(settled), stage=Stage.CLOSED))
    assert buttons(shown) == []
    text = json.dumps(shown.blocks)
    assert "*bob*: it did not happen" in text
    assert "by slack: the row is as it was" in text


def test_a_card_that_a_late_answer_settled_says_so() -> None:
    late = msgspec.structs.replace(ASKED, late="its lost answer came after all: it was done")
    shown = card(asking(late))
    assert buttons(shown) == []
    assert "came after all: it was done" in json.dumps(shown.blocks)


def test_words_that_did_not_count_are_on_the_card() -> None:
    remarked = msgspec.structs.replace(ASKED, remarks=("dora's word does not count: no role",))
    assert "dora's word does not count" in json.dumps(card(asking(remarked)).blocks)


def test_hostile_texts_are_letters_and_fit() -> None:
    hostile = "<!channel> *x* `y` &" + "é" * 9000
    shown = card(asking(error=hostile, proof=Reading(NOW, ok=False, error=hostile)))
    text = json.dumps(shown.blocks)
    assert "<!channel>" not in text
    assert "&lt;!channel&gt;" in text


@pytest.mark.parametrize("verdict", ["happened", "not-happened", "handled"])
async def test_a_click_goes_to_the_desk_with_the_question_that_it_answers(verdict: str) -> None:
    click = parse_click(pressed(action_id=verdict, value="r-1.q1"), APP, PEOPLE)
    assert isinstance(click, Click)
    door = Door()
    await door.hears(click)
    said = {"by": click.person, "verdict": verdict, "reason": "", "via": "slack", "question": "r-1.q1"}
    assert door.desk.asked == [("settle", {"subject": "r-1", **said})]


@pytest.mark.parametrize("value", ["", "a b", "r-1.q1:ff", "x" * 201])
def test_a_button_that_is_none_of_ours_is_declined(value: str) -> None:
    assert isinstance(parse_click(pressed(action_id="happened", value=value), APP, PEOPLE), Declined)
