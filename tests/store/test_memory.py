"""The store in memory under the same contract, and what its undo log must be good for."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import sqlite3
from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediator.core.messages import Card, Counted, Entry
from remediator.core.run import Halt, Member, Stage
from remediator.errors import StoreError
from remediator.ports import JournalEntry, Store, Tx
from remediator.store.memory import MemoryStore
from remediator.store.memory_tables import Deadlines
from tests.store.contract import TxContract, store
from tests.store.doubting import DoubtContract
from tests.store.promises import traces, whole_decision
from tests.store.pruning import PruneContract
from tests.store.samples import NOON, HandClock, a_page, a_run, delivery, disposition, heard, scope
from tests.store.shared import SharedContract

__all__ = ["store"]

MINUTE = timedelta(minutes=1)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def two(clock: HandClock) -> tuple[Store, Store]:
    first = MemoryStore(clock)
    return first, first.beside()


class TestShared(SharedContract):
    """Replicas over one memory, as in a simulation."""


class MemoryRig:
    """No disk, so nothing breaks; what is tampered with is written to a table and read back."""

    url = ""
    statements = 0
    queued = 1500

    def __init__(self) -> None:
        self.clock = HandClock()
        self.store = MemoryStore(self.clock)

    async def opened(self) -> Store:
        return self.store

    async def reopened(self) -> Store:
        await self.store.close()
        await self.store.open()
        return self.store

    def fail_statement(self, number: int) -> None:
        raise NotImplementedError

    def heal(self) -> bool:
        raise NotImplementedError

    async def spoil(self, key: str, table: str = "runs", doc: str = "{}") -> None:
        assert table == "runs", "all else is kept as objects"
        runs = self.store._tables.runs
        runs[key] = msgspec.structs.replace(runs[key], doc=doc.encode())

    async def tamper(self, sql: str) -> None:
        journals = self.store._tables.journal
        names = ("run", "seq", "at", "kind", "data", "previous", "hash")
        with contextlib.closing(sqlite3.connect(":memory:")) as table:
            table.execute(f"CREATE TABLE journal ({', '.join(names)})")
            for line in (line for lines in journals.values() for line in lines):
                row = msgspec.structs.asdict(line)
                at = int(line.at.timestamp())
                values = [row | {"at": at, "data": msgspec.json.encode(line.data)}]
                table.executemany(f"INSERT INTO journal VALUES ({', '.join(':' + n for n in names)})", values)
            table.execute(sql)
            rows = table.execute("SELECT * FROM journal ORDER BY seq").fetchall()
        journals.clear()
        for run, seq, at, kind, data, previous, hash_ in rows:
            line = JournalEntry(
                run=run,
                seq=seq,
                at=datetime.fromtimestamp(at, NOON.tzinfo),
                kind=kind,
                data=msgspec.json.decode(data),
                previous=previous,
                hash=hash_,
            )
            journals[run].append(line)


@pytest.fixture
def rig() -> MemoryRig:
    return MemoryRig()


class TestTx(TxContract):
    pass


class TestDoubts(DoubtContract):
    pass


class TestPruning(PruneContract):
    pass


async def test_work_that_raises_leaves_nothing_and_its_error_passes_through(store: Store) -> None:
    async def work(tx: Tx) -> None:
        await whole_decision(tx)
        raise LookupError("changed my mind")

    with pytest.raises(LookupError, match="changed my mind"):
        await store.transact(work)
    assert not any(await store.read(traces))
    await store.transact(whole_decision)
    assert all((await store.read(traces))[1:])


async def test_a_breach_rolls_back_even_if_the_work_swallows_it(store: Store) -> None:
    await store.transact(lambda tx: tx.save_run(a_run("r1"), None))
    await store.transact(lambda tx: tx.put_page(a_page("p1")))

    async def a_second_run(tx: Tx) -> None:
        await tx.put_delivery(delivery())
        with contextlib.suppress(StoreError):
            await tx.save_run(a_run("r2"), None)

    async def a_second_page(tx: Tx) -> None:
        await tx.put_delivery(delivery())
        with contextlib.suppress(StoreError):
            await tx.put_page(a_page("p1", key="other"))

    for work in (a_second_run, a_second_page):
        with pytest.raises(StoreError):
            await store.transact(work)
    assert await store.read(lambda tx: tx.inbox_depth()) == 0


async def test_what_only_reads_may_not_write(store: Store) -> None:
    with pytest.raises(StoreError, match="should only read"):
        await store.read(lambda tx: tx.put_alert(heard()))
    assert await store.read(lambda tx: tx.alert("f1")) is None


async def test_work_that_waits_for_something_else_is_a_bug_and_leaves_nothing(store: Store) -> None:
    async def work(tx: Tx) -> None:
        await tx.put_alert(heard())
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="waited for something else"):
        await store.transact(work)
    assert await store.read(lambda tx: tx.alert("f1")) is None


async def test_its_clock_never_goes_back(store: Store, rig: MemoryRig) -> None:
    async def now(tx: Tx) -> datetime:
        return tx.now

    rig.clock.wall += MINUTE
    assert await store.read(now) == NOON + MINUTE
    rig.clock.wall -= MINUTE
    assert await store.read(now) == NOON + MINUTE


async def test_without_journals_all_else_is_kept(rig: MemoryRig) -> None:
    light = MemoryStore(rig.clock, journals=False)
    await light.transact(whole_decision)
    assert await light.read(lambda tx: tx.journals()) == []
    assert await light.read(lambda tx: tx.run("r1")) is not None


TARGETS = ("t1", "t2")
stages = st.sampled_from(list(Stage))
spans = st.sampled_from([None, *(NOON + n * MINUTE for n in (-1, 0, 1, 2))])
kinds = st.sampled_from(["act", "denied", "asked", "safe"])
change = st.one_of(
    st.tuples(st.just("run"), st.sampled_from(["r1", "r2", "r3"]), st.sampled_from(TARGETS), stages, spans),
    st.tuples(st.just("alert"), st.sampled_from(["f1", "f2"])),
    st.tuples(st.just("stand"), st.sampled_from(["f1", "f2"]), st.sampled_from(["", "target:t1"]), spans),
    st.tuples(st.just("drop"), st.sampled_from(["f1", "f2"])),
    st.tuples(st.just("wake"), st.just("target:t1")),
    st.tuples(st.just("count"), kinds, st.sampled_from(["r1", "r2"])),
    st.tuples(st.just("page"), st.sampled_from(["p1", "p2"]), st.booleans(), spans),
    st.tuples(st.just("effect"), st.sampled_from(["r1", "r2"])),
    st.tuples(st.just("result"), st.integers(1, 6)),
    st.tuples(st.just("halt"), st.booleans()),
    st.tuples(st.just("journal"), st.sampled_from(["r1", "r2"])),
)  # fmt: skip


async def make(tx: Tx, what: tuple[object, ...]) -> None:
    match what:
        case ("run", str(run), str(target), stage, wake):
            both = {one: Member(firing=True, since=NOON) for one in ("f1", run)}
            await tx.save_run(a_run(run, target=target, stage=stage, members=both, acted=True), wake)  # type: ignore[arg-type]
        case ("alert", str(one)):
            await tx.put_alert(heard(one))
        case ("stand", str(one), waits_for, again_at):
            await tx.put_disposition(disposition(fingerprint=one, waits_for=waits_for, again_at=again_at))
        case ("drop", str(one)):
            await tx.drop_dispositions(one)
        case ("wake", str(what_for)):
            await tx.wake_waiting(what_for)
        case ("count", kind, str(run)):
            await tx.count(scope(run), Counted(kind))  # type: ignore[arg-type]
        case ("page", str(page), acked, next_at):
            more = {"acked_by": "ann", "acked_at": NOON} if acked else {}
            await tx.save_page(a_page(page, key=f"k{page}", next_at=next_at, **more))
        case ("effect", str(run)):
            await tx.put_effects(run, [Card(f"{run}/g")])
        case ("result", int(number)):
            await tx.drop_effect(number)
        case ("halt", True):
            await tx.put_halt(Halt(id="h1", scope="all", reason="x", by="ann", at=NOON))
        case ("halt", False):
            await tx.lift_halt("h1", "ann")
        case ("journal", str(run)):
            await tx.journal(run, [Entry("looked")])


def everything(store: MemoryStore) -> dict[str, object]:
    """All tables, without the empty sets that an index may keep, and without the numbers that were given."""
    tables = {name: table for name, table in vars(store._tables).items() if name != "last"}
    return {
        name: {key: value for key, value in table.items() if value not in ({}, [])}
        for name, table in copy.deepcopy(tables).items()
    }


@settings(max_examples=150, deadline=None)
@given(st.lists(change, max_size=12), st.lists(change, min_size=1, max_size=12))
def test_a_transaction_that_is_rolled_back_leaves_every_table_as_it_was(
    before: list[tuple[object, ...]], within: list[tuple[object, ...]]
) -> None:
    store = MemoryStore(HandClock())
    for what in before:
        with contextlib.suppress(StoreError):
            store.do(lambda tx, what=what: make(tx, what))  # type: ignore[misc]
    as_it_was = everything(store)
    due = store.look(lambda tx: tx.due(10)), store.look(lambda tx: tx.next_due())

    async def work(tx: Tx) -> None:
        for what in within:
            with contextlib.suppress(StoreError):
                await make(tx, what)
            await tx.due(10)  # what it drops as out of date may be in force again after the rollback
        raise LookupError

    with pytest.raises(LookupError):
        store.do(work)
    assert everything(store) == as_it_was
    assert (store.look(lambda tx: tx.due(10)), store.look(lambda tx: tx.next_due())) == due


moves = st.lists(
    st.tuples(st.sampled_from("abcd"), st.one_of(st.none(), st.integers(0, 9))), min_size=1, max_size=40
)


@settings(max_examples=150, deadline=None)
@given(moves, st.integers(0, 9), st.integers(1, 5))
def test_deadlines_come_up_as_if_they_were_sorted(
    moves: list[tuple[str, int | None]], minute: int, limit: int
) -> None:
    deadlines: Deadlines[str] = Deadlines()
    plain: dict[str, datetime] = {}
    for key, at in moves:
        if at is None:
            deadlines.pop(key, None)
            plain.pop(key, None)
        else:
            deadlines[key] = plain[key] = NOON + at * MINUTE
        assert deadlines.earliest() == min(plain.values(), default=None)
        now = NOON + minute * MINUTE
        in_order = [key for key in sorted(plain, key=lambda key: (plain[key], key)) if plain[key] <= now]
        assert deadlines.until(now, limit) == in_order[:limit]
