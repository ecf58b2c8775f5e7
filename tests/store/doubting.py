"""What a store does when the clock of its machine jumps. The tests of those that live by it inherit this."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from remediator.core.run import Halt
from remediator.ports import Store, Tx
from tests.store.samples import HOUR, NOON, Rig, a_run, delivery, scope

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


async def now(tx: Tx) -> datetime:
    return tx.now


async def halts(store: Store) -> tuple[Halt, ...]:
    """As a decision sees them."""
    return (await store.transact(lambda tx: tx.seen(scope()))).halts


async def own_up(store: Store) -> Halt:
    (halt,) = await store.transact(lambda tx: tx.doubts())
    await store.transact(lambda tx: tx.put_halt(halt))
    return halt


class DoubtContract:
    """Jumps of the clock."""

    @pytest.mark.parametrize("jump", [DAY, -DAY, timedelta(seconds=61), -timedelta(seconds=61)], ids=str)
    async def test_after_a_jump_time_goes_on_at_its_pace_and_everything_is_halted(
        self, store: Store, rig: Rig, jump: timedelta
    ) -> None:
        assert await halts(store) == ()
        rig.clock.advance(SECOND)
        rig.clock.wall += jump
        (halt,) = await halts(store)
        assert (halt.scope, halt.undos, halt.at) == ("all", False, NOON + SECOND)
        assert "jumped" in halt.reason
        for passed in range(2, 5):
            rig.clock.advance(SECOND)
            for ask in (store.transact, store.read):
                assert await ask(now) == NOON + passed * SECOND
            assert store.clock.now() == NOON + passed * SECOND

    async def test_what_had_a_deadline_within_the_jump_is_not_due(self, store: Store, rig: Rig) -> None:
        await store.transact(lambda tx: tx.save_run(a_run(), NOON + HOUR))
        rig.clock.wall += DAY
        assert (await store.read(lambda tx: tx.due(10))).runs == ()
        rig.clock.advance(HOUR)
        assert (await store.read(lambda tx: tx.due(10))).runs == ("r1",)

    async def test_a_doubt_is_told_once_and_counts_once(self, store: Store, rig: Rig) -> None:
        rig.clock.wall += DAY
        halt = await own_up(store)
        assert await store.transact(lambda tx: tx.doubts()) == []
        assert await halts(store) == (halt,)
        assert await store.read(lambda tx: tx.halts()) == [halt]

    @pytest.mark.parametrize("jump", [DAY, -DAY], ids=str)
    async def test_once_its_halt_is_lifted_the_clock_is_followed_again(
        self, store: Store, rig: Rig, jump: timedelta
    ) -> None:
        rig.clock.wall += jump
        halt = await own_up(store)
        rig.clock.advance(SECOND)
        assert await store.transact(lambda tx: tx.lift_halt(halt.id, "ann")) == halt
        assert await halts(store) == ()
        assert await store.transact(now) == NOON + SECOND + max(jump, timedelta())
        assert await store.transact(lambda tx: tx.doubts()) == []
        rig.clock.advance(SECOND)
        rig.clock.wall += 2 * DAY
        assert len(await halts(store)) == 1, "another jump is another doubt"
        assert (await own_up(store)).id != halt.id

    async def test_the_clock_may_be_set_right_before_somebody_looks(self, store: Store, rig: Rig) -> None:
        rig.clock.wall += DAY
        halt = await own_up(store)
        rig.clock.wall -= DAY
        rig.clock.advance(HOUR)
        assert await halts(store) == (halt,), "only a person lifts it"
        await store.transact(lambda tx: tx.lift_halt(halt.id, "ann"))
        assert await store.transact(now) == NOON + HOUR

    async def test_a_lift_that_is_rolled_back_settles_nothing(self, store: Store, rig: Rig) -> None:
        rig.clock.wall += DAY
        halt = await own_up(store)

        async def work(tx: Tx) -> None:
            await tx.lift_halt(halt.id, "ann")
            raise LookupError

        with pytest.raises(LookupError):
            await store.transact(work)
        assert await halts(store) == (halt,)
        assert await store.transact(now) == NOON

    async def test_small_corrections_are_followed(self, store: Store, rig: Rig) -> None:
        for _ in range(3):
            rig.clock.advance(HOUR)
            rig.clock.wall += 40 * SECOND
            assert await store.transact(now) == rig.clock.wall
            rig.clock.advance(HOUR + SECOND)
            assert await store.transact(now) == rig.clock.wall
        assert await halts(store) == ()

    async def test_many_small_corrections_within_an_hour_are_a_jump(self, store: Store, rig: Rig) -> None:
        for _ in range(4):
            rig.clock.advance(SECOND)
            rig.clock.wall += 20 * SECOND
            await store.transact(now)
        assert len(await halts(store)) == 1


class KeptDoubtContract:
    """A daemon may be started again while a doubt stands: for stores that outlive it."""

    @pytest.mark.parametrize("jump", [DAY, -DAY], ids=str)
    async def test_whoever_is_started_in_a_doubt_goes_on_in_it(self, rig: Rig, jump: timedelta) -> None:
        store = await rig.opened()
        await store.transact(lambda tx: tx.save_run(a_run(), NOON + HOUR))
        rig.clock.wall += jump
        halt = await own_up(store)
        rig.clock.advance(SECOND)
        await store.transact(lambda tx: tx.put_delivery(delivery()))
        kept = await store.transact(now)
        store = await rig.reopened()
        assert timedelta() <= kept - await store.transact(now) <= SECOND, "what was kept last, and no jump"
        assert await halts(store) == (halt,)
        assert await store.transact(lambda tx: tx.doubts()) == [], "and it is the same doubt"
        assert (await store.read(lambda tx: tx.due(10))).runs == ()
        rig.clock.advance(HOUR)
        assert (await store.read(lambda tx: tx.due(10))).runs == ("r1",)
        await store.transact(lambda tx: tx.lift_halt(halt.id, "ann"))
        assert await store.transact(now) >= rig.clock.wall
        assert await halts(store) == ()
