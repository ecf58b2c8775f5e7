"""`policy diff` in a real git repository: the base is read from it, and the comment is safe to post."""

# ruff: noqa: E501 - in a table of cases, one line is one case
from __future__ import annotations

import asyncio
import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from remediator.cli import main
from remediator.config import Config, Hook, Hooks, Limits, PageHook, Retention, Slack
from remediator.config_file import load as load_config
from remediator.connectors import catalog, problems
from remediator.core.catalog import Catalog
from remediator.intake.alertmanager import parse
from remediator.policyfiles.backtest import alerts_metric
from remediator.policyfiles.backtest.sources import as_line
from remediator.policyfiles.diff import settings
from remediator.policyfiles.diff.change import Change, Direction
from remediator.policyfiles.diff.compare import Difference, PolicyChange
from remediator.policyfiles.diff.markdown import LARGEST, MARK, markdown
from remediator.store import open_store
from tests.store.samples import HandClock

LOOSENED, UNCLEAR, ACTS, TIGHTENED, _ = Direction
CONFIG: dict[str, Any] = {
    "store": "sqlite:state.db",
    "hooks": {"alertmanager": {"bearer": "${env:HOOK_TOKEN}"}},
    "connections": {
        "api": {
            "kind": "http",
            "base_url": "http://127.0.0.1:9",
            "headers": {"Authorization": "Bearer ${file:secrets/api}"},
            "endpoints": {"POST /pause": "destructive"},
        },
        "db": {"kind": "postgres", "dsn": "${env:DSN}", "tables": ["public.campaigns"]},
    },
    "people": {"amina": {"slack": "T01/U0AMINA"}, "bob": {"slack": "T01/U0BOB"}},
    "roles": {"oncall": ["bob"], "lead": ["amina"]},
    "targets": ["campaign"],
    "budgets": {"pauses": {"limit": 5, "per": "24h"}},
    "escalations": {"default": [{"role": "oncall"}, {"role": "lead", "after": "15m"}]},
}
SLACK = {
    "bot_token": "${env:BOT}",
    "signing_secret": "${env:SIGN}",
    "app_token": "${env:APP}",
    "channel": "C0OPS",
    "app_id": "A0REM",
}
POLICY = """\
policy: pause
summary: A campaign burns its budget
mode: act
match: ['{alertname="Burning"}']
params: {campaign: {from: labels.campaign, type: string, pattern: '[a-z0-9-]{1,64}'}}
target: campaign/${campaign}
bounds: {cooldown: 30m}
decide:
  - do: [pause]
    gate: {votes: {oncall: 1, lead: 1}}
steps:
  pause:
    use: http.request
    via: api
    with: {method: POST, path: /pause, body: {id: '${campaign}'}}
    verify: {none: a pause shows nowhere}
    undo: {none: people resume it}
"""


@dataclass
class Repo:
    """A git repository with policies and settings, in a folder of its own."""

    root: Path

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", *who, *words], cwd=self.root, check=True, capture_output=True, text=True
        )
        return done.stdout

    def write(self, name: str, content: str | dict[str, Any]) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "x")

    def edit(self, old: str, new: str, name: str = "policies/pause.yaml") -> None:
        text = (self.root / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one commit, to be copied."""
    one = Repo(tmp_path_factory.mktemp("repo"))
    one.git("init", "-q", "-b", "main")
    one.write("remediator.yaml", CONFIG)
    one.write("policies/pause.yaml", POLICY)
    one.commit()
    return one.root


@pytest.fixture
def repo(committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    shutil.copytree(committed, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Repo(tmp_path)


@pytest.fixture
def diff(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: str, base: str = "main") -> tuple[int, str, str]:
        status = main(["policy", "diff", "--base", base, *(words or ("policies",))])
        told = capsys.readouterr()
        return status, told.out, told.err

    return run


def test_comments_and_layout_mean_nothing(repo: Repo, diff: Any) -> None:
    repo.write(
        "policies/pause.yaml",
        "# new words\n" + POLICY.replace("bounds: {cooldown: 30m}", "bounds:\n  cooldown: 1800s"),
    )
    status, out, _ = diff()
    assert status == 0
    assert "No change in the meaning of any policy" in out
    assert "| policy |" not in out


def test_a_lost_role_ends_in_1_and_a_note_of_this_change_in_0(repo: Repo, diff: Any) -> None:
    repo.edit(", lead: 1", "")
    repo.edit("body: {id:", "body: {campaign:")
    status, out, _ = diff()
    assert status == 1
    rows = [line for line in out.splitlines() if line.startswith("| ") and "pause" in line]
    assert "**loosened**" in rows[0]
    assert "<code>steps.pause: gate lost lead</code>" in rows[0]
    assert "**unclear**" in rows[1]
    assert "with.body" in rows[1]
    repo.write(
        "policies/pause.yaml",
        (repo.root / "policies/pause.yaml").read_text() + "allow-loosening: the lead is away\n",
    )
    status, out, _ = diff()
    assert status == 0
    assert "says why: <code>the lead is away</code>" in out
    repo.commit()
    repo.edit("cooldown: 30m", "cooldown: 5m")
    status, out, _ = diff()
    assert status == 1
    assert "has an old note" in out


def test_json_is_for_machines(repo: Repo, diff: Any) -> None:
    repo.edit("cooldown: 30m", "cooldown: 5m")
    status, out, _ = diff("policies", "--json")
    told = json.loads(out)
    assert (status, told["loosened"], len(told["base"])) == (1, True, 40)
    (change,) = told["policies"][0]["changes"]
    assert change == {"where": "bounds", "words": "cooldown 30m → 5m", "direction": "loosened", "detail": ""}


def test_a_policy_that_moved_to_another_file_is_the_same(repo: Repo, diff: Any) -> None:
    repo.git("mv", "policies/pause.yaml", "policies/other.yaml")
    assert diff()[0] == 0
    repo.edit("policy: pause", "policy: stop", "policies/other.yaml")
    status, out, _ = diff("policies/pause.yaml", "policies/other.yaml")
    assert "renamed from pause" in out
    assert status == 0


@pytest.mark.parametrize(
    ("path", "value", "words", "direction"),
    [
        (("roles", "lead"), ["amina", "bob"], "roles.lead: people gained bob", LOOSENED),
        (("roles", "lead"), [], "roles.lead: people lost amina", TIGHTENED),
        (("connections", "api", "endpoints"), {"POST /pause": "safe"}, "POST /pause is safe, was destructive", LOOSENED),
        (("connections", "api", "base_url"), "http://127.0.0.1:10", "connections.api: base_url changed", UNCLEAR),
        (("connections", "db", "tables"), ["public.campaigns", "public.users"], "tables gained public.users", LOOSENED),
        (("connections", "db", "hidden"), ["campaigns.note"], "hidden gained campaigns.note", TIGHTENED),
        (("connections", "db", "dsn"), "${env:OTHER}", "connections.db: dsn changed", UNCLEAR),
        (("budgets", "pauses"), {"limit": 6, "per": "24h"}, "budgets.pauses: limit 5 in 1d → 6 in 1d", LOOSENED),
        (("budgets",), {}, "budget pauses removed", LOOSENED),
        (("people", "bob"), {"slack": "T01/U0EVE"}, "people.bob: slack changed", UNCLEAR),
        (("escalations", "default", 1, "after"), "1h", "lead after 1h", LOOSENED),
        (("escalations", "default"), [{"role": "oncall"}], "oncall after 0s", LOOSENED),
        (("escalations", "default", 0, "after"), "5m", "oncall after 5m", LOOSENED),
        (("escalations", "default"), [{"role": "oncall", "after": "5m"}, {"role": "lead"}], "oncall after 5m", UNCLEAR),
        (("connections", "db", "rows"), 5000, "connections.db: rows 1000 → 5000", LOOSENED),
        (("connections", "db", "bytes"), 2_000_000, "connections.db: bytes 1048576 → 2000000", LOOSENED),
        (("connections", "db", "lock_timeout"), "500ms", "connections.db: lock_timeout 1s → 500ms", TIGHTENED),
        (("limits",), {"acts_at_once": 100}, "limits: acts_at_once 8 → 100", LOOSENED),
        (("limits",), {"inbox": 100}, "limits: inbox 50000 → 100", ACTS),
        (("resolved_debounce",), "23h", "resolved_debounce 1m → 23h", LOOSENED),
        (("targets",), ["campaign", "worker"], "targets gained worker", LOOSENED),
        (("connections", "api", "endpoints"), {}, "POST /pause is disruptive, was destructive", LOOSENED),
        (("page_webhook", "url"), "https://evil.example", "page_webhook: url changed", UNCLEAR),
        (("page_webhook", "headers"), {"X": "${env:OTHER}"}, "page_webhook: headers changed", ACTS),
        (("page_webhook",), None, "page_webhook removed", LOOSENED),
        (("hooks", "alertmanager"), {}, "hooks.alertmanager: asks senders for nothing, was bearer", LOOSENED),
        (("hooks",), {}, "hooks.alertmanager: asks senders for nothing, was bearer", LOOSENED),
        (("hooks", "alertmanager"), {"basic": {"username": "a", "password": "${env:P}"}}, "asks senders for basic, was bearer", UNCLEAR),
        (("hooks", "alertmanager", "bearer"), "${env:OTHER}", "hooks.alertmanager: bearer changed", ACTS),
        (("hooks", "alertmanager", "max_body"), 9, "max_body 33554432 → 9", ACTS),
        (("slack",), None, "slack removed", LOOSENED),
        (("slack", "bot_token"), "${env:OTHER}", "slack: bot_token changed", ACTS),
        (("slack", "signing_secret"), "${env:OTHER}", "slack: signing_secret changed", UNCLEAR),
        (("slack", "app_token"), "${env:OTHER}", "slack: app_token changed", UNCLEAR),
        (("slack", "channel"), "C0OTHER", "channel C0OPS → C0OTHER", UNCLEAR),
        (("slack", "app_id"), "A0EVIL", "slack: app_id changed", UNCLEAR),
        (("slack", "app_id"), None, "slack: app_id removed", LOOSENED),
        (("slack", "api_url"), "https://evil.example/", "api_url https://slack.com/api/ → https://evil.example/", UNCLEAR),
        (("listen",), "127.0.0.1:9999", "listen 127.0.0.1:8080 → 127.0.0.1:9999", ACTS),
        (("listen",), "0.0.0.0:8080", "listen 127.0.0.1:8080 → 0.0.0.0:8080", LOOSENED),
        (("store",), "sqlite:other.db", "store sqlite:state.db → sqlite:other.db", UNCLEAR),
        (("retention",), {"runs": "1d"}, "retention: runs 400d → 1d", LOOSENED),
        (("retention",), {"counters": "keep"}, "retention: counters 400d → for ever", TIGHTENED),
        (("retention",), {"alerts": "1d"}, "retention: alerts 30d → 1d", ACTS),
        (("retention",), {"archive": "/var/archive"}, "retention: archive none → /var/archive", TIGHTENED),
    ],
)  # fmt: skip
def test_settings_belong_to_safety(
    tmp_path: Path, path: tuple[Any, ...], value: object, words: str, direction: Direction
) -> None:
    whole = {**CONFIG, "slack": SLACK, "page_webhook": {"url": "https://pager.example"}}
    config = json.loads(json.dumps(whole))
    inner = config
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    old, new = _settled(tmp_path, whole), _settled(tmp_path, config)
    there, back = settings.compare(old, new), settings.compare(new, old)
    assert [words in str(one) for one in there] == [True], [str(one) for one in there]
    assert [one.direction for one in there] == [direction]
    assert [one.direction.reversed for one in back] == [direction]
    assert "unknown" not in str(there)


def _settled(folder: Path, config: dict[str, Any]) -> tuple[Config, Catalog]:
    (folder / "remediator.yaml").write_text(json.dumps(config))
    read = load_config(folder / "remediator.yaml", env={}, check=problems, blind=True)
    return read, catalog(read)


def test_no_setting_is_without_a_judge() -> None:
    assert settings.CONFIG.keys() == Config.model_fields.keys()
    assert settings.HOOKS.keys() == Hooks.model_fields.keys()
    assert settings.HOOK.keys() == Hook.model_fields.keys()
    assert settings.LIMITS.keys() == Limits.model_fields.keys()
    assert settings.SLACK.keys() == Slack.model_fields.keys()
    assert settings.RETENTION.keys() == Retention.model_fields.keys()
    assert settings.PAGE_HOOK.keys() == PageHook.model_fields.keys()


def test_the_settings_take_a_note_of_their_own(repo: Repo, diff: Any) -> None:
    wider = {**CONFIG, "roles": {**CONFIG["roles"], "lead": ["amina", "bob"]}}
    repo.write("remediator.yaml", wider)
    status, out, _ = diff()
    assert status == 1
    assert "people gained bob" in out
    repo.write("remediator.yaml", {**wider, "allow-loosening": "bob leads, too"})
    assert diff()[0] == 0


def test_what_cannot_be_compared_ends_in_2_with_place_and_remedy(
    repo: Repo, diff: Any, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for base in ("no-such-branch", "--upload-pack=touch /tmp/x", "HEAD~9", "main..main", "main:policies"):
        status, _, err = diff(base=base)
        assert status == 2
        assert "git knows no commit" in err
    assert "is neither in the work tree nor at main" in diff("nowhere")[2]
    outside = tmp_path_factory.mktemp("outside")
    assert "lies outside of" in diff("policies", str(outside))[2]
    assert "is in no git repository" in diff(str(outside))[2]
    repo.write("policies/broken.yaml", "policy: [")
    status, _, err = diff()
    assert (status, "broken.yaml:" in err, "lint" in err) == (2, True, True)
    monkeypatch.setenv("PATH", str(outside))
    assert "git: is not installed" in diff()[2]


def test_a_shallow_clone_says_so(
    repo: Repo, diff: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.write("more", "x")
    repo.commit()
    repo.git("clone", "-q", "--depth", "1", f"file://{tmp_path}", "shallow")
    monkeypatch.chdir(tmp_path / "shallow")
    status, _, err = diff(base="HEAD~1")
    assert status == 2
    assert "this clone is shallow" in err


def test_a_base_that_is_broken_needs_a_word(repo: Repo, diff: Any) -> None:
    repo.edit("mode: act", "mode: [")
    repo.commit()
    repo.edit("mode: [", "mode: act")
    status, out, _ = diff()
    assert status == 1
    assert "could not be read at the base" in out
    repo.write("remediator.yaml", {**CONFIG, "targets": "x"})
    repo.commit()
    repo.write("remediator.yaml", CONFIG)
    assert "the settings at the base cannot be read" in diff()[1]


def test_settings_under_a_new_name_are_compared_with_nothing_and_need_a_word(repo: Repo, diff: Any) -> None:
    repo.git("mv", "remediator.yaml", "other.yaml")
    status, out, _ = diff("policies", "--config", "other.yaml")
    assert status == 1
    assert "did not stand at the base, and is compared with nothing" in out
    repo.write("other.yaml", {**CONFIG, "allow-loosening": "renamed and nothing else"})
    assert diff("policies", "--config", "other.yaml")[0] == 0


def test_settings_outside_of_the_repository_are_said_not_to_be_compared(
    repo: Repo, diff: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "remediator.yaml"
    shutil.move(repo.root / "remediator.yaml", outside)
    status, out, _ = diff("policies", "--config", str(outside))
    assert status == 0
    assert "not compared: the settings: " in out
    assert (
        "lies outside of the repository"
        in json.loads(diff("policies", "--config", str(outside), "--json")[1])["untold"][0]
    )


def test_a_policy_behind_a_link_is_compared(repo: Repo, diff: Any) -> None:
    (repo.root / "shared").mkdir()
    shutil.move(repo.root / "policies/pause.yaml", repo.root / "shared/pause.yaml")
    (repo.root / "one").symlink_to("shared")
    (repo.root / "policies/pause.yaml").symlink_to("../shared/pause.yaml")
    (repo.root / "policies/away.yaml").symlink_to("/nowhere/away.yaml")
    repo.commit()
    (repo.root / "policies/away.yaml").unlink()
    assert diff()[0] == 0
    repo.edit("cooldown: 30m", "cooldown: 5m", "shared/pause.yaml")
    status, out, _ = diff()
    assert (status, "cooldown 30m → 5m" in out) == (1, True)
    assert "<code>policies/away.yaml</code> could not be read at the base: <code>is a link to nothing" in out
    status, out, _ = diff("one")
    assert (status, "cooldown 30m → 5m" in out) == (1, True)


def test_another_folder_in_the_settings_is_compared_with_the_former_one(repo: Repo, diff: Any) -> None:
    repo.write("live/pause.yaml", POLICY.replace("cooldown: 30m", "cooldown: 5m"))
    repo.write("remediator.yaml", {**CONFIG, "policies": "./live"})
    for path in ("policies", "live"):
        status, out, _ = diff(path)
        assert (status, "cooldown 30m → 5m" in out) == (1, True)
    repo.write("remediator.yaml", {**CONFIG, "policies": "/etc/elsewhere"})
    status, out, _ = diff()
    assert (status, "in /etc/elsewhere now, which is not compared" in out) == (1, True)


def test_a_policy_that_moved_between_folders_checked_apart_is_the_same(repo: Repo, diff: Any) -> None:
    repo.git("mv", "policies/pause.yaml", "policies/moved.yaml")
    repo.write("policies/a/one.yaml", POLICY.replace("policy: pause", "policy: one"))
    repo.write("policies/b/two.yaml", POLICY.replace("policy: pause", "policy: two"))
    repo.commit()
    repo.git("mv", "policies/a/one.yaml", "policies/b/one.yaml")
    repo.edit(", lead: 1", "", "policies/b/one.yaml")
    repo.edit("cooldown: 30m", "cooldown: 5m", "policies/moved.yaml")
    for path in ("policies/a", "policies/b"):
        status, out, _ = diff(path)
        assert (status, "steps.pause: gate lost lead" in out) == (1, True)
        assert "cooldown" not in out  # of a policy that was not asked for
    repo.write("policies/broken.yaml", "policy: [")
    status, out, _ = diff("policies/b", "--json")
    (broken,) = json.loads(out)["untold"]
    assert (status, broken.partition(":")[0]) == (1, "policies/broken.yaml")
    # Both sides are played with it: it runs as often as before.
    repo.write("alerts.jsonl", as_line(BURNING, burning()))
    played = json.loads(diff("policies/b", "--from-file", "alerts.jsonl", "--quiet", "--json")[1])
    assert played["backtest"]["policies"] == []


def test_a_note_that_stood_at_the_merge_base_is_old(repo: Repo, diff: Any) -> None:
    noted = POLICY + "allow-loosening: the lead is away\n"
    repo.write("policies/pause.yaml", noted)
    repo.commit()
    repo.git("branch", "feature")
    repo.write("policies/pause.yaml", POLICY)
    repo.commit()
    repo.git("checkout", "-q", "feature")
    repo.write("policies/pause.yaml", noted.replace("cooldown: 30m", "cooldown: 5m"))
    assert diff()[0] == 1
    repo.edit("the lead is away", "the lead is back now")
    assert diff()[0] == 0


def test_all_prints_what_no_comment_holds(repo: Repo, diff: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remediator.policyfiles.diff.markdown.LARGEST", 1200)
    repo.edit("cooldown: 30m", "cooldown: 5m")
    assert "1 more changes are not shown here: `remediator policy diff --all` lists them all" in diff()[1]
    _, whole, _ = diff("policies", "--all")
    assert "cooldown 30m → 5m" in whole
    assert "are not shown here" not in whole


def test_a_comment_is_marked_by_what_it_compares(repo: Repo, diff: Any) -> None:
    repo.write("other/x.yaml", POLICY.replace("policy: pause", "policy: x"))
    marks = [diff(path)[1].splitlines()[-1] for path in ("policies", "other", "policies")]
    assert marks[0] == marks[2] != marks[1]
    assert all(one.startswith("<!-- remediator policy diff ") and one.endswith(" -->") for one in marks)


BURNING = datetime(2026, 11, 20, 8, tzinfo=UTC)


def burning() -> dict[str, Any]:
    """A webhook: a campaign began to burn at eight."""
    labels = {"alertname": "Burning", "campaign": "c-1"}
    return {"alerts": [{"status": "firing", "labels": labels, "startsAt": BURNING.isoformat()}]}


def test_recorded_alerts_are_played_to_both_sets(repo: Repo, diff: Any) -> None:
    repo.write("alerts.jsonl", as_line(BURNING, burning()))
    repo.edit('alertname="Burning"', 'alertname="Freezing"')
    words = ("--from-file", "alerts.jsonl", "--until", "2026-11-20T12:00Z", "--quiet")
    _, out, _ = diff("policies", *words)
    assert "#### Against recorded alerts" in out
    (line,) = [line for line in out.splitlines() if line.startswith("- <code>pause</code>")]
    assert "would have run never instead of 3" in line
    _, out, _ = diff("policies", "--json", *words)
    assert "would have run never instead of 3" in json.loads(out)["backtest"]["policies"][0]["words"]
    assert diff("policies", "--from-file", "nowhere.jsonl")[0] == 2


def test_a_record_that_is_bad_is_told_once_and_in_the_comment(
    repo: Repo, diff: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = [as_line(BURNING + timedelta(hours=hour), burning()) for hour in (2, 0)]
    repo.write("alerts.jsonl", "\n".join(["oops"] * 25 + late))
    status, out, err = diff("policies", "--from-file", "alerts.jsonl", "--quiet")
    assert status == 0  # it says what was loosened, and nothing was
    assert "25 records could not be read. Out of order: 1 line is older" in html.unescape(out)
    assert err.count("alerts.jsonl:1: ") == err.count("… 5 more") == err.count("1 line is older") == 1
    told = json.loads(diff("policies", "--from-file", "alerts.jsonl", "--quiet", "--json")[1])
    assert (told["backtest"]["skipped"], told["backtest"]["disorder"][:15]) == (25, "1 line is older")
    _, _, err = diff("policies", "--from-file", "nowhere.jsonl")
    assert "nowhere.jsonl: cannot be read: No such file or directory" in err


def test_what_the_store_has_heard_is_played_to_both_sets(repo: Repo, diff: Any) -> None:
    async def remember() -> None:
        store = open_store("sqlite:state.db", HandClock(BURNING), repo.root)
        await store.open()
        await store.transact(
            lambda tx: tx.put_delivery(parse(json.dumps(burning()).encode(), BURNING).delivery)
        )
        await store.close()

    asyncio.run(remember())
    repo.edit('alertname="Burning"', 'alertname="Freezing"')
    words = ("--since", "2026-11-20T00:00Z", "--until", "2026-11-20T12:00Z", "--quiet")
    _, out, _ = diff("policies", "--from-store", *words)
    assert "1 trouble in 1 delivery" in out
    assert "from <code>the store sqlite</code>" in out
    assert "would have run never instead of 3" in out


def test_what_a_prometheus_has_seen_is_played_to_both_sets(
    repo: Repo, diff: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_words: object, deadline: float) -> list[dict[str, Any]]:
        stamps = [(BURNING + timedelta(minutes=minute)).timestamp() for minute in range(241)]
        labels = {"__name__": "ALERTS", "alertstate": "firing", "alertname": "Burning", "campaign": "c-1"}
        return [{"metric": labels, "values": [[stamp, "1"] for stamp in stamps]}]

    monkeypatch.setattr(alerts_metric, "asked", asked)
    repo.edit('alertname="Burning"', 'alertname="Freezing"')
    words = ("--since", "2026-11-20T08:00Z", "--until", "2026-11-20T12:00Z", "--quiet")
    _, out, _ = diff("policies", "--from-prometheus", "http://prometheus.example", *words)
    assert "would have run never instead of 3" in out
    assert "prometheus" in html.unescape(out).rpartition("from <code>")[2]


# ── The comment ─────────────────────────────────────────────────────────────────────────────────

HOSTILE = [
    "`rm -rf`",
    "</details><script>alert(1)</script>",
    "@everyone and @org/team",
    "a|b|c",
    "[click](http://evil.example)",
    "![x](http://evil.example/p.png)",
    "https://evil.example www.evil.example",
    "#1 GH-1 org/repo#1",
    "```\n# head\n```",
    "````\n@x",
    "&lt;b&gt; &#64;x",
    "line\nbreak\r\u2028x\u202e\u200b",
    "<!-- remediator policy diff -->",
    "**bold** _it_ ~~no~~ <b>b</b> $x$ :tada:",
    "half \ud800 a letter",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_inert(text: str) -> None:
    change = Change("steps.x", f"SQL {text}", Direction.LOOSENED, f"-{text}\n+{text}")
    one = PolicyChange(text, "changed", (change,), text, note=text, fresh=True)
    comment = markdown(Difference((one,), unreadable={text: text}))
    comment.encode()
    fences = re.compile(r"^(`{3,})diff\n(?P<inside>.*?)\n\1$", re.DOTALL | re.MULTILINE)
    inside = fences.search(comment)
    assert inside
    assert not any(line.startswith(inside[1]) for line in inside["inside"].splitlines())
    bare = fences.sub("", comment).removesuffix(f"\n{MARK}\n")
    codes = re.compile(r"<code>([^&<>@`|\[\]*#~\n\\$!]|&#\d+;)*</code>")
    for code in codes.finditer(bare):
        assert not re.search(r"://|www\.|\b_|_\b|:\w+:|\W_|_\W", code.group())
    rest = codes.sub("", bare)
    assert "<" not in re.sub(r"</?(details|summary)>", "", rest)
    for sign in "@[`#":
        assert sign not in rest.replace("`allow-loosening:`", "").replace("### Remediator", "").replace(
            "&#", ""
        )
    (row,) = [line for line in bare.splitlines() if "SQL" in line and line.startswith("|")]
    assert row.count("|") == 4


def test_a_comment_always_fits() -> None:
    changes = [
        PolicyChange(
            f"policy-{number}",
            "changed",
            tuple(Change("steps.x", "é|" * 500, Direction.NEUTRAL, "é\n" * 40) for _ in range(5)),
        )
        for number in range(200)
    ]
    worst = PolicyChange("worst", "changed", (Change("", "gate lost ops", Direction.LOOSENED),))
    comment = markdown(Difference((*changes, worst)))
    assert len(comment.encode()) < LARGEST
    assert "gate lost ops" in comment.splitlines()[7]
    assert "more changes are not shown here" in comment
    assert comment.endswith(f"{MARK}\n")
