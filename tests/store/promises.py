"""What every store must promise of its transactions: all or nothing, in order, durable, one clock."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from datetime import timedelta

import pytest

from remediator.core.messages import Card, Counted, Entry
from remediator.core.run import Halt, Stage
from remediator.errors import StoreError
from remediator.ports import Store, Tx
from remediator.store.journal import verify
from tests.store.contract import store
from tests.store.samples import HOUR, NOON, Rig, a_page, a_run, delivery, disposition, heard, scope

__all__ = ["OneWriterContract", "PromiseContract", "store"]


async def whole_decision(tx: Tx) -> None:
    """One of everything that a decision writes."""
    await tx.settle_delivery(await tx.put_delivery(delivery()))
    await tx.put_alert(heard())
    await tx.put_disposition(disposition())
    await tx.save_run(a_run(), NOON + HOUR)
    await tx.seen(scope())
    await tx.count(scope(), Counted("act"))
    await tx.count(scope(), Counted("safe", "warn"))
    await tx.journal("r1", [Entry("opened"), Entry("started")])
    await tx.put_effects("r1", [Card("r1/g1")])
    await tx.put_page(a_page())
    await tx.put_halt(Halt(id="h1", scope="all", reason="x", by="ann", at=NOON))
    await tx.wake_some("halt", 10)


async def traces(tx: Tx) -> list[object]:
    """What `whole_decision` leaves; all empty when it left nothing."""
    use = (await tx.seen(scope("other"))).use
    return [
        await tx.inbox_depth(),
        await tx.alert("f1"),
        await tx.dispositions(),
        await tx.run("r1"),
        use.target_acts,
        dict(use.safe_plays),
        await tx.read_journal("r1"),
        await tx.pending(),
        await tx.pages(),
        await tx.halts(),
        await tx.next_due(),
        await tx.runs_of_alert("f1"),
    ]


class PromiseContract:
    """Promises 1 to 3 and 13 rest on these."""

    async def test_work_that_raises_leaves_nothing_and_its_error_passes_through(self, store: Store) -> None:
        async def work(tx: Tx) -> None:
            await whole_decision(tx)
            raise LookupError("changed my mind")

        with pytest.raises(LookupError, match="changed my mind"):
            await store.transact(work)
        assert not any(await store.read(traces))

    async def test_one_that_raises_takes_nobody_along(self, store: Store) -> None:
        async def fails(tx: Tx) -> int:
            await tx.put_delivery(delivery("lost"))
            raise LookupError

        async def put(tx: Tx) -> int:
            return await tx.put_delivery(delivery("kept"))

        works = [put, fails, put, fails, put]
        ends = await asyncio.gather(*(store.transact(work) for work in works), return_exceptions=True)
        assert [type(end) for end in ends] == [int, LookupError, int, LookupError, int]
        inbox = await store.read(lambda tx: tx.inbox(10))
        assert [one.delivery.alerts[0].fingerprint for one in inbox] == ["kept"] * 3

    async def test_a_breach_rolls_back_even_if_the_work_swallows_it(self, store: Store) -> None:
        await store.transact(lambda tx: tx.save_run(a_run("r1"), None))

        async def work(tx: Tx) -> None:
            await tx.put_delivery(delivery())
            with contextlib.suppress(StoreError):
                await tx.save_run(a_run("r2"), None)

        with pytest.raises(StoreError):
            await store.transact(work)
        assert await store.read(lambda tx: tx.inbox_depth()) == 0

    async def test_each_call_sees_those_before_it(self, store: Store) -> None:
        async def add(tx: Tx) -> int:
            acts = (await tx.seen(scope("me"))).use.open_runs
            await tx.save_run(a_run(f"r{acts}", target=f"t{acts}"), None)
            return acts

        counted = await asyncio.gather(*(store.transact(add) for _ in range(50)))
        assert (sorted(counted) if store.shared else counted) == list(range(50))

    async def test_what_transact_returned_is_visible_to_every_read_after_it(self, store: Store) -> None:
        for number in range(100):
            await store.transact(lambda tx: tx.put_delivery(delivery()))
            assert await store.read(lambda tx: tx.inbox_depth()) == number + 1

    async def test_a_read_changes_nothing(self, store: Store) -> None:
        with pytest.raises(StoreError):
            await store.read(lambda tx: tx.put_delivery(delivery()))
        assert await store.read(lambda tx: tx.inbox_depth()) == 0

    async def test_a_caller_that_stops_waiting_harms_nobody(self, store: Store) -> None:
        calls = [
            asyncio.create_task(store.transact(lambda tx: tx.put_delivery(delivery()))) for _ in range(20)
        ]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(end, int) for end in ends[1::2])
        await store.transact(lambda tx: tx.put_delivery(delivery()))

    async def test_closing_finishes_what_was_queued(self, store: Store, rig: Rig) -> None:
        calls = [
            asyncio.create_task(store.transact(lambda tx: tx.put_delivery(delivery())))
            for _ in range(rig.queued)
        ]
        await asyncio.sleep(0)
        await store.close()
        assert len(set(await asyncio.gather(*calls))) == rig.queued
        with pytest.raises(StoreError, match="not open"):
            await store.transact(lambda tx: tx.put_delivery(delivery()))
        again = await rig.reopened()
        assert await again.read(lambda tx: tx.inbox_depth()) == rig.queued

    async def test_a_transaction_that_is_over_cannot_be_used(self, store: Store) -> None:
        async def leak(tx: Tx) -> Tx:
            return tx

        tx = await store.transact(leak)
        with pytest.raises(StoreError, match="over"):
            await tx.put_delivery(delivery())

    # ── Faults ────────────────────────────────────────────────────────────────────────────────────

    async def test_whichever_statement_fails_all_or_nothing_is_kept(self, store: Store, rig: Rig) -> None:
        number = 0
        failed = True
        while failed:
            number += 1
            rig.fail_statement(number)
            try:
                await store.transact(whole_decision)
            except StoreError:
                assert rig.heal()
                assert not any(await store.read(traces)), f"statement {number} failed, yet something stayed"
            else:
                failed = rig.heal()
                assert not failed, f"statement {number} failed and nobody was told"
        assert number > rig.statements
        assert (await store.read(lambda tx: tx.run("r1"))) == a_run()
        assert verify(await store.read(lambda tx: tx.read_journal("r1"))) is None

    async def test_an_acknowledged_call_survives_a_fault_in_its_batch(self, store: Store, rig: Rig) -> None:
        async def put(tx: Tx, name: str) -> str:
            await tx.put_delivery(delivery(name))
            return name

        kept: list[str] = []
        for number in range(1, 60, 3):
            rig.fail_statement(number)
            names = [f"{number}-{one}" for one in range(8)]
            ends = await asyncio.gather(
                *(store.transact(lambda tx, name=name: put(tx, name)) for name in names),  # type: ignore[misc]
                return_exceptions=True,
            )
            rig.heal()
            assert all(isinstance(end, str | StoreError) for end in ends)
            kept += [end for end in ends if isinstance(end, str)]
        inbox = await store.read(lambda tx: tx.inbox(1000))
        found = [one.delivery.alerts[0].fingerprint for one in inbox]
        assert (sorted(found) if store.shared else found) == (sorted(kept) if store.shared else kept)

    async def test_the_store_works_again_once_the_cause_is_gone(self, store: Store, rig: Rig) -> None:
        rig.fail_statement(1)
        for _ in range(3):
            with pytest.raises(StoreError):
                await store.transact(lambda tx: tx.put_delivery(delivery()))
            with pytest.raises(StoreError):
                await store.read(lambda tx: tx.inbox_depth())
        rig.heal()
        await store.transact(lambda tx: tx.put_delivery(delivery()))
        assert await store.read(lambda tx: tx.inbox_depth()) == 1

    async def test_everything_acknowledged_survives_kill_9(self, store: Store, rig: Rig) -> None:
        await store.close()
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.store.writer", rig.url, stdout=asyncio.subprocess.PIPE
        )
        assert writer.stdout is not None
        acknowledged = [int(await writer.stdout.readline()) for _ in range(500)]
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += [int(line) for line in (await writer.stdout.read()).split(b"\n")[:-1]]
        await writer.wait()
        again = await rig.reopened()
        kept = {one.id for one in await again.read(lambda tx: tx.inbox(100_000))}
        assert set(acknowledged) <= kept

    # ── The clock ─────────────────────────────────────────────────────────────────────────────────

    async def test_the_clock_never_goes_back(self, store: Store, rig: Rig) -> None:
        async def now(tx: Tx) -> object:
            await tx.put_delivery(delivery())
            return tx.now

        assert await store.transact(now) == NOON
        rig.clock.wall -= HOUR
        assert await store.transact(now) == NOON
        rig.clock.seconds += 60
        assert await store.transact(now) == NOON + timedelta(minutes=1)
        assert await store.read(now_only) == NOON + timedelta(minutes=1)
        store = await rig.reopened()
        assert await store.transact(now) == NOON + timedelta(minutes=1)

    async def test_the_clock_is_read_once_per_transaction(self, store: Store, rig: Rig) -> None:
        async def work(tx: Tx) -> None:
            before = tx.now
            rig.clock.advance(HOUR)
            await tx.save_run(a_run(stage=Stage.WAITING), tx.now)
            assert tx.now == before
            assert (await tx.seen(scope())).now == before

        await store.transact(work)


class OneWriterContract:
    """What only a store that belongs to one daemon promises."""

    async def test_calls_that_wait_are_run_in_the_order_they_came(self, store: Store) -> None:
        async def put(tx: Tx, name: str) -> int:
            return await tx.put_delivery(delivery(name))

        names = [f"f{number}" for number in range(2000)]
        numbers = await asyncio.gather(
            *(store.transact(lambda tx, name=name: put(tx, name)) for name in names)  # type: ignore[misc]
        )
        assert numbers == sorted(numbers)
        inbox = await store.read(lambda tx: tx.inbox(5000))
        assert [one.delivery.alerts[0].fingerprint for one in inbox] == names


async def now_only(tx: Tx) -> object:
    return tx.now
