"""Stories of temporary changes: they stand for a time and are taken back, once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from remediator.core.messages import Done, StepFinished
from remediator.core.play import next_deadline
from remediator.core.run import Stage, StepState
from tests.core.stories import CATALOG, START, Story, change, policy, post, proof, undo, votes

KEYED = undo("/resume") | {"via": "keyed"}


def held(**rest: Any) -> Story:
    pause = post("/pause", undo=undo(**({"after": "24h"} | rest)))
    return Story(policy({"pause": pause})).starts("pause").done()


def test_a_hold_lets_the_target_go_and_is_undone_at_its_time() -> None:
    story = held().holds(pause="24h").passes("23h59m").in_stage(Stage.HOLDING).passes("1m").undoes("pause")
    assert story.run.locks_target
    assert story.acts[-1].call.args["path"] == "/resume/c-1"
    assert story.acts[-1].key == "r1/pause/undo"
    story.done().closes("fixed", "pause undone").pages().counts("act")
    story.writes("holding", "undo-started", "undone", "closed")


def test_the_time_box_runs_from_the_act() -> None:
    story = Story(policy({"pause": post("/pause", undo=undo(after="1h"))})).later("10m").done()
    story.holds(pause="50m")


def test_a_time_box_that_is_over_before_its_hold_is_undone_at_once() -> None:
    story = Story(policy({"pause": post("/pause", undo=undo(after="1m")), "cut": post("/cut")}))
    story.done().later("5m").done().undoes("pause").done().closes("fixed")


def test_resolved_ends_a_hold_only_where_the_policy_says_so() -> None:
    held().resolves().passes("1h").in_stage(Stage.HOLDING)
    held(early=["resolved"]).resolves().passes("59s").in_stage(Stage.HOLDING).passes("1s").undoes("pause")


def test_an_alert_that_flaps_keeps_the_hold() -> None:
    story = held(early="resolved").resolves().passes("30s").fires().passes("1h").in_stage(Stage.HOLDING)
    story.resolves().passes("1m").undoes("pause")


def test_a_hold_without_a_time_box_waits_for_the_end_of_the_alert() -> None:
    story = Story(policy({"pause": post("/pause", undo=undo(early="resolved"))})).done().holds(pause="")
    assert next_deadline(story.run, story.facts) is None
    story.passes("7d").in_stage(Stage.HOLDING).resolves().passes("1m").undoes("pause").done().closes("fixed")


def test_an_alert_that_is_over_when_the_hold_begins_is_undone_after_the_debounce() -> None:
    story = Story(policy({"pause": post("/pause", undo=undo(after="1h", early="resolved"))}))
    story.resolves().later("5m").done().undoes("pause")


def test_several_held_steps_are_undone_the_latest_first() -> None:
    steps = {name: post(f"/{name}", undo=undo(f"/-{name}", after="1h")) for name in ("a", "b", "c")}
    story = Story(policy(steps)).done().done().done().passes("1h")
    story.undoes("c").done().undoes("b").done().undoes("a").done().closes(
        "fixed", "a undone, b undone, c undone"
    )


def test_each_held_step_has_its_own_time() -> None:
    steps = {"a": post("/a", undo=undo("/-a", after="1h")), "b": post("/b", undo=undo("/-b", after="2h"))}
    story = Story(policy(steps)).done().done().passes("1h").undoes("a").done().holds(b="1h")
    story.passes("1h").undoes("b").done().closes("fixed")


def test_an_undo_may_use_what_the_act_returned() -> None:
    story = held(**{"with": {"method": "POST", "path": "/tickets/${steps.pause.result.id}"}})
    story = Story(story.facts.policy).done(id="T-7").passes("24h").undoes("pause")
    assert story.acts[-1].call.args["path"] == "/tickets/T-7"


def test_an_undo_that_lacks_what_the_act_returned_pages() -> None:
    story = held(**{"with": {"method": "POST", "path": "/tickets/${steps.pause.result.id}"}})
    story.passes("24h").closes("failed", "the undo of pause went wrong").pages("The change may still stand")


# ── An undo that has to wait ──────────────────────────────────────────────────────────────────────


def test_an_undo_waits_for_a_busy_target_and_pages_when_it_is_a_minute_late() -> None:
    story = held().sees(holder="r9").passes("24h").in_stage(Stage.UNDOING)
    assert not story.run.locks_target
    story.pages().passes("59s").pages().passes("5s").pages("the undo of pause is overdue: run r9")
    story.passes("10m").pages("overdue").sees(holder=None).passes("5s").undoes("pause").done().closes("fixed")
    assert [entry.kind for entry in story.journal].count("undo-waits") == 1


def test_an_early_undo_that_waits_is_late_a_minute_after_it_was_due() -> None:
    story = held(early="resolved").resolves().sees(holder="r9").passes("1m").in_stage(Stage.UNDOING).pages()
    story.passes("65s").pages("overdue")


def test_an_undo_without_a_time_box_that_waits_is_late_too() -> None:
    story = held(after=None, early="resolved").resolves().halted(undos=True).passes("1m").pages()
    story.passes("65s").pages("overdue: undos are halted").sees(halts=()).passes("5s").undoes("pause")


def test_an_undo_halts_only_with_undos() -> None:
    held().halted(undos=True).passes("24h").in_stage(Stage.UNDOING).passes("65s").pages("undos are halted")
    held().halted().passes("24h").undoes("pause")


def test_a_time_box_that_was_missed_while_the_daemon_was_down_is_made_good() -> None:
    held().later("48h").passes("0s").undoes("pause").done().closes("fixed")


# ── An undo that goes wrong ───────────────────────────────────────────────────────────────────────


def test_a_refused_undo_pages_and_is_never_tried_again() -> None:
    story = (
        held().passes("24h").refused("404").closes("failed", "refused: 404").pages("undo of pause went wrong")
    )
    assert len(story.acts) == 2
    story.step_is("pause", StepState.DONE)


def test_an_unknown_undo_pages_and_is_never_tried_again() -> None:
    story = held().passes("24h").unknown().closes("failed", "its outcome is unknown").pages("may still stand")
    assert len(story.acts) == 2


def test_one_undo_that_goes_wrong_does_not_keep_the_others() -> None:
    steps = {name: post(f"/{name}", undo=undo(f"/-{name}", after="1h")) for name in ("a", "b")}
    story = Story(policy(steps)).done().done().passes("1h").undoes("b").refused()
    story.undoes("a").done().closes("failed").pages("undo of b")


def test_an_undo_under_a_key_is_sent_again_at_most_three_times() -> None:
    story = held(**KEYED).passes("24h").undoes("pause").unknown().undoes("pause").unknown().undoes("pause")
    story.unknown().closes("failed").pages("may still stand")
    assert [act.key for act in story.acts[1:]] == ["r1/pause/undo"] * 3


def test_a_refusal_of_the_second_sending_of_an_undo_says_nothing_about_the_first() -> None:
    story = held(**KEYED).passes("24h").unknown().refused("never sent").undoes("pause").done().closes("fixed")
    assert len(story.acts) == 4


def test_the_key_of_the_acts_service_is_no_fence_for_an_undo_elsewhere() -> None:
    pause = post("/pause", undo=undo(after="1h") | {"via": "api"}) | {"via": "keyed"}
    story = Story(policy({"pause": pause})).done().passes("1h").undoes("pause").unknown()
    story.closes("failed").pages("its outcome is unknown")
    assert len(story.acts) == 2


def test_an_undo_that_is_sent_again_is_the_very_same() -> None:
    path = "/at/${string(now)}/${steps.pause.result.id}"
    story = held(**KEYED | {"with": {"method": "POST", "path": path}})
    story = Story(story.facts.policy).done(id="T").passes("24h").later("7s").unknown().later("9s").unknown()
    assert len({str(act.call) for act in story.acts[1:]}) == 1


def test_an_undo_is_not_sent_again_while_undos_are_halted() -> None:
    story = held(**KEYED).passes("24h").undoes("pause").halted(undos=True).unknown()
    story.closes("failed").pages("its outcome is unknown")


def test_an_undo_of_a_connection_that_is_gone_is_left_to_the_world_to_refuse() -> None:
    gone = {name: one for name, one in CATALOG.connections.items() if name != "api"}
    story = held().sees(catalog=replace(CATALOG, connections=gone), current=None).passes("24h")
    story.undoes("pause").refused("no such connection").closes("failed").pages("no such connection")


def test_a_late_or_foreign_answer_to_an_undo_changes_nothing() -> None:
    story = held().passes("24h").undoes("pause")
    for late in (
        StepFinished("pause", 1, False, Done()),
        StepFinished("pause", 2, True, Done()),
        StepFinished("cut", 1, True, Done()),
    ):
        story.hears(late).undoes("pause")
        assert not story.last.entries
    story.done().closes("fixed")


def test_a_run_that_holds_is_no_longer_open() -> None:
    story = held().holds(pause="24h")
    assert not story.run.stage.open
    assert story.now == START
    assert story.run.steps["pause"].undo_at == START + timedelta(hours=24)


def _wrote(before: int, after: int, **key: str) -> dict[str, Any]:
    row = {"key": key or {"id": "p-17"}, "before": {"n": before}, "after": {"n": after}}
    return {"restore": {"table": "programs", "rows": [row]}}


PAST = {"verify": {"none": "-"}, "gate": {"waived": "the story is about the way back"}}


def test_what_was_written_over_is_undone_latest_first() -> None:
    steps = {
        "s": change(**PAST, undo={"how": "restore", "after": "6s"}),
        "s2": change(**PAST, undo={"how": "restore", "after": "1h"}),
    }
    told = Story(policy(steps)).starts("s").marks().done(**_wrote(1, 100))
    told.starts("s2").marks().done(**_wrote(100, 200)).holds(s="6s", s2="1h")
    told.passes("6s").undoes("s2").marks().done().undoes("s").marks().done().closes("fixed")


def test_what_lies_apart_is_undone_each_in_its_own_time() -> None:
    steps = {
        "s": change(**PAST, undo={"how": "restore", "after": "6s"}),
        "s2": change(**PAST, undo={"how": "restore", "after": "1h"}),
    }
    told = Story(policy(steps)).starts("s").marks().done(**_wrote(1, 100))
    told.starts("s2").marks().done(**_wrote(1, 200, id="p-18"))
    told.passes("6s").undoes("s").marks().done().in_stage(Stage.HOLDING).passes("1h").undoes("s2")


def test_a_time_box_does_not_wait_for_people_who_are_asked_about_the_next_step() -> None:
    steps = {
        "pause": post("/pause", undo=undo(after="2m")),
        "cut": post("/cut", gate=votes(within="30m", oncall=1)),
    }
    told = Story(policy(steps)).starts("pause").done().asks_people(oncall=1).passes("2m").undoes("pause")
    assert told.gate.state == "void"
    told.done().closes("expired", "the time of pause is over; cut was not done").pages("cut was not done")


def test_a_time_box_that_has_to_wait_for_a_proof_is_told() -> None:
    steps = {
        "pause": post("/pause", undo=undo(after="2m")),
        "cut": post("/cut", verify=proof(within="10m", every="5m")),
    }
    told = Story(policy(steps)).starts("pause").done().reads_before(value=5).starts("cut").done()
    told.reads_proof(value=5).passes("3m").pages("the undo of pause is overdue")
    told.reads_proof(value=0).undoes("pause").done().closes("fixed")
