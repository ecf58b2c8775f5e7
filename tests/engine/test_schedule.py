"""Watches: when they fire, and what their rows become."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from remediator.core.evidence import Reading
from remediator.core.intention import Call
from remediator.core.opening import Watch
from remediator.core.policy import Policy
from remediator.core.policyset import PolicySet, Versioned
from remediator.engine import schedule
from remediator.engine.driver import Driver
from remediator.engine.paging import Paging
from remediator.engine.perform import Performer
from remediator.engine.schedule import (
    MOST_ROWS,
    Schedule,
    named_weekdays,
    rows_of,
    slot,
    trigger_of,
    watched_alerts,
)
from remediator.errors import StoreError
from remediator.ports import AlertRow, Tx
from remediator.store.memory import MemoryStore
from tests.core.campaign import CATALOG, post
from tests.engine.test_membership import Daemon, World, settled
from tests.engine.world import HandClock as Hand
from tests.store.samples import HandClock
from tests.worlds.service import eventually

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)  # a Saturday


def watching(**watch: Any) -> Policy:
    return Policy.model_validate(
        {
            "policy": "late-campaigns",
            "summary": "Campaigns that are late",
            "watch": {"use": "sql.query", "via": "db", "key": ["campaign_id"]} | (watch or {"every": "5m"}),
            "target": "campaign/all",
            "decide": [{"do": "nothing"}],
        }
    )


def watch_of(policy: Policy) -> Watch:
    assert policy.watch is not None
    return policy.watch


@pytest.mark.parametrize(
    ("cron", "named"),
    [
        ("0 4 * * 0", "0 4 * * sun"),
        ("0 4 * * 7", "0 4 * * sun"),
        ("0 4 * * 1-5", "0 4 * * mon,tue,wed,thu,fri"),
        ("0 4 * * 0-2", "0 4 * * sun,mon,tue"),
        ("0 4 * * 1,3,6", "0 4 * * mon,wed,sat"),
        ("0 4 * * */2", "0 4 * * sun,tue,thu,sat"),
        ("0 4 * * mon-fri", "0 4 * * mon-fri"),
        ("*/5 * * * *", "*/5 * * * *"),
    ],
)
def test_weekdays_count_from_sunday_as_cron_does(cron: str, named: str) -> None:
    assert named_weekdays(cron) == named


def test_a_cron_line_for_sunday_fires_on_sunday() -> None:
    fires = trigger_of(watch_of(watching(cron="30 4 * * 0"))).get_next_fire_time(None, NOW)
    assert fires == datetime(2026, 11, 22, 4, 30, tzinfo=UTC)


def test_a_cron_line_keeps_its_time_zone() -> None:
    watch = watch_of(watching(cron="0 9 * * *", timezone="Asia/Tokyo"))
    assert trigger_of(watch).get_next_fire_time(None, NOW).astimezone(UTC) == datetime(
        2026, 11, 22, tzinfo=UTC
    )


def test_each_new_row_fires_and_each_row_that_has_gone_resolves() -> None:
    policy = watching()
    rows: list[dict[str, Any]] = [
        {"campaign_id": "c-1", "name": "Tabaski", "late": 3},
        {"campaign_id": "c-2", "name": None, "late": 1.5},
    ]
    first = watched_alerts(policy, rows, {}, NOW)
    assert [(one.status, one.labels["campaign_id"]) for one in first] == [
        ("firing", "c-1"),
        ("firing", "c-2"),
    ]
    assert first[0].labels == {
        "campaign_id": "c-1",
        "name": "Tabaski",
        "late": "3",
        "alertname": "late-campaigns",
    }
    known = {one.fingerprint: one for one in first}
    later = watched_alerts(policy, rows[:1], known, NOW + timedelta(minutes=5))
    assert [(one.status, one.labels["campaign_id"]) for one in later] == [("resolved", "c-2")]
    assert later[0].starts_at == NOW


def test_a_row_is_the_same_by_its_key_alone_and_told_again_when_it_says_something_else() -> None:
    policy, later = watching(), NOW + timedelta(minutes=5)
    (before,) = watched_alerts(policy, [{"campaign_id": "c-1", "late": 3}], {}, NOW)
    known = {before.fingerprint: before}
    assert watched_alerts(policy, [{"campaign_id": "c-1", "late": 3}], known, later) == []
    (after,) = watched_alerts(policy, [{"campaign_id": "c-1", "late": 4}], known, later)
    assert (after.fingerprint, after.status, after.starts_at) == (before.fingerprint, "firing", NOW)
    assert after.labels["late"] == "4"


def test_a_failed_probe_is_no_empty_list() -> None:
    assert rows_of(Reading(NOW, ok=False, error="timeout")) is None
    assert rows_of(Reading(NOW, ok=True, value={"rows": []})) == []
    assert rows_of(Reading(NOW, ok=True, value={"series": [{"labels": {"a": "b"}, "value": 1.0}]})) == [
        {"a": "b"}
    ]
    assert rows_of(Reading(NOW, ok=True, value={"json": {"no": "list"}})) is None


@pytest.mark.parametrize(
    ("at", "belongs"),
    [(0.0, 0), (0.2, 0), (-0.2, 0), (149.0, 0), (151.0, 300), (299.9, 300)],
)
def test_a_firing_belongs_to_the_nearest_slot_whichever_clock_is_a_little_ahead(
    at: float, belongs: int
) -> None:
    assert slot(watch_of(watching()), NOW + timedelta(seconds=at)) == NOW + timedelta(seconds=belongs)


@pytest.mark.parametrize("late", [-120, -31, 0, 31, 59, 600])
def test_a_firing_of_a_cron_line_belongs_to_the_time_that_the_line_says(late: float) -> None:
    fires = NOW.replace(hour=3)
    watch = watch_of(watching(cron="0 6 * * *", timezone="Africa/Nairobi"))
    assert slot(watch, fires + timedelta(seconds=late)) == fires


class Rows:
    """What a watch reads. ``paused``: until then the answer is here, and its process does not run."""

    def __init__(self, clock: Hand) -> None:
        self.clock = clock
        self.rows: list[dict[str, Any]] = []
        self.problem = ""
        self.paused: asyncio.Event | None = None
        self.asked = 0

    async def read(self, call: Call) -> Reading:
        del call
        self.asked += 1
        value = {"rows": list(self.rows)}
        read = Reading(self.clock.now(), ok=not self.problem, value=value, error=self.problem)
        if self.paused is not None:
            await self.paused.wait()
        return read


class Replica(Daemon):
    """With a watch every ten seconds, of which each firing is asked for."""

    def watches(self) -> None:
        policy = {
            "mode": "act",
            "watch": {"use": "sql.query", "via": "db", "key": ["id"], "every": "10s"},
            "params": {"campaign": {"from": "labels.name", "pattern": "c-[0-9]+"}},
            "target": "campaign/${campaign}",
            "decide": [{"do": ["pause"]}],
            "steps": {"pause": post("/pause/${campaign}")},
        }
        self.engine.runs_with(Policy.model_validate({"policy": "late", "summary": "Late ones", **policy}))
        self.table = Rows(self.clock)
        self.schedule = Schedule(self.store, self.clock, cast("Performer", self.table), self.driver)

    async def looks(self, after: float = 10.0) -> None:
        self.clock.at += timedelta(seconds=after)
        await self.member.beat()
        await self.schedule._fire("late", self.engine.policies)
        await self.driver._drain_inbox()
        await settled()


async def test_a_replica_with_older_policies_does_not_look(replicas: tuple[Replica, Replica]) -> None:
    older, newer = replicas
    newer.engine.runs_with(*(one.policy for one in newer.engine.policies.by_name.values()), version="v2")
    await newer.member.renew()
    await older.looks(0)
    assert older.table.asked == 0
    await newer.looks(0)
    assert newer.table.asked == 1, "its firing was left to it"


@pytest.fixture
async def replicas() -> tuple[Replica, Replica]:
    clock, world = Hand(), World()
    world.answers.set()
    first = MemoryStore(clock)
    both = Replica("a", first, clock, world), Replica("b", first.beside(), clock, world)
    for one in both:
        one.watches()
        await one.member.join()
    return both


async def test_a_row_that_was_refused_for_what_it_says_is_decided_on_once_it_says_something_else(
    replicas: tuple[Replica, Replica],
) -> None:
    one, _ = replicas
    one.table.rows = [{"id": 1, "name": "NOT a name!"}]
    await one.looks()
    (refused,) = await one.store.read(lambda tx: tx.dispositions(refused_only=True))
    assert refused.bound == "params"
    one.table.rows = [{"id": 1, "name": "c-1"}]
    await one.looks()
    assert one.world.sent == ["/pause/c-1"]


@pytest.mark.parametrize(
    ("pause", "others", "sent"),
    [(15.0, False, ["/pause/c-1"]), (300.0, False, []), (15.0, True, [])],
    ids=["slow", "too old", "overtaken"],
)
async def test_what_a_watch_read_long_ago_or_was_overtaken_by_a_later_look_makes_no_alert(
    replicas: tuple[Replica, Replica], pause: float, *, others: bool, sent: list[str]
) -> None:
    one, other = replicas
    one.table.rows, one.table.paused = [{"id": 1, "name": "c-1"}], asyncio.Event()
    look = asyncio.create_task(one.looks())
    await settled()
    await other.looks(pause) if others else None
    one.clock.at += timedelta(seconds=0 if others else pause)
    await one.member.beat()
    one.table.paused.set()
    await look
    assert one.world.sent == sent


async def test_a_firing_is_kept_though_the_store_blinks(
    replicas: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = replicas
    one.table.rows = [{"id": 1, "name": "c-1"}]
    monkeypatch.setattr(schedule, "BLINK_S", 0.0)
    real, asked = one.store.transact, 0

    async def blinks(*work: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked % 2:
            raise StoreError("store", "the connection was lost")
        return await real(*work)

    monkeypatch.setattr(one.store, "transact", blinks)
    await one.schedule._fire("late", one.engine.policies)
    assert asked == 4
    monkeypatch.undo()
    assert await one.store.read(lambda tx: tx.inbox_depth()) == 1


async def test_a_store_that_is_gone_for_good_is_not_waited_for_for_ever(
    replicas: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = replicas
    monkeypatch.setattr(schedule, "BLINK_S", 0.0)

    async def gone(*_work: Any) -> Any:
        one.clock.at += timedelta(seconds=5)
        raise StoreError("store", "no route")

    monkeypatch.setattr(one.store, "transact", gone)
    began = one.clock.at
    await one.schedule._fire("late", one.engine.policies)
    assert one.clock.at - began < timedelta(minutes=2)
    assert one.table.asked == 0, "it was never claimed"


@pytest.mark.parametrize(("after", "reads"), [(600, 1), (4000, 0)], ids=["minutes", "an hour"])
async def test_a_firing_that_came_while_the_store_was_gone_is_read_once_it_is_back(
    replicas: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch, after: float, reads: int
) -> None:
    monkeypatch.setattr(schedule, "BLINK_S", 0.0)
    for one in replicas:
        one.table.rows = [{"id": 1, "name": "c-1"}]

        async def gone(*_work: Any, one: Replica = one) -> Any:
            one.clock.at += timedelta(seconds=5)
            raise StoreError("store", "no route")

        with monkeypatch.context() as patch:
            patch.setattr(one.store, "transact", gone)
            one.clock.at = NOW + timedelta(seconds=10)
            await one.schedule._fire("late", one.engine.policies)
    for one in replicas:
        one.clock.at = NOW + timedelta(seconds=after)
        await one.member.beat()
    for one in (*replicas, *replicas):
        one.schedule._policies = one.engine.policies
        await one.schedule._take_up()
    assert sum(one.table.asked for one in replicas) == reads
    assert await replicas[0].store.read(lambda tx: tx.inbox_depth()) == reads


async def test_a_missed_firing_whose_reading_breaks_takes_no_other_with_it(
    replicas: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = replicas
    (late,) = one.engine.policies.by_name.values()
    one.engine.runs_with(late.policy.model_copy(update={"policy": "broken"}), late.policy)
    await one.member.renew()
    one.schedule._policies, real = one.engine.policies, one.schedule._read

    async def breaks(policy: Policy, policies: PolicySet) -> Reading:
        if policy.name == "broken":
            raise ZeroDivisionError("a defect")
        return await real(policy, policies)

    monkeypatch.setattr(one.schedule, "_read", breaks)
    one.schedule._missed = {"broken": NOW, "late": NOW}
    one.clock.at = NOW + timedelta(seconds=10)
    with pytest.raises(ZeroDivisionError):
        await one.schedule._take_up()
    await one.schedule._take_up()
    assert one.table.asked == 1


@pytest.mark.parametrize(
    ("after", "comes_back", "reads"),
    [(30, False, 0), (300, False, 1), (300, True, 1), (7200, False, 0)],
    ids=["it may still read", "it has died", "it was only frozen", "hours later"],
)
async def test_a_firing_that_was_claimed_and_not_kept_is_read_by_one_other(
    replicas: tuple[Replica, Replica], after: float, reads: int, *, comes_back: bool
) -> None:
    one, other = replicas
    third = Replica("c", one.store.beside(), one.clock, one.world)
    third.watches()
    await third.member.join()
    for each in replicas:
        each.table.rows = [{"id": 1, "name": "c-1"}]
    one.table.paused = asyncio.Event()
    dies = asyncio.create_task(one.schedule._fire("late", one.engine.policies))
    await settled()
    assert one.table.asked == 1
    one.clock.at += timedelta(seconds=after)
    for each in (one, other, third):
        await each.member.beat()
    for each in (other, third, other, third):
        each.schedule._policies = each.engine.policies
        await each.schedule._take_up()
    one.table.paused.set() if comes_back else dies.cancel()
    await asyncio.wait([dies])
    assert other.table.asked + third.table.asked == reads
    assert await one.store.read(lambda tx: tx.inbox_depth()) == reads


async def test_a_firing_that_was_kept_is_not_read_again(replicas: tuple[Replica, Replica]) -> None:
    one, other = replicas
    await one.looks()
    one.clock.at += timedelta(seconds=300)
    other.schedule._policies = other.engine.policies
    await other.schedule._take_up()
    assert (one.table.asked, other.table.asked) == (1, 0)


async def test_every_row_that_has_gone_resolves_however_many_there_were(
    replicas: tuple[Replica, Replica],
) -> None:
    one, _ = replicas
    rows = [{"id": number, "name": f"c-{number}"} for number in range(MOST_ROWS)]
    (versioned,) = one.engine.policies.by_name.values()

    async def known(tx: Tx) -> None:
        for firing in watched_alerts(versioned.policy, rows, {}, tx.now):
            await tx.put_alert(AlertRow(alert=firing, first_at=tx.now, last_at=tx.now, changed_at=tx.now))

    await one.store.transact(known)
    one.table.rows = rows[:1]
    await one.schedule._fire("late", one.engine.policies)
    inbox = await one.store.read(lambda tx: tx.inbox(1000))
    assert [alert.status for got in inbox for alert in got.delivery.alerts] == ["resolved"] * (MOST_ROWS - 1)


async def test_a_watch_that_fails_for_longer_than_the_patience_pages_once_until_it_works_again(
    replicas: tuple[Replica, Replica],
) -> None:
    one, _ = replicas

    async def opened() -> list[str]:
        pages = Paging(one.store, one.clock, cast("Any", None), one._new_id)
        await pages.page_impatient(one.engine.policies)
        return [page.text for page in await one.store.read(lambda tx: tx.pages())]

    one.table.problem = "permission denied"
    await one.looks()
    assert await opened() == []
    (versioned,) = one.engine.policies.by_name.values()
    await one.looks(versioned.policy.patience.total_seconds())
    (text,) = await opened()
    await one.looks(versioned.policy.patience.total_seconds())
    assert await opened() == [text], "once"
    assert "late: its watch opens nothing: it has failed for" in text
    assert "permission denied" in text
    one.table.problem = ""
    await one.looks()
    assert await opened() == []
    assert await one.store.read(lambda tx: tx.dispositions(refused_only=True)) == []


async def test_after_the_clock_was_put_back_watches_do_not_wait_for_a_day() -> None:
    clock = HandClock()
    schedule = Schedule(MemoryStore(clock), clock, cast("Performer", None), cast("Driver", None))
    chores: list[str] = []

    async def chore() -> None:
        chores.append("had its turn")
        if len(chores) == 2:
            raise LookupError("a chore that breaks has its turn again all the same")

    schedule.start({"pulse": (0.01, chore)})
    schedule.follow(PolicySet.of([Versioned(watching(every="5m"), "v1")], CATALOG))
    scheduler = schedule._scheduler
    assert scheduler is not None

    def planned() -> datetime:
        (job,) = scheduler.get_jobs()
        return cast("datetime", job.next_run_time)

    (job,) = scheduler.get_jobs()
    job.modify(next_run_time=datetime.now(UTC) + timedelta(days=1))  # as it looks once the clock was put back
    await schedule._keep_in_step()
    assert planned() > datetime.now(UTC) + timedelta(hours=23), "nothing has jumped"
    clock.wall -= timedelta(days=1)
    await schedule._keep_in_step()
    assert planned() <= datetime.now(UTC) + timedelta(minutes=5)
    await eventually(lambda: len(chores) > 3, "the chore is not done any more")
    schedule.stop()
    await asyncio.sleep(0)
