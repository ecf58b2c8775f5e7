"""What holds of every pack: its lint, stories, alerts and README, and that nobody loosens it unseen."""

from __future__ import annotations

import copy
import functools
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from remediator.cli import main
from remediator.config_file import load as load_config
from remediator.connectors import catalog, problems
from remediator.core.alert import Alert
from remediator.core.catalog import Catalog, Risk
from remediator.core.gate import need
from remediator.core.planning import Address, address
from remediator.core.policy import Policy
from remediator.core.selector import Selector
from remediator.policyfiles.checks.safety import step_risks
from remediator.policyfiles.checks.uses import Look
from remediator.policyfiles.diff.compare import Side, Written, difference
from remediator.policyfiles.loading import LoadedPolicy
from remediator.policyfiles.packs import Pack, overview, packs
from remediator.policyfiles.testing.coverage import Coverage
from remediator.policyfiles.testing.running import Report, Suite, find, run
from tests.packs.five_stories import missing
from tests.packs.room import POLICIES, example
from tests.rig.components import program

RULES = Path(__file__).parent / "rules"
SYSTEMS = [pack.system for pack in packs(POLICIES)]

pytestmark = pytest.mark.timeout(60)
each_system = pytest.mark.parametrize("system", SYSTEMS)


@dataclass(frozen=True)
class Shipped:
    """A pack, its catalogue by the example config, and its stories."""

    pack: Pack
    catalog: Catalog
    suite: Suite

    @property
    def policies(self) -> tuple[LoadedPolicy, ...]:
        """All of them."""
        return self.suite.policies

    @functools.cached_property
    def report(self) -> Report:
        """How its stories went; told when first asked for."""
        return run(self.suite, self.catalog)

    @property
    def rules(self) -> list[dict[str, Any]]:
        """Its alerting rules."""
        written = yaml.safe_load((self.pack.folder / "alerts.yaml").read_text())
        return [rule for group in written["groups"] for rule in group["rules"]]


@functools.cache
def shipped(system: str) -> Shipped:
    config = load_config(example(system), check=functools.partial(problems, blind=True), blind=True)
    known = catalog(config, blind=True)
    suite = find([POLICIES / system], known, frozenset(config.people))
    assert [str(one) for one in suite.findings] == []
    return Shipped(Pack(POLICIES / system), known, suite)


# ── Whole ───────────────────────────────────────────────────────────────────────────────────────


def test_every_folder_of_policies_is_a_pack() -> None:
    assert sorted(one.name for one in POLICIES.iterdir() if one.is_dir()) == SYSTEMS


@each_system
def test_lint_finds_nothing_with_the_example_config(system: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["policy", "lint", "--strict", "--config", str(example(system)), str(POLICIES / system)]
    assert (main(words), capsys.readouterr().out.count("without errors; 0 errors, 0 warnings")) == (0, 1)


@each_system
def test_the_stories_hold_and_reach_every_case_step_gate_and_undo(system: str) -> None:
    report = shipped(system).report
    assert [(one.story.name, one.failures) for one in report.failed] == []
    assert {name: one.missing for name, one in report.coverage.items() if one.missing} == {}


@each_system
def test_every_policy_has_the_five_stories(system: str) -> None:
    told = shipped(system).report.told
    lacking = {
        one.policy.name: missing(one.policy, [story for story in told if story.story.policy is one])
        for one in shipped(system).policies
    }
    assert {name: words for name, words in lacking.items() if words} == {}


@each_system
def test_every_policy_is_owned_and_chooses_its_bounds(system: str) -> None:
    for one in shipped(system).policies:
        assert one.policy.owner and one.policy.runbook and one.policy.summary, one.policy.name
        chosen = one.policy.bounds.model_fields_set
        assert {"cooldown", "at_once", "deadline"} <= chosen, f"{one.policy.name} chooses only {chosen}"


# ── Alerts ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.real
@pytest.mark.needs("promtool")
@each_system
def test_prometheus_takes_the_rules(system: str) -> None:
    rules = POLICIES / system / "alerts.yaml"
    told = subprocess.run(
        [program("promtool"), "check", "rules", str(rules)], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr


@each_system
def test_every_rule_fires_the_policies_that_it_names(system: str) -> None:
    one = shipped(system)
    meant = {rule["alert"]: _named(rule) for rule in one.rules}
    assert len(meant) == len(one.rules), "two rules have one name"
    fired = {rule["alert"]: _fired(rule, one.policies) for rule in one.rules}
    assert fired == meant


@each_system
def test_every_policy_that_waits_for_alerts_is_fired_by_a_rule(system: str) -> None:
    one = shipped(system)
    waiting = {policy.policy.name for policy in one.policies if policy.policy.match}
    assert waiting == {name for rule in one.rules for name in _fired(rule, one.policies)}


@pytest.mark.real
@pytest.mark.needs("promtool")
@each_system
def test_the_rules_and_queries_say_of_these_series_what_is_told_of_them(system: str) -> None:
    """By Prometheus' own reckoning: what fires, with which labels, and what the policies' queries read."""
    told = subprocess.run(
        [program("promtool"), "test", "rules", str(RULES / f"{system}.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    written = {" ".join(query.split()) for query in _queries(shipped(system))}
    for test in _told(system):
        for one in test.get("promql_expr_test", []):
            assert one["expr"] in written, f"no policy asks for {one['expr']}"


@each_system
def test_what_a_policy_takes_from_its_alert_is_there(system: str) -> None:
    """As it was proved to come out of the rule, or as it stands there word by word."""
    one = shipped(system)
    for rule in one.rules:
        for fired in _fired_alerts(system, rule):
            for name in _fired(rule, one.policies):
                (policy,) = (loaded.policy for loaded in one.policies if loaded.policy.name == name)
                found = address(policy, fired)
                assert isinstance(found, Address), (
                    f"{name} refuses {rule['alert']}, with {fired.labels}: {found.reason}; let its rule keep"
                    f" the label, and tell of it in tests/packs/rules/{system}.yaml"
                )


def _told(system: str) -> list[dict[str, Any]]:
    tests: list[dict[str, Any]] = yaml.safe_load((RULES / f"{system}.yaml").read_text())["tests"]
    return tests


def _fired_alerts(system: str, rule: Mapping[str, Any]) -> list[Alert]:
    """Those that its tests show; else one with what is no template."""
    shown = [
        (expected["exp_labels"], expected["exp_annotations"])
        for test in _told(system)
        for asked in test.get("alert_rule_test", [])
        if asked["alertname"] == rule["alert"]
        for expected in asked["exp_alerts"]
    ]
    plain = [
        {key: text for key, text in rule.get(part, {}).items() if "{{" not in text}
        for part in ("labels", "annotations")
    ]
    return [
        Alert(
            fingerprint="f",
            status="firing",
            labels={"alertname": rule["alert"], **labels},
            annotations=annotations,
            starts_at=datetime(2026, 3, 2, tzinfo=UTC),
        )
        for labels, annotations in shown or [(plain[0], plain[1])]
    ]


def _queries(one: Shipped) -> Iterator[str]:
    """All that its policies ask Prometheus."""

    def inside(part: object) -> Iterator[str]:
        if isinstance(part, Mapping):
            if part.get("use") == "prometheus.query":
                yield part["with"]["query"]
            yield from (query for each in part.values() for query in inside(each))
        elif isinstance(part, list):
            yield from (query for each in part for query in inside(each))

    for loaded in one.policies:
        yield from inside(loaded.document.value)


def _named(rule: Mapping[str, Any]) -> set[str]:
    return set(str(rule["annotations"]["policies"]).replace(",", " ").split())


def _fired(rule: Mapping[str, Any], policies: tuple[LoadedPolicy, ...]) -> set[str]:
    """Those of which a selector may hold, whatever the labels that the expression brings."""
    labels = {"alertname": rule["alert"], **rule.get("labels", {})}

    def may_hold(selector: Selector) -> bool:
        return all(one.holds(labels) for one in selector.matchers if one.name in labels)

    return {one.policy.name for one in policies if any(map(may_hold, one.policy.selectors))}


# ── README ──────────────────────────────────────────────────────────────────────────────────────


@each_system
def test_the_readme_accounts_for_every_section_of_the_runbook_and_every_policy(system: str) -> None:
    assert Pack(POLICIES / system).gaps() == []


def test_the_table_over_all_packs_is_the_one_of_their_readmes() -> None:
    assert (POLICIES / "README.md").read_text() == overview(POLICIES), "run scripts/reference.py"


def test_a_section_is_a_heading_without_others_under_it(tmp_path: Path) -> None:
    (tmp_path / "runbook.txt").write_text("## A\n### One\n#### Deep\n### Two\n## B\n")
    (tmp_path / "README.md").write_text(
        "| s | p |\n|---|---|\n"
        "| A › One › Deep | [x](x.yaml), [gone](gone.yaml) |\n"
        "| B | later |\n| B | **People**: because |\n| C | [x](x.yaml) |\n"
    )
    for name in ("x.yaml", "idle.yaml"):
        (tmp_path / name).write_text("policy: x\n")
    assert Pack(tmp_path).sections == ("A › One › Deep", "A › Two", "B")
    assert Pack(tmp_path).gaps() == [
        "no row says who answers for: A › Two",
        "the runbook has no section: C",
        "two rows are about: B",
        "B: link its policies, or say why behind **People**: or **Nothing to do**:",
        "B: link its policies, or say why behind **People**: or **Nothing to do**:",
        "there is no policy gone.yaml",
        "no row names idle.yaml",
    ]


# ── Nobody loosens it unseen ────────────────────────────────────────────────────────────────────


@each_system
def test_one_vote_fewer_in_any_gate_is_red(system: str) -> None:
    one = shipped(system)
    weaker = [(loaded, *looser) for loaded in one.policies for looser in _looser(loaded, one.catalog)]
    assert len(weaker) >= _gates(one)
    for loaded, words, changed in weaker:
        assert _is_red(loaded, changed, one.catalog), f"{loaded.policy.name}: {words} passes unseen"


@each_system
def test_a_case_fewer_that_keeps_an_act_away_is_red(system: str) -> None:
    one = shipped(system)
    weaker = [(loaded, *looser) for loaded in one.policies for looser in _unguarded(loaded, one.catalog)]
    assert len(weaker) >= len(one.policies) / 2, "most policies look whether there is anything to do"
    for loaded, words, changed in weaker:
        assert _is_red(loaded, changed, one.catalog), f"{loaded.policy.name}: {words} passes unseen"


def _is_red(loaded: LoadedPolicy, changed: dict[str, Any], known: Catalog) -> bool:
    both = (loaded.policy, Policy.model_validate(changed))
    base, head = (Side({loaded.policy.name: Written(each)}, known) for each in both)
    return difference(base, head).loosened


@each_system
def test_the_command_ends_in_1_for_it(
    system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first gate of the pack, as a pull request would loosen it."""
    loaded, words, changed = next(
        (loaded, *looser)
        for loaded in shipped(system).policies
        for looser in _looser(loaded, shipped(system).catalog)
    )
    settings = yaml.safe_load(example(system).read_text()) | {"policies": "policies"}
    folder = tmp_path / "policies"
    folder.mkdir()
    (tmp_path / "remediator.yaml").write_text(yaml.safe_dump(settings))
    for other in shipped(system).policies:
        (folder / Path(other.file).name).write_text(other.text)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    monkeypatch.chdir(tmp_path)
    (folder / Path(loaded.file).name).write_text(json.dumps(changed))  # JSON is YAML
    assert main(["policy", "diff", "--base", "HEAD", "policies"]) == 1, words
    (row,) = [row for row in capsys.readouterr().out.splitlines() if row.startswith("| **loosened**")]
    assert f"<code>{loaded.policy.name}</code>" in row


def _gates(one: Shipped) -> int:
    return sum(len(Coverage.of(each.policy, one.catalog).there["gates"]) for each in one.policies)


def _looser(loaded: LoadedPolicy, known: Catalog) -> Iterator[tuple[str, dict[str, Any]]]:
    """The policy with one vote fewer: of each role of each gate, also of those that are asked by default."""
    document = loaded.document.value
    for place, part in _gated(document):
        for role, votes in part["gate"].get("votes", {}).items():
            left = {**part["gate"]["votes"], role: votes - 1}
            left = {name: count for name, count in left.items() if count}
            gate = {**part["gate"], "votes": left} if left else {"waived": "nobody has to look at this"}
            yield f"{place} without a vote of {role}", _with(document, place, gate)
    risks = step_risks(Look(loaded.policy, known))
    for case in loaded.policy.decide:
        for name in case.steps:
            wanted = need(loaded.policy, case, name, risks[name], loaded.policy.mode)
            if wanted is not None and case.gate is None and loaded.policy.steps[name].gate is None:
                place = ("steps", name)
                yield f"{name} unasked", _with(document, place, {"waived": "nobody has to look at this"})


def _unguarded(loaded: LoadedPolicy, known: Catalog) -> Iterator[tuple[str, dict[str, Any]]]:
    """The policy without a case that only tells, or does nothing, before one that changes something."""
    risks, document = step_risks(Look(loaded.policy, known)), loaded.document.value
    acts = [any(risks[name] is not Risk.SAFE for name in case.steps) for case in loaded.policy.decide]
    for number, case in enumerate(loaded.policy.decide):
        if not acts[number] and any(acts[number:]):
            left = [*document["decide"][:number], *document["decide"][number + 1 :]]
            yield f"without the case when {case.when}", {**document, "decide": left}


def _gated(document: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, str | int], Any]]:
    for number, case in enumerate(document["decide"]):
        if "gate" in case:
            yield ("decide", number), case
    for name, step in document["steps"].items():
        if "gate" in step:
            yield ("steps", name), step


def _with(document: Mapping[str, Any], place: tuple[str | int, str | int], gate: Any) -> dict[str, Any]:
    changed: dict[Any, Any] = copy.deepcopy(dict(document))
    changed[place[0]][place[1]]["gate"] = gate
    return changed
