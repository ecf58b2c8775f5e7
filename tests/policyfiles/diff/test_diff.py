"""What changed in words, and which way: every field of the language, both ways round."""

# ruff: noqa: E501 - in a table of cases, one line is one case
from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from remediator.config import Config
from remediator.connectors import catalog
from remediator.core.catalog import Catalog, Connection, Kind, Operation, Reach, Risk
from remediator.core.policy import Policy
from remediator.core.risk import risk_of
from remediator.core.steps import AtMost
from remediator.policyfiles.diff.change import Change, Direction
from remediator.policyfiles.diff.compare import Side, Written, difference
from remediator.policyfiles.diff.connections import endpoints
from remediator.policyfiles.diff.judges import At
from remediator.policyfiles.diff.policy import TABLES, compare
from remediator.policyfiles.diff.settings import compare as compare_settings
from remediator.policyfiles.diff.telling import lines, summary

CATALOG = Catalog.of(
    [
        Operation("http.get", Kind.PROBE, "", {}),
        Operation("postgres.query", Kind.PROBE, "", {}),
        Operation("http.request", Kind.ACTION, "", {}, risk=Risk.DISRUPTIVE),
        Operation("postgres.execute", Kind.ACTION, "", {}, risk=Risk.DESTRUCTIVE),
        Operation("slack.message", Kind.ACTION, "", {}),
    ],
    connections={
        "api": Connection(
            "api", "http", {"POST /safe": Risk.SAFE, "POST /mild": Risk.SAFE, "POST /worse": Risk.DESTRUCTIVE}
        ),
        "db": Connection("db", "postgres"),
        "slack": Connection("slack", "slack"),
    },
    escalations={
        "default": {"oncall": timedelta(), "lead": timedelta(minutes=15)},
        "slow": {"oncall": timedelta(hours=48)},
        "quick": {"oncall": timedelta(), "lead": timedelta(minutes=5)},
        "again": {"oncall": timedelta(), "lead": timedelta(minutes=15)},
        "other": {"oncall": timedelta(minutes=5), "lead": timedelta(minutes=5)},
    },
)

WHOLE: dict[str, Any] = {
    "policy": "budget",
    "summary": "The budget is spent",
    "owner": "loyalty",
    "runbook": "docs/budget.md",
    "severity": "high",
    "mode": "suggest",
    "match": ['{alertname="Budget", env=~"prod|staging"}'],
    "recheck": "5m",
    "params": {
        "program": {"from": "labels.program", "type": "string", "pattern": "a|b"},
        "size": {"from": "labels.size", "type": "enum", "values": ["s", "m"], "default": "s"},
    },
    "target": "program/${program}",
    "bounds": {
        "cooldown": "30m",
        "per_target": "3 in 24h",
        "per_policy": "10 in 1h",
        "at_once": 2,
        "deadline": "6h",
        "budget": "rates",
        "breaker": {"failures": 3, "within": "24h", "mode": "observe", "for": "4h"},
        "windows": {"not": ["Fri 16:00-20:00 Africa/Dakar", "Sat 16:00-20:00 Africa/Dakar"]},
    },
    "diagnose": {
        "budget": {"use": "postgres.query", "via": "db", "with": {"sql": "SELECT a\nFROM t"}, "expect": "any rows"},
        "extra": {"use": "http.get", "via": "api", "with": {"path": "/x"}, "optional": True},
    },
    "decide": [
        {"when": "budget.row.left > 10.0", "do": "nothing"},
        {"when": "budget.row.left > 5.0", "try": ["warn", "halve"]},
        {"do": ["warn", "halve"], "gate": {"votes": {"finance": 2, "ops": 1}, "within": "15m", "late": "page"}},
    ],
    "steps": {
        "warn": {"use": "slack.message", "with": {"channel": "C0", "text": "hm"}},
        "halve": {
            "use": "postgres.execute",
            "via": "db",
            "with": {"sql": "UPDATE t SET a = $1 WHERE id = $2", "args": ["x"]},
            "rows": {"at_most": 5},
            "gate": {"votes": {"finance": 1}},
            "verify": {"use": "http.get", "via": "api", "with": {"path": "/v"}, "until": "verify.ok", "within": "10m", "every": "30s", "for": "1m"},
            "undo": {
                "use": "http.request",
                "via": "api",
                "with": {"path": "/u"},
                "after": "24h",
                "early": ["unverified", {"use": "http.get", "via": "api", "with": {"path": "/e"}, "until": "verify.ok", "every": "30s", "for": "2m"}],
                "still": {"use": "http.get", "via": "api", "with": {"path": "/s"}, "when": "verify.ok"},
                "verify": {"none": "trust"},
            },
            "on_failure": "page",
            "for_each": "${budget.rows}",
            "at_most": 10,
            "stop_after": 3,
        },
    },
    "page": {"chain": "default"},
}  # fmt: skip

BOTH = (CATALOG, CATALOG)
LOOSENED, UNCLEAR, ACTS, TIGHTENED, NEUTRAL = Direction
GONE = object()
HALVE, UNDO, EARLY = "steps.halve", "steps.halve.undo", "steps.halve.undo.early.1"
WATCH = {"use": "http.get", "via": "api", "with": {"path": "/w"}, "key": ["id"], "every": "5m"}

TABLE: list[tuple[str, str, object, Direction, str]] = [
    # (Model.field, where in WHOLE, the new value, direction, words)
    ("Policy.summary", "summary", "Other", NEUTRAL, "summary The budget is spent → Other"),
    ("Policy.owner", "owner", "ops", NEUTRAL, "owner loyalty → ops"),
    ("Policy.runbook", "runbook", "x.md", NEUTRAL, "runbook docs/budget.md → x.md"),
    ("Policy.severity", "severity", "low", LOOSENED, "severity high → low"),
    ("Policy.mode", "mode", "act", LOOSENED, "mode suggest → act"),
    ("Policy.mode", "mode", "observe", TIGHTENED, "mode suggest → observe"),
    ("Policy.match", "match", ['{alertname="Budget"}'], LOOSENED, 'also matches {alertname="Budget"}'),
    ("Policy.match", "match", ['{alertname="Budget", env="prod"}'], TIGHTENED, "no longer matches"),
    ("Policy.match", "match", [*WHOLE["match"], '{alertname="Spent"}'], LOOSENED, 'also matches {alertname="Spent"}'),
    ("Policy.match", "match", ['{alertname="Spent"}'], UNCLEAR, "no longer matches"),
    ("Policy.match", "match", ['{alertname="Budget", env!="dev"}'], UNCLEAR, "also matches"),
    ("Policy.recheck", "recheck", "1m", NEUTRAL, "recheck 5m → 1m"),
    ("Policy.target", "target", "campaign/${program}", UNCLEAR, "target program/${program} → campaign/${program}"),
    ("Policy.params", "params.new", {"from": "labels.x", "type": "int"}, ACTS, "param new added"),
    ("Param.from_", "params.program.from", "labels.other", UNCLEAR, "params.program: from labels.program → labels.other"),
    ("Param.type", "params.size.type", "string", UNCLEAR, "params.size: type enum → string"),
    ("Param.pattern", "params.program.pattern", "a|b|c", LOOSENED, "pattern a|b → a|b|c"),
    ("Param.pattern", "params.program.pattern", "a", TIGHTENED, "pattern a|b → a"),
    ("Param.pattern", "params.program.pattern", "[a-b]+", UNCLEAR, "pattern a|b → [a-b]+"),
    ("Param.pattern", "params.program.pattern", GONE, LOOSENED, "pattern a|b → none"),
    ("Param.values", "params.size.values", ["s", "m", "l"], LOOSENED, "values gained l"),
    ("Param.values", "params.size.values", ["m", "s"], NEUTRAL, "values in another order"),
    ("Param.default", "params.size.default", GONE, TIGHTENED, "default removed (was s)"),
    ("Param.default", "params.program.default", None, LOOSENED, "default added: none"),
    ("Param.default", "params.size.default", "m", UNCLEAR, "default s → m"),
    ("Policy.bounds", "bounds.cooldown", "5m", LOOSENED, "bounds: cooldown 30m → 5m"),
    ("Bounds.cooldown", "bounds.cooldown", "1h", TIGHTENED, "cooldown 30m → 1h"),
    ("Bounds.cooldown", "bounds.cooldown", GONE, NEUTRAL, ""),  # what is not written is the default
    ("Bounds.per_target", "bounds.per_target", "4 in 24h", LOOSENED, "per_target 3 in 1d → 4 in 1d"),
    ("Bounds.per_target", "bounds.per_target", "3 in 12h", LOOSENED, "per_target 3 in 1d → 3 in 12h"),
    ("Bounds.per_target", "bounds.per_target", "2 in 48h", TIGHTENED, "per_target 3 in 1d → 2 in 2d"),
    ("Bounds.per_target", "bounds.per_target", "6 in 48h", UNCLEAR, "per_target"),
    ("Bounds.per_policy", "bounds.per_policy", "11 in 1h", LOOSENED, "per_policy 10 in 1h → 11 in 1h"),
    ("Bounds.at_once", "bounds.at_once", 3, LOOSENED, "at_once 2 → 3"),
    ("Bounds.deadline", "bounds.deadline", "7h", LOOSENED, "deadline 6h → 7h"),
    ("Bounds.budget", "bounds.budget", GONE, LOOSENED, "budget rates → none"),
    ("Bounds.budget", "bounds.budget", "other", UNCLEAR, "budget rates → other"),
    ("Bounds.breaker", "bounds.breaker", GONE, LOOSENED, "breaker removed"),
    ("Breaker.failures", "bounds.breaker.failures", 4, LOOSENED, "bounds.breaker: failures 3 → 4"),
    ("Breaker.within", "bounds.breaker.within", "1h", LOOSENED, "within 1d → 1h"),
    ("Breaker.mode", "bounds.breaker.mode", "suggest", LOOSENED, "mode observe → suggest"),
    ("Breaker.for_", "bounds.breaker.for", "1h", LOOSENED, "for 4h → 1h"),
    ("Bounds.windows", "bounds.windows", GONE, LOOSENED, "windows removed"),
    ("Windows.not_", "bounds.windows.not", ["Fri 16:00-20:00 Africa/Dakar"], LOOSENED, "not lost Sat"),
    ("Windows.only", "bounds.windows", {"only": ["Mon 09:00-17:00 Africa/Dakar"]}, UNCLEAR, "windows"),
    ("Policy.diagnose", "diagnose.budget", GONE, LOOSENED, "probe budget removed"),
    ("Policy.diagnose", "diagnose.extra", GONE, ACTS, "probe extra removed"),
    ("Probe.use", "diagnose.extra.use", "postgres.query", ACTS, "use http.get → postgres.query"),
    ("Probe.via", "diagnose.extra.via", "db", ACTS, "via api → db"),
    ("Probe.via", "diagnose.budget.via", "other", UNCLEAR, "diagnose.budget: what decides changed: via db → other"),
    ("Probe.with_", "diagnose.budget.with.sql", "SELECT b\nFROM t", UNCLEAR, "diagnose.budget: what decides changed: SQL of budget changed"),
    ("Probe.with_", "diagnose.extra.with.path", "/y", ACTS, "diagnose.extra: with.path /x → /y"),
    ("Probe.expect", "diagnose.budget.expect", GONE, LOOSENED, "expect any rows → none"),
    ("Probe.expect", "diagnose.budget.expect", "one row", TIGHTENED, "expect any rows → one row"),
    ("Probe.expect", "diagnose.budget.expect", "no rows", UNCLEAR, "expect any rows → no rows"),
    ("Probe.optional", "diagnose.budget.optional", True, LOOSENED, "optional false → true"),
    ("Policy.decide", "decide.0", GONE, LOOSENED, "case 1 removed: when budget.row.left > 10.0, do nothing"),
    ("Policy.decide", "decide.1", GONE, UNCLEAR, "case 2 removed"),
    ("Policy.decide", "decide.2", GONE, TIGHTENED, "case 3 removed"),
    ("Case.when", "decide.1.when", "budget.row.left > 6.0", UNCLEAR, "decide, case 2: when budget.row.left > 5.0 → budget.row.left > 6.0"),
    ("Case.when", "decide.0.when", "budget.row.left > 11.0", LOOSENED, "decide, case 1: when budget.row.left > 10.0 → budget.row.left > 11.0"),
    ("Case.do", "decide.2.do", ["warn"], TIGHTENED, "decide, case 3: step halve removed"),
    ("Case.do", "decide.2.do", ["halve"], LOOSENED, "decide, case 3: halve no longer comes after warn"),
    ("Case.do", "decide.2.do", ["halve", "warn"], LOOSENED, "decide, case 3: halve no longer comes after warn"),
    ("Case.do", "decide.0.do", ["halve"], LOOSENED, "decide, case 1: step halve added"),
    ("Case.try_", "decide.1", {"when": "budget.row.left > 5.0", "do": ["warn", "halve"]}, UNCLEAR, "try warn, halve → do warn, halve"),
    ("Case.gate", "decide.2.gate", GONE, LOOSENED, "gate"),
    ("Gate.within", "decide.2.gate.within", "1h", LOOSENED, "steps.warn, halve: gate within 15m → 1h"),
    ("Gate.late", "decide.2.gate.late", "deny", LOOSENED, "late page → deny"),
    ("Gate.votes", "decide.2.gate.votes", {"ops": 1}, LOOSENED, "steps.warn, halve: gate lost finance"),
    ("Gate.waived", f"{HALVE}.gate", {"waived": "fine"}, LOOSENED, "gate"),
    ("Policy.steps", "steps.more", {"use": "http.request", "via": "api", "with": {}}, LOOSENED, "new disruptive step more: http.request on api"),
    ("Policy.steps", "steps.more", {"use": "slack.message", "with": {}}, ACTS, "new safe step more"),
    ("Step.use", f"{HALVE}.use", "http.request", UNCLEAR, "is disruptive now, was destructive"),
    ("Step.use", "steps.warn", {**WHOLE["steps"]["warn"], "use": "http.request", "via": "api"}, LOOSENED, "is disruptive now, was safe"),
    ("Step.via", f"{HALVE}.via", "other", UNCLEAR, "via db → other"),
    ("Step.with_", f"{HALVE}.with.sql", "UPDATE t SET a = $1 WHERE id > $2", UNCLEAR, "SQL of halve changed"),
    ("Step.with_", f"{HALVE}.with.args", ["y"], UNCLEAR, 'with.args ["x"] → ["y"]'),
    ("Step.with_", f"{HALVE}.with.more", 1, UNCLEAR, "with.more added: 1"),
    ("Step.rows", f"{HALVE}.rows", {"at_most": 6}, LOOSENED, "rows at most 5 → at most 6"),
    ("AtMost.at_most", f"{HALVE}.rows.at_most", 4, TIGHTENED, "rows at most 5 → at most 4"),
    ("Step.rows", f"{HALVE}.rows", 5, UNCLEAR, "rows at most 5 → 5"),
    ("Step.rows", f"{HALVE}.rows", 6, UNCLEAR, "rows at most 5 → 6"),
    ("Step.rows", f"{HALVE}.rows", GONE, LOOSENED, "rows at most 5 → any number"),
    ("Step.gate", f"{HALVE}.gate.votes", {"finance": 2}, TIGHTENED, "steps.halve: gate asks 2 of finance instead of 1"),
    ("Step.verify", f"{HALVE}.verify", {"none": "no way"}, LOOSENED, "verify removed: no way"),
    ("Verify.use", f"{HALVE}.verify.use", "postgres.query", UNCLEAR, "use http.get → postgres.query"),
    ("Verify.via", f"{HALVE}.verify.via", "db", UNCLEAR, "steps.halve.verify: via api → db"),
    ("Verify.with_", f"{HALVE}.verify.with.path", "/z", UNCLEAR, "with.path /v → /z"),
    ("Verify.until", f"{HALVE}.verify.until", "true", UNCLEAR, "until verify.ok → true"),
    ("Verify.within", f"{HALVE}.verify.within", "1h", LOOSENED, "within 10m → 1h"),
    ("Verify.every", f"{HALVE}.verify.every", "1m", LOOSENED, "every 30s → 1m"),
    ("Verify.for_", f"{HALVE}.verify.for", "0s", LOOSENED, "for 1m → 0s"),
    ("Verify.none", f"{UNDO}.verify.none", "hope", NEUTRAL, "none trust → hope"),
    ("Step.undo", f"{HALVE}.undo", {"none": "stays"}, LOOSENED, "undo removed: stays"),
    ("Step.undo", f"{HALVE}.undo", GONE, LOOSENED, "undo removed"),
    ("Undo.none", f"{HALVE}.undo", {"none": "stays"}, LOOSENED, "undo removed: stays"),
    ("Undo.how", f"{HALVE}.undo", {**{k: v for k, v in WHOLE["steps"]["halve"]["undo"].items() if k not in ("use", "via", "with")}, "how": "restore"}, UNCLEAR, "how none → restore"),
    ("Undo.use", f"{UNDO}.use", "postgres.execute", UNCLEAR, "use http.request → postgres.execute"),
    ("Undo.via", f"{UNDO}.via", "db", UNCLEAR, "via api → db"),
    ("Undo.with_", f"{UNDO}.with.path", "/other", UNCLEAR, "with.path /u → /other"),
    ("Undo.after", f"{UNDO}.after", "48h", LOOSENED, "steps.halve.undo: after 1d → 2d"),
    ("Undo.after", f"{UNDO}.after", GONE, LOOSENED, "after 1d → none"),
    ("Undo.early", f"{UNDO}.early", ["unverified"], LOOSENED, "early lost"),
    ("Undo.early", f"{UNDO}.early.0", "resolved", UNCLEAR, "early gained resolved and lost unverified"),
    ("Undo.verify", f"{UNDO}.verify", WHOLE["steps"]["halve"]["verify"], TIGHTENED, "verify added"),
    ("Undo.still", f"{UNDO}.still", GONE, LOOSENED, "still removed"),
    ("Still.use", f"{UNDO}.still.use", "postgres.query", UNCLEAR, "use http.get → postgres.query"),
    ("Still.via", f"{UNDO}.still.via", "db", UNCLEAR, "via api → db"),
    ("Still.with_", f"{UNDO}.still.with.path", "/f", UNCLEAR, "with.path /s → /f"),
    ("Still.when", f"{UNDO}.still.when", "true", UNCLEAR, "steps.halve.undo.still: when verify.ok → true"),
    ("EarlyProbe.use", f"{EARLY}.use", "postgres.query", UNCLEAR, "use http.get → postgres.query"),
    ("EarlyProbe.via", f"{EARLY}.via", "db", UNCLEAR, "via api → db"),
    ("EarlyProbe.with_", f"{EARLY}.with.path", "/f", UNCLEAR, "with.path /e → /f"),
    ("EarlyProbe.until", f"{EARLY}.until", "true", UNCLEAR, "steps.halve.undo.early: until verify.ok → true"),
    ("EarlyProbe.every", f"{EARLY}.every", "1m", LOOSENED, "every 30s → 1m"),
    ("EarlyProbe.for_", f"{EARLY}.for", "5m", LOOSENED, "for 2m → 5m"),
    ("Step.on_failure", f"{HALVE}.on_failure", "continue", LOOSENED, "on_failure page → continue"),
    ("Step.on_failure", f"{HALVE}.on_failure", "undo_all", UNCLEAR, "on_failure page → undo_all"),
    ("Step.for_each", f"{HALVE}.for_each", "${budget.row.items}", UNCLEAR, "for_each ${budget.rows} → ${budget.row.items}"),
    ("Step.at_most", f"{HALVE}.at_most", 11, LOOSENED, "at_most 10 → 11"),
    ("Step.stop_after", f"{HALVE}.stop_after", GONE, TIGHTENED, "stop_after 3 → 1"),
    ("Step.with_", f"{HALVE}.with.ok", [200, 404], UNCLEAR, "with.ok added: [200, 404]"),
    ("Step.with_", f"{HALVE}.with.ok", [*range(200, 300), 404], LOOSENED, "with.ok added"),
    ("Step.with_", f"{HALVE}.with.ok", [200], TIGHTENED, "with.ok added: [200]"),
    ("Policy.page", "page.chain", "slow", LOOSENED, "page: chain default → slow"),
    ("Page.chain", "page.chain", "other", UNCLEAR, "chain default → other"),
    ("Page.chain", "page.chain", "quick", TIGHTENED, "chain default → quick"),
    ("Page.chain", "page.chain", "again", NEUTRAL, "chain default → again"),
    ("Page.chain", "page.chain", "unknown", UNCLEAR, "chain default → unknown"),
]  # fmt: skip

WATCHED = {**{key: value for key, value in WHOLE.items() if key != "match"}, "watch": WATCH}
WATCHES: list[tuple[str, str, object, Direction, str]] = [
    ("Policy.watch", "watch.every", "1m", NEUTRAL, "watch: every 5m → 1m"),
    ("Watch.use", "watch.use", "postgres.query", UNCLEAR, "use http.get → postgres.query"),
    ("Watch.via", "watch.via", "db", UNCLEAR, "via api → db"),
    ("Watch.with_", "watch.with.path", "/q", UNCLEAR, "with.path /w → /q"),
    ("Watch.every", "watch.every", "1m", NEUTRAL, "every 5m → 1m"),
    ("Watch.key", "watch.key", ["id", "name"], UNCLEAR, "key"),
    ("Watch.cron", "watch", {**{k: v for k, v in WATCH.items() if k != "every"}, "cron": "0 * * * *", "timezone": "Africa/Dakar"}, ACTS, "cron none → 0 * * * *"),
    ("Watch.timezone", "watch", {**{k: v for k, v in WATCH.items() if k != "every"}, "cron": "0 * * * *", "timezone": "Africa/Dakar"}, ACTS, "timezone none → Africa/Dakar"),
]  # fmt: skip


def policy(document: Mapping[str, Any] = WHOLE) -> Policy:
    return Policy.model_validate(dict(document), by_alias=True, by_name=False)


def changed(place: str, value: object, document: Mapping[str, Any] = WHOLE) -> Policy:
    """The document with another value at a place such as ``steps.halve.rows``."""
    new = copy.deepcopy(dict(document))
    put(new, place, value)
    return policy(new)


def put(document: dict[str, Any], place: str, value: object) -> None:
    *path, last = [int(part) if part.isdigit() else part for part in place.split(".")]
    inner: Any = document
    for part in path:
        inner = inner[part]
    if value is GONE:
        del inner[last]
    else:
        inner[last] = copy.deepcopy(value)


def turning(changes: tuple[Change, ...]) -> list[Change]:
    """Without another risk, which needs a note both ways: more is worse, less is bound by less."""
    return [one for one in changes if " now, was " not in str(one)]


def worst(changes: tuple[Change, ...]) -> Direction:
    return min((one.direction for one in changes), default=NEUTRAL)


CASES = [(*row, WHOLE) for row in TABLE] + [(*row, WATCHED) for row in WATCHES]


@pytest.mark.parametrize(
    ("field", "place", "value", "direction", "words", "document"),
    CASES,
    ids=[f"{row[0]}-{number}" for number, row in enumerate(CASES)],
)
def test_a_change_is_told_with_its_direction(
    field: str, place: str, value: object, direction: Direction, words: str, document: dict[str, Any]
) -> None:
    old, new = policy(document), changed(place, value, document)
    there, back = compare(old, new, BOTH), compare(new, old, BOTH)
    assert worst(there) is direction, [str(one) for one in there]
    told = [str(one) for one in there if one.direction is direction]
    assert any(words in one for one in told) or (not words and not there), told
    # The way back: what was loosened is tightened; what is unclear stays so.
    assert sorted(one.direction.reversed for one in turning(there)) == sorted(
        one.direction for one in turning(back)
    )


def _parts(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for one in model.model_fields.values():
        yield from _inner(one.annotation)


def _inner(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from _parts(annotation)
    for part in get_args(annotation):
        yield from _inner(part)


def test_no_field_of_the_language_is_without_a_judge_and_a_story() -> None:
    parts = set(_parts(Policy))
    for model in parts - {AtMost}:  # rows are judged whole
        assert list(TABLES[model]) == list(dict.fromkeys(TABLES[model]))
        assert TABLES[model].keys() == model.model_fields.keys(), model.__name__
    fields = {f"{model.__name__}.{name}" for model in parts for name in model.model_fields}
    elsewhere = {"Policy.policy", "Policy.allow_loosening"}  # told with the policy: below
    assert {row[0] for row in CASES} == fields - elsewhere


def test_what_means_the_same_is_no_change() -> None:
    same = {
        **WHOLE,
        "match": ['{env=~"staging|prod",alertname="Budget"}'],
        "bounds": {**WHOLE["bounds"], "cooldown": "1800s", "per_policy": "10 in 60m"},
    }
    assert [str(one) for one in compare(policy(), policy(same), BOTH)] == []


def test_gates_that_moved_from_the_step_to_the_case_ask_the_same() -> None:
    document = copy.deepcopy(WHOLE)
    document["decide"] = [{"do": ["halve"]}]
    moved = copy.deepcopy(document)
    moved["decide"][0]["gate"] = moved["steps"]["halve"].pop("gate")
    assert compare(policy(document), policy(moved), BOTH) == ()


def test_a_gate_that_moved_and_denies_in_silence_now_tells_so() -> None:
    document = copy.deepcopy(WHOLE)
    document["decide"] = [{"do": ["halve"]}]
    moved = copy.deepcopy(document)
    moved["decide"][0]["gate"] = {**moved["steps"]["halve"].pop("gate"), "late": "deny"}
    told = [(str(one), one.direction) for one in compare(policy(document), policy(moved), BOTH)]
    assert told == [("steps.halve: gate late page → deny", LOOSENED)]


def test_a_param_under_another_name_is_the_same() -> None:
    document = copy.deepcopy(WHOLE)
    document["params"]["item"] = {**document["params"].pop("program"), "pattern": ".*"}
    there = compare(policy(), policy(document), BOTH)
    assert ("params.item: pattern a|b → .*", UNCLEAR) in [(str(one), one.direction) for one in there]
    assert "params.item: takes what program took" in map(str, there)


def test_what_is_not_written_means_its_default() -> None:
    written = changed("steps.halve.stop_after", 1)
    assert compare(written, changed("steps.halve.stop_after", GONE), BOTH) == ()


def test_seldom_looks_for_a_proof_that_need_not_last_find_it_later_only() -> None:
    brief = changed("steps.halve.verify.for", GONE)
    document = copy.deepcopy(WHOLE)
    del document["steps"]["halve"]["verify"]["for"]
    document["steps"]["halve"]["verify"]["every"] = "5m"
    (change,) = compare(brief, policy(document), BOTH)
    assert (str(change), change.direction) == ("steps.halve.verify: every 30s → 5m", NEUTRAL)


def test_a_gate_tells_whom_it_lost() -> None:
    document = copy.deepcopy(WHOLE)
    document["decide"] = [{"do": ["warn", "halve"], "gate": {"votes": {"finance": 2, "ops": 1}}}]
    for votes, words, direction in (
        ({"finance": 2}, "gate lost ops", LOOSENED),
        ({"finance": 1, "ops": 1}, "gate asks 1 of finance instead of 2", LOOSENED),
        ({"finance": 2, "ops": 1, "lead": 1}, "gate also asks lead: 1", TIGHTENED),
        ({"finance": 2, "lead": 1}, "gate lost ops, also asks lead: 1", UNCLEAR),
    ):
        other = copy.deepcopy(document)
        other["decide"][0]["gate"]["votes"] = votes
        found = compare(policy(document), policy(other), BOTH)
        assert [(str(one), one.direction) for one in found] == [(f"steps.warn, halve: {words}", direction)]


# ── Sets ────────────────────────────────────────────────────────────────────────────────────────


def side(*policies: Policy, file: str = "") -> Side:
    return Side({one.name: Written(one, file or f"{one.name}.yaml") for one in policies}, CATALOG)


def noted(note: str) -> Policy:
    """The policy with a shorter cooldown, and why."""
    return policy({**WHOLE, "bounds": {**WHOLE["bounds"], "cooldown": "5m"}, "allow-loosening": note})


def test_a_loosening_needs_a_note_that_this_very_change_brings() -> None:
    tight, looser = policy(), changed("bounds.cooldown", "5m")
    bare = difference(side(tight), side(looser))
    assert bare.loosened
    assert "1 looser or unclear, 1 without a fresh note" in summary(bare)
    fresh = noted("the API is quick now")
    assert not difference(side(tight), side(fresh)).loosened
    old = changed("allow-loosening", "the API is quick now")
    assert difference(side(old), side(fresh)).loosened  # the note of the last time covers nothing
    rewritten = noted("and now the database is, too")
    assert not difference(side(old), side(rewritten)).loosened
    (idle,) = difference(side(tight), side(old)).policies
    assert idle.note_is_idle
    assert difference(side(fresh), side(fresh)).all == ()
    assert difference(side(old), side(tight)).all == ()  # once merged it may go


def test_a_renamed_policy_does_not_pass_for_a_new_one() -> None:
    renamed = policy(
        {**copy.deepcopy(WHOLE), "policy": "other", "bounds": {**WHOLE["bounds"], "cooldown": "5m"}}
    )
    for file in ("budget.yaml", "elsewhere.yaml"):
        (found,) = difference(side(policy()), side(renamed, file=file)).policies
        assert (found.kind, found.was, found.unexplained) == ("renamed", "budget", True)
        assert any("renamed from budget" in str(one) for one in found.changes)


def test_policies_that_came_and_went_are_listed() -> None:
    new = policy(
        {
            "policy": "new",
            "summary": "x",
            "mode": "act",
            "match": ["alertname=New"],
            "target": "program/x",
            "decide": [{"do": ["go"]}],
            "steps": {"go": {"use": "http.request", "via": "api", "gate": {"waived": "it is cheap"}}},
        }
    )
    found = difference(side(policy()), side(new))
    assert not found.loosened
    told = "\n".join(lines(found))
    assert summary(found) == "policies: 1 added, 1 removed"
    assert "new: new, in mode act, on program/x" in told
    assert "new: may do go (disruptive)" in told
    assert "new: steps.go: gate waived: it is cheap" in told
    assert "budget: removed (was in mode suggest)" in told
    assert found.all[0].name == "new"


def test_what_could_not_be_read_at_the_base_is_not_waved_through() -> None:
    base = Side({}, CATALOG, {"budget.yaml": "it is broken"})
    assert difference(base, side(policy())).loosened
    assert difference(base, side(policy(), file="elsewhere.yaml")).loosened
    assert not difference(base, side(noted("mended by hand"))).loosened


NOT_NEW = [
    "",
    " ",
    "x" * 9,
    "\u200b" * 20,
    "- . – . - . -",
    "The API is quick now!",
    " the API is  quick now",
]


@pytest.mark.parametrize("note", NOT_NEW)
def test_a_note_says_something_that_was_not_said_before(note: str) -> None:
    old = side(changed("allow-loosening", "the API is quick now"))
    told = noted("placeholder of ten letters").model_copy(update={"allow_loosening": note})
    assert difference(old, side(told)).loosened
    assert difference(replace(side(policy()), notes=frozenset({"the API is quick now"})), side(told)).loosened


# ── Steps that stand elsewhere ──────────────────────────────────────────────────────────────────


def stopping(name: str = "stop", **changes: object) -> dict[str, Any]:
    """A policy with two steps, both with all safeguards; the first is safe, the second is not."""
    proof = {"use": "http.get", "via": "api", "with": {"path": "/v"}, "until": "verify.ok"}
    kept = {"gate": {"votes": {"oncall": 1}}, "verify": proof}
    back = {"use": "http.request", "via": "api", "with": {"method": "POST", "path": "/safe"}, "after": "1h"}
    return {
        "policy": name,
        "summary": "x",
        "mode": "act",
        "match": ["alertname=Stop"],
        "target": "program/x",
        "bounds": {"cooldown": "1h"},
        "decide": [{"do": ["calm", "stop"]}],
        "steps": {
            "calm": {"use": "http.request", "via": "api", "with": {"method": "POST", "path": "/safe"}, **kept, "undo": back},
            "stop": {"use": "http.request", "via": "api", "with": {"method": "POST", "path": "/worse"}, **kept},
        },
        **changes,
    }  # fmt: skip


def told_of(old: Side, new: Side) -> list[str]:
    """What needs a note."""
    found = difference(old, new)
    return [str(one) for part in found.all for one in part.changes if one.direction.needs_note]


def test_a_new_name_of_a_step_does_not_wash_off_its_safeguards() -> None:
    document = copy.deepcopy(stopping())
    document["steps"]["easy"] = document["steps"].pop("calm")
    document["decide"][0]["do"] = ["easy", "stop"]
    (same,) = difference(side(policy(stopping())), side(policy(document))).policies
    assert [(str(one), one.direction) for one in same.changes] == [("steps.easy: renamed from calm", ACTS)]
    del document["steps"]["easy"]["gate"], document["steps"]["easy"]["undo"]
    for path in ("/mild", "/safe"):
        document["steps"]["easy"]["with"]["path"] = path
        told = told_of(side(policy(stopping())), side(policy(document)))
        assert told == ["steps.easy: gate removed (was oncall: 1)", "steps.easy: undo removed"]
    # The old step still stands there, and nothing names it.
    document["steps"]["calm"] = stopping()["steps"]["calm"]
    assert any("stood in stop before, and undo removed" in one for one in told_of(side(policy(stopping())), side(policy(document))))  # fmt: skip


def test_of_a_policy_in_two_everything_that_is_lost_on_the_way_is_told() -> None:
    first, second = stopping(), stopping("other", match=["alertname=Stop,env=prod"])
    del first["steps"]["stop"], second["steps"]["calm"]
    first["decide"], second["decide"] = [{"do": ["calm"]}], [{"do": ["stop"]}]
    whole = side(policy(stopping()))
    alone = "steps.stop: stood in stop before, and no longer comes after calm"
    assert told_of(whole, side(policy(first), policy(second))) == [alone]
    second["steps"]["soothe"] = stopping()["steps"]["calm"]  # by whatever name
    second["decide"] = [{"do": ["soothe", "stop"]}]
    assert told_of(whole, side(policy(first), policy(second))) == []
    second["bounds"] = {"cooldown": "1s"}
    second["steps"]["stop"]["gate"] = {"waived": "quick"}
    second["steps"]["stop"]["verify"] = {"none": "no"}
    told = told_of(whole, side(policy(first), policy(second)))
    for words in (
        "destructive, gate waived: quick",
        "stood in stop before, and gate removed (was oncall: 1)",
        "stood in stop before, and verify removed: no",
        "stood in stop before, and cooldown 1h → 1s",
    ):
        assert [words in one for one in told].count(True) == 1, told
    assert told_of(whole, side(policy(first), policy({**second, "mode": "observe"}))) == []
    assert not difference(whole, side(policy(first), policy({**second, "allow-loosening": "it is quick by now"}))).loosened  # fmt: skip


def test_a_policy_whose_every_name_is_new_is_compared_all_the_same() -> None:
    """No part of it is written as before, and it lies in another file."""
    document = stopping("gone-over", match=["alertname=~Stop|Halt"], summary="y", bounds={"cooldown": "2h"})
    document["steps"]["end"] = document["steps"].pop("stop")
    document["steps"]["end"]["on_failure"] = "continue"
    document["decide"] = [{"do": ["end"]}]
    del document["steps"]["calm"]
    found = difference(side(policy(stopping())), side(policy(document), file="elsewhere.yaml"))
    assert [one.kind for one in found.all] == ["added", "removed"]
    told = [str(change) for change in found.all[0].changes if change.direction is LOOSENED]
    assert told == [
        "steps.end: stood in stop before, and on_failure page → continue",
        "steps.end: stood in stop before, and no longer comes after calm",
        "stood in stop before, and also matches alertname=~Stop|Halt",
    ]


def test_a_policy_that_means_the_same_takes_nothing_from_a_new_one() -> None:
    other = policy({**stopping("other"), "bounds": {"cooldown": "1s"}})
    base = side(policy(stopping()))
    assert not difference(base, side(policy(stopping(summary="in other words")), other)).loosened
    assert difference(base, side(policy(stopping(mode="suggest")), other)).loosened


# What another policy does is told, and needs no note: a new step, another operation.
HELD = [row for row in TABLE if row[3].needs_note and row[0] not in ("Policy.steps", "Step.use")]


@pytest.mark.parametrize(
    ("field", "place", "value"),
    [row[:3] for row in HELD],
    ids=[f"{row[0]}-{number}" for number, row in enumerate(HELD)],
)
@pytest.mark.parametrize("how", ["observed", "narrowed", "removed"])
def test_what_needs_a_note_in_place_needs_one_in_another_policy(
    how: str, field: str, place: str, value: object
) -> None:
    """The weaker copy of a policy that stops acting, or acts on less, or is gone."""
    document: Any = copy.deepcopy(WHOLE)
    put(document, place, value)
    weaker, same = policy({**document, "policy": "copy"}), policy({**WHOLE, "policy": "copy"})
    left = {
        "observed": [changed("mode", "observe")],
        "narrowed": [changed("match", [f'{WHOLE["match"][0][:-1]}, never="1"}}'])],
        "removed": [],
    }[how]
    base = side(policy(), file="elsewhere.yaml")
    assert not difference(base, side(*left, same)).loosened
    assert difference(base, side(*left, weaker)).loosened


def test_a_new_policy_that_destroys_unasked_needs_a_note() -> None:
    document = stopping()
    document["steps"]["stop"]["gate"] = {"waived": "quick"}
    assert difference(side(), side(policy(document))).loosened
    assert not difference(side(), side(policy({**document, "mode": "suggest"}))).loosened


# ── Connections ─────────────────────────────────────────────────────────────────────────────────


def known(**connections: Connection) -> Catalog:
    return replace(CATALOG, connections={**CATALOG.connections, **connections})


def api(risks: Mapping[str, Risk], name: str = "api") -> Connection:
    return Connection(name, "http", risks)


def test_each_side_is_judged_with_its_own_settings() -> None:
    document = stopping()
    del document["steps"]["stop"]["gate"]
    before = known(api=api({"POST /worse": Risk.DISRUPTIVE}))
    after = known(api=api({"POST /worse": Risk.SAFE}))
    there = compare(policy(document), policy(document), (before, after))
    words = ["steps.stop: gate removed (was oncall: 1)", "steps.stop: is safe now, was disruptive"]
    assert [(str(one), one.direction) for one in there] == [(one, LOOSENED) for one in words]
    sides = [Side({"stop": Written(policy(document))}, one) for one in (before, after)]
    assert told_of(*sides) == words
    back = compare(policy(document), policy(document), (after, before))
    assert {one.direction for one in back} == {TIGHTENED}


def test_another_connection_is_compared_with_the_former_one() -> None:
    document = stopping()
    document["steps"]["stop"]["via"] = "again"
    mild = known(again=api({"POST /worse": Risk.SAFE}, "again"))
    there = compare(policy(stopping()), policy(document), (CATALOG, mild))
    assert ("steps.stop: is safe now, was destructive", LOOSENED) in [
        (str(one), one.direction) for one in there
    ]
    same = known(again=replace(CATALOG.connections["api"], name="again"))
    assert worst(compare(policy(stopping()), policy(document), (CATALOG, same))) is UNCLEAR
    document["steps"]["stop"].update({"via": "api", "with": {"method": "POST", "path": "/safe"}})
    assert worst(compare(policy(stopping()), policy(document), BOTH)) is UNCLEAR


def test_another_connection_may_hide_less() -> None:
    hiding = Reach(frozenset({"t"}), frozenset({"t.secret"}))
    bare = Reach(frozenset({"t", "u"}))
    both = known(
        db=Connection("db", "postgres", reach=hiding), other=Connection("other", "postgres", reach=bare)
    )
    for place in (f"{HALVE}.via", "diagnose.budget.via"):
        told = [
            str(one)
            for one in compare(policy(), changed(place, "other"), (both, both))
            if one.direction is LOOSENED
        ]
        assert [one.partition(": ")[2] for one in told] == ["tables gained u", "hidden lost t.secret"]


def test_a_command_that_is_added_or_declared_otherwise_is_a_looser_connection() -> None:
    def side(**commands: dict[str, object]) -> tuple[Config, Catalog]:
        written = {"kind": "redis", "url": "redis://cache", "commands": commands}
        config = Config.model_validate({"connections": {"cache": written}})
        return config, catalog(config, blind=True)

    def drop(pattern: str, risk: str = "safe") -> dict[str, object]:
        return {"argv": ["UNLINK", {"slot": "key", "pattern": pattern}], "risk": risk}

    def told(old: tuple[Config, Catalog], new: tuple[Config, Catalog]) -> list[tuple[str, Direction]]:
        return [(one.words, one.direction) for one in compare_settings(old, new)]

    small = side(drop=drop("cache:a"))
    flush: dict[str, object] = {"argv": ["FLUSHDB"]}
    assert told(small, side(drop=drop(".*"))) == [("argv changed", UNCLEAR)]
    assert told(small, side(drop=drop("cache:a"), flush=flush)) == [("command flush added", LOOSENED)]
    assert told(side(drop=drop("cache:a"), flush=flush), small) == [("command flush removed", TIGHTENED)]
    assert told(side(drop=drop("a", "destructive")), side(drop=drop("a"))) == [
        ("COMMAND drop is safe, was destructive", LOOSENED)
    ]


def test_a_statement_that_is_added_or_declared_otherwise_is_a_looser_connection() -> None:
    def side(**statements: str) -> tuple[Config, Catalog]:
        written = {"kind": "mysql", "url": "mysql://db/shop", "username": "remediator"}
        declared = {name: {"sql": sql} for name, sql in statements.items()}
        config = Config.model_validate({"connections": {"db": {**written, "statements": declared}}})
        return config, catalog(config, blind=True)

    def told(old: tuple[Config, Catalog], new: tuple[Config, Catalog]) -> list[tuple[str, Direction]]:
        return [(one.words, one.direction) for one in compare_settings(old, new)]

    small = side(drop="DELETE FROM jobs WHERE id = 1")
    more = side(drop="DELETE FROM jobs WHERE id = 1", jobs="SELECT id FROM jobs")
    wide = side(drop="DELETE FROM jobs WHERE id > 0")
    assert told(small, wide) == [
        ("sql DELETE FROM jobs WHERE id = 1 → DELETE FROM jobs WHERE id > 0", UNCLEAR)
    ]
    assert told(small, more) == [("statement jobs added", LOOSENED)]
    assert told(more, small) == [("statement jobs removed", TIGHTENED)]


SEGMENTS = st.sampled_from(["a", "b", "*"])
PATTERNS = st.builds(lambda method, parts: f"{method} /{'/'.join(parts)}", st.sampled_from(["POST", "*"]), st.lists(SEGMENTS, min_size=3, max_size=3))  # fmt: skip
ENDPOINTS = st.dictionaries(PATTERNS, st.sampled_from(Risk), max_size=4)


WIDE = {"POST /*/*/*": Risk.SAFE, "POST /a/*/*": Risk.DESTRUCTIVE}


@example(WIDE, {**WIDE, "POST /*/b/b": Risk.SAFE})  # only where two patterns meet: /a/b/b
@given(ENDPOINTS, ENDPOINTS)
@settings(max_examples=150, deadline=None)
def test_no_path_gets_cheaper_in_silence(old: dict[str, Risk], new: dict[str, Risk]) -> None:
    """Tried with every path that the patterns can tell apart, by what the engine itself asks."""
    told = list(endpoints(At("", None, None, *BOTH), api(old), api(new)))
    request = CATALOG.operations["http.request"]
    paths = ["/" + "/".join(parts) for parts in product("abz", repeat=3)]
    differences = {
        risk_of(request, api(new), method, path).rank - risk_of(request, api(old), method, path).rank
        for method in ("POST", "GET")
        for path in paths
    }
    assert (min(differences) < 0) is any(one.direction is LOOSENED for one in told)
    assert (max(differences) > 0) is any(one.direction is TIGHTENED for one in told)


# Rows that leave the decision table as it is, so that cases are paired alike both ways.
APART = [row for row in TABLE if not row[1].startswith(("decide", "steps.more"))]


@given(
    st.lists(st.sampled_from(APART), min_size=2, max_size=4, unique_by=lambda row: row[1].split(".")[:2][-1])
)
@settings(max_examples=60, deadline=None)
def test_several_changes_at_once_are_all_told_and_all_turn_round(
    rows: list[tuple[str, str, object, Direction, str]],
) -> None:
    document: Any = copy.deepcopy(WHOLE)
    for _, place, value, _, _ in rows:
        put(document, place, value)
    there = compare(policy(), policy(document), BOTH)
    back = compare(policy(document), policy(), BOTH)
    told = [str(one) for one in there]
    for _, _, _, _, words in rows:
        assert any(words in one for one in told), (words, told)
    assert worst(there) is min(row[3] for row in rows)
    assert sorted(one.direction.reversed for one in turning(there)) == sorted(
        one.direction for one in turning(back)
    )
