"""The example repository of policies and the GitHub action, for real: its very scripts, in a git repository.

GitHub is played by a small evaluator of expressions, the runner's files, and an API on loopback.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from remediator.cli import parser
from remediator.policyfiles.diff.markdown import MARK

ROOT = Path(__file__).resolve().parents[2]
ACTION = ROOT / ".github" / "actions" / "policy-check"
EXAMPLE = ROOT / "examples" / "policy-repo"
NO_AUTHORITIES = {name: os.environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
"""As for all Pythons of the tests (conftest): to read the machine's takes a fifth of a start."""
STUBS = {
    "remediator": f'exec {shlex.quote(sys.executable)} -m remediator "$@"',
    # A virtual environment in no time; what its pip is told is kept.
    "python": f"""
        if [ "$1 $2" = "-m venv" ]; then
          mkdir -p "$3/bin"
          printf '#!/bin/sh\\necho "$*" >> "$RUNNER_TEMP/pip.log"\\n' > "$3/bin/pip"
          chmod +x "$3/bin/pip"
        else
          exec {shlex.quote(sys.executable)} "$@"
        fi""",
}


class GitHub(ThreadingHTTPServer):
    """Comments of one pull request. ``status``: answered to every change instead."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Api)
        self.comments: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str]] = []
        self.status = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Api(BaseHTTPRequestHandler):
    server: GitHub

    def do_GET(self) -> None:
        page = int(self.path.rpartition("page=")[2])
        self._say(200, self.server.comments[(page - 1) * 100 : page * 100])

    def do_POST(self) -> None:
        self._change({"id": len(self.server.comments) + 1, "user": {"type": "Bot"}})

    def do_PATCH(self) -> None:
        number = int(self.path.rpartition("/")[2])
        self._change(next(one for one in self.server.comments if one["id"] == number))

    def _change(self, comment: dict[str, Any]) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["body"]
        if self.server.status:
            return self._say(self.server.status, {})
        comment["body"] = body
        if comment not in self.server.comments:
            self.server.comments.append(comment)
        return self._say(200, comment)

    def _say(self, status: int, value: object) -> None:
        self.server.asked.append((self.command, self.headers["Authorization"]))
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@dataclass
class Runner:
    """A job's machine: a checkout of the pull request, and the action's steps run in it."""

    repo: Path
    temp: Path
    api: GitHub
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", *who, *words], cwd=self.repo, check=True, capture_output=True, text=True
        ).stdout.strip()

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.repo / name).read_text()
        assert old in text
        (self.repo / name).write_text(text.replace(old, new))

    def job(self, only: str = "") -> str:
        """Run the steps in order, or one of them; the name of the first that failed, or ""."""
        action = yaml.safe_load((ACTION / "action.yml").read_text())
        self.outputs, self.said, self.outcomes = (
            {},
            {},
            dict.fromkeys(("install", "diff"), "success") if only else {},
        )
        failed = ""
        for step in action["runs"]["steps"]:
            if "run" not in step:
                assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"])
                continue
            condition = step.get("if", "").removeprefix("always() && ")
            goes_on = not failed or "always()" in step.get("if", "")
            if only not in ("", step["name"]) or not goes_on or not self._holds(condition):
                continue
            wrong = self._run(step)
            self.outcomes[step.get("id", "")] = "failure" if wrong else "success"
            failed = failed or (str(step["name"]) if wrong else "")
        return failed

    def _run(self, step: dict[str, Any]) -> int:
        assert "${{" not in step["run"], "an expression in a script is an injection"
        files = {name: self.temp / name for name in ("GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STEP_SUMMARY")}
        files["GITHUB_OUTPUT"].write_text("")
        environment = {
            "PATH": f"{self.temp / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            **NO_AUTHORITIES,
            "HOME": str(self.temp),
            "RUNNER_TEMP": str(self.temp),
            "GITHUB_ACTION_PATH": str(ACTION),
            "GITHUB_API_URL": self.api.url,
            "GITHUB_REPOSITORY": "your-org/policies",
            "GITHUB_EVENT_PATH": str(self.temp / "event.json"),
            **{name: str(path) for name, path in files.items()},
            **{name: self._value(value) for name, value in step.get("env", {}).items()},
        }
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.repo,
            env=environment,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        self.said[step["name"]] = done.stdout + done.stderr
        told = files["GITHUB_OUTPUT"].read_text().splitlines()
        self.outputs[step.get("id", "")] = dict(line.split("=", 1) for line in told)
        return done.returncode

    def _holds(self, condition: str) -> bool:
        for part in filter(None, condition.split("&&")):
            left, sign, right = re.split(r"\s*(==|!=)\s*", part.strip())
            if (self._looked_up(left) == right.strip("'")) is not (sign == "=="):
                return False
        return True

    def _value(self, text: str) -> str:
        return re.sub(r"\$\{\{\s*(.*?)\s*\}\}", lambda found: self._looked_up(found[1]), text)

    def _looked_up(self, name: str) -> str:
        match name.split("."):
            case ["inputs", word]:
                action = yaml.safe_load((ACTION / "action.yml").read_text())
                return self.inputs.get(word, self._value(action["inputs"][word]["default"]))
            case ["steps", step, "outcome"]:
                return self.outcomes.get(step, "skipped")
            case ["steps", step, "outputs", word]:
                return self.outputs.get(step, {}).get(word, "")
        known = {
            "github.event.pull_request.base.sha": self.git("rev-parse", "main"),
            "github.event_name": "pull_request",
            "github.token": "t0ken",
        }
        return known[name]


@pytest.fixture(scope="module")
def github() -> Iterator[GitHub]:
    with GitHub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def runner(tmp_path: Path, github: GitHub) -> Runner:
    github.comments, github.status, github.asked = [], 0, []
    one = Runner(tmp_path / "repo", tmp_path / "temp", github)
    shutil.copytree(EXAMPLE, one.repo)
    (one.temp / "bin").mkdir(parents=True)
    for name, script in STUBS.items():
        (one.temp / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (one.temp / "bin" / name).chmod(0o755)
    (one.temp / "event.json").write_text('{"pull_request": {"number": 7}}')
    one.git("init", "-q", "-b", "main")
    one.git("add", "-A")
    one.git("commit", "-q", "-m", "policies")
    return one


def test_a_pull_request_is_linted_tested_compared_and_told(runner: Runner) -> None:
    assert runner.job() == ""
    assert runner.said["Lint"].strip().endswith("0 warnings")
    assert "No change in the meaning of any policy" in runner.api.comments[0]["body"]

    # The next push shortens the cooldown: the same comment says so, and the job fails ...
    runner.edit("policies/stuck-worker.yaml", "cooldown: 30m", "cooldown: 5m")
    assert runner.job() == "Verdict"
    assert runner.outputs["diff"] == {"loosened": "true"}
    (comment,) = runner.api.comments
    assert "cooldown 30m" in comment["body"]
    assert "**loosened**" in comment["body"]
    assert "cooldown 30m" in (runner.temp / "GITHUB_STEP_SUMMARY").read_text()
    assert {token for _, token in runner.api.asked} == {"Bearer t0ken"}

    # ... until the policy says why.
    runner.edit(
        "policies/stuck-worker.yaml", "recheck: 10m", "recheck: 10m\nallow-loosening: restarts are quick now"
    )
    assert runner.job() == ""
    assert "restarts are quick now" in runner.api.comments[0]["body"]


def test_what_is_installed_is_locked(runner: Runner) -> None:
    assert runner.job(only="Install Remediator") == ""
    locked, ours = (runner.temp / "pip.log").read_text().splitlines()
    assert "--require-hashes -r" in locked
    assert Path(locked.split()[-1]).resolve() == ROOT / "requirements.txt"
    assert "--no-deps" in ours
    assert Path(ours.split()[-1]).resolve() == ROOT
    assert (runner.temp / "GITHUB_PATH").read_text().strip().endswith("remediator/bin")


def test_what_fails_ends_the_job_and_the_comparison_is_told_all_the_same(runner: Runner) -> None:
    runner.edit(
        "policies/stuck-worker.test.yaml", "expect: {started: [page_shop]}", "expect: {started: [restart]}"
    )
    runner.edit("policies/stuck-worker.yaml", "cooldown: 30m", "cooldown: 5m")
    assert runner.job() == "Test"
    (comment,) = runner.api.comments
    assert "cooldown 30m" in comment["body"]
    assert "::error title=Loosened" in runner.said["Verdict"]
    runner.edit("policies/stuck-worker.yaml", "via: shop_api", "via: shop_apu")
    assert runner.job() == "Lint"
    assert "::error file=policies/stuck-worker.yaml,line=" in runner.said["Lint"]
    assert "Test" not in runner.said
    assert "must pass `remediator policy lint` first" in runner.said["Compare with the base"]
    assert runner.said.keys().isdisjoint({"Comment", "Verdict"})


def test_every_line_of_the_paths_counts(runner: Runner) -> None:
    """`paths: |` with one path a line."""
    (runner.repo / "more").mkdir()
    (runner.repo / "more" / "broken.yaml").write_text("policy: [")
    (runner.repo / "more" / "broken.test.yaml").write_text("policy: nobody\ntests: []\n")
    runner.inputs = {"paths": "policies  policies/stuck-worker.yaml\nmore\n", "comment": "false"}
    assert runner.job(only="Lint") == "Lint"
    assert "file=more/broken.yaml" in runner.said["Lint"]
    for step in ("Test", "Compare with the base"):
        assert runner.job(only=step) == step
        assert "more/broken" in runner.said[step], step


def test_two_uses_of_the_action_write_two_comments(runner: Runner) -> None:
    for paths in ("policies", "policies/stuck-worker.yaml", "policies"):
        runner.inputs = {"paths": paths}
        for step in ("Compare with the base", "Comment"):
            assert runner.job(only=step) == ""
    assert len(runner.api.comments) == 2


def test_a_fork_may_not_comment_and_reads_the_summary(runner: Runner) -> None:
    (runner.temp / "policy-diff.md").write_text(f"words\n\n{MARK}\n")
    runner.api.status = 403
    assert runner.job(only="Comment") == ""
    assert "::warning::" in runner.said["Comment"]
    runner.api.status = 500
    assert runner.job(only="Comment") == "Comment"
    assert "::error::GitHub answered 500" in runner.said["Comment"]


def test_the_comments_of_people_are_left_alone(runner: Runner) -> None:
    (runner.temp / "policy-diff.md").write_text(f"new words\n\n{MARK}\n")
    quoted = [{"id": number, "user": {"type": "User"}, "body": f"see\n{MARK}"} for number in range(1, 120)]
    runner.api.comments = [*quoted, {"id": 120, "user": {"type": "Bot"}, "body": f"old\n\n{MARK}\n"}]
    quoted[3] |= {"user": None}  # an account that is gone
    quoted[4] |= {"body": None}
    quoted[5] |= {"user": {"type": "Bot"}, "body": None}
    assert runner.job(only="Comment") == ""
    assert len(runner.api.comments) == 120
    assert runner.api.comments[-1]["body"] == f"new words\n\n{MARK}\n"
    assert {one["body"] for one in runner.api.comments[:-1]} == {f"see\n{MARK}", None}


def test_a_base_that_a_shallow_checkout_lacks_is_fetched(runner: Runner) -> None:
    base = runner.git("rev-parse", "main")
    runner.edit("policies/stuck-worker.yaml", "cooldown: 30m", "cooldown: 5m")
    runner.git("commit", "-q", "-a", "-m", "shorter")
    runner.git("config", "uploadpack.allowAnySHA1InWant", "true")  # as GitHub has it
    runner.git("clone", "-q", "--depth", "1", f"file://{runner.repo}", str(runner.temp / "checkout"))
    runner.repo, runner.inputs = runner.temp / "checkout", {"base": base}
    assert runner.job(only="Compare with the base") == ""
    assert runner.outputs["diff"] == {"loosened": "true"}


def test_paths_with_odd_letters_stay_one_word_each(runner: Runner) -> None:
    runner.inputs = {"paths": "policies/stuck-worker.yaml $(touch${IFS}hacked)", "comment": "false"}
    assert runner.job() == "Lint"
    assert not (runner.repo / "hacked").exists()
    runner.inputs = {"base": "--upload-pack=touch hacked", "comment": "false"}
    assert runner.job() == "Compare with the base"
    assert not (runner.repo / "hacked").exists()


# ── The files around it ─────────────────────────────────────────────────────────────────────────


def test_the_workflow_asks_for_no_more_than_it_needs() -> None:
    workflow = yaml.safe_load((EXAMPLE / ".github/workflows/policies.yml").read_text())
    assert workflow["permissions"] == {"contents": "read", "pull-requests": "write"}
    (job,) = workflow["jobs"].values()
    checkout, check = job["steps"]
    assert checkout["with"] == {"fetch-depth": 0, "persist-credentials": False}
    inputs = yaml.safe_load((ACTION / "action.yml").read_text())["inputs"]
    assert check["with"].keys() <= inputs.keys()
    assert ".github/actions/policy-check@" in check["uses"]


def test_hooks_name_commands_that_exist() -> None:
    hooks = {one["id"]: one for one in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    used = yaml.safe_load((EXAMPLE / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert {one["id"] for one in used} == hooks.keys()
    for hook in hooks.values():
        words = [*hook["entry"].split(), *hook["args"]]
        assert words[0] == "remediator"
        assert callable(parser().parse_args(words[1:]).run)
        assert not hook["pass_filenames"]
        assert re.search(hook["files"], "policies/stuck-worker.yaml")


def test_editors_are_pointed_at_the_policies() -> None:
    settings = json.loads((EXAMPLE / ".vscode/settings.json").read_text())
    page = (ROOT / "docs/editors.md").read_text()
    (shown,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert settings["yaml.schemas"] == json.loads(shown)["yaml.schemas"]
    for policy in (EXAMPLE / "policies").glob("*.yaml"):
        schema = "tests" if policy.stem.endswith(".test") else "policy"
        first = policy.read_text().splitlines()[0]
        assert first == f"# yaml-language-server: $schema=../{schema}.schema.json"


def test_the_commands_of_the_readme_work_in_a_fresh_copy(runner: Runner) -> None:
    (block,) = re.findall(r"```sh\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)
    shutil.rmtree(runner.repo / ".git")
    environment = {
        "PATH": f"{runner.temp / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        **NO_AUTHORITIES,
        "HOME": str(runner.temp),
        **{
            f"GIT_{role}_{what}": "t@example.com"
            for role in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
    }
    for line in block.splitlines():
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=runner.repo,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
    for name in ("policy", "tests"):
        assert json.loads((runner.repo / f"{name}.schema.json").read_text())
