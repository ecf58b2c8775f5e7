"""The policy model: defaults, refusals, and the names that the rest of the core reads."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from remediator.core.calls import highest_risk
from remediator.core.catalog import Connection, Kind, Operation, Risk
from remediator.core.durations import Rate
from remediator.core.expression import Template
from remediator.core.fields import Pattern
from remediator.core.policy import Case, Policy
from remediator.core.risk import risk_of
from remediator.core.steps import EarlyProbe

SMALLEST: dict[str, Any] = {
    "policy": "restart-workers",
    "summary": "The workers are stuck",
    "match": ["alertname=WorkersStuck"],
    "target": "deployment/${name}",
    "decide": [{"do": ["restart"]}],
    "steps": {"restart": {"use": "http.request", "via": "api"}},
}


def policy(**changes: Any) -> Policy:
    return Policy.model_validate({**SMALLEST, **changes})


def step(**changes: Any) -> Any:
    return policy(steps={"restart": {"use": "http.request", **changes}}).steps["restart"]


def test_a_small_policy_has_careful_defaults() -> None:
    small = policy()
    assert small.mode == "suggest"
    assert small.recheck == timedelta(minutes=5)
    assert small.bounds.cooldown == timedelta(minutes=30)
    assert small.bounds.per_target == Rate(3, timedelta(hours=24))
    assert small.bounds.per_policy == Rate(10, timedelta(hours=1))
    assert (small.bounds.at_once, small.bounds.deadline) == (2, timedelta(hours=6))
    assert (small.page.chain, small.steps["restart"].on_failure) == ("default", "page")
    assert (small.name, small.kind) == ("restart-workers", "deployment")
    assert small.selectors[0].holds({"alertname": "WorkersStuck"})


@pytest.mark.parametrize(
    ("severity", "patience"),
    [
        ("critical", timedelta(minutes=5)),
        ("high", timedelta(minutes=15)),
        ("medium", timedelta(hours=1)),
        ("low", timedelta(hours=4)),
    ],
)
def test_patience_follows_severity(severity: str, patience: timedelta) -> None:
    assert policy(severity=severity).patience == patience


def test_every_text_in_with_becomes_a_template() -> None:
    arguments = step(**{"with": {"path": "/x/${name}", "body": {"a": ["${name}", 1, None, True]}}}).with_
    assert arguments["path"].names == {"name"}
    assert isinstance(arguments["body"]["a"][0], Template)
    assert arguments["body"]["a"][1:] == [1, None, True]


def test_a_case_does_all_or_tries_in_turn_or_does_nothing() -> None:
    assert Case.model_validate({"do": ["a", "b"]}).steps == ("a", "b")
    assert not Case.model_validate({"do": ["a", "b"]}).rungs
    assert Case.model_validate({"try": ["a", "b"]}).rungs
    assert Case.model_validate({"do": "nothing"}).steps == ()


def test_early_is_one_or_several() -> None:
    undo = {"use": "http.request", "after": "1h"}
    assert step(undo={**undo, "early": "unverified"}).undo.early == ("unverified",)
    probe = {"use": "http.get", "until": "ok", "for": "1m"}
    early = step(undo={**undo, "early": ["resolved", probe]}).undo.early
    assert isinstance(early[1], EarlyProbe)
    assert early[1].for_ == timedelta(minutes=1)


def test_a_watch_instead_of_a_match() -> None:
    watch = {"every": "5m", "use": "http.get", "via": "api", "key": ["id"]}
    watched = policy(match=None, watch=watch)
    assert watched.selectors == ()
    assert watched.watch is not None
    assert watched.watch.key == ("id",)


def test_a_policy_is_frozen() -> None:
    with pytest.raises(ValidationError):
        policy().mode = "act"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"policy": "Restart Workers"}, "like-this"),
        ({"wibble": 1}, "Extra inputs"),
        ({"match": None}, "exactly one of match or watch"),
        ({"watch": {"every": "5m", "use": "http.get", "key": ["id"]}}, "exactly one of match or watch"),
        ({"match": []}, "at least 1"),
        ({"match": ["{}"]}, "every alert"),
        ({"decide": []}, "at least 1"),
        ({"decide": [{}]}, "exactly one of do or try"),
        ({"decide": [{"do": "nothing", "try": ["a"]}]}, "exactly one of do or try"),
        ({"decide": [{"do": "something"}]}, "nothing or a list"),
        ({"decide": [{"do": []}]}, "names no step"),
        ({"decide": [{"do": ["a", "a"]}]}, "twice"),
        ({"decide": [{"do": "nothing", "gate": {"votes": {"oncall": 1}}}]}, "needs no gate"),
        ({"decide": [{"do": ["a"], "gate": {}}]}, "exactly one of votes or waived"),
        ({"decide": [{"do": ["a"], "gate": {"votes": {"oncall": 0}}}]}, "greater than or equal to 1"),
        ({"decide": [{"do": ["a"], "gate": {"votes": {"oncall": True}}}]}, "valid integer"),
        ({"decide": [{"when": "a = 1", "do": ["a"]}]}, "unexpected"),
        ({"decide": [{"when": True, "do": ["a"]}]}, "quote it"),
        ({"bounds": {"cooldown": "5 min"}}, "not a duration"),
        ({"bounds": {"cooldown": "-5m"}}, "negative"),
        ({"bounds": {"cooldown": 300}}, "write a duration such as 2h"),
        ({"bounds": {"per_target": "3 per 24h"}}, "not a rate"),
        ({"bounds": {"per_target": "3 in 0s"}}, "no time at all"),
        ({"bounds": {"at_once": 0}}, "greater"),
        ({"bounds": {"windows": {}}}, "exactly one of not or only"),
        ({"diagnose": {"now": {"use": "http.get"}}}, "reserved"),
        ({"diagnose": {"namespace": {"use": "http.get"}}}, "reserved"),
        ({"diagnose": {"Bad-Name": {"use": "http.get"}}}, "not a name"),
        ({"diagnose": {"a": {"use": "http.get", "expect": "two rows"}}}, "one row"),
        ({"diagnose": {"a": {"use": "http.get", "optional": "yes"}}}, "boolean"),
        ({"params": {"a": {"from": "labels.x", "pattern": "("}}}, "RE2"),
        ({"params": {"a": {}}}, "required"),
        ({"steps": {"a": {"use": "x", "verify": {}}}}, "exactly one of use or none"),
        ({"steps": {"a": {"use": "x", "verify": {"use": "y"}}}}, "needs until"),
        ({"steps": {"a": {"use": "x", "undo": {"none": "x", "use": "y"}}}}, "exactly one of"),
        ({"steps": {"a": {"use": "x", "undo": {"use": "y"}}}}, "needs after"),
        ({"steps": {"a": {"use": "x", "undo": {"use": "y", "early": "later"}}}}, "neither unverified"),
        ({"steps": {"a": {"use": "x", "with": {"path": "${"}}}}, "closing"),
        ({"steps": {"a": {"use": "x", "rows": 0}}}, "greater"),
    ],
)
def test_what_the_model_refuses(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        policy(**changes)
    assert words in str(caught.value)


def test_patterns_fit_whole_texts() -> None:
    pattern = Pattern.parse("[a-z]+")
    assert pattern.matches("abc")
    assert not pattern.matches("abc!")
    assert not Pattern.parse(".*").matches("\ud800")


def test_every_key_of_the_language_is_described() -> None:
    schema = Policy.model_json_schema()
    models = [schema, *schema["$defs"].values()]
    silent = [
        (model["title"], key)
        for model in models
        for key, field in model.get("properties", {}).items()
        if not field.get("description")
    ]
    assert silent == []
    assert json.dumps(schema)
    assert "with" in schema["$defs"]["Step"]["properties"]


def test_no_run_follows_another_at_once_whatever_an_older_version_says() -> None:
    assert policy(recheck="0s").pause == timedelta(seconds=1)
    assert policy(recheck="7m").pause == timedelta(minutes=7)


# ── Risk ────────────────────────────────────────────────────────────────────────────────────────

REQUEST = Operation("http.request", Kind.ACTION, "", {}, risk=Risk.DISRUPTIVE)
API = Connection(
    "api",
    "http",
    risks={
        "POST /api/workers/*": Risk.SAFE,
        "POST /api/workers/main": Risk.DESTRUCTIVE,
        "* /api/*/stop": Risk.DISRUPTIVE,
        "POST /api/*/stop": Risk.DESTRUCTIVE,
        "POST /tie/*/b": Risk.SAFE,
        "POST /tie/a/*": Risk.DESTRUCTIVE,
        "POST /star/%2A": Risk.DESTRUCTIVE,
        "POST /end/*/": Risk.SAFE,
    },
)


@pytest.mark.parametrize(
    ("method", "path", "risk"),
    [
        ("POST", "/api/workers/7", Risk.SAFE),
        ("post", "/api/workers/7?force=1", Risk.SAFE),
        ("POST", "/api/workers/main", Risk.DESTRUCTIVE),
        ("POST", "/api/workers/", Risk.DISRUPTIVE),
        ("POST", "/api/workers/..", Risk.DISRUPTIVE),
        ("POST", "/api/workers/7/8", Risk.DISRUPTIVE),
        ("DELETE", "/api/workers/7", Risk.DISRUPTIVE),
        ("POST", "/api/x/stop", Risk.DESTRUCTIVE),
        ("PUT", "/api/x/stop", Risk.DISRUPTIVE),
        ("POST", "/tie/a/b", Risk.DESTRUCTIVE),
        ("", "", Risk.DISRUPTIVE),
        ("POST", "/api/workers/main/", Risk.DESTRUCTIVE),
        ("POST", "/api/workers/7/", Risk.SAFE),
        ("POST", "/api/workers/m%61in", Risk.DESTRUCTIVE),
        ("POST", "/api/work%65rs/7", Risk.SAFE),
        ("POST", "/api/workers/%2E%2e", Risk.DISRUPTIVE),
        ("POST", "/api/workers/*", Risk.SAFE),
        ("POST", "/star/%2a", Risk.DESTRUCTIVE),
        ("POST", "/star/x", Risk.DISRUPTIVE),
        ("POST", "/end/x", Risk.SAFE),
    ],
)
def test_the_connection_says_what_an_endpoint_may_cost(method: str, path: str, risk: Risk) -> None:
    assert risk_of(REQUEST, API, method, path) is risk


@pytest.mark.parametrize(
    ("path", "pattern", "risk", "endpoint"),
    [
        ("/api/workers/${n}", ".+", Risk.DESTRUCTIVE, "POST /api/workers/main"),
        ("/api/workers/${n}/", ".+", Risk.DESTRUCTIVE, "POST /api/workers/main"),
        ("/api/workers/${n}", "[0-9]+", Risk.SAFE, "POST /api/workers/*"),
        ("/api/workers/m${n}", "[a-z]+", Risk.DESTRUCTIVE, "POST /api/workers/main"),
        ("/api/workers/x${n}", "[a-z]+", Risk.SAFE, "POST /api/workers/*"),
        ("/api/workers/%6d${n}n", "[a-z]+", Risk.DESTRUCTIVE, "POST /api/workers/main"),
        ("/api/${n}/7", ".+", Risk.DISRUPTIVE, ""),
        ("/api/${n}/stop", ".+", Risk.DESTRUCTIVE, "POST /api/*/stop"),
        ("/end/${n}", ".+", Risk.SAFE, "POST /end/*/"),
        ("/api/workers/main", ".+", Risk.DESTRUCTIVE, "POST /api/workers/main"),
    ],
)
def test_a_path_that_is_not_known_yet_counts_as_the_worst_that_it_may_become(
    path: str, pattern: str, risk: Risk, endpoint: str
) -> None:
    arguments = {"method": Template.parse("POST"), "path": Template.parse(path)}
    assert highest_risk(REQUEST, API, arguments, lambda _: pattern) == (risk, endpoint)


@given(
    path=st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=3),
    patterns=st.dictionaries(
        st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=3).map(
            lambda one: f"POST /{'/'.join(one)}"
        ),
        st.sampled_from(list(Risk)),
        max_size=4,
    ),
)
def test_a_path_never_costs_more_than_it_was_said_to_cost_before_it_was_known(
    path: list[str], patterns: dict[str, Risk]
) -> None:
    api = Connection("api", "http", risks=patterns)
    written = Template.parse("/" + "/".join("${x}" if one == "*" else one for one in path))
    told, _ = highest_risk(REQUEST, api, {"method": Template.parse("POST"), "path": written})
    for become in itertools.product(*(["a", "b", "c"] if one == "*" else [one] for one in path)):
        assert risk_of(REQUEST, api, "POST", f"/{'/'.join(become)}").rank <= told.rank
