"""For the fault runs: a Slack that the tests of one file share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rig.slack import FakeSlack, running_slack


@pytest.fixture(scope="module")
def one_slack() -> Iterator[FakeSlack]:
    """A Slack for a whole file."""
    with running_slack() as slack:
        yield slack
