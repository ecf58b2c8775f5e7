"""From policy text to resolved calls: who sees what, and what is made of it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace as with_fields

from remediator.core.calls import call_risk, printable, summary
from remediator.core.catalog import Connection, Fence, Kind, Operation, Param, Risk
from remediator.core.evidence import Reading
from remediator.core.exact import kept
from remediator.core.intention import Call
from remediator.core.planning import Address, address, intend, unexpected, watch_call
from remediator.core.policy import Policy, Probe
from remediator.core.run import Refusal
from remediator.errors import EvaluationError
from tests.core.campaign import CATALOG, START, TARGET, alert, budget_probe, policy, post, proof, say, undo
from tests.core.stories import Story

# ── Address ───────────────────────────────────────────────────────────────────────────────────────


def test_an_alert_is_about_a_target_and_its_parameters() -> None:
    assert address(policy(), alert()) == Address(TARGET, {"campaign": "c-1"})


@pytest.mark.parametrize("campaign", ["", "C 1", "../etc", "a" * 21, "c-1\n", "c;rm", "${now}"])
def test_a_label_that_does_not_fit_leads_to_no_target_and_says_why(campaign: str) -> None:
    labels = {"alertname": "CampaignLate", "campaign": campaign}
    no = address(policy(), alert(labels=labels))
    assert isinstance(no, Refusal)
    assert no.bound == "params"
    assert "params.campaign" in no.reason


def test_a_missing_label_leads_to_no_target() -> None:
    no = address(policy(), alert(labels={"alertname": "CampaignLate"}))
    assert isinstance(no, Refusal)
    assert "no value" in no.reason


@pytest.mark.parametrize(
    "target", ["campaign", "/x", "campaign/", "campaign/a\u202eb", "campaign/" + "x" * 200]
)
def test_a_target_reads_kind_and_id(target: str) -> None:
    no = address(policy(target=target), alert())
    assert isinstance(no, Refusal)
    assert "kind/id" in no.reason


# ── Intentions ────────────────────────────────────────────────────────────────────────────────────


def intended(step: dict[str, Any], catalog: Any = CATALOG, read: dict[str, Any] | None = None) -> Any:
    story = Story(policy({"pause": step}, diagnose=budget_probe(), mode="observe"))
    story.standing["diagnose:budget"] = kept(read or {"row": {"left": 3, "name": "A&B/../?"}})
    facts = with_fields(story.facts, catalog=catalog)
    reading = {"budget": Reading(START, ok=True, value=story.standing["diagnose:budget"])}
    return intend(with_fields(story.run, readings=reading), story.facts.policy, "pause", facts)


def test_a_step_is_resolved_with_its_proof_and_its_undo() -> None:
    one = intended(post("/pause/${campaign}", verify=proof(), undo=undo(after="1h", early="resolved")))
    assert one.call == Call("http.request", "api", {"method": "POST", "path": "/pause/c-1"})
    assert one.verify == Call("http.get", "api", {"path": "/health"})
    assert one.undo.call == Call("http.request", "api", {"method": "POST", "path": "/resume/c-1"})
    assert (one.undo.after_s, one.undo.early, one.risk, one.fence) == (
        3600,
        ("resolved",),
        Risk.DISRUPTIVE,
        Fence.NONE,
    )
    assert one.summary == "POST /pause/c-1 via api"


def test_a_value_in_a_path_is_one_segment() -> None:
    path = intended(post("/name/${budget.row.name}")).call.args["path"]
    assert path == "/name/A%26B%2F..%2F%3F"


def test_a_value_keeps_its_type_where_it_stands_alone() -> None:
    body = {"left": "${budget.row.left}", "list": ["${budget.row.left}", "n=${budget.row.left}"], "fixed": 1}
    step = post("/p") | {"with": {"method": "POST", "path": "/p", "body": body}}
    assert intended(step).call.args["body"] == {"left": 3, "list": [3, "n=3"], "fixed": 1}


def test_a_decimal_reaches_sql_exactly_and_everything_else_as_a_plain_number() -> None:
    exact = Operation("db.query", Kind.PROBE, "", {"args": Param("", type="list", exact=True)})
    catalog = replace(
        CATALOG,
        operations={**CATALOG.operations, "db.query": exact},
        connections={**CATALOG.connections, "db": Connection("db", "db")},
    )
    rates = ["${budget.row.rate}", "${budget.row.rate * 0.5}"]
    verify = {"use": "db.query", "via": "db", "with": {"args": rates}, "until": "true"}
    body = {"use": "http.request", "via": "api", "with": {"method": "POST", "path": "/p", "body": rates}}
    value = {"row": {"rate": Decimal("0.0700")}}
    one = intended({**body, "verify": verify, "undo": {"none": "stays"}}, catalog, value)
    assert one.verify.args == {"args": [{"#": "0.0700"}, 0.035]}
    assert one.verify.shown == {"args": [0.07, 0.035]}
    assert one.call.args["body"] == [0.07, 0.035]
    assert summary(one.verify) == "db.query via db (args=[0.07, 0.035])"


@pytest.mark.parametrize("inside", ["labels.campaign", "annotations.summary", "alert.fingerprint"])
def test_what_an_alert_says_by_itself_reaches_no_operation(inside: str) -> None:
    for step in (post(f"/p/${{{inside}}}"), post("/p", undo=undo(f"/u/${{{inside}}}", after="1h"))):
        with pytest.raises(EvaluationError):
            intended(step)


def test_texts_for_people_are_escaped() -> None:
    assert intended(say("<!channel> ${budget.row.name}")).call.args == {"text": "<!channel> A&amp;B/../?"}


def test_an_undo_that_needs_what_the_act_returns_is_resolved_later() -> None:
    one = intended(post("/p", undo=undo("/t/${steps.pause.result.id}", after="1h")))
    assert one.undo.call is None
    assert one.undo.source["with"]["path"] == "/t/${steps.pause.result.id}"


def test_an_undo_that_is_none_is_none() -> None:
    assert intended(post("/p", undo={"none": "it is meant to stay"})).undo is None


@pytest.mark.parametrize(
    ("via", "undo_via", "act", "back"),
    [
        ("keyed", None, Fence.KEY, Fence.KEY),
        ("keyed", "api", Fence.KEY, Fence.NONE),
        ("api", "keyed", Fence.NONE, Fence.KEY),
        ("api", None, Fence.NONE, Fence.NONE),
    ],
)
def test_the_fence_is_that_of_the_service_that_is_asked(
    via: str, undo_via: str | None, act: Fence, back: Fence
) -> None:
    plan = undo("/u", after="1h") | {"via": undo_via}
    one = intended(post("/p", undo=plan) | {"via": via})
    assert (one.fence, one.undo.fence) == (act, back)


@pytest.mark.parametrize("gone", ["api", "http.request"])
def test_what_is_not_there_any_more_is_an_error_with_its_place(gone: str) -> None:
    catalog = replace(
        CATALOG,
        operations={name: one for name, one in CATALOG.operations.items() if name != gone},
        connections={name: one for name, one in CATALOG.connections.items() if name != gone},
    )
    with pytest.raises(EvaluationError, match="not there any more") as caught:
        intended(post("/p"), catalog)
    assert caught.value.place == "late-campaign: steps.pause"


@pytest.mark.parametrize(
    ("method", "path", "risk"),
    [
        ("POST", "/safe/x", Risk.SAFE),
        ("POST", "/safe/x/y", Risk.DISRUPTIVE),
        ("POST", "/safe/..", Risk.DISRUPTIVE),
        ("DELETE", "/x", Risk.DESTRUCTIVE),
        ("PUT", "/safe/x", Risk.DISRUPTIVE),
    ],
)
def test_the_risk_is_that_of_the_very_call(method: str, path: str, risk: Risk) -> None:
    assert call_risk(Call("http.request", "api", {"method": method, "path": path}), CATALOG) is risk


def test_a_watch_sees_nothing_but_the_time() -> None:
    watch = {"use": "sql.query", "via": "db", "with": {"sql": "SELECT 1"}, "every": "5m", "key": ["id"]}
    text = policy().model_dump(by_alias=True, exclude_none=True) | {"watch": watch}
    text.pop("match")
    watching = Policy.model_validate(text)
    facts = with_fields(Story(policy()).facts, policy=watching)
    assert watch_call(watching, facts) == Call("sql.query", "db", {"sql": "SELECT 1"})


# ── Readings and words ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("expect", "count", "problem"),
    [
        (None, 0, ""),
        ("any rows", 3, ""),
        ("one row", 1, ""),
        ("one row", 2, "expected one row, read 2"),
        ("one row", None, "expected one row, read None"),
        ("no rows", 0, ""),
        ("no rows", 1, "expected no rows, read 1"),
    ],
)
def test_whether_a_reading_may_be_used(expect: str | None, count: int | None, problem: str) -> None:
    probe = Probe.model_validate({"use": "sql.query", "expect": expect})
    value = {} if count is None else {"count": count}
    assert unexpected(probe, Reading(START, ok=True, value=value)) == problem
    assert unexpected(probe, Reading(START, ok=False, error="gone")) == "gone"


def test_a_summary_is_one_line_with_every_value() -> None:
    assert summary(Call("sql.execute", "db", {"sql": "UPDATE", "args": [1]})) == (
        'sql.execute via db (sql="UPDATE", args=[1])'
    )
    body = Call("http.request", "api", {"method": "PUT", "path": "/a", "body": {"b": 1}})
    assert summary(body) == 'PUT /a via api (body={"b": 1})'
    assert "\n" not in summary(Call("slack.message", "slack", {"text": "a\nb"}))


def test_printable_keeps_a_journal_on_one_line() -> None:
    assert printable("a\nb\x00c" + "x" * 400) == "a·b·c" + "x" * 294 + "…"
