"""Two daemons at the same row: whoever decided on what is no longer so decides again, before it commits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from remediator.core.intention import Call
from remediator.core.messages import Act, Card, Counted, Entry
from remediator.core.run import Halt, Stage
from remediator.errors import StoreError
from remediator.ports import SYSTEM, Ahead, KeptPolicy, Store, Tx
from remediator.store.postgres_tx import TAKE_OVER, PostgresTx
from tests.store.postgres_rig import PostgresRig
from tests.store.samples import NOON, a_run, delivery, disposition, heard, scope
from tests.store.test_postgres import rig, two

__all__ = ["rig", "two"]

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql")]

T = TypeVar("T")
MINUTE = timedelta(minutes=1)
HALT = Halt(id="h1", scope="all", reason="x", by="ann", at=NOON)
CALL = Call("http.post", "shop_api", {"path": "/x"})


async def met(
    a: Store, work: Callable[[Tx, bool], Awaitable[T]], other: Callable[[], Awaitable[object]], ahead: Ahead
) -> list[T]:
    """Run the work; after its first reading somebody else commits. What it found each time it ran."""
    found: list[T] = []

    async def once(tx: Tx) -> None:
        found.append(await work(tx, True))
        if len(found) == 1:
            await asyncio.wait_for(other(), 20)
        await work(tx, False)

    await a.transact(once, ahead)
    return found


@pytest.mark.parametrize("kind", ["act", "safe"])
async def test_nothing_starts_after_a_halt_that_came_in_between(two: tuple[Store, Store], kind: str) -> None:
    a, b = two
    run = a_run(stage=Stage.DIAGNOSING)
    await a.transact(lambda tx: tx.save_run(run, None))

    async def start(tx: Tx, reads: bool) -> int:
        if reads:
            await tx.run("r1")
            return len((await tx.seen(scope())).halts)
        await tx.save_run(run, None)
        await tx.count(scope(), Counted(kind, "warn"))  # type: ignore[arg-type]
        await tx.put_effects("r1", [Act("pause", 1, CALL, "k", NOON + MINUTE)])
        return 0

    halts = await met(a, start, lambda: b.transact(lambda tx: tx.put_halt(HALT)), Ahead(run="r1"))
    assert halts == [0, 1]


async def test_a_halt_waits_for_whoever_is_starting_something(two: tuple[Store, Store]) -> None:
    """Once it is committed nothing starts, so it is not committed between the last look and the start."""
    a, b = two
    await a.transact(lambda tx: tx.save_run(a_run(), None))

    async def start(tx: Tx) -> bool:
        await tx.seen(scope())
        await tx.put_effects("r1", [Act("pause", 1, CALL, "k", NOON + MINUTE)])
        await tx.flush()  # type: ignore[attr-defined]
        halting.append(asyncio.ensure_future(b.transact(lambda tx: tx.put_halt(HALT))))
        done, _ = await asyncio.wait(halting, timeout=0.3)
        return bool(done)

    halting: list[asyncio.Future[None]] = []
    assert not await a.transact(start)
    await asyncio.wait_for(halting[0], 20)


async def test_whoever_begins_to_wait_for_a_halt_while_it_is_lifted_is_woken(
    two: tuple[Store, Store],
) -> None:
    a, b = two
    await a.transact(lambda tx: tx.put_halt(HALT))

    async def refuse(tx: Tx) -> None:
        await tx.seen(scope("me"))
        await tx.put_disposition(disposition(waits_for="halt"))
        await tx.flush()  # type: ignore[attr-defined]
        lifting.append(asyncio.ensure_future(b.transact(lift)))
        await asyncio.wait(lifting, timeout=0.3)

    async def lift(tx: Tx) -> int:
        await tx.lift_halt(HALT.id, "ann")
        return await tx.wake_some("halt", 10)

    lifting: list[asyncio.Future[int]] = []
    await a.transact(refuse)
    assert await asyncio.wait_for(lifting[0], 20) == 1
    assert not await a.read(lambda tx: tx.is_waited_for("halt"))


async def test_nobody_begins_to_wait_for_what_has_just_come(two: tuple[Store, Store]) -> None:
    a, b = two
    holder = a_run("holder", stage=Stage.ACTING)
    await a.transact(lambda tx: tx.save_run(holder, None))

    async def refuse(tx: Tx, reads: bool) -> str | None:
        if reads:
            return (await tx.seen(scope("me"))).holder
        await tx.put_disposition(disposition(waits_for="target:deployment/shop/worker"))
        return None

    async def end(tx: Tx) -> None:
        await tx.run("holder")
        await tx.save_run(a_run("holder", stage=Stage.CLOSED), None)
        await tx.wake_waiting("target:deployment/shop/worker")

    assert await met(a, refuse, lambda: b.transact(end), Ahead()) == ["holder", None]


async def test_bounds_are_counted_again(two: tuple[Store, Store]) -> None:
    a, b = two

    async def spend(tx: Tx, reads: bool) -> int:
        if reads:
            return len(
                (
                    await tx.seen(scope("mine", target="one", budget="rates", budget_window=MINUTE))
                ).use.budget_acts
            )
        await tx.count(scope("mine", target="one", budget="rates", budget_window=MINUTE), Counted("act"))
        return 0

    def others() -> Awaitable[None]:
        where = scope("other", policy="another", target="two", budget="rates", budget_window=MINUTE)
        return b.transact(lambda tx: tx.count(where, Counted("act")))

    assert await met(a, spend, others, Ahead()) == [0, 1]


async def test_times_may_be_in_another_order_than_commits_and_the_systems_journal_is_not(
    rig: PostgresRig, two: tuple[Store, Store]
) -> None:
    """A transaction reads the time first, and then what is open: whoever made room may have a later time."""
    a, b = two
    await a.transact(lambda tx: tx.save_run(a_run("first"), None))

    async def close(tx: Tx) -> None:
        await tx.run("first")
        await tx.save_run(a_run("first", stage=Stage.CLOSED), None)
        await tx.journal(SYSTEM, [Entry("run-closed", {"run": "first"})])

    async def open_one(tx: Tx) -> None:
        rig.clock.advance(timedelta(seconds=1))
        await b.transact(close)
        assert (await tx.seen(scope("second"))).use.open_runs == 0, "there is room"
        await tx.save_run(a_run("second", target="another"), None)
        await tx.journal(SYSTEM, [Entry("run-opened", {"run": "second"})])

    await a.transact(open_one)
    closed, opened = (await a.read(lambda tx: tx.read_journal(SYSTEM)))[-2:]
    assert (closed.kind, opened.kind) == ("run-closed", "run-opened")
    assert opened.at < closed.at


async def test_a_run_that_somebody_else_opened_is_found(two: tuple[Store, Store]) -> None:
    a, b = two

    async def open_one(tx: Tx, reads: bool) -> str:
        if reads:
            there = await tx.open_run("unstick", "deployment/shop/worker")
            known.append(there.id if there is not None else "")
        elif not known[-1]:
            await tx.save_run(a_run("mine"), None)
        return known[-1]

    known: list[str] = []
    others = a_run("others")
    assert await met(a, open_one, lambda: b.transact(lambda tx: tx.save_run(others, None)), Ahead()) == [
        "",
        "others",
    ]


async def test_a_run_that_somebody_else_moved_is_read_again(two: tuple[Store, Store]) -> None:
    """It was found by its alert, so its row was not locked."""
    a, b = two
    await a.transact(lambda tx: tx.save_run(a_run(), None))

    async def hear(tx: Tx, reads: bool) -> str:
        await tx.alert("f1")
        (run,) = await tx.runs_of_alert("f1")
        if not reads:
            await tx.save_run(run, NOON)
        return run.stage

    moved = a_run(stage=Stage.VERIFYING)

    async def move(tx: Tx) -> None:
        await tx.run("r1")
        await tx.save_run(moved, None)

    stages = await met(a, hear, lambda: b.transact(move), Ahead())
    assert stages == [Stage.DIAGNOSING, Stage.VERIFYING]
    assert await b.read(lambda tx: tx.run("r1")) == moved


async def test_of_two_firings_at_once_the_older_is_not_kept_over_the_newer(two: tuple[Store, Store]) -> None:
    a, b = two
    older: list[asyncio.Task[bool]] = []

    async def newer(tx: Tx) -> bool:
        newest = await tx.claim_newest_firing("disk/kept", NOON + MINUTE)
        if not older:
            asks = b.transact(lambda tx: tx.claim_newest_firing("disk/kept", NOON))
            older.append(asyncio.ensure_future(asks))
            await asyncio.wait(older, timeout=0.5)  # it waits for this transaction, or would have answered
        return newest

    assert await a.transact(newer)
    assert not await older[0]


async def test_a_result_counts_once(two: tuple[Store, Store]) -> None:
    a, b = two
    await a.transact(lambda tx: tx.save_run(a_run(), None))
    (effect,) = await a.transact(lambda tx: tx.put_effects("r1", [Card("g1")]))
    counted: list[bool] = []

    async def result(tx: Tx) -> bool:
        counts = await tx.drop_effect(effect.id)
        await asyncio.sleep(0.05)
        run = await tx.run("r1")
        assert run is not None
        if counts:
            await tx.save_run(run, NOON)
        return counts

    ahead = Ahead(run="r1", effect=effect.id)
    counted += await asyncio.gather(*(store.transact(result, ahead) for store in (a, b, a, b)))
    assert sorted(counted) == [False, False, False, True]


async def test_a_result_counts_once_whatever_else_is_written(two: tuple[Store, Store]) -> None:
    a, b = two
    (effect,) = await a.transact(lambda tx: tx.put_effects("r1", [Card("g1")]))

    async def result(tx: Tx) -> bool:
        counts = await tx.drop_effect(effect.id)
        await asyncio.sleep(0.05)
        return counts

    assert sorted(await asyncio.gather(*(one.transact(result) for one in (a, b, a, b)))) == [
        False, False, False, True
    ]  # fmt: skip


async def test_deliveries_are_claimed_by_one_each(two: tuple[Store, Store]) -> None:
    a, b = two

    async def put(tx: Tx) -> None:
        for name in "abcdefgh":
            await tx.put_delivery(delivery(name))

    await a.transact(put)

    async def claim(tx: Tx) -> list[int]:
        few = await tx.claim_inbox(3, 100)
        await asyncio.sleep(0.05)
        for one in few:
            await tx.settle_delivery(one.id)
        return [one.id for one in few]

    claims = await asyncio.gather(a.transact(claim), b.transact(claim))
    assert len({number for few in claims for number in few}) == 6
    assert await a.read(lambda tx: tx.inbox_depth()) == 2


async def test_what_a_portion_leaves_is_free_for_others(two: tuple[Store, Store]) -> None:
    """Locked for nothing it would be overtaken by what came after it."""
    a, b = two
    sizes = (60, 30, 60, 1)

    async def put(tx: Tx) -> list[int]:
        return [
            await tx.put_delivery(delivery(*(f"{number}-{one}" for one in range(size))))
            for number, size in enumerate(sizes)
        ]

    numbers = await a.transact(put)

    async def claim(tx: Tx) -> list[int]:
        few = [one.id for one in await tx.claim_inbox(64, 100)]
        if few == numbers[:2]:
            assert await b.transact(claim) == numbers[2:]
        return few

    assert await a.transact(claim) == numbers[:2]


async def test_an_alert_is_heard_by_one_after_the_other(two: tuple[Store, Store]) -> None:
    a, b = two
    for _ in range(5):
        await a.transact(lambda tx: tx.put_alert(heard()))

        async def hear(tx: Tx) -> None:
            row = await tx.alert("f1")
            assert row is not None
            await asyncio.sleep(0.01)
            await tx.put_alert(
                type(row)(
                    **{one: getattr(row, one) for one in row.__struct_fields__}
                    | {"deliveries": row.deliveries + 1}
                )
            )

        await asyncio.gather(*(store.transact(hear) for store in (a, b, a, b)))
        row = await a.read(lambda tx: tx.alert("f1"))
        assert row is not None
        assert row.deliveries == 5


async def test_many_that_meet_at_several_places_all_end(two: tuple[Store, Store]) -> None:
    """No deadlock, nothing lost: each counts an act at two targets, in either order."""
    a, b = two

    async def both(tx: Tx, number: int) -> None:
        places = ["one", "two"] if number % 2 else ["two", "one"]
        for target in places:
            await tx.seen(scope(f"r{number}", target=target))
            await tx.count(scope(f"r{number}", target=target), Counted("act"))

    works = [
        (a if number % 2 else b).transact(lambda tx, number=number: both(tx, number))  # type: ignore[misc]
        for number in range(12)
    ]
    ends = await asyncio.gather(*works, return_exceptions=True)
    assert [one for one in ends if one is not None and not isinstance(one, StoreError)] == []
    acts = (await a.read(lambda tx: tx.seen(scope("me", target="one")))).use.target_acts
    assert len(acts) == ends.count(None)
    assert ends.count(None) >= 6


async def test_a_version_that_a_run_is_opening_with_is_not_forgotten_with_the_last_that_had_it(
    two: tuple[Store, Store],
) -> None:
    a, b = two
    kept = KeptPolicy("v1", "unstick", "name: unstick", "unstick.yaml")

    async def old(tx: Tx) -> None:
        await tx.keep_policy(kept)
        await tx.save_run(a_run("old", stage=Stage.CLOSED, closed_at=NOON), None)

    async def opening(tx: Tx) -> None:
        await tx.keep_policy(kept)
        await tx.save_run(a_run("new"), None)
        await tx.flush()  # type: ignore[attr-defined]
        dropping.append(asyncio.ensure_future(b.transact(lambda tx: tx.drop_run("old"))))
        await asyncio.sleep(0.05)

    dropping: list[asyncio.Future[bool]] = []
    await a.transact(old)
    await a.transact(opening)
    assert await dropping[0]
    assert await b.read(lambda tx: tx.kept_policy("v1")) == kept


async def test_what_cannot_be_read_is_not_taken_over_either_when_it_comes_last(
    two: tuple[Store, Store], rig: PostgresRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = two
    a.write_as("a")
    b.write_as("b")
    (first,) = await b.transact(lambda tx: tx.put_effects("r1", [Card("g1")]))
    looked = PostgresTx._done

    async def comes_between(tx: PostgresTx, tables: Any, sql: str, *arguments: object) -> list[Any]:
        if sql == TAKE_OVER:
            (last,) = await b.transact(lambda tx: tx.put_effects("r2", [Card("g2")]))
            await rig.spoil(str(last.id), "effects")
        return await looked(tx, tables, sql, *arguments)

    monkeypatch.setattr(PostgresTx, "_done", comes_between)
    assert await a.transact(lambda tx: tx.take_over("b", None)) == [first]
    assert "b" in await a.read(lambda tx: tx.holders()), "for somebody who can read it"


async def test_a_reader_who_waits_for_somebody_elses_lock_hears_that_the_store_fails(
    two: tuple[Store, Store], rig: PostgresRig
) -> None:
    a, _ = two
    async with rig.server.connected(rig.database) as owner, owner.transaction():
        await owner.execute("LOCK TABLE remediator.runs")  # as a migration does
        with pytest.raises(StoreError, match="lock timeout"):
            await a.read(lambda tx: tx.open_runs())
