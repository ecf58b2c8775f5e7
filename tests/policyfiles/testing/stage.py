"""A small policy and its stories in a folder of their own, told as ``remediator policy test`` tells them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

from remediator.config_file import load
from remediator.connectors import catalog, problems
from remediator.core.catalog import Catalog
from remediator.policyfiles.testing.running import Report, Suite, find, run

REPOSITORY = Path(__file__).resolve().parents[3]
CONFIG = REPOSITORY / "examples" / "remediator.yaml"
PACK = REPOSITORY / "policies" / "molam-loyalty"

PAUSE = """\
policy: pause-campaign
summary: A campaign is late
owner: loyalty-ops
runbook: docs/runbook.md
severity: high
mode: act
match: ['{alertname="CampaignLate"}']
recheck: 10m
params:
  campaign_id: {from: labels.campaign_id, type: string, pattern: '[a-z0-9-]{1,64}'}
target: campaign/${campaign_id}
bounds: {cooldown: 30m, per_target: 2 in 24h, per_policy: 5 in 1h, at_once: 2, deadline: 6h}
diagnose:
  campaign: {use: http.get, via: loyalty_api, with: {path: '/api/campaigns/${campaign_id}'}}
decide:
  - {when: campaign.json.status != "late", do: nothing}
  - do: [pause]
steps:
  pause:
    use: http.request
    via: loyalty_api
    with: {method: POST, path: '/api/campaigns/${campaign_id}/pause', body: {reason: late}}
    gate: {votes: {ops_marketing: 1}, within: 30m, late: page}
    verify:
      use: http.get
      via: loyalty_api
      with: {path: '/api/campaigns/${campaign_id}'}
      until: before.ok && verify.json.status == "paused"
      within: 5m
      every: 15s
    undo:
      use: http.request
      with: {method: POST, path: '/api/campaigns/${campaign_id}/resume', body: {reason: over}}
      after: 12h
page: {chain: default}
"""

HALVE = """\
policy: pause-campaign
summary: A program spends too much
mode: act
match: ['{alertname="CampaignLate"}']
params:
  campaign_id: {from: labels.campaign_id, pattern: '[a-z0-9-]{1,64}'}
target: loyalty-program/${campaign_id}
decide: [{do: [halve]}]
steps:
  halve:
    use: postgres.execute
    via: loyalty_db
    with: {sql: UPDATE loyalty_programs SET earn_rate = $2 WHERE id = $1, args: ['${campaign_id}', 0.5]}
    rows: ROWS
    gate: {votes: {finance_ops: 1}}
    verify: {none: it is in the transaction}
    undo: {none: meant to stay}
"""
"""A policy that changes rows; ROWS: how many."""

HEAD = """\
policy: pause-campaign
given:
  campaign: {json: {status: late}}
  pause.before: {json: {status: late}}
  pause.verify: {json: {status: paused}}
tests:
"""

ALERT = "alert: {labels: {alertname: CampaignLate, campaign_id: c-1}}"


@functools.cache
def known(config: Path = CONFIG) -> tuple[Catalog, frozenset[str]]:
    """What the example settings have."""
    settings = load(config, check=functools.partial(problems, blind=True), blind=True)
    return catalog(settings, blind=True), frozenset(settings.people)


def suite(folder: Path, tests: str, policies: Mapping[str, str] = {"pause.yaml": PAUSE}) -> Suite:
    """The stories of this text, beside these policies."""
    for name, text in policies.items():
        (folder / name).write_text(text)
    (folder / "pause.test.yaml").write_text(tests)
    return find([folder], *known())


def tell(folder: Path, tests: str) -> Report:
    """All the stories of this text, told. Without a head of its own it has `HEAD`."""
    text = tests if tests.startswith("policy:") else HEAD + dedent(tests)
    found = suite(folder, text)
    assert not found.findings, found.findings
    return run(found, known()[0])


def story(lines: str, name: str = "a story", begins: str = ALERT) -> str:
    """One story of these lines."""
    indented = "\n".join(f"      {line}" for line in dedent(lines).strip().split("\n"))
    return f"  - name: {name}\n    {begins}\n    story:\n{indented}\n"
