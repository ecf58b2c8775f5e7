"""A missing component is never passed over in silence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BY_HAND = "tests/rig/test_components.py::test_an_alert_is_posted_by_hand_and_ended_by_hand"


def without_components(ci: str) -> subprocess.CompletedProcess[str]:
    """One test that needs Alertmanager, on a machine where nothing is found."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:cov", BY_HAND]
    environment = {**os.environ, "PATH": "/nowhere", "CI": ci}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_the_summary_says_what_was_skipped_and_how_to_mend_it() -> None:
    run = without_components(ci="")
    assert run.returncode == 0, run.stdout
    assert "1 tests did NOT run: components are missing" in run.stdout
    assert "apt-get install --no-install-recommends prometheus-alertmanager" in run.stdout


def test_in_ci_it_is_a_failure() -> None:
    run = without_components(ci="true")
    assert run.returncode == 1, run.stdout
    assert "needs a component that is not installed: alertmanager" in run.stdout
