"""A step that is repeated for each item of a list: one gate for exactly that list, one result for each."""

from __future__ import annotations

from typing import Any

import pytest

from remediator.core.catalog import Fence
from remediator.core.evidence import Picture
from remediator.core.run import Stage, StepState
from tests.core.campaign import change, policy, post, proof, say, undo, votes
from tests.core.lists import LIST, ROWS, each, ladder, paths, proved, rows, story
from tests.core.stories import Story

# ── One after the other ───────────────────────────────────────────────────────────────────────────


def test_each_item_is_done_in_the_order_of_the_list_with_a_key_of_its_own() -> None:
    told = story("b", "a", "c")
    told.starts("retry[1]").done(n=1).starts("retry[2]").done(n=2).starts("retry[3]").done(n=3)
    told.closes("fixed", "retry (3 items) done").counts("act", "act", "act")
    assert paths(told) == ["/retry/b", "/retry/a", "/retry/c"]
    assert len({act.key for act in told.acts}) == 3
    assert told.entry("repeated") == {"step": "retry", "items": 3}


def test_what_follows_sees_the_result_of_each_item() -> None:
    steps = {
        "retry": each(stop_after=2, on_failure="continue"),
        "tell": say("${string(steps.retry.results)}"),
    }
    told = story("a", "b", steps=steps).done(n=1).refused("409")
    assert told.acts[-1].call.args["text"].replace(" ", "") in ('[{"n":1},null]', "[{'n':1},None]")
    told.done().closes("failed", "retry: 1 of 2 items did not work: retry[2]: 409")


def test_a_list_of_no_items_is_nothing_to_do() -> None:
    story().starts_nothing().closes("nothing-to-do", "no items for retry").counts()


def test_a_step_with_no_items_is_passed_over() -> None:
    steps = {"retry": each(), "tell": say("${string(size(steps.retry.results))} retried")}
    told = story(steps=steps).starts("tell")
    assert told.acts[-1].call.args["text"] == "0 retried"
    told.done().closes("fixed", "tell done")


@pytest.mark.parametrize(
    ("ids", "written", "reason"),
    [
        (tuple("abcdef"), LIST, "its list has 6 items, and at_most is 5"),
        (("a",), "${failed.count}", "gave 1, not a list"),
        (("a",), "${failed.rows[0]}", "not a list"),
        (("a",), "${failed.nothing}", "failed has no 'nothing'"),
        ((1, {"b": 2}), LIST, "steps.retry[2].with.path"),
    ],
)
def test_what_is_no_such_list_is_refused_whole(ids: tuple[object, ...], written: str, reason: str) -> None:
    told = story(*ids, steps={"retry": each(for_each=written)})
    told.starts_nothing().refuses("expression", reason, again_in="5m")


CUT = change(**{"for_each": LIST, "at_most": 5, "with": {"sql": "UPDATE …", "args": ["${each.id}"]}})


@pytest.mark.parametrize(
    ("ids", "step", "reason"),
    [
        (
            ("a", "b", "a"),
            each(),
            "retry[1] and retry[3] are the same act, which would be done twice: POST /",
        ),
        (("a", 7, "7"), each(), "retry[2] and retry[3] are the same act"),  # other items, one call
        (("a", "b"), each("/retry/all"), "retry[1] and retry[2] are the same act"),
        (({"#": "0.70"}, {"#": "0.7"}), CUT, "retry[1] and retry[2] are the same act"),
        ((0, 1, 1.0), CUT, "retry[2] and retry[3] are the same act"),
        ((5.0, {"#": "5.00"}), CUT, "retry[1] and retry[2] are the same act"),
        (({"n": [1]}, {"n": [1.0]}), CUT, "retry[1] and retry[2] are the same act"),
    ],
)
def test_no_act_is_done_twice_for_one_list(
    ids: tuple[object, ...], step: dict[str, Any], reason: str
) -> None:
    told = story(*ids, steps={"retry": step}).starts_nothing().refuses("expression", reason, again_in="5m")
    assert not told.run.all_gates
    told = story(*ids, steps={"pause": post("/pause"), "retry": step}).starts("pause").done()
    told.closes("failed", reason).pages("stopped before retry[1]")
    together = [{"do": ["pause", "retry"], "gate": votes(oncall=1)}]
    told = story(*ids, steps={"pause": post("/pause"), "retry": step}, decide=together)
    told.starts_nothing().refuses("expression", reason)
    assert not told.run.all_gates
    story(*ids, steps={"retry": step}, mode="observe").closes("observed").writes("would", "closed")


@pytest.mark.parametrize("ids", [(1, True), (1, "1"), (1, 1.5), (2**53, 2**53 + 1), (0.7, {"#": "0.70001"})])
def test_what_arrives_as_two_things_is_two_acts(ids: tuple[object, ...]) -> None:
    told = story(*ids, steps={"retry": CUT}).previewed("retry[1]", Picture(1, "1 row"))
    told.previewed("retry[2]", Picture(1, "1 row")).asks_people(oncall=1)


def test_what_is_safe_may_be_sent_twice_for_one_list() -> None:
    told = story("a", "a", steps={"tell": say(for_each=LIST, at_most=2)}).starts("tell[1]").done()
    told.starts("tell[2]").done().closes("fixed")


def test_a_list_in_which_an_act_comes_to_stand_twice_starts_nothing() -> None:
    told = gated("a", "b").asks_people(oncall=1).now_reads("failed", **rows("a", "a")["failed"])
    told.approve("bob").starts_nothing().refuses("expression", "retry[1] and retry[2] are the same act")


def test_items_keep_the_decimal_that_was_read() -> None:
    given = {"failed": {"rows": [{"id": "a", "rate": {"#": "0.0700"}}], "count": 1}}
    cut = change(**{"for_each": LIST, "at_most": 5, "with": {"sql": "UPDATE …", "args": ["${each.rate}"]}})
    told = Story(policy({"cut": cut}, diagnose=ROWS), given=given)
    told.previewed("cut[1]", Picture(1, "1 row")).asks_people(oncall=1).approve("bob")
    assert told.starts("cut[1]").acts[0].call.args["args"] == [{"#": "0.0700"}]


def test_observing_says_what_each_item_would_be() -> None:
    told = story("a", "b", mode="observe").closes("observed", "would do: retry (2 items)")
    assert [one.data["step"] for one in told.journal if one.kind == "would"] == ["retry[1]", "retry[2]"]
    story(mode="observe").closes("nothing-to-do", "no items for retry")
    story(*"abcdef", mode="observe").closes("observed", "would do: retry").writes("would", "closed")


# ── Gates ─────────────────────────────────────────────────────────────────────────────────────────


def gated(*ids: object, **rest: Any) -> Story:
    """A repeated change that people have to agree to."""
    return story(*ids, steps={"retry": each(gate=votes(oncall=1)) | rest})


def test_one_gate_covers_exactly_the_list() -> None:
    told = gated("a", "b").asks_people(oncall=1)
    assert told.gate.steps == ("retry[1]", "retry[2]")
    assert [one.call.args["path"] for one in told.gate.intentions] == ["/retry/a", "/retry/b"]
    told.approve("bob").starts("retry[1]").done().starts("retry[2]").done().closes("fixed")
    assert len(told.run.all_gates) == 1


@pytest.mark.parametrize("ids", ["a", "abc", "ba", "ac", ""])
def test_another_list_voids_the_gate(ids: str) -> None:
    told = gated("a", "b").asks_people(oncall=1)
    told.now_reads("failed", **rows(*ids)["failed"]).approve("bob").starts_nothing().writes("gate-void")
    if not ids:
        told.closes("nothing-to-do", "no items")
        return
    told.asks_people(oncall=1).approve("bob").starts("retry[1]")
    assert told.gate.steps == tuple(f"retry[{number}]" for number in range(1, len(ids) + 1))
    assert paths(told) == [f"/retry/{ids[0]}"]


def test_a_figure_of_an_item_that_nothing_is_made_of_voids_nothing() -> None:
    told = gated("a").asks_people(oncall=1)
    told.now_reads("failed", rows=[{"id": "a", "tries": 4}], count=1).approve("bob").starts("retry[1]")


def test_a_figure_that_only_the_undo_is_made_of_voids_the_gate() -> None:
    back = undo("/back/${steps.other.results[0].id}/${each.was}", after="1h")
    steps = {
        "other": post("/safe/x", for_each=LIST, at_most=5, gate=None),
        "retry": each(undo=back, gate=votes(oncall=1)),
    }
    text = policy(steps, diagnose=ROWS)
    told = Story(text, given={"failed": {"rows": [{"id": "a", "was": 1}], "count": 1}}).done(id="o")
    told.asks_people(oncall=1).now_reads("failed", rows=[{"id": "a", "was": 2}], count=1)
    told.approve("bob").writes("gate-void").asks_people(oncall=1).approve("bob").starts("retry[1]").done()
    told.passes("2h").undoes("retry[1]")
    assert paths(told)[-1] == "/back/o/2"


def test_the_list_is_part_of_what_is_approved() -> None:
    told = gated("a", "b").asks_people(oncall=1)
    told.tampered(lists={"retry": [{"id": "a"}, {"id": "x"}]}).approve("bob")
    told.starts_nothing().refuses("gate", "the plan is not the one that was approved", again_in="5m")


def test_items_share_the_gate_that_the_riskiest_of_them_needs() -> None:
    mixed = {"retry": each("/${each.id}/x", gate=None)}
    story("safe", "safe", steps=mixed).starts("retry[1]")
    told = story("safe", "other", "safe", steps=mixed).asks_people(oncall=1)
    told.approve("bob").starts("retry[1]").done().starts("retry[2]").done().starts("retry[3]").done()
    told.closes("fixed").counts("act")


def test_mode_suggest_and_the_case_ask_for_all_items_at_once() -> None:
    steps = {"tell": say(), "retry": each(), "after": post("/after")}
    told = story("a", "b", steps=steps, mode="suggest").asks_people(oncall=1)
    assert told.gate.steps == ("tell", "retry[1]", "retry[2]", "after")
    case = [{"do": ["tell", "retry", "after"], "gate": votes(lead=1)}]
    told = story("a", steps=steps, decide=case).asks_people(lead=1)
    assert told.gate.steps == ("tell", "retry[1]", "after")
    told.approve("amina").starts("tell").done().starts("retry[1]").done().starts("after").done().closes(
        "fixed"
    )


def test_a_later_list_is_made_of_what_the_earlier_items_returned() -> None:
    steps = {
        "find": post("/safe/${each.id}", for_each=LIST, at_most=5, gate=None),
        "retry": each(for_each="${steps.find.results.map(one, {'id': one.job})}", gate=votes(oncall=1)),
    }
    told = story("a", "b", steps=steps).done(job="j1").done(job="j2").asks_people(oncall=1)
    told.approve("bob").starts("retry[1]").done().starts("retry[2]").done().closes("fixed")
    assert paths(told)[2:] == ["/retry/j1", "/retry/j2"]


def test_a_list_that_needs_results_cannot_share_the_gate_of_what_gives_them() -> None:
    steps = {"find": each(), "retry": each(for_each="${steps.find.results}")}
    told = story("a", steps=steps, decide=[{"do": ["find", "retry"], "gate": votes(oncall=1)}])
    told.starts_nothing().refuses("expression", "steps has no 'find'")


def test_every_item_is_previewed() -> None:
    told = story("a", "b", steps={"cut": CUT}).previewed("cut[2]", Picture(1, "b")).in_stage(Stage.PREVIEWING)
    told.previewed("cut[1]", Picture(1, "a")).asks_people(oncall=1)
    told.pictures["cut[2]"] = Picture(1, "other rows")
    told.approve("bob").writes("gate-void").asks_people(oncall=1)
    shown = told.approve("bob").starts("cut[1]").acts[0].shown
    assert shown == Picture(1, "a")


# ── Between items ─────────────────────────────────────────────────────────────────────────────────


def test_each_start_is_checked() -> None:
    told = gated("a", "b", "c").approve("bob").starts("retry[1]").done().starts("retry[2]").halted()
    told.done().closes("failed", "halted by amina").pages("stopped before retry[3]")
    told = gated("a", "b").approve("bob").starts("retry[1]").sees(holder="r9")
    told.done().closes("failed", "run r9 is acting").pages("stopped before retry[2]")
    told = gated("a", "b").approve("bob").starts("retry[1]")
    told.tampered(lists={"retry": [{"id": "a"}, {"id": "x"}]})
    told.done().closes("failed", "not the one that was approved").pages("stopped before retry[2]")


def test_it_goes_on_under_one_gate_though_the_figures_move() -> None:
    told = gated("a", "b").approve("bob").starts("retry[1]").now_reads("failed", rows=[], count=0)
    told.done().starts("retry[2]").done().closes("fixed")


def test_an_item_that_is_held_elsewhere_holds_its_step() -> None:
    steps = {"retry": each(undo=undo("/-r", after="1h"))}
    text = policy(steps, diagnose=ROWS)
    Story(text, given=rows("x"), held=frozenset({"retry[7]"})).refuses("held", "retry is being held")
    ladder = policy(steps | {"b": post("/b")}, diagnose=ROWS, decide=[{"try": ["retry", "b"]}])
    Story(ladder, given=rows("x"), held=frozenset({"retry[7]"})).starts("b").done().closes("fixed", "b done")


# ── Failures ──────────────────────────────────────────────────────────────────────────────────────


def test_the_first_failure_stops_it_where_nothing_else_is_written() -> None:
    told = story("a", "b", "c").done().refused("409")
    told.closes("failed", "retry: 1 of 3 items did not work, 1 not begun: retry[2]: 409").counts(
        "act", "act", "failed"
    )
    told.pages("retry: 1 of 3 items").step_is("retry[3]", StepState.PLANNED)


def test_below_its_limit_it_goes_on_and_still_has_failed() -> None:
    told = story("a", "b", "c", "d", steps={"retry": each(stop_after=3), "tell": say()})
    told.refused("1").starts("retry[2]").done().starts("retry[3]").refused("3").starts("retry[4]").done()
    told.closes("failed", "2 of 4 items did not work: retry[1]: 1; retry[3]: 3")
    told.pages("retry: 2 of 4 items")
    assert len(told.acts) == 4


def test_at_its_limit_it_stops_and_what_follows_is_said_once() -> None:
    steps = {"retry": each(stop_after=2, on_failure="continue"), "tell": say()}
    told = story("a", "b", "c", "d", steps=steps)
    told.refused("1").starts("retry[2]").refused("2").starts("tell").done()
    told.closes("failed", "2 of 4 items did not work, 2 not begun").pages()


def test_many_failures_are_told_in_few_words() -> None:
    told = story(*range(50), steps={"retry": each(at_most=50, stop_after=50)})
    for _ in range(50):
        told.refused("no")
    told.closes("failed", "; … 45 more")
    assert len(told.run.reason) < 300


def test_an_item_that_is_not_proved_is_taken_back_and_the_next_goes_on() -> None:
    steps = {
        "retry": each(
            stop_after=2,
            verify=proof("before.ok && verify.value == each.id", within="1m"),
            undo=undo("/-retry/${each.id}", after="1h", early="unverified"),
        )
    }
    told = story(1, 2, 3, steps=steps).reads_before(value=0).starts("retry[1]").done()
    told.reads_proof(value=1).reads_before(value=0).starts("retry[2]").done()
    told.reads_proof(value=1).reads_proof(value=1).reads_proof(value=1)
    told.undoes("retry[2]").done().reads_before(value=0).starts("retry[3]").done().reads_proof(value=3)
    told.holds(**{"retry[1]": "59m", "retry[3]": "1h"})
    told.pages("retry: 1 of 3 items did not work: retry[2] was not proved")
    told.passes("2h").undoes("retry[1]").done().passes("2m").undoes("retry[3]").done()
    told.closes("ineffective", "retry: 1 of 3 items")
    assert paths(told) == ["/retry/1", "/retry/2", "/-retry/2", "/retry/3", "/-retry/1", "/-retry/3"]


def test_an_item_that_cannot_be_read_before_is_not_started_and_the_next_goes_on() -> None:
    told = story("a", "b", "c", steps=proved(stop_after=2)).before_fails("404")
    told.reads_before(value=1).starts("retry[2]").done().reads_proof(value=0)
    told.reads_before(value=1).starts("retry[3]").done().reads_proof(value=0)
    told.closes(
        "failed", "retry: 1 of 3 items did not work: retry[1]: the reading before retry[1] failed: 404"
    )
    assert paths(told) == ["/retry/b", "/retry/c"]
    told = story("a", "b", "c", steps=proved(stop_after=2, gate=votes(oncall=1))).approve("bob")
    told.before_fails("404").reads_before(value=1).starts("retry[2]").done().reads_proof(value=0)
    told.before_fails("404").closes("failed", "2 of 3 items did not work").pages("2 of 3 items did not work")


def test_a_run_that_could_start_no_item_is_refused() -> None:
    told = story("a", "b", "c", steps=proved(stop_after=2)).before_fails().before_fails().starts_nothing()
    told.refuses("probe", "the reading before retry[2] failed: timeout", again_in="5m")
    told = story("a", steps=proved(stop_after=2)).before_fails().refuses("probe", again_in="5m")
    told = story("a", "b", steps=proved()).before_fails().starts_nothing().refuses("probe", again_in="5m")
    told = story("a", "b", steps=proved()).reads_before(value=1).done().reads_proof(value=0).before_fails()
    told.closes("failed", "1 of 2 items did not work").pages("1 of 2 items did not work")


def test_undo_all_takes_back_every_item_the_latest_first() -> None:
    back = undo("/-r/${each.id}", after="1d")
    told = story("a", "b", "c", steps={"retry": each(undo=back, on_failure="undo_all")})
    told.done().done().refused().undoes("retry[2]").done().undoes("retry[1]").done()
    told.closes("failed")
    assert paths(told)[-2:] == ["/-r/b", "/-r/a"]


def test_an_unknown_outcome_stops_and_asks() -> None:
    told = story("a", "b", "c", steps={"retry": each(stop_after=2)})
    told.done().unknown().in_stage(Stage.ASKING).locks().pages("unknown whether retry[2] happened")
    told.settled("not-happened").starts("retry[3]").done().closes("failed", "1 of 3 items did not work")
    told = story("a", "b").unknown().settled("happened").starts("retry[2]").done().closes("fixed")
    told = story("a", "b").unknown().settled("handled").closes("handed-over")


def test_a_lost_answer_is_settled_by_the_items_own_proof() -> None:
    told = story("a", "b", steps={"retry": each(verify=proof())}).reads_before(value=1).unknown()
    told.reads_proof(value=0).reads_before(value=1).starts("retry[2]")
    assert told.run.steps["retry[2]"].intention is not None
    assert told.run.steps["retry[2]"].intention.fence is Fence.NONE


# ── Rungs ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_rung_worked_when_all_its_items_did() -> None:
    told = ladder("a", "b").done().starts("retry[2]").done().holds(**{"retry[1]": "1d", "retry[2]": "1d"})
    told.passes("2d").undoes("retry[2]").done().undoes("retry[1]").done()
    told.closes("fixed", "retry (2 items) undone")


def test_a_rung_that_failed_is_taken_back_whole_before_the_next_one() -> None:
    told = ladder("a", "b", "c", stop_after=2).done().refused().starts("retry[3]").done()
    told.undoes("retry[3]").done().undoes("retry[1]").done().starts("restart").done()
    told.closes("fixed", "restart done").pages()


def test_a_rung_of_no_items_gives_way() -> None:
    ladder().starts("restart").done().closes("fixed", "restart done")
    ladder("a").refused().starts("restart").refused().closes("failed", "restart was refused")
