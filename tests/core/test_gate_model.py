"""Gates against `gate_on_paper`: whatever people, clocks and rotas do, both must come to the same.

Hypothesis chooses what happens (`gate_game`). After each event the core and the clerk with his papers
must agree on every gate, on whose votes count and who is missing, on what was started with which words,
and on how the run ended. That they would disagree if the core were wrong is shown by planting bugs.
"""

from __future__ import annotations

import inspect
import os
import random
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remediator.core import bounds, decide, planning
from remediator.core import gate as gates
from remediator.core.catalog import Cover
from remediator.core.run import gate_hash
from remediator.core.stages import preparing, starting, waiting
from remediator.core.turn import Turn
from tests.core.gate_game import play
from tests.core.gate_worlds import WORLDS, World
from tests.core.promises import Promises

pytestmark = pytest.mark.no_cover

EXAMPLES = int(os.environ.get("GATE_EXAMPLES", "1000"))
"""Together, over all worlds. A night's worth: ``GATE_EXAMPLES=1000000``, with ``--timeout 0``."""

games = st.integers(0, 400).flatmap(lambda length: st.binary(min_size=length, max_size=length))
"""Long ones as often as short ones: by themselves lists hold some five things."""


@pytest.mark.parametrize("name", WORLDS)
@settings(max_examples=EXAMPLES // len(WORLDS), deadline=None, suppress_health_check=list(HealthCheck))
@given(numbers=games)
def test_the_core_and_the_clerk_come_to_the_same(name: str, numbers: bytes) -> None:
    play(WORLDS[name], numbers)


# ── Can it fail? ──────────────────────────────────────────────────────────────────────────────────

PLANTED: dict[str, tuple[Any, str, str]] = {
    "a later step starts while the windows are shut": (bounds.to_go_on, "InWindows()", "NotHalted()"),
    "the first seat found is kept": (gates._empty, "or seat(seat_of[person], tried)", ""),
    "one person sits on two places": (gates._empty, "or seat(seat_of[person], tried)", "or True"),
    "a vote at the very end counts": (gates.expired, ">=", ">"),
    "any hash will do": (gates.is_for, "gate.hash.startswith(vote.hash)", "True"),
    "a letter of the hash will do": (gates.is_for, "len(vote.hash) >= SHORTEST_HASH", "True"),
    "anybody may vote": (gates.objection, "if not any(vote.by in", "if any(vote.by in {} and"),
    "who started it approves": (gates.objection, "run.starter == vote.by", "False"),
    "a second vote counts": (gates.objection, "earlier.by == vote.by", "False"),
    "who approved may not deny": (gates.objection, "if vote.approve and any(", "if any("),
    "a gate that was approved still takes votes": (
        gates.not_open,
        'gate.state == "open"',
        'gate.state in ("open", "approved")',
    ),
    "a denial is one voice among others": (waiting._vote, "if not vote.approve:", "if False:"),
    "a vote has the time that its sender claims": (
        waiting._vote,
        "replace(vote, at=turn.now)",
        "replace(vote, at=vote.at)",
    ),
    "an expired gate is not written down as such": (waiting._expire, 'state="expired", ', ""),
    "nobody hears that a gate expired": (waiting._expire, 'gate.late == "page"', 'gate.late == "deny"'),
    "a cover lasts one moment too long": (Cover.holds, "now < self.until", "now <= self.until"),
    "a cover begins one moment too late": (Cover.holds, "self.since <= now", "self.since < now"),
    "who lost the role still carries the approval": (
        starting._does_not_hold,
        "if not gate.satisfied(",
        "if False and gate.satisfied(",
    ),
    "a vote that was slipped in passes": (starting._does_not_hold, "if any(", "if False and any("),
    "another call than the approved one passes": (
        starting._does_not_hold,
        "if intention not in given.intentions",
        "if False",
    ),
    "another plan than the approved one passes": (
        starting._does_not_hold,
        "if gate_hash(",
        "if False and gate_hash(",
    ),
    "another case passes": (preparing._difference, "turn.now) != before", "turn.now) is None"),
    "another list passes": (planning.again, "if base in run.lists and", "if False and"),
    "a text for people voids an approval": (gates._changes, "step.risk is Risk.SAFE", "False"),
    "figures that change for ever are asked about for ever": (preparing._void, "voids <= MOST_VOIDS", "True"),
    "it starts although the alert is over": (starting.enter, "run.resolved_at is not None", "False"),
    "it starts although the policy is another one": (
        starting.enter,
        "if (agreed or not keeps_version(run)) and turn",
        "if False and turn",
    ),
    "it starts in spite of a halt": (starting._bound, "if turn.run.acted or", "if True or"),
    "nobody looks again before the act": (
        preparing._must_be_fresh,
        "run, intention = turn.run, turn.step.intention",
        "return False",
    ),
    "other rows pass": (preparing._other_rows, "not _alike(now.get(name), picture)", "now.get(name) is None"),
    "the hash leaves out what was shown": (gate_hash, '"pictures": shown', '"pictures": {}'),
    "what was agreed to outlives other figures": (Turn._is_live, "and left", "and False"),
    "a run is not told of another policy while it waits": (
        decide._depends_on_policy,
        "not keeps_version(run) or run.stage is Stage.WAITING",
        "not keeps_version(run)",
    ),
}


@contextmanager
def planted(function: Any, right: str, wrong: str) -> Iterator[None]:
    """The function with a bug in it, for whoever calls it."""
    source = dedent(inspect.getsource(function))
    assert source.count(right) == 1, f"{function.__name__} reads otherwise now: plant this bug anew"
    scope: dict[str, Any] = {}
    exec("from __future__ import annotations\n" + source.replace(right, wrong), function.__globals__, scope)
    sound = function.__code__
    function.__code__ = scope[function.__name__].__code__
    try:
        yield
    finally:
        function.__code__ = sound


def _games(count: int) -> Iterator[tuple[World, bytes]]:
    """Always the same ones."""
    chance = random.Random(7)
    for _ in range(count):
        for world in WORLDS.values():
            yield world, chance.randbytes(400)


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found_by_the_clerk(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for watchman in ("_agreed", "_bounded"):
        monkeypatch.setattr(Promises, watchman, lambda *_, **__: None)  # he has to find it without the others
    with planted(*PLANTED[bug]):
        for world, numbers in _games(400):
            try:
                play(world, numbers)
            except AssertionError as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                if where.name.startswith("_compare"):
                    return
    raise AssertionError(f"nobody found that {bug}")


def test_the_games_come_to_every_end() -> None:
    """So that none of the above is empty talk: games that all end early would find nothing."""
    ended, stood, turned_down, steps, voids = set(), set(), set(), set(), set()
    for world, numbers in _games(30):
        clerk = play(world, numbers).clerk
        ended.add(clerk.outcome)
        stood |= {paper.state for paper in clerk.papers}
        turned_down |= set(clerk.reasons)
        steps.add(len(clerk.started))
        voids.add(clerk.voids)
    assert ended == {"fixed", "failed", "refused", "recovered", "denied", "expired"}
    assert stood == {"approved", "denied", "expired", "void"}
    assert turned_down == {"no card", "not open", "late", "another plan", "no role", "own run", "twice"}
    assert steps == {0, 1, 2, 3}
    assert voids == {0, 1, 2, 3, 4}
