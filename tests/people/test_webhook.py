"""The second road of a page."""

from __future__ import annotations

import asyncio
import json

import pytest
from pydantic import SecretStr

from remediator.config import PageHook
from remediator.people import webhook
from remediator.people.webhook import WebhookRoad
from remediator.ports import Told
from tests.connectors.peers import a_port_where_nobody_listens, answers, closes, hangs, peer, says
from tests.people.stories import PUBLIC, page, waiting


async def test_a_page_is_posted_as_json_with_its_headers() -> None:
    async with peer(answers(202)) as other:
        hook = PageHook(url=f"{other.url}/page", headers={"X-Token": SecretStr("t")})
        told = await WebhookRoad(hook, PUBLIC).page(page(level=1), ["amina", "bob"])
    assert told == Told(ok=True, road="webhook", detail="answered 202")
    assert other.heard[0].line == "POST /page HTTP/1.1"
    assert other.heard[0].header("x-token") == "t"
    assert json.loads(other.heard[0].body) == {
        "page": "pg-1",
        "key": "run/r-1/unknown",
        "text": "pause_campaigns on loyalty-program/p-17: outcome unknown",
        "run": "r-1",
        "level": 1,
        "people": ["amina", "bob"],
        "url": "https://remediator.example/runs/r-1",
    }


@pytest.mark.parametrize(
    "behave",
    [
        answers(500),
        answers(404),
        closes,
        says(b"HTTP/1.1 302 X\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"),
        says(b"garbage\r\n\r\n"),
    ],
)
async def test_a_page_that_was_not_taken_is_told_as_such(behave: object) -> None:
    async with peer(behave) as other:  # type: ignore[arg-type]
        told = await WebhookRoad(PageHook(url=other.url)).page(page(), [])
    assert not told.ok
    assert told.detail


async def test_a_road_that_is_not_there_never_raises() -> None:
    for url in (f"http://127.0.0.1:{a_port_where_nobody_listens()}", "not a url", "http://"):
        told = await WebhookRoad(PageHook(url=url)).page(page(run=""), [])
        assert not told.ok


async def test_waiting_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "WITHIN", 0.2)
    async with asyncio.timeout(20), peer(hangs) as other:
        told = await WebhookRoad(PageHook(url=other.url)).page(page(), [])
    assert told == Told(ok=False, road="webhook", detail="no answer within 0.2 s")


async def test_it_has_no_cards() -> None:
    assert await WebhookRoad(PageHook(url="http://127.0.0.1:1")).card(waiting(), None) is None
