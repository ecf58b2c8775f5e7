"""Stories of answers: done, refused, unknown, and what a person says about it."""

from __future__ import annotations

from typing import Any

import pytest

from remediator.core.messages import Done, Refused, StepFinished, Unknown
from remediator.core.run import Stage, StepState
from tests.core.campaign import policy, post, proof, say, undo, votes
from tests.core.stories import Story

KEYED = post("/pause") | {"via": "keyed"}


def test_an_act_is_committed_with_its_intent_and_may_only_start_soon() -> None:
    story = Story(policy({"pause": post("/pause/${campaign}")})).starts("pause")
    act = story.acts[0]
    assert story.entry("started")["intention"]["call"]["args"] == {"method": "POST", "path": "/pause/c-1"}
    assert (act.start_by - story.now).total_seconds() == 15
    story.in_stage(Stage.ACTING)


def test_a_later_step_sees_what_an_earlier_one_returned() -> None:
    steps = {"pause": post("/pause"), "cut": post("/cut/${steps.pause.result.ticket}")}
    story = Story(policy(steps)).done(ticket="T-7").starts("cut")
    assert story.acts[-1].call.args["path"] == "/cut/T-7"


def test_a_later_step_whose_argument_is_missing_stops_and_pages() -> None:
    steps = {"pause": post("/pause"), "cut": post("/cut/${steps.pause.result.ticket}")}
    Story(policy(steps)).done().closes("failed", "expression").pages("stopped before cut")


def test_a_refused_act_fails_pages_and_stops_the_rest() -> None:
    story = Story(policy({"pause": post("/a"), "cut": post("/b")})).refused("409 busy")
    story.closes("failed", "pause was refused: 409 busy").pages("409 busy").counts("act", "failed")
    assert [act.step for act in story.acts] == ["pause"]


def test_on_failure_continue_goes_on_and_says_so_at_the_end() -> None:
    steps = {"pause": post("/a", on_failure="continue"), "cut": post("/b")}
    Story(policy(steps)).refused("409").starts("cut").done().closes("failed", "pause: 409").pages()


def test_on_failure_undo_all_takes_back_what_was_done_latest_first() -> None:
    steps = {
        "a": post("/a", undo=undo("/-a", after="1h")),
        "b": post("/b", undo=undo("/-b", after="1h")),
        "c": post("/c", on_failure="undo_all"),
    }
    story = Story(policy(steps)).done().done().starts("c").refused()
    story.undoes("b").done().undoes("a").done().closes("failed").pages("c was refused")


def test_on_failure_page_keeps_a_temporary_change_for_its_time() -> None:
    steps = {"a": post("/a", undo=undo(after="1h")), "b": post("/b")}
    Story(policy(steps)).done().refused().holds(a="1h").passes("1h").undoes("a").done().closes("failed")


# ── Unknown ───────────────────────────────────────────────────────────────────────────────────────


def test_an_unknown_act_that_nothing_can_prove_asks_a_person() -> None:
    story = Story(policy({"pause": post("/pause")})).unknown("connection reset").in_stage(Stage.ASKING)
    story.pages("unknown whether pause happened (connection reset)").step_is("pause", StepState.UNKNOWN)
    assert "POST /pause via api" in story.paged[0]
    assert story.run.locks_target, "nobody else may touch it meanwhile"
    assert len(story.acts) == 1, "never a silent second execution"


def test_a_person_says_that_it_happened() -> None:
    story = Story(policy({"pause": post("/a"), "cut": post("/b")})).unknown().settled("happened")
    story.starts("cut").done().closes("fixed").writes("unknown", "asking", "settled", "started")


def test_a_person_says_that_it_did_not_happen() -> None:
    story = Story(policy({"pause": post("/a"), "cut": post("/b")})).unknown().settled("not-happened")
    story.closes("failed", "did not happen, says bob")


def test_a_person_takes_it() -> None:
    story = Story(policy({"pause": post("/a"), "cut": post("/b")})).unknown().settled("handled", by="amina")
    story.closes("handed-over", "taken by amina")


def test_a_held_step_that_a_person_says_happened_is_undone_in_time() -> None:
    story = Story(policy({"pause": post("/a", undo=undo(after="1h"))})).unknown().later("10m")
    story.settled("happened").holds(pause="50m").passes("50m").undoes("pause").done().closes("fixed")


def test_who_takes_it_still_gets_the_earlier_steps_undone() -> None:
    steps = {"a": post("/a", undo=undo(after="1h")), "b": post("/b")}
    story = Story(policy(steps)).done().unknown().settled("handled").holds(a="1h")
    story.passes("1h").undoes("a").done().closes("handed-over")


def test_an_unknown_act_that_a_proof_settles_bothers_nobody() -> None:
    story = Story(policy({"pause": post("/a", verify=proof())})).reads_before(value=1).unknown()
    story.reads_proof(value=1).reads_proof(value=0).closes("fixed").pages()
    assert story.entry("verified")["settles_unknown"] is True


def test_an_unknown_act_that_is_not_proved_in_time_asks_a_person() -> None:
    story = Story(policy({"pause": post("/a", verify=proof(within="1m"))})).reads_before(value=1).unknown()
    story.reads_proof(value=1).reads_proof(value=1).reads_proof(value=1).in_stage(Stage.ASKING)
    story.pages("unknown whether pause happened")


def test_an_unknown_message_is_a_failure_and_no_question() -> None:
    story = Story(policy({"warn": say()})).unknown().closes("failed", "may or may not have happened")
    story.pages("warn may or may not have happened").counts("failed")


# ── With a key that the service honours ───────────────────────────────────────────────────────────


def test_with_a_key_it_is_sent_again_under_the_same_key_at_most_three_times() -> None:
    story = Story(policy({"pause": KEYED})).unknown().starts("pause").unknown().starts("pause").unknown()
    story.in_stage(Stage.ASKING).counts("act")
    assert [(act.attempt, act.key) for act in story.acts] == [(n, "r1/pause") for n in (1, 2, 3)]
    assert len({str(act.call) for act in story.acts}) == 1
    story.writes("started", "unknown", "sent-again", "unknown", "sent-again", "unknown", "asking")


def test_with_a_key_the_second_answer_is_the_answer() -> None:
    Story(policy({"pause": KEYED})).unknown().done().closes("fixed").pages()


def test_a_refusal_of_the_second_sending_says_nothing_about_the_first() -> None:
    story = Story(policy({"pause": KEYED})).unknown().refused("never sent").starts("pause")
    story.refused("never sent").in_stage(Stage.ASKING).step_is("pause", StepState.UNKNOWN)


def test_a_halt_keeps_it_from_being_sent_again() -> None:
    Story(policy({"pause": KEYED})).halted().unknown().in_stage(Stage.ASKING)


def test_with_a_key_and_a_proof_it_is_sent_again_first() -> None:
    story = Story(policy({"pause": KEYED | {"verify": proof()}})).reads_before(value=1)
    story.unknown().unknown().unknown().reads_proof(value=0).closes("fixed")
    assert len(story.acts) == 3


# ── Late, double, foreign ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "late",
    [
        StepFinished("pause", 1, True, Done()),
        StepFinished("pause", 2, False, Done()),
        StepFinished("cut", 1, False, Refused("?")),
    ],
)
def test_an_answer_to_something_else_changes_nothing(late: StepFinished) -> None:
    story = Story(policy({"pause": post("/a")})).starts("pause").hears(late)
    assert not story.last.entries
    story.starts("pause")


def test_a_second_answer_changes_nothing() -> None:
    story = Story(policy({"pause": post("/a"), "cut": post("/b")})).done()
    story.hears(StepFinished("pause", 1, False, Unknown("late"))).starts("cut").done().closes("fixed")


def test_a_late_answer_to_the_first_sending_changes_nothing() -> None:
    story = Story(policy({"pause": KEYED})).unknown()
    story.hears(StepFinished("pause", 1, False, Refused("late"))).starts("pause").done().closes("fixed")


def test_a_closed_run_hears_nothing_any_more() -> None:
    story = Story(policy({"pause": post("/a", gate=votes(oncall=1))})).deny("bob")
    closed = story.run
    for event in (StepFinished("pause", 1, False, Done()), StepFinished("pause", 1, True, Done())):
        story.hears(event)
    story.resolves().fires().settled("happened").policy_changes().approve("bob").later("7d")
    assert story.run == closed
    assert not any(one.entries or one.effects or one.pages for one in story.decisions[-7:])


@pytest.mark.parametrize("verdict", ["happened", "not-happened", "handled"])
def test_a_word_that_nobody_asked_for_changes_nothing(verdict: Any) -> None:
    story = Story(policy({"pause": post("/a")})).settled(verdict).starts("pause")
    assert not story.last.entries


def test_a_key_is_not_used_again_when_the_service_may_have_forgotten_it() -> None:
    story = Story(policy({"pause": KEYED})).starts("pause")
    story.later("11m").unknown("the daemon was down").in_stage(Stage.ASKING)
    assert len(story.acts) == 1
