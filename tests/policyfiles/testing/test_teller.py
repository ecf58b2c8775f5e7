"""What a line of a story may do: each key does it to the real engine, and a story that is wrong says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from remediator.core import play
from remediator.core.messages import Decision, Event, Facts
from remediator.core.run import Run
from remediator.policyfiles.testing.running import find, run
from tests.policyfiles.testing.stage import (
    ALERT,
    HALVE,
    HEAD,
    PACK,
    PAUSE,
    REPOSITORY,
    known,
    story,
    suite,
    tell,
)

GOOD = {
    "a reading that changes leads to another case": """
        - reading: {campaign: {json: {status: running}}}
          approve: bob
          expect: {started: [], gate: {state: void}, outcome: nothing-to-do}
    """,
    "what a line says happens in its order": """
        - approve: bob
          reading: {campaign: {json: {status: running}}}
          expect: {started: [pause]}
        - at: 31m
          expect: {run: 2, outcome: nothing-to-do}
    """,
    "a refused result": """
        - result: {pause: {refused: 409 it has ended}}
          approve: bob
          expect: {outcome: failed, steps: {pause: refused}, pages: [409 it has ended]}
    """,
    "an unknown result is settled by its proof": """
        - result: {pause: unknown}
          approve: bob
        - at: 1m
          expect: {steps: {pause: verified}, held: pause}
    """,
    "an unknown result that nothing proves is settled by a person": """
        - reading: {pause.verify: {json: {status: late}}}
          result: {pause: unknown}
          approve: bob
        - at: 6m
          expect: {stage: asking, pages: [pause]}
        - settle: happened
          expect: {stage: holding, held: pause}
    """,
    "a slow result comes when it comes": """
        - result: {pause: {slow: 5s}}
          approve: bob
          expect: {stage: acting}
        - at: 4s
          expect: {stage: acting}
        - at: 5s
          expect: {stage: holding}
    """,
    "a result that takes longer than anything may is unknown": """
        - result: {pause: {slow: 1h}}
          reading: {pause.verify: {json: {status: late}}}
          approve: bob
        - at: 10m
          expect: {stage: asking}
    """,
    "an undo may be refused as well": """
        - result: {pause.undo: {refused: 500 try later}}
          approve: bob
        - at: 12h1m
          expect: {outcome: failed, undone: [], pages: 500 try later}
    """,
    "a crash right after the intent leaves an unknown outcome": """
        - crash: after started
          reading: {pause.verify: {json: {status: late}}}
          approve: bob
        - at: 6m
          expect: {stage: asking}
    """,
    "a crash before the intent loses nothing": """
        - crash: [after vote, after before]
          approve: bob
        - at: 1m
          expect: {stage: holding, order: [pause]}
    """,
    "a crash now, while people think, changes nothing": """
        - crash: now
          approve: bob
          expect: {stage: holding}
    """,
    "an alert that resolves and fires again within the debounce goes on": """
        - at: 5m
          resolves: all
        - at: 5m30s
          fires: again
        - at: 10m
          expect: {runs: 1, gate: {state: open}}
    """,
    "another alert joins, and both have to resolve": """
        - fires: {labels: {alertname: CampaignLate, campaign_id: c-1, instance: b}}
        - resolves: {labels: {alertname: CampaignLate, campaign_id: c-1}}
        - at: 5m
          expect: {runs: 1, outcome: open}
        - resolves: {labels: {alertname: CampaignLate, campaign_id: c-1, instance: b}}
        - at: 7m
          expect: {outcome: recovered}
    """,
    "two gates are told apart by their targets": """
        - fires: {labels: {alertname: CampaignLate, campaign_id: c-2}}
        - approve: {by: bob, on: campaign/c-2}
          expect: {run: 2, started: [pause]}
        - expect: {run: 1, started: []}
    """,
    "another run keeps the target for a while": """
        - busy: {until: 20m}
          approve: bob
          expect: {refused: {bound: target}, started: []}
        - at: 19m
          expect: {runs: 1}
        - at: 20m
          expect: {runs: 2, run: 2, gate: {state: open}}
    """,
    "halted and resumed": """
        - halt: target
          approve: bob
          expect: {refused: halt}
        - at: 2h
          resume: all
          expect: {run: last, gate: {state: open}}
    """,
    "a halt with undos holds them, and pages": """
        - approve: bob
        - at: 1h
          resolves: all
          halt: {undos: true}
        - at: 12h2m
          expect: {undone: [], pages: undos are halted}
    """,
    "a change of the policy voids an open gate": """
        - policy_changes: true
          approve: {by: bob, on: campaign/c-1}
        - expect: {run: 1, outcome: refused, reason: the policy has changed}
        - expect: {run: 2, started: [pause]}
    """,
    "a preview is shown on the card": """
        - expect: {card: "POST /api/campaigns/c-1/pause"}
    """,
    "a person without the role is turned away": """
        - approve: {by: amina, counts: false}
          expect: {gate: {state: open}}
    """,
    "a person starts another run by hand": """
        - start: {by: bob, params: {campaign_id: c-2}}
          expect: {runs: 2, run: 2, gate: {steps: [pause]}}
    """,
    "a run by hand may be refused": """
        - start: {by: bob, params: {campaign_id: "c 2"}}
          expect: {runs: 1, refused: {bound: params, reason: campaign_id}}
    """,
    "a refusal that outlasts its patience is paged, once": """
        - halt: all
          approve: bob
        - at: 14m
          expect: {pages: [it was not done]}
        - at: 40m
          expect: {pages: [it was not done, "still fires, and has been refused for 15m"]}
    """,
}


@pytest.mark.parametrize("name", GOOD)
def test_a_story_goes_as_it_says(tmp_path: Path, name: str) -> None:
    (told,) = tell(tmp_path, story(GOOD[name], name=name)).told
    assert told.failures == ()


WRONG = [
    ("- approve: bob\n- approve: chen", "chen's vote", "one open gate", "no gate is open"),
    ("- approve: amina", "amina's vote", "counts", "this vote does not count"),
    ("- approve: {by: bob, counts: false}", "bob's vote", "does not count", "bob approved"),
    ("- resume: all", "resume", "something is halted", "nothing is"),
    ("- settle: happened", "settle", "a run that asks what became of it", "no run asks"),
    (
        "- resolves: {labels: {alertname: CampaignLate, campaign_id: c-9}}",
        "resolves",
        "an alert that fired before",
        "it never did",
    ),
    ("- halt: policy:another", "halt", "counts", "there is no policy another"),
    (
        "- busy: {until: 5m}\n  approve: bob\n- busy: {until: 6m}",
        "busy",
        "nobody acts on campaign/c-1 yet",
        "a run does",
    ),
    ("- crash: after undone", "the crash", "after undone", "that never came"),
    (
        "- fires: {labels: {alertname: CampaignLate, campaign_id: c-2}}\n- approve: bob",
        "bob's vote",
        "one open gate",
        "open: campaign/c-2, campaign/c-1",
    ),
]


@pytest.mark.parametrize(("lines", "what", "expected", "actual"), WRONG)
def test_what_cannot_happen_fails_the_story(
    tmp_path: Path, lines: str, what: str, expected: str, actual: str
) -> None:
    (told,) = tell(tmp_path, story(f"{lines}\n- expect: {{mode: act}}")).told
    (failure,) = told.failures
    assert (failure.what, failure.expected) == (what, expected)
    assert actual in failure.actual


UNGATED = PAUSE.replace(
    "    gate: {votes: {ops_marketing: 1}, within: 30m, late: page}",
    "    gate: {waived: 'a pause hurts nobody'}",
)


def test_what_the_first_line_begins_with_is_known_to_a_run_that_asks_nobody(tmp_path: Path) -> None:
    modes(tmp_path, UNGATED, "- {result: {pause: refused}, expect: {outcome: failed, started: pause}}")


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ("- busy: {until: 20m}\n- expect: {started: pause}", "busy"),
        ("- reading: {campaign: {json: {status: running}}}\n- expect: {started: pause}", "reading campaign"),
        ("- at: 1m\n  result: {pause: refused}\n- expect: {started: pause}", "result pause"),
    ],
)
def test_what_never_came_to_be_used_fails_the_story_at_its_place(
    tmp_path: Path, lines: str, what: str
) -> None:
    (told,) = run(suite(tmp_path, HEAD + story(lines), {"pause.yaml": UNGATED}), known()[0]).told
    (failure,) = told.failures
    assert failure.what == what
    assert failure.actual.startswith("never came to be used; to hold from the start, write ")
    line = int(failure.where.split(":")[1])
    written = (HEAD + story(lines)).split("\n")[line - 1]
    assert what.partition(" ")[0] in written


@pytest.mark.parametrize(
    "given", ["given: {pause.undo.result: refused}", "busy: {until: 5m, target: campaign/c-9}"]
)
def test_what_stands_under_the_name_in_vain_fails_the_story_too(tmp_path: Path, given: str) -> None:
    text = HEAD + story("- expect: {started: pause}", begins=f"{ALERT}\n    {given}")
    (told,) = run(suite(tmp_path, text, {"pause.yaml": UNGATED}), known()[0]).told
    (failure,) = told.failures
    assert failure.actual == "never came to be used; take it out"
    assert failure.what in ("given pause.undo.result", "busy")
    assert ":9:" in failure.where


def test_a_preview_may_stand_at_the_start_as_well(tmp_path: Path) -> None:
    alert = "alert: {labels: {alertname: LoyaltyProgramBudgetHigh, program_id: p-17}}"
    row = "{name: T, status: active, earn_rate: 0.07, budget_limit: 9, budget_spent: 8, remaining_pct: 3.2}"
    given = f"given: {{spending: {{row: {{a_day: 9}}}}, budget: {{row: {row}}}}}\n    {alert}"
    line = "- {preview: {halve_earn_rate: {error: it is locked}}, expect: {gate: none, refused: preview}}"
    policies = {"p.yaml": (PACK / "budget-exhaustion.yaml").read_text()}
    text = "policy: molam-budget-exhaustion\ntests:\n" + story(line, begins=given)
    (told,) = run(suite(tmp_path, text, policies), known()[0]).told
    assert told.failures == ()


def test_what_holds_from_the_start_may_stand_under_the_name(tmp_path: Path) -> None:
    given = "given: {pause.result: {refused: 409 it has ended}}"
    refused = story("- expect: {steps: {pause: refused}}", begins=f"{ALERT}\n    {given}")
    waits = story(
        "- expect: {runs: 0, refused: target}\n- {at: 5m, expect: {started: pause}}",
        name="b",
        begins=f"{ALERT}\n    busy: {{until: 5m}}",
    )
    undo = "given: {pause.undo.result: {refused: 500 try later}}"
    undone = story(
        "- {at: 13h, expect: {undone: [], pages: 500 try}}", name="c", begins=f"{ALERT}\n    {undo}"
    )
    told = run(suite(tmp_path, HEAD + refused + waits + undone, {"pause.yaml": UNGATED}), known()[0]).told
    assert [one.failures for one in told] == [(), (), ()]


def test_a_probe_without_a_reading_fails_the_story_and_says_what_to_write(tmp_path: Path) -> None:
    text = f"policy: pause-campaign\ntests:\n  - name: a\n    {ALERT}\n    expect: {{outcome: refused}}\n"
    (told,) = tell(tmp_path, text).told
    (failure,) = told.failures
    assert failure.what == "campaign was asked"
    assert failure.expected == "a reading: given: {campaign: …}"


def test_a_core_that_breaks_on_a_story_is_told_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = play.decide

    def broken(one: Run, event: Event, facts: Facts) -> Decision:
        if one.target == "campaign/c-2":
            raise ZeroDivisionError("a defect")
        return real(one, event, facts)

    monkeypatch.setattr(play, "decide", broken)
    other = story("- expect: {runs: 1}", name="b", begins=ALERT.replace("c-1", "c-2"))
    first, second = tell(tmp_path, other + story("- {approve: bob, expect: {started: pause}}")).told
    assert (first.failures[0].what, first.failures[0].actual) == (
        "a defect of Remediator",
        "ZeroDivisionError: a defect",
    )
    assert second.failures == ()


def test_a_story_may_begin_with_what_stands_before_its_alert(tmp_path: Path) -> None:
    lines = """
        - busy: {until: 5m, target: campaign/c-1}
          fires: {labels: {alertname: CampaignLate, campaign_id: c-1}}
          expect: {runs: 0, refused: target}
        - at: 5m
          expect: {runs: 1, gate: {state: open}}
    """
    text = story(lines).replace(f"    {ALERT}\n", "")
    (told,) = tell(tmp_path, text).told
    assert told.failures == ()


def test_the_clock_stands_where_the_file_says(tmp_path: Path) -> None:
    """A window of the week, in its zone."""
    closed = PAUSE.replace("deadline: 6h}", "deadline: 6h, windows: {not: ['Mon 08:00-10:00 UTC']}}")
    one = story("- expect: {refused: windows, runs: 0}")
    other = story(
        "- expect: {refused: none, runs: 1}", name="b", begins=f"starts: 2026-03-03T09:00:00Z\n    {ALERT}"
    )
    given = "policy: pause-campaign\ngiven: {campaign: {json: {status: late}}}\ntests:\n"
    report = run(suite(tmp_path, given + one + other, {"pause.yaml": closed}), known()[0])
    assert [told.failures for told in report.told] == [(), ()]


def test_every_story_has_a_world_of_its_own(tmp_path: Path) -> None:
    first = story("- {approve: bob, expect: {started: [pause]}}", name="first")
    second = story("- expect: {started: [], runs: 1, refused: none}", name="second")
    assert tell(tmp_path, first + second).failed == []


REPEATED = PAUSE.replace("do: [pause]", "do: [retry]").replace(
    "steps:\n",
    """steps:
  retry:
    for_each: ${campaign.json.parts}
    at_most: 5
    stop_after: 2
    use: http.request
    via: loyalty_api
    with: {method: POST, path: '/api/parts/${each.id}/retry', body: {}}
    gate: {votes: {ops_marketing: 1}, within: 30m, late: page}
    verify: {none: 'the service says so'}
    undo: {none: 'a retry stays'}
""",
)


def test_a_repeated_step_is_told_whole_or_item_by_item(tmp_path: Path) -> None:
    lines = """
        - expect: {gate: {votes: {ops_marketing: 1}}}
        - result: {"retry[2]": {refused: 404 it is gone}}
          approve: bob
        - at: 1m
          expect:
            started: [retry]
            order: ["retry[1]", "retry[2]", "retry[3]"]
            steps: {"retry[1]": done, "retry[2]": refused, "retry[3]": done}
            args: {"retry[3]": {path: /api/parts/c/retry}}
    """
    given = "given: {campaign: {json: {status: late, parts: [{id: a}, {id: b}, {id: c}]}}}"
    head = f"policy: pause-campaign\n{given}\ntests:\n"
    found = suite(tmp_path, head + story(lines), {"pause.yaml": REPEATED})
    assert found.findings == ()
    (told,) = run(found, known()[0]).told
    assert told.failures == ()


def test_a_part_that_is_listed_twice_is_not_retried_at_all(tmp_path: Path) -> None:
    lines = """
        - expect:
            outcome: refused
            refused: {bound: expression, reason: "retry[1] and retry[3] are the same act"}
            gate: none
            started: []
        - at: 16m
          expect: {pages: ["retry[1] and retry[3] are the same act"]}
    """
    given = "given: {campaign: {json: {status: late, parts: [{id: a}, {id: b}, {id: a}]}}}"
    found = suite(tmp_path, f"policy: pause-campaign\n{given}\ntests:\n" + story(lines), {"p.yaml": REPEATED})
    assert found.findings == ()
    (told,) = run(found, known()[0]).told
    assert told.failures == ()


WHOLE = [
    ("- expect: {gate: {steps: [retry]}, args: {retry: {method: POST}}}", ""),
    ('- expect: {gate: {steps: ["retry[1]", "retry[2]", "retry[3]"]}}', ""),
    ("- {approve: bob, expect: {steps: {retry: done}}}", ""),
    ('- {crash: "after started retry[2]", approve: bob, expect: {steps: {"retry[1]": done}}}', ""),
    ("- {crash: after started retry, approve: bob, expect: {stage: asking}}", ""),
    ("- expect: {args: {retry: {path: /api/parts/a/retry}}}", "/api/parts/b/retry\n/api/parts/c/retry"),
    (
        '- {result: {"retry[2]": {refused: it is gone}}, approve: bob, expect: {steps: {retry: done}}}',
        "retry[2] refused: it is gone",
    ),
    ("- expect: {steps: {retry: done}}", "retry[1] planned\nretry[2] planned\nretry[3] planned"),
]


@pytest.mark.parametrize(("lines", "wrong"), WHOLE)
def test_a_repeated_step_is_meant_whole_wherever_it_is_named(tmp_path: Path, lines: str, wrong: str) -> None:
    given = "given: {campaign: {json: {status: late, parts: [{id: a}, {id: b}, {id: c}]}}}"
    head = f"policy: pause-campaign\n{given}\ntests:\n"
    found = suite(tmp_path, head + story(lines), {"pause.yaml": REPEATED})
    assert found.findings == ()
    (told,) = run(found, known()[0]).told
    assert "\n".join(one.actual for one in told.failures) == wrong


def modes(tmp_path: Path, text: str, lines: str) -> None:
    """The story holds for this policy."""
    found = suite(tmp_path, HEAD + story(lines), {"pause.yaml": text})
    assert found.findings == ()
    (told,) = run(found, known()[0]).told
    assert told.failures == ()


def test_a_policy_that_observes_says_what_it_would_do(tmp_path: Path) -> None:
    lines = "- expect: {mode: observe, outcome: observed, would: [pause], started: [], gate: none}"
    modes(tmp_path, PAUSE.replace("mode: act", "mode: observe"), lines)


def test_a_policy_that_suggests_asks_even_where_its_gate_is_waived(tmp_path: Path) -> None:
    waived = PAUSE.replace(
        "gate: {votes: {ops_marketing: 1}, within: 30m, late: page}", "gate: {waived: 'a pause hurts nobody'}"
    )
    modes(tmp_path, waived, "- expect: {gate: none, started: [pause]}")
    suggests = waived.replace("mode: act", "mode: suggest")
    modes(tmp_path, suggests, "- expect: {mode: suggest, gate: {votes: {oncall: 1}}, started: []}")


def test_a_breaker_steps_the_policy_down(tmp_path: Path) -> None:
    """Two failures, and the third run only suggests."""
    careful = (
        PAUSE.replace(
            "deadline: 6h}", "deadline: 6h, breaker: {failures: 2, within: 24h, mode: observe, for: 4h}}"
        )
        .replace("cooldown: 30m", "cooldown: 10m")
        .replace("2 in 24h", "9 in 24h")
    )
    lines = """
        - result: {pause: {refused: 500 out of order}}
          approve: bob
          expect: {mode: act, outcome: failed}
        - at: 10m
          approve: bob
          expect: {run: 2, mode: act, outcome: failed}
        - at: 20m
          expect: {run: 3, mode: observe, would: [pause], started: []}
    """
    modes(tmp_path, careful, lines)


def test_a_watch_opens_runs_by_its_rows(tmp_path: Path) -> None:
    watching = PAUSE.replace(
        "match: ['{alertname=\"CampaignLate\"}']",
        "watch: {every: 5m, use: prometheus.query, via: prometheus, with: {query: late}, key: [campaign_id]}",
    )
    modes(tmp_path, watching, "- expect: {runs: 1, gate: {state: open}}")


def test_a_status_that_its_connector_would_not_take_is_a_probe_that_fails(tmp_path: Path) -> None:
    told = "not 2xx; write expect_status if this status is meant"
    lines = f"- {{expect: {{refused: {{bound: probe, reason: [answered 503, {told}]}}, started: []}}}}"
    begins = f"{ALERT}\n    given: {{campaign: {{status: 503}}}}"
    (right,) = tell(tmp_path, story(lines, begins=begins)).told
    assert right.failures == ()
    meant = PAUSE.replace("{campaign_id}'}}", "{campaign_id}', expect_status: 503}}", 1)
    assert meant != PAUSE
    given = f"{ALERT}\n    given: {{campaign: {{status: 503, json: {{status: late}}}}}}"
    found = suite(
        tmp_path, HEAD + story("- expect: {gate: {state: open}}", begins=given), {"pause.yaml": meant}
    )
    (told_so,) = run(found, known()[0]).told
    assert told_so.failures == ()


def test_a_proof_that_answers_an_error_holds_not(tmp_path: Path) -> None:
    lines = """
        - at: 1m
          reading: {pause.verify: {status: 500, json: {status: paused}}}
          approve: bob
        - at: 7m
          expect: {steps: {pause: unverified}}
    """
    (told,) = tell(tmp_path, story(lines)).told
    assert told.failures == ()


@pytest.mark.parametrize(
    ("answer", "state"), [("404", "refused"), ("302", "refused"), ("204", "verified"), ("500", "unknown")]
)
def test_an_act_is_what_its_connector_makes_of_the_answer(tmp_path: Path, answer: str, state: str) -> None:
    given = "reading: {pause.verify: {json: {status: late}}}\n  " if state == "unknown" else ""
    lines = f"- {given}result: {{pause: {{done: {{status: {answer}}}}}}}\n- {{approve: bob}}\n"
    (told,) = tell(tmp_path, story(f"{lines}- {{at: 6m, expect: {{steps: {{pause: {state}}}}}}}")).told
    assert told.failures == ()


def test_a_request_that_no_connection_would_send_is_refused_as_in_production(tmp_path: Path) -> None:
    hosted = UNGATED.replace("body: {reason: late}}", "body: {reason: late}, headers: {Cookie: a}}")
    lines = (
        "- expect: {steps: {pause: refused}, pages: ['never sent: header Cookie cannot be set by a policy']}"
    )
    modes(tmp_path, hosted, lines)


# ── Rows ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("rows", "given", "outcome"),
    [
        ("1", "halve.preview: {count: 1}", "fixed"),
        ("1", "halve.preview: {count: 2}", "refused, reason: it would change more than 1 row"),
        ("1", "halve.preview: {count: 0}", 'refused, reason: "it would change 0 rows, not 1"'),
        ("{at_most: 5}", "halve.preview: {count: 5}", "fixed"),
        ("{at_most: 5}", "halve.preview: {count: 6}", "refused, reason: it would change more than 5 rows"),
        ("{at_most: 5}", "halve.preview: {count: 0}", "refused, reason: it would change no row"),
        ("1", "halve.result: {done: {count: 1}}", "fixed"),
        (
            "1",
            "halve.result: {done: {count: 2}}",
            'failed, reason: "never committed: it changed more than 1 row"',
        ),
        (
            "1",
            "halve.result: {done: {rows: 0}}",
            'failed, reason: "never committed: it changed 0 rows, not 1"',
        ),
    ],
)
def test_no_more_rows_change_in_a_story_than_would_in_earnest(
    rows: str, given: str, outcome: str, tmp_path: Path
) -> None:
    votes = "" if outcome.startswith("refused") else "approve: amina, "
    line = f"- {{at: 1m, {votes}expect: {{outcome: {outcome}}}}}"
    text = f"policy: pause-campaign\ngiven: {{{given}}}\ntests:\n" + story(line)
    found = suite(tmp_path, text, {"pause.yaml": HALVE.replace("ROWS", rows)})
    assert not found.findings, found.findings
    assert not run(found, known()[0]).failed


STILL = PAUSE.replace(
    "      after: 12h",
    """\
      still:
        use: http.get
        via: loyalty_api
        with: {path: '/api/campaigns/${campaign_id}'}
        when: verify.json.status == "paused"
      after: 12h""",
)
"""Taken back only if it is still paused."""
UNTOUCHED = "- {approve: bob, resolves: all}\n- {at: 12h, expect: {undone: pause, outcome: fixed, pages: []}}"
TOUCHED = """
    - approve: bob
      resolves: all
      reading: {pause.still: {json: {status: ended}}}
    - at: 12h
      expect: {undone: [], outcome: failed, pages: 'left alone'}
"""


def test_an_undo_with_a_condition_is_reached_when_it_was_sent_and_when_it_was_left_alone(
    tmp_path: Path,
) -> None:
    begins = HEAD.replace("tests:", "  pause.still: {json: {status: paused}}\ntests:")
    suited = {"pause.yaml": STILL}
    for stories, missing in (
        (story(UNTOUCHED), {"undos": ["pause left alone"]}),
        (story(TOUCHED), {"undos": ["pause"]}),
        (story(UNTOUCHED) + story(TOUCHED, name="another"), {}),
    ):
        found = suite(tmp_path, begins + stories, suited)
        assert not found.findings, found.findings
        report = run(found, known()[0])
        assert not report.failed, [one.failures for one in report.failed]
        (coverage,) = report.coverage.values()
        assert {"undos": [], **coverage.missing}["undos"] == missing.get("undos", [])


def test_a_story_that_does_not_say_whether_an_undo_may_be_sent_is_told_so(tmp_path: Path) -> None:
    report = run(suite(tmp_path, HEAD + story(UNTOUCHED), {"pause.yaml": STILL}), known()[0])
    (told,) = report.failed
    assert "pause.still" in str(told.failures)


QUEUE = """\
policy: queue
summary: The queue is long
mode: act
match: ['{alertname="QueueLong"}']
params: {jobs: {from: labels.jobs, type: int}, was: {from: labels.before, type: int}}
target: queue/email
decide: [{do: [faster]}]
steps:
  faster:
    use: command.run
    via: app_host
    with: {command: queue-concurrency, slots: {jobs: '${jobs}'}}
    gate: {votes: {oncall: 1}}
    verify: {none: whoever waits sees it}
    undo:
      use: command.run
      with: {command: queue-concurrency, slots: {jobs: '${was}'}}
      after: 1h
"""


@pytest.mark.parametrize(
    ("jobs", "before", "told"),
    [
        ("10", "5", "{outcome: fixed, undone: [faster]}"),
        ("11", "5", "{refused: {bound: preview, reason: 'never started: jobs: 11 is not within 1 to 10'}}"),
        ("10", "20", "{undone: [], pages: ['never started: jobs: 20 is not within 1 to 10']}"),
    ],
)
def test_a_declared_command_takes_no_more_in_a_story_than_in_earnest(
    jobs: str, before: str, told: str, tmp_path: Path
) -> None:
    shop = known(REPOSITORY / "examples" / "agape-looks.yaml")
    (tmp_path / "queue.yaml").write_text(QUEUE)
    votes = "" if jobs == "11" else "approve: bob, "
    lines = f"- {{at: 1m, {votes}resolves: all}}\n- {{at: 2h, expect: {told}}}"
    labels = f"{{alertname: QueueLong, jobs: '{jobs}', before: '{before}'}}"
    text = story(lines, begins=f"alert: {{labels: {labels}}}")
    (tmp_path / "queue.test.yaml").write_text(f"policy: queue\ntests:\n{text}")
    found = find([tmp_path], *shop)
    assert not found.findings, found.findings
    assert not [one.failures for one in run(found, shop[0]).failed]


@pytest.mark.parametrize(
    "expected", ["{refused: none}", "{run: 5, refused: none}", "{refused: {bound: none}}"]
)
def test_no_refusal_of_what_was_never_opened_says_nothing(tmp_path: Path, expected: str) -> None:
    slip = ALERT.replace("CampaignLate", "CampaignLat")
    (told,) = tell(tmp_path, story(f"- expect: {expected}", begins=slip)).told
    (failure,) = told.failures
    assert failure.actual.startswith("no run was opened")
    (fine,) = tell(tmp_path, story("- expect: {runs: 0, refused: none}", begins=slip)).told
    assert not fine.failures
