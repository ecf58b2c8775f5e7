"""Stories of temporary changes: they stand for a time and are taken back, once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from remediator.core.messages import Done, Refused, StepFinished
from remediator.core.play import next_deadline
from remediator.core.run import Stage, StepState
from tests.core.campaign import CATALOG, START, change, policy, post, proof, undo, votes
from tests.core.stories import Story

KEYED = undo("/resume") | {"via": "keyed"}


def held(**rest: Any) -> Story:
    pause = post("/pause", undo=undo(**({"after": "24h"} | rest)))
    return Story(policy({"pause": pause})).starts("pause").done()


def undone(**rest: Any) -> dict[str, Any]:
    """A proof of an undo whose step is not proved: there is no reading from before the act."""
    return proof("verify.value == 0", **rest)


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


# ── An alert that fires again before its undo is sent ────────────────────────────────────────────


def waiting(**rest: Any) -> Story:
    """Its alert was over for long enough, and undos are halted."""
    story = held(**({"early": "resolved"} | rest)).resolves().halted(undos=True).passes("1m")
    return story.in_stage(Stage.UNDOING)


def test_an_early_undo_that_waits_is_put_off_when_the_alert_fires_again() -> None:
    story = waiting().fires().sees(halts=()).passes("5s").holds(pause="23h58m55s")
    assert story.entry("undo-put-off") == {"left": "pause", "reason": "the alert fires again"}
    assert len(story.acts) == 1
    story.passes("1h").in_stage(Stage.HOLDING).resolves().passes("59s").in_stage(Stage.HOLDING)
    story.passes("1s").undoes("pause").done().closes("fixed", "pause undone")


def test_an_alert_that_is_only_just_over_again_puts_it_off_as_well() -> None:
    story = waiting().fires().resolves().sees(halts=()).passes("5s").in_stage(Stage.HOLDING)
    story.passes("54s").in_stage(Stage.HOLDING).passes("1s").undoes("pause")


def test_a_time_box_that_ends_while_it_waits_is_kept_whatever_fires() -> None:
    story = waiting(after="2m").fires().passes("55s").in_stage(Stage.HOLDING)
    story.passes("5s").in_stage(Stage.UNDOING).sees(halts=()).passes("5s").undoes("pause")


def test_a_hold_without_a_time_box_goes_on_when_the_alert_fires_again() -> None:
    story = waiting(after=None).fires().sees(halts=()).passes("5s").holds(pause="")
    story.passes("7d").in_stage(Stage.HOLDING).resolves().passes("1m").undoes("pause")


def test_whoever_was_told_that_it_is_overdue_is_told_so_again_of_the_next_time() -> None:
    story = waiting().passes("65s").pages("the undo of pause is overdue").fires().passes("5s")
    story.in_stage(Stage.HOLDING).resolves().passes("1m").passes("65s")
    assert story.run.steps["pause"].undo_late


def test_what_is_on_its_way_comes_to_its_end_and_the_rest_is_held_on() -> None:
    early = {"after": "1h", "early": "resolved"}
    steps = {name: post(f"/{name}", undo=undo(f"/-{name}", **early)) for name in ("a", "b")}
    story = Story(policy(steps)).done().done().resolves().passes("1m").undoes("b").fires()
    story.done().holds(a="59m").step_is("b", StepState.UNDONE)
    story.passes("59m").undoes("a").done().closes("fixed", "a undone, b undone")


def test_one_that_was_refused_for_certain_has_not_been_sent() -> None:
    box = {"how": "restore", "after": "1h", "early": "resolved"}
    story = Story(policy({"s": change(**PAST, undo=box)})).starts("s").marks().done(**_wrote(1, 100))
    story.resolves().passes("1m").undoes("s").refused("lock timeout").fires().passes("5s").holds(s="58m55s")
    assert len(story.acts) == 2
    story.passes("58m55s").undoes("s").refused("lock timeout").passes("5s").undoes("s").marks().done()
    story.closes("fixed", "s undone")


def test_what_people_agreed_to_take_back_after_a_failure_is_not_put_off() -> None:
    steps = {"a": post("/a", undo=undo("/-a", after="1h", early="resolved")), "b": post("/b")}
    steps["b"]["on_failure"] = "undo_all"
    story = Story(policy(steps)).done().resolves().refused("no").undoes("a").fires().done()
    story.step_is("a", StepState.UNDONE)


def test_what_lies_under_another_is_put_off_with_it() -> None:
    steps = {
        "s": change(**PAST, undo={"how": "restore", "after": "1h", "early": "resolved"}),
        "s2": change(**PAST, undo={"how": "restore", "after": "2h"}),
    }
    told = Story(policy(steps)).starts("s").marks().done(**_wrote(1, 100))
    told.starts("s2").marks().done(**_wrote(100, 200)).resolves().halted(undos=True).passes("1m")
    assert told.run.undoing == ("s2", "s")
    told.fires().sees(halts=()).passes("5s").holds(s="58m55s", s2="1h58m55s")


# ── An undo that goes wrong ───────────────────────────────────────────────────────────────────────


def test_a_refused_undo_pages_and_is_never_tried_again() -> None:
    story = (
        held().passes("24h").refused("404").closes("failed", "refused: 404").pages("undo of pause went wrong")
    )
    assert len(story.acts) == 2
    story.step_is("pause", StepState.DONE)


@pytest.mark.parametrize("keyed", [True, False])
def test_an_undo_that_we_did_not_send_waits_until_it_can_be_sent(keyed: bool) -> None:
    """No place was free for it, undos were halted meanwhile, or the daemon stopped."""
    unsent = Refused("never sent: no place was free", unsent=True)
    story = held(**(KEYED if keyed else {})).passes("24h")
    for attempt in (1, 2, 3, 4):
        story.undoes("pause").hears(StepFinished("pause", attempt, True, unsent)).passes("5s")
    story.undoes("pause").done().closes("fixed", "pause undone").pages()


def test_what_was_lost_before_it_was_not_sent_again_is_lost_still() -> None:
    story = held(**KEYED).passes("24h").unknown().undoes("pause")
    story.hears(StepFinished("pause", 2, True, Refused("never sent", unsent=True))).passes("5s")
    story.undoes("pause").refused("404").closes("failed", "its outcome is unknown: 404")
    story.pages("The change may still stand")


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
    story.in_stage(Stage.UNDOING).locks().passes("5m").pages("the undo of pause is overdue: undos are halted")
    story.sees(halts=()).passes("5s").undoes("pause").done().closes("fixed")
    assert len(story.acts) == 3


def test_an_undo_whose_key_grew_old_while_undos_were_halted_is_not_sent_again() -> None:
    story = held(**KEYED).passes("24h").undoes("pause").halted(undos=True).unknown().passes("11m")
    story.sees(halts=()).passes("5s").closes("failed", "may not be sent again by now")
    story.pages("is overdue: undos are halted", "The change may still stand")
    assert len(story.acts) == 2


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


# ── Readings that end a hold ────────────────────────────────────────────────────────────────────


def reading(until: Any = "verify.value == 0", **rest: Any) -> dict[str, Any]:
    """Something that is read while a change is held."""
    return {"use": "http.get", "via": "api", "with": {"path": "/load"}, "until": until} | rest


def test_a_hold_ends_when_what_is_read_says_so() -> None:
    story = held(early=reading()).reads_early("pause", value=3).in_stage(Stage.HOLDING)
    story.passes("30s").reads_early("pause", value=0).undoes("pause").done().closes("fixed", "pause undone")
    assert story.entry("early") == {
        "step": "pause",
        "holds": True,
        "ends": True,
        "until": "verify.value == 0",
        "error": "",
    }


def test_what_is_read_must_stay_so_as_long_as_the_policy_says() -> None:
    story = held(early=reading(**{"for": "45s"})).reads_early("pause", value=0).in_stage(Stage.HOLDING)
    story.passes("30s").reads_early("pause", value=0).in_stage(Stage.HOLDING)
    story.passes("15s").reads_early("pause", value=0).undoes("pause")


def test_a_reading_that_falls_back_begins_anew() -> None:
    story = held(early=reading(**{"for": "30s"})).reads_early("pause", value=0)
    story.passes("30s").reads_early("pause", value=1).passes("30s").reads_early("pause", value=0)
    story.in_stage(Stage.HOLDING).passes("30s").reads_early("pause", value=0).undoes("pause")


def test_a_reading_that_fails_ends_nothing() -> None:
    story = held(early=reading()).early_fails("pause").in_stage(Stage.HOLDING)
    story.passes("30s").reads_early("pause", text="no value").in_stage(Stage.HOLDING)
    assert "verify has no 'value'" in story.entry("early")["error"]
    story.passes("30s").reads_early("pause", value=0).undoes("pause")


def test_the_time_box_holds_whatever_is_read() -> None:
    story = held(early=reading(every="1h"), after="2h").reads_early("pause", value=3)
    story.passes("1h").reads_early("pause", value=3).passes("1h").undoes("pause")


def test_a_reading_that_hangs_does_not_delay_the_time_box() -> None:
    held(early=reading(), after="2h").passes("2h").undoes("pause")


def test_a_hold_of_readings_alone_is_a_hold() -> None:
    story = held(early=reading(), after=None).reads_early("pause", value=3).in_stage(Stage.HOLDING)
    assert next_deadline(story.run, story.facts) == story.now + timedelta(seconds=30)
    story.passes("30s").reads_early("pause", value=0).undoes("pause")


def test_only_what_changes_is_written_down() -> None:
    story = held(early=reading())
    for _ in range(50):
        story.reads_early("pause", value=3).passes("30s")
    story.reads_early("pause", value=0)
    assert [entry.kind for entry in story.journal].count("early") == 2


def test_the_first_of_several_readings_ends_the_hold() -> None:
    story = held(early=[reading(), reading("verify.value > 9")])
    story.reads_early("pause", value=3).reads_early("pause", 1, value=10).undoes("pause")


def test_a_reading_may_need_what_the_act_returned() -> None:
    path = {"path": "/jobs/${steps.pause.result.id}"}
    story = Story(policy({"pause": post("/pause", undo=undo(after="1h", early=reading() | {"with": path}))}))
    assert story.done(id="j-7").asked("early:pause:0").call.args == {"path": "/jobs/j-7"}


def test_a_reading_that_cannot_be_asked_for_pages_once() -> None:
    path = {"path": "/jobs/${steps.pause.result.id}"}
    story = Story(policy({"pause": post("/pause", undo=undo(after="1h", early=reading() | {"with": path}))}))
    story.done(text="no id").passes("5m").in_stage(Stage.HOLDING).pages("cannot be read")
    story.passes("55m").undoes("pause")


def test_before_is_what_the_step_itself_read_before_it_acted() -> None:
    early = reading("verify.value <= before.value")
    pause = post("/pause", verify=proof(), undo=undo(after="1h", early=early))
    story = Story(policy({"pause": pause})).reads_before(value=5).done().reads_proof(value=0)
    story.reads_early("pause", value=6).passes("30s").reads_early("pause", value=5).undoes("pause")


# ── The proof of an undo ────────────────────────────────────────────────────────────────────────


def test_an_undo_is_proved_where_the_policy_says_how() -> None:
    story = held(after="1h", verify=undone(within="2m")).passes("1h").undoes("pause").done()
    story.in_stage(Stage.UNDOING).locks().reads_undo_proof("pause", value=1).in_stage(Stage.UNDOING)
    story.passes("30s").reads_undo_proof("pause", value=0).closes("fixed", "pause undone").pages()
    story.writes("undone", "proof", "proof", "verified", "closed")


def test_an_undo_that_cannot_be_proved_reaches_a_person_and_is_not_done_twice() -> None:
    story = held(after="1h", verify=undone(within="1m")).passes("1h").undoes("pause").done()
    story.reads_undo_proof("pause", value=1).passes("30s").reads_undo_proof("pause", value=1)
    story.passes("30s").reads_undo_proof("pause", value=1).closes("failed", "was not proved")
    story.pages("the undo of pause was done, but not proved: 'verify.value == 0' did not hold in time")
    assert len(story.acts) == 2
    assert story.run.steps["pause"].state is StepState.UNDONE


def test_the_proof_of_an_undo_must_last() -> None:
    story = held(after="1h", verify=undone(**{"for": "20s"})).passes("1h").undoes("pause").done()
    story.reads_undo_proof("pause", value=0).in_stage(Stage.UNDOING)
    story.passes("20s").reads_undo_proof("pause", value=0).closes("fixed")


def test_an_undo_may_say_why_nothing_proves_it() -> None:
    held(after="1h", verify={"none": "the service says nothing"}).passes("1h").done().closes("fixed")


def test_the_next_undo_waits_for_the_proof_of_the_one_before() -> None:
    steps = {
        "pause": post("/pause", undo=undo(after="1h", verify=undone(within="10m"))),
        "cut": post("/cut", undo=undo("/uncut", after="1h", verify=undone(within="10m"))),
    }
    story = Story(policy(steps)).done().done().passes("1h").undoes("cut").done()
    for _ in range(2):
        story.pages().reads_undo_proof("cut", value=1).passes("30s")
    story.pages("the undo of pause is overdue: another undo is being proved")
    story.reads_undo_proof("cut", value=0).undoes("pause").done().reads_undo_proof("pause", value=0)
    story.closes("fixed", "pause undone, cut undone")


def test_a_doubled_answer_does_not_disturb_the_proof() -> None:
    story = held(after="1h", verify=undone()).passes("1h").undoes("pause").done()
    story.hears(StepFinished("pause", 1, True, Done())).reads_undo_proof("pause", value=0).closes("fixed")


def test_what_proves_an_undo_is_part_of_what_is_approved() -> None:
    def hash_of(**rest: Any) -> str:
        step = post("/pause", gate=votes(oncall=1), undo=undo(after="1h", **rest))
        return Story(policy({"pause": step})).gate.hash

    hashes = {
        hash_of(),
        hash_of(verify=proof()),
        hash_of(verify=proof("verify.value == 1")),
        hash_of(early=reading()),
        hash_of(early=reading("verify.value == 1")),
        hash_of(early=reading(use="sql.query", via="db") | {"with": {"sql": "SELECT 1"}}),
    }
    assert len(hashes) == 6
