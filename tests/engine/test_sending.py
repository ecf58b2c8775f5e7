"""What is halted is asked together, and never answered by a question that was sent before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, cast

import pytest

from remediator.core.run import Halt
from remediator.engine.sending import Halts
from remediator.errors import StoreError
from remediator.ports import Store, Tx
from remediator.store.memory import MemoryStore
from tests.engine.world import HandClock


class Slow:
    """A store that answers when it is let to, with what was so when it was asked."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.store = MemoryStore(self.clock)
        self.asked = 0
        self.let = asyncio.Semaphore(0)
        self.broken = False

    async def read(self, work: Callable[[Tx], Awaitable[Any]]) -> Any:
        self.asked += 1
        if self.broken:
            raise StoreError("store", "no route")
        seen = await self.store.read(work)
        await self.let.acquire()
        return seen

    def halts(self) -> Halts:
        return Halts(cast("Store", self))

    async def halt(self) -> None:
        thrown = Halt(id="h-1", scope="all", reason="migration", by="ann", at=self.clock.now())
        await self.store.transact(lambda tx: tx.put_halt(thrown))


async def _turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_all_who_ask_meanwhile_share_one_question() -> None:
    slow = Slow()
    halts = slow.halts()
    first = asyncio.create_task(halts.now())
    await _turns()
    others = [asyncio.create_task(halts.now()) for _ in range(50)]
    await _turns()
    assert slow.asked == 1
    slow.let.release()
    slow.let.release()
    await asyncio.gather(first, *others)
    assert slow.asked == 2


async def test_whoever_asks_after_a_halt_hears_of_it_though_a_question_was_on_its_way() -> None:
    slow = Slow()
    halts = slow.halts()
    before = asyncio.create_task(halts.now())
    await _turns()
    await slow.halt()
    after = asyncio.create_task(halts.now())
    await _turns()
    slow.let.release()
    slow.let.release()
    assert await before == []
    assert [one.id for one in await after] == ["h-1"]


async def test_one_that_gives_up_takes_the_answer_from_nobody() -> None:
    slow = Slow()
    halts = slow.halts()
    one, other = asyncio.create_task(halts.now()), asyncio.create_task(halts.now())
    await _turns()
    one.cancel()
    await _turns()
    slow.let.release()
    assert await other == []


async def test_a_store_that_fails_is_told_to_all_and_asked_again_by_the_next() -> None:
    slow = Slow()
    slow.broken = True
    halts = slow.halts()
    told = await asyncio.gather(halts.now(), halts.now(), return_exceptions=True)
    assert [type(one) for one in told] == [StoreError, StoreError]
    assert slow.asked == 1
    slow.broken = False
    slow.let.release()
    assert await halts.now() == []


@pytest.mark.parametrize("halted", [True, False])
async def test_doubts_of_the_store_are_halts(halted: bool) -> None:
    """A clock that jumped halts everything before anybody could write it down."""
    slow = Slow()
    slow.let.release()
    await slow.store.read(lambda tx: tx.halts())
    if halted:
        slow.clock.off = timedelta(days=1)
    assert bool(await slow.halts().now()) is halted
