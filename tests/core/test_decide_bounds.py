"""Stories of limits: at the open, at the start, and in the middle."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from remediator.core.admission import refusal
from remediator.core.messages import Use
from remediator.core.planning import Address
from remediator.core.run import Halt, Stage
from tests.core.stories import CATALOG, START, TARGET, Story, acted, policy, post, proof, say, undo, votes

ADDRESS = Address(TARGET, {})
ACTS = tuple(START - timedelta(hours=hours) for hours in (1, 2, 3))
HALT = Halt(id="h", scope="all", reason="deploy", by="amina", at=START)

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
    ({"use": Use(open_runs=2)}, "at_once", None, "policy:late-campaign"),
    ({"holder": "r9"}, "target", None, f"target:{TARGET}"),
    ({"halts": (HALT,)}, "halt", None, "halt"),
]


@pytest.mark.parametrize(("seen", "bound", "again_in", "waits_for"), NOES)
def test_a_bound_refuses_to_open_and_says_when_it_is_considered_again(
    seen: dict[str, Any], bound: str, again_in: timedelta | None, waits_for: str
) -> None:
    facts = replace(Story(policy({"pause": post("/p")})).facts, **seen)
    no = refusal(facts.policy, CATALOG, ADDRESS, facts)
    assert no is not None
    assert (no.bound, no.waits_for) == (bound, waits_for)
    assert no.again_at == (START + again_in if again_in else None)
    assert str(no).startswith(f"{bound}: ")


@pytest.mark.parametrize(("seen", "bound", "again_in", "waits_for"), NOES)
def test_the_same_bound_is_asked_again_when_the_first_change_starts(
    seen: dict[str, Any], bound: str, again_in: timedelta | None, waits_for: str
) -> None:
    story = Story(policy({"pause": post("/p", gate=votes(oncall=1))})).sees(**seen).approve("bob")
    story.refuses(bound, waits_for=waits_for).starts_nothing().counts()
    assert story.last.refusal is not None
    assert story.last.refusal.again_at == (START + again_in if again_in else None)


@pytest.mark.parametrize(
    ("seen", "bound"), [(no[0], no[1]) for no in NOES if no[1] not in ("target", "halt")]
)
def test_a_run_that_has_acted_goes_on_in_spite_of_every_rate(seen: dict[str, Any], bound: str) -> None:
    story = Story(policy({"pause": post("/a"), "cut": post("/b")})).starts("pause").sees(**seen).done()
    story.starts("cut").done().closes("fixed").counts("act")


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


def test_a_run_counts_once_however_many_steps_it_takes() -> None:
    Story(policy({"a": post("/a"), "b": post("/b")})).done().done().closes("fixed").counts("act")


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
