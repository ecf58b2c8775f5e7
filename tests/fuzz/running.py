"""Fuzzes one target in a process of its own, and says what came of it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import msgspec

from tests.fuzz.child import FOUND, Order
from tests.fuzz.outcome import Outcome
from tests.rig.processes import REPOSITORY, python_module

SPARE_S = 170
"""Seconds that it may take beside fuzzing: imports and seeds on a slow machine."""
SHOWN = 1500
"""Bytes of an input that are shown; the whole of it is in its file."""


def fuzz(order: Order) -> Outcome:
    """Keeps what it learns and finds in the order's folder: ``corpus`` and ``found``."""
    folder = Path(order.folder)
    for name in ("corpus", "found"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    before = set((folder / "found").iterdir())
    told = folder / "told.json"
    told.unlink(missing_ok=True)
    command = python_module("tests.fuzz.child", msgspec.json.encode(order).decode())
    try:
        done = subprocess.run(
            command,
            cwd=REPOSITORY,
            env=outside_of_coverage(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=order.seconds + SPARE_S,
            check=False,
        )
        status, said = done.returncode, done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as error:
        status, said = -1, f"{(error.stdout or b'').decode(errors='replace')}\nit did not end by itself"
    if status == 0 and told.exists():
        counts = json.loads(told.read_text())
        return Outcome(order.target, order.engine, **counts)
    new = sorted(set((folder / "found").iterdir()) - before)
    return Outcome(order.target, order.engine, 0, 0, 0.0, _problem(order.target, status, said, new))


def outside_of_coverage() -> dict[str, str]:
    """Without what measures coverage: it would be slow, and watches the very bytecode that atheris does."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS")}


def _problem(target: str, status: int, said: str, found: list[Path]) -> str:
    lines = [f"---- {target} ended with {status}{' (found)' if status == FOUND else ''}", _end_of(said)]
    for one in found:
        lines += [
            f"---- the input, {one.stat().st_size} bytes: {one.read_bytes()[:SHOWN]!r}",
            f"---- again:   python -m tests.fuzz {target} --replay {one}",
            "---- remedy:  mend it, and write a test of its own with an input that people can read",
        ]
    return "\n".join(lines)


def _end_of(said: str) -> str:
    """The traceback, where there is one; libFuzzer's own words about it help nobody."""
    _, mark, trace = said.rpartition("Uncaught Python exception")
    text = trace.partition("libFuzzer: deadly signal")[0] if mark else said
    return text.strip("= :\n")[-6000:]
