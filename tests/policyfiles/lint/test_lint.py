"""`policy lint` as people and programs meet it: outputs, exit status, no secrets, what shows across files."""

# ruff: noqa: E501 - what is printed is one line

from __future__ import annotations

import argparse
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from remediator.cli import policy as cli
from remediator.config_file import load as load_config
from remediator.connectors import KINDS, catalog
from remediator.documents.finding import Finding
from remediator.errors import ConfigError, PolicyError
from remediator.policyfiles.lint.codes import CODES
from remediator.policyfiles.lint.reports import as_github, as_json, as_sarif
from remediator.policyfiles.loading import Loaded

POLICIES = Path(__file__).resolve().parents[2] / "policies"
CONFIG = POLICIES / "remediator.yaml"
BASE = (POLICIES / "base.yaml").read_text()
TESTED = "policy: restart-worker\ntests: [{name: it is named}]\n"


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    cli.add_commands(parser.add_subparsers())
    args = parser.parse_args(["policy", *words])
    return int(args.run(args))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a config, a policy and its test, and nothing in the environment."""
    for name in re.findall(r"env:(\w+)", CONFIG.read_text()):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "remediator.yaml").write_bytes(CONFIG.read_bytes())
    (tmp_path / "good.yaml").write_text(BASE)
    (tmp_path / "good.test.yaml").write_text(TESTED)
    return tmp_path


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


# ── Text and exit status ────────────────────────────────────────────────────────────────────────


def test_a_good_policy_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("lint", "good.yaml") == 0
    assert lines(capsys) == ["1 policy without errors; 0 errors, 0 warnings"]


def test_errors_are_problems_and_warnings_only_when_it_is_strict(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "good.test.yaml").unlink()
    assert run("lint", "good.yaml") == 0
    assert run("lint", "--strict", "good.yaml") == 1
    assert lines(capsys)[0].startswith("good.yaml:1:9: P170 no test names restart-worker; write a story")
    (folder / "bad.yaml").write_text(BASE.replace("[restart]", "[restrat]"))
    assert run("lint", "bad.yaml") == 1
    found = lines(capsys)
    assert "bad.yaml:13:10: P140 unknown step 'restrat'; did you mean restart?" in found
    assert found[-1] == "0 policies without errors; 1 error, 1 warning"


@pytest.mark.parametrize("words", [["lint"], ["lint", "good.yaml", "--config", "none.yaml"]])
def test_what_could_not_run_says_why(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    told = capsys.readouterr()
    assert (told.out, bool(told.err)) == ("", True)


def test_a_code_is_explained_by_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("lint", "--explain", "p150") == 0
    assert lines(capsys)[0] == f"# P150: {CODES['P150'].title}"


def test_a_code_that_is_none_names_the_nearest() -> None:
    with pytest.raises(PolicyError, match="there is no code 'P15O'; did you mean P1"):
        run("lint", "--explain", "P15O")


# ── No secrets ──────────────────────────────────────────────────────────────────────────────────


def test_the_daemon_misses_what_lint_does_not_need() -> None:
    with pytest.raises(ConfigError, match="LINT_CORPUS_TOKEN is not there"):
        load_config(CONFIG, {})


def test_a_reviewer_has_neither_secrets_nor_certificates(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = CONFIG.read_text().replace("    kind: http\n", "    kind: http\n    ca: /etc/ssl/not-here.pem\n")
    slack = "slack: {bot_token: '${env:NO}', signing_secret: '${file:no}', channel: '${env:NO}'}\n"
    hook = "listen: 0.0.0.0:8080\nhooks: {alertmanager: {bearer: '${env:NO}'}}\n"
    (folder / "remediator.yaml").write_text(text + slack + hook)
    assert run("lint", "good.yaml") == 0, capsys.readouterr()


def test_what_is_wrong_with_the_config_is_still_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "remediator.yaml").write_text(CONFIG.read_text().replace("tables:", "tabels:"))
    assert run("lint", "good.yaml") == 2
    assert "did you mean tables?" in capsys.readouterr().err


EMPTY: dict[str, object] = {
    "tables": [],
    "commands": {},
    "servers": {"a": "b"},
    "mounts": ["/"],
    "names": ["a"],
    "containers": ["a"],
    "namespaces": ["a"],
}
BESIDE: dict[str, dict[str, object]] = {"kubernetes": {"in_cluster": True}}
"""One of several keys is needed."""


@pytest.mark.parametrize(
    "kind", [one for one in KINDS.values() if not one.built_in], ids=lambda one: one.name
)
def test_every_text_that_a_connection_needs_may_be_a_reference(kind: Any, folder: Path) -> None:
    needed = {name for name, field in kind.settings.model_fields.items() if field.is_required()}
    written = (
        {"kind": kind.name}
        | dict.fromkeys(needed, "${env:NO}")
        | {name: empty for name, empty in EMPTY.items() if name in needed}
        | BESIDE.get(kind.name, {})
    )
    (folder / "remediator.yaml").write_text(json.dumps({"connections": {"one": written}}))
    known = catalog(load_config(folder / "remediator.yaml", {}, blind=True), blind=True)
    assert known.connections["one"].kind == kind.name


# ── For programs ────────────────────────────────────────────────────────────────────────────────

ODD = Finding("my pol,icies/a:b%.yaml", 3, 7, "P110", "error", "50 % of\nit\rfails", "do: this, or that")


def test_json_holds_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("lint", "good.yaml", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"findings": [], "policies": [{"policy": "restart-worker", "file": "good.yaml"}]}
    assert json.loads(as_json(Loaded((), (ODD,))))["findings"] == [ODD.as_json()]


def test_half_a_character_can_still_be_written() -> None:
    odd = Finding("a.yaml", 1, 1, "P012", "error", "'\ud800' cannot stand here")
    assert json.loads(as_json(Loaded((), (odd,))).encode())["findings"][0]["message"] == odd.message


def test_github_shows_each_finding_at_its_line() -> None:
    warning = Finding("a.yaml", 1, 1, "P161", "warning", "the gate is waived: harmless")
    assert as_github(Loaded((), (ODD, warning))).splitlines() == [
        "::error file=my pol%2Cicies/a%3Ab%25.yaml,line=3,col=7,title=P110::50 %25 of%0Ait%0Dfails; do: this, or that",
        "::warning file=a.yaml,line=1,col=1,title=P161::the gate is waived: harmless",
        "0 policies without errors; 1 error, 1 warning",
    ]


def test_sarif_has_what_its_standard_demands(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad ones").mkdir()
    bad = folder / "bad ones" / "b.yaml"
    bad.write_text(BASE.replace("[restart]", "[restrat]"))
    assert run("lint", "--format", "sarif", str(bad)) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["version"] == "2.1.0"
    (one,) = told["runs"]
    driver = one["tool"]["driver"]
    assert driver["name"]
    rules = driver["rules"]
    assert [rule["id"] for rule in rules] == ["P140", "P141"]
    for rule in rules:
        assert rule["shortDescription"]["text"] and rule["help"]["text"]
        assert rule["help"]["markdown"].startswith(f"# {rule['id']}: ")
        assert rule["defaultConfiguration"]["level"] in ("none", "note", "warning", "error")
    for result in one["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("none", "note", "warning", "error")
        assert result["message"]["text"]
        (location,) = result["locations"]
        place = location["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "bad%20ones/b.yaml"
        assert place["region"]["startLine"] >= 1 and place["region"]["startColumn"] >= 1
    assert len(one["results"]) == 2


def test_every_rule_of_sarif_can_be_told() -> None:
    all_of_them = tuple(Finding("/elsewhere/a.yaml", 1, 1, code, "error", "x") for code in CODES)
    told = json.loads(as_sarif(Loaded((), all_of_them)))["runs"][0]
    assert len(told["tool"]["driver"]["rules"]) == len(CODES)
    assert told["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].startswith(
        "file:///"
    )


# ── Across files ────────────────────────────────────────────────────────────────────────────────


def test_a_test_counts_when_it_stands_beside_the_policy_and_has_a_story(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "good.test.yaml").write_text("policy: restart-worker\ntests: []\n")
    assert run("lint", "--strict", ".", "--config", "remediator.yaml") == 1
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "good.test.yaml").write_text(TESTED)
    assert run("lint", "--strict", "good.yaml") == 1
    (folder / "more.test.yml").write_text(f"---\npolicy: another\ntests: [x]\n---\n{TESTED}")
    capsys.readouterr()
    assert run("lint", "--strict", "good.yaml") == 0
    assert lines(capsys) == ["1 policy without errors; 0 errors, 0 warnings"]


def test_the_config_is_no_policy(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("lint", "--strict", ".") == 0, lines(capsys)
    assert run("lint", "remediator.yaml") == 1


def test_a_test_that_cannot_be_read_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "good.test.yaml").write_text("policy: &x restart-worker\n")
    assert run("lint", "good.yaml") == 1
    assert "good.test.yaml:1:9: P003 an anchor, &x; write the value out" in lines(capsys)


def test_of_many_that_meet_only_some_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "many.yaml").write_text(
        "---\n".join(BASE.replace("restart-worker", f"p-{n}", 1) for n in range(30))
    )
    assert run("lint", "many.yaml") == 0
    told = [line for line in lines(capsys) if "P172" in line]
    assert len(told) == 29
    assert told[-1].count("p-") == 3 and "and 26 more" in told[-1]


# ── What is no policy ───────────────────────────────────────────────────────────────────────────


def test_stories_that_are_named_are_judged_as_stories(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story = "policy: restart-wroker\ntests: [{name: x, alert: {labels: {}}, expect: {outcome: done}}]\n"
    (folder / "good.test.yaml").write_text(story)
    assert run("lint", "good.yaml", "good.test.yaml", "--format", "sarif") == 1
    told = json.loads(capsys.readouterr().out)["runs"][0]["results"]
    assert [one["ruleId"] for one in told] == ["T001", "P170"]
    assert "there is no policy 'restart-wroker' here" in told[0]["message"]["text"]
    assert run("lint", "--explain", "T001") == 0
    assert lines(capsys)[0] == f"# T001: {CODES['T001'].title}"


def test_a_folder_without_policies_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "empty").mkdir()
    assert run("lint", "empty") == 2
    assert capsys.readouterr().err == "no policies in empty\n"


def test_a_pipe_is_not_waited_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(folder / "pipe.yaml")
    assert run("lint", "pipe.yaml") == 1
    assert "P001 cannot be read: this is no regular file" in lines(capsys)[0]


def test_a_waived_gate_is_a_note_that_strict_does_not_count(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    waived = "    do: [restart]\n    gate: {waived: harmless}"
    (folder / "good.yaml").write_text(BASE.replace("    do: [restart]", waived))
    assert run("lint", "--strict", "good.yaml") == 0
    found = lines(capsys)
    assert "P161 the gate is waived: harmless" in found[0]
    assert found[1] == "1 policy without errors; 0 errors, 0 warnings, 1 note"
    assert run("lint", "--format", "github", "good.yaml") == 0
    assert lines(capsys)[0].startswith("::notice file=good.yaml")


def test_a_file_whose_name_is_no_text_has_its_place_in_sarif() -> None:
    finding = Finding("zz-\udcff.yaml", 1, 1, "P001", "error", "it is not UTF-8", "")
    (result,) = json.loads(as_sarif(Loaded((), (finding,))))["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "zz-%FF.yaml"
