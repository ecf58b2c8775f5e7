"""For the end-to-end stories: a world and a Slack that the stories of one file share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.rig.slack import FakeSlack, running_slack
from tests.rig.webhook import Webhook, running_webhook
from tests.rig.world import LoyaltyWorld, running_world


@pytest.fixture(scope="module")
def one_world() -> Iterator[LoyaltyWorld]:
    """A loyalty API for a whole file: each story has its own campaign in it."""
    with running_world() as world:
        yield world


@pytest.fixture(scope="module")
def one_slack() -> Iterator[FakeSlack]:
    """A Slack for a whole file."""
    with running_slack() as slack:
        yield slack


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_pager() -> AsyncIterator[Webhook]:
    """A pager service for a whole file, whose tests run in one loop."""
    async with running_webhook() as pager:
        yield pager
