"""What a step is done with, and the cases that keep it away: both may be all that bounds an act."""

# ruff: noqa: E501 - in a table of cases, one line is one case
from __future__ import annotations

from typing import Any

import pytest

from remediator.connectors import operations
from remediator.core.catalog import Catalog, Connection, Kind, Param, Risk
from remediator.core.durations import parse_duration
from remediator.core.policy import Policy
from remediator.policyfiles.diff.change import Change, Direction
from remediator.policyfiles.diff.policy import compare
from tests.core.campaign import policy, post, say, votes

LOOSENED, UNCLEAR, ACTS, TIGHTENED, NEUTRAL = Direction
OPERATIONS = tuple(operations())
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
        known = {one.name: one for one in OPERATIONS}[use].params
        for name in written:
            param: Param = known[name]
            if param.holds in ("longer", "shorter"):
                assert parse_duration(arguments[name])
    assert {(one.name, name) for one, name in held} <= {
        (row[0], name) for row in ARGUMENTS for name in row[2]
    }


# ── Cases that keep a later one away ────────────────────────────────────────────────────────────

STEPS = {"page": say("20 jobs failed"), "tell": say("one"), "retry": post("/retry")}
GUARD: dict[str, Any] = {"when": "failed.count > 20", "do": ["page"]}
ACT: dict[str, Any] = {"do": ["retry"]}
ASKED = {**ACT, "gate": votes(oncall=1)}


def cases(*written: dict[str, Any]) -> Policy:
    return policy(
        STEPS,
        decide=list(written),
        diagnose={"failed": {"use": "http.get", "via": "api", "with": {"path": "/f"}}},
    )


@pytest.mark.parametrize(
    ("old", "new", "direction"),
    [
        ((GUARD, ACT), (ACT,), LOOSENED),
        (({"when": "failed.count > 20", "do": "nothing"}, ACT), (ACT,), LOOSENED),
        ((GUARD, ACT), ({**GUARD, "when": "1 == 2"}, ACT), UNCLEAR),
        ((GUARD, ACT), ({**GUARD, "when": "failed.count > 2000"}, ACT), UNCLEAR),
        ((GUARD, ACT), ({"when": "failed.count > 9", **ACT}, GUARD), UNCLEAR),
        ((GUARD, ACT), ({**GUARD, "do": ["tell", "page"]}, ACT), ACTS),
        ((ACT,), (GUARD, ACT), TIGHTENED),
        (({"when": "failed.count > 2", "do": ["retry"]}, GUARD), ({"when": "failed.count > 2", "do": ["retry"]},), ACTS),
        ((GUARD, {"do": ["tell"]}), ({**GUARD, "when": "failed.count > 30"}, {"do": ["tell"]}), ACTS),
        ((GUARD, {"when": "failed.count > 2", **ASKED}), (GUARD, {"when": "failed.count > 1", **ASKED}), ACTS),
        ((GUARD, {"when": "failed.count > 2", **ACT}), (GUARD, {"when": "failed.count > 1", **ACT}), UNCLEAR),  # waived
    ],
)  # fmt: skip
def test_a_case_that_only_tells_keeps_a_later_act_away(
    old: tuple[dict[str, Any], ...], new: tuple[dict[str, Any], ...], direction: Direction
) -> None:
    found = compared(cases(*old), cases(*new))
    assert worst(found) is direction, [str(one) for one in found]
