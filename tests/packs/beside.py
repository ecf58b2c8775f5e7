"""Troubles of one system that go on beside each other: each is a test of its own, and all wait at once."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import pytest

Place = TypeVar("Place")
Story = Callable[[Place], Awaitable[None]]


class Beside(Generic[Place]):
    """Decorates the tests of a module whose targets are their own; its fixture lets them begin."""

    def __init__(self) -> None:
        self._stories: dict[str, Story[Place]] = {}
        self._told: dict[str, asyncio.Future[None]] = {}

    def __call__(self, story: Story[Place]) -> Story[Place]:
        """A test that begins with the module's first and goes on beside the others."""
        name = story.__name__
        self._stories[name] = story

        @functools.wraps(story)
        async def test(place: Place) -> None:
            del place  # it has it from the beginning
            await self._told[name]

        return test

    @asynccontextmanager
    async def begun(self, place: Place, request: pytest.FixtureRequest) -> AsyncIterator[None]:
        """They go on from here, those that are asked for; none outlives the block."""
        asked = {item.name for item in request.session.items}
        for name, story in self._stories.items():
            if name in asked:
                self._told[name] = asyncio.ensure_future(story(place))
        try:
            yield
        finally:
            for told in self._told.values():
                told.cancel()
            await asyncio.gather(*self._told.values(), return_exceptions=True)
