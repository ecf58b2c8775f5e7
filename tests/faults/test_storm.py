"""Three real daemons and a real PostgreSQL in a storm: nothing double, nothing lost, everybody told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.storm import Plan, storm
from tests.rig.postgres import Server, running_postgres
from tests.rig.slack import FakeSlack

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.real,
    pytest.mark.needs("postgresql"),
    pytest.mark.timeout(270),
    pytest.mark.no_cover,
]


@pytest.fixture
def mortal() -> Iterator[Server]:
    """A PostgreSQL that may be crashed."""
    with running_postgres() as one:
        yield one


async def test_twenty_kills_a_freeze_a_restart_and_a_promotion(
    mortal: Server, server: Server, slack: FakeSlack
) -> None:
    report = await storm(Plan(seed=1), mortal, server, slack)
    print(report)
    assert report.problems == []
    assert (report.kills, report.freezes, report.restarts, report.promotions) == (20, 1, 1, 1)
    assert report.alerts > 40
    assert report.effects > 20
