"""Each expectation fails where it should: told with what was expected and what is, at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from remediator.policyfiles.testing.expectations import ABOUT_ALL, ABOUT_RUN, same
from remediator.policyfiles.testing.models import Expect, GateText, RefusalText
from tests.policyfiles.testing.stage import ALERT, story, tell

WAITING = "- expect: {%s}"
HOLDING = """
- approve: bob
- at: 1m
  expect: {%s}
"""
CLOSED = """
- at: 1m
  deny: {by: bob, reason: the sale ends tonight}
  expect: {%s}
"""
REFUSED = """
- halt: {reason: it reads nonsense}
  approve: bob
- expect: {%s}
"""

WRONG = [
    # when, expectation, expected, actual
    (WAITING, "run: 2, outcome: fixed", "run 2", "1 run"),
    (WAITING, "runs: 0", "0", "1"),
    (WAITING, "mode: observe", "observe", "act"),
    (WAITING, "stage: closed", "closed", "waiting"),
    (WAITING, "outcome: fixed", "fixed", "open (waiting)"),
    (CLOSED, "outcome: fixed", "fixed", "denied: denied by bob: the sale ends tonight"),
    (CLOSED, "reason: [denied by, amina]", "denied by … amina", "denied by bob: the sale ends tonight"),
    (WAITING, "case: 1", "1", "2"),
    (WAITING, "case: nothing", "nothing", "2"),
    (WAITING, "gate: none", "no open gate", "r-1.1 for pause, 1 of ops_marketing"),
    (WAITING, "gate: {state: approved}", "approved", "open"),
    (WAITING, "gate: {steps: []}", "none", "pause"),
    (WAITING, "gate: {votes: {ops_marketing: 2}}", "2 of ops_marketing", "1 of ops_marketing"),
    (WAITING, "gate: {votes: {oncall: 1}}", "1 of oncall", "1 of ops_marketing"),
    (WAITING, "gate: {within: 15m}", "15m", "30m"),
    (WAITING, "gate: {late: deny}", "deny", "page"),
    (CLOSED, "reason: []", "none", "denied by bob: the sale ends tonight"),
    (WAITING, "card: []", "no card", "Approval needed: pause-campaign"),
    (WAITING, "card: [pause, resume all]", "resume all", "Approval needed: pause-campaign"),
    (
        WAITING,
        "args: {pause: {path: /api/campaigns/c-2/pause}}",
        "/api/campaigns/c-2/pause",
        "/api/campaigns/c-1/pause",
    ),
    (
        WAITING,
        "args: {pause: {body: {reason: late, force: true}}}",
        "{reason: late, force: true}",
        "{reason: late}",
    ),
    (WAITING, "started: pause", "pause", "none"),
    (HOLDING, "started: []", "none", "pause"),
    (HOLDING, "order: []", "none", "pause"),
    (HOLDING, "steps: {pause: unverified}", "unverified", "verified"),
    (WAITING, "would: pause", "pause", "none"),
    (HOLDING, "held: {pause: 6h}", "until 6h", "until 12h"),
    (HOLDING, "held: []", "none", "pause"),
    (WAITING, "held: {pause: 6h}", "until 6h", "it does not stand"),
    (HOLDING, "undone: pause", "pause", "none"),
    (WAITING, "refused: cooldown", "cooldown", "none"),
    (REFUSED, "refused: none", "none", "halt: halted by amina (all)"),
    (
        REFUSED,
        "refused: {bound: halt, reason: an incident}",
        "halt: an incident",
        "halt: halted by amina (all)",
    ),
    (CLOSED, "pages: the sale", "a page that says: the sale", "none"),
    (CLOSED, "pages: [the sale]", "the sale", "none"),
    (REFUSED, "pages: []", "none", "people had agreed, and it was not done"),
]


@pytest.mark.parametrize(("when", "expect", "expected", "actual"), WRONG)
def test_what_is_not_so_is_told(tmp_path: Path, when: str, expect: str, expected: str, actual: str) -> None:
    (told,) = tell(tmp_path, story(when % expect)).told
    (failure,) = told.failures
    assert failure.expected == expected
    assert actual in failure.actual
    file, line, _ = failure.where.split(":")
    assert file.endswith("pause.test.yaml")
    stands = (tmp_path / "pause.test.yaml").read_text().split("\n")[int(line) - 1]
    assert expect.partition(":")[0] in stands


RIGHT = [
    (
        WAITING,
        "run: last, runs: 1, mode: act, stage: waiting, outcome: open, case: 2, started: [], order: []",
    ),
    (WAITING, "gate: {steps: [pause], votes: {ops_marketing: 1}, state: open, within: 30m, late: page}"),
    (WAITING, "card: [Approval needed, c-1], args: {pause: {method: POST, body: {reason: late}}}, would: []"),
    (WAITING, "reason: []"),
    (HOLDING, "started: pause, order: [pause], steps: {pause: verified}, held: {pause: 12h}, undone: []"),
    (HOLDING, "gate: none, held: [pause], refused: none, pages: []"),
    (CLOSED, "outcome: denied, reason: [bob, sale], gate: {state: denied}, pages: []"),
    (REFUSED, "refused: {bound: halt, reason: [halted, nonsense]}, pages: [it was not done]"),
]


@pytest.mark.parametrize(("when", "expect"), RIGHT)
def test_what_is_so_passes(tmp_path: Path, when: str, expect: str) -> None:
    (told,) = tell(tmp_path, story(when % expect)).told
    assert told.failures == ()


def test_every_key_of_an_expectation_is_shown_to_fail() -> None:
    assert {*ABOUT_ALL, *ABOUT_RUN, "run"} == set(Expect.model_fields)
    said = " ".join(expect for _, expect, _, _ in WRONG)
    keys = {*Expect.model_fields, *GateText.model_fields, *RefusalText.model_fields} - {"again"}
    assert [key for key in sorted(keys) if f"{key}:" not in said] == []


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (0.1, "0.1", False),
        (1, 1.0, True),
        (True, 1, False),
        ([1, {"a": 0.5}], [1.0, {"a": 0.50}], True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([1], [1, 2], False),
        (None, 0, False),
        (None, None, True),
    ],
)
def test_values_are_compared_by_what_they_are_worth(one: object, other: object, *, alike: bool) -> None:
    assert same(one, other) is alike


def test_a_refusal_says_when_it_is_considered_again(tmp_path: Path) -> None:
    lines = "- expect: {refused: {bound: probe, again: %s}}"
    begins = f"{ALERT}\n    given: {{campaign: {{error: timeout}}}}"
    (right,) = tell(tmp_path, story(lines % "10m", begins=begins)).told
    (wrong,) = tell(tmp_path, story(lines % "5m", begins=begins)).told
    assert right.failures == ()
    assert wrong.failures[0].actual == "probe: campaign: timeout, again at 10m"
