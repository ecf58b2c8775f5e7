"""What every store must do, question by question. Each store's tests inherit this class."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import pytest

from remediator.core.intention import Call
from remediator.core.messages import Act, Card, Counted, Effect, Entry, Preview, Probe, Spent
from remediator.core.run import Halt, Member, Outcome, Run, Stage, StepState
from remediator.errors import StoreError
from remediator.ports import (
    SYSTEM,
    Aside,
    CardRef,
    KeptPolicy,
    PolicyCount,
    Received,
    Rejected,
    RunFilter,
    Scope,
    StageCount,
    Store,
    Tx,
)
from remediator.store.journal import START, erased, verify
from tests.store.samples import (
    HOUR,
    NOON,
    Rig,
    a_page,
    a_run,
    delivery,
    disposition,
    heard,
    holding,
    scope,
)

MINUTE = timedelta(minutes=1)
CALL = Call("http.get", "shop_api", {"path": "/queue"})


@pytest.fixture
async def store(rig: Rig) -> Store:
    return await rig.opened()


async def save(store: Store, *runs: Run) -> None:
    async def work(tx: Tx) -> None:
        for run in runs:
            await tx.save_run(run, None)

    await store.transact(work)


async def count(store: Store, where: Scope, kind: str, what: str = "") -> None:
    await store.transact(lambda tx: tx.count(where, Counted(kind, what)))  # type: ignore[arg-type]


class InboxContract:
    """Deliveries and bodies that were no deliveries."""

    async def test_a_delivery_waits_in_order_until_it_is_settled(self, store: Store) -> None:
        async def work(tx: Tx) -> list[int]:
            return [await tx.put_delivery(delivery(one)) for one in ("f1", "f2", "f3")]

        first, second, third = await store.transact(work)
        assert first < second < third
        assert await store.read(lambda tx: tx.inbox(2)) == [
            Received(first, delivery("f1")),
            Received(second, delivery("f2")),
        ]
        await store.transact(lambda tx: tx.settle_delivery(first))
        await store.transact(lambda tx: tx.settle_delivery(first))
        assert [row.id for row in await store.read(lambda tx: tx.inbox(10))] == [second, third]
        assert await store.read(lambda tx: tx.inbox_depth()) == 2

    async def test_deliveries_are_claimed_by_how_many_alerts_they_hold(self, store: Store) -> None:
        async def work(tx: Tx) -> list[int]:
            sizes = (2, 2, 3, 9, 1)
            return [await tx.put_delivery(delivery(*("f" * size))) for size in sizes]

        async def claimed(tx: Tx) -> list[int]:
            few = await tx.claim_inbox(10, 5)
            for one in few:
                await tx.settle_delivery(one.id)
            return [one.id for one in few]

        numbers = await store.transact(work)
        assert [await store.transact(claimed) for _ in range(5)] == [
            numbers[:2], numbers[2:3], numbers[3:4], numbers[4:], []
        ]  # fmt: skip

    async def test_deliveries_are_claimed_but_for_those_that_are_kept_back(self, store: Store) -> None:
        async def work(tx: Tx) -> list[int]:
            return [await tx.put_delivery(delivery(f"f{one}")) for one in range(5)]

        first, second, third, fourth, fifth = await store.transact(work)
        back = {first, third}
        few = await store.transact(lambda tx: tx.claim_inbox(2, 100, back))
        assert [one.id for one in few] == [second, fourth]
        few = await store.transact(lambda tx: tx.claim_inbox(10, 100, back))
        assert [one.id for one in few] == [second, fourth, fifth]
        assert await store.transact(lambda tx: tx.claim_inbox(10, 100, (*back, second, fourth, fifth))) == []

    async def test_deliveries_are_kept_once_they_are_settled_and_read_in_pages(self, store: Store) -> None:
        assert await store.read(lambda tx: tx.deliveries()) == []
        assert await store.read(lambda tx: tx.last_delivery()) == 0

        async def work(tx: Tx) -> list[int]:
            numbers = [await tx.put_delivery(delivery(f"f{one}")) for one in range(5)]
            await tx.settle_delivery(numbers[1])
            return numbers

        numbers = await store.transact(work)
        first = await store.read(lambda tx: tx.deliveries(limit=2))
        assert first == [Received(one, delivery(f"f{n}")) for n, one in enumerate(numbers[:2])]
        rest = await store.read(lambda tx: tx.deliveries(after=first[-1].id))
        assert [one.id for one in rest] == numbers[2:]
        assert await store.read(lambda tx: tx.deliveries(after=numbers[-1])) == []
        assert await store.read(lambda tx: tx.last_delivery()) == numbers[-1]

    async def test_only_the_newest_200_rejected_bodies_stay(self, store: Store) -> None:
        async def work(tx: Tx) -> None:
            for number in range(205):
                body = f'{{"n": {number}}} 🐢 \x01'
                await tx.put_rejected(Rejected(NOON, "alertmanager", f"problem {number}", body))

        await store.transact(work)
        kept = await store.read(lambda tx: tx.rejected())
        assert [one.problem for one in kept] == [f"problem {number}" for number in range(204, 4, -1)]
        assert kept[0].at == NOON
        assert kept[0].body == '{"n": 204} 🐢 \x01'


class AlertContract:
    """Alerts as last heard, and what became of them."""

    async def test_an_alert_is_kept_by_its_fingerprint(self, store: Store) -> None:
        assert await store.read(lambda tx: tx.alert("f1")) is None
        await store.transact(lambda tx: tx.put_alert(heard()))
        later = heard(at=NOON + MINUTE, status="resolved", ends_at=NOON + MINUTE)
        await store.transact(lambda tx: tx.put_alert(later))
        assert await store.read(lambda tx: tx.alert("f1")) == later

    async def test_alerts_are_listed_most_recently_heard_first(self, store: Store) -> None:
        async def work(tx: Tx) -> None:
            await tx.put_alert(heard("old", NOON))
            await tx.put_alert(heard("over", NOON + MINUTE, status="resolved"))
            await tx.put_alert(heard("new", NOON + 2 * MINUTE))
            await tx.put_alert(heard("watched", NOON + 3 * MINUTE, source="watch:disk"))

        await store.transact(work)

        async def listed(*, firing_only: bool, source: str = "", limit: int = 500) -> list[str]:
            rows = await store.read(lambda tx: tx.alerts(firing_only=firing_only, source=source, limit=limit))
            return [row.alert.fingerprint for row in rows]

        assert await listed(firing_only=False) == ["watched", "new", "over", "old"]
        assert await listed(firing_only=True) == ["watched", "new", "old"]
        assert await listed(firing_only=True, source="alertmanager") == ["new", "old"]
        assert await listed(firing_only=False, source="alertmanager", limit=2) == ["new", "over"]

    async def test_one_disposition_per_policy_and_alert(self, store: Store) -> None:
        first = disposition(params={"pod": "a", "n": 1})
        again = disposition(kind="run-opened", run="r1", since=NOON + MINUTE, refused_since=NOON, paged=True)
        other = disposition(policy="restart", again_at=NOON + HOUR, waits_for="halt")

        async def work(tx: Tx) -> None:
            for one in (first, again, other):
                await tx.put_disposition(one)

        await store.transact(work)
        assert await store.read(lambda tx: tx.disposition("unstick", "f1")) == again
        assert await store.read(lambda tx: tx.disposition("unstick", "f2")) is None
        assert await store.read(lambda tx: tx.dispositions(fingerprint="f1")) == [other, again]
        assert await store.read(lambda tx: tx.dispositions(refused_only=True)) == [other]
        await store.transact(lambda tx: tx.drop_dispositions("f1"))
        assert await store.read(lambda tx: tx.dispositions(fingerprint="f1")) == []

    async def test_what_waited_is_due_when_it_is_woken(self, store: Store, rig: Rig) -> None:
        later = disposition(fingerprint="f2", waits_for="target:t", again_at=NOON + 5 * HOUR)

        async def work(tx: Tx) -> None:
            await tx.put_disposition(disposition(fingerprint="f1", waits_for="target:t"))
            await tx.put_disposition(later)
            await tx.put_disposition(disposition(fingerprint="f3", waits_for="halt"))
            await tx.put_disposition(disposition(fingerprint="f4"))

        await store.transact(work)
        assert await store.read(lambda tx: tx.next_due()) == NOON + 5 * HOUR
        rig.clock.advance(MINUTE)
        for waits_for in ("target:t", "target:other", ""):
            await store.transact(lambda tx, waits_for=waits_for: tx.wake_waiting(waits_for))  # type: ignore[misc]
        due = await store.read(lambda tx: tx.due(10))
        assert [(one.fingerprint, one.again_at) for one in due.dispositions] == [
            ("f1", NOON + MINUTE),
            ("f2", NOON + MINUTE),
        ]
        assert (await store.read(lambda tx: tx.disposition("unstick", "f2"))) == due.dispositions[1]

    async def test_who_hears_of_an_alert_is_known_by_name(self, store: Store) -> None:
        async def work(tx: Tx) -> None:
            await tx.put_alert(heard())
            await tx.save_run(a_run("r1"), NOON)
            await tx.save_run(a_run("r2", policy="other", target="t/x", stage=Stage.HOLDING), NOON)
            await tx.save_run(a_run("r3", policy="third", target="t/y", stage=Stage.CLOSED), None)

        assert await store.read(lambda tx: tx.hearers("f1")) == (None, [])
        await store.transact(work)
        assert await store.read(lambda tx: tx.hearers("f1")) == (heard().received_at, ["r1", "r2"])

    async def test_very_many_who_wait_are_woken_in_portions(self, store: Store, rig: Rig) -> None:
        async def work(tx: Tx) -> None:
            for number in range(5):
                await tx.put_disposition(disposition(fingerprint=f"f{number}", waits_for="halt"))
            await tx.put_disposition(disposition(fingerprint="f9", waits_for="target:t"))

        await store.transact(work)
        rig.clock.advance(MINUTE)
        assert await store.read(lambda tx: tx.is_waited_for("halt"))
        assert not await store.read(lambda tx: tx.is_waited_for("policy:p"))
        woken = [await store.transact(lambda tx: tx.wake_some("halt", 2)) for _ in range(4)]
        assert woken == [2, 2, 1, 0]
        assert not await store.read(lambda tx: tx.is_waited_for("halt"))
        due = await store.read(lambda tx: tx.due(10))
        assert [one.fingerprint for one in due.dispositions] == [f"f{number}" for number in range(5)]
        assert {one.again_at for one in due.dispositions} == {NOON + MINUTE}


class RunContract:
    """Runs: kept whole, unique where the promises say so, and found again."""

    async def test_a_run_comes_back_as_it_was_saved(self, store: Store) -> None:
        run = holding("r1", "pause", "notify")
        await save(store, a_run(), run)
        assert await store.read(lambda tx: tx.run("r1")) == run
        assert await store.read(lambda tx: tx.run("r2")) is None

    async def test_a_run_is_claimed_once_its_deadline_has_passed(self, store: Store, rig: Rig) -> None:
        await store.transact(lambda tx: tx.save_run(a_run(), NOON + HOUR))
        assert await store.transact(lambda tx: tx.claim_run("r1")) is None
        rig.clock.advance(HOUR)
        assert await store.transact(lambda tx: tx.claim_run("r1")) == a_run()
        await store.transact(lambda tx: tx.save_run(a_run(), None))
        assert await store.transact(lambda tx: tx.claim_run("r1")) is None

    async def test_one_open_run_per_policy_and_target(self, store: Store) -> None:
        await save(store, a_run("r1"))
        with pytest.raises(StoreError, match="unstick has another open run"):
            await save(store, a_run("r2"))
        assert await store.read(lambda tx: tx.run("r2")) is None
        await save(store, a_run("r3", target="deployment/shop/web"), a_run("r4", policy="restart"))
        await save(store, a_run("r1", stage=Stage.HOLDING))
        await save(store, a_run("r5"))
        with pytest.raises(StoreError):
            await save(store, a_run("r1", stage=Stage.UNDOING))

    async def test_a_run_that_observes_stands_apart(self, store: Store) -> None:
        await save(store, a_run("shadow", mode="observe"))
        assert await self.open_run(store) == "shadow"
        await save(store, a_run("real"))
        assert await self.open_run(store) == "real"
        with pytest.raises(StoreError):
            await save(store, a_run("shadow2", mode="observe"))

    async def test_one_run_locks_a_target_whatever_its_policy(self, store: Store) -> None:
        await save(store, a_run("r1", stage=Stage.ACTING, acted=True))
        await save(store, a_run("r2", policy="restart"))
        with pytest.raises(StoreError, match="locks that target"):
            await save(store, a_run("r2", policy="restart", stage=Stage.ACTING))
        assert (await store.read(lambda tx: tx.seen(scope("r2", policy="restart")))).holder == "r1"
        assert (await store.read(lambda tx: tx.seen(scope("r1")))).holder is None
        await save(store, a_run("r1", stage=Stage.CLOSED, outcome=Outcome.FIXED, acted=True))
        await save(store, a_run("r2", policy="restart", stage=Stage.ACTING))

    async def test_a_holding_or_closed_run_is_not_open(self, store: Store) -> None:
        assert await self.open_run(store) == ""
        for stage in Stage:
            await save(store, a_run("r1", stage=stage))
            assert await self.open_run(store) == ("r1" if stage.open else "")

    async def test_an_undo_after_a_hold_is_in_no_other_runs_way_and_is_listed_as_open(
        self, store: Store
    ) -> None:
        await save(store, a_run("r1", stage=Stage.HOLDING, acted=True, held=True))
        await save(store, a_run("r2"))
        await save(store, a_run("r1", stage=Stage.UNDOING, acted=True, held=True))
        assert await self.open_run(store) == "r2"
        seen = await store.read(lambda tx: tx.seen(scope("r2")))
        assert (seen.use.open_runs, seen.holder) == (0, "r1")
        listed = await store.read(lambda tx: tx.runs(RunFilter(state="open")))
        assert {run.id for run in listed} == {"r1", "r2"}

    async def open_run(self, store: Store) -> str:
        run = await store.read(lambda tx: tx.open_run("unstick", "deployment/shop/worker"))
        return run.id if run else ""

    async def test_an_alert_finds_the_runs_it_belongs_to_until_they_close(self, store: Store) -> None:
        both = {one: Member(firing=True, since=NOON) for one in ("f1", "f2")}
        await save(store, a_run("r1", members=both), a_run("r2", policy="restart", opened_at=NOON + MINUTE))

        async def runs_of(fingerprint: str) -> list[str]:
            return [run.id for run in await store.read(lambda tx: tx.runs_of_alert(fingerprint))]

        assert await runs_of("f1") == ["r1", "r2"]
        assert await runs_of("f2") == ["r1"]
        await save(store, a_run("r1", members={"f2": both["f2"]}))
        assert await runs_of("f1") == ["r2"]
        await save(store, a_run("r1", members=both, stage=Stage.CLOSED))
        assert await runs_of("f2") == []
        assert await runs_of("f3") == []

    async def test_runs_are_listed_newest_first_and_filtered(self, store: Store) -> None:
        stages = {"r1": Stage.CLOSED, "r2": Stage.HOLDING, "r3": Stage.WAITING, "r4": Stage.ACTING}
        for number, (run_id, stage) in enumerate(stages.items()):
            target = "deployment/shop/web" if run_id == "r4" else "deployment/shop/worker"
            await save(store, a_run(run_id, stage=stage, target=target, opened_at=NOON + number * MINUTE))

        async def listed(which: RunFilter) -> list[str]:
            return [run.id for run in await store.read(lambda tx: tx.runs(which))]

        assert await listed(RunFilter()) == ["r4", "r3", "r2", "r1"]
        assert await listed(RunFilter(limit=2)) == ["r4", "r3"]
        assert await listed(RunFilter(before="r3")) == ["r2", "r1"]
        assert await listed(RunFilter(before="nobody")) == []
        assert await listed(RunFilter(state="open")) == ["r4", "r3"]
        assert await listed(RunFilter(state="holding")) == ["r2"]
        assert await listed(RunFilter(state="closed")) == ["r1"]
        assert await listed(RunFilter(state="waiting")) == ["r3"]
        assert await listed(RunFilter(target="deployment/shop/web")) == ["r4"]
        assert await listed(RunFilter(policy="restart")) == []

    async def test_a_run_that_cannot_be_read_is_put_aside_by_its_columns_and_hides_no_other(
        self, store: Store, rig: Rig
    ) -> None:
        await store.transact(lambda tx: tx.save_run(a_run("r1"), NOON))
        await store.transact(lambda tx: tx.save_run(a_run("r2", policy="restart"), NOON + MINUTE))
        await save(store, a_run("r3", policy="other", stage=Stage.HOLDING))
        await rig.spoil("r1")
        with pytest.raises(msgspec.DecodeError):
            await store.transact(lambda tx: tx.claim_run("r1"))
        assert [run.id for run in await store.read(lambda tx: tx.runs(RunFilter(state="open")))] == ["r2"]
        assert sorted(await store.read(lambda tx: tx.open_runs())) == ["r1", "r2"]
        assert await store.read(lambda tx: tx.next_due()) == NOON
        await store.transact(lambda tx: tx.put_aside("r1", NOON + HOUR, "odd"))
        assert await store.read(lambda tx: tx.next_due()) == NOON + MINUTE
        await store.transact(lambda tx: tx.put_aside("r1", NOON + 2 * HOUR, ""))
        odd = Aside("r1", "unstick", "deployment/shop/worker", "odd")
        assert await store.read(lambda tx: tx.aside()) == [odd]
        await save(store, a_run("r1"))
        assert await store.read(lambda tx: tx.aside()) == []
        await save(store, a_run("r1", stage=Stage.CLOSED))
        await store.transact(lambda tx: tx.put_aside("r1", NOON, "odd"))
        assert await store.read(lambda tx: tx.aside()) == []
        assert await store.read(lambda tx: tx.next_due()) == NOON + MINUTE

    @pytest.mark.parametrize(
        ("was_due", "is_due"),
        [(NOON + MINUTE, NOON + MINUTE), (NOON + HOUR, NOON + 2 * MINUTE), (None, NOON + 2 * MINUTE)],
        ids=["before", "after", "never"],
    )
    async def test_who_puts_a_run_aside_takes_no_deadline_from_whoever_can_read_it(
        self, store: Store, was_due: datetime | None, is_due: datetime
    ) -> None:
        await store.transact(lambda tx: tx.save_run(a_run("r1"), was_due))
        await store.transact(lambda tx: tx.put_aside("r1", NOON + 2 * MINUTE, "odd"))
        assert await store.read(lambda tx: tx.next_due()) == is_due

    async def test_closed_runs_are_counted_by_policy_and_outcome(self, store: Store) -> None:
        for number, outcome in enumerate([Outcome.FIXED, Outcome.FIXED, Outcome.DENIED]):
            await save(store, a_run(f"r{number}", stage=Stage.CLOSED, outcome=outcome))
        await save(store, a_run("open"))
        assert await store.read(lambda tx: tx.policy_counts()) == [
            PolicyCount("unstick", "denied", 1),
            PolicyCount("unstick", "fixed", 2),
        ]

    async def test_all_other_runs_are_counted_by_policy_and_stage(self, store: Store) -> None:
        stages = (Stage.WAITING, Stage.WAITING, Stage.HOLDING, Stage.CLOSED)
        for number, stage in enumerate(stages):
            await save(store, a_run(f"r{number}", stage=stage, target=f"deployment/shop/{number}"))
        assert await store.read(lambda tx: tx.stage_counts()) == [
            StageCount("unstick", "holding", 1),
            StageCount("unstick", "waiting", 2),
        ]


class SeenContract:
    """What a decision may depend on beside its run."""

    async def test_acts_count_once_per_run_and_within_their_window(self, store: Store, rig: Rig) -> None:
        await count(store, scope("old"), "act")
        rig.clock.advance(HOUR)
        await count(store, scope("r1"), "act")
        await count(store, scope("elsewhere", target="deployment/shop/web"), "act")
        rig.clock.advance(MINUTE)
        await count(store, scope("r1"), "act")
        await count(store, scope("me"), "act")
        await count(store, scope("r1", policy="restart"), "act")
        await count(store, scope("r1", shadow=True), "act")
        rig.clock.advance(MINUTE)
        use = (await store.read(lambda tx: tx.seen(scope("me")))).use
        assert use.target_acts == (NOON + HOUR + MINUTE,)
        assert use.policy_acts == (NOON + HOUR + MINUTE, NOON + HOUR)
        assert use.last_act == NOON + HOUR + MINUTE
        use = (await store.read(lambda tx: tx.seen(scope("me", target_window=2 * HOUR)))).use
        assert use.target_acts == (NOON + HOUR + MINUTE, NOON)

    async def test_a_budget_counts_the_acts_of_all_policies_that_share_it(
        self, store: Store, rig: Rig
    ) -> None:
        mine = {"budget": "rates", "budget_window": HOUR}
        await count(store, scope("old", **mine), "act")
        rig.clock.advance(HOUR)
        await count(store, scope("r1", policy="halve", target="t1", **mine), "act")
        await count(store, scope("r2", policy="restart", budget="restarts"), "act")
        await count(store, scope("r3", policy="restart"), "act")
        await count(store, scope("r4", shadow=True, **mine), "act")
        await count(store, scope("r5", **mine), "denied")
        await count(store, scope("me", **mine), "act")
        rig.clock.advance(MINUTE)
        await count(store, scope("r6", **mine), "act")
        rig.clock.advance(MINUTE)
        await count(store, scope("r1", policy="halve", target="t1", **mine), "act")

        async def spent(**other: object) -> tuple[Spent, ...]:
            where = scope("me", **mine | other)
            return (await store.read(lambda tx: tx.seen(where))).use.budget_acts

        two = (Spent("halve", NOON + HOUR + 2 * MINUTE), Spent("unstick", NOON + HOUR + MINUTE))
        assert await spent() == two
        assert await spent(policy="halve", target="t9") == two
        assert await spent(budget_window=2 * HOUR) == (*two, Spent("unstick", NOON))
        assert await spent(shadow=True) == (Spent("unstick", NOON + HOUR),)
        assert await spent(budget="restarts") == (Spent("restart", NOON + HOUR),)
        assert await spent(budget="") == ()

    async def test_failures_are_the_policys_on_any_target_and_in_any_mode(
        self, store: Store, rig: Rig
    ) -> None:
        await count(store, scope("r1"), "failed", "ineffective")
        rig.clock.advance(MINUTE)
        await count(store, scope("r2", target="t2"), "failed", "failed")
        await count(store, scope("r3", policy="restart"), "failed", "failed")
        await count(store, scope("r4"), "act")
        await count(store, scope("me"), "failed", "failed")

        async def failures(**other: object) -> tuple[object, ...]:
            where = scope("me", **{"failure_window": HOUR} | other)
            return (await store.read(lambda tx: tx.seen(where))).use.failures

        assert await failures() == (NOON + MINUTE, NOON)
        assert await failures(shadow=True) == (NOON + MINUTE, NOON)
        assert await failures(failure_window=MINUTE) == (NOON + MINUTE,)
        assert await failures(failure_window=0 * HOUR) == ()

    async def test_the_last_act_and_denial_are_known_however_old(self, store: Store, rig: Rig) -> None:
        await count(store, scope("r1"), "act")
        await count(store, scope("r2"), "denied")
        rig.clock.advance(1000 * HOUR)
        use = (await store.read(lambda tx: tx.seen(scope("me")))).use
        assert (use.last_act, use.last_denial, use.target_acts) == (NOON, NOON, ())
        assert (await store.read(lambda tx: tx.seen(scope("r2")))).use.last_denial is None

    async def test_a_denial_by_time_counts_until_somebody_has_its_run_asked_again(
        self, store: Store, rig: Rig
    ) -> None:
        async def last_denial(run: str = "me") -> object:
            return (await store.read(lambda tx: tx.seen(scope(run)))).use.last_denial

        await count(store, scope("denied"), "denied")
        rig.clock.advance(MINUTE)
        await count(store, scope("late"), "denied", "expired")
        rig.clock.advance(MINUTE)
        await count(store, scope("later"), "denied", "expired")
        assert await last_denial() == NOON + 2 * MINUTE
        for stranger in (scope("later", target="t"), scope("later", policy="p"), scope("later", shadow=True)):
            await count(store, stranger, "asked")
        assert await last_denial() == NOON + 2 * MINUTE
        await count(store, scope("later"), "asked")
        await count(store, scope("later"), "asked")
        assert await last_denial() == NOON + MINUTE
        await count(store, scope("late"), "asked")
        await count(store, scope("denied"), "asked")
        assert await last_denial() == NOON, "what a person denied stays denied"
        await count(store, scope("late"), "denied", "expired")
        assert await last_denial() == NOON

    async def test_safe_plays_are_known_by_their_case_own_run_left_out(self, store: Store, rig: Rig) -> None:
        for run in ("r1", "r2", "r1", "r3", "r3"):
            await count(store, scope(run), "safe", "restart-worker")
            rig.clock.advance(MINUTE)
        await count(store, scope("r2"), "safe", "warn")
        plays = {
            run: (await store.read(lambda tx, run=run: tx.seen(scope(run)))).use.safe_plays  # type: ignore[misc]
            for run in ("r1", "r2", "r3")
        }
        last = NOON + 4 * MINUTE
        assert plays["r1"] == {"restart-worker": last, "warn": NOON + 5 * MINUTE}
        assert plays["r2"] == {"restart-worker": last}
        assert plays["r3"] == {"restart-worker": NOON + 2 * MINUTE, "warn": NOON + 5 * MINUTE}

    async def test_open_runs_of_the_policy_are_counted_without_the_asking_one(self, store: Store) -> None:
        await save(
            store,
            a_run("r1"),
            a_run("r2", target="t2"),
            a_run("r3", target="t3", stage=Stage.HOLDING),
            a_run("r4", target="t4", stage=Stage.CLOSED),
            a_run("r5", target="t5", mode="observe"),
            a_run("r6", policy="restart"),
        )
        assert (await store.read(lambda tx: tx.seen(scope("r1")))).use.open_runs == 1
        assert (await store.read(lambda tx: tx.seen(scope("new")))).use.open_runs == 2
        assert (await store.read(lambda tx: tx.seen(scope("new", shadow=True)))).use.open_runs == 1

    async def test_steps_that_other_runs_hold_are_seen(self, store: Store) -> None:
        await save(store, holding("r1", "pause"), holding("r2", "scale", "pause"))
        assert (await store.read(lambda tx: tx.seen(scope("r3")))).held == {"pause", "scale"}
        assert (await store.read(lambda tx: tx.seen(scope("r2")))).held == {"pause"}
        assert (await store.read(lambda tx: tx.seen(scope("r3", policy="restart")))).held == frozenset()

    async def test_a_step_is_held_until_it_was_taken_back(self, store: Store) -> None:
        one = holding("r1", "pause")
        begun = msgspec.structs.replace(one.steps["pause"], undo_started=True)
        undone = msgspec.structs.replace(begun, state=StepState.UNDONE)
        for step, held in ((begun, {"pause"}), (undone, set[str]())):
            run = msgspec.structs.replace(one, stage=Stage.UNDOING, held=True, steps={"pause": step})
            await save(store, run)
            assert (await store.read(lambda tx: tx.seen(scope("r3")))).held == held

    async def test_only_halts_that_cover_the_scope_are_seen(self, store: Store) -> None:
        scopes = ["all", "policy:unstick", "policy:restart", "target:deployment/shop/worker", "target:t2"]

        async def work(tx: Tx) -> None:
            for number, one in enumerate(scopes):
                await tx.put_halt(Halt(id=f"h{number}", scope=one, reason="incident", by="ann", at=NOON))

        await store.transact(work)
        seen = await store.read(lambda tx: tx.seen(scope()))
        assert [halt.id for halt in seen.halts] == ["h0", "h1", "h3"]
        lifted = await store.transact(lambda tx: tx.lift_halt("h0", "bob"))
        assert lifted is not None
        assert lifted.scope == "all"
        assert await store.transact(lambda tx: tx.lift_halt("h0", "bob")) is None
        assert await store.transact(lambda tx: tx.lift_halt("nothing", "bob")) is None
        assert [halt.id for halt in await store.read(lambda tx: tx.halts())] == ["h1", "h2", "h3", "h4"]

    async def test_a_decision_sees_what_its_own_transaction_wrote(self, store: Store) -> None:
        async def work(tx: Tx) -> int:
            await tx.save_run(a_run("r1"), None)
            await tx.count(scope("r1"), Counted("act"))
            seen = await tx.seen(scope("r2"))
            assert seen.now == tx.now
            return seen.use.open_runs + len(seen.use.target_acts)

        assert await store.transact(work) == 2


class JournalContract:
    """Journals: numbered, linked, gap free; tampering is found."""

    async def test_lines_are_numbered_and_linked(self, store: Store, rig: Rig) -> None:
        await store.transact(lambda tx: tx.journal("r1", [Entry("opened", {"by": "alert"}), Entry("probed")]))
        rig.clock.advance(MINUTE)
        await store.transact(lambda tx: tx.journal("r1", []))
        await store.transact(lambda tx: tx.journal("r1", [Entry("closed", {"at": NOON, "share": 1.0})]))
        await store.transact(lambda tx: tx.journal(SYSTEM, [Entry("reloaded")]))
        lines = await store.read(lambda tx: tx.read_journal("r1"))
        assert [(line.seq, line.kind, line.at) for line in lines] == [
            (1, "opened", NOON),
            (2, "probed", NOON),
            (3, "closed", NOON + MINUTE),
        ]
        assert lines[0].previous == START
        assert lines[2].data == {"at": NOON.isoformat(), "share": 1.0}
        assert verify(lines) is None
        assert await store.read(lambda tx: tx.journal_head("r1")) == lines[2]
        assert await store.read(lambda tx: tx.journal_head("r2")) is None
        assert await store.read(lambda tx: tx.read_journal("r1", after=1, limit=1)) == [lines[1]]
        assert await store.read(lambda tx: tx.journals()) == ["r1", SYSTEM]

    async def test_odd_data_still_verifies_after_it_was_read_back(self, store: Store) -> None:
        odd = {"nan": float("nan"), "big": 2**80, "text": "\ud800 \x00 é", "deep": [{"x": (1, 1.0, None)}]}
        await store.transact(lambda tx: tx.journal("r1", [Entry("odd", odd), Entry("next")]))
        lines = await store.read(lambda tx: tx.read_journal("r1"))
        assert verify(lines) is None
        assert verify([erased(lines[0]), lines[1]]) is None

    @pytest.mark.parametrize(
        "crime",
        [
            "UPDATE journal SET data = '{\"n\": 9}' WHERE seq = 2",
            "UPDATE journal SET kind = 'other' WHERE seq = 2",
            "UPDATE journal SET at = at + 1 WHERE seq = 2",
            "UPDATE journal SET hash = previous WHERE seq = 2",
            "DELETE FROM journal WHERE seq = 2",
            "DELETE FROM journal WHERE seq = 1",
            "UPDATE journal SET seq = CASE seq WHEN 2 THEN -3 ELSE -2 END WHERE seq IN (2, 3)",
        ],
    )
    async def test_tampering_is_found(self, store: Store, rig: Rig, crime: str) -> None:
        await store.transact(lambda tx: tx.journal("r1", [Entry("e", {"n": one}) for one in range(4)]))
        await rig.tamper(crime)
        await rig.tamper("UPDATE journal SET seq = -seq WHERE seq < 0")
        assert verify(await store.read(lambda tx: tx.read_journal("r1"))) is not None

    async def test_a_tail_that_was_cut_leaves_a_gap_behind_it(self, store: Store, rig: Rig) -> None:
        await store.transact(lambda tx: tx.journal("r1", [Entry("e", {"n": one}) for one in range(3)]))
        await rig.tamper("DELETE FROM journal WHERE seq = 3")
        await store.transact(lambda tx: tx.journal("r1", [Entry("later")]))
        assert verify(await store.read(lambda tx: tx.read_journal("r1"))) is not None


class RestContract:
    """Effects, pages, deadlines, firings, policies, cards."""

    async def test_an_effect_is_pending_until_its_result_which_counts_once(self, store: Store) -> None:
        act = Act("pause", 1, CALL, "r1/pause", NOON + MINUTE)
        effects: list[Effect] = [
            Probe(1, "diagnose:queue", CALL),
            act,
            Preview(1, "pause", CALL),
            Card("r1/g1"),
        ]
        mine = await store.transact(lambda tx: tx.put_effects("r1", effects))
        other = await store.transact(lambda tx: tx.put_effects("r2", [Probe(1, "diagnose:queue", CALL)]))
        assert [one.effect for one in mine] == effects
        assert await store.read(lambda tx: tx.pending()) == mine + other
        await store.transact(lambda tx: tx.drop_repeatable("r1"))
        assert await store.read(lambda tx: tx.pending()) == [mine[1], mine[3], *other]
        assert await store.transact(lambda tx: tx.drop_effect(mine[1].id)) is True
        assert await store.transact(lambda tx: tx.drop_effect(mine[1].id)) is False

    async def test_effects_of_whoever_is_gone_are_taken_over_once(self, store: Store) -> None:
        store.write_as("d1")
        left = await store.transact(lambda tx: tx.put_effects("r1", [Card("g1"), Card("g2")]))
        assert await store.read(lambda tx: tx.holders()) == {}
        store.write_as("d2")
        mine = await store.transact(lambda tx: tx.put_effects("r1", [Card("g3")]))
        assert await store.read(lambda tx: tx.holders()) == {"d1": None}
        assert await store.transact(lambda tx: tx.take_over("d1", None)) == left
        assert await store.read(lambda tx: tx.holders()) == {}
        assert await store.transact(lambda tx: tx.take_over("d1", None)) == []
        assert await store.transact(lambda tx: tx.take_over("d2", None)) == []
        assert await store.read(lambda tx: tx.pending()) == [*left, *mine]

    async def test_effects_that_were_let_go_are_for_the_next(self, store: Store) -> None:
        store.write_as("d1")
        (left,) = await store.transact(lambda tx: tx.put_effects("r1", [Card("g1")]))
        assert await store.transact(lambda tx: tx.let_go()) == 1
        assert await store.read(lambda tx: tx.holders()) == {"": None}
        store.write_as("d2")
        assert await store.transact(lambda tx: tx.take_over("", None)) == [left]
        assert await store.read(lambda tx: tx.holders()) == {}

    async def test_a_number_of_an_effect_is_never_given_twice(self, store: Store, rig: Rig) -> None:
        (first,) = await store.transact(lambda tx: tx.put_effects("r1", [Card("g")]))
        await store.transact(lambda tx: tx.drop_effect(first.id))
        store = await rig.reopened()
        (second,) = await store.transact(lambda tx: tx.put_effects("r1", [Card("g")]))
        assert second.id > first.id

    async def test_the_same_trouble_does_not_page_twice(self, store: Store) -> None:
        assert await store.transact(lambda tx: tx.put_page(a_page("p1"))) is True
        assert await store.transact(lambda tx: tx.put_page(a_page("p2"))) is False
        assert await store.transact(lambda tx: tx.put_page(a_page("p3", key="other", run="r1"))) is True
        with pytest.raises(StoreError):
            await store.transact(lambda tx: tx.save_page(a_page("p3")))
        acked = a_page("p1", acked_by="ann", acked_at=NOON)
        await store.transact(lambda tx: tx.save_page(acked))
        assert await store.transact(lambda tx: tx.put_page(a_page("p2"))) is True

        assert [one.id for one in await store.read(lambda tx: tx.pages())] == ["p2", "p3"]
        assert [one.id for one in await store.read(lambda tx: tx.pages(run="r1"))] == ["p3"]
        everything = await store.read(lambda tx: tx.pages(open_only=False))
        assert [one.id for one in everything] == ["p1", "p2", "p3"]
        assert await store.read(lambda tx: tx.page("p1")) == acked
        assert await store.read(lambda tx: tx.page("p9")) is None

    async def test_a_page_that_is_due_is_claimed_once_and_is_due_again(self, store: Store, rig: Rig) -> None:
        page = a_page("p1", next_at=NOON + MINUTE)
        await store.transact(lambda tx: tx.put_page(page))
        assert await store.transact(lambda tx: tx.claim_page("p1", NOON + 2 * MINUTE)) is None
        assert await store.transact(lambda tx: tx.claim_page("p9", NOON + 2 * MINUTE)) is None
        rig.clock.advance(MINUTE)
        assert await store.transact(lambda tx: tx.claim_page("p1", NOON + 2 * MINUTE)) == page
        assert await store.transact(lambda tx: tx.claim_page("p1", NOON + 3 * MINUTE)) is None
        assert (await store.read(lambda tx: tx.due(10))).pages == ()
        rig.clock.advance(MINUTE)
        assert [one.id for one in (await store.read(lambda tx: tx.due(10))).pages] == ["p1"]
        acked = a_page("p1", acked_by="ann", acked_at=NOON)
        await store.transact(lambda tx: tx.save_page(acked))
        assert await store.transact(lambda tx: tx.claim_page("p1", NOON + 3 * MINUTE)) is None

    async def test_deadlines_are_due_oldest_first(self, store: Store, rig: Rig) -> None:
        assert await store.read(lambda tx: tx.next_due()) is None

        async def work(tx: Tx) -> None:
            for number, at in enumerate([3, 1, 2, 9]):
                await tx.save_run(a_run(f"r{at}", target=f"t{number}"), NOON + at * MINUTE)
            await tx.save_run(a_run("never", target="t9"), None)
            await tx.put_disposition(disposition(again_at=NOON + 2 * MINUTE))
            await tx.put_page(a_page("p1", next_at=NOON + 3 * MINUTE))
            await tx.put_page(a_page("p2", "k2", next_at=NOON, acked_by="ann", acked_at=NOON))

        await store.transact(work)
        assert (await store.read(lambda tx: tx.due(10))).runs == ()
        assert await store.read(lambda tx: tx.next_due()) == NOON + MINUTE
        rig.clock.advance(3 * MINUTE)
        due = await store.read(lambda tx: tx.due(10))
        assert due.runs == ("r1", "r2", "r3")
        assert [one.fingerprint for one in due.dispositions] == ["f1"]
        assert [one.id for one in due.pages] == ["p1"]
        assert (await store.read(lambda tx: tx.due(2))).runs == ("r1", "r2")
        await save(store, a_run("r1", target="t1"))  # it does not want to be woken any more
        assert (await store.read(lambda tx: tx.due(10))).runs == ("r2", "r3")

    async def test_a_firing_of_a_watch_is_claimed_once(self, store: Store, rig: Rig) -> None:
        assert await store.transact(lambda tx: tx.claim_firing("disk", NOON)) is True
        assert await store.transact(lambda tx: tx.claim_firing("disk", NOON)) is False
        assert await store.transact(lambda tx: tx.claim_firing("disk", NOON + MINUTE)) is True
        assert await store.transact(lambda tx: tx.claim_firing("cert", NOON)) is True
        rig.clock.advance(2000 * HOUR)
        assert await store.transact(lambda tx: tx.claim_firing("disk", NOON + 2000 * HOUR)) is True
        assert await store.transact(lambda tx: tx.claim_firing("disk", NOON)) is False

    async def test_a_firing_that_was_overtaken_is_not_claimed_as_the_newest(self, store: Store) -> None:
        async def newest(watch: str, at: datetime) -> bool:
            return await store.transact(lambda tx: tx.claim_newest_firing(watch, at))

        asked = [
            ("disk", NOON),
            ("disk", NOON),
            ("disk", NOON + HOUR),
            ("disk", NOON + MINUTE),
            ("cert", NOON),
        ]
        assert [await newest(*one) for one in asked] == [True, False, True, False, True]

    async def test_the_newest_firing_that_was_claimed_is_known(self, store: Store) -> None:
        async def work(tx: Tx) -> list[datetime | None]:
            for watch, at in [("disk", NOON + MINUTE), ("disk", NOON), ("cert", NOON + HOUR)]:
                await tx.claim_firing(watch, at)
            return [await tx.newest_firing(watch) for watch in ("disk", "cert", "none")]

        newest = [NOON + MINUTE, NOON + HOUR, None]
        assert await store.transact(work) == newest
        assert [await store.read(lambda tx: tx.newest_firing("disk"))] == newest[:1]

    async def test_policies_and_cards_are_kept(self, store: Store) -> None:
        policy = KeptPolicy("v1", "unstick", "name: unstick", "unstick.yaml")
        card = CardRef("r1/g1", "C0OPS", "17.1", "d", "F01")
        await store.transact(lambda tx: tx.keep_policy(policy))
        await store.transact(lambda tx: tx.keep_policy(policy))
        first = CardRef("r1/g1", "C0OPS", "17.1")
        assert await store.transact(lambda tx: tx.put_card(first, None))
        assert not await store.transact(lambda tx: tx.put_card(card, None)), "another was quicker"
        assert not await store.transact(lambda tx: tx.put_card(first, card)), "it is not there any more"
        assert await store.transact(lambda tx: tx.put_card(card, first))
        assert await store.read(lambda tx: tx.kept_policy("v1")) == policy
        assert await store.read(lambda tx: tx.kept_policy("v2")) is None
        assert await store.read(lambda tx: tx.card("r1/g1")) == card
        assert await store.read(lambda tx: tx.card("r1/g2")) is None

    async def test_what_json_cannot_hold_is_refused_whole(self, store: Store) -> None:
        lone = a_run("r1", params={"pod": "\ud800"})
        with pytest.raises(StoreError, match="cannot be kept"):
            await store.transact(lambda tx: tx.save_run(lone, None))
        assert await store.read(lambda tx: tx.run("r1")) is None


class TxContract(InboxContract, AlertContract, RunContract, SeenContract, JournalContract, RestContract):
    """Every method of `remediator.ports.Tx`."""
