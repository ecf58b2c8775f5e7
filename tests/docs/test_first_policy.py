"""docs/first-policy.md is walked as a newcomer walks it: an empty folder, its files, its commands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "first-policy.md"
_BLOCK = re.compile(
    r"(?:^`(?P<file>[\w./-]+)`:\n\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Command:
    """What is typed, and the lines that are shown after it."""

    typed: str
    shown: tuple[str, ...]


def commands(block: str) -> list[Command]:
    """The commands of a ``console`` block: ``$`` begins one."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return [Command(typed, tuple(shown)) for typed, shown in found]


def agrees(shown: str, said: str) -> bool:
    """Is this line what the page shows? ``…`` stands for anything, blanks for blanks."""
    parts = [
        re.sub(r"\s+", r"\\s+", re.escape(part.strip()).replace(r"\ ", " ")) for part in shown.split("…")
    ]
    return re.fullmatch(r"\s*" + r".*".join(parts) + r"\s*", said) is not None


def test_every_command_on_the_way_says_what_the_page_shows(tmp_path: Path) -> None:
    tools, folder = tmp_path / "bin", tmp_path / "empty"
    tools.mkdir()
    folder.mkdir()
    stub = tools / "remediator"
    stub.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m remediator "$@"\n')
    stub.chmod(0o755)
    environment = {  # of a fresh machine: git does not know who this is, nor may it guess
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "user.useConfigOnly",
        "GIT_CONFIG_VALUE_0": "true",
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    ran = 0
    for block in _BLOCK.finditer(PAGE.read_text()):
        if block["file"]:
            (folder / block["file"]).parent.mkdir(exist_ok=True)
            (folder / block["file"]).write_text(block["text"])
            continue
        assert block["kind"] in ("console", "sh"), f"who runs this? {block['text']}"
        pasted = [Command(block["text"], ())]
        for command in commands(block["text"]) if block["kind"] == "console" else pasted:
            done = subprocess.run(
                ["bash", "-c", command.typed],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=50,
                check=False,
            )
            said = (done.stdout + done.stderr).splitlines()
            place = iter(said)
            for line in command.shown:
                assert any(agrees(line, one) for one in place), (
                    f"$ {command.typed}\n{line!r} not in\n" + "\n".join(said)
                )
            if not command.shown:
                assert (done.returncode, said) == (0, []), command.typed
            ran += 1
    assert ran >= 12


def test_every_command_of_the_chain_is_on_the_way() -> None:
    typed = " ".join(
        one.typed
        for block in _BLOCK.finditer(PAGE.read_text())
        if block["kind"] == "console"
        for one in commands(block["text"])
    )
    for word in ("lint", "test", "backtest", "diff"):
        assert f"remediator policy {word} " in typed
