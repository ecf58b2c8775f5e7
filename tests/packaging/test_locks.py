"""The locked requirements: complete, hashed, agreeing with each other, naming no host and no path."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ["requirements-build.txt", "requirements.txt", "requirements-connectors.txt", "requirements-dev.txt"]
_PIN = re.compile(r"^([a-z0-9-]+)==(\S+)(?: ; .+)? \\$", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    return dict(_PIN.findall((ROOT / name).read_text()))


def canonical(requirement: str) -> str:
    (name,) = re.findall(r"^[A-Za-z0-9_.-]+", requirement)
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_has_a_hash_and_nothing_else_is_there(name: str) -> None:
    text = (ROOT / name).read_text()
    for block in re.split(r"\n(?=[a-z])", re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE).strip()):
        assert "--hash=sha256:" in block
    assert not re.search(r"https?:|file:/|--index|--extra-index|--find-links|--trusted-host|(^|\s)/", text)


def test_the_daemon_runs_with_what_was_tested() -> None:
    run, dev = pins("requirements.txt"), pins("requirements-dev.txt")
    assert {name: dev.get(name) for name in run} == run
    connected = pins("requirements-connectors.txt")
    assert connected.items() >= run.items()
    assert {name: dev.get(name) for name in connected} == connected


def test_every_declared_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {canonical(one) for one in project["dependencies"]} <= pins("requirements.txt").keys()
    for extra, wanted in project["optional-dependencies"].items():
        lock = f"requirements-{'dev' if extra == 'dev' else 'connectors'}.txt"
        assert {canonical(one) for one in wanted} <= pins(lock).keys()


def test_every_dependency_is_argued_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    argued = (ROOT / "docs" / "dependencies.md").read_text()
    for needed in (project["dependencies"], *project["optional-dependencies"].values()):
        for one in needed:
            assert f"`{canonical(one)}`" in argued, one


def test_what_is_not_for_every_machine_says_so_in_the_lock() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "requirements-dev.txt").read_text()
    marked = [one.split("; ") for one in project["optional-dependencies"]["dev"] if "; " in one]
    assert marked
    for requirement, marker in marked:
        assert re.search(rf"^{canonical(requirement)}==\S+ ; {re.escape(marker)} \\$", text, re.MULTILINE)
