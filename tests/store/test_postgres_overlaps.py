"""What one daemon read, another changes before it is written: of the parts that read without a decision."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from remediator.core.alert import Alert, Delivery
from remediator.core.messages import Card
from remediator.core.policyset import PolicySet, Versioned
from remediator.core.run import Page
from remediator.engine import paging
from remediator.engine.decisions import Committed
from remediator.engine.paging import Paging
from remediator.errors import LeaseLost
from remediator.ports import Ahead, Disposition, Store, Tx
from tests.core.campaign import CATALOG, policy, post
from tests.engine.world import Engine, alert
from tests.engine.world import HandClock as EngineClock
from tests.store.postgres_rig import PostgresRig
from tests.store.samples import NOON, heard
from tests.store.shared import LEASE, beat
from tests.store.test_postgres import rig, two

__all__ = ["rig", "two"]

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql")]

PAUSE = policy({"pause": post("/pause/${campaign}")})
MINUTE = timedelta(minutes=1)


class Overlapping:
    """A transaction: once its first question of this name is answered, somebody else begins something.

    If that waits for this transaction, it ends after it.
    """

    def __init__(self, question: str, other: Callable[[], Awaitable[object]]) -> None:
        self.question = question
        self.other = other
        self.begun: asyncio.Future[object] | None = None

    def over(self, tx: Tx) -> Any:
        overlap = self

        class Asked:
            def __getattr__(self, name: str) -> Any:
                if name != overlap.question:
                    return getattr(tx, name)
                return self.answered

            async def answered(self, *given: Any) -> Any:
                found = await getattr(tx, overlap.question)(*given)
                if overlap.begun is None:
                    overlap.begun = asyncio.ensure_future(overlap.other())
                    await asyncio.wait([overlap.begun], timeout=0.5)
                return found

        return Asked()

    async def end(self) -> None:
        assert self.begun is not None
        await self.begun


def engine(store: Store, name: str) -> Engine:
    one = Engine(store, EngineClock(NOON), PolicySet.of((), CATALOG))
    one.decisions._new_id = lambda prefix: f"{prefix}-{name}{next(numbers)}"
    numbers = iter(range(1000))
    return one


async def keep(store: Store, *alerts: Alert, at: timedelta = timedelta()) -> None:
    one = Delivery(source="alertmanager", alerts=alerts, received_at=NOON + at)
    await store.transact(lambda tx: tx.put_delivery(one))


async def test_who_was_acknowledging_while_a_page_was_told_has_done_so(two: tuple[Store, Store]) -> None:
    a, b = two
    page = Page(id="p1", key="k", chain="default", text="x", opened_at=NOON, next_at=NOON)
    await a.transact(lambda tx: tx.put_page(page))

    async def acknowledge(tx: Tx) -> None:
        found = await tx.page("p1")
        assert found is not None
        await tx.save_page(msgspec.structs.replace(found, acked_by="ann", acked_at=tx.now, next_at=None))

    overlap = Overlapping("page", lambda: b.transact(acknowledge))
    told = msgspec.structs.replace(page, sent=("bob by webhook",), next_at=NOON + MINUTE)
    await a.transact(lambda tx: paging._keep(overlap.over(tx), told))
    await overlap.end()
    kept = await a.read(lambda tx: tx.page("p1"))
    assert kept is not None
    assert (kept.acked_by, kept.sent) == ("ann", ("bob by webhook",))


async def test_who_is_woken_while_somebody_is_paged_about_it_stays_woken(
    two: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = two
    refused = Disposition(
        policy=PAUSE.name, fingerprint="f1", kind="refused", target="t/x", bound="target", reason="busy",
        since=NOON, waits_for="target:t/x", refused_since=NOON - timedelta(days=3),
    )  # fmt: skip
    await a.transact(lambda tx: tx.put_disposition(refused))
    overlap = Overlapping("disposition", lambda: b.transact(lambda tx: tx.wake_waiting("target:t/x")))
    real = a.transact
    monkeypatch.setattr(a, "transact", lambda work: real(lambda tx: work(overlap.over(tx))))
    pages = Paging(a, EngineClock(NOON), lambda _page: asyncio.sleep(0), lambda prefix: f"{prefix}-1")  # type: ignore[arg-type, return-value]
    await pages.page_impatient(PolicySet.of([Versioned(PAUSE, "v1")], CATALOG))
    await overlap.end()
    stands = await b.read(lambda tx: tx.disposition(PAUSE.name, "f1"))
    assert stands is not None
    assert (stands.paged, stands.again_at) == (True, NOON)


async def test_an_alert_that_ends_while_new_policies_are_taken_up_opens_nothing(
    two: tuple[Store, Store],
) -> None:
    a, b = two
    ours, others = engine(a, "a"), engine(b, "b")
    await ours.delivers(alert(started=NOON))
    for one in (ours, others):
        one.runs_with(PAUSE)
    over = alert(started=NOON, firing=False)
    overlap = Overlapping("disposition", lambda: others.delivers(over))
    listed = await a.read(ours.decisions.undecided)
    assert [one.fingerprint for one in listed] == ["f1"]
    await ours._decides(lambda tx: ours.decisions.consider(overlap.over(tx), listed))
    await overlap.end()
    assert [run for run in await ours.runs() if run.resolved_at is None] == []


async def test_no_run_is_opened_by_policies_that_became_old_meanwhile(two: tuple[Store, Store]) -> None:
    a, b = two
    ours = engine(a, "a")
    ours.runs_with(PAUSE)
    await a.transact(lambda tx: tx.announce_set(ours.policies.version, {}))
    overlap = Overlapping("seen", lambda: b.transact(lambda tx: tx.announce_set("newer", {})))
    one = Delivery(source="alertmanager", alerts=(alert(),), received_at=NOON)
    await ours._decides(lambda tx: ours.decisions.hear(overlap.over(tx), one))
    await overlap.end()
    assert await ours.runs() == []
    stands = await ours.stands(PAUSE.name)
    assert stands is not None
    assert "newest policies" in stands.reason


async def test_an_end_that_was_received_later_is_the_end_whoever_is_quicker(two: tuple[Store, Store]) -> None:
    """Each replica numbers what it keeps from blocks of its own, and drains what all have kept."""
    a, b = two
    ours = engine(a, "a")
    await keep(a, alert("f8"))
    await keep(b, alert("f9"))
    await keep(b, alert(started=NOON))
    await keep(a, alert(started=NOON, firing=False), at=timedelta(seconds=5))

    async def drain(tx: Tx) -> Committed:
        done = Committed()
        for one in await tx.claim_inbox(64, 100):
            done += await ours.decisions.admit(tx, one)
        return done

    await ours._decides(drain)
    row = await a.read(lambda tx: tx.alert("f1"))
    assert row is not None
    assert not row.alert.firing


async def test_an_alert_that_fires_again_fires_also_where_its_end_before_is_drained_later(
    two: tuple[Store, Store],
) -> None:
    a, b = two
    ours, others = engine(a, "a"), engine(b, "b")
    for one in (ours, others):
        one.runs_with(PAUSE)
    await ours.delivers(alert(started=NOON))
    await keep(a, alert(started=NOON, firing=False), at=MINUTE)

    async def drain(tx: Tx, one: Engine) -> Committed:
        done = Committed()
        for received in await tx.claim_inbox(64, 100):
            done += await one.decisions.admit(tx, received)
        return done

    async def loses_its_turn(tx: Tx) -> None:
        await tx._fetch("SELECT FROM waiting FOR UPDATE")  # type: ignore[attr-defined]
        await keep(b, alert(started=NOON), at=2 * MINUTE)
        await others._decides(lambda tx: drain(tx, others))
        raise LeaseLost("a", "was frozen")

    with pytest.raises(LeaseLost):
        await a.transact(loses_its_turn)
    await ours._decides(lambda tx: drain(tx, ours))
    row = await a.read(lambda tx: tx.alert("f1"))
    assert row is not None
    assert (row.alert.firing, row.deliveries) == (True, 3)
    assert await ours.stands(PAUSE.name) is not None


async def test_a_store_that_hangs_holds_up_no_stop(rig: PostgresRig) -> None:
    store = await rig.opened()
    hangs = asyncio.Event()

    async def work(tx: Tx) -> None:
        await tx.put_alert(heard("f1"))
        hangs.set()
        await asyncio.Event().wait()

    call = asyncio.create_task(store.transact(work))
    await hangs.wait()
    async with asyncio.timeout(60):
        await store.close()
    with pytest.raises(asyncio.CancelledError):
        await call
    after = await rig.opened()
    assert await after.read(lambda tx: tx.alert("f1")) is None


async def time(tx: Tx) -> datetime:
    return tx.now


@pytest.mark.parametrize("way", [1, -1])
async def test_who_lives_is_told_by_the_servers_clock_whoever_doubts_it(rig: PostgresRig, way: int) -> None:
    """One that died while the clock was wrong is not said to live on, before it is set right or after."""

    async def living(store: Store) -> list[str]:
        found = await store.read(lambda tx: tx.replicas())
        now = await store.read(time)
        assert all(now < one.until <= now + LEASE for one in found)
        return [one.id for one in found]

    a = await rig.opened()
    await beat(a, "a")
    rig.clock.wall += way * timedelta(days=1)
    await beat(a, "a")
    assert await a.read(lambda tx: tx.doubts())
    b = await rig.opened()
    await beat(b, "b")
    assert await living(a) == await living(b) == ["a", "b"]
    rig.clock.advance(LEASE)
    await beat(b, "b")
    assert await living(b) == ["b"], "a has died"
    rig.clock.wall -= way * timedelta(days=1)
    await beat(b, "b")
    assert await living(b) == ["b"]


async def test_very_many_alerts_at_once_leave_room_for_the_locks_of_others(two: tuple[Store, Store]) -> None:
    a, b = two
    ours, others = engine(a, "a"), engine(b, "b")
    for part in range(3):
        await keep(a, *(alert(f"{part}-{number}") for number in range(4_000)))

    async def drain(tx: Tx, one: Engine) -> int:
        (claimed,) = await tx.claim_inbox(1, 100)
        await one.decisions.admit(tx, claimed)
        ((locks,),) = await tx._fetch("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")  # type: ignore[attr-defined]
        return int(locks)

    works = [one.store.transact(lambda tx, one=one: drain(tx, one)) for one in (ours, others, others)]  # type: ignore[misc]
    assert max(await asyncio.gather(*works)) < 1000
    assert await a.read(lambda tx: tx.inbox_depth()) == 0


async def test_who_decides_on_very_many_waits_for_who_decides_on_one_of_them(
    two: tuple[Store, Store],
) -> None:
    a, b = two
    await a.transact(lambda tx: tx.put_alert(heard("5")))
    order: list[str] = []

    async def few(tx: Tx) -> None:
        row = await tx.alert("5")
        assert row is not None
        begun.set()
        await asyncio.sleep(0.3)
        await tx.put_alert(msgspec.structs.replace(row, deliveries=7))
        order.append("few")

    async def many(tx: Tx) -> None:
        for number in range(600):
            row = await tx.alert(str(number))
            if number == 5:
                assert row is not None
                order.append(f"many saw {row.deliveries}")

    begun = asyncio.Event()
    first = asyncio.ensure_future(a.transact(few))
    await begun.wait()
    await b.transact(many)
    await first
    assert order[0] == "few"
    assert order[-1] == "many saw 7"


async def test_a_result_is_not_taken_for_that_of_another_run(two: tuple[Store, Store]) -> None:
    """A database that went back in time gives out its numbers once more, while old results still come."""
    a, _ = two
    (others,) = await a.transact(lambda tx: tx.put_effects("r2", [Card("g1")]))
    ahead = Ahead(run="r1", effect=others.id)
    assert not await a.transact(lambda tx: tx.drop_effect(others.id), ahead)
    assert await a.read(lambda tx: tx.pending()) == [others]
