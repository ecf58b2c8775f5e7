"""A short look with each fuzzer, and proof that they can fail. ``make fuzz`` looks for longer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fuzz import blind
from tests.fuzz.bugs import BUGS
from tests.fuzz.child import HERE, Order
from tests.fuzz.outcome import Outcome
from tests.fuzz.running import fuzz
from tests.fuzz.target import NAMES, Target, target_of

Load = Callable[[str], Target]

SECONDS = 3.0
EVERY = {"policies": 6}
"""Of whose seeds not all are taken: the corpus of policies has tests of its own."""
LEAST = 100
SEED = 20261121
"""The same each time: what a change breaks shows at once, and what chance finds is for `make fuzz`."""


@pytest.fixture
def loaded() -> Iterator[Load]:
    """Targets in this process; what they hold is given back."""
    with ExitStack() as held:

        def load(name: str) -> Target:
            target = target_of(name)
            held.callback(target.close)
            return target

        yield load


def short(target: str, folder: Path, bug: str = "") -> Outcome:
    order = Order(
        target=target,
        folder=str(folder),
        seconds=SECONDS,
        executions=10_000,
        least=LEAST,
        seed=SEED,
        every=EVERY.get(target, 1),
        bug=bug,
    )
    return fuzz(order)


@pytest.mark.timeout(200)
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_found_in_a_short_look(name: str, tmp_path: Path) -> None:
    outcome = short(name, tmp_path)
    print(outcome)
    assert not outcome.problem, outcome.problem
    assert outcome.executions > LEAST
    assert outcome.taken >= 20, "all of it was refused at the door"


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str, loaded: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    bug = BUGS[name]
    whole = loaded(bug.target)
    target = replace(whole, seeds=whole.seeds[:8])
    bug.plant(monkeypatch)
    assert not any(blind.tried(target, data) for data in target.seeds), "it must take changes to see it"
    assert blind.search(target, 3000, SEED) is not None, bug.what


@pytest.mark.timeout(200)
def test_what_is_found_is_shown_kept_and_seen_again(loaded: Load, tmp_path: Path) -> None:
    outcome = short("matchers", tmp_path, bug="nothing-is-escaped")
    assert outcome.engine == HERE
    (found,) = (tmp_path / "found").iterdir()
    assert f"python -m tests.fuzz matchers --replay {found}" in outcome.problem
    assert "_reads_as_printed" in outcome.problem
    assert repr(found.read_bytes())[2:-1] in outcome.problem
    assert hashlib.sha1(found.read_bytes(), usedforsecurity=False).hexdigest() in found.name
    assert blind.tried(loaded("matchers"), found.read_bytes()) is None  # without the bug it holds
