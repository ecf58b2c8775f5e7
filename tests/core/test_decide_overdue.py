"""Stories of undos that cannot come when they are due: somebody hears of each, and nothing is repeated."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from remediator.core.evidence import Picture, Reading
from remediator.core.messages import Marked, Probe, ProbeRead, TimePassed
from remediator.core.play import next_deadline
from remediator.core.run import Outcome, Stage, StepState
from tests.core.campaign import change, policy, post, proof, undo
from tests.core.stories import Story

ROWS = {"failed": {"use": "sql.query", "via": "db", "with": {"sql": "SELECT 1"}}}


def items(*ids: object, **step: Any) -> Story:
    """A step that is repeated for these."""
    terms = {"for_each": "${failed.rows}", "at_most": 1000, "undo": undo("/-r/${each.id}", after="1m")}
    retry = post("/r/${each.id}", **terms | step)
    given = {"failed": {"rows": [{"id": one} for one in ids], "count": len(ids)}}
    return Story(policy({"retry": retry}, diagnose=ROWS), given=given)


def held(**rest: Any) -> Story:
    return Story(policy({"pause": post("/pause", undo=undo(**({"after": "1h"} | rest)))})).done()


# ── Somebody hears of it ────────────────────────────────────────────────────────────────────────


def test_an_undo_that_an_act_keeps_waiting_is_told() -> None:
    story = items("a", "b").done().starts("retry[2]")
    assert next_deadline(story.run, story.facts) == story.now + timedelta(minutes=2)
    story.passes("2m").pages("the undo of retry[1] is overdue: another step is on its way")
    story.passes("1h").pages("overdue")  # once


def test_no_further_item_is_begun_while_an_undo_is_due() -> None:
    story = items("a", "b", "c").done().later("90s").done().undoes("retry[2]")
    assert [act.step for act in story.acts if not act.undo] == ["retry[1]", "retry[2]"]


def test_an_undo_that_an_unknown_outcome_keeps_waiting_is_told() -> None:
    story = items("a", "b").done().unknown().in_stage(Stage.ASKING).passes("2m")
    story.pages("unknown whether retry[2]", "the undo of retry[1] is overdue: the outcome of another step")


def test_an_undo_that_waits_for_another_one_is_told() -> None:
    steps = {
        name: post(f"/{name}", undo=undo(f"/-{name}", after=span))
        for name, span in [("a", "1h"), ("b", "70m")]
    }
    story = Story(policy(steps)).done().done().passes("1h").undoes("a").passes("11m")
    late = "that of a was sent, and has no answer yet"
    story.pages(f"the undo of a is overdue: {late}", f"the undo of b is overdue: {late}")
    story.done().undoes("b").done().closes("fixed")


def test_an_undo_that_is_not_answered_is_told_once() -> None:
    story = held().passes("1h").undoes("pause").passes("59s").pages()
    story.passes("1s").pages("the undo of pause is overdue: that of pause was sent, and has no answer yet")
    story.passes("1h").pages("overdue").done().closes("fixed")


def test_an_undo_whose_mark_is_asked_about_is_told() -> None:
    story = Story(policy({"halve": change(verify={"none": "-"})}))
    story.previewed("halve", Picture(1, "one row")).approve("bob")
    story.marks().done(restore={"table": "t", "rows": []}).passes("1h").undoes("halve").marks().unknown()
    story.inquires().passes("1m").pages("the undo of halve is overdue: that of halve was sent")


def test_an_undo_that_comes_before_its_time_is_due_as_of_then() -> None:
    story = held(early="resolved").resolves().passes("1m").undoes("pause").passes("59s").pages()
    story.passes("1s").pages("the undo of pause is overdue")


def test_an_undo_that_is_only_proved_late_was_done_in_time() -> None:
    story = held(verify=proof(within="10m")).passes("1h").undoes("pause").done()
    story.passes("5m").pages()


def test_undos_of_a_list_that_stand_behind_one_another_are_one_page() -> None:
    story = items("a", "b", "c", undo=undo("/-r/${each.id}", after="1h")).done().done().done()
    story.passes("1h").undoes("retry[3]").later("50s").done().undoes("retry[2]").passes("9s").pages()
    story.passes("1s").pages("the undo of retry (2 items) is overdue: that of retry[2] was sent")
    story.passes("2m").done().undoes("retry[1]").passes("2m").done().closes("fixed").pages("overdue")


def test_undos_of_a_list_that_come_late_one_after_the_other_are_one_page() -> None:
    story = items("a", "b", "c", undo=undo("/-r/${each.id}", after="1h"))
    story.done().later("20s").done().later("20s").done().passes("1h").undoes("retry[2]")
    story.passes("1m").pages("the undo of retry (3 items) is overdue").done()
    story.undoes("retry[1]").passes("1m").done().undoes("retry[3]").passes("2m").done().closes("fixed")
    story.pages("overdue")


def test_a_halt_of_undos_is_told_for_each_that_is_overdue() -> None:
    story = items("a", "b", "c", undo=undo("/-r/${each.id}", after="1h"))
    story.done().done().done().halted(undos=True).passes("2h")
    story.pages("the undo of retry (3 items) is overdue: undos are halted")


# ── The target, meanwhile ───────────────────────────────────────────────────────────────────────


def test_an_undo_that_is_tried_again_keeps_the_target() -> None:
    story = held().halted(undos=True).passes("1h").in_stage(Stage.UNDOING).locks()
    story.sees(halts=()).passes("5s").undoes("pause").done().closes("fixed")


def test_an_undo_that_waits_for_another_run_does_not_lock_what_that_has() -> None:
    story = held().sees(holder="r9").passes("1h").in_stage(Stage.UNDOING)
    assert not story.run.locks_target
    story.sees(holder=None).passes("5s").undoes("pause").locks()


def test_the_middle_of_a_run_keeps_the_target_while_its_undo_waits() -> None:
    pause = post("/pause", verify=proof(within="1m"), undo=undo(after="1h", early="unverified"))
    story = Story(policy({"pause": pause, "cut": post("/cut")})).reads_before(value=1).done()
    story.halted(undos=True).reads_proof(value=1).passes("30s").reads_proof(value=1)
    story.passes("30s").reads_proof(value=1).in_stage(Stage.UNDOING).locks()


# ── A queue that cannot be worked off ───────────────────────────────────────────────────────────


def test_a_thousand_undos_that_cannot_be_made_are_one_page_and_an_end() -> None:
    story = items(*range(300), undo=undo("/-r/${steps.retry.results[0].job}", after="1h"))
    for _ in range(300):
        story.done(id=1)
    story.passes("1h").closes("failed", "went wrong")
    assert len(set(story.paged_keys)) == 1


def test_an_undo_is_not_marked_once_it_may_not_be_made() -> None:
    for seen in ({"holder": "r9"}, {}):
        story = Story(policy({"halve": change(verify={"none": "-"})}))
        story.previewed("halve", Picture(1, "one row")).approve("bob")
        story.marks().done(restore={"table": "t", "rows": []}).passes("1h").undoes("halve")
        story = story.sees(**seen) if seen else story.halted(undos=True)
        story.hears(Marked("halve", 1, undo=True, mark={"xid": "7"}))
        assert story.run.steps["halve"].undo_mark is None


# ── Proofs by whatever clock ────────────────────────────────────────────────────────────────────


def test_how_long_something_has_held_is_counted_by_the_daemons_clock_alone() -> None:
    lasting = proof(within="10m", **{"for": "5m"})
    story = Story(policy({"pause": post("/pause", verify=lasting)})).reads_before(value=1).done()
    _answers(story, "verify:pause", -timedelta(minutes=6), 0).in_stage(Stage.VERIFYING)
    early = {
        "use": "http.get",
        "via": "api",
        "with": {"path": "/x"},
        "until": "verify.value == 0",
        "for": "10m",
    }
    _answers(held(early=early), "early:pause:0", -timedelta(minutes=11), 0).in_stage(Stage.HOLDING)


def test_a_last_reading_that_holds_is_a_proof_by_whatever_clock() -> None:
    story = Story(policy({"pause": post("/pause", verify=proof(within="30s"))})).reads_before(value=1).done()
    _answers(story, "verify:pause", timedelta(), 1).passes("30s")
    _answers(story, "verify:pause", timedelta(seconds=1), 0).closes("fixed")


def test_what_nobody_looked_at_has_not_held() -> None:
    lasting = proof(within="6h", **{"for": "5m"})
    story = Story(policy({"pause": post("/pause", verify=lasting)})).reads_before(value=1).done()
    story.reads_proof(value=0).later("2h").hears(TimePassed()).reads_proof(value=0).in_stage(Stage.VERIFYING)
    for _ in range(10):
        story.passes("30s").reads_proof(value=0)
    story.closes("fixed")


def test_an_undo_whose_proof_cannot_be_asked_for_is_not_proved() -> None:
    verify = proof() | {"with": {"path": "/jobs/${steps.pause.result.id}"}}
    story = Story(policy({"pause": post("/pause", undo=undo(after="1h", verify=verify))})).done(text="no id")
    story.passes("1h").done().closes("failed", "was not proved").pages("was done, but not proved")
    assert "not proved" in story.run.steps["pause"].undo_error


def test_a_rung_whose_undo_is_not_proved_is_the_last() -> None:
    first = post("/a", verify=proof(within="30s"), undo=undo("/-a", after="1h", verify=proof(within="30s")))
    story = Story(policy({"a": first, "b": post("/b")}, decide=[{"try": ["a", "b"]}])).reads_before(value=1)
    story.done().reads_proof(value=1).passes("30s").reads_proof(value=1).undoes("a").done()
    story.reads_undo_proof("a", value=1).passes("30s").reads_undo_proof("a", value=1)
    story.closes("failed", "was not proved")
    assert [act.step for act in story.acts] == ["a", "a"]


def test_a_proof_of_an_undo_hears_only_what_it_has_asked_for() -> None:
    story = held(verify=proof(within="10m")).passes("1h").undoes("pause").done()
    asked = story.asked("undo-verify:pause")
    story.hears(ProbeRead(asked.round - 1, asked.key, Reading(story.now, ok=True, value={"value": 0})))
    before = story.run
    story.hears(TimePassed()).in_stage(Stage.UNDOING)
    assert story.run == before, "it is read twice at a time"


def test_an_undo_that_is_due_is_told_although_a_proof_is_rarely_read() -> None:
    slow = undo("/-a", after="1h", verify=proof(within="3h", every="1h"))
    steps = {"b": post("/b", undo=undo("/-b", after="90m")), "a": post("/a", undo=slow)}
    story = Story(policy(steps)).done().done().passes("1h").undoes("a").done().reads_undo_proof("a", value=1)
    story.passes("31m").pages("the undo of b is overdue: another undo is being proved")


# ── What may end a hold cannot be read ──────────────────────────────────────────────────────────


def test_readings_that_fail_for_an_hour_reach_a_person_once() -> None:
    early = {"use": "http.get", "via": "api", "with": {"path": "/x"}, "until": "verify.value == 0"}
    story = held(after=None, early=early)
    for _ in range(119):
        story.early_fails("pause").pages().passes("30s")
    for _ in range(9):
        story.early_fails("pause").passes("30s")
    story.pages("what may end the hold of pause cannot be read: timeout")
    story.reads_early("pause", value=0).undoes("pause")


def test_two_readings_are_each_read_when_it_is_time_for_them() -> None:
    early = [
        {"use": "http.get", "via": "api", "with": {"path": "/x"}, "until": "verify.value == 0", "every": span}
        for span in ("10s", "40s")
    ]
    story = held(early=early).reads_early("pause", value=1).reads_early("pause", 1, value=1).passes("10s")
    assert [probe.key for probe in story.out if isinstance(probe, Probe)] == ["early:pause:0"]
    asked = story.asked("early:pause:0")
    story.hears(ProbeRead(asked.round - 1, asked.key, Reading(story.now, ok=True, value={"value": 0})))
    story.in_stage(Stage.HOLDING)


# ── The breaker, meanwhile ──────────────────────────────────────────────────────────────────────


def test_a_failure_counts_before_its_hold_is_over_and_once() -> None:
    pause = post("/pause", verify=proof(within="30s"), undo=undo(after="24h"))
    story = Story(policy({"pause": pause})).reads_before(value=1).done().reads_proof(value=1)
    story.passes("30s").reads_proof(value=1).in_stage(Stage.HOLDING).counts("act", "failed")
    story.passes("24h").done().closes(Outcome.INEFFECTIVE).counts("act", "failed")
    assert story.run.steps["pause"].state is StepState.UNDONE


def _answers(story: Story, key: str, ahead: timedelta, value: int) -> Story:
    """A reading by a clock that goes otherwise."""
    asked = story.asked(key)
    story.out.remove(asked)
    return story.hears(
        ProbeRead(asked.round, key, Reading(story.now + ahead, ok=True, value={"value": value}))
    )
