"""Policies whose steps change rows: each fault of their SQL has its code, its place and a way out."""

# ruff: noqa: E501 - in a table of cases, one line is one case
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
    escalations=frozenset({"default"}),
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


def found(text: str) -> list[str]:
    return [str(finding) for finding in load_text(text, CATALOG, "halve.yaml").findings]


def test_a_step_that_changes_one_row_loads_without_a_word() -> None:
    assert found(POLICY) == []


@pytest.mark.parametrize(
    ("sql", "finding"),
    [
        ("UPDAT loyalty_programs", '13:12: P201 this is no SQL: syntax error at or near "UPDAT"'),
        (f"{SQL}; {SQL}", "13:12: P202 there are 2 statements; write one UPDATE, INSERT or DELETE"),
        ("SELECT $1, $2", "13:12: P203 this is no UPDATE, INSERT or DELETE but SELECT; write one UPDATE, INSERT or DELETE"),
        ("UPDATE secrets SET a = $1 WHERE id = $2", "13:19: P204 the connection lists no table 'secrets'; the connection's tables: loyalty_programs, loyalty_users"),
        ("UPDATE loyalty_programs SET name = tier_of($1) WHERE id = $2", "13:47: P205 the function tier_of() is not allowed in a change; call it in a probe, and pass what it found as a value"),
        ("UPDATE loyalty_users SET password_hash = $2 WHERE id = $1", "13:37: P206 password_hash is a hidden column; leave it out"),
        ("UPDATE loyalty_programs SET name = 'x' WHERE id = $1", "13:12: P207 the statement takes 1 values, and args has 2; write one item of args for each"),
        ("UPDATE loyalty_programs SET name = $3 WHERE id = $1", "13:12: P207 the values are numbered $1, $3; number them $1, $2 … without a gap"),
        ("UPDATE loyalty_programs SET name = $1, status = $2", "13:12: P210 there is no WHERE, so every row would change; say which rows: WHERE id = $1"),
        (f"{SQL} OR true", "13:12: P210 the WHERE may hold for every row: it compares no column with a value; say which rows: WHERE id = $1"),
        (f"{SQL} RETURNING id", "13:12: P211 RETURNING may not be written; what changes is read without it"),
        ("UPDATE loyalty_programs SET earn_rate = earn_rate * $2 WHERE id = $1", "13:52: P212 earn_rate is set, and read for it: a second time would change it again; read it in a probe, pass the new value, and add AND earn_rate = $n with the old one"),
        (f"{SQL} AND name = E'x'", "13:80: P213 texts with escapes, bits and U& may not stand in a change; write '…', or pass it as a value"),
        (f"{SQL} AND name = '${{program}}'", "13:12: P107 no expression is allowed here; write $1 in the SQL, and the expression in args"),
        ("5", "13:12: P107 sql must be a text"),
    ],
)  # fmt: skip
def test_a_change_is_judged_where_it_stands(sql: str, finding: str) -> None:
    assert found(POLICY.replace(f"sql: {SQL}", f"sql: {sql}")) == [f"halve.yaml:{finding}"]


def test_every_fault_of_a_change_is_told_at_once() -> None:
    text = POLICY.replace(SQL, "UPDATE secrets SET a = (SELECT 1), b = $$x$$ RETURNING a")
    assert {line.split()[1] for line in found(text)} == {"P204", "P210", "P211", "P213"}


def test_a_change_must_say_how_many_rows() -> None:
    assert found(POLICY.replace("    rows: 1\n", "")) == [
        "halve.yaml:9:3: P153 halve does not say how many rows; write rows: 1, or rows: {at_most: 50}"
    ]
    assert found(POLICY.replace("rows: 1", "rows: {at_most: 50}")) == []


def test_rows_are_only_for_what_counts_them() -> None:
    old = POLICY[POLICY.index("    use: postgres") : POLICY.index("    rows:")]
    new = "    use: http.request\n    via: loyalty_api\n    with: {method: POST, path: '/programs/${program}/halve'}\n"
    assert found(POLICY.replace(old, new)) == [
        "halve.yaml:13:5: P208 http.request counts no rows; leave rows out"
    ]


def test_an_undo_that_is_a_change_of_its_own_could_not_be_counted() -> None:
    undo = f"    undo: {{use: postgres.execute, with: {{sql: '{SQL}', args: ['${{program}}', 0.07]}}, after: 24h}}\n"
    (finding,) = found(POLICY.replace("    undo: {none: a test}\n", undo))
    assert (
        "P153 nothing can say how many rows postgres.execute may change here; write how: restore" in finding
    )
    assert (
        found(
            POLICY.replace("{none: a test}\n", "{how: restore, after: 24h}\n").replace(
                "verify: {how: restore, after: 24h}", "verify: {none: a test}"
            )
        )
        == []
    )


def test_a_probe_may_not_change_and_a_change_may_not_only_read() -> None:
    probe = (
        f"diagnose:\n  x: {{use: postgres.query, via: loyalty_db, with: {{sql: '{SQL}', args: [1, 2]}}}}\n"
    )
    (finding,) = found(POLICY.replace("decide:", f"{probe}decide:"))
    assert "P203 this is no SELECT but UPDATE" in finding
