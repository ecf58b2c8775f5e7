"""The Slack app manifests ask for what the daemon uses, and for nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from remediator.web.routes import BY_NAME

REPOSITORY = Path(__file__).resolve().parents[2]


def manifest(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((REPOSITORY / "examples" / f"slack-app-{name}.yaml").read_text())
    return found


@pytest.mark.parametrize("name", ["socket", "http"])
def test_an_app_posts_and_attaches_and_may_do_no_more(name: str) -> None:
    assert manifest(name)["oauth_config"]["scopes"] == {"bot": ["chat:write", "files:write"]}
    assert manifest(name)["settings"]["interactivity"]["is_enabled"] is True


def test_clicks_arrive_by_the_socket_or_at_a_door_that_exists() -> None:
    assert manifest("socket")["settings"]["socket_mode_enabled"] is True
    assert "request_url" not in manifest("socket")["settings"]["interactivity"]
    settings = manifest("http")["settings"]
    path = settings["interactivity"]["request_url"].partition(".example")[2]
    assert (settings["socket_mode_enabled"], f"POST {path}" in BY_NAME) == (False, True)


@pytest.mark.parametrize("name", ["socket", "http"])
def test_the_manual_names_both_manifests_and_every_scope(name: str) -> None:
    manual = (REPOSITORY / "docs" / "install.md").read_text()
    assert f"examples/slack-app-{name}.yaml" in manual
    for scope in (*manifest(name)["oauth_config"]["scopes"]["bot"], "connections:write"):
        assert f"`{scope}`" in manual
