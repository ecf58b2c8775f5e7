"""Rows that this program cannot read, and rounds that break: the others go on, and a person is told once."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from remediator.core.run import Page
from remediator.engine.membership import Membership
from remediator.engine.paging import CLAIM, Paging, put_page
from remediator.engine.setbacks import BROKEN_PAUSE
from remediator.errors import LeaseLost, StoreError
from remediator.ports import Store, Tx
from tests.core.campaign import policy, post, votes
from tests.engine.test_driver import Bench
from tests.engine.world import Engine, alert, engine
from tests.worlds.service import eventually

GATED = policy({"pause": post("/pause/${campaign}", gate=votes(oncall=1, within="5m"))})
ODD = b"{}"


class Torn(Bench):
    """With rows that can be damaged and mended; each round is asked for."""

    def __init__(self, one: Engine, folder: Path) -> None:
        super().__init__(one)
        self._file = folder / "state.db"
        self.told: list[str] = []
        self.answer: Page | None = None
        self.tearing = ""  # the table that is damaged while a page is told
        self.paging = Paging(one.store, one.clock, self._tell, one._new_id)

    def tears(self, table: str, where: str, doc: bytes = ODD) -> bytes:
        """What stood there."""
        with sqlite3.connect(self._file) as file:
            ((number, kept),) = file.execute(f"SELECT rowid, doc FROM {table} WHERE {where}").fetchall()
            file.execute(f"UPDATE {table} SET doc = ? WHERE rowid = ?", (doc, number))
        return bytes(kept)

    async def goes_on(self) -> None:
        """Whatever the loops do, once."""
        await self.driver._drain_inbox()
        await self.driver.meet_deadlines()
        await self.paging.deliver_due()

    async def targets(self) -> set[str]:
        return {run.target for run in await self.engine.runs()}

    async def refused(self) -> None:
        """Four alerts, and two runs at once: f3 and f4 wait for their turn."""
        await self.receives(*(alert(f"f{n}", campaign=f"c-{n}") for n in range(1, 5)))
        await self.driver._drain_inbox()
        assert await self.targets() == {"campaign/c-1", "campaign/c-2"}

    async def _tell(self, page: Page) -> Page:
        self.told.append(page.key)
        if self.tearing:
            self.tears(self.tearing, f"id = '{page.id}'")
        return self.answer or page


@pytest.fixture
async def torn(tmp_path: Path) -> AsyncIterator[Torn]:
    async with engine(tmp_path, GATED) as one:
        yield Torn(one, tmp_path)


async def test_a_refusal_that_cannot_be_read_is_left_alone_until_it_is_mended(torn: Torn) -> None:
    await torn.refused()
    kept = torn.tears("dispositions", "fingerprint = 'f3'")
    torn.engine.later(minutes=6)  # both runs expire, and wake who waits
    for _ in range(5):
        await torn.goes_on()
        torn.engine.later(seconds=30)
    assert await torn.targets() == {"campaign/c-1", "campaign/c-2", "campaign/c-4"}
    (told,) = torn.bugs
    assert told.startswith("bug:rows:dispositions a row of dispositions cannot be read")
    assert "late-campaign f3: " in told
    assert torn.tears("dispositions", "fingerprint = 'f3'", kept) == ODD, "nothing was written over it"
    torn.engine.later(minutes=1)
    await torn.goes_on()
    assert "campaign/c-3" in await torn.targets()
    assert len(torn.bugs) == 1


async def test_a_refusal_that_calls_itself_another_keeps_no_deadline_from_being_met(torn: Torn) -> None:
    await torn.refused()
    turned = torn.tears("dispositions", "fingerprint = 'f3'").replace(b"late-campaign", b"late-campaigo")
    torn.tears("dispositions", "fingerprint = 'f3'", turned)
    torn.engine.later(minutes=6)
    async with asyncio.timeout(20):
        await torn.driver.meet_deadlines()
    assert "campaign/c-4" in await torn.targets()
    assert [one.split()[0] for one in torn.bugs] == ["bug:rows:dispositions"]


@pytest.mark.parametrize(("table", "minutes"), [("alerts", 6), ("dispositions", 1)])
async def test_the_daemon_starts_with_rows_that_cannot_be_read_and_all_others_are_decided(
    torn: Torn, table: str, minutes: int
) -> None:
    await torn.refused()
    kept = torn.tears(table, "fingerprint = 'f3'")
    more = policy({"pause": post("/pause/${campaign}")}, bounds={"at_once": 9})
    torn.engine.runs_with(more)
    await torn.driver.policies_changed()
    await torn.goes_on()
    assert await torn.targets() == {"campaign/c-1", "campaign/c-2", "campaign/c-4"}
    assert [one for one in torn.bugs if one.startswith(f"bug:rows:{table} ")]
    told = len(torn.bugs)
    torn.tears(table, "fingerprint = 'f3'", kept)
    torn.engine.later(minutes=minutes)
    await torn.goes_on()
    assert "campaign/c-3" in await torn.targets()
    assert len(torn.bugs) == told


async def test_a_page_that_cannot_be_read_holds_up_no_other(torn: Torn) -> None:
    async def opened(tx: Tx) -> None:
        for key in ("odd", "whole"):
            await put_page(tx, torn.engine._new_id, key, key)

    await torn.engine.store.transact(opened)
    kept = torn.tears("pages", "key = 'odd'")
    await torn.goes_on()
    assert torn.told == ["whole"]
    assert [one.split()[0] for one in torn.bugs] == ["bug:rows:pages"]
    torn.tears("pages", "key = 'odd'", kept)
    torn.engine.later(minutes=2)
    await torn.paging.deliver_due()
    assert "odd" in torn.told


async def test_a_page_that_this_replica_cannot_read_is_first_left_to_those_who_can(
    torn: Torn, monkeypatch: pytest.MonkeyPatch
) -> None:
    await torn.paging.open("newer", "newer")
    kept = torn.tears("pages", "key = 'newer'")
    monkeypatch.setattr(type(torn.engine.store), "shared", property(lambda _: True))
    assert await torn.driver.meet_deadlines() > 0, "it does not spin meanwhile"
    torn.tears("pages", "key = 'newer'", kept)
    await torn.paging.deliver_due()
    assert torn.told == ["newer"], "as a newer one would"
    torn.engine.later(minutes=1)
    torn.tears("pages", "key = 'newer'")
    await torn.driver.meet_deadlines()
    assert await torn.engine.store.read(lambda tx: tx.next_due()) == torn.engine.clock.now() + BROKEN_PAUSE


async def test_a_run_that_this_replica_cannot_read_is_first_left_to_those_who_can(
    torn: Torn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An undo of a newer version would come a minute late whenever an older replica looks first."""
    await torn.receives(alert("f1", campaign="c-1"))
    await torn.driver._drain_inbox()
    (run,) = await torn.engine.runs()
    store, clock = torn.engine.store, torn.engine.clock
    torn.engine.later(minutes=6)
    due = await store.read(lambda tx: tx.next_due())
    torn.tears("runs", f"id = '{run.id}'")
    monkeypatch.setattr(type(store), "shared", property(lambda _: True))
    for _ in range(2):
        assert await torn.driver.meet_deadlines() > 0, "it does not spin meanwhile"
        assert await store.read(lambda tx: tx.next_due()) == due
        torn.engine.later(seconds=2)
    torn.engine.later(seconds=2)
    await torn.driver.meet_deadlines()
    assert await store.read(lambda tx: tx.next_due()) == clock.now() + BROKEN_PAUSE
    assert [one.split()[0] for one in torn.bugs] == [f"bug:run:{run.id}"]


async def test_bytes_that_are_no_letters_hold_up_no_other_delivery_and_no_other_page(torn: Torn) -> None:
    await torn.receives(alert("f1", campaign="c-1"))
    await torn.receives(alert("f2", campaign="c-2"))
    turned = torn.tears("inbox", "id = 1").replace(b"c-1", b"c-\xff")
    torn.tears("inbox", "id = 1", turned)
    for key in ("odd", "whole"):
        await torn.paging.open(key, key)
    turned = torn.tears("pages", "key = 'odd'").replace(b"odd", b"\xffdd")
    torn.tears("pages", "key = 'odd'", turned)
    await torn.goes_on()
    assert await torn.targets() == {"campaign/c-2"}
    assert torn.told == ["whole"]
    assert sorted(one.split()[0] for one in torn.bugs) == ["bug:alerts", "bug:rows:pages"]


async def test_effects_that_cannot_be_read_are_left_to_somebody_else(torn: Torn) -> None:
    store = torn.engine.store
    await torn.receives(alert("f1", campaign="c-1"), alert("f2", campaign="c-2"))
    store.write_as("gone")
    await torn.driver._drain_inbox()
    odd, *others = torn.started
    torn.tears("effects", f"id = {odd.id}")
    torn.started.clear()
    store.write_as("d2")
    member = membership(torn, store)
    await member.look()
    assert torn.started == others
    assert await store.read(lambda tx: tx.held()) == others
    await torn.driver.meet_deadlines()
    (told,) = torn.bugs
    assert told.startswith(f"bug:rows:effects run {odd.run} may stand still: ")


def membership(torn: Torn, store: Store) -> Membership:
    class Performer:
        start = torn.start

        def knows(self, number: int) -> bool:
            return number > 0

    one = Membership(store, torn.engine.clock, lambda: torn.engine.policies, torn.engine._new_id, "here")
    one.attach(torn.driver, Performer())
    return one


async def test_no_defect_ends_a_loop_of_the_driver(torn: Torn, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = 0

    async def broken() -> float:
        nonlocal rounds
        rounds += 1
        if rounds < 3:
            raise ZeroDivisionError("a defect")
        return 60.0

    monkeypatch.setattr("remediator.engine.driver.POLL_S", 0.01)
    monkeypatch.setattr(torn.driver, "meet_deadlines", broken)
    await during(torn.driver.run(), lambda: rounds >= 3)
    (told,) = torn.bugs
    assert told.startswith("bug:loop:broken a round of `broken` broke: ZeroDivisionError: a defect")
    assert torn.driver.store_works


async def test_no_defect_ends_the_beat_of_a_replica(torn: Torn, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = 0
    member = membership(torn, torn.engine.store)

    async def broken() -> None:
        nonlocal rounds
        rounds += 1
        raise (LeaseLost("store", "gone") if rounds == 1 else ZeroDivisionError("a defect"))

    monkeypatch.setattr(type(torn.engine.store), "shared", property(lambda _: True))
    monkeypatch.setattr("remediator.engine.membership.BEAT_S", 0.01)
    monkeypatch.setattr(member, "renew", broken)
    await during(member.run(), lambda: rounds >= 4)
    assert [one.split()[0] for one in torn.bugs] == ["bug:loop:broken"]


async def test_a_page_that_is_torn_while_it_is_told_is_kept_once_it_is_mended(torn: Torn) -> None:
    await torn.paging.open("torn", "look")
    (page,) = await torn.engine.store.read(lambda tx: tx.pages())
    torn.answer = msgspec.structs.replace(page, sent=("bob",), next_at=None)
    torn.tearing = "pages"
    for _ in range(3):
        await torn.paging.deliver_due()
    assert torn.told == ["torn"]
    torn.tears("pages", "key = 'torn'", msgspec.json.encode(page))
    await torn.paging.deliver_due()
    assert await torn.engine.store.read(lambda tx: tx.pages()) == [torn.answer]


async def test_a_page_that_is_torn_while_it_is_told_takes_the_others_from_nobody(
    torn: Torn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where daemons share the store: what is being told slowly stays claimed."""
    answer, store = asyncio.Event(), torn.engine.store

    async def slowly(page: Page) -> Page:
        await answer.wait()
        return page

    monkeypatch.setattr(type(store), "shared", property(lambda _: True))
    monkeypatch.setattr(torn.paging, "_deliver", slowly)
    for key in ("torn", "whole"):
        await torn.paging.open(key, key)
    async with asyncio.TaskGroup() as tellings:
        await torn.paging._round(tellings)
        torn.tears("pages", "key = 'torn'")
        for _ in range(4):
            torn.engine.later(seconds=15)
            await torn.paging._round(tellings)
        (whole,) = await store.read(lambda tx: tx.pages())
        assert (whole.key, whole.next_at) == ("whole", torn.engine.clock.now() + CLAIM)
        answer.set()


async def test_no_defect_ends_the_telling_of_pages(torn: Torn, monkeypatch: pytest.MonkeyPatch) -> None:
    real, rounds = torn.paging._keep_up, 0

    async def broken() -> None:
        nonlocal rounds
        rounds += 1
        if rounds < 4:
            raise ZeroDivisionError("a defect")
        await real()

    monkeypatch.setattr("remediator.engine.paging.POLL_S", 0.01)
    monkeypatch.setattr(torn.paging, "_keep_up", broken)
    await during(torn.paging.run(), lambda: "bug:pages" in torn.told and rounds >= 4)
    assert len(await torn.engine.store.read(lambda tx: tx.pages())) == 1


@pytest.mark.parametrize("error", [StoreError("store", "it blinks"), msgspec.DecodeError("a torn journal")])
async def test_a_round_that_breaks_is_told_of_though_that_cannot_be_at_first(
    torn: Torn, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    real, tries = torn.paging.open, 0

    async def broken() -> None:
        raise ZeroDivisionError("a defect")

    async def fails(*words: str) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise error
        await real(*words)

    monkeypatch.setattr("remediator.engine.paging.POLL_S", 0.01)
    monkeypatch.setattr(torn.paging, "_keep_up", broken)
    monkeypatch.setattr(torn.paging, "open", fails)
    await during(torn.paging.run(), lambda: "bug:pages" in torn.told)
    assert tries == 3


async def during(loop: Coroutine[Any, Any, None], so_far: Callable[[], object]) -> None:
    """Run it until then; it must not have ended by itself."""
    task = asyncio.ensure_future(loop)
    try:
        await eventually(so_far, "it does not go on")
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])
