"""The world-independent half of the loop: what is news, what a crash means, what goes out first."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from remediator.core.alert import Alert
from remediator.core.intention import Call
from remediator.core.messages import Act, Card, Preview, Probe, StepFinished, Unknown
from remediator.core.play import News, in_order, lost, news, repeatable
from tests.core.campaign import START, alert, policy, post
from tests.core.stories import Story

DEBOUNCE = timedelta(minutes=1)
JUST = START - timedelta(seconds=59)
LONG = START - timedelta(minutes=1)

FIRING, RESOLVED = alert("firing", starts_at=START), alert("resolved", starts_at=START)
OLD = alert("firing", starts_at=LONG)
OLD_END = alert("resolved", starts_at=LONG, ends_at=START)
OVER = alert("resolved", starts_at=LONG - DEBOUNCE, ends_at=LONG - timedelta(seconds=1))
AHEAD, AHEAD_END = (
    alert(state, starts_at=START + timedelta(days=30_000)) for state in ("firing", "resolved")
)
OTHER, OTHER_END = (
    alert(state, starts_at=START, annotations={"value": "7"}) for state in ("firing", "resolved")
)
NEW, NEW_END = (alert(state, starts_at=START + DEBOUNCE) for state in ("firing", "resolved"))


@pytest.mark.parametrize(
    ("known", "changed_at", "heard", "expected"),
    [
        (None, None, FIRING, News.FIRST),
        (None, None, RESOLVED, News.RESOLVED),
        (FIRING, LONG, FIRING, News.REPEAT),
        (RESOLVED, LONG, RESOLVED, News.REPEAT),
        (FIRING, LONG, OTHER, News.REWORDED),
        (OTHER, LONG, FIRING, News.REWORDED),
        (RESOLVED, LONG, OTHER_END, News.REPEAT),
        (FIRING, LONG, RESOLVED, News.RESOLVED),
        (FIRING, JUST, RESOLVED, News.RESOLVED),
        # merged alerts keep the earliest start: the end of what is known all the same
        (FIRING, LONG, OLD_END, News.RESOLVED),
        # over before the known trouble began: an old message
        (FIRING, LONG, OVER, News.STALE),
        (FIRING, LONG, OLD, News.REPEAT),
        (RESOLVED, LONG, OLD, News.FIRST),
        (RESOLVED, JUST, OLD, News.DOUBTFUL),
        # a new trouble of a known alert; if its end was missed, the recheck looks after it
        (FIRING, LONG, NEW, News.REPEAT),
        (RESOLVED, JUST, NEW, News.FIRST),
        (FIRING, LONG, NEW_END, News.RESOLVED),
        # a clock far ahead hides nothing
        (AHEAD, LONG, RESOLVED, News.RESOLVED),
        (AHEAD_END, LONG, FIRING, News.FIRST),
        # the same trouble, firing again after its end
        (RESOLVED, JUST, FIRING, News.DOUBTFUL),
        (RESOLVED, LONG, FIRING, News.FIRST),
        (RESOLVED, None, FIRING, News.FIRST),
    ],
)
def test_what_a_delivered_alert_is(
    known: Alert | None, changed_at: datetime | None, heard: Alert, expected: News
) -> None:
    assert news(known, changed_at, heard, START, DEBOUNCE) is expected


@pytest.mark.parametrize("heard", [FIRING, OTHER])
def test_an_overtaken_message_leaves_the_newer_words(heard: Alert) -> None:
    assert news(FIRING, LONG, heard, START, DEBOUNCE, overtaken=True) is News.STALE


CALL = Call("http.request", "api", {})
ACT = Act("pause", 2, CALL, "r1/pause", START, undo=True)
EFFECTS = (Card("r1.1"), Preview(1, "pause", CALL), Probe(1, "diagnose:x", CALL), ACT)


def test_only_acts_and_undos_may_not_be_performed_again() -> None:
    assert [repeatable(effect) for effect in EFFECTS] == [True, True, True, False]


def test_an_act_without_a_result_after_a_crash_is_unknown() -> None:
    event = lost(ACT)
    assert isinstance(event, StepFinished)
    assert (event.step, event.attempt, event.undo) == ("pause", 2, True)
    assert isinstance(event.result, Unknown)
    assert [lost(effect) for effect in EFFECTS[:3]] == [None, None, None]


def test_a_crash_while_acting_never_sends_a_second_time() -> None:
    story = Story(policy({"pause": post("/pause")})).starts("pause")
    event = lost(story.acts[0])
    assert event is not None
    story.hears(event)
    assert len(story.acts) == 1
    story.pages("(its answer was not stored: the daemon that was to send it stopped, or could not reach")


def test_acts_go_out_first_and_people_last() -> None:
    assert [type(effect) for effect in in_order(EFFECTS)] == [Act, Probe, Preview, Card]
    twice = (EFFECTS[2], Probe(1, "diagnose:y", CALL))
    assert in_order(twice) == list(twice)
