"""Stories of what changed between the decision and the act."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from remediator.core.evidence import Reading
from remediator.core.messages import Preview, ProbeRead, Use
from remediator.core.policy import Policy
from remediator.core.run import Stage, StepState
from tests.core.campaign import START, budget_probe, policy, post, proof, say, undo, votes
from tests.core.stories import Story

RATE: dict[str, Any] = {"row": {"left": 3, "rate": 8}}


def rate_policy(**rest: Any) -> Policy:
    cases = [{"when": "budget.row.left > 10", "do": "nothing"}, {"do": ["halve"]}]
    steps = {"halve": post("/rate/${budget.row.rate / 2}", gate=votes(oncall=1))}
    return policy(rest.pop("steps", steps), **({"diagnose": budget_probe(), "decide": cases} | rest))


def waiting(**rest: Any) -> Story:
    return Story(rate_policy(**rest)).probe("budget", **RATE).asks_people(oncall=1)


def test_the_probes_are_read_again_before_the_first_change() -> None:
    story = waiting().hangs("budget").approve("bob").in_stage(Stage.PREPARING).starts_nothing()
    story.probe("budget", **RATE).starts("halve").done().closes("fixed").writes("fresh", "started")


def test_another_case_voids_what_was_approved() -> None:
    story = waiting().now_reads("budget", row={"left": 50, "rate": 8}).approve("bob")
    story.closes("nothing-to-do", "case 1").starts_nothing().counts().writes("gate-approved", "gate-void")
    assert "another case" in story.gate.note


def test_other_arguments_void_and_ask_again_with_another_hash() -> None:
    story = waiting()
    first = story.gate
    story.now_reads("budget", row={"left": 3, "rate": 4}).approve("bob").asks_people(
        oncall=1
    ).starts_nothing()
    assert (story.gate.id, first.id) == ("r1.2", "r1.1")
    assert story.gate.hash != first.hash
    story.approve("bob", hash_=first.hash).in_stage(Stage.WAITING)
    assert "the plan has changed" in story.entry("vote-refused")["reason"]
    story.approve("bob").starts("halve")
    assert story.acts[0].call.args["path"] == "/rate/2"


def test_figures_that_nothing_rests_on_may_move() -> None:
    waiting().now_reads("budget", row={"left": 2, "rate": 8}).approve("bob").starts("halve")


def test_another_undo_than_the_approved_one_voids() -> None:
    steps = {
        "halve": post("/rate/1", gate=votes(oncall=1), undo=undo("/rate/${budget.row.rate}", after="1h"))
    }
    story = waiting(steps=steps).now_reads("budget", row={"left": 3, "rate": 9}).approve("bob")
    story.asks_people(oncall=1).approve("bob").starts("halve").done().passes("1h").undoes("halve")
    assert story.acts[-1].call.args["path"] == "/rate/9"


def test_the_fourth_void_pages_and_refuses() -> None:
    story = waiting()
    for rate in (1, 2, 3):
        story.now_reads("budget", row={"left": 3, "rate": rate}).approve("bob").asks_people(oncall=1)
    story.now_reads("budget", row={"left": 3, "rate": 4}).approve("bob")
    story.refuses("fresh", again_in="5m").pages("the figures changed 4 times").starts_nothing().counts()


def test_a_probe_that_fails_at_the_click_voids_and_then_refuses() -> None:
    story = waiting().hangs("budget").approve("bob").probe_fails("budget").in_stage(Stage.DIAGNOSING)
    story.probe_fails("budget").refuses("probe").starts_nothing()


def test_a_condition_that_looks_at_the_time_is_asked_again_even_without_a_probe() -> None:
    cases = [{"when": 'alert.age < duration("10m")', "do": ["pause"]}, {"do": "nothing"}]
    story = (
        Story(policy({"pause": post("/pause", gate=votes(oncall=1))}, decide=cases))
        .later("12m")
        .approve("bob")
    )
    story.closes("nothing-to-do").starts_nothing()


def test_now_in_an_argument_means_the_time_that_was_shown() -> None:
    pause = post("/until/${string(now + duration('1h'))}", gate=votes(oncall=1))
    story = Story(policy({"pause": pause})).later("5m").approve("bob").starts("pause")
    assert "11%3A00%3A00" in story.acts[0].call.args["path"]


def test_now_in_an_argument_voids_nothing_where_nobody_was_asked() -> None:
    steps = {"warn": say(), "pause": post("/at/${string(now)}", verify=proof())}
    story = (
        Story(policy(steps, diagnose=budget_probe()))
        .probe("budget", **RATE)
        .starts("warn")
        .later("1m")
        .done()
    )
    story.later("9s").reads_before(value=1).starts("pause")


def test_readings_that_are_just_made_are_not_read_again() -> None:
    steps = {"halve": post("/rate/${budget.row.rate / 2}")}
    story = Story(rate_policy(steps=steps)).probe("budget", **RATE).starts("halve")
    assert story.run.round == 2, "a round without any probe"
    assert "fresh" not in [entry.kind for entry in story.journal] or story.entry("fresh")["same"]


def test_old_readings_are_read_again_even_where_nobody_was_asked() -> None:
    steps = {"warn": say(), "halve": post("/rate/${budget.row.rate / 2}")}
    case = [{"do": list(steps)}]
    story = Story(rate_policy(steps=steps, decide=case)).probe("budget", **RATE).starts("warn").later("11s")
    story.now_reads("budget", row={"left": 3, "rate": 6}).done().starts("halve")
    assert story.acts[-1].call.args["path"] == "/rate/3"


def test_figures_that_grow_old_while_before_is_read_are_read_again() -> None:
    steps = {"halve": post("/rate/${budget.row.rate / 2}", verify=proof())}
    story = Story(rate_policy(steps=steps)).probe("budget", **RATE).later("11s").reads_before(value=1)
    story.in_stage(Stage.PREPARING).starts_nothing().reads_before(value=1).starts("halve")
    assert story.run.readings["budget"].at == story.now


def test_nothing_begins_on_figures_that_grew_old_although_they_were_read_again() -> None:
    story = waiting(steps={"halve": post("/rate", gate=votes(oncall=1), verify=proof())}).approve("bob")
    story.later("11s").reads_before(value=1).starts_nothing().asks_people(oncall=1)
    assert "too old" in story.entry("gate-void")["reason"]


# ── Safe steps beside those that are not ──────────────────────────────────────────────────────────


def warned(**rest: Any) -> Story:
    steps = {"warn": say("${budget.row.left} left"), "halve": post("/rate/${budget.row.rate}", gate=None)}
    case = [{"do": list(steps), "gate": votes(oncall=1)}]
    return Story(rate_policy(steps=steps, decide=case, **rest)).probe("budget", **RATE)


def test_a_safe_steps_changed_text_voids_nothing() -> None:
    story = warned().now_reads("budget", row={"left": 2, "rate": 8}).approve("bob").starts("warn").done()
    story.starts("halve").done().closes("fixed")
    assert story.acts[0].call.args["text"] == "3 left", "as it was approved"


def test_a_message_that_was_sent_is_not_sent_again_after_a_void() -> None:
    story = warned().now_reads("budget", row={"left": 3, "rate": 4}).approve("bob").starts("warn").done()
    story.asks_people(oncall=1)
    assert story.gate.steps == ("halve",)
    story.approve("bob").starts("halve").done().closes("fixed", "warn done, halve done")
    assert [act.step for act in story.acts] == ["warn", "halve"]


def test_a_safe_steps_undo_is_not_forgotten_after_a_void() -> None:
    cases = [{"when": "budget.row.left > 10", "do": "nothing"}, {"do": ["soften", "halve"]}]
    steps = {
        "soften": post("/safe/soften", undo=undo("/safe/harden", after="1h")),
        "halve": post("/rate", gate=votes(oncall=1)),
    }
    story = Story(rate_policy(steps=steps, decide=cases)).probe("budget", **RATE).starts("soften").done()
    story.now_reads("budget", row={"left": 50, "rate": 8}).later("5m").approve("bob").holds(soften="55m")
    story.passes("55m").undoes("soften").done().closes("nothing-to-do").step_is("soften", StepState.UNDONE)


# ── Before ────────────────────────────────────────────────────────────────────────────────────────


def test_a_before_that_fails_means_not_started() -> None:
    story = Story(policy({"pause": post("/pause", verify=proof())})).before_fails("no route")
    story.refuses(
        "probe", "the reading before pause failed: no route", again_in="5m"
    ).starts_nothing().counts()


def test_a_before_that_fails_in_the_middle_stops_and_pages() -> None:
    steps = {"pause": post("/pause"), "cut": post("/cut", verify=proof())}
    story = Story(policy(steps)).starts("pause").done().before_fails().closes("failed")
    story.pages("stopped before cut").counts("act", "failed")


# ── The alert and the policy ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("since", ["0s", "30s"])
def test_an_alert_that_resolved_before_the_click_starts_nothing_even_within_the_debounce(since: str) -> None:
    story = waiting().resolves().later(since).approve("bob").closes("recovered").starts_nothing().counts()
    story.pages()


def test_an_alert_that_fires_again_before_the_click_starts() -> None:
    waiting().resolves().later("30s").fires().approve("bob").starts("halve")


def test_an_alert_that_stays_resolved_closes_the_waiting_run_after_the_debounce() -> None:
    story = waiting().resolves().passes("59s").in_stage(Stage.WAITING).passes("1s").closes("recovered")
    assert story.gate.state == "void"


def test_resolved_means_all_of_the_joined_alerts() -> None:
    story = waiting().fires("f2").resolves("f1").passes("5m").in_stage(Stage.WAITING).resolves("f2")
    story.passes("1m").closes("recovered").writes("joined", "resolved", "resolved")


def test_a_repeated_delivery_is_no_news() -> None:
    story = waiting().fires()
    assert not story.last.entries


def test_an_alert_that_resolves_while_acting_lets_the_step_be_finished() -> None:
    story = waiting().approve("bob").starts("halve").resolves().passes("10m").starts("halve").done()
    story.closes("fixed").counts("act")


def test_a_policy_that_changed_voids_the_gate_and_decides_again_at_once() -> None:
    story = waiting().policy_changes().closes("refused", "the policy has changed").starts_nothing()
    assert story.gate.state == "void"
    assert story.last.refusal is not None
    assert story.last.refusal.again_at == story.now


@pytest.mark.parametrize(
    ("current", "reason"), [("v2", "the policy has changed"), (None, "the policy is gone")]
)
def test_a_policy_that_changed_between_card_and_click_starts_nothing(
    current: str | None, reason: str
) -> None:
    story = waiting().policy_changes(current, told=False).approve("bob").starts_nothing()
    story.closes("refused", reason).counts()


def test_a_policy_that_is_gone_voids_the_gate_and_says_so() -> None:
    story = waiting().policy_changes(None).closes("refused", "the policy is gone").starts_nothing()
    assert "the policy is gone: it was removed or renamed" in story.gate.note


def test_a_policy_that_changed_while_a_message_was_sent_asks_nobody() -> None:
    steps = {"warn": say(), "pause": post("/pause", gate=votes(oncall=1))}
    story = Story(policy(steps)).starts("warn").policy_changes().starts("warn").done()
    story.closes("refused", "the policy has changed")
    assert story.run.gate is None


def test_a_reading_of_an_older_round_is_not_fresh() -> None:
    story = waiting().hangs("budget").approve("bob").in_stage(Stage.PREPARING)
    old = Reading(story.now, ok=True, value={"row": {"left": 50, "rate": 8}})
    story.hears(ProbeRead(story.run.round - 1, "diagnose:budget", old)).in_stage(Stage.PREPARING)
    story.probe("budget", **RATE).starts("halve")


def test_a_reading_from_before_a_void_decides_nothing() -> None:
    story = waiting().hangs("budget").approve("bob").probe_fails("budget").in_stage(Stage.DIAGNOSING)
    old = Reading(story.now, ok=True, value={"row": {"left": 50, "rate": 8}})
    story.hears(ProbeRead(1, "diagnose:budget", old)).in_stage(Stage.DIAGNOSING)
    story.probe("budget", **RATE).asks_people(oncall=1)


def test_a_reload_that_left_the_policy_alone_voids_nothing() -> None:
    waiting().policy_changes("v1").approve("bob").starts("halve")


def test_a_run_that_has_acted_keeps_its_version_through_the_undo_even_if_the_policy_is_gone() -> None:
    steps = {"pause": post("/pause", undo=undo(after="1h")), "cut": post("/cut")}
    story = Story(policy(steps)).starts("pause").policy_changes(None).done().starts("cut").done()
    story.holds(pause="1h").passes("1h").undoes("pause").done().closes("fixed")


ASKED_APART = {"pause": post("/pause", undo=undo(after="1h")), "cut": post("/cut", gate=votes(oncall=1))}


def test_a_later_gate_is_void_when_the_policy_changes_while_people_are_asked() -> None:
    story = Story(policy(ASKED_APART)).starts("pause").done().asks_people(oncall=1).policy_changes()
    assert story.gate.state == "void"
    story.holds(pause="1h").passes("1h").undoes("pause").done().closes("refused", "the policy has changed")


def test_a_later_gate_does_not_carry_a_step_of_a_policy_that_has_changed_unnoticed() -> None:
    story = Story(policy(ASKED_APART)).starts("pause").done().policy_changes(told=False).approve("bob")
    assert [act.step for act in story.acts] == ["pause"]
    story.holds(pause="1h")


def test_an_alert_that_resolves_between_a_later_card_and_the_click_stops_the_step() -> None:
    story = Story(policy(ASKED_APART)).starts("pause").done().resolves().approve("bob")
    assert [act.step for act in story.acts] == ["pause"]
    story.in_stage(Stage.PREPARING).passes("1m").holds(pause="59m")
    story.passes("1h").undoes("pause").done().closes("fixed", "the alert resolved")


def test_figures_that_change_between_a_later_card_and_the_click_ask_again() -> None:
    cases = [{"when": "budget.row.left > 10.0", "do": "nothing"}, {"do": ["pause", "cut"]}]
    story = Story(policy(ASKED_APART, diagnose=budget_probe(), decide=cases)).probe(
        "budget", row={"left": 3.0}
    )
    story.starts("pause").done().asks_people(oncall=1).now_reads("budget", row={"left": 12.0}).approve("bob")
    assert [act.step for act in story.acts] == ["pause"]
    assert story.asks_people(oncall=1).gate.id.endswith(".2")
    story.approve("bob").starts("cut")


def test_later_steps_under_the_same_gate_are_not_asked_again() -> None:
    cases = [
        {"when": "budget.row.left > 10.0", "do": "nothing"},
        {"do": ["pause", "cut"], "gate": votes(oncall=1)},
    ]
    steps = {"pause": post("/pause", gate=None), "cut": post("/cut", gate=None)}
    story = Story(policy(steps, diagnose=budget_probe(), decide=cases)).probe("budget", row={"left": 3.0})
    story.approve("bob").starts("pause").now_reads("budget", row={"left": 12.0}).resolves().done()
    story.starts("cut").done().closes("fixed")


def test_a_safe_change_is_undone_although_the_policy_has_changed() -> None:
    steps = {
        "soften": post("/safe/a", undo=undo("/safe/b", after="1h")),
        "cut": post("/c", gate=votes(oncall=1)),
    }
    story = Story(policy(steps)).starts("soften").done().policy_changes().holds(soften="1h")
    story.passes("1h").undoes("soften").done().closes("refused", "the policy has changed")


def test_an_earlier_step_may_end_the_case_without_voiding_a_later_card() -> None:
    cases = [{"when": "budget.row.left > 10.0", "do": "nothing"}, {"do": ["pause", "cut"]}]
    story = Story(policy(ASKED_APART, diagnose=budget_probe(), decide=cases)).probe(
        "budget", row={"left": 3.0}
    )
    story.now_reads("budget", row={"left": 12.0}).starts("pause").done().asks_people(oncall=1)
    assert story.run.evidence["budget"].value == {"row": {"left": 12.0}}
    story.approve("bob").starts("cut").done().holds(pause="1h")


def by_budget(**rest: Any) -> Policy:
    """A pause, then a cut by what is left of the budget, which people are asked about apart."""
    steps = {"pause": post("/pause"), "cut": post("/cut/${budget.row.left}", gate=votes(oncall=1))}
    cases = [{"when": "budget.row.left > 10", "do": "nothing"}, {"do": ["pause", "cut"]}]
    return policy(rest.pop("steps", steps), diagnose=budget_probe(), decide=cases)


def test_a_later_card_asks_for_what_it_shows() -> None:
    story = Story(by_budget()).probe("budget", row={"left": 3}).starts("pause")
    story.now_reads("budget", row={"left": 7}).done().asks_people(oncall=1)
    assert [one.call.args["path"] for one in story.gate.intentions] == ["/cut/7"]
    assert story.run.evidence["budget"].value == {"row": {"left": 7}}
    story.approve("bob").starts("cut")
    assert story.acts[-1].call.args["path"] == "/cut/7"


def test_a_later_card_that_is_void_asks_for_what_moved() -> None:
    story = Story(by_budget()).probe("budget", row={"left": 3}).starts("pause").done()
    story.now_reads("budget", row={"left": 5}).approve("bob").writes("gate-void").asks_people(oncall=1)
    assert [one.call.args["path"] for one in story.gate.intentions] == ["/cut/5"]
    story.approve("bob").starts("cut")
    assert story.acts[-1].call.args["path"] == "/cut/5"


def test_a_later_card_pictures_what_it_asks_for() -> None:
    cut = {"use": "sql.execute", "via": "db", "with": {"args": ["${budget.row.left}"]}}
    steps = {"pause": post("/pause"), "cut": cut | {"gate": votes(oncall=1)}}
    story = Story(by_budget(steps=steps)).probe("budget", row={"left": 3}).starts("pause")
    story.now_reads("budget", row={"left": 7}).done()
    assert [one.call.args["args"] for one in story.last.effects if isinstance(one, Preview)] == [[7]]


def test_a_later_card_that_cannot_be_made_of_what_is_read_is_not_shown() -> None:
    story = Story(by_budget()).probe("budget", row={"left": 3}).starts("pause")
    story.now_reads("budget", row={}).done().pages("stopped before cut").closes("failed", "left")
    assert story.run.all_gates == ()


def test_a_later_card_that_needs_nobody_any_more_is_none() -> None:
    """An endpoint that the figures turn into a safe one."""
    cut = {"use": "http.request", "via": "api", "with": {"method": "POST", "path": "/${budget.row.to}/cut"}}
    told = Story(by_budget(steps={"pause": post("/pause"), "cut": cut})).probe(
        "budget", row={"left": 3, "to": "hard"}
    )
    told.starts("pause").now_reads("budget", row={"left": 3, "to": "safe"}).done().starts("cut")
    assert told.acts[-1].call.args["path"] == "/safe/cut"
    assert told.run.all_gates == ()


def test_a_later_card_is_not_shown_without_evidence() -> None:
    story = Story(policy(ASKED_APART, diagnose=budget_probe())).probe("budget", row={"left": 3.0})
    story.hangs("budget").starts("pause").done().probe_fails("budget")
    story.holds(pause="1h").pages("stopped before cut: budget: timeout")


def test_another_case_after_a_void_gate_is_asked_what_every_case_is_asked() -> None:
    """What another run holds is not done a second time, and what was just played is not repeated."""
    steps = {"cut": post("/cut", gate=votes(oncall=1)), "pause": post("/pause", undo=undo(after="1h"))}
    cases = [{"when": "budget.count == 1", "do": ["cut"]}, {"do": ["pause"]}]
    text = policy(steps, diagnose=budget_probe(), decide=cases)
    story = Story(text, given={"budget": {"count": 1}}, held=frozenset({"pause"})).asks_people(oncall=1)
    story.now_reads("budget", count=2).approve("bob").writes("gate-void").starts_nothing()
    story.refuses("held", "pause is being held by another run", again_in="5m")
    cases = [{"when": "budget.count == 1", "do": ["cut"]}, {"do": ["tell"]}]
    text = policy(steps | {"tell": say()}, diagnose=budget_probe(), decide=cases)
    played = Use(safe_plays={"1": START - timedelta(minutes=1)})
    story = Story(text, given={"budget": {"count": 1}}, use=played).asks_people(oncall=1)
    story.now_reads("budget", count=2).approve("bob").starts_nothing().closes("nothing-to-do", "cooldown")
