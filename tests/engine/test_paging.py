"""Stories of pages that cannot be kept: told by what is left, and not every second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from remediator.core.run import Page
from remediator.engine.paging import Paging, acknowledge
from remediator.errors import StoreError
from remediator.ports import Store
from remediator.store.memory import MemoryStore
from tests.core.campaign import policy
from tests.engine.world import Engine, HandClock, engine
from tests.worlds.service import eventually


class Pager:
    """Remembers who was told what; the next word is a minute later."""

    def __init__(self, one: Engine) -> None:
        self.engine = one
        self.told: list[str] = []
        self.hangs: dict[str, asyncio.Event] = {}  # text → until when

    async def deliver(self, page: Page) -> Page:
        self.told.append(page.text)
        if page.text in self.hangs:
            await self.hangs[page.text].wait()
        at = self.engine.clock.now() + timedelta(minutes=1)
        return msgspec.structs.replace(page, next_at=at, sent=(*page.sent, "bob by webhook"))

    async def has_told(self, text: str) -> None:
        await eventually(lambda: text in self.told, f"{text} is not told")


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine(tmp_path, policy()) as running:
        yield running


def paging(one: Engine, pager: Pager) -> Paging:
    return Paging(one.store, one.clock, pager.deliver, one._new_id)


async def test_a_page_that_was_told_but_cannot_be_written_down_is_not_told_every_second(
    one: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pager = Pager(one)
    pages = paging(one, pager)
    await pages.open("trouble", "look at this")

    async def full(_work: Any) -> Any:
        raise StoreError("store", "disk full")

    with monkeypatch.context() as broken:
        broken.setattr(one.store, "transact", full)
        for _ in range(5):
            with pytest.raises(StoreError):
                await pages.deliver_due()
    assert pager.told == ["look at this"]
    await pages.deliver_due()
    (kept,) = await one.store.read(lambda tx: tx.pages())
    assert kept.sent == ("bob by webhook",)
    assert pager.told == ["look at this"]


async def test_what_was_told_and_cannot_be_written_down_takes_no_others_place(
    one: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remediator.engine.paging.IN_HAND", 2)
    pager = Pager(one)
    pages = paging(one, pager)
    for text in "abcde":
        await pages.open(text, text)

    async def full(_work: Any) -> Any:
        raise StoreError("store", "disk full")

    monkeypatch.setattr(one.store, "transact", full)
    for _ in range(10):
        with pytest.raises(StoreError):
            await pages.deliver_due()
    assert sorted(pager.told) == list("abcde")


async def test_a_store_that_takes_nothing_pages_by_what_is_left_and_again_until_it_is_mended(
    one: Engine,
) -> None:
    pager = Pager(one)
    pages = paging(one, pager)
    for _ in range(3):
        await pages.without_store("disk full")
    assert len(pager.told) == 1
    assert "the store takes nothing (disk full)" in pager.told[0]
    one.later(minutes=2)
    await pages.without_store("disk full")
    assert len(pager.told) == 2
    pages.with_store()
    await pages.without_store("disk full again")
    assert "disk full again" in pager.told[2]


async def test_a_page_that_is_told_slowly_holds_up_no_other_and_each_is_kept_as_soon_as_it_is_told(
    one: Engine,
) -> None:
    pager = Pager(one)
    pages = paging(one, pager)
    pager.hangs["slow"] = slow = asyncio.Event()

    async def kept() -> list[str]:
        return [page.text for page in await one.store.read(lambda tx: tx.pages()) if page.sent]

    loop = asyncio.create_task(pages.run())
    try:
        for text in ("slow", "quick", "later"):
            await pages.open(text, text)
            await pager.has_told(text)
        await eventually(lambda: len(pages._in_hand) == 1, "what was told is not kept")
        assert await kept() == ["quick", "later"]
        slow.set()
        await eventually(lambda: not pages._in_hand, "what was slow is not kept")
        assert await kept() == ["slow", "quick", "later"]
        assert pager.told == ["slow", "quick", "later"], "once each"
    finally:
        loop.cancel()


async def test_a_page_that_is_kept_while_somebody_looks_what_is_due_is_not_told_twice(
    one: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pager = Pager(one)
    pages = paging(one, pager)
    pager.hangs["look"] = slow = asyncio.Event()
    await pages.open("look", "look")
    real, looks, answers = one.store.read, asyncio.Event(), asyncio.Event()

    async def late(work: Any) -> Any:
        seen = await real(work)
        if pages._in_hand:
            looks.set()
            await answers.wait()
        return seen

    monkeypatch.setattr(one.store, "read", late)
    loop = asyncio.create_task(pages.run())
    try:
        await pager.has_told("look")
        pages.poke()
        await looks.wait()
        slow.set()
        await eventually(lambda: not pages._in_hand, "it is not kept")
        answers.set()
        await pages.open("next", "next")
        await pager.has_told("next")
        assert pager.told == ["look", "next"]
    finally:
        loop.cancel()


async def test_a_page_that_cannot_be_told_for_a_defect_is_told_of_and_holds_up_no_other(
    one: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pager = Pager(one)
    pages = paging(one, pager)
    real, broke = pages._deliver, list[str]()
    monkeypatch.setattr("remediator.engine.paging.POLL_S", 0.01)

    async def broken(page: Page) -> Page:
        if page.text == "broken":
            broke.append(page.id)
            raise LookupError("a defect")
        return await real(page)

    pages._deliver = broken
    loop = asyncio.create_task(pages.run())
    try:
        await pages.open("broken", "broken")
        for text in ("good", "better"):
            await pages.open(text, text)
            await pager.has_told(text)
        await pager.has_told("some pages cannot be told: LookupError: a defect")
        (about,) = [page for page in await one.store.read(lambda tx: tx.pages()) if page.key == "bug:pages"]
        await one.store.transact(lambda tx: acknowledge(tx, about, "ann"))
        so_far = len(broke)
        await eventually(lambda: len(broke) > so_far + 5, "it is not tried again")
        assert pager.told.count(about.text) == 1, "whoever knows is left in peace"
    finally:
        loop.cancel()


async def test_who_was_cut_off_while_telling_does_not_set_a_page_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another daemon has told it since, and the next rung too: those people are not told once more."""
    clock = HandClock()
    store = MemoryStore(clock)

    def of(name: str, store: Store) -> Paging:
        async def deliver(page: Page) -> Page:
            rung, at = page.level + 1, clock.now()
            sent = (*page.sent, f"rung {rung} by {name}")
            return msgspec.structs.replace(page, level=rung, sent=sent, next_at=at + timedelta(minutes=5))

        return Paging(store, clock, deliver, lambda prefix: f"{prefix}-{name}")

    async def cut_off(*_work: Any) -> Any:
        raise StoreError("store", "no route")

    one, other, real = of("a", store), of("b", store.beside()), store.transact
    await one.open("trouble", "look at this")

    async def only_claims(work: Any) -> Any:
        broken.setattr(store, "transact", cut_off)
        return await real(work)

    with monkeypatch.context() as broken:
        broken.setattr(store, "transact", only_claims)
        with pytest.raises(StoreError):
            await one.deliver_due()
        for minutes in (1, 6):
            clock.at += timedelta(minutes=minutes)
            await other.deliver_due()
    await one.deliver_due()
    (page,) = await store.read(lambda tx: tx.pages())
    assert page.sent == ("rung 0 by b", "rung 1 by b", "rung 0 by a")
    assert (page.level, page.next_at) == (1, clock.now() + timedelta(minutes=5))
