"""The shipped stories: a policy that was weakened breaks them. That they hold is in tests/packs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from remediator.policyfiles.testing.running import find
from remediator.policyfiles.testing.scene import running
from remediator.policyfiles.testing.teller import Teller
from tests.policyfiles.testing.stage import PACK, known

WEAKENED = [
    ("budget-exhaustion", "finance_ops: 1, ops_marketing: 1", "ops_marketing: 1"),
    ("budget-exhaustion", "within: 15m", "within: 1h"),
    ("budget-exhaustion", "late: page", "late: deny"),
    ("budget-exhaustion", "remaining_pct > 10.0", "remaining_pct >= 10.0"),
    ("budget-exhaustion", "remaining_pct >= 5.0", "remaining_pct > 5.0"),
    ("budget-exhaustion", 'budget.row.status != "active"', 'budget.row.status == "gone"'),
    ("budget-exhaustion", "earn_rate * 0.5", "earn_rate * 0.9"),
    ("budget-exhaustion", "after: 24h", "after: 48h"),
    ("budget-exhaustion", "early: unverified ", "early: resolved "),
    ("budget-exhaustion", "verify.value < 0.8", "verify.value < 1.8"),
    ("budget-exhaustion", "[warn_merchant, halve_earn_rate]", "[halve_earn_rate, warn_merchant]"),
    ("budget-exhaustion", "expect: one row", "expect: any rows"),
    ("budget-exhaustion", "cooldown: 30m", "cooldown: 5m"),
    ("budget-exhaustion", "per_target: 3 in 24h", "per_target: 9 in 24h"),
    ("budget-exhaustion", "at_once: 5", "at_once: 50"),
    ("budget-exhaustion", "      for: 1m\n", ""),
    ("budget-exhaustion", "rows: 1", "rows: {at_most: 50}"),
    ("budget-exhaustion", "severity: high", "severity: low"),
    ("budget-increase", "per_target: 2 in 24h", "per_target: 9 in 24h"),
    ("budget-increase", "late: page", "late: deny"),
    ("budget-increase", "cooldown: 1h", "cooldown: 1m"),
    ("fraud-freeze", "per_target: 2 in 24h", "per_target: 9 in 24h"),
    ("fraud-freeze", "rows: 1", "rows: {at_most: 50}"),
    ("stuck-campaign", "per_target: 2 in 24h", "per_target: 9 in 24h"),
    ("stuck-campaign", "at_once: 3", "at_once: 30"),
    ("tier-evaluator", "cooldown: 30m", "cooldown: 1m"),
    ("budget-exhaustion", "mode: act", "mode: observe"),
    ("budget-exhaustion", "[a-z0-9-]{1,64}", ".*"),
    ("budget-increase", "2.0 * program", "20.0 * program"),
    ("budget-increase", "budget_limit > 2.0", "budget_limit >= 2.0"),
    ("budget-increase", "budget_limit <=", "budget_limit <"),
    ("budget-increase", "finance_ops: 1, ops_marketing: 1", "finance_ops: 1"),
    ("budget-increase", "'${approval_request_id}'", "'none'"),
    ("budget-increase", "{8,64}", "{1,64}"),
    ("budget-increase", "type: int", "type: string, pattern: '.*'"),
    ("fraud-freeze", "oncall: 1, finance_ops: 1}, within: 5m", "oncall: 1}, within: 5m"),
    ("fraud-freeze", "oncall: 1, finance_ops: 1}, within: 30m", "oncall: 1}, within: 30m"),
    ("fraud-freeze", "times <= 50", "times <= 51"),
    ("fraud-freeze", "points_balance > 1000000.0\n    do", "points_balance > 2000000.0\n    do"),
    ("fraud-freeze", "after: 72h", "after: 96h"),
    ("fraud-freeze", "at_once: 5", "at_once: 50"),
    ("fraud-freeze", '["emergency_freeze"]', "[]"),
    ("fraud-freeze", "[freeze, lock_points]", "[lock_points, freeze]"),
    ("fraud-freeze", "[A-Za-z0-9-]{1,64}", ".*"),
    ("latency", "p95.value <= 0.5", "p95.value < 0.5"),
    ("latency", "optional: true", "optional: false"),
    ("latency", "on_failure: continue", "on_failure: page"),
    ("latency", "cooldown: 30m", "cooldown: 1m"),
    ("latency", "rows: {at_most: 5}", "rows: {at_most: 50}"),
    ("latency", "longer_than: 1m", "longer_than: 1s"),
    ("latency", "q.seconds > 60).size() > 5", "q.seconds > 60).size() > 6"),
    ("latency", "'!queries.ok || !pool.ok'", "'!queries.ok'"),
    ("fraud-spike", "finance_ops: 1, ops_marketing: 1", "ops_marketing: 1"),
    ("fraud-spike", "[show_evidence, suspend, flag]", "[show_evidence, flag, suspend]"),
    ("fraud-spike", "earners.count == 0 && addresses.count == 0", "earners.count == 0"),
    ("fraud-spike", "${unflagged.rows}", "${earners.rows}"),
    ("campaign-check", "> 1.1 * estimate", "> 1.3 * estimate"),
    ("campaign-check", ">= 0.9 * estimate", "> 0.9 * estimate"),
    ("campaign-check", "<= 1.1 * estimate", "<= 1.2 * estimate"),
    ("campaign-check", "early: unverified", "early: resolved"),
    ("stuck-campaign", "[retrigger, pause]", "[pause, retrigger]"),
    ("stuck-campaign", "stuck.value > 5", "stuck.value >= 5"),
    ("stuck-campaign", "ops_marketing: 1", "oncall: 1"),
    ("stuck-campaign", "after: 12h", "after: 24h"),
    ("stuck-campaign", "cooldown: 1h", "cooldown: 1m"),
    ("stuck-campaign", "[a-z0-9-]{1,64}", ".*"),
    ("tier-evaluator", "verify.value > before.value", "verify.value >= before.value"),
    ("tier-evaluator", "within: 10m", "within: 20m"),
    ("tier-evaluator", 'status == "ok"', 'status != "ok"'),
]


@pytest.mark.parametrize(("name", "old", "new"), WEAKENED)
def test_a_policy_that_was_weakened_breaks_a_story(tmp_path: Path, name: str, old: str, new: str) -> None:
    text = (PACK / f"{name}.yaml").read_text()
    assert old in text
    (tmp_path / f"{name}.yaml").write_text(text.replace(old, new, 1))
    shutil.copy(PACK / f"{name}.test.yaml", tmp_path)
    suite = find([tmp_path], *known())
    assert suite.policies or suite.findings
    catalog = known()[0]
    told = (Teller(one, catalog, running(one.policy, catalog)).tell() for one in suite.stories)
    assert suite.findings or any(one.failures for one in told), f"{old} → {new} passes unseen"
