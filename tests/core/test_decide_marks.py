"""Acts that leave a mark before they become final: a lost answer is found, and nothing is done twice."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from remediator.core.evidence import Picture
from remediator.core.exact import kept
from remediator.core.messages import Done, Marked, Previewed, Refused, TimePassed, Unknown
from remediator.core.run import Stage, StepState
from tests.core.campaign import budget_probe, change, policy, post, proof, say, votes
from tests.core.stories import Story

RESTORE = {"table": "programs", "rows": [{"before": {"rate": Decimal("0.0700")}}]}
RESULT: dict[str, Any] = kept({"rows": 1, "restore": RESTORE})
MARK = {"xid": "7", "result": RESULT}
PICTURE = Picture(1, "one row", ({"key": {"id": "p-17"}, "before": {"rate": {"#": "0.0700"}}},))


def story(**rest: Any) -> Story:
    """A change that people have seen and agreed to, on the wire."""
    told = Story(policy({"halve": change(**rest)}))
    return told.previewed("halve", PICTURE).approve("bob").starts("halve")


def held(**rest: Any) -> Story:
    """The same, done and standing for an hour."""
    return (
        story(verify={"none": "the story is not about proofs"}, **rest).marks(**MARK).done(**RESULT).holds()
    )


def undoing() -> Story:
    """The same, after the hour."""
    return held().passes("1h").undoes("halve")


def test_what_people_saw_goes_with_the_act() -> None:
    (act,) = story().acts
    assert act.shown == PICTURE
    assert act.approved == ("bob",)
    assert act.call.args == {"sql": "UPDATE …", "args": ["c-1"], "rows": {"exactly": 1}, "undo": "restore"}


def test_an_upper_limit_of_rows_goes_with_the_act() -> None:
    (act,) = story(rows={"at_most": 50}).acts
    assert act.call.args["rows"] == {"at_most": 50}


def test_the_gate_binds_to_the_rows_that_were_shown() -> None:
    hashes = {
        Story(policy({"halve": change()})).previewed("halve", picture).gate.hash
        for picture in (PICTURE, Picture(1, "one row", ()), Picture(2, "one row", PICTURE.rows))
    }
    assert len(hashes) == 3


def test_pictures_that_were_changed_in_the_store_void_the_approval() -> None:
    told = Story(policy({"halve": change(), "tell": say()})).previewed("halve", PICTURE)
    gate = told.gate.__class__(**{f: getattr(told.gate, f) for f in told.gate.__struct_fields__})
    other = {"halve": Picture(1, "one row", ())}
    told.pictures["halve"] = other["halve"]
    told.tampered(gate=_with(gate, pictures=other)).approve("bob")
    told.starts_nothing().closes("refused", "not the one that was approved")


def _with(gate: Any, **fields: Any) -> Any:
    return gate.__class__(**{f: getattr(gate, f) for f in gate.__struct_fields__} | fields)


def test_a_lost_answer_without_a_mark_changed_nothing_for_certain() -> None:
    told = story().unknown()
    told.step_is("halve", StepState.REFUSED).closes("failed", "nothing was changed").pages("never came to be")
    assert len(told.acts) == 1


def test_a_lost_answer_with_a_mark_is_asked_about() -> None:
    told = story().marks(**MARK).unknown().step_is("halve", StepState.UNKNOWN).inquires().locks()
    told.told(Done(RESULT)).holds(halve="1h").pages()
    told.writes("started", "marked", "unknown", "inquiring", "found-out", "finished", "holding")
    assert told.run.steps["halve"].result == RESULT
    assert len(told.acts) == 1


def test_what_was_rolled_back_was_refused() -> None:
    told = story().marks(**MARK).unknown().told(Refused("rolled back"))
    told.step_is("halve", StepState.REFUSED).closes("failed", "rolled back")
    assert not told.run.steps["halve"].unknown
    assert len(told.acts) == 1


def test_what_the_mark_cannot_tell_a_person_does() -> None:
    told = story().marks(**MARK).unknown().told(Unknown("the server failed over"))
    told.pages("unknown whether halve happened (the server failed over)")
    told.settled("happened").holds(halve="1h").passes("1h").undoes("halve")
    assert told.acts[-1].call.operation == "ledger.restore"


def test_what_the_mark_cannot_tell_a_proof_does() -> None:
    told = Story(policy({"halve": change(verify=proof())})).previewed("halve", PICTURE).approve("bob")
    told.reads_before(value=5).starts("halve").marks(**MARK).unknown().told(Unknown("the server failed over"))
    told.reads_proof(value=0).holds()


def test_a_mark_after_a_halt_is_not_taken() -> None:
    told = story().halted().marks(**MARK)
    assert told.run.steps["halve"].mark is None
    told.refused("never committed").closes("failed")


def test_a_mark_of_a_step_that_was_given_up_is_not_taken() -> None:
    told = story().unknown()
    told.hears(Marked("halve", 1, undo=False, mark=MARK))
    assert told.run.steps["halve"].mark is None
    assert "marked" not in [entry.kind for entry in told.journal]


def test_a_second_mark_does_not_replace_the_first() -> None:
    told = story().marks(**MARK)
    told.marks(xid="8", result={})
    assert told.run.steps["halve"].mark == MARK


def test_the_undo_is_made_of_what_the_act_returned() -> None:
    told = undoing()
    act = told.acts[-1]
    assert (act.call.operation, act.call.connection) == ("ledger.restore", "ledger")
    assert act.call.args == RESULT["restore"]
    told.marks().done(restored=1).step_is("halve", StepState.UNDONE).closes("fixed").pages()


def test_a_row_that_somebody_changed_is_left_alone_and_told() -> None:
    left = "1 of 1 rows left alone: id=p-17 holds rate 0.05, not 0.035"
    told = undoing().marks()
    told._ends(Done({"restored": 0}, left))
    told.closes("failed", "not whole").pages(left)
    assert told.run.steps["halve"].undo_error == left
    assert told.entry("undone")["left"] == left


def test_an_undo_that_did_not_happen_is_tried_again_for_a_minute() -> None:
    told = undoing().refused("never sent: the connection was refused").passes("5s").undoes("halve")
    told.unknown("the connection was lost before COMMIT").passes("5s").undoes("halve")
    told.marks().done().closes("fixed").pages()
    assert [act.attempt for act in told.acts if act.undo] == [1, 2, 3]


def test_an_undo_that_never_happens_pages() -> None:
    told = undoing()
    for _ in range(30):
        if not told.promises.wire:
            break
        told.refused("never sent: the connection was refused").passes("5s")
    told.closes("failed", "the undo of halve went wrong").pages("never sent: the connection was refused")
    assert 5 < len(told.acts) < 20


def test_a_lost_undo_is_asked_about_and_not_repeated() -> None:
    told = undoing().marks(xid="9", result={"restored": 1}).unknown().inquires()
    told.told(Done({"restored": 1})).step_is("halve", StepState.UNDONE).closes("fixed")
    assert len(told.acts) == 2


def test_an_undo_that_was_rolled_back_is_tried_again() -> None:
    told = undoing().marks(xid="9", result={}).unknown().told(Refused("rolled back")).passes("5s")
    told.undoes("halve").marks(xid="10", result={}).done().closes("fixed")


def test_an_undo_whose_mark_cannot_tell_pages_and_is_never_repeated() -> None:
    told = undoing().marks(xid="9", result={}).unknown().told(Unknown("the server failed over"))
    told.closes("failed", "its outcome is unknown").pages("the server failed over")
    assert len(told.acts) == 2


def test_a_later_step_sees_the_very_values_that_an_earlier_one_returned() -> None:
    steps = {
        "halve": change(verify={"none": "-"}),
        "tell": post(
            "/told", **{"with": {"method": "POST", "path": "/x", "body": "${steps.halve.result.rate}"}}
        ),
    }
    told = Story(policy(steps)).previewed("halve", PICTURE).approve("bob").marks(**MARK)
    told.done(**kept({"rate": Decimal("0.0350")})).starts("tell")
    assert told.acts[-1].call.args["body"] == 0.035


@pytest.mark.parametrize("use", ["http.request", "sql.execute"])
def test_what_no_operation_restores_is_refused_before_it_starts(use: str) -> None:
    via = {"http.request": "api", "sql.execute": "db"}[use]
    step = {"use": use, "via": via, "gate": votes(oncall=1), "undo": {"how": "restore", "after": "1h"}}
    Story(policy({"halve": step})).starts_nothing().closes("refused", "cannot be restored")


def test_rows_that_are_gone_void_what_was_agreed_and_it_is_decided_anew() -> None:
    told = Story(policy({"halve": change()})).previewed("halve", PICTURE)
    told.pictures.clear()
    told.approve("bob")
    (asked,) = told.out
    told.hears(Previewed(asked.round, "halve", None, "it would change 0 rows, not 1"))
    assert told.run.all_gates[0].state == "void"
    told.starts_nothing().previewed("halve", PICTURE).asks_people(oncall=1)
    assert told.gate.id.endswith(".2")


def test_a_late_mark_of_an_undo_that_was_given_up_is_not_taken() -> None:
    told = undoing()
    (act,) = told.promises.wire.values()
    told.unknown().hears(Marked("halve", act.attempt, undo=True, mark=MARK))
    assert told.run.steps["halve"].undo_mark is None


def test_what_was_rolled_back_gives_nothing_to_later_steps() -> None:
    further = post("/x/${steps.halve.result.rows}")
    steps = {
        "halve": change(on_failure="continue", verify={"none": "-"}, undo={"none": "-"}),
        "tell": further,
    }
    told = Story(policy(steps)).previewed("halve", PICTURE).approve("bob").marks(**MARK)
    told.refused("rolled back at its end (23503)")
    assert [act.step for act in told.acts] == ["halve"]
    assert "steps.halve" in told.run.steps["tell"].error


def test_an_undo_that_comes_late_is_tried_again_as_well() -> None:
    told = held().later("62m").hears(TimePassed()).undoes("halve").refused("something holds the lock")
    told.pages("the undo of halve is overdue: that of halve was sent")
    told.passes("5s").undoes("halve").marks().done().closes("fixed")


FREEZE = {
    "freeze": change(verify={"none": "-"}, undo={"none": "stays"}),
    "lock": change(verify={"none": "-"}, undo={"none": "stays"}),
}
FROZEN = [{"when": "budget.frozen", "do": "nothing"}, {"do": ["freeze", "lock"]}]


def half_done() -> Story:
    """The first change has ended its own case, and people are asked about the second."""
    told = Story(policy(FREEZE, diagnose=budget_probe(), decide=FROZEN)).probe("budget", frozen=False)
    told.previewed("freeze", PICTURE).approve("bob").starts("freeze").now_reads("budget", frozen=True)
    return told.marks(**MARK).done(**RESULT).previewed("lock", PICTURE).asks_people(oncall=1)


def test_a_later_card_with_other_rows_is_shown_again_and_not_forgotten() -> None:
    told = half_done()
    told.pictures["lock"] = Picture(
        1, "one row", ({"key": {"id": "p-17"}, "before": {"rate": {"#": "0.08"}}},)
    )
    told.approve("bob").asks_people(oncall=1).approve("bob").starts("lock").marks(**MARK).done(**RESULT)
    told.closes("fixed")


def test_a_later_card_whose_rows_cannot_be_read_any_more_pages() -> None:
    told = half_done()
    for _ in range(2):  # once before the act, once for the card that follows
        told.pictures.clear()
        if told.run.stage is Stage.WAITING:
            told.approve("bob")
        told.hears(Previewed(told.run.round, "lock", None, "no connection within 5 s"))
    told.closes("failed", "no connection").pages("stopped before lock")


def test_a_later_card_whose_rows_never_rest_pages() -> None:
    told = half_done()
    for number in range(1, 5):
        row = {"key": {"id": "p-17"}, "before": {"rate": {"#": f"0.0{number}"}}}
        told.pictures["lock"] = Picture(1, "one row", (row,))
        told.approve("bob")
    told.closes("failed", "changed 4 times").pages("changed 4 times between decision and act")


def test_true_is_not_the_one_that_people_saw() -> None:
    told = Story(policy({"halve": change()}))
    seen = Picture(1, "one row", ({"key": {"id": 7}, "before": {"limit": {"of": 1}}},))
    told.previewed("halve", seen)
    told.pictures["halve"] = Picture(1, "one row", ({"key": {"id": 7}, "before": {"limit": {"of": True}}},))
    assert told.pictures["halve"] == seen, "Python cannot tell them apart"
    told.approve("bob").starts_nothing().asks_people(oncall=1)
