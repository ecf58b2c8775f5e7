"""The five stories are known by what happens: each counts for what it shows, and for nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packs.five_stories import wanted
from tests.policyfiles.testing.stage import story, tell

GIVEN = """\
policy: pause-campaign
given:
  campaign: {json: {status: late}}
  pause.before: {json: {status: late}}
  pause.verify: {json: {status: VERIFY}}
tests:
"""
FIRES = "labels: {alertname: CampaignLate, campaign_id: CAMPAIGN}"

THIRD = f"""\
- fires: {{{FIRES.replace("CAMPAIGN", "c-2")}}}
- fires: {{{FIRES.replace("CAMPAIGN", "c-3")}}}
  expect: {{refused: at_once}}"""


@pytest.mark.parametrize(
    ("verify", "campaign", "begins", "lines", "counts"),
    [
        ("paused", "c-1", "", "- approve: bob\n- expect: {outcome: open}", []),
        ("late", "c-1", "", "- approve: bob\n- at: 6m\n  expect: {runs: 1}", ["a verification fails"]),
        ("paused", "c-1", "", "- resolves: all\n- at: 2m\n  expect: {outcome: recovered}", ["it recovers"]),
        ("paused", "c-1", "busy: {until: 1h}", "- expect: {refused: target}", ["the target is busy"]),
        ("paused", "c-1/x", "", "- expect: {refused: params}", ["hostile labels"]),
        ("paused", "C1", "", "- expect: {refused: params}", []),  # refused, and not hostile
        ("paused", "c-1", "", THIRD, ["a bound refuses"]),
        ("paused", "c-1", "", "- halt: all\n- approve: bob\n  expect: {refused: halt}", []),
    ],
)
def test_a_story_counts_for_what_happens_in_it(
    tmp_path: Path, verify: str, campaign: str, begins: str, lines: str, counts: list[str]
) -> None:
    fires = f"alert: {{{FIRES.replace('CAMPAIGN', campaign)}}}"
    text = GIVEN.replace("VERIFY", verify) + story(lines, begins=f"{fires}\n    {begins}".rstrip())
    (told,) = tell(tmp_path, text).told
    assert not told.failures, told.failures
    kinds = wanted(told.story.policy.policy)
    found = [words for words, shows in kinds.items() if shows(told)]
    assert [words.startswith(one) for words, one in zip(found, counts, strict=True)] == [True] * len(counts)
