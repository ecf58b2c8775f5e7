"""Ways in which a pager service cannot be reached, told by a table; real answers are in test_webhook."""

from __future__ import annotations

import aiohttp
import pytest
from aioresponses import aioresponses

from remediator.config import PageHook
from remediator.people.webhook import WebhookRoad
from tests.people.stories import page

URL = "https://pager.example/hook"


@pytest.mark.parametrize(
    "broken",
    [
        aiohttp.ClientConnectionError("no route to host"),
        aiohttp.ServerDisconnectedError("hung up"),
        aiohttp.ClientPayloadError("half an answer"),
        aiohttp.InvalidURL(URL),
        ConnectionResetError("reset by peer"),
    ],
)
async def test_a_pager_that_cannot_be_reached_is_told_and_never_raised(broken: Exception) -> None:
    with aioresponses() as pager:
        pager.post(URL, exception=broken)
        told = await WebhookRoad(PageHook(url=URL)).page(page(), ["bob"])
    assert not told.ok
    assert told.detail


async def test_a_pager_that_never_answers_is_given_up() -> None:
    with aioresponses() as pager:
        pager.post(URL, timeout=True)
        told = await WebhookRoad(PageHook(url=URL)).page(page(), ["bob"])
    assert not told.ok
    assert "no answer" in told.detail
