"""A slice of the simulation: some seeds, the ones that failed once, one fault at a time, planted bugs.

All of it: `make sim` and `make sim-bugs`.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sim.bugs import BUGS
from tests.sim.checker import check
from tests.sim.playing import caught_by, play
from tests.sim.simulation import Simulation

pytestmark = pytest.mark.no_cover

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SEEDS = range(8)
ALERTS = 100
KEPT = [line.split()[:2] for line in (HERE / "seeds.txt").read_text().splitlines() if line[:1].isdigit()]
IN_CI = (
    "effect-before-intent",
    "no-fence",
    "takeover-acts-again",
    "local-clock",
    "hash-not-checked",
    "bound-read-outside",
    "lost-is-not-done",
    "path-not-escaped",
)
TRANSACTIONS = 24
"""What one alert of the policy below takes, and some beats between."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What goes wrong on purpose fills no log."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_promise_breaks(seed: int) -> None:
    played = play(seed, ALERTS)
    assert played.problems == [], "\n".join(played.trace)
    assert played.row.steps > ALERTS / 3, "a world in which nothing happens proves nothing"
    assert played.row.crashes > 5
    assert played.row.takeovers > 0


@pytest.mark.parametrize(("seed", "alerts"), KEPT)
def test_what_failed_once_holds_for_ever(seed: str, alerts: str) -> None:
    played = play(int(seed), int(alerts))
    assert played.problems == [], "\n".join(played.trace)


def test_the_same_seed_is_the_same_story_to_the_letter() -> None:
    code = (
        "import logging; logging.disable(50); from tests.sim.simulation import Simulation\n"
        "sim = Simulation(3, 20); sim.play(); print(sim.hash, len(sim.trace))"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": hashes, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hashes in ("1", "2")
    ]
    assert told[0] == told[1]
    assert int(told[0].split()[1]) > 200


def test_another_seed_is_another_story() -> None:
    one, other = Simulation(1, 5), Simulation(2, 5)
    one.play()
    other.play()
    assert one.hash != other.hash


@pytest.mark.parametrize(("first", "fault"), [(1, "lost"), (2, "crash after")])
def test_a_commit_of_a_run_may_go_wrong(first: int, fault: str) -> None:
    for number in range(first, TRANSACTIONS, 2):
        sim = Simulation(0, 0)
        sim.play_one("halve", {number: fault})
        assert check(sim) == [], f"{fault} at transaction {number}\n" + "\n".join(sim.trace)


@pytest.mark.parametrize("name", IN_CI)
def test_a_planted_bug_is_caught(name: str) -> None:
    seeds, _ = caught_by(name, range(4), ALERTS)
    assert seeds, f"nobody noticed: {BUGS[name].what}"
