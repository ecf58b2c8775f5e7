"""Commands that open the store themselves find it by the settings, and need no other secret of theirs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from remediator.cli import main


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Those of a deployment: the store by reference, and other secrets that a bare terminal has not."""
    monkeypatch.setenv("STORE", "sqlite:state.db")
    monkeypatch.delenv("SLACK_BOT_TOKEN", raising=False)
    path = tmp_path / "remediator.yaml"
    path.write_text(
        'store: "${env:STORE}"\n'
        "slack: {channel: C0123456789, bot_token: '${env:SLACK_BOT_TOKEN}', "
        "signing_secret: '${env:SLACK_SIGNING_SECRET}'}\n"
    )
    return path


def told(capsys: pytest.CaptureFixture[str], *command: str, config: Path) -> dict[str, object]:
    assert main([*command, "--json", "--config", str(config)]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_a_reference_is_followed_by_all_of_them(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = told(capsys, "db", "migrate", config=settings)
    assert made["store"] == str(settings.parent / "state.db")
    assert made["version"] == made["program"]
    assert told(capsys, "db", "status", config=settings) == made
    assert told(capsys, "audit", "verify", config=settings)["problems"] == []


@pytest.mark.parametrize("command", [("audit", "verify"), ("db", "status")])
def test_a_reference_that_leads_nowhere_is_named(
    settings: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, str],
) -> None:
    monkeypatch.delenv("STORE")
    assert main([*command, "--config", str(settings)]) == 2
    assert "the environment variable STORE is not there; export STORE" in capsys.readouterr().err
