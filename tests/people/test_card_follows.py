"""A card follows every change of its run: whatever the order of events, no card is left saying what was.

The world, the people and the clock of `tests.core.test_decide_fuzz` play against one run; after each
decision every card that would look different now must have been asked for.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remediator.core.messages import Card, Decision
from remediator.core.run import Run, Stage
from remediator.people.cards import gate_card
from tests.core.campaign import policy, post, undo, votes
from tests.core.stories import Story
from tests.core.test_decide_fuzz import NUMBERS, POLICIES, Chaos, comes_to_its_end
from tests.people.stories import PUBLIC

MANY = {name: one for name, one in POLICIES.items() if name != "watch"}


def cards(run: Run) -> dict[str, str]:
    """Gate → what its card shows."""
    return {gate.id: gate_card(run, gate, PUBLIC).digest for gate in run.all_gates}


def stale(before: Decision, after: Decision) -> list[str]:
    """Cards that would look different after a decision, and that nobody was asked to show again."""
    asked = {effect.gate for effect in after.effects if isinstance(effect, Card)}
    shown = cards(before.run)
    return [gate for gate, now in cards(after.run).items() if shown.get(gate) != now and gate not in asked]


@pytest.mark.parametrize("name", MANY)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_happens_every_card_shows_the_run_as_it_is(name: str, data: st.DataObject) -> None:
    numbers = list(data.draw(NUMBERS))
    story = Story(MANY[name])
    chaos = Chaos(story, lambda below: numbers.pop() % below if numbers else 0)
    while numbers and story.run.stage is not Stage.CLOSED:
        chaos.step()
    comes_to_its_end(story)
    for before, after in pairwise(story.decisions):
        assert stale(before, after) == [], [entry.kind for entry in after.entries]


def test_an_undo_that_is_overdue_shows_on_the_card() -> None:
    held = policy({"pause": post("/pause", gate=votes(oncall=1), undo=undo(after="1h"))})
    story = Story(held).approve("bob").done().sees(holder="r9").passes("1h").passes("2m").passes("2m")
    assert story.run.steps["pause"].undo_late
    assert [gate for one in pairwise(story.decisions) for gate in stale(*one)] == []
