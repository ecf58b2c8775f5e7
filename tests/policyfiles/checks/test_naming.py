"""Who is paged: chains that nobody wrote stand for one that the config must have."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from remediator.policyfiles.loading import load_text
from tests.policyfiles.test_corpus import ROOT, corpus

BASE = (ROOT / "base.yaml").read_text()
PAGES = BASE.replace("do: [restart]", "do: [tell, restart]").replace(
    "steps:\n", "steps:\n  tell:\n    use: people.page\n    with: {text: stuck}\n"
)
TELL = 17
"""The line of the step's text."""


def said(text: str, *chains: str) -> list[str]:
    known = replace(corpus(), escalations={one: {"oncall": timedelta()} for one in chains})
    found = load_text(text, known, "a.yaml").findings
    return [f"{one.line} {one.message}; {one.remedy}" for one in found if one.code == "P131"]


def test_a_step_that_names_no_chain_pages_the_default_one_whatever_the_policy_pages() -> None:
    told = "there is no escalation chain 'default' to page"
    assert said(PAGES, "default") == []
    assert said(PAGES, "high") == [
        f"1 {told}; add page: {{chain: …}}; known: high",
        f"{TELL} {told}; add chain: … under its with; known: high",
    ]
    whole = PAGES + "page: {chain: high}\n"
    assert said(whole, "high") == [f"{TELL} {told}; add chain: … under its with; known: high"]
    assert said(whole.replace("stuck}", "stuck, chain: high}"), "high") == []


def test_where_no_chains_are_defined_only_those_that_are_named_are_missed() -> None:
    assert said(PAGES) == []
    named = PAGES.replace("stuck}", "stuck, chain: high}")
    assert [one.partition(";")[0] for one in said(named)] == [f"{TELL} unknown escalation chain 'high'"]
