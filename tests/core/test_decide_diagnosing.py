"""Stories of the first stop: probes, the decision table, and modes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from remediator.core.catalog import Escape, Kind, Operation, Param
from remediator.core.messages import Use
from remediator.core.run import Stage
from tests.core.campaign import CATALOG, START, acted, budget_probe, policy, post, proof, say, votes
from tests.core.stories import Story

LOW: dict[str, Any] = {"row": {"left": 3.2}, "count": 1}
PLENTY: dict[str, Any] = {"row": {"left": 12.0}, "count": 1}


def budget_policy(**rest: Any) -> Any:
    cases = [
        {"when": "budget.row.left > 10.0", "do": "nothing"},
        {"when": "budget.row.left >= 5.0", "do": ["warn"]},
        {"do": ["warn", "pause"]},
    ]
    steps = {"warn": say("${budget.row.left} left"), "pause": post("/pause/${campaign}")}
    return policy(
        rest.pop("steps", steps), **({"diagnose": budget_probe(expect="one row"), "decide": cases} | rest)
    )


def test_plenty_left_does_nothing() -> None:
    (
        Story(budget_policy())
        .probe("budget", **PLENTY)
        .closes("nothing-to-do", "case 1")
        .starts_nothing()
        .writes("opened", "reading", "decided", "closed")
        .counts()
        .pages()
    )


def test_the_first_case_that_holds_is_taken() -> None:
    story = Story(budget_policy()).probe("budget", row={"left": 7}, count=1).starts("warn").done()
    story.closes("fixed", "warn done").counts("safe")
    assert story.entry("decided") == {"case": 1, "steps": ["warn"], "rungs": False}


def test_the_last_case_needs_no_when_and_takes_all_its_steps_in_order() -> None:
    story = Story(budget_policy()).probe("budget", **LOW).starts("warn").done()
    story.starts("pause").done().closes("fixed", "warn done, pause done").counts("act")
    assert story.acts[0].call.args == {"text": "3.2 left"}
    assert story.acts[1].call.args["path"] == "/pause/c-1"
    assert story.acts[1].key == "r1/pause"
    story.writes("started", "finished", "started", "finished", "closed")


def test_no_case_holds() -> None:
    only = [{"when": "budget.row.left > 100.0", "do": ["warn"]}]
    story = Story(budget_policy(decide=only, steps={"warn": say()}))
    story.probe("budget", **LOW).closes("nothing-to-do", "no case").starts_nothing()


def test_a_policy_without_probes_decides_at_once() -> None:
    Story(policy({"warn": say()})).starts("warn").done().closes("fixed")


def test_an_alert_that_still_fires_is_decided_again_after_recheck() -> None:
    story = Story(budget_policy(recheck="7m")).probe("budget", **PLENTY)
    assert story.last.recheck_at == START + timedelta(minutes=7)


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("budget.row.right > 10.0", "right"),
        ("budget.row.left > null", "null"),
        ("budget.row.left", "not true or false"),
    ],
)
def test_an_expression_without_an_answer_refuses_and_never_counts_as_false(when: str, told: str) -> None:
    cases = [{"when": when, "do": "nothing"}, {"do": ["pause"]}]
    story = Story(budget_policy(decide=cases)).probe("budget", **LOW)
    story.refuses("expression", told, again_in="5m").starts_nothing().counts()
    assert "decide[0].when" in story.run.reason


def test_an_expression_in_a_step_refuses_before_anything_is_sent() -> None:
    steps = {"pause": post("/pause/${budget.row.nobody}")}
    story = Story(budget_policy(steps=steps, decide=[{"do": ["pause"]}])).probe("budget", **LOW)
    story.refuses("expression", "steps.pause").starts_nothing()


def test_an_expression_in_a_probe_refuses_before_anything_is_read() -> None:
    wrong = {"budget": {"use": "http.get", "via": "api", "with": {"path": "/${size(campaign) / 0}"}}}
    Story(budget_policy(diagnose=wrong)).refuses("expression", "diagnose.budget")


def test_a_probe_that_fails_refuses() -> None:
    story = Story(budget_policy()).probe_fails("budget", "no route to host")
    story.refuses("probe", "budget: no route to host", again_in="5m").starts_nothing()


def test_an_optional_probe_that_fails_is_not_ok_and_refuses_nothing() -> None:
    probes = budget_probe(optional=True)
    cases = [{"when": "!budget.ok", "do": ["warn"]}, {"do": "nothing"}]
    story = Story(budget_policy(diagnose=probes, decide=cases, steps={"warn": say("unread")}))
    story.probe_fails("budget").starts("warn").done().closes("fixed")


def test_an_optional_probe_that_is_used_all_the_same_refuses() -> None:
    story = Story(budget_policy(diagnose=budget_probe(optional=True)))
    story.probe_fails("budget").refuses("expression", "budget.row.left")


@pytest.mark.parametrize(
    ("expect", "count", "told"),
    [
        ("one row", 0, "expected one row, read 0"),
        ("one row", 2, "expected one row, read 2"),
        ("no rows", 1, "expected no rows, read 1"),
    ],
)
def test_other_rows_than_expected_refuse(expect: str, count: int, told: str) -> None:
    story = Story(budget_policy(diagnose=budget_probe(expect=expect)))
    story.probe("budget", row={"left": 3}, count=count).refuses("probe", told)


def test_all_probes_are_read_together_and_the_last_one_decides() -> None:
    probes = budget_probe() | {"health": {"use": "http.get", "via": "api", "with": {"path": "/"}}}
    story = Story(budget_policy(diagnose=probes))
    assert len(story.out) == 2
    story.probe("health", status=200).in_stage(Stage.DIAGNOSING)
    story.probe("budget", **PLENTY).closes("nothing-to-do")


# ── Modes ─────────────────────────────────────────────────────────────────────────────────────────


def test_mode_observe_says_what_it_would_do_and_touches_nothing() -> None:
    story = Story(budget_policy(mode="observe")).probe("budget", **LOW)
    story.closes("observed", "would do: warn, pause").starts_nothing().counts("act").pages()
    assert [entry.data["step"] for entry in story.journal if entry.kind == "would"] == ["warn", "pause"]
    assert story.entry("would")["risk"] == "disruptive"
    assert not story.run.locks_target
    assert story.last.refusal is not None
    assert story.last.refusal.bound == "observe"


def test_mode_observe_counts_apart_and_only_what_would_have_been_done() -> None:
    story = Story(budget_policy(mode="observe"), use=acted("10m")).probe("budget", **LOW)
    story.closes("observed", "but cooldown").counts()
    assert story.last.refusal is not None
    assert story.last.refusal.again_at == START + timedelta(minutes=20)


def test_mode_observe_waits_for_no_lock_and_no_halt() -> None:
    story = Story(budget_policy(mode="observe"), holder="r9").halted().probe("budget", **LOW)
    story.closes("observed").counts("act")


def test_mode_observe_of_safe_steps_counts_no_act() -> None:
    story = Story(budget_policy(mode="observe")).probe("budget", row={"left": 7}, count=1)
    story.closes("observed", "would do: warn").counts()


def test_mode_observe_tells_of_an_expression_that_has_no_answer() -> None:
    steps = {"pause": post("/pause/${budget.row.nobody}")}
    story = Story(budget_policy(mode="observe", steps=steps, decide=[{"do": ["pause"]}]))
    story.probe("budget", **LOW).closes("observed")
    assert "nobody" in story.entry("would")["error"]


def test_mode_suggest_gates_every_step_even_waived_and_safe_ones() -> None:
    story = Story(budget_policy(mode="suggest")).probe("budget", **LOW).asks_people(oncall=1)
    assert story.gate.steps == ("warn", "pause")
    story.approve("bob").starts("warn").done().starts("pause").done().closes("fixed")


def test_mode_suggest_keeps_a_gate_that_is_written() -> None:
    steps = {"warn": say(), "pause": post("/p", gate=votes(lead=1)), "tell": say()}
    story = Story(policy(steps, mode="suggest")).asks_people(oncall=1)
    assert story.gate.steps == ("warn", "tell")
    story.approve("bob").starts("warn").done().asks_people(lead=1).approve("amina").starts("pause").done()
    story.starts("tell").done().closes("fixed")


# ── Safe steps ────────────────────────────────────────────────────────────────────────────────────


def test_a_safe_step_runs_alone_in_spite_of_every_rate() -> None:
    use = Use(last_act=START, target_acts=(START,) * 3, policy_acts=(START,) * 10, open_runs=2)
    Story(policy({"warn": say()}), use=use).starts("warn").done().closes("fixed").counts("safe")


def test_an_endpoint_that_the_config_calls_safe_is_safe() -> None:
    story = Story(policy({"warm": post("/safe/${campaign}", gate=None)})).starts("warm").done()
    story.closes("fixed").counts("safe")


def test_a_case_of_safe_steps_is_not_repeated_within_the_cooldown() -> None:
    played = Use(safe_plays={"0": START - timedelta(minutes=10)})
    story = Story(policy({"warn": say()}), use=played).closes(
        "nothing-to-do", "this case was played at 09:50:00 UTC"
    )
    story.starts_nothing().counts()
    assert story.last.refusal is not None
    assert story.last.refusal.again_at == START + timedelta(minutes=20)


def test_it_is_repeated_after_the_cooldown_and_when_another_case_was_played() -> None:
    over = Use(safe_plays={"0": START - timedelta(minutes=30), "7": START})
    Story(policy({"warn": say()}), use=over).starts("warn")


def test_a_safe_step_that_was_not_proved_is_not_counted_as_played() -> None:
    story = (
        Story(policy({"warn": say(verify=proof(within="1m"))})).reads_before(value=1).starts("warn").done()
    )
    story.reads_proof(value=1).reads_proof(value=1).reads_proof(value=1).closes("ineffective").counts(
        "failed"
    )


def test_an_optional_probe_that_fails_reads_as_null() -> None:
    sees_null = [{"when": "budget.row == null && !budget.ok", "do": ["warn"]}]
    rows = Operation(
        "sql.query", Kind.PROBE, "", {"sql": Param("", escape=Escape.LITERAL)}, reads=("row", "count")
    )
    catalog = replace(CATALOG, operations={**CATALOG.operations, "sql.query": rows})
    careful = policy({"warn": say("no row")}, diagnose=budget_probe(optional=True), decide=sees_null)
    Story(careful, catalog=catalog).probe_fails("budget").starts("warn").done().closes("fixed")


@pytest.mark.parametrize("when", ["budget == null", "null == budget", "!(budget != null)"])
def test_an_optional_probe_that_fails_is_null(when: str) -> None:
    table = [{"when": when, "do": "nothing"}, {"do": ["pause"]}]
    rows = Operation(
        "sql.query", Kind.PROBE, "", {"sql": Param("", escape=Escape.LITERAL)}, reads=("row", "count")
    )
    catalog = replace(CATALOG, operations={**CATALOG.operations, "sql.query": rows})
    guarded = policy({"pause": post("/pause")}, diagnose=budget_probe(optional=True), decide=table)
    Story(guarded, catalog=catalog).probe_fails("budget").closes("nothing-to-do").starts_nothing()
    Story(guarded, catalog=catalog).probe("budget", row={"left": 1}, count=1).starts("pause")


def test_any_rows_means_at_least_one() -> None:
    Story(budget_policy(diagnose=budget_probe(expect="any rows"))).probe("budget", count=0).refuses(
        "probe", "budget: expected rows, read none"
    )


def test_a_safe_rung_that_helped_is_not_tried_again_within_the_cooldown_either() -> None:
    ladder = {"retrigger": post("/safe/retrigger", verify=proof()), "pause": post("/pause", verify=proof())}
    tried = policy(ladder, decide=[{"try": ["retrigger", "pause"]}])
    story = Story(tried).reads_before(value=0).starts("retrigger").done().reads_proof(value=0).closes("fixed")
    story.counts("safe")
    played = Use(safe_plays={"0": START - timedelta(minutes=10)})
    Story(tried, use=played).closes("nothing-to-do").starts_nothing()
