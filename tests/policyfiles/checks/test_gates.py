"""The gate that nobody wrote: a step that asks the on-call by default needs somebody to be asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from remediator.core.catalog import Cover
from remediator.policyfiles.loading import load_text
from tests.policyfiles.test_corpus import ROOT, corpus

BASE = (ROOT / "base.yaml").read_text()
STEP = 15  # the line where base.yaml has it
WAIVED = BASE.replace("    use: http.request", "    gate: {waived: harmless}\n    use: http.request")
AWAY = {"oncall": (Cover("eve", until=datetime(2099, 1, 1, tzinfo=UTC)),)}
ASKS = "restart asks the on-call by default"


def said(text: str, roles: dict[str, frozenset[str]], covers: dict[str, tuple[Cover, ...]]) -> list[str]:
    known = replace(corpus(), roles=roles, covers=covers)
    found = load_text(text, known, "a.yaml").findings
    return [f"{one.line} {one.code} {one.message}" for one in found if one.code.startswith("P13")]


@pytest.mark.parametrize(
    ("roles", "covers", "code", "words"),
    [
        ({}, {}, "P132", "unknown role 'oncall'"),
        ({"oncall": frozenset[str]()}, {}, "P133", "nobody has the role 'oncall'"),
        (
            {"oncall": frozenset[str]()},
            AWAY,
            "P135",
            "these votes can be given only while somebody covers for an absence",
        ),
    ],
)
def test_a_step_without_a_gate_asks_the_on_call_who_must_be_there(
    roles: dict[str, frozenset[str]], covers: dict[str, tuple[Cover, ...]], code: str, words: str
) -> None:
    assert said(BASE, roles, covers) == [f"{STEP} {code} {ASKS}, and {words}"]


@pytest.mark.parametrize(
    "text",
    [
        WAIVED,
        BASE.replace("mode: act", "mode: observe"),
        BASE.replace("/workers/${name}/restart", "/safe/${name}"),
        BASE.replace("do: [restart]", "do: [restart]\n    gate: {votes: {ops_marketing: 1}}"),
    ],
    ids=["waived", "observe", "safe", "of the case"],
)
def test_who_asks_nobody_by_default_needs_no_on_call(text: str) -> None:
    assert text != BASE
    assert said(text, {"ops_marketing": frozenset({"bob"})}, {}) == []


@pytest.mark.parametrize(
    "text",
    [
        WAIVED.replace("mode: act", "mode: suggest"),
        WAIVED.replace("3 in 24h}", "3 in 24h, breaker: {failures: 3, within: 1h, mode: suggest, for: 1h}}"),
    ],
    ids=["mode", "breaker"],
)
def test_in_suggest_even_a_waived_step_asks(text: str) -> None:
    assert said(text, {}, {}) == [f"{STEP} P132 {ASKS}, and unknown role 'oncall'"]
