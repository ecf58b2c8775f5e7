"""Stories of `try`: one rung after the other until one verifies."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from remediator.core.evidence import Reading
from remediator.core.messages import ProbeRead
from remediator.core.run import Stage, StepState
from tests.core.campaign import policy, post, proof, undo, votes
from tests.core.lists import ROWS, each, rows
from tests.core.stories import Story

QUICK = proof(within="1s")


def ladder(*, held: frozenset[str] = frozenset(), **steps: dict[str, Any]) -> Story:
    rungs = {
        "retrigger": post("/retrigger", verify=QUICK),
        "restart": post("/restart", verify=QUICK),
    }
    return Story(policy(rungs | steps, decide=[{"try": list(rungs | steps)}]), held=held)


def tried(story: Story, step: str) -> Story:
    return story.reads_before(value=1).starts(step).done()


def unproved(story: Story) -> Story:
    return story.reads_proof(value=1).reads_proof(value=1)


def test_the_first_rung_that_verifies_ends_it() -> None:
    story = tried(ladder(), "retrigger").reads_proof(value=0).closes("fixed", "retrigger proved").pages()
    assert [act.step for act in story.acts] == ["retrigger"]


def test_a_rung_that_nothing_can_prove_ends_it_when_it_is_done() -> None:
    fire = post("/retrigger", verify={"none": "fire and forget"})
    story = ladder(retrigger=fire).starts("retrigger").done()
    story.closes("fixed", "retrigger done")
    assert len(story.acts) == 1


def test_an_unproved_rung_gives_way_to_the_next() -> None:
    story = tried(unproved(tried(ladder(), "retrigger")), "restart").reads_proof(value=0)
    story.closes("fixed", "restart proved").pages().counts("act", "act")


def test_a_refused_rung_gives_way_to_the_next() -> None:
    story = ladder().reads_before(value=1).starts("retrigger").refused()
    tried(story, "restart").reads_proof(value=0).closes("fixed").pages()


def test_an_unproved_rung_is_undone_before_the_next() -> None:
    retrigger = post("/a", verify=QUICK, undo=undo(after="1h"))
    story = unproved(tried(ladder(retrigger=retrigger), "retrigger")).undoes("retrigger").done()
    tried(story, "restart").reads_proof(value=0).closes("fixed").step_is("retrigger", StepState.UNDONE)


def test_an_undo_that_goes_wrong_between_rungs_stops_the_ladder() -> None:
    retrigger = post("/a", verify=QUICK, undo=undo(after="1h"))
    story = unproved(tried(ladder(retrigger=retrigger), "retrigger")).undoes("retrigger").refused()
    story.closes("failed", "the undo of retrigger went wrong").pages("undo of retrigger")


def test_an_unknown_rung_stops_and_asks() -> None:
    story = ladder().reads_before(value=1).unknown().reads_proof(value=1).reads_proof(value=1)
    story.in_stage(Stage.ASKING).pages("unknown whether retrigger")
    tried(story.settled("not-happened"), "restart").reads_proof(value=0).closes("fixed")


def test_a_person_may_say_that_the_rung_worked() -> None:
    story = ladder().reads_before(value=1).unknown().reads_proof(value=1).reads_proof(value=1)
    story.settled("happened").closes("fixed")


def test_when_all_rungs_fail_a_person_is_paged() -> None:
    story = unproved(tried(unproved(tried(ladder(), "retrigger")), "restart"))
    story.closes("ineffective").pages("restart was not proved")


def test_a_rung_that_another_run_holds_is_skipped() -> None:
    story = tried(ladder(held=frozenset({"retrigger"})), "restart").writes("skipped", "started")
    story.reads_proof(value=0).closes("fixed")


def test_when_the_last_rung_is_held_the_failure_of_the_one_before_pages() -> None:
    story = unproved(tried(ladder(held=frozenset({"restart"})), "retrigger"))
    story.closes("ineffective").pages("retrigger was not proved")


def test_when_every_rung_is_held_it_is_refused() -> None:
    story = ladder(held=frozenset({"retrigger", "restart"})).refuses("held").starts_nothing()
    assert story.run.gate is None


def test_resolved_between_rungs_counts_as_fixed() -> None:
    story = ladder(restart=post("/restart", gate=votes(oncall=1)))
    unproved(tried(story, "retrigger")).asks_people(oncall=1).resolves().passes("1m")
    story.closes("fixed", "the alert resolved").pages()


def test_resolved_between_rungs_starts_no_further_one() -> None:
    story = unproved(tried(ladder(), "retrigger").resolves()).passes("1m").closes("fixed", "resolved")
    assert [act.step for act in story.acts] == ["retrigger"]


def test_resolved_between_rungs_counts_as_fixed_even_when_the_rung_was_taken_back() -> None:
    retrigger = post("/a", verify=QUICK, undo=undo(after="1h"))
    story = unproved(tried(ladder(retrigger=retrigger), "retrigger").resolves()).undoes("retrigger").done()
    story.passes("1m").closes("fixed", "resolved")


def test_an_end_that_does_not_last_stops_no_ladder() -> None:
    story = unproved(tried(ladder(), "retrigger").resolves()).later("30s").fires()
    story.reads_before(value=1).starts("restart")
    story = unproved(tried(ladder(), "retrigger")).resolves().reads_before(value=1)
    story.in_stage(Stage.PREPARING).later("30s").fires().reads_before(value=1).starts("restart")


def test_a_halt_between_rungs_stops_and_pages() -> None:
    retrigger = post("/a", verify=QUICK, undo=undo(after="1h"))
    story = unproved(tried(ladder(retrigger=retrigger), "retrigger")).undoes("retrigger").halted().done()
    story.reads_before(value=1).closes("failed", "halted").pages("stopped before restart")


def test_a_gate_of_a_case_covers_every_rung() -> None:
    steps = {"a": post("/a", gate=None, verify=QUICK), "b": post("/b", gate=None, verify=QUICK)}
    story = Story(policy(steps, decide=[{"try": ["a", "b"], "gate": votes(lead=1)}])).approve("amina")
    tried(unproved(tried(story, "a")), "b").reads_proof(value=0).closes("fixed")
    assert len(story.run.all_gates) == 1


def test_a_denied_rung_ends_it() -> None:
    story = ladder(restart=post("/restart", gate=votes(oncall=1)))
    unproved(tried(story, "retrigger")).deny("bob").closes("denied")


def test_the_rung_that_helped_is_held_for_its_time() -> None:
    retrigger = post("/a", verify=QUICK, undo=undo(after="1h"))
    story = tried(ladder(retrigger=retrigger), "retrigger").reads_proof(value=0).holds(retrigger="1h")
    story.passes("1h").undoes("retrigger").done().closes("fixed", "retrigger undone")


# ── What a later rung is made of ──────────────────────────────────────────────────────────────────

INSTANCES = {"instances": {"use": "http.get", "via": "api", "with": {"path": "/instances"}}}


def scaling(**scale: Any) -> Story:
    """A restart that does not help, then two instances more, where there is room for them."""
    steps = {
        "restart": post("/restart", verify=QUICK),
        "scale": post("/scale/${instances.json.size() + 2}", verify={"none": "the story ends here"}, **scale),
    }
    cases = [{"when": "instances.json.size() < 6", "try": list(steps)}, {"do": "nothing"}]
    return Story(policy(steps, diagnose=INSTANCES, decide=cases)).probe("instances", json=[0, 1, 2])


def test_a_later_rung_is_made_of_what_is_read_for_its_card() -> None:
    story = tried(scaling(gate=votes(oncall=1)), "restart").now_reads("instances", json=[0, 1, 2, 3])
    unproved(story).asks_people(oncall=1)
    assert [one.call.args["path"] for one in story.gate.intentions] == ["/scale/6"]
    story.approve("bob").starts("scale").done().closes("fixed")


def test_nobody_is_asked_about_a_rung_of_a_case_that_does_not_hold_any_more() -> None:
    story = tried(scaling(gate=votes(oncall=1)), "restart").now_reads("instances", json=[0, 1, 2, 3, 4, 5, 6])
    moved = "another case of the decision table: instances.json was [0,1,2], is [0,1,2,3,4,5,6]"
    unproved(story).closes("failed", moved).pages("stopped before scale")
    assert story.run.all_gates == ()


def test_a_later_rung_that_nobody_is_asked_about_is_made_of_what_is_read_before_it() -> None:
    story = tried(scaling(), "restart").now_reads("instances", json=[0, 1, 2, 3])
    unproved(story).starts("scale")
    assert story.acts[-1].call.args["path"] == "/scale/6"
    story.done().closes("fixed")


def test_a_rung_of_another_case_is_not_begun_either_where_nobody_is_asked() -> None:
    story = tried(scaling(), "restart").now_reads("instances", json=[0, 1, 2, 3, 4, 5, 6])
    unproved(story).closes("failed", "instances.json was [0,1,2]").pages("stopped before scale")
    assert [act.step for act in story.acts] == ["restart"]


def test_a_later_rung_of_which_no_figure_is_a_part_is_begun_although_nothing_can_be_read() -> None:
    steps = {"restart": post("/restart", verify=QUICK), "rebuild": post("/rebuild", verify=QUICK)}
    decided = policy(steps, diagnose=INSTANCES, decide=[{"try": list(steps)}])
    story = Story(decided).probe("instances", json=[0])
    tried(unproved(tried(story, "restart").hangs("instances")), "rebuild")


def test_a_later_list_of_items_that_nobody_is_asked_about_is_read_before_it_and_then_kept() -> None:
    path = {"with": {"method": "POST", "path": "/scale/${each}"}}
    scale = path | {"for_each": "${instances.json}", "at_most": 9}
    story = tried(scaling(**scale), "restart").now_reads("instances", json=[0, 1])
    unproved(story).starts("scale[1]").now_reads("instances", json=[]).done().starts("scale[2]").done()
    story.closes("fixed")


def test_no_figure_of_a_later_rung_is_old_when_it_begins() -> None:
    story = unproved(tried(scaling(), "restart").hangs("instances"))
    asked = story.asked("diagnose:instances")
    old = Reading(story.now - timedelta(minutes=10), ok=True, value={"json": [0, 1, 2]})
    story.hears(ProbeRead(asked.round, asked.key, old)).in_stage(Stage.PREPARING)
    assert len(story.acts) == 1
    story.now_reads("instances", json=[0, 1, 2, 3]).probe("instances", json=[0, 1, 2, 3]).starts("scale")
    assert story.acts[-1].call.args["path"] == "/scale/6"


def test_a_later_rung_that_waited_for_the_end_of_its_alerts_to_last_is_read_again() -> None:
    story = tried(scaling(), "restart").hangs("instances")
    asked = unproved(story).asked("diagnose:instances")
    story.resolves().hears(
        ProbeRead(asked.round, asked.key, Reading(story.now, ok=True, value={"json": [0]}))
    )
    story.in_stage(Stage.PREPARING).now_reads("instances", json=[0] * 7).later("30s").fires()
    story.closes("failed", "another case of the decision table").pages("stopped before scale")
    assert [act.step for act in story.acts] == ["restart"]


@pytest.mark.parametrize("gate", [{"waived": "it is only healed"}, votes(oncall=1)])
@pytest.mark.parametrize("first", [(), ("a", "b", "c", "d", "e", "f"), None])
def test_what_the_decision_had_no_figures_for_does_not_pass_a_rung_over(
    gate: dict[str, Any], first: tuple[str, ...] | None
) -> None:
    """Its list was empty then, or too long, or there was none."""
    steps = {"retrigger": post("/retrigger", verify=QUICK), "heal": each("/heal/${each.id}", gate=gate)}
    given = {"failed": {"count": 0}} if first is None else rows(*first)
    story = tried(
        Story(policy(steps, decide=[{"try": list(steps)}], diagnose=ROWS), given=given), "retrigger"
    )
    unproved(story.now_reads("failed", **rows("a", "b")["failed"]))
    if "waived" not in gate:
        story.asks_people(oncall=1).approve("bob")
    story.starts("heal[1]").done().starts("heal[2]").done().closes("fixed")


def test_a_list_that_is_empty_by_what_is_read_for_it_is_passed_over() -> None:
    steps = {"retrigger": post("/retrigger", verify=QUICK), "heal": each("/heal/${each.id}")}
    story = Story(policy(steps, decide=[{"try": list(steps)}], diagnose=ROWS), given=rows())
    unproved(tried(story, "retrigger")).closes("ineffective", "retrigger was not proved")
    story.writes("reading", "closed")
    assert len(story.acts) == 1


def test_a_later_step_that_people_are_asked_about_is_not_passed_over_unread() -> None:
    steps = {"restart": post("/restart"), "heal": each("/heal/${each.id}", gate=votes(oncall=1))}
    story = Story(policy(steps, diagnose=ROWS), given=rows()).starts("restart")
    story.now_reads("failed", **rows("a")["failed"]).done().asks_people(oncall=1)
    story.approve("bob").starts("heal[1]").done().closes("fixed")


LONG = "app=registry.example.com/team/shop/storefront-frontend-service:1.2."


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        (f"{LONG}3", f"{LONG}4", 'was …rontend-service:1.2.3", is …rontend-service:1.2.4"'),
        ([0] * 60, [0] * 59, "instances.json was "),
        ("", "x" * 90, f'was "", is "{"x" * 58}…'),
    ],
)
def test_a_long_figure_that_moved_is_told_where_it_did(was: object, now: object, told: str) -> None:
    steps = {"restart": post("/restart", verify=QUICK), "scale": post("/scale/${string(instances.json)}")}
    cases = [{"when": f"instances.json == {json.dumps(was)}", "try": list(steps)}, {"do": "nothing"}]
    story = Story(policy(steps, diagnose=INSTANCES, decide=cases)).probe("instances", json=was)
    tried(story, "restart").now_reads("instances", json=now)
    unproved(story).closes("failed", told).pages("instances.json was")
