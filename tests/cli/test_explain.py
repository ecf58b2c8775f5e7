"""``policy explain`` at a terminal: with a store beside it, and without one."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from pathlib import Path

import pytest

from remediator.cli import main
from remediator.core.alert import Alert
from remediator.ports import AlertRow
from remediator.store import open_store
from tests.store.samples import NOON, HandClock

POLICY = """\
policy: restart-worker
summary: A worker is stuck
mode: act
match: ['{alertname="Stuck", env=~"prod|staging"}']
params: {worker: {from: labels.worker, pattern: '[a-z0-9-]{1,20}'}}
target: worker/${worker}
decide: [{do: nothing}]
"""
CONFIG = "targets: [worker]\nroles: {oncall: [bob]}\npeople: {bob: {}}\n"
LABELS = {"alertname": "Stuck", "env": "prod", "worker": "w-1"}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout; commands run in it."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "restart-worker.yaml").write_text(POLICY)
    (tmp_path / "remediator.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def explained(desk: Path, labels: dict[str, str], *words: str) -> int:
    (desk / "alert.json").write_text(json.dumps(labels))
    return main(["policy", "explain", "--alert", "alert.json", *words])


async def remembers(desk: Path) -> None:
    """The daemon has heard of the alert."""
    store = open_store("sqlite:remediator.db", HandClock(), desk)
    await store.open()
    one = Alert(fingerprint="f1", status="firing", labels=LABELS, starts_at=NOON)
    row = AlertRow(alert=one, first_at=NOON, last_at=NOON, changed_at=NOON)
    await store.transact(lambda tx: tx.put_alert(row))
    await store.close()


@pytest.mark.parametrize(
    ("file", "why"), [("nosuch", "No such file or directory"), ("policies", "Is a directory")]
)
def test_a_file_that_cannot_be_read_is_named(
    desk: Path, file: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["policy", "explain", "--alert", file]) == 2
    assert f"--alert {file}: cannot be read: {why}; name a file" in capsys.readouterr().err


def test_without_a_store_it_says_what_it_can_and_what_it_did_not_ask(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explained(desk, LABELS) == 0
    said = capsys.readouterr()
    assert "restart-worker  matches  worker/w-1" in said.out
    assert "bounds, halts and other runs were not asked" in said.out
    assert "does not exist" in said.err


def test_a_label_that_does_not_fit_is_named_with_its_value(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explained(desk, LABELS | {"env": "dev\x1b[2J\u202e"}, "--json") == 0
    (said,) = json.loads(capsys.readouterr().out)["policies"]
    assert said["misfits"] == [
        {"label": "env", "matcher": 'env=~"prod|staging"', "found": "dev\x1b[2J\u202e"}
    ]
    assert explained(desk, LABELS | {"env": "dev\x1b[2J\u202e"}) == 0
    out = capsys.readouterr().out
    assert "no match" in out
    assert not set(out) & {"\x1b", "\u202e"}


def test_beside_a_daemons_store_it_asks_the_bounds(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(remembers(desk))
    assert main(["policy", "explain", "--fingerprint", "f1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["stored"], found["policies"][0]["says"]) == (True, "would-open")
    assert main(["policy", "explain", "--fingerprint", "f2"]) == 2
    assert "no alert f2 was heard of" in capsys.readouterr().err


def test_an_alert_from_standard_input_against_other_policies(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk / "policies" / "restart-worker.yaml").rename(desk / "one.yaml")
    text = io.TextIOWrapper(io.BytesIO(json.dumps({"alerts": [{"labels": LABELS}] * 2}).encode()))
    monkeypatch.setattr(sys, "stdin", text)
    assert main(["policy", "explain", "one.yaml", "--alert", "-", "--json"]) == 0
    assert [one["policies"][0]["says"] for one in json.loads(capsys.readouterr().out)] == ["unasked"] * 2


def test_a_file_that_is_not_there_ends_with_2(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "explain", "--alert", "none.json"]) == 2
    assert "none.json" in capsys.readouterr().err


def test_a_broken_policy_is_told_and_the_others_say_what_they_say(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (desk / "policies" / "bad.yaml").write_text("policy: bad\n")
    assert explained(desk, LABELS) == 1
    told = capsys.readouterr()
    assert "bad.yaml:1:1" in told.err
    assert "worker/w-1" in told.out


def test_it_needs_no_secret(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = desk / "remediator.yaml"
    config.write_text(config.read_text() + "page_webhook: {url: '${env:NOBODY_HAS_SET_THIS}'}\n")
    assert explained(desk, LABELS) == 0
    assert "worker/w-1" in capsys.readouterr().out


def test_an_alert_that_is_over_is_over_whatever_its_labels_say(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = {**LABELS, "campaign": "; rm -rf /"}
    over = {"labels": labels, "status": "resolved", "startsAt": "2026-03-04T09:00:00Z"}
    (desk / "over.json").write_text(json.dumps(over))
    assert main(["policy", "explain", "--alert", "over.json"]) == 0
    assert "it has resolved" in capsys.readouterr().out
