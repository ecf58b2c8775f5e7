"""What a server leaves behind: nothing, even where its client went first."""

from __future__ import annotations

import asyncio
import threading

import aiohttp
import pytest
from aiohttp import web

from tests.rig.hosted import hosted
from tests.rig.served import served


class Silent:
    """Never answers; knows when it was asked, and when it stopped."""

    def __init__(self) -> None:
        self.asked, self.ended = threading.Event(), threading.Event()

    def application(self) -> web.Application:
        async def never(_request: web.Request) -> web.Response:
            self.asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.ended.set()
            raise AssertionError

        app = web.Application()
        app.router.add_get("/", never)
        return app

    async def is_asked(self, url: str, *, and_left: bool) -> asyncio.Task[None]:
        async def ask() -> None:
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                raise AssertionError(answer)

        asking = asyncio.create_task(ask())
        assert await asyncio.to_thread(self.asked.wait, 60)
        if and_left:
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        return asking


@pytest.mark.parametrize("and_left", [False, True])
async def test_a_handler_that_never_answers_ends_with_its_server(*, and_left: bool) -> None:
    silent = Silent()
    async with served(silent.application()) as url:
        asking = await silent.is_asked(url, and_left=and_left)
        assert not silent.ended.is_set()
    assert silent.ended.is_set()
    with pytest.raises((asyncio.CancelledError, aiohttp.ClientConnectionError)):
        await asking


async def test_so_it_is_in_a_thread() -> None:
    silent = Silent()
    with hosted(lambda _port: silent.application()) as url:
        await silent.is_asked(url, and_left=True)
    assert silent.ended.is_set()
