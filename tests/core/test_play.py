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


EARLIER = LONG - timedelta(seconds=2)


@pytest.mark.parametrize(
    ("known", "heard", "expected"),
    [
        (FIRING, FIRING, News.STALE),
        (FIRING, OTHER, News.STALE),  # the newer words stay
        (RESOLVED, RESOLVED, News.STALE),
        # an end, and then it fired again: with the start that it had, with an older one, with one of its own
        (FIRING, RESOLVED, News.STALE),
        (OLD, RESOLVED, News.STALE),
        (NEW, RESOLVED, News.STALE),
        (NEW, OLD_END, News.STALE),
        (NEW, OVER, News.STALE),
        # a trouble, and then its end: with the start that it had, with an older one, with a later one
        (RESOLVED, FIRING, News.STALE),
        (OLD_END, FIRING, News.STALE),
        (NEW_END, FIRING, News.STALE),
        (OVER, OLD, News.STALE),  # it was heard before that end came: a clock was ahead
        (OVER, AHEAD, News.STALE),
        # a trouble, and then a late word about the end of the one before
        (OVER, FIRING, News.FIRST),
    ],
)
def test_what_was_received_last_counts_whatever_is_drained_first(
    known: Alert, heard: Alert, expected: News
) -> None:
    at = START + DEBOUNCE if expected is News.FIRST else EARLIER
    for changed_at in (JUST, LONG):
        assert news(known, changed_at, heard, START, DEBOUNCE, overtaken=at) is expected


def test_a_late_word_about_the_end_before_does_not_end_what_began_again() -> None:
    again = alert("firing", starts_at=START)
    end = alert("resolved", starts_at=LONG, ends_at=START - timedelta(seconds=1))
    assert news(again, START, end, START, DEBOUNCE) is News.STALE
    assert news(again, LONG, end, START, DEBOUNCE) is News.RESOLVED  # known for longer: starts were merged


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
