"""How long lint takes over a thousand policies, all different, with SQL; beside parsing their YAML alone."""

from __future__ import annotations

import functools
import gc
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from bench.figures import Bar, Figure
from remediator.connectors import operations
from remediator.core.catalog import Catalog, Connection, Reach, Risk
from remediator.policyfiles.lint.linting import lint

POLICIES = 1_000

CATALOG = Catalog.of(
    operations(),
    connections={
        "loyalty_api": Connection("loyalty_api", "http", {"POST /api/workers/*": Risk.SAFE}),
        "loyalty_db": Connection(
            "loyalty_db", "postgres", reach=Reach(frozenset({"loyalty_programs", "loyalty_campaigns"}))
        ),
        "prometheus": Connection("prometheus", "prometheus"),
        "slack": Connection("slack", "slack"),
        "people": Connection("people", "people"),
    },
    roles={
        name: frozenset({f"{name}-1", f"{name}-2"}) for name in ("oncall", "finance_ops", "ops_marketing")
    },
    targets=frozenset({"loyalty-program", "campaign"}),
    escalations={"default": {}},
)

_POLICY = """\
# Runbook: Budget Exhaustion Response, for the programs of shop %(n)d.
policy: budget-exhaustion-%(n)d
summary: A loyalty program of shop %(n)d has used 90 %% or more of its budget
owner: loyalty-ops
runbook: docs/runbooks/molam-loyalty.md#budget-exhaustion-response-%(n)d
severity: high
mode: act

match:
  - '{alertname="%(alert)s", shop="shop-%(n)d", env=~"prod|staging"}'
  - '{alertname="LoyaltyBudgetExhausted%(n)d", env!="dev"}'
recheck: 5m

params:
  program_id: {from: labels.program_id, type: string, pattern: 'shop-%(n)d-[a-z0-9-]{1,64}'}
  spent: {from: annotations.spent, type: number, default: 0}
target: loyalty-program/${program_id}

bounds:
  cooldown: 30m
  per_target: 3 in 24h
  per_policy: %(limit)d in 1h
  at_once: 5
  deadline: 6h

diagnose:
  budget:
    use: postgres.query
    via: loyalty_db
    with:
      sql: >
        SELECT name, status, earn_rate, budget_limit, budget_spent,
               100 * (budget_limit - budget_spent) / nullif(budget_limit, 0) AS remaining_pct
        FROM loyalty_programs WHERE id = $1 AND shop = %(n)d
      args: ['${program_id}']
    expect: one row
  stuck:
    use: prometheus.query
    via: prometheus
    with: {query: 'sum(loyalty_campaign_stuck{shop="%(n)d"}) or vector(0)'}

decide:
  - when: budget.row.status != "active"
    do: nothing
  - when: budget.row.remaining_pct > %(high)d.0 || stuck.value > %(limit)d
    do: nothing
  - when: budget.row.remaining_pct >= 5.0 && spent < 1000
    do: [warn_merchant]
  - do: [warn_merchant, halve_earn_rate]
    gate: {votes: {finance_ops: 1, ops_marketing: 1}, within: 15m, late: page}

steps:
  warn_merchant:
    use: slack.message
    with:
      channel: C0LOYALTY
      text: >-
        Program ${budget.row.name} of shop %(n)d has ${round(budget.row.remaining_pct, 2)} %% left
        (${budget.row.budget_spent} of ${budget.row.budget_limit} spent).

  halve_earn_rate:
    use: postgres.execute
    via: loyalty_db
    with:
      sql: >
        UPDATE loyalty_programs SET earn_rate = $2, updated_at = now()
        WHERE id = $1 AND earn_rate = $3 AND shop = %(n)d
      args: ['${program_id}', '${budget.row.earn_rate * 0.%(share)d}', '${budget.row.earn_rate}']
    rows: 1
    verify:
      use: prometheus.query
      via: prometheus
      with: {query: 'rate(loyalty_budget_spent_total{program_id="${program_id}", shop="%(n)d"}[5m])'}
      until: before.value == 0.0 || verify.value < 0.%(share)d * before.value
      within: 10m
      every: 30s
      for: 1m
    undo:
      how: restore
      after: %(after)dh
      early: unverified
"""


def lint_all(*, quick: bool) -> Iterator[Figure]:
    """A folder of policies in files of ten, as one repository has them."""
    rounds, count = (1, 200) if quick else (3, POLICIES)
    with tempfile.TemporaryDirectory() as folder:
        files = _written(Path(folder), count)
        ours = [_seconds(Path(folder), count) for _ in range(rounds)]
        floor = [_parsed(files) for _ in range(rounds)]
    more = {"policies": count, "baseline_is": "PyYAML's C parser alone", "lines": _POLICY.count("\n")}
    yield Figure("lint", Bar("s", "at most", 6 * count / POLICIES), ours, floor, more)


def _written(folder: Path, count: int) -> list[Path]:
    """All different; every tenth pair shares an alert, as in life."""
    files = []
    for first in range(0, count, 10):
        texts = [_policy(number) for number in range(first, min(first + 10, count))]
        files.append(folder / f"shop-{first}.yaml")
        files[-1].write_text("---\n".join(texts))
    stories = (f"policy: budget-exhaustion-{number}\ntests: [{{name: it acts}}]\n" for number in range(count))
    (folder / "all.test.yaml").write_text("---\n".join(stories))
    return files


def _policy(number: int) -> str:
    return _POLICY % {
        "n": number,
        "alert": "LoyaltyProgramBudgetHigh" if number % 10 else f"LoyaltyProgramBudgetHigh{number // 20}",
        "limit": number % 50 + 1,
        "high": number % 40 + 10,
        "share": number % 8 + 1,
        "after": number % 48 + 1,
    }


def _seconds(folder: Path, count: int) -> float:
    _forget()
    began = time.process_time()
    loaded = lint([folder], CATALOG)
    took = time.process_time() - began
    assert (len(loaded.policies), loaded.errors) == (count, ()), loaded.findings[:3]
    return took


_CACHED = type(functools.cache(len))


def _forget() -> None:
    """What an earlier round left in caches would flatter this one."""
    for one in gc.get_objects():
        if isinstance(one, _CACHED) and one.__module__.startswith("remediator"):
            one.cache_clear()


def _parsed(files: list[Path]) -> float:
    began = time.process_time()
    for file in files:
        for _ in yaml.parse(file.read_text(), Loader=yaml.CSafeLoader):
            pass
    return time.process_time() - began
