"""Stories of outcomes that nobody knows: what may settle them, who, and what comes too late."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from remediator.core.catalog import Catalog
from remediator.core.evidence import Reading
from remediator.core.messages import CameLate, Card, Done, ProbeRead, Refused, Settled, TimePassed, Unknown
from remediator.core.run import Stage, StepState
from tests.core.campaign import CATALOG, START, policy, post, proof, say, undo, votes
from tests.core.stories import Story

KEYED = post("/pause") | {"via": "keyed"}


def settling(seconds: float) -> Catalog:
    """POSTs whose effect shows only after a while."""
    slow = CATALOG.operations["http.request"]
    operations = {**CATALOG.operations, "http.request": replace(slow, settle=timedelta(seconds=seconds))}
    return replace(CATALOG, operations=operations)


def asking(**step: Any) -> Story:
    """A step of which nobody knows whether it happened."""
    return Story(policy({"pause": post("/a", **step)})).unknown("reset").in_stage(Stage.ASKING)


# ── By a look, once it may be trusted ─────────────────────────────────────────────────────────────


def lost(**rest: Any) -> Story:
    """The same, where a look may be trusted after 20 s."""
    story = Story(policy({"pause": post("/a", verify=proof(within="1m", **rest))}), catalog=settling(20))
    return story.reads_before(value=1).unknown()


def test_nothing_is_read_before_it_may_be_trusted() -> None:
    story = lost().in_stage(Stage.VERIFYING)
    assert not story.out
    story.passes("19s")
    assert not story.out
    story.passes("1s").reads_proof(value=0).closes("fixed").pages()
    assert story.entry("settling")["until"] == (START + timedelta(seconds=20)).isoformat()
    assert story.entry("verified")["settles_unknown"] is True


def test_a_look_that_says_not_done_sends_nothing_again_and_asks_a_person() -> None:
    story = lost(every="30s").reads_proof(value=1).reads_proof(value=1).reads_proof(value=1)
    story.in_stage(Stage.ASKING).pages("unknown whether pause happened")
    assert story.now == START + timedelta(seconds=80), "`within` counts from when a look may be trusted"
    assert len(story.acts) == 1


def test_what_was_answered_is_looked_at_at_once() -> None:
    story = Story(policy({"pause": post("/a", verify=proof())}), catalog=settling(20))
    story.reads_before(value=1).done().reads_proof(value=0).closes("fixed")
    assert story.now == START


def test_a_late_reading_of_before_is_no_proof() -> None:
    story = lost()
    story.hears(ProbeRead(story.run.round, "verify:pause", Reading(START, ok=True, value={"value": 0})))
    story.in_stage(Stage.VERIFYING).hears(TimePassed())
    assert not story.out


# ── By a person ───────────────────────────────────────────────────────────────────────────────────


def test_a_question_has_a_card_that_says_who_settled_it() -> None:
    story = asking()
    question = story.run.question
    assert question is not None
    assert Card(question.id) in story.last.effects
    story.hears(Settled("amina", "happened", "seen in the table", "slack", question.id)).closes("fixed")
    assert Card(question.id) in story.last.effects
    (settled,) = story.run.questions
    assert (settled.by, settled.verdict, settled.via, settled.reason, settled.at) == (
        "amina",
        "happened",
        "slack",
        "seen in the table",
        story.now,
    )
    assert story.run.question is None


def test_whoever_found_that_it_did_not_happen_is_not_paged_for_that() -> None:
    story = asking().settled("not-happened").closes("failed")
    asked, failed = (page for one in story.decisions for page in one.pages)
    assert (asked.heard_by, failed.heard_by) == ("", "bob")
    assert failed.text.endswith(": pause did not happen, says bob")


def test_what_follows_from_their_word_beside_it_they_are_told() -> None:
    steps = {"pause": post("/a/${string(each)}", for_each="${[1, 2]}", at_most=2)}
    story = Story(policy(steps)).unknown().settled("not-happened").closes("failed")
    assert [page.heard_by for one in story.decisions for page in one.pages] == ["", ""], story.paged


def test_whoever_is_not_paged_and_found_that_it_did_not_happen_leaves_it_to_those_who_are() -> None:
    story = Story(policy({"pause": post("/a", gate=votes(finance=1))})).approve("dora").unknown()
    story.settled("not-happened", by="dora").closes("failed")
    assert [page.heard_by for one in story.decisions for page in one.pages] == ["", ""]


def test_whoever_is_not_paged_and_has_no_say_at_its_gates_settles_nothing() -> None:
    story = asking().settled("happened", by="dora").in_stage(Stage.ASKING)
    assert story.entry("settle-refused")["reason"] == "dora has none of the roles lead, oncall"
    assert story.run.question is not None
    assert story.run.question.remarks == (
        "dora's word does not count: dora has none of the roles lead, oncall",
    )
    assert Card(story.run.question.id) in story.last.effects, "who waits there sees it"


def test_whoever_its_gates_ask_may_settle_it() -> None:
    story = Story(policy({"pause": post("/a", gate=votes(finance=1))})).approve("dora").unknown()
    story.settled("happened", by="dora").closes("fixed")


def test_without_a_chain_the_on_call_settles_it() -> None:
    story = Story(policy({"pause": post("/a")}), catalog=replace(CATALOG, escalations={})).unknown()
    story.settled("happened", by="amina").in_stage(Stage.ASKING).settled("happened").closes("fixed")


def test_roles_are_asked_for_at_the_moment_of_the_word() -> None:
    gone = replace(CATALOG, roles={"oncall": frozenset({"carl"})})
    asking().sees(catalog=gone).settled("happened", by="bob").in_stage(Stage.ASKING)


def test_a_click_on_an_older_card_settles_nothing() -> None:
    story = Story(policy({"a": post("/a"), "b": post("/b")})).unknown().settled("happened").unknown()
    story.settled("not-happened", question="r1.q1").in_stage(Stage.ASKING)
    assert story.entry("settle-refused")["reason"] == "it is settled: bob said happened"
    story.settled("happened", question="r1.q2").closes("fixed")


def test_whoever_names_only_the_run_may_have_looked_at_what_it_asked_before() -> None:
    story = Story(policy({"a": post("/a"), "b": post("/b")})).unknown().comes_late(Done()).unknown()
    story.hears(Settled("bob", "not-happened")).in_stage(Stage.ASKING)
    assert story.entry("settle-refused")["reason"].endswith("say what became of b as r1.q2")
    story.settled("happened", question="r1.q2").closes("fixed")
    asking().hears(Settled("bob", "happened")).closes("fixed")  # there is only one


@pytest.mark.parametrize("forged", ["r1.q7", "r1.1", "r2.q1"])
def test_a_card_that_never_was_settles_nothing(forged: str) -> None:
    story = asking().settled("happened", question=forged).in_stage(Stage.ASKING)
    assert story.entry("settle-refused")["reason"] == "there is no such question"


def test_a_second_word_is_too_late_and_changes_nothing() -> None:
    story = Story(policy({"a": post("/a"), "b": post("/b")})).unknown().settled("happened").starts("b")
    before = story.run.steps
    story.settled("not-happened", by="carl").starts("b")
    assert story.run.steps == before
    assert story.run.questions[0].remarks == ("carl's word does not count: it is settled: bob said happened",)


def test_where_nothing_is_unknown_there_is_nothing_to_say() -> None:
    story = Story(policy({"pause": post("/a")})).starts("pause")
    before = story.run
    assert story.settled("happened").run == before


# ── By its answer, after all ──────────────────────────────────────────────────────────────────────


def test_an_answer_that_comes_late_settles_what_is_still_asked() -> None:
    story = asking().comes_late(Done({"ticket": "T-7"})).closes("fixed")
    assert story.entry("late-result") == {
        "step": "pause",
        "attempt": 1,
        "undo": False,
        "said": "it was done",
        "settles": True,
    }
    assert story.run.steps["pause"].answer == {"ticket": "T-7"}
    assert story.run.questions[0].late == "its lost answer came after all: it was done"


def test_that_it_was_never_sent_settles_it_too() -> None:
    story = asking().comes_late(Refused("never sent: this replica's lease was over"))
    story.closes("failed", "pause was refused: never sent").step_is("pause", StepState.REFUSED)
    assert len(story.acts) == 1, "even so nothing is sent again"


def test_a_click_after_the_late_answer_is_too_late() -> None:
    story = Story(policy({"a": post("/a"), "b": post("/b")})).unknown().comes_late(Done()).starts("b")
    story.settled("not-happened").starts("b")
    assert story.entry("settle-refused")["reason"].startswith("it is settled: its lost answer came")


def test_an_answer_that_comes_late_while_it_is_proved_lets_the_proof_go_on() -> None:
    story = lost().comes_late(Done()).in_stage(Stage.VERIFYING).step_is("pause", StepState.DONE)
    story.reads_proof(value=1).passes("2m").in_stage(Stage.VERIFYING)


def test_what_was_answered_is_not_taken_back_by_a_late_no() -> None:
    story = lost().comes_late(Done()).comes_late(Refused("never sent"))
    story.in_stage(Stage.VERIFYING).step_is("pause", StepState.DONE)
    story.pages("it was not done, for certain: never sent. Look again")


def test_a_late_refusal_while_it_is_proved_ends_the_proof() -> None:
    lost().comes_late(Refused("never sent")).closes("failed", "pause was refused: never sent")


def test_a_late_no_of_a_later_sending_says_nothing_about_the_first() -> None:
    story = Story(policy({"pause": KEYED})).unknown().unknown().unknown().in_stage(Stage.ASKING)
    story.comes_late(Refused("never sent")).in_stage(Stage.ASKING)
    story.hears(CameLate("pause", 1, undo=False, result=Done())).closes("fixed")


def test_a_late_answer_against_a_persons_word_reaches_people_and_changes_nothing() -> None:
    story = asking().settled("not-happened").closes("failed")
    story.comes_late(Done()).closes("failed")
    assert "came after all: it was done. Look again" in story.paged[-1]
    assert len(story.paged) == 3
    assert story.entry("late-result")["settles"] is False


def test_it_is_told_when_it_was_taken_for_done_and_never_sent() -> None:
    story = asking().settled("happened").closes("fixed").comes_late(Refused("never sent"))
    story.closes("fixed")
    assert "it was not done, for certain: never sent. Look again" in story.paged[-1]


def test_a_late_answer_of_an_undo_says_nothing_about_its_step() -> None:
    story = asking()
    story.hears(CameLate("pause", 1, undo=True, result=Done())).in_stage(Stage.ASKING)
    assert story.entry("late-result")["settles"] is False


def test_a_late_answer_of_an_undo_reaches_people() -> None:
    story = Story(policy({"pause": post("/a", undo=undo(after="1h"))})).done().passes("1h")
    story.undoes("pause").unknown().closes("failed").comes_late(Done(), undo=True)
    assert "the lost answer about the undo of pause came after all: it was done" in story.paged[-1]


def test_a_late_answer_that_says_nothing_new_is_no_news() -> None:
    story = asking().settled("happened").closes("fixed")
    before = len(story.journal)
    story.comes_late(Done()).comes_late(Unknown("still lost"))
    assert len(story.journal) == before


def test_a_message_that_was_sent_after_all_pages_nobody() -> None:
    story = Story(policy({"warn": say()})).unknown().closes("failed")
    pages = len(story.paged)
    story.comes_late(Done())
    assert len(story.paged) == pages
    assert story.entry("late-result")["said"] == "it was done"


def test_while_it_is_sent_again_a_late_answer_is_only_noted() -> None:
    story = Story(policy({"pause": KEYED})).unknown().starts("pause")
    story.hears(CameLate("pause", 1, undo=False, result=Done())).in_stage(Stage.ACTING).pages()
    assert story.entry("late-result")["settles"] is False
    story.done().closes("fixed")
