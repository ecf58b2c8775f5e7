"""A command that only asks the daemon, or shows its help, is there at once."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"aiohttp", "jinja2", "msgspec", "pydantic", "re2", "slack_sdk", "yaml"}


def test_what_all_commands_have_in_common_loads_nothing_heavy() -> None:
    script = (
        "import sys; before = set(sys.modules); from remediator.cli import parser; parser();"
        "print(*(set(sys.modules) - before))"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "remediator.cli.runs" in loaded
    assert not HEAVY & set(loaded.split())
