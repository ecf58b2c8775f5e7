"""Stories of cover for an absence: who holds a role today, and no longer tomorrow."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from remediator.core.catalog import Catalog, Cover
from remediator.core.policy import Policy
from remediator.core.run import Stage
from tests.core.campaign import CATALOG, START, policy, post, proof, votes
from tests.core.stories import Story

HOUR = timedelta(hours=1)


def covered(*, until: datetime, since: datetime | None = None, by: str = "dora") -> Catalog:
    """Amina, the only lead, is away."""
    return replace(CATALOG, covers={"lead": (Cover(by, until, since),)})


def gated(**step: object) -> Policy:
    return policy({"pause": post("/pause/${campaign}", gate=votes(within="4h", lead=1), **step)})


def test_who_covers_a_role_votes_for_it_and_whoever_is_covered_may_still_do_so() -> None:
    away = covered(until=START + HOUR)
    Story(gated(), catalog=away).approve("dora").starts("pause")
    Story(gated(), catalog=away).approve("amina").starts("pause")


@pytest.mark.parametrize(
    ("since", "until"),
    [(START + HOUR, START + 2 * HOUR), (None, START), (START - 2 * HOUR, START - HOUR)],
    ids=["not yet", "over at this very moment", "over"],
)
def test_outside_its_time_a_cover_is_nobody(since: datetime | None, until: datetime) -> None:
    story = Story(gated(), catalog=covered(since=since, until=until))
    story.approve("dora").in_stage(Stage.WAITING)
    assert story.entry("vote-refused")["reason"] == "dora has none of the roles lead"
    story.deny("dora").in_stage(Stage.WAITING)
    story.approve("amina").starts("pause")


def test_a_cover_that_begins_while_the_gate_is_open_counts_from_then_on() -> None:
    story = Story(gated(), catalog=covered(since=START + HOUR, until=START + 3 * HOUR))
    story.approve("dora").in_stage(Stage.WAITING).later("1h").approve("dora").starts("pause")


def test_a_vote_of_a_cover_whose_time_ended_before_the_step_starts_no_longer_counts() -> None:
    away = covered(until=START + HOUR)
    story = Story(gated(verify=proof()), catalog=away)
    story.later("59m").approve("dora").in_stage(Stage.PREPARING).later("2m").reads_before(value=1)
    story.refuses("gate", "no longer hold the roles that are required").starts_nothing()
    in_time = Story(gated(verify=proof()), catalog=away).approve("dora").reads_before(value=1)
    in_time.starts("pause")


def test_a_place_that_a_cover_filled_is_empty_again_once_the_time_is_over() -> None:
    whole = policy({"pause": post("/pause", gate=votes(within="4h", lead=1, oncall=1))})
    story = Story(whole, catalog=covered(until=START + HOUR)).approve("dora").later("2h").approve("bob")
    story.in_stage(Stage.WAITING).starts_nothing()
    story.approve("amina").starts("pause")


def test_who_covers_two_roles_still_fills_one_place_only() -> None:
    whole = policy({"pause": post("/pause", gate=votes(lead=1, finance=1))})
    story = Story(whole, catalog=covered(until=START + HOUR)).approve("dora").in_stage(Stage.WAITING)
    story.approve("amina").starts("pause")


def test_everybody_who_holds_a_role_at_a_moment() -> None:
    away = covered(since=START, until=START + HOUR)
    assert away.roles_at(START)["lead"] == {"amina", "dora"}
    assert away.roles_at(START + HOUR)["lead"] == away.roles_at(START - HOUR)["lead"] == {"amina"}
    assert away.roles_at(START)["oncall"] == CATALOG.roles["oncall"]
    assert CATALOG.roles_at(START) == CATALOG.roles
