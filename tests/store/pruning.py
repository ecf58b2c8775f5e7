"""What every store forgets when it is told to, and what it keeps. Each store's tests inherit this class."""

from __future__ import annotations

import msgspec
import pytest

from remediator.core.messages import Card, Counted, Entry
from remediator.core.run import Outcome, Run, Stage
from remediator.ports import SYSTEM, CardRef, KeptPolicy, PolicyCount, Prunable, RunFilter, Store, Tx
from tests.store.samples import HOUR, NOON, Rig, a_page, a_run, delivery, heard, scope


def closed(run_id: str, at: int = 0, **more: object) -> Run:
    """Closed so many hours after noon."""
    end = NOON + at * HOUR
    fields = {"stage": Stage.CLOSED, "outcome": Outcome.FIXED, "closed_at": end, "target": f"d/{run_id}"}
    return a_run(run_id, **fields | more)


async def prune(store: Store, what: Prunable, hours: int, limit: int = 100) -> int:
    """What is older than so many hours after noon."""
    return await store.transact(lambda tx: tx.prune(what, NOON + hours * HOUR, limit))


class PruneContract:
    """Forgetting what is over."""

    async def test_settled_deliveries_go_oldest_first_and_those_that_wait_stay(self, store: Store) -> None:
        async def work(tx: Tx) -> None:
            for hour in range(5):
                at = NOON + hour * HOUR
                number = await tx.put_delivery(msgspec.structs.replace(delivery(f"f{hour}"), received_at=at))
                if hour != 1:
                    await tx.settle_delivery(number)

        async def left() -> list[str]:
            rows = await store.read(lambda tx: tx.deliveries())
            return [row.delivery.alerts[0].fingerprint for row in rows]

        await store.transact(work)
        assert await prune(store, "deliveries", 4, limit=2) == 2
        assert await left() == ["f1", "f3", "f4"]
        assert await prune(store, "deliveries", 4) == 1
        assert await prune(store, "deliveries", 4) == 0
        assert await left() == ["f1", "f4"]
        assert await store.read(lambda tx: tx.inbox_depth()) == 1

    async def test_some_that_stay_keep_none_of_those_behind_them(self, store: Store) -> None:
        async def work(tx: Tx) -> None:
            for hour in (9, 8, 0, 1, 2):
                at = NOON + hour * HOUR
                number = await tx.put_delivery(msgspec.structs.replace(delivery(), received_at=at))
                await tx.settle_delivery(number)

        await store.transact(work)
        assert await prune(store, "deliveries", 4, limit=3) == 3, "fewer would say that there are no more"

    async def test_alerts_go_once_they_are_over_for_long_and_no_run_has_them(self, store: Store) -> None:
        async def work(tx: Tx) -> None:
            await tx.put_alert(heard("fires"))
            await tx.put_alert(heard("over", status="resolved"))
            await tx.put_alert(heard("f1", status="resolved"))
            await tx.put_alert(heard("late", NOON + HOUR, status="resolved"))
            await tx.save_run(a_run(), None)

        await store.transact(work)
        assert await prune(store, "alerts", 1) == 1
        left = await store.read(lambda tx: tx.alerts(firing_only=False))
        assert {row.alert.fingerprint for row in left} == {"fires", "f1", "late"}

    async def test_what_was_counted_goes_by_its_age(self, store: Store, rig: Rig) -> None:
        async def count(run: str) -> None:
            async def work(tx: Tx) -> None:
                for kind in ("act", "failed", "denied", "safe"):
                    await tx.count(scope(run, budget="b"), Counted(kind, "case"))

            await store.transact(work)

        for run in ("r1", "r2"):
            await count(run)
            rig.clock.advance(HOUR)
        long = {"target_window": 9 * HOUR, "policy_window": 9 * HOUR, "failure_window": 9 * HOUR}
        asks = scope("r9", budget="b", budget_window=9 * HOUR, **long)
        before = (await store.read(lambda tx: tx.seen(asks))).use
        assert await prune(store, "counters", 0) == 0
        assert (await store.read(lambda tx: tx.seen(asks))).use == before
        assert await prune(store, "counters", 1) > 0
        use = (await store.read(lambda tx: tx.seen(asks))).use
        assert (use.last_act, use.last_denial) == (NOON + HOUR, NOON + HOUR)
        counts = (use.target_acts, use.policy_acts, use.budget_acts, use.failures)
        assert [len(one) for one in counts] == [1, 1, 1, 1]
        assert use.safe_plays == {"case": NOON + HOUR}
        assert await prune(store, "counters", 2) > 0
        use = (await store.read(lambda tx: tx.seen(asks))).use
        assert (use.last_act, use.last_denial, use.policy_acts, use.safe_plays) == (None, None, (), {})

    async def test_pages_of_no_run_go_once_somebody_has_read_them(self, store: Store) -> None:
        async def work(tx: Tx) -> None:
            read = {"acked_by": "ann", "acked_at": NOON}
            await tx.save_page(a_page("p-open", "k1"))
            await tx.save_page(a_page("p-read", "k2", **read))
            await tx.save_page(a_page("p-late", "k3", opened_at=NOON + HOUR, **read))
            await tx.save_page(a_page("p-run", "k4", run="r1", **read))

        await store.transact(work)
        assert await prune(store, "pages", 1) == 1
        left = await store.read(lambda tx: tx.pages(open_only=False))
        assert {page.id for page in left} == {"p-open", "p-late", "p-run"}

    async def test_runs_end_when_nothing_of_them_is_open(self, store: Store) -> None:
        async def work(tx: Tx) -> None:
            for run in (closed("r-paged", 0), closed("r-2", 2), closed("r-1", 1), closed("r-late", 5)):
                await tx.save_run(run, None)
            await tx.save_run(closed("r-card"), None)
            await tx.save_run(a_run("r-live"), None)
            await tx.put_page(a_page("p1", run="r-paged"))
            await tx.put_effects("r-card", [Card("r-card.1")])

        await store.transact(work)
        assert await store.read(lambda tx: tx.ended_runs(NOON + 5 * HOUR, 9)) == ["r-1", "r-2"]
        assert await store.read(lambda tx: tx.ended_runs(NOON + 5 * HOUR, 1)) == ["r-1"]

    @pytest.mark.parametrize("another", [True, False])
    async def test_a_run_goes_with_all_that_is_its_own_and_is_still_counted(
        self, store: Store, another: bool
    ) -> None:
        async def work(tx: Tx) -> None:
            for run in ("r-1", "r-10")[: 1 + another]:
                await tx.save_run(closed(run), None)
                await tx.journal(run, [Entry("opened"), Entry("closed")])
                await tx.put_card(CardRef(f"{run}.1", "C1", "1.0"), None)
                await tx.save_page(a_page(f"p-{run}", run, run=run, acked_by="ann", acked_at=NOON))
            await tx.keep_policy(KeptPolicy("v1", "unstick", "text", "file"))
            await tx.journal(SYSTEM, [Entry("started")])
            await tx.save_run(a_run("r-open", version="v2"), None)

        async def traces(tx: Tx, run: str) -> list[bool]:
            return [
                await tx.run(run) is not None,
                bool(await tx.read_journal(run)),
                run in await tx.journals(),
                await tx.card(f"{run}.1") is not None,
                bool(await tx.pages(open_only=False, run=run)),
            ]

        await store.transact(work)
        assert await store.transact(lambda tx: tx.drop_run("r-open")) is False
        assert await store.transact(lambda tx: tx.drop_run("r-1")) is True
        assert await store.transact(lambda tx: tx.drop_run("r-1")) is False
        assert not any(await store.read(lambda tx: traces(tx, "r-1")))
        assert all(await store.read(lambda tx: traces(tx, "r-10"))) is another
        kept = await store.read(lambda tx: tx.kept_policy("v1"))
        assert (kept is not None) is another, "a version stays while a run follows it"
        assert await store.read(lambda tx: tx.policy_counts()) == [
            PolicyCount("unstick", "fixed", 1 + another)
        ]
        listed = await store.read(lambda tx: tx.runs(RunFilter()))
        assert {run.id for run in listed} == {"r-open", "r-10"} if another else {"r-open"}
