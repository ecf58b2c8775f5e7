"""The map in remediator/README.md is true: everything that it names exists, and nothing is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "remediator"
MAP = (PACKAGE / "README.md").read_text()


def _named(section: str) -> set[str]:
    text = MAP.partition(f"## {section}")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {name.rstrip("/") for row in rows for name in re.findall(r"`([a-z_/]+)`", row)}


def _there(folder: Path) -> set[str]:
    modules = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("__")}
    return modules | {path.parent.name for path in folder.glob("*/__init__.py")}


def test_every_module_of_the_core_is_on_the_map() -> None:
    assert _named("core") == _there(PACKAGE / "core")


def test_every_module_of_the_engine_is_on_the_map() -> None:
    assert _named("engine") == _there(PACKAGE / "engine")


def test_every_stage_is_on_the_map() -> None:
    line = next(line for line in MAP.splitlines() if line.startswith("`stages/`"))
    assert set(re.findall(r"`([a-z]+)`", line)) == _there(PACKAGE / "core" / "stages")


def test_every_module_of_sql_is_on_the_map() -> None:
    line = next(line for line in MAP.splitlines() if line.startswith("`sql/`"))
    assert set(re.findall(r"`([a-z]+)`", line)) == _there(PACKAGE / "core" / "sql")


@pytest.mark.parametrize("folder", ["", "checks", "lint", "testing", "backtest", "diff"])
def test_every_module_of_the_policy_tools_is_on_the_map(folder: str) -> None:
    path = "policyfiles" / Path(folder)
    line = next(line for line in MAP.splitlines() if line.startswith(f"`{path}/`:"))
    assert _there(PACKAGE / path) <= set(re.findall(r"`([a-z_]+)/?`", line))


def test_every_folder_is_on_the_map() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert _named("The rest") == folders - {"core", "engine"}


def test_the_floors_on_the_map_are_those_that_are_enforced() -> None:
    tower = MAP.partition("```\n")[2].partition("```")[0]
    drawn = {
        word for line in tower.splitlines() for word in re.split(r"[ ,|]+", line.split("   ")[0]) if word
    }
    assert drawn == _there(PACKAGE)
