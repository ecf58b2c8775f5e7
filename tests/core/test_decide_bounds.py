"""Stories of limits: at the open, at the start, and in the middle."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from remediator.core.admission import refusal
from remediator.core.messages import Spent, Use
from remediator.core.planning import Address
from remediator.core.policy import Policy
from remediator.core.run import Halt, Stage
from tests.core.campaign import (
    CATALOG,
    START,
    TARGET,
    acted,
    budget_probe,
    policy,
    post,
    proof,
    say,
    undo,
    votes,
)
from tests.core.stories import Story

ADDRESS = Address(TARGET, {})
ACTS = tuple(START - timedelta(hours=hours) for hours in (1, 2, 3))
MINUTE = timedelta(minutes=1)
HALT = Halt(id="h", scope="all", reason="deploy", by="amina", at=START)

SHARED = {"budget": "pauses"}

NOES: list[tuple[dict[str, Any], str, timedelta | None, str]] = [
    ({"use": acted("10m")}, "cooldown", timedelta(minutes=20), ""),
    ({"use": Use(last_denial=START - timedelta(minutes=10))}, "cooldown", timedelta(minutes=20), ""),
    ({"use": Use(target_acts=ACTS)}, "per_target", timedelta(hours=21), ""),
    (
        {"use": Use(policy_acts=(START - timedelta(minutes=50),) * 10)},
        "per_policy",
        timedelta(minutes=10),
        "",
    ),
    ({"use": Use(budget_acts=(Spent("other", ACTS[0] + MINUTE),) * 2)}, "budget", MINUTE, ""),
    ({"use": Use(open_runs=2)}, "at_once", None, "policy:late-campaign"),
    ({"holder": "r9"}, "target", None, f"target:{TARGET}"),
    ({"halts": (HALT,)}, "halt", None, "halt"),
]


@pytest.mark.parametrize(("seen", "bound", "again_in", "waits_for"), NOES)
def test_a_bound_refuses_to_open_and_says_when_it_is_considered_again(
    seen: dict[str, Any], bound: str, again_in: timedelta | None, waits_for: str
) -> None:
    facts = replace(Story(policy({"pause": post("/p")}, bounds=SHARED)).facts, **seen)
    no = refusal(facts.policy, CATALOG, ADDRESS, facts)
    assert no is not None
    assert (no.bound, no.waits_for) == (bound, waits_for)
    assert no.again_at == (START + again_in if again_in else None)
    assert str(no).startswith(f"{bound}: ")


@pytest.mark.parametrize(("seen", "bound", "again_in", "waits_for"), NOES)
def test_the_same_bound_is_asked_again_when_the_first_change_starts(
    seen: dict[str, Any], bound: str, again_in: timedelta | None, waits_for: str
) -> None:
    one = policy({"pause": post("/p", gate=votes(oncall=1))}, bounds=SHARED)
    story = Story(one).sees(**seen).approve("bob")
    story.refuses(bound, waits_for=waits_for).starts_nothing().counts()
    assert story.last.refusal is not None
    assert story.last.refusal.again_at == (START + again_in if again_in else None)


@pytest.mark.parametrize(
    ("seen", "bound"), [(no[0], no[1]) for no in NOES if no[1] not in ("target", "halt")]
)
def test_a_run_that_has_acted_goes_on_in_spite_of_every_rate(seen: dict[str, Any], bound: str) -> None:
    one = policy({"pause": post("/a"), "cut": post("/b")}, bounds=SHARED)
    story = Story(one).starts("pause").sees(**seen).done()
    story.starts("cut").done().closes("fixed").counts("act", "act")


def test_a_run_that_has_acted_does_not_go_on_in_spite_of_a_halt() -> None:
    story = Story(policy({"pause": post("/a"), "cut": post("/b")})).starts("pause").halted().done()
    story.closes("failed", "halted by amina").pages("stopped before cut").counts("act", "failed")


def test_a_halt_stops_safe_steps_too() -> None:
    Story(policy({"warn": say(verify=proof())})).halted().reads_before(value=0).refuses(
        "halt", waits_for="halt"
    )


def test_a_halt_lets_held_undos_run_on_time() -> None:
    story = Story(policy({"pause": post("/a", undo=undo(after="1h"))})).done().halted().passes("1h")
    story.undoes("pause").done().closes("fixed")


def test_a_started_act_counts_at_its_intent_before_any_answer() -> None:
    Story(policy({"pause": post("/a")})).starts("pause").counts("act")


def test_an_unknown_act_stays_counted() -> None:
    Story(policy({"pause": post("/a")})).unknown().in_stage(Stage.ASKING).counts("act")


def test_every_act_counts_so_that_the_cooldown_runs_from_the_last() -> None:
    steps = {"warn": say(), "a": post("/a"), "b": post("/b")}
    story = Story(policy(steps)).done().starts("a").counts("act").done().starts("b").counts("act", "act")
    story.done().closes("fixed").counts("act", "act")


def test_the_target_is_locked_from_the_first_change_to_the_end_or_the_hold() -> None:
    story = Story(policy({"pause": post("/a", verify=proof(), undo=undo(after="1h"))}))
    assert not story.run.locks_target
    story.reads_before(value=1).locks().done().locks().reads_proof(value=0).holds(pause="1h")
    story.passes("1h").undoes("pause").locks().done().closes("fixed")
    assert not story.run.locks_target


def test_the_target_stays_locked_while_people_are_asked_about_the_next_step() -> None:
    steps = {"pause": post("/a"), "cut": post("/b", gate=votes(oncall=1))}
    Story(policy(steps)).done().asks_people(oncall=1).locks().approve("bob").locks()


def test_a_step_that_another_run_holds_is_not_repeated() -> None:
    story = Story(policy({"pause": post("/a")}), held=frozenset({"pause"}))
    story.refuses("held", "pause is being held by another run").starts_nothing()


def test_a_run_that_stays_undecided_closes_at_its_deadline() -> None:
    patient = post("/a", gate=votes(within="12h", oncall=1))
    story = Story(policy({"pause": patient})).passes("6h").closes("expired", "deadline").pages("deadline")
    assert story.gate.state == "void"


def test_a_probe_that_never_answers_does_not_keep_a_run_for_ever() -> None:
    probes = {"budget": {"use": "sql.query", "via": "db"}}
    Story(policy({"pause": post("/a")}, diagnose=probes), catalog=CATALOG).passes("6h").closes("expired")


def test_the_deadline_never_interrupts_an_act_or_a_hold() -> None:
    story = Story(policy({"pause": post("/a", undo=undo(after="1h"))}, bounds={"deadline": "10m"}))
    story.passes("20m").starts("pause").done().holds(pause="40m").passes("40m").undoes("pause").done()
    story.closes("fixed").pages()


# ── Windows ───────────────────────────────────────────────────────────────────────────────────────

LUNCH = {"windows": {"not": ["12:00-14:00 UTC"]}}  # the stories begin at 10:00


def test_a_window_that_shuts_while_people_think_stops_the_start_and_tells_them() -> None:
    one = policy({"pause": post("/a", gate=votes(within="3h", oncall=1))}, bounds=LUNCH)
    story = Story(one).later("2h30m").approve("bob")
    story.refuses("windows", "nothing may start in 12:00-14:00 UTC", again_in="1h30m").starts_nothing()
    story.pages("people had agreed, and it was not done")


def test_a_window_is_asked_for_each_later_step_of_a_run_too() -> None:
    story = Story(policy({"pause": post("/a"), "cut": post("/b")}, bounds=LUNCH)).starts("pause")
    story.later("2h").done().closes("failed", "windows: nothing may start in 12:00-14:00 UTC")
    story.pages("stopped before cut").counts("act", "failed")


def test_a_window_is_asked_for_safe_steps_too() -> None:
    Story(policy({"warn": say()}, bounds=LUNCH)).starts("warn")
    only = {"windows": {"only": ["11:00-12:00 UTC"]}}
    Story(policy({"warn": say()}, bounds=only)).refuses("windows", again_in="1h").starts_nothing()


def test_nobody_is_asked_for_what_the_windows_would_refuse() -> None:
    one = policy({"pause": post("/a", gate=votes(oncall=1))}, bounds={"windows": {"not": ["Wed UTC"]}})
    story = Story(one).refuses("windows", again_in="14h")
    assert story.run.gate is None


def test_no_window_stops_an_undo() -> None:
    story = Story(policy({"pause": post("/a", undo=undo(after="3h"))}, bounds=LUNCH)).done()
    story.passes("2h").holds(pause="1h").passes("1h").undoes("pause").done().closes("fixed").pages()


# ── Breakers ──────────────────────────────────────────────────────────────────────────────────────

TWICE = {"breaker": {"failures": 2, "within": "1h", "mode": "suggest", "for": "30m"}}
ONCE_BEFORE = Use(failures=(START - 20 * MINUTE,))
TWICE_BEFORE = Use(failures=(START - 10 * MINUTE, START - 20 * MINUTE))


def breaks(*, mode: str = "suggest", **steps: Any) -> Policy:
    return policy(steps or {"pause": post("/a")}, bounds={"breaker": TWICE["breaker"] | {"mode": mode}})


def test_the_failure_that_is_too_many_is_told_to_people_once() -> None:
    story = Story(breaks(), use=ONCE_BEFORE).refused("409 busy").closes("failed").counts("act", "failed")
    story.pages(
        "pause was refused: 409 busy",
        "the policy is stepped down from act to suggest until 2026-03-04 10:30:00 UTC: 2 of its runs failed"
        " or did not help within 1h. Until then every step of it waits for people; after that it goes on in"
        " mode act by itself. The last one, r1, failed: pause was refused: 409 busy",
    )
    assert story.entry("stepped-down")["until"] == "2026-03-04T10:30:00+00:00"


def test_one_more_failure_while_it_is_down_pages_only_for_itself() -> None:
    story = Story(breaks(), use=TWICE_BEFORE).approve("bob").refused("409").closes("failed")
    story.pages("pause was refused: 409").counts("act", "failed")


def test_a_change_that_did_not_help_counts_as_a_failure() -> None:
    story = Story(breaks(pause=post("/a", verify=proof(within="1m"))), use=ONCE_BEFORE)
    story.reads_before(value=1).done()
    for _ in range(3):
        story.reads_proof(value=1)
    story.closes("ineffective").counts("act", "failed").writes("stepped-down", "closed")


def test_what_people_or_bounds_stopped_is_no_failure() -> None:
    gated = breaks(pause=post("/a", gate=votes(oncall=1)))
    Story(gated, use=ONCE_BEFORE).deny("bob").closes("denied").counts("denied")
    Story(gated, use=ONCE_BEFORE).passes("1h").closes("expired").counts("denied")
    Story(gated, use=ONCE_BEFORE).halted().approve("bob").refuses("halt", waits_for="halt").counts()


def test_a_run_of_a_policy_that_is_down_opens_in_the_lower_mode_and_says_until_when() -> None:
    story = Story(breaks(), use=TWICE_BEFORE).asks_people(oncall=1)
    assert (story.run.mode, story.run.down_until) == ("suggest", START + 20 * MINUTE)
    opened = story.entry("opened")
    assert (opened["mode"], opened["stepped_down_until"]) == ("suggest", "2026-03-04T10:20:00+00:00")
    story.approve("bob").starts("pause")
    assert "stepped_down_until" not in Story(breaks()).entry("opened")


def test_what_was_opened_while_the_policy_was_down_goes_on_as_it_began() -> None:
    story = Story(breaks(pause=post("/a", gate=votes(within="1h", lead=1))), use=TWICE_BEFORE)
    story.later("40m").sees(use=Use()).approve("amina").starts("pause")
    assert story.run.mode == "suggest"


def test_a_policy_that_is_down_to_observing_does_nothing() -> None:
    story = Story(breaks(mode="observe"), use=TWICE_BEFORE).closes("observed", "would do: pause")
    story.starts_nothing().counts("act")


def test_a_run_that_was_opened_before_its_policy_failed_too_often_is_decided_again() -> None:
    gated = breaks(pause=post("/a", gate=votes(oncall=1)))
    story = Story(gated).asks_people(oncall=1).sees(use=TWICE_BEFORE).approve("bob")
    story.refuses("changed", "the policy has failed too often since this run was opened", again_in="0s")
    story.starts_nothing()


def test_a_run_that_still_diagnoses_is_decided_again_before_anybody_is_asked() -> None:
    gated = policy({"pause": post("/a", gate=votes(oncall=1))}, bounds=TWICE, diagnose=budget_probe())
    story = Story(gated).sees(use=TWICE_BEFORE).probe("budget", row={})
    story.refuses("changed", "and is in mode suggest now", again_in="0s")
    assert story.run.gate is None


def test_a_run_that_has_acted_goes_on_although_its_policy_is_down() -> None:
    story = Story(breaks(pause=post("/a"), cut=post("/b"))).starts("pause").sees(use=TWICE_BEFORE).done()
    story.starts("cut").done().closes("fixed")
