"""Server-sent events: who watches hears of changes, and nobody who is slow costs anything."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import StreamReader

from remediator.web import events
from tests.web.conftest import Opened, Site


async def hear(stream: StreamReader, until: str) -> str:
    heard = ""
    async with asyncio.timeout(20):
        while until not in heard:
            heard += (await stream.readany()).decode()
    return heard


async def test_a_change_is_heard_by_all_who_watch(site: Site) -> None:
    async with (
        site.client.get(f"{site.url}/api/v1/events") as one,
        site.client.get(f"{site.url}/api/v1/events") as other,
    ):
        assert one.headers["Content-Type"].startswith("text/event-stream")
        assert one.headers["Cache-Control"] == "no-store"
        await hear(one.content, "event: hello")
        await hear(other.content, "event: hello")
        site.feed.tell("r-1")
        for listener in (one, other):
            assert 'event: run\ndata: {"run": "r-1"}\n\n' in await hear(listener.content, "r-1")


async def test_a_client_that_goes_is_forgotten(site: Site) -> None:
    listeners = site.app[events.LISTENERS]
    async with site.client.get(f"{site.url}/api/v1/events") as one:
        await hear(one.content, "hello")
        assert len(listeners) == 1
    async with asyncio.timeout(20):
        while len(listeners):
            site.feed.tell("r-1")
            await asyncio.sleep(0.01)


async def test_silence_is_broken_by_heartbeats(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.05)
    async with site.client.get(f"{site.url}/api/v1/events") as one:
        assert (await hear(one.content, ": still here\n\n: still here")).count("event:") == 1


async def test_beyond_a_bound_all_changes_are_one_event() -> None:
    listener = events.Listener()
    for number in range(10_000):
        listener.changed(f"r-{number}")
    assert await listener.news() == b"event: many\ndata: {}\n\n"
    listener.changed("r-1")
    listener.changed("r-1")
    assert (await listener.news()).count(b"event: run") == 1


async def test_too_many_clients_are_told_to_come_back(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MOST_CLIENTS", 1)
    async with site.client.get(f"{site.url}/api/v1/events") as one:
        await hear(one.content, "hello")
        assert (await site.get("/api/v1/events"))[0] == 503


async def test_off_loopback_only_persons_listen(open_site: Opened) -> None:
    site = await open_site(exposed=True)
    assert (await site.get("/api/v1/events"))[0] == 401
    bearer = {"Authorization": "Bearer bob-token-0123456789"}
    async with site.client.get(f"{site.url}/api/v1/events", headers=bearer) as one:
        await hear(one.content, "hello")


async def test_an_open_stream_does_not_hold_up_the_end(open_site: Opened) -> None:
    site = await open_site()
    async with site.client.get(f"{site.url}/api/v1/events") as one:
        await hear(one.content, "hello")
        await site.app[events.LISTENERS].end(site.app)
        async with asyncio.timeout(20):
            await one.content.read()
