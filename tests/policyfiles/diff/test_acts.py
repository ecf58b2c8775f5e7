"""What a step is done with, and the cases that keep it away: both may be all that bounds an act."""

# ruff: noqa: E501 - in a table of cases, one line is one case
from __future__ import annotations

from contextlib import suppress
from itertools import product
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from remediator.connectors import operations
from remediator.core.catalog import Catalog, Connection, Kind, Param, Risk
from remediator.core.durations import parse_duration
from remediator.core.expression import Expression
from remediator.core.policy import Policy
from remediator.errors import EvaluationError
from remediator.policyfiles.diff.change import Change, Direction
from remediator.policyfiles.diff.policy import compare
from tests.core.campaign import policy, post, say, votes

LOOSENED, UNCLEAR, ACTS, TIGHTENED, NEUTRAL = Direction
OPERATIONS = tuple(operations())
OPERATION = {one.name: one for one in OPERATIONS}
CATALOG = Catalog.of(
    OPERATIONS,
    connections={
        "api": Connection("api", "http", {"POST /safe/*": Risk.SAFE}),
        "slack": Connection("slack", "slack"),
    },
)
WORKLOAD = {"kind": "deployment", "namespace": "shop", "name": "web"}
BUSY = {"state": "busy", "longer_than": "5m", "user": "shop"}
ACTIVE = {"state": "active", "longer_than": "1m", "user": "shop", "application": "worker"}
SILENCE: dict[str, Any] = {
    "matchers": {"alertname": "Slow", "severity": "low"},
    "for": "1h",
    "comment": "known",
}

STEPS = {"page": say("20 jobs failed"), "tell": say("one"), "retry": post("/retry")}

ARGUMENTS: list[tuple[str, dict[str, Any], dict[str, Any], Direction]] = [
    # (operation, its arguments, what is written over them, direction); None: left out
    ("mysql.kill", BUSY, {"longer_than": "1s"}, LOOSENED),
    ("mysql.kill", BUSY, {"longer_than": "10m"}, TIGHTENED),
    ("mysql.kill", BUSY, {"longer_than": "300s"}, NEUTRAL),
    ("mysql.kill", BUSY, {"user": None}, LOOSENED),
    ("mysql.kill", BUSY, {"user": "root"}, UNCLEAR),
    ("mysql.kill", BUSY, {"state": "idle"}, UNCLEAR),
    ("postgres.terminate", ACTIVE, {"longer_than": "1s"}, LOOSENED),
    ("postgres.terminate", ACTIVE, {"application": None}, LOOSENED),
    ("postgres.terminate", ACTIVE, {"user": None}, LOOSENED),
    ("postgres.maintain", {"task": "reindex", "table": "t", "index": "i"}, {"index": None}, LOOSENED),
    ("alertmanager.silence", SILENCE, {"for": "24h"}, LOOSENED),
    ("alertmanager.silence", SILENCE, {"for": "30m"}, TIGHTENED),
    ("alertmanager.silence", SILENCE, {"for": "a while"}, UNCLEAR),
    ("alertmanager.silence", SILENCE, {"matchers": {"severity": "low"}}, LOOSENED),
    ("alertmanager.silence", SILENCE, {"matchers": {**SILENCE["matchers"], "env": "test"}}, TIGHTENED),
    ("alertmanager.silence", SILENCE, {"matchers": {"alertname": "Slow", "severity": "high"}}, UNCLEAR),
    ("alertmanager.silence", SILENCE, {"comment": "known, and harmless"}, ACTS),
    ("kubernetes.scale", {**WORKLOAD, "replicas": 5}, {"replicas": 50}, UNCLEAR),
    ("kubernetes.scale", {**WORKLOAD, "replicas": 5}, {"replicas": 0}, UNCLEAR),
    ("kubernetes.resources", {**WORKLOAD, "container": "web", "limits": {"memory": "2Gi"}}, {"limits": {"memory": "64Gi"}}, UNCLEAR),
    ("redis.command", {"command": "memory", "slots": {"size": "1gb"}, "was": "2gb"}, {"was": None}, LOOSENED),
    ("command.run", {"command": "scale", "slots": {"to": 2}}, {"slots": {"to": 8}}, UNCLEAR),
    ("postgres.execute", {"sql": "UPDATE t SET a = $1 WHERE b", "args": ["${rate * 0.5}"]}, {"args": ["${rate * 0.0}"]}, UNCLEAR),
    ("postgres.execute", {"sql": "UPDATE t SET a = 0 WHERE a < 0"}, {"sql": "UPDATE t SET a = 0 WHERE a < 5"}, UNCLEAR),
    ("http.request", {"method": "POST", "path": "/pay", "body": {"times": 1}}, {"body": {"times": 9}}, UNCLEAR),
    ("http.request", {"method": "POST", "path": "/safe/x", "body": {"times": 1}}, {"body": {"times": 9}}, ACTS),
    ("slack.message", {"channel": "#ops", "text": "a"}, {"text": "b"}, ACTS),
    ("people.page", {"text": "a"}, {"chain": "night"}, ACTS),
]  # fmt: skip


def compared(old: Policy, new: Policy) -> tuple[Change, ...]:
    return compare(old, new, (CATALOG, CATALOG))


def worst(changes: tuple[Change, ...]) -> Direction:
    return min((one.direction for one in changes), default=NEUTRAL)


def doing(use: str, arguments: dict[str, Any]) -> Policy:
    """One step that does this."""
    given = {key: one for key, one in arguments.items() if one is not None}
    return policy(
        {"it": {"use": use, "via": "api", "with": given, "gate": {"waived": "so that it is one step"}}}
    )


@pytest.mark.parametrize(
    ("use", "arguments", "written", "direction"),
    ARGUMENTS,
    ids=[f"{row[0]}-{next(iter(row[2]))}-{number}" for number, row in enumerate(ARGUMENTS)],
)
def test_other_arguments_are_told_with_their_direction(
    use: str, arguments: dict[str, Any], written: dict[str, Any], direction: Direction
) -> None:
    old, new = doing(use, arguments), doing(use, arguments | written)
    there, back = compared(old, new), compared(new, old)
    assert [one.direction for one in there] == [direction], [str(one) for one in there]
    assert [one.direction for one in back] == [direction.reversed], [str(one) for one in back]


@pytest.mark.parametrize(("path", "direction"), [("/retry/${each}", UNCLEAR), ("/safe/${each}", ACTS)])
def test_another_list_is_another_act_for_each_item(path: str, direction: Direction) -> None:
    old, new = (
        policy({"it": post(path, for_each=items, at_most=9)})
        for items in ("${[1, 2, 3].filter(n, n < 3)}", "${[1, 2, 3]}")
    )
    assert [one.direction for one in compared(old, new)] == [direction]


def test_another_operation_in_its_place_needs_a_note() -> None:
    old, new = doing("kubernetes.restart", WORKLOAD), doing("kubernetes.rollback", WORKLOAD)
    assert [str(one) for one in compared(old, new) if one.direction is UNCLEAR] == [
        "steps.it: use kubernetes.restart → kubernetes.rollback"
    ]


def test_what_holds_an_act_back_is_said_of_acts_alone_and_of_times_that_are_times() -> None:
    held = [(one, name) for one in OPERATIONS for name, param in one.params.items() if param.holds]
    assert {one.kind for one, _ in held} == {Kind.ACTION}
    for use, arguments, written, _ in ARGUMENTS:
        known = OPERATION[use].params
        for name in written:
            param: Param = known[name]
            if param.holds in ("longer", "shorter"):
                assert parse_duration(arguments[name])
    assert {(one.name, name) for one, name in held} <= {
        (row[0], name) for row in ARGUMENTS for name in row[2]
    }


LAYOUTS: list[tuple[str, dict[str, Any], dict[str, Any], bool]] = [
    # (operation, its arguments, what is written over them, do they mean the same?)
    ("postgres.query", {"sql": "SELECT a FROM t WHERE b = $1"}, {"sql": "select a  -- all\nfrom t\nwhere b=$1\n"}, True),
    ("postgres.query", {"sql": "SELECT 'a b'"}, {"sql": "SELECT 'a  b'"}, False),
    ("postgres.query", {"sql": "SELECT a FROM t WHERE b"}, {"sql": "SELECT a FROM t WHERE NOT b"}, False),
    ("postgres.query", {"sql": "SELECT a", "args": ["${x+1}"]}, {"args": ["${ x + 1 }"]}, True),
    ("postgres.query", {"sql": "SELECT a", "args": ["${x+1}"]}, {"args": ["${x + 1.0}"]}, False),
    ("prometheus.query", {"query": 'sum(rate(a{b="c d"}[5m]))'}, {"query": 'sum(rate(a{b="c d"}[5m]))\n'}, True),
    ("prometheus.query", {"query": 'a{b="c d"} - c'}, {"query": 'a{b="c d"}\n    - c'}, True),
    ("prometheus.query", {"query": 'a{b="c d"}'}, {"query": 'a{b="c  d"}'}, False),
    ("prometheus.query", {"query": "a # less\n - b"}, {"query": "a # less - b"}, False),
    ("prometheus.query", {"query": 'a{b="${x}"}'}, {"query": 'a{b="${y}"}'}, False),
    ("http.get", {"path": "/a", "headers": {"A": "1", "B": "2"}}, {"headers": {"B": "2", "A": "1"}}, True),
    ("http.request", {"method": "POST", "path": "/a", "body": {"on": 1}}, {"body": {"on": True}}, False),
    ("http.request", {"method": "POST", "path": "/a", "body": {"on": 1}}, {"body": {"on": 1.0}}, False),
]  # fmt: skip


@pytest.mark.parametrize(("use", "arguments", "written", "same"), LAYOUTS)
def test_another_layout_is_no_change_and_another_value_is_one(
    use: str, arguments: dict[str, Any], written: dict[str, Any], same: bool
) -> None:
    act = OPERATION[use].kind is Kind.ACTION
    old, new = (
        doing(use, one) if act else cases(ACT, read={"use": use, "via": "api", "with": one})
        for one in (arguments, arguments | written)
    )
    assert [one.direction for one in compared(old, new)] == ([] if same else [UNCLEAR])


@pytest.mark.parametrize(
    ("read", "step", "decides"),
    [
        ({"optional": False}, post("/retry"), True),  # without it nothing is done
        ({"optional": False}, post("/safe/x"), False),
        ({"optional": True}, post("/retry"), False),  # nobody asks it
        ({"optional": True}, post("/retry/${read.status}"), True),
        ({"optional": True}, {**post("/retry"), "for_each": "${read.json}", "at_most": 2}, True),
    ],
)
def test_what_is_read_decides_where_something_that_is_not_safe_leans_on_it(
    read: dict[str, Any], step: dict[str, Any], decides: bool
) -> None:
    def reading(path: str) -> Policy:
        looks = {"use": "http.get", "via": "api", "with": {"path": path}, **read}
        return policy({"it": step, "tell": say("${string(read.ok)}")}, diagnose={"read": looks})

    (found,) = compared(reading("/a"), reading("/b"))
    words = "with.path /a → /b"
    assert (found.where, found.words, found.direction) == (
        ("diagnose.read", f"what decides changed: {words}", UNCLEAR)
        if decides
        else ("diagnose.read", words, ACTS)
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (["tell", "retry"], ["retry", "tell"], {LOOSENED: "retry no longer comes after tell", ACTS: "steps in another order"}),
        (["tell", "retry"], ["retry"], {LOOSENED: "retry no longer comes after tell", ACTS: "step tell removed"}),
        (["retry"], ["page", "retry"], {TIGHTENED: "retry comes after page now", ACTS: "step page added"}),
        (["tell", "retry"], ["page", "retry"], {UNCLEAR: "retry no longer comes after tell and comes after page now", ACTS: "step"}),
        (["drain", "retry"], ["retry"], {LOOSENED: "retry no longer comes after drain", TIGHTENED: "step drain removed"}),
        (["drain", "retry"], ["retry", "drain"], {LOOSENED: "retry no longer comes after drain", TIGHTENED: "drain comes after retry now", ACTS: "steps in another order"}),
        (["retry", "tell"], ["retry"], {ACTS: "step tell removed"}),
        (["heed", "retry"], ["retry", "heed"], {ACTS: "steps in another order"}),  # its failure stops nothing
    ],
)  # fmt: skip
def test_what_comes_before_an_act_may_keep_it_away(
    old: list[str], new: list[str], told: dict[Direction, str]
) -> None:
    more = {"drain": post("/drain"), "heed": say("one", on_failure="continue")}
    there = compared(*(policy({**STEPS, **more}, decide=[{"do": names}]) for names in (old, new)))
    assert {one.direction for one in there} == told.keys(), [str(one) for one in there]
    for one in there:
        assert told[one.direction] in str(one)


@pytest.mark.parametrize(("asks", "direction"), [("", ACTS), ("/${steps.quote.result.json.id}", UNCLEAR)])
def test_a_safe_step_on_whose_answer_an_act_depends_is_judged_as_the_act(
    asks: str, direction: Direction
) -> None:
    old, new = (
        policy(
            {"quote": post(f"/safe/{which}"), "pay": post(f"/pay{asks}")}, decide=[{"do": ["quote", "pay"]}]
        )
        for which in ("low", "high")
    )
    assert [one.direction for one in compared(old, new)] == [direction]


# ── Cases that keep a later one away ────────────────────────────────────────────────────────────

GUARD: dict[str, Any] = {"when": "failed.count > 20", "do": ["page"]}
ACT: dict[str, Any] = {"do": ["retry"]}
ASKED = {**ACT, "gate": votes(oncall=1)}


def cases(*written: dict[str, Any], read: dict[str, Any] | None = None) -> Policy:
    looks = read or {"use": "http.get", "via": "api", "with": {"path": "/f"}}
    return policy(STEPS, decide=list(written), diagnose={"failed": looks})


@pytest.mark.parametrize(
    ("old", "new", "direction"),
    [
        ((GUARD, ACT), (ACT,), LOOSENED),
        (({"when": "failed.count > 20", "do": "nothing"}, ACT), (ACT,), LOOSENED),
        ((GUARD, ACT), ({**GUARD, "when": "1 == 2"}, ACT), UNCLEAR),
        ((GUARD, ACT), ({**GUARD, "when": "failed.count > 2000"}, ACT), LOOSENED),
        ((GUARD, ACT), ({**GUARD, "when": "failed.count > 20 || failed.ok"}, ACT), TIGHTENED),
        ((GUARD, ACT), ({**GUARD, "when": "failed.ok || failed.count > 20"}, ACT), TIGHTENED),
        ((GUARD, ACT), ({**GUARD, "when": "failed.ok && failed.count > 20 || true"}, ACT), UNCLEAR),
        ((GUARD, ACT), ({**GUARD, "when": "!(failed.count <= 20)"}, ACT), NEUTRAL),
        ((GUARD, ACT), ({**GUARD, "when": "(failed.count>20)"}, ACT), NEUTRAL),
        ((GUARD, ACT), ({"when": "failed.count > 9", **ACT}, GUARD), UNCLEAR),
        ((GUARD, ACT), ({**GUARD, "do": ["tell", "page"]}, ACT), ACTS),
        ((ACT,), (GUARD, ACT), TIGHTENED),
        (({"when": "failed.count > 2", "do": ["retry"]}, GUARD), ({"when": "failed.count > 2", "do": ["retry"]},), ACTS),
        ((GUARD, {"do": ["tell"]}), ({**GUARD, "when": "failed.count > 30"}, {"do": ["tell"]}), ACTS),
        ((GUARD, {"when": "failed.count > 2", **ASKED}), (GUARD, {"when": "failed.count > 1", **ASKED}), LOOSENED),
        ((GUARD, {"when": "failed.count > 2", **ASKED}), (GUARD, {"when": "failed.count > 2 && failed.ok", **ASKED}), TIGHTENED),
        ((GUARD, {"when": "failed.count > 2", **ASKED}), (GUARD, ASKED), LOOSENED),
        (({"when": "failed.count > 2", **ASKED}, ACT), ({"when": "failed.count > 3", **ASKED}, ACT), UNCLEAR),  # ACT takes them
    ],
)  # fmt: skip
def test_a_case_that_only_tells_keeps_a_later_act_away(
    old: tuple[dict[str, Any], ...], new: tuple[dict[str, Any], ...], direction: Direction
) -> None:
    found = compared(cases(*old), cases(*new))
    assert worst(found) is direction, [str(one) for one in found]


PATHS = st.sampled_from(["failed.a", "failed.b"])
COMPARED = st.builds(
    "{} {} {}".format, PATHS, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), st.integers(0, 2)
)
CONDITIONS = st.recursive(
    COMPARED | PATHS | st.just("true"),
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["&&", "||"]), inner)
        | st.builds("!({})".format, inner)
    ),
    max_leaves=4,
)
MISSING = object()
FIELDS = (MISSING, None, True, False, "text", -1, 0, 1, 2, 3)
WORLDS = [
    {name: value for name, value in zip("ab", both, strict=True) if value is not MISSING}
    for both in product(FIELDS, repeat=2)
]
"""Values that are there, and fields that are not."""


def acts_on(when: str, *, guards: bool) -> set[int]:
    """The worlds in which something is done: an error refuses the run."""
    condition = Expression.parse(when)
    found = set()
    for number, world in enumerate(WORLDS):
        with suppress(EvaluationError):
            if condition.evaluate({"failed": world}) is (not guards):
                found.add(number)
    return found


@given(CONDITIONS, CONDITIONS, st.booleans())
@example("failed.b > 1 || failed.a > 1", "failed.a > 1", False)  # where b cannot be read nothing was done
@example("failed.a > 1", "(failed.a > 2 || failed.b)", True)
@settings(max_examples=100, deadline=None)
def test_a_when_that_is_called_tighter_lets_nothing_be_done_that_was_not(
    old: str, new: str, guards: bool
) -> None:
    """Tried in every world, by what the engine itself evaluates; and looser the other way round."""
    before, after = (
        cases(*([{"when": one, "do": "nothing"}, ACT] if guards else [{"when": one, **ASKED}]))
        for one in (old, new)
    )
    direction = worst(compared(before, after))
    was, is_ = acts_on(old, guards=guards), acts_on(new, guards=guards)
    if direction in (TIGHTENED, NEUTRAL):
        assert is_ <= was
    if direction in (LOOSENED, NEUTRAL):
        assert was <= is_
    assert direction is not ACTS
