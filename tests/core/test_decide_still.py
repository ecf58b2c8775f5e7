"""Stories of undos that are sent only if what they would write over is still what was written."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from remediator.core.evidence import Reading
from remediator.core.messages import Done, ProbeRead, Refused, StepFinished, TimePassed
from remediator.core.play import LOST, lost, repeatable
from remediator.core.run import Run, Stage, StepState
from tests.core.campaign import budget_probe, change, policy, post, proof, still, undo, votes
from tests.core.stories import Story


def due(via: str = "api", **rest: Any) -> Story:
    """A change that is to be taken back now, if it may be."""
    how = undo(**({"after": "1h", "still": still()} | rest)) | {"via": via}
    return Story(policy({"scale": post("/scale", undo=how)})).done().passes("1h")


def test_it_is_sent_once_it_was_read_that_it_may_be() -> None:
    story = due().in_stage(Stage.UNDOING).locks()
    assert len(story.acts) == 1, "only the step itself was sent"
    story.reads_still("scale", json={"size": 4}).undoes("scale").done().closes(
        "fixed", "scale undone"
    ).pages()
    story.writes("still", "undo-started", "undone", "closed")
    assert len(story.acts) == 2


def test_what_somebody_has_changed_meanwhile_is_left_alone_and_a_person_hears_of_it() -> None:
    story = due().reads_still("scale", json={"size": 6}).closes("failed", "the undo of scale was left alone")
    story.pages("'verify.json.size == 4' does not hold any more (verify.json.size = 6)")
    story.step_is("scale", StepState.DONE)
    assert story.paged_keys == ["r1:undo:scale"]
    assert len(story.acts) == 1


def test_what_somebody_has_taken_back_already_needs_no_undo_and_no_person() -> None:
    story = due(verify=proof("verify.value == 0")).reads_still("scale", json={"size": 2})
    story.in_stage(Stage.UNDOING).locks().reads_undo_proof("scale", value=0)
    story.closes("fixed", "scale undone").pages().step_is("scale", StepState.UNDONE)
    story.writes("still", "proof", "undo-needless", "closed")
    assert len(story.acts) == 1


@pytest.mark.parametrize("reading", [{"value": 1}, {}])
def test_what_is_otherwise_and_not_as_it_was_is_left_alone(reading: dict[str, Any]) -> None:
    story = due(verify=proof("verify.value == 0", within="10m")).reads_still("scale", json={"size": 6})
    story.reads_undo_proof("scale", **reading).closes("failed", "was left alone")
    story.pages("'verify.json.size == 4' does not hold any more (verify.json.size = 6)")


def test_the_next_one_of_the_queue_comes_all_the_same() -> None:
    steps = {
        "pause": post("/pause", undo=undo("/resume", after="1h")),
        "scale": post("/scale", undo=undo("/back", after="1h", still=still())),
    }
    story = Story(policy(steps)).done().done().passes("1h").reads_still("scale", json={"size": 6})
    story.undoes("pause").done().closes("failed", "scale was left alone")


def test_while_it_cannot_be_read_nothing_is_sent_and_after_a_minute_a_person_hears() -> None:
    story = due()
    for _ in range(11):
        story.still_fails("scale").pages().in_stage(Stage.UNDOING).locks().passes("5s")
    story.still_fails("scale").closes("failed", "the undo of scale went wrong")
    story.pages("whether it may be sent still cannot be told: timeout. It was not sent")
    assert len(story.acts) == 1


def test_one_that_could_not_be_read_for_a_while_is_sent_when_it_can_be() -> None:
    story = due().still_fails("scale").passes("5s").still_fails("scale").passes("5s")
    story.reads_still("scale", json={"size": 4}).undoes("scale").done().closes("fixed").pages()


def test_the_minute_begins_anew_once_it_could_be_read() -> None:
    step = change(
        gate={"waived": "not about gates"}, undo={"how": "restore", "after": "1h", "still": still()}
    )
    story = (
        Story(policy({"cut": step})).done(restore={"rows": []}).passes("1h").still_fails("cut").passes("5s")
    )
    story.reads_still("cut", json={"size": 4}).passes("50s").refused("locked").passes("5s")
    story.still_fails("cut").in_stage(Stage.UNDOING).pages("overdue")


@pytest.mark.parametrize("value", [{}, {"json": {}}, {"json": {"size": None}}])
def test_a_reading_that_tells_nothing_is_no_reading(value: dict[str, Any]) -> None:
    story = due(still=still("verify.json.size >= 4")).reads_still("scale", **value)
    story.in_stage(Stage.UNDOING).pages().passes("5s").reads_still("scale", json={"size": 4}).undoes("scale")


def test_what_was_read_too_long_ago_is_read_again() -> None:
    story = due().reads_still("scale", age="10s", json={"size": 4}).in_stage(Stage.UNDOING)
    assert story.entry("still")["error"] == "what was read is too old by now"
    story.passes("5s").reads_still("scale", age="9s", json={"size": 4}).undoes("scale")


def test_a_crash_before_the_answer_reads_again_and_the_old_answer_says_nothing() -> None:
    story = due()
    asked = story.asked("still:scale")
    assert repeatable(asked) and lost(asked) is None, "it is read again, and nothing is taken for sent"
    kept = msgspec.json.decode(msgspec.json.encode(story.run), type=Run)
    assert kept.pending == ("still:scale",)
    story.reads_still("scale", json={"size": 6}).closes("failed", "left alone")


def test_a_halt_or_another_run_meanwhile_is_waited_for_and_then_it_is_read_again() -> None:
    story = due().halted(undos=True).reads_still("scale", json={"size": 4}).in_stage(Stage.UNDOING)
    assert len(story.acts) == 1
    story.passes("1h").sees(halts=()).passes("5s").reads_still("scale", json={"size": 6}).closes("failed")


def sent(**rest: Any) -> Story:
    """Sent under a key, and its answer was lost."""
    return due("keyed", **rest).reads_still("scale", json={"size": 4}).undoes("scale").unknown(LOST)


def test_it_is_asked_again_before_the_same_is_sent_once_more_under_its_key() -> None:
    story = sent().in_stage(Stage.UNDOING).locks().reads_still("scale", json={"size": 4}).undoes("scale")
    story.done().closes("fixed").pages()
    story.writes("still", "undo-started", "unknown", "still", "sent-again", "undone", "closed")
    assert [act.attempt for act in story.acts] == [1, 1, 2]
    assert story.acts[1].call == story.acts[2].call


def test_one_that_is_lost_does_not_write_over_what_somebody_has_done_since() -> None:
    story = sent().reads_still("scale", json={"size": 6}).closes("failed", "its outcome is unknown")
    story.pages("'verify.json.size == 4' does not hold any more (verify.json.size = 6)")
    assert len(story.acts) == 2


def test_one_that_is_lost_has_happened_where_its_proof_holds() -> None:
    story = sent(verify=proof("verify.value == 0")).reads_still("scale", json={"size": 2})
    story.reads_undo_proof("scale", value=0).writes("found-out", "undone")
    story.reads_undo_proof("scale", value=0).closes("fixed", "scale undone").pages()
    story.step_is("scale", StepState.UNDONE)
    assert len(story.acts) == 2


def test_what_is_lost_and_neither_stands_nor_is_proved_a_person_must_see() -> None:
    story = sent(verify=proof("verify.value == 0")).reads_still("scale", json={"size": 6})
    story.reads_undo_proof("scale", value=1).closes("failed", "its outcome is unknown").pages("undo of scale")


def test_one_that_was_lost_hours_ago_is_not_sent_again() -> None:
    """The service may have forgotten the key by now."""
    story = due("keyed").reads_still("scale", json={"size": 4}).passes("10h").unknown(LOST)
    story.closes("failed", "its outcome is unknown").pages("overdue", "its outcome is unknown")
    assert len(story.acts) == 2


def test_nor_one_whose_key_was_forgotten_while_it_waited() -> None:
    story = sent().halted(undos=True).still_fails("scale").passes("15m").sees(halts=()).passes("5s")
    story.reads_still("scale", json={"size": 4}).closes("failed", "its outcome is unknown")
    assert len(story.acts) == 2


def test_while_one_that_is_lost_cannot_be_read_nothing_is_sent_and_a_person_hears() -> None:
    story = sent()
    for _ in range(11):
        story.still_fails("scale").in_stage(Stage.UNDOING).passes("5s")
    story.still_fails("scale").closes("failed", "Its outcome is unknown")
    assert len(story.acts) == 2


def test_an_unknown_outcome_is_not_judged_by_what_it_would_have_changed() -> None:
    story = due().reads_still("scale", json={"size": 4}).unknown(LOST).closes("failed", "outcome is unknown")
    story.pages("its outcome is unknown")


def test_one_that_certainly_did_not_happen_is_read_anew_before_it_is_sent_again() -> None:
    step = change(
        gate={"waived": "not about gates"}, undo={"how": "restore", "after": "1h", "still": still()}
    )
    story = Story(policy({"cut": step})).done(restore={"rows": []})
    story.passes("1h").reads_still("cut", json={"size": 4}).undoes("cut").refused("locked").passes("5s")
    story.hears(StepFinished("cut", 1, True, Done())).in_stage(Stage.UNDOING)
    story.reads_still("cut", json={"size": 4}).undoes("cut").refused("locked").passes("5s")
    story.reads_still("cut", json={"size": 6}).closes("failed", "left alone")
    assert [act.attempt for act in story.acts] == [1, 1, 2]


def test_it_sees_what_the_act_returned_and_what_was_read_before_it() -> None:
    how = still("verify.json.size == steps.scale.result.size && before.value == 5")
    step = post("/scale", verify=proof(), undo=undo(after="1h", still=how))
    story = (
        Story(policy({"scale": step})).reads_before(value=5).done(size=7).reads_proof(value=0).passes("1h")
    )
    story.reads_still("scale", json={"size": 7}).undoes("scale")


def test_before_is_read_for_it_alone_too() -> None:
    how = still("verify.json.size > before.value")
    step = post("/scale", verify=proof("verify.value == 0"), undo=undo(after="1h", still=how))
    Story(policy({"scale": step})).starts_nothing().reads_before(value=1).starts("scale")


def test_what_it_asks_may_be_made_of_what_the_act_returned() -> None:
    how = still(path="/pool/${steps.scale.result.id}")
    story = Story(policy({"scale": post("/scale", undo=undo(after="1h", still=how))})).done(id="p-7")
    assert story.passes("1h").asked("still:scale").call.args["path"] == "/pool/p-7"


def test_where_that_is_missing_a_person_hears_and_nothing_is_sent() -> None:
    how = still(path="/pool/${steps.scale.result.id}")
    story = Story(policy({"scale": post("/scale", undo=undo(after="1h", still=how))})).done().passes("1h")
    story.closes("failed", "went wrong").pages("undo.still.with.path")
    assert len(story.acts) == 1


def test_one_that_cannot_be_asked_at_all_keeps_the_step_from_starting() -> None:
    how = still(path="/pool/${budget.row.id}")
    probe = {"budget": {"use": "sql.query", "via": "db", "with": {"sql": "SELECT 1"}}}
    story = Story(policy({"scale": post("/scale", undo=undo(after="1h", still=how))}, diagnose=probe))
    story.probe("budget", row={}).closes("refused", "undo.still").starts_nothing()


def test_each_item_of_a_list_is_asked_for_itself() -> None:
    how = undo("/back/${each}", after="1h", still=still("verify.json.size == each", path="/${each}"))
    step = post("/scale/${each}", undo=how, for_each="${budget.rows}", at_most=3)
    probe = {"budget": {"use": "sql.query", "via": "db", "with": {"sql": "SELECT 1"}}}
    story = Story(policy({"scale": step}, diagnose=probe)).probe("budget", rows=[4, 5]).done().done()
    story.passes("1h").reads_still("scale[2]", json={"size": 6})
    assert story.asked("still:scale[1]").call.args["path"] == "/4"
    story.reads_still("scale[1]", json={"size": 4}).undoes("scale[1]").done()
    story.closes("failed", "scale[2] was left alone")


def test_late_as_any_other_it_reaches_a_person_while_it_is_being_read() -> None:
    story = due().passes("1m").pages("the undo of scale is overdue: whether that of scale may be sent still")
    story.reads_still("scale", json={"size": 4}).undoes("scale").done().closes("fixed")


def test_it_is_part_of_what_is_approved() -> None:
    def hash_of(**rest: Any) -> str:
        step = post("/pause", gate=votes(oncall=1), undo=undo(after="1h", **rest))
        return Story(policy({"pause": step})).gate.hash

    one, other = still(), still("verify.json.size == 5")
    elsewhere = still(path="/other")
    assert len({hash_of(), *(hash_of(still=how) for how in (one, other, elsewhere))}) == 4


def test_a_gate_that_was_opened_before_there_were_conditions_binds_as_it_did() -> None:
    story = Story(policy({"pause": post("/pause", gate=votes(oncall=1), undo=undo(after="1h"))}))
    (intention,) = story.gate.intentions
    assert "still" not in intention.identity()["undo"]
    assert intention.undo is not None and "still" not in intention.undo.source


def test_it_is_for_what_is_taken_back() -> None:
    with pytest.raises(ValueError, match="still is for a step that is taken back"):
        policy({"pause": post("/pause", undo={"none": "it stays", "still": still()})})


def test_old_answers_and_the_clock_change_nothing_while_it_is_read() -> None:
    story = due()
    asked, before = story.asked("still:scale"), story.run
    reading = ProbeRead(asked.round - 1, asked.key, Reading(story.now, ok=True, value={"json": {"size": 4}}))
    story.hears(reading).hears(TimePassed()).hears(StepFinished("scale", 0, True, Refused("no")))
    assert story.run == before


# ── By which figures it is asked ──────────────────────────────────────────────────────────────────


def test_a_step_is_taken_back_by_its_own_figures_although_a_later_card_was_made_of_others() -> None:
    back = undo(
        "/back/${budget.row.n}/${steps.scale.result.by}",
        after="1h",
        still=still("verify.json.size == budget.row.n + 1"),
    )
    steps = {
        "scale": post("/scale/${budget.row.n + 1}", undo=back),
        "cut": post("/cut/${budget.row.n}", gate=votes(oncall=1)),
    }
    story = Story(policy(steps, diagnose=budget_probe())).probe("budget", row={"n": 3}).starts("scale")
    story.now_reads("budget", row={"n": 4}).done(by="bob").approve("bob").starts("cut").done()
    assert story.acts[-1].call.args["path"] == "/cut/4"
    story.passes("1h").reads_still("scale", json={"size": 4}).undoes("scale")
    assert story.acts[-1].call.args["path"] == "/back/3/bob"
    story.done().closes("fixed")


def test_a_safe_step_is_taken_back_by_its_own_figures_although_the_run_was_decided_again() -> None:
    back = undo("/safe/back", after="1h", still=still("verify.json.n == budget.row.n"))
    steps = {
        "soften": post("/safe/${budget.row.n}", undo=back),
        "cut": post("/cut/${budget.row.n}", gate=votes(oncall=1)),
    }
    story = Story(policy(steps, diagnose=budget_probe())).probe("budget", row={"n": 3})
    story.starts("soften").done()
    story.now_reads("budget", row={"n": 4}).approve("bob").asks_people(oncall=1).passes("15m").passes("45m")
    story.reads_still("soften", json={"n": 3}).undoes("soften")


def test_an_alert_that_fires_again_while_it_is_read_puts_the_undo_off() -> None:
    how = undo(after="1h", early="resolved", still=still())
    story = Story(policy({"scale": post("/scale", undo=how)})).done().resolves().passes("1m")
    story.in_stage(Stage.UNDOING).fires().reads_still("scale", json={"size": 4}).holds(scale="59m")
    assert len(story.acts) == 1
    story.passes("59m").reads_still("scale", json={"size": 4}).undoes("scale")


@pytest.mark.parametrize("first", ["the question", "the halt"])
def test_a_halt_lets_one_whose_answer_was_lost_wait_whichever_comes_first(first: str) -> None:
    story = due("keyed").reads_still("scale", json={"size": 4}).undoes("scale").unknown()
    story.halted(undos=True)
    if first == "the halt":
        story.still_fails("scale").passes("5s").in_stage(Stage.UNDOING)
    else:
        story.reads_still("scale", json={"size": 4}).in_stage(Stage.UNDOING)
    story.sees(halts=()).passes("5s").reads_still("scale", json={"size": 4}).undoes("scale").done()
    story.closes("fixed")


@pytest.mark.parametrize("asks", [True, False])
def test_the_reading_of_one_undo_sends_no_other(asks: bool) -> None:
    """Both time boxes are over when the alert fires again, so that the other one comes first."""
    own = {"still": still(path="/other")} if asks else {}
    steps = {
        "scale": post("/scale", undo=undo("/unscale", after="5m", early="resolved", still=still())),
        "pause": post("/pause", undo=undo("/resume", after="5m", **own)),
    }
    story = Story(policy(steps)).done().done().resolves().halted(undos=True).passes("1m").passes("10m")
    story.sees(halts=()).passes("5s").fires().reads_still("scale", json={"size": 4})
    if asks:
        assert [act.step for act in story.acts if act.undo] == []
        story.reads_still("pause", json={"size": 4})
    story.undoes("pause").done().reads_still("scale", json={"size": 4}).undoes("scale").done().closes("fixed")


def test_patience_with_what_cannot_be_read_begins_anew_after_a_wait() -> None:
    how = undo(after="9h", early="resolved", still=still())
    story = Story(policy({"scale": post("/scale", undo=how)})).done().resolves().passes("1m")
    story.still_fails("scale").fires().passes("5s").in_stage(Stage.HOLDING).passes("3h").resolves().passes(
        "1m"
    )
    story.still_fails("scale").in_stage(Stage.UNDOING).halted(undos=True).passes("1h").sees(halts=())
    story.passes("5s").still_fails("scale").in_stage(Stage.UNDOING).passes("5s")
    story.reads_still("scale", json={"size": 4}).undoes("scale").done().closes("fixed")
