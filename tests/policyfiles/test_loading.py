"""From files to policies: findings with places and remedies, versions, and the whole example."""

# ruff: noqa: E501 - in a table of cases, one line is one case
from __future__ import annotations

import argparse
import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from remediator.cli import policy as cli
from remediator.connectors import postgres
from remediator.core.catalog import Catalog, Connection, Cover, Escape, Kind, Operation, Param, Reach, Risk
from remediator.core.durations import Rate
from remediator.errors import PolicyError
from remediator.policyfiles.checks.gates import satisfiable
from remediator.policyfiles.checks.table import CHECKS
from remediator.policyfiles.loading import Loaded, load, load_text, parse_text

HOUR = timedelta(hours=1)

CATALOG = Catalog.of(
    [
        postgres.QUERY,
        postgres.EXECUTE,
        postgres.RESTORE,
        Operation(
            "http.get",
            Kind.PROBE,
            "",
            {
                "path": Param("a path", escape=Escape.PATH, required=True),
                "expect_status": Param("", type="int"),
            },
            reads=("status", "json"),
        ),
        Operation(
            "http.request",
            Kind.ACTION,
            "",
            {
                "method": Param(
                    "the method", escape=Escape.LITERAL, required=True, choices=("POST", "DELETE")
                ),
                "path": Param("a path", escape=Escape.PATH, required=True),
                "body": Param("", type="any"),
                "headers": Param("", type="strings"),
                "ok": Param("", type="list"),
                "force": Param("", type="bool"),
            },
            risk=Risk.DISRUPTIVE,
        ),
        Operation(
            "prometheus.query",
            Kind.PROBE,
            "",
            {"query": Param("PromQL", escape=Escape.PROMQL, required=True)},
            reads=("value", "series", "count"),
        ),
        Operation(
            "slack.message",
            Kind.ACTION,
            "",
            {"channel": Param("", required=True), "text": Param("", escape=Escape.MRKDWN, required=True)},
        ),
    ],
    connections={
        "api": Connection(
            "api",
            "http",
            {"POST /safe/*": Risk.SAFE, "DELETE /data/*": Risk.DESTRUCTIVE},
            digest="api-1",
        ),
        "prometheus": Connection("prometheus", "prometheus", digest="prometheus-1"),
        "slack": Connection("slack", "slack"),
        "loyalty_db": Connection(
            "loyalty_db",
            "postgres",
            digest="db-1",
            reach=Reach(frozenset({"loyalty_programs", "loyalty_users"}), frozenset({"loyalty_users.token"})),
        ),
    },
    roles={
        "oncall": frozenset({"bob"}),
        "finance_ops": frozenset({"amina"}),
        "ops_marketing": frozenset({"bob"}),
        "nobody": frozenset(),
    },
    targets=frozenset({"loyalty-program", "worker"}),
    escalations={"default": {}},
    budgets={"restarts": Rate(5, HOUR), "loyalty-earn-rates": Rate(5, 24 * HOUR)},
)

GOOD = """\
policy: restart-workers
summary: Workers are stuck
match: ['{alertname="WorkersStuck"}']
target: worker/${name}
params:
  name: {from: labels.worker, pattern: '[a-z0-9-]+'}
diagnose:
  health: {use: http.get, via: api, with: {path: '/workers/${name}'}}
decide:
  - when: health.json.n != 200 && labels.env == "prod"
    do: [restart, tell]
steps:
  restart:
    use: http.request
    via: api
    with: {method: POST, path: '/workers/${name}/restart', body: {was: '${health.json.n}'}}
    verify:
      use: prometheus.query
      via: prometheus
      with: {query: 'up{worker="${name}"}'}
      until: verify.value == 1 || before.value != null && verify.value > before.value
    undo: {none: a restart needs no undo}
  tell:
    use: slack.message
    with: {channel: C0OPS, text: 'Restarted ${name}: ${steps.restart.result.status}'}
"""

EXAMPLE = Path(__file__).parent / "example.yaml"


def found(text: str, catalog: Catalog = CATALOG) -> list[str]:
    return [str(finding) for finding in load_text(text, catalog, "web.yaml").findings]


def one(text: str, catalog: Catalog = CATALOG) -> Any:
    loaded = load_text(text, catalog, "web.yaml")
    assert list(map(str, loaded.findings)) == []
    return loaded.policies[0]


def test_a_good_policy_loads_without_a_word() -> None:
    loaded = one(GOOD)
    assert loaded.policy.name == "restart-workers"
    assert loaded.text == GOOD
    assert (loaded.file, loaded.line) == ("web.yaml", 1)
    assert len(loaded.version) == 64


def test_the_example_of_the_language_loads_whole() -> None:
    loaded = load_text(EXAMPLE.read_text(), CATALOG, "example.yaml")
    assert [str(finding) for finding in loaded.findings] == []
    assert [one.policy.name for one in loaded.policies] == ["loyalty-budget-exhaustion"]


def test_what_takes_a_change_back_is_generated_and_never_written() -> None:
    written = EXAMPLE.read_text().replace("use: postgres.execute", "use: postgres.restore")
    told = [str(finding) for finding in load_text(written, CATALOG, "example.yaml").findings]
    assert [one for one in told if "P101 unknown operation 'postgres.restore'" in one]


# ── Errors of the model ─────────────────────────────────────────────────────────────────────────


def test_all_errors_of_a_document_come_at_once() -> None:
    text = GOOD.replace("summary", "sumary").replace("!= 200", "= 200").replace("method", "methd")
    assert [finding.split()[1] for finding in found(text)] == ["P011", "P010", "P013"]


# ── Checks ──────────────────────────────────────────────────────────────────────────────────────

PROOF = "    verify: {none: it answers at once}\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("body: {was", "headers: {was"),
        ("body: {was: '${health.json.n}'}", "ok: '${health.json}'"),
        ("body: {was: '${health.json.n}'}", "force: true"),
        (", pattern: '[a-z0-9-]+'", ", type: duration, default: 5m"),
        ("    do: [restart, tell]", "    do: [restart, tell]\n    gate: {votes: {oncall: 1, finance_ops: 1}}"),
        ("decide:", "bounds: {budget: restarts}\ndecide:"),
        ("decide:", "bounds: {windows: {not: [Mon-Sat UTC, Sun 00:00-23:59 UTC]}}\ndecide:"),
        ("decide:", "bounds: {windows: {only: ['Sun 02:15-02:45 Europe/Berlin']}}\ndecide:"),
        ("decide:", "bounds: {breaker: {failures: 3, within: 24h, mode: observe, for: 4h}}\ndecide:"),
    ],
)  # fmt: skip
def test_what_is_allowed_loads_without_a_word(old: str, new: str) -> None:
    assert old in GOOD
    assert found(GOOD.replace(old, new, 1)) == []


def test_a_step_that_is_not_safe_must_be_proved_or_say_why_not() -> None:
    start, end = GOOD.index("    verify:"), GOOD.index("    undo:")
    bare = GOOD[:start] + GOOD[end:]
    assert "P151 restart has no verify" in found(bare)[0]
    assert found(GOOD[:start] + PROOF + GOOD[end:]) == []
    assert found(bare.replace("/workers/${name}/restart", "/safe/${name}")) == []


def test_a_gate_on_every_case_that_uses_it_covers_a_destructive_step() -> None:
    text = GOOD.replace(
        "method: POST, path: '/workers/${name}/restart'", "method: DELETE, path: '/data/${name}'"
    )
    gated = text.replace("    do: [restart, tell]", "    do: [restart, tell]\n    gate: {votes: {oncall: 1}}")
    assert found(gated) == []
    second = gated.replace("steps:\n", "  - do: [restart]\nsteps:\n", 1)
    assert any("P150" in finding for finding in found(second))
    own = text.replace("    undo: {none", "    gate: {votes: {oncall: 1}}\n    undo: {none")
    assert found(own) == []


def test_a_policy_with_warnings_only_may_run() -> None:
    loaded = load_text(GOOD.replace("[restart, tell]", "[restart]"), CATALOG, "web.yaml")
    assert len(loaded.policies) == len(loaded.findings) == 1
    assert loaded.errors == ()


@pytest.mark.parametrize(
    ("votes", "people", "possible"),
    [
        ({"a": 1}, {"a": "x"}, True),
        ({"a": 2}, {"a": "x"}, False),
        ({"a": 1, "b": 1}, {"a": "x", "b": "x"}, False),
        ({"a": 1, "b": 1}, {"a": "xy", "b": "x"}, True),
        ({"a": 1, "b": 1, "c": 1}, {"a": "xy", "b": "xy", "c": "xy"}, False),
        ({"a": 2, "b": 1, "c": 1}, {"a": "wxyz", "b": "wx", "c": "w"}, True),
        ({"a": 10**9}, {"a": "x"}, False),
    ],
)
def test_each_person_counts_for_one_role(
    votes: dict[str, int], people: dict[str, str], possible: bool
) -> None:
    assert satisfiable(votes, {role: frozenset(who) for role, who in people.items()}) is possible


ASKS = "    do: [restart, tell]\n    gate: {votes: {%s}}"


@pytest.mark.parametrize(
    ("asks", "covers", "finding"),
    [
        ("nobody: 1", {"nobody": "eve"}, "P135 these votes can be given only while somebody covers"),
        ("oncall: 1, ops_marketing: 1", {"ops_marketing": "eve"}, "P135"),
        ("oncall: 1, ops_marketing: 1", {"ops_marketing": "bob"}, "P134 no set of distinct people"),
        ("oncall: 1, finance_ops: 1", {"finance_ops": "bob"}, ""),
        ("nobody: 1", {"oncall": "eve"}, "P133 nobody has the role"),
    ],
)
def test_votes_that_only_a_cover_can_give_are_pointed_out(
    asks: str, covers: dict[str, str], finding: str
) -> None:
    until = datetime(2027, 1, 3, tzinfo=UTC)
    away = changed(covers={role: (Cover(by, until),) for role, by in covers.items()})
    findings = found(GOOD.replace("    do: [restart, tell]", ASKS % asks, 1), away)
    assert len(findings) == (1 if finding else 0), findings
    assert all(finding in one for one in findings)


def test_codes_are_unique_and_said_in_the_check() -> None:
    codes = [check.code for check in CHECKS]
    assert codes == sorted(set(codes))
    assert all((check.look.__doc__ or "").startswith(check.code) for check in CHECKS)


# ── Versions ────────────────────────────────────────────────────────────────────────────────────


def changed(**parts: Any) -> Catalog:
    return dataclasses.replace(CATALOG, **parts)


def test_a_version_follows_the_document_and_what_it_uses() -> None:
    version = one(GOOD).version
    assert one("# words\n" + GOOD).version == version
    assert one(GOOD.replace("stuck", "very stuck")).version != version
    api = dataclasses.replace(CATALOG.connections["api"], digest="api-2")
    assert one(GOOD, changed(connections={**CATALOG.connections, "api": api})).version != version
    more = {**CATALOG.connections, "other": Connection("other", "http", digest="x")}
    assert one(GOOD, changed(connections=more)).version == version
    assert one(GOOD, changed(roles={**CATALOG.roles, "oncall": frozenset({"eve"})})).version != version
    assert one(GOOD, changed(roles={**CATALOG.roles, "finance_ops": frozenset({"eve"})})).version == version
    away = Cover("eve", datetime(2027, 1, 3, tzinfo=UTC))
    assert one(GOOD, changed(covers={"oncall": (away,)})).version != version
    assert one(GOOD, changed(covers={"finance_ops": (away,)})).version == version
    assert one(GOOD, changed(budgets={"restarts": Rate(1, HOUR)})).version == version
    shared = GOOD.replace("decide:", "bounds: {budget: restarts}\ndecide:")
    raised = changed(budgets={"restarts": Rate(6, HOUR)})
    assert one(shared).version != one(shared, raised).version


def test_an_old_version_can_be_loaded_from_its_text() -> None:
    loaded = load_text("---\n" + GOOD + "---\n" + GOOD.replace("restart-workers", "b"), CATALOG, "web.yaml")
    for each in loaded.policies:
        assert one(each.text).version == each.version


def test_an_old_version_is_not_judged_by_todays_catalogue() -> None:
    assert parse_text(GOOD.replace("via: api", "via: gone"), "kept").name == "restart-workers"
    with pytest.raises(PolicyError, match="P011"):
        parse_text(GOOD.replace("summary: Workers are stuck\n", ""), "kept")
    with pytest.raises(PolicyError, match="not one policy"):
        parse_text("", "kept")


# ── Files ───────────────────────────────────────────────────────────────────────────────────────


def test_a_folder_of_policies(tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "team" / "b.yml").write_text(GOOD.replace("restart-workers", "b"))
    (tmp_path / "a.test.yaml").write_text("policy: restart-workers\ntests: []\n")
    (tmp_path / ".hidden.yaml").write_text("nonsense")
    (tmp_path / "notes.txt").write_text("nonsense")
    loaded = load([tmp_path, tmp_path / "a.yaml"], CATALOG)
    assert [each.policy.name for each in loaded.policies] == ["restart-workers", "b"]
    assert loaded.findings == ()


def test_errors_of_all_files_come_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD.replace("summary", "sumary"))
    (tmp_path / "b.yaml").write_text("a: [")
    (tmp_path / "c.yaml").write_text("")
    (tmp_path / "d.yaml").write_text("- a list\n")
    loaded = load([tmp_path, tmp_path / "missing.yaml"], CATALOG)
    files = {Path(finding.file).name for finding in loaded.errors}
    assert files == {"a.yaml", "b.yaml", "c.yaml", "d.yaml", "missing.yaml"}


def test_two_policies_may_not_share_a_name(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(GOOD)
    errors = load([tmp_path], CATALOG).errors
    assert [error.code for error in errors] == ["P015"]
    assert "a.yaml:1" in errors[0].message


# ── The command line ────────────────────────────────────────────────────────────────────────────


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    cli.add_commands(parser.add_subparsers())
    args = parser.parse_args(["policy", *words])
    return int(args.run(args))


def test_loaded_is_a_value() -> None:
    assert Loaded((), ()).errors == ()


def test_what_does_not_parse_hides_no_other_error() -> None:
    text = """
policy: many-errors
summary: many
mode: atc
match: ['{alertname="X"}']
params: {id: {from: lables.id, type: string, pattern: '[a-z]+'}}
target: campaign/${id}
bounds: {cooldown: 5x}
decide:
  - do: [stop]
steps:
  stop:
    use: http.request
    via: no_such_api
    with: {method: POST, path: '/a/${id}'}
    gate: {votes: {opsmarketing: 1}}
    verify: {none: nothing can}
"""
    told = [str(finding) for finding in load_text(text, CATALOG, "many.yaml").findings]
    for part in (
        "'atc' cannot stand here",
        "'5x' is not a duration",
        "no_such_api",
        "opsmarketing",
        "lables",
    ):
        assert any(part in line for line in told), (part, told)


def test_what_had_to_be_taken_out_is_not_said_to_be_missing() -> None:
    text = """
policy: one-error
summary: one
match: ['{alertname="X"}']
target: worker/all
decide: [{do: [stop]}]
steps:
  stop:
    use: http.request
    via: loyalty_api
    with: {method: POST, path: /a}
    verify: {use: prometheus.query, via: prometheus, with: {query: up}, until: 'verify.value ==='}
"""
    (finding,) = load_text(text, CATALOG, "one.yaml").findings
    assert finding.code == "P013"


# ── SQL ─────────────────────────────────────────────────────────────────────────────────────────

SQL = "SELECT name FROM loyalty_programs WHERE id = $1"
ASKING = GOOD.replace(
    "diagnose:\n",
    "diagnose:\n  budget:\n    use: postgres.query\n    via: loyalty_db\n"
    f"    with:\n      sql: {SQL}\n      args: ['${{name}}']\n",
)


def test_a_statement_that_only_reads_loads_without_a_word() -> None:
    assert one(ASKING).policy.diagnose["budget"].use == "postgres.query"


def test_values_that_are_one_expression_are_counted_only_when_they_are_known() -> None:
    assert one(ASKING.replace("args: ['${name}']", "args: '${[name]}'"))
