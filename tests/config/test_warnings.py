"""What the daemon says at its start although it starts."""

from __future__ import annotations

from pathlib import Path

from remediator.app import App
from remediator.config import Config


def test_a_daemon_that_reaches_nobody_and_knows_no_policy_says_so(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    told = App(Config(), tmp_path).warnings()
    assert any("there is no policy in ./policies" in line for line in told)
    assert any("neither slack nor page_webhook" in line for line in told)


def test_a_daemon_with_a_road_to_people_does_not_warn_of_it(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    config = Config.model_validate({"page_webhook": {"url": "http://127.0.0.1:9/page"}})
    assert not any("page_webhook" in line for line in App(config, tmp_path).warnings())
