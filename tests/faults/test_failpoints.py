"""SIGKILL at one exact COMMIT or request: a slice of what `make failpoints` plays, on both stores."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.failpoints import MOMENTS, Point, strike
from tests.faults.policies import AGREED, AWARDED, BLIND, HELD, KEYED, PROVED
from tests.rig.postgres import Server
from tests.rig.slack import FakeSlack

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.real,
    pytest.mark.needs("postgresql"),
    pytest.mark.no_cover,
]

BEFORE, AFTER, DONE, NOT_DONE = MOMENTS
SLICE = {
    "sqlite": [(PROVED, BEFORE, 4), (HELD, AFTER, 5), (KEYED, NOT_DONE, 1)],
    "postgres": [(AWARDED, BEFORE, 3), (BLIND, DONE, 1), (AGREED, AFTER, 3)],
}


@pytest.mark.parametrize("store", SLICE)
async def test_killed_at_a_commit_or_at_a_request_it_does_nothing_twice_and_forgets_nothing(
    store: str, server: Server, slack: FakeSlack
) -> None:
    points = [Point(store, *one) for one in SLICE[store]]
    came = await asyncio.gather(*(strike(point, server, server, slack) for point in points))
    assert [one.problems for one in came] == [[], [], []]
    assert all(one.reached for one in came), "the daemon outlived its point"
