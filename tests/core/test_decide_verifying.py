"""Stories of proof: did it work?"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from remediator.core.evidence import Reading
from remediator.core.messages import ProbeRead
from remediator.core.play import next_deadline
from remediator.core.run import Stage, StepState
from tests.core.campaign import START, policy, post, proof, undo
from tests.core.stories import Story


def started(
    until: str = "verify.value == 0 && before.ok", *, before: int = 40, step: Any = None, **rest: Any
) -> Story:
    pause = post("/pause", verify=proof(until, **rest)) | (step or {})
    return Story(policy({"pause": pause})).reads_before(value=before).starts("pause").done()


def test_a_proof_that_holds_at_once_is_enough() -> None:
    story = started().reads_proof(value=0).closes("fixed", "pause proved").pages()
    story.step_is("pause", StepState.VERIFIED).writes("before", "started", "finished", "proof", "verified")


def test_until_compares_with_before() -> None:
    story = started("verify.value < 0.8 * before.value").reads_proof(value=39).in_stage(Stage.VERIFYING)
    assert story.entry("proof")["holds"] is False
    story.reads_proof(value=31).closes("fixed")
    assert story.now == START + timedelta(seconds=30), "read again after `every`"


def test_what_is_down_is_brought_up_again_though_it_cannot_be_read() -> None:
    """A proof that compares with nothing needs no reading from before the act, so none can fail."""
    story = Story(policy({"restart": post("/restart", verify=proof("verify.value == 0"))}))
    assert story.out == [], "nothing is read"
    story.starts("restart").done().proof_fails("connection refused").reads_proof(value=0).closes("fixed")


def test_a_step_whose_proof_compares_is_not_started_without_the_reading_before_it() -> None:
    story = Story(policy({"pause": post("/pause", verify=proof("verify.value < before.value"))}))
    story.before_fails("connection refused").refuses(
        "probe", "the reading before pause failed"
    ).starts_nothing()


@pytest.mark.parametrize(
    "back",
    [
        {"after": "1h", "verify": proof("verify.value == before.value")},
        {"after": "1h", "early": [proof("verify.value > before.value")]},
        {"after": "1h", "early": ["unverified", proof("verify.rows.exists(one, one.id == before.row.id)")]},
    ],
    ids=["its undo's proof", "what ends its hold", "within a macro"],
)
def test_what_proves_or_brings_an_undo_compares_too(back: dict[str, Any]) -> None:
    pause = post("/pause", verify=proof("verify.value == 0"), undo=undo(**back))
    Story(policy({"pause": pause})).starts_nothing().reads_before(value=7).starts("pause")


def test_a_proof_must_hold_for_its_time() -> None:
    story = started(for_="1m", every="20s").reads_proof(value=0).in_stage(Stage.VERIFYING)
    story.reads_proof(value=0).reads_proof(value=0).in_stage(Stage.VERIFYING).reads_proof(value=0).closes(
        "fixed"
    )
    assert story.now == START + timedelta(minutes=1)


def test_whoever_answers_slowly_is_left_alone_between_two_readings() -> None:
    story = started(within="10m", every="30s")
    asked = story.asked("verify:pause")
    story.out.remove(asked)
    read = Reading(story.now, ok=True, value={"value": 9})
    story.later("40s").hears(ProbeRead(asked.round, asked.key, read)).in_stage(Stage.VERIFYING)
    assert next_deadline(story.run, story.facts) == story.now + timedelta(seconds=30)


def test_what_is_heard_late_proves_only_what_was_so_when_it_was_asked_for() -> None:
    """The daemon stood still between the answer and its commit."""
    story = started(for_="45s", every="30s").reads_proof(value=0).passes("30s")
    asked = story.asked("verify:pause")
    story.out.remove(asked)
    read = Reading(story.now, ok=True, value={"value": 0})
    story.later("30s").hears(ProbeRead(asked.round, asked.key, read)).in_stage(Stage.VERIFYING)
    story.passes("0s").reads_proof(value=0).closes("fixed")


def test_a_proof_that_breaks_off_begins_anew() -> None:
    story = started(for_="1m", every="30s").reads_proof(value=0).reads_proof(value=1).reads_proof(value=0)
    story.reads_proof(value=0).in_stage(Stage.VERIFYING).reads_proof(value=0).closes("fixed")
    assert story.now == START + timedelta(minutes=2)


def test_the_next_look_comes_sooner_when_its_time_is_over_by_then() -> None:
    story = started(for_="5s", every="30s").reads_proof(value=0).reads_proof(value=0).closes("fixed")
    assert story.now == START + timedelta(seconds=5)


def test_the_last_look_is_at_the_end_of_within() -> None:
    story = started(within="45s", every="30s").reads_proof(value=1).reads_proof(value=1)
    story.reads_proof(value=0).closes("fixed")
    assert story.now == START + timedelta(seconds=45)


def test_not_proved_in_time_is_ineffective_and_pages() -> None:
    story = started(within="30s").reads_proof(value=1).reads_proof(value=1)
    story.closes("ineffective", "'verify.value == 0 && before.ok' did not hold in time").pages(
        "pause was not proved"
    )
    story.step_is("pause", StepState.UNVERIFIED).writes("unverified", "paged", "closed")


@pytest.mark.parametrize(("value", "told"), [({"other": 1}, "value"), ({"value": None}, "null")])
def test_an_error_in_until_means_not_yet_and_is_told(value: dict[str, Any], told: str) -> None:
    story = (
        started("verify.value > 0 && before.ok", within="30s").reads_proof(**value).in_stage(Stage.VERIFYING)
    )
    assert told in story.entry("proof")["error"]
    story.reads_proof(value=1).closes("fixed")


def test_an_until_that_is_not_true_or_false_proves_nothing() -> None:
    started("before.ok ? verify.value : false", within="30s").reads_proof(value=1).reads_proof(
        value=1
    ).closes("ineffective")


def test_a_proof_that_cannot_be_read_means_not_yet() -> None:
    story = started(within="30s").proof_fails("no route").in_stage(Stage.VERIFYING).proof_fails("no route")
    story.closes("ineffective", "no route")


def test_an_unproved_step_is_undone_early_where_the_policy_says_so() -> None:
    step = {"undo": undo(after="24h", early="unverified")}
    story = started(within="30s", step=step).reads_proof(value=1).reads_proof(value=1)
    story.undoes("pause").pages("was not proved").done().closes("ineffective").step_is(
        "pause", StepState.UNDONE
    )


def test_an_unproved_step_without_early_stands_for_its_time() -> None:
    story = started(within="30s", step={"undo": undo(after="1h")}).reads_proof(value=1).reads_proof(value=1)
    story.holds(pause="59m30s").passes("1h").undoes("pause").done().closes("ineffective")


def test_a_proved_step_whose_undo_is_only_for_failure_stays() -> None:
    started(step={"undo": undo(early="unverified")}).reads_proof(value=0).closes("fixed")


def test_on_failure_undo_all_takes_back_the_earlier_steps_too() -> None:
    steps = {
        "a": post("/a", undo=undo("/-a", after="1h")),
        "b": post(
            "/b", verify=proof(within="1s"), on_failure="undo_all", undo=undo("/-b", early="unverified")
        ),
    }
    story = Story(policy(steps)).done().reads_before(value=1).starts("b").done()
    story.reads_proof(value=1).reads_proof(value=1).undoes("b").done().undoes("a").done().closes(
        "ineffective"
    )


def test_on_failure_continue_undoes_and_goes_on() -> None:
    steps = {
        "a": post("/a", verify=proof(within="1s"), on_failure="continue", undo=undo(early="unverified")),
        "b": post("/b"),
    }
    story = Story(policy(steps)).reads_before(value=1).done().reads_proof(value=1).reads_proof(value=1)
    story.undoes("a").done().starts("b").done().closes("ineffective").pages()


def test_a_step_that_nothing_can_prove_counts_as_done() -> None:
    Story(policy({"pause": post("/a", verify={"none": "fire and forget"})})).done().closes(
        "fixed", "pause done"
    )


def test_a_reading_of_an_older_round_proves_nothing() -> None:
    story = started()
    stale = ProbeRead(story.run.round - 1, "verify:pause", Reading(story.now, ok=True, value={"value": 0}))
    story.hears(stale).in_stage(Stage.VERIFYING)
    assert not story.last.entries


def test_the_same_reading_twice_counts_once() -> None:
    story = started(within="1m")
    reading = ProbeRead(story.run.round, "verify:pause", Reading(story.now, ok=True, value={"value": 1}))
    story.hears(reading).hears(reading)
    assert not story.last.entries
