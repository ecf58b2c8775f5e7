"""Repeated steps while time passes: decided again, ended early, asked about later, and kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from remediator.core.messages import TimePassed, Use
from remediator.core.play import next_deadline
from remediator.core.run import Run, Stage
from tests.core.campaign import START, budget_probe, change, policy, post, proof, say, undo, votes
from tests.core.lists import LIST, ROWS, each, ladder, paths, proved, rows, story
from tests.core.stories import Story

# ── Later ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_list_that_has_begun_is_kept_when_the_run_is_decided_again() -> None:
    """Safe items were done, then the figures moved before the first change: nothing is done twice."""
    steps = {
        "tell": say("${each.id}", for_each=LIST, at_most=5),
        "cut": post("/cut/${string(failed.count)}", gate=votes(oncall=1)),
    }
    told = story("a", "b", steps=steps, decide=[{"do": ["tell", "cut"], "gate": votes(oncall=1)}])
    told.approve("bob").starts("tell[1]").done().starts("tell[2]").now_reads("failed", **rows("x")["failed"])
    told.done().writes("gate-void").asks_people(oncall=1)
    assert told.gate.steps == ("cut",)
    told.approve("bob").starts("cut").done().closes("fixed", "tell (2 items) done, cut done")
    assert [act.step for act in told.acts] == ["tell[1]", "tell[2]", "cut"]


def test_no_change_is_made_from_a_list_that_began_with_safe_items_and_is_another_one_now() -> None:
    told = story("safe", "other", steps={"retry": each("/${each.id}/x")}).starts("retry[1]")
    told.now_reads("failed", **rows("safe")["failed"]).later("1m").done()
    told.refuses("fresh", "figures that the step is made of have changed", again_in="5m").counts()
    assert paths(told) == ["/safe/x"]
    told = story("safe", "other", steps={"retry": each("/${each.id}/x")}).starts("retry[1]")
    told.later("1m").done().starts("retry[2]").done().closes("fixed").counts("act")


def test_items_that_wrote_the_same_row_are_taken_back_together_the_latest_first() -> None:
    row = {"key": {"id": "p"}, "before": {"rate": 1}, "after": {"rate": 2}}
    wrote = {"restore": {"table": "t", "rows": [row]}}
    cut = {"for_each": LIST, "at_most": 5, "with": {"sql": "UPDATE …", "args": ["${each.id}"]}}
    told = story("a", "b", steps={"cut": change(**cut, gate={"waived": "the story is about undos"})})
    told.starts("cut[1]").done(**wrote).later("10m").starts("cut[2]").done(**wrote)
    told.passes("51m").undoes("cut[2]").done().undoes("cut[1]").done().closes("fixed")


def test_a_run_of_many_items_comes_to_its_end() -> None:
    told = story(*range(300), steps={"retry": each(at_most=300)})
    for _ in range(300):
        told.done()
    told.closes("fixed", "retry (300 items) done")


def test_a_held_repetition_wakes_for_the_first_of_its_undos() -> None:
    told = story("a", "b", steps={"retry": each(undo=undo("/-r", after="1h"))})
    told.done().later("5m").done().in_stage(Stage.HOLDING)
    first: Run = told.run
    assert next_deadline(first, told.facts) == first.steps["retry[1]"].undo_at


def test_one_more_probe_does_not_matter() -> None:
    text = policy({"retry": each()}, diagnose=ROWS | budget_probe(optional=True))
    Story(text, given=rows("a")).probe_fails("budget").starts("retry[1]").done().closes("fixed")


def test_people_hear_once_that_a_list_of_undos_is_overdue() -> None:
    steps = {"retry": each(undo=undo("/-r", after="1h")), "last": post("/last", verify=proof(within="3h"))}
    told = story("a", "b", "c", steps=steps).done().done().done().reads_before(value=1).starts("last").done()
    told.reads_proof(value=1).later("62m").hears(TimePassed())
    told.pages("the undo of retry (3 items) is overdue: another step is being proved")


def test_no_item_is_begun_after_the_deadline() -> None:
    told = story("a", "b", bounds={"deadline": "1h"}).starts("retry[1]").later("2h").done()
    told.closes("expired").pages("its deadline has passed")
    assert paths(told) == ["/retry/a"]


# ── The alert is over, or the time ────────────────────────────────────────────────────────────────


def test_a_list_that_the_end_of_its_alert_cuts_short_has_failed_where_an_item_did() -> None:
    back = undo("/-r/${each.id}", after="1d")
    told = story("a", "b", "c", steps=proved(stop_after=3, on_failure="undo_all", undo=back))
    told.reads_before(value=1).done().reads_proof(value=0).reads_before(value=1).refused("500")
    told.resolves().passes("1m").undoes("retry[1]").done()
    told.closes("failed", "1 of 3 items did not work, 1 not begun: retry[2]: 500; the alert resolved")
    told.pages("retry: 1 of 3 items did not work").counts("act", "act", "failed")
    told = story("a", "b", steps=proved(stop_after=2)).before_fails().resolves().passes("1m")
    told.closes("recovered").pages()  # nothing was begun
    told = story("a", "b", steps=proved()).reads_before(value=1).done().reads_proof(value=0)
    told.resolves().passes("1m").closes("fixed", "the alert resolved").pages()


def test_a_list_that_its_deadline_cuts_short_has_failed_where_an_item_did() -> None:
    back = undo("/-r/${each.id}", after="1d")
    steps = {"retry": each(stop_after=4, on_failure="undo_all", undo=back)}
    told = story("a", "b", "c", "d", steps=steps, bounds={"deadline": "1h"})
    told.refused("500").done().later("2h").refused("no").undoes("retry[2]").done()
    told.closes(
        "failed", "2 of 4 items did not work, 1 not begun: retry[1]: 500; retry[3]: no; the run's dead"
    )
    told.pages("its deadline has passed", "retry: 2 of 4 items did not work").counts(*["act"] * 3, "failed")


def test_a_list_that_a_time_box_cuts_short_has_failed_where_an_item_did() -> None:
    steps = {"retry": each(stop_after=3, undo=undo("/-r/${each.id}", after="1m"))}
    told = story("a", "b", "c", steps=steps).done().later("2m").refused("500").undoes("retry[1]").done()
    told.closes(
        "failed", "1 of 3 items did not work, 1 not begun: retry[2]: 500; the time of retry[1] is over"
    )
    assert any("retry: 1 of 3 items did not work" in page for page in told.paged)


def test_an_earlier_step_that_failed_is_not_forgotten_when_the_alert_ends() -> None:
    steps = {"a": post("/a", on_failure="continue"), "b": post("/b", verify=proof(within="1m"))}
    told = Story(policy(steps)).refused("409").resolves().passes("1m")
    told.closes("failed", "a: 409; the alert resolved").pages().counts("act", "failed")


def test_an_end_that_does_not_last_stops_no_list() -> None:
    told = ladder("a", "b").starts("retry[1]").resolves().done().in_stage(Stage.PREPARING).locks()
    told.later("5s").fires().starts("retry[2]").done().holds(**{"retry[1]": "23h59m55s", "retry[2]": "1d"})
    told = ladder("a", "b").starts("retry[1]").resolves().done().passes("1m")
    told.in_stage(Stage.HOLDING).passes("1d").done().closes("fixed", "the alert resolved")
    assert paths(told) == ["/retry/a", "/-r/a"]


def test_no_item_is_begun_long_after_the_alert_is_over() -> None:
    told = story("a", "b", "c", steps={"retry": each(stop_after=3)}).done().unknown().resolves().passes("5h")
    told.settled("not-happened").closes("failed", "1 of 3 items did not work, 1 not begun")
    assert paths(told) == ["/retry/a", "/retry/b"]
    told = story("a", "b").unknown().resolves().passes("5h").settled("happened").closes("fixed", "resolved")
    assert paths(told) == ["/retry/a"]


def test_a_list_that_was_empty_when_people_agreed_may_not_have_grown() -> None:
    steps = {"cut": post("/cut"), "retry": each()}
    told = story(steps=steps, decide=[{"do": ["cut", "retry"], "gate": votes(oncall=1)}])
    assert told.asks_people(oncall=1).gate.steps == ("cut",)
    told.now_reads("failed", **rows("a", "b")["failed"]).approve("bob").starts_nothing().writes("gate-void")
    assert told.asks_people(oncall=1).gate.steps == ("cut", "retry[1]", "retry[2]")
    told.approve("bob").starts("cut").done().starts("retry[1]")


def test_an_approval_that_was_carried_out_but_for_one_item_stays_one() -> None:
    steps = {
        "retry": each(gate=votes(oncall=1), verify=proof(within="1m"), stop_after=3, on_failure="continue"),
        "cut": post("/cut/${string(failed.count)}", gate=votes(oncall=1)),
    }
    told = story("a", "b", steps=steps).approve("bob").before_fails()
    told.reads_before(value=1).done().reads_proof(value=0).asks_people(oncall=1)
    told.now_reads("failed", **rows("q", "r", "t")["failed"]).approve("bob").asks_people(oncall=1)
    assert [gate.state for gate in told.run.all_gates] == ["approved", "void", "open"]


# ── What is read for a later card ─────────────────────────────────────────────────────────────────

LATER = {"a": post("/a"), "retry": each(at_most=2, gate=votes(oncall=1))}


def test_a_later_list_is_the_one_that_people_see() -> None:
    told = story("x", "y", steps=LATER).now_reads("failed", **rows("z")["failed"]).done()
    assert told.asks_people(oncall=1).run.evidence["failed"].value["count"] == 1
    assert told.gate.steps == ("retry[1]",)
    told.approve("bob").starts("retry[1]").done().closes("fixed", "a done, retry[1] done")
    repeated = [one.data for one in told.journal if one.kind == "repeated"]
    assert [entry["items"] for entry in repeated] == [2, 1]
    assert paths(told) == ["/a", "/retry/z"]
    told = story("x", "y", steps=LATER).now_reads("failed", **rows()["failed"]).done()
    told.closes("fixed", "a done")
    assert told.run.all_gates == ()


def test_a_later_list_that_voids_its_gate_is_read_anew() -> None:
    steps = {"a": post("/a"), "retry": each(gate=votes(oncall=1), verify=proof(within="1m"))}
    told = story("x", "y", steps=steps).done().asks_people(oncall=1)
    told.now_reads("failed", **rows("y", "z")["failed"]).approve("bob").reads_before(value=9)
    told.writes("gate-void").asks_people(oncall=1)
    assert [one.call.args["path"] for one in told.gate.intentions] == ["/retry/y", "/retry/z"]
    assert told.run.steps["retry[1]"].before is None, "that was of another item"
    told.approve("bob").reads_before(value=1).starts("retry[1]")


def test_a_list_after_a_later_gate_is_the_one_that_was_read_last() -> None:
    steps = {"a": post("/a"), "cut": post("/cut", gate=votes(oncall=1)), "retry": each()}
    told = story("x", steps=steps).now_reads("failed", **rows("y")["failed"]).done().asks_people(oncall=1)
    told.now_reads("failed", **rows("z")["failed"]).approve("bob").starts("cut").done().starts("retry[1]")
    assert paths(told) == ["/a", "/cut", "/retry/z"]


def test_nobody_is_asked_about_a_later_list_that_is_too_long() -> None:
    told = story("a", steps=LATER).now_reads("failed", **rows("x", "y", "z")["failed"]).done()
    told.closes("failed", "its list has 3 items, and at_most is 2").pages("stopped before retry")
    assert told.run.all_gates == ()


def test_people_are_not_asked_for_ever_about_a_later_list_that_never_rests() -> None:
    told = story("a", steps=LATER).done().asks_people(oncall=1)
    for number in range(3):
        told.now_reads("failed", **rows(number)["failed"]).approve("bob").asks_people(oncall=1)
    told.now_reads("failed", **rows("z")["failed"]).approve("bob")
    told.closes("failed", "fresh: the figures changed 4 times").pages("stopped before retry")


# ── Lists of safe items ───────────────────────────────────────────────────────────────────────────


def telling(*ids: object, **rest: Any) -> Story:
    """A message for each row."""
    steps = {"tell": say("${each.id}", for_each=LIST, at_most=5) | rest.pop("tell", {})}
    return story(*ids, steps=steps | rest.pop("steps", {}), **rest)


def test_what_was_said_is_not_said_again_because_the_policy_changed() -> None:
    told = telling("a", "b").starts("tell[1]").policy_changes().done().starts("tell[2]").done()
    told.closes("fixed", "tell (2 items) done").counts("safe")
    told = telling("a", "b", tell={"verify": proof(within="1m")}).reads_before(value=1).done()
    told.reads_proof(value=0).policy_changes().reads_before(value=1).starts("tell[2]")
    breaker = {"failures": 1, "within": "1h", "mode": "suggest", "for": "1h"}
    told = telling("a", "b", bounds={"breaker": breaker}).starts("tell[1]").sees(use=Use(failures=(START,)))
    told.done().starts("tell[2]").done().closes("fixed")


def test_the_first_change_after_what_was_said_is_made_by_the_policy_that_runs() -> None:
    told = telling("a", steps={"cut": post("/cut")}).starts("tell[1]").policy_changes().done()
    told.refuses("changed", "the policy has changed")
    told = story("safe", "other", steps={"retry": each("/${each.id}/x")}).policy_changes().done()
    told.refuses("changed", "the policy has changed")


def test_an_end_that_does_not_last_repeats_nothing_that_was_said() -> None:
    told = telling("a", "b").starts("tell[1]").resolves().done().in_stage(Stage.PREPARING)
    told.later("5s").fires().starts("tell[2]").done().closes("fixed")
    telling("a", "b").starts("tell[1]").resolves().done().passes("1m").closes("recovered")


def test_items_that_were_said_beside_one_that_failed_are_not_said_again_at_every_recheck() -> None:
    told = telling("a", "b", "c", tell={"stop_after": 3}).done().refused("no such channel").done()
    told.closes("failed", "1 of 3 items did not work").counts("safe", "failed")
    use = Use(safe_plays={"0": START - timedelta(minutes=5)})
    again = Story(policy({"tell": say()}), use=use).starts_nothing()
    again.closes("nothing-to-do", "played at 09:55:00 UTC with safe steps; cooldown")
    telling("a", tell={"stop_after": 3}).refused().closes("failed").counts("failed")  # tried again
    told = telling("a", "b", tell={"on_failure": "continue"}).done().refused().counts("safe", "failed")
    told = telling("a", "b", bounds={"deadline": "1h"}).later("2h").done()
    told.closes("expired").counts("safe")
    told = telling("a", "b", "c", tell={"stop_after": 3}, bounds={"deadline": "1h"}).done().later("2h")
    told.refused().closes("failed", "1 of 3 items did not work, 1 not begun").counts("safe", "failed")
    telling("a", "b").done().resolves().done().closes("fixed").counts("safe")
    telling("a", "b").resolves().done().passes("1m").closes("recovered").counts()


def test_items_of_which_nobody_knows_have_failed() -> None:
    told = telling("a", "b", tell={"stop_after": 2}).unknown().done()
    told.closes("failed", "1 of 2 items did not work")


def test_said_items_stand_when_the_next_one_cannot_be_read() -> None:
    told = telling("a", "b", tell={"verify": proof(within="1m")}).reads_before(value=1).done()
    told.reads_proof(value=0).before_fails()
    told.closes("failed", "1 of 2 items did not work").pages("tell: 1 of 2 items")


# ── What is frozen, and what is read once ─────────────────────────────────────────────────────────


def test_what_is_to_be_done_with_later_items_is_told_by_the_figures_that_people_see() -> None:
    """A list that has begun and is asked about again: its items are the same, their arguments are not."""
    steps = {"retry": each("/${each.id}/${string(budget.row.pct)}", gate=None)}
    given = rows("safe", "b", "c") | {"budget": {"row": {"pct": 50}, "count": 1}}
    told = Story(policy(steps, diagnose=ROWS | budget_probe()), given=given).asks_people(oncall=1)
    told.approve("bob").starts("retry[1]").now_reads("budget", row={"pct": 40}, count=1).done()
    told.asks_people(oncall=1)
    assert [one.call.args["path"] for one in told.gate.intentions] == ["/b/40", "/c/40"]
    told.approve("bob").starts("retry[2]").done().starts("retry[3]").done().closes("fixed")
    assert paths(told) == ["/safe/50", "/b/40", "/c/40"]


def test_an_item_that_was_begun_is_taken_back_as_it_was_told_then() -> None:
    told = story("a", "b", steps={"retry": each(undo=undo("/-r/${string(now)}", after="1d"))})
    first = told.run.steps["retry[1]"].intention
    told.later("10m").done().starts("retry[2]")
    assert told.run.steps["retry[1]"].intention == first
    second = told.run.steps["retry[2]"].intention
    assert first is not None and second is not None
    assert second.undo != first.undo


def test_a_list_that_is_through_is_not_read_again_for_the_first_change() -> None:
    steps = {"cut": post("/cut")}
    case = [{"do": ["tell", "cut"], "gate": votes(oncall=1)}]
    told = telling("a", steps=steps, decide=case).approve("bob").starts("tell[1]")
    told.now_reads("failed", **rows(*"abcdefg")["failed"]).done().starts("cut").done().closes("fixed")


def test_a_list_that_stopped_stays_so_when_the_run_is_decided_again() -> None:
    steps = {"cut": post("/cut/${string(failed.count)}", gate=votes(oncall=1))}
    told = telling("a", "b", tell={"on_failure": "continue"}, steps=steps).refused().asks_people(oncall=1)
    told.now_reads("failed", **rows("a")["failed"]).approve("bob").writes("gate-void").asks_people(oncall=1)
    told.approve("bob").starts("cut")
    assert [act.step for act in told.acts] == ["tell[1]", "cut"]


def test_a_kept_list_that_another_run_has_come_to_hold_is_not_gone_on_with() -> None:
    steps = {
        "retry": each("/safe/${each.id}", gate=None, undo=undo("/safe/-r", after="1h")),
        "cut": post("/cut/${string(failed.count)}"),
    }
    told = story("a", "b", steps=steps, decide=[{"do": ["retry", "cut"], "gate": votes(oncall=1)}])
    told.approve("bob").starts("retry[1]").done().starts("retry[2]")
    told.now_reads("failed", **rows("a")["failed"]).sees(held=frozenset({"retry"})).done()
    told.writes("gate-void")
    assert "retry (2 items) is being held by another run" in str(told.run.verdict)


def test_a_list_that_another_run_holds_is_in_its_place_on_the_card_of_the_ladder() -> None:
    steps = {"retry": each(undo=undo("/-r", after="1h")), "restart": post("/restart")}
    text = policy(steps, diagnose=ROWS, decide=[{"try": ["retry", "restart"], "gate": votes(oncall=1)}])
    told = Story(text, given=rows("a", "b"), held=frozenset({"retry"})).asks_people(oncall=1)
    assert told.run.plan == ("retry[1]", "retry[2]", "restart")
    told.approve("bob").starts("restart").done().closes("fixed", "restart done")


def test_a_last_rung_that_stops_early_is_told_and_its_on_failure_followed() -> None:
    steps = {"restart": post("/restart"), "retry": each(undo=undo("/-r", after="1d"))}
    told = story("a", "b", "c", steps=steps, decide=[{"try": ["restart", "retry"]}])
    told.refused().starts("retry[1]").refused("409").closes(
        "failed", "1 of 3 items did not work, 2 not begun"
    )
    told.pages("retry: 1 of 3 items did not work")
