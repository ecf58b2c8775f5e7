"""Policies whose steps change rows, as they may be written; the corpus holds what may not."""

from __future__ import annotations

import pytest

from remediator.connectors import http, people, postgres
from remediator.core.catalog import Catalog, Connection, Reach
from remediator.policyfiles.loading import load_text

CATALOG = Catalog.of(
    [*postgres.KIND.operations, *http.KIND.operations, *people.KIND.operations],
    connections={
        "loyalty_db": Connection(
            "loyalty_db",
            "postgres",
            reach=Reach(
                frozenset({"loyalty_programs", "loyalty_users"}), frozenset({"loyalty_users.password_hash"})
            ),
        ),
        "loyalty_api": Connection("loyalty_api", "http"),
        "people": Connection("people", "people"),
    },
    roles={"oncall": frozenset({"bob"})},
    targets=frozenset({"loyalty-program"}),
    escalations={"default": {}},
)
SQL = "UPDATE loyalty_programs SET earn_rate = $2 WHERE id = $1"
POLICY = f"""\
policy: halve
summary: The budget is nearly used
match: ['{{alertname="BudgetHigh"}}']
target: loyalty-program/${{program}}
params:
  program: {{from: labels.program, pattern: '[a-z0-9-]+'}}
decide: [{{do: [halve]}}]
steps:
  halve:
    use: postgres.execute
    via: loyalty_db
    with:
      sql: {SQL}
      args: ['${{program}}', 0.035]
    rows: 1
    gate: {{votes: {{oncall: 1}}}}
    verify: {{none: a test}}
    undo: {{none: a test}}
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rows: 1", "rows: 1"),
        ("rows: 1", "rows: {at_most: 50}"),
        ("undo: {none: a test}", "undo: {how: restore, after: 24h}"),
        ("args: ['${program}', 0.035]", "args: '${[program, 0.035]}'"),
    ],
)
def test_a_change_that_says_what_it_must_loads_without_a_word(old: str, new: str) -> None:
    assert old in POLICY
    assert [str(one) for one in load_text(POLICY.replace(old, new), CATALOG, "halve.yaml").findings] == []
