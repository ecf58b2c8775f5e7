"""The demo as a newcomer runs it."""

from __future__ import annotations

import socket
import subprocess

import pytest

from tests.rig.processes import REPOSITORY, python_module

pytestmark = [pytest.mark.e2e]


def test_the_whole_story_plays_unattended_and_ends_as_told() -> None:
    told = subprocess.run(
        python_module("remediator", "demo", "--auto"),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.count("✓") == 4
    assert "/api/campaigns/c-103/pause, /api/campaigns/c-103/resume" in told.stdout
    assert told.stderr == ""


def test_a_port_where_somebody_listens_is_refused_before_anything_is_sent() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        told = subprocess.run(
            python_module("remediator", "demo", "--auto", "--port", port),
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert told.returncode == 2
    assert f"--port {port}: Address already in use" in told.stderr
    assert "Traceback" not in told.stderr
