"""A standby is promoted without the last commits: nobody may take it for the server that it was."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediator.clock import SystemClock
from remediator.core.run import Halt
from remediator.ports import Store, Tx
from remediator.store.doubts import Standing
from remediator.store.postgres import PostgresStore
from remediator.store.postgres_standing import STANDING, Watch, standing_in
from tests.rig.postgres import Server, running_postgres, standby_of
from tests.rig.room import until
from tests.store.samples import NOON, delivery, scope

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql")]


async def standing(server: Server) -> Standing:
    """As a login without any rights sees it."""
    connection = await asyncpg.connect(server.dsn(login="plain"))
    try:
        found = standing_in(await connection.fetchrow(STANDING))
        assert found is not None
        return found
    finally:
        await connection.close()


def doubts(watch: Watch) -> list[str]:
    return [watch.doubt.text] if watch.doubt is not None else []


@pytest.fixture
def pair() -> Iterator[tuple[Server, Server]]:
    """A primary, and a standby that follows it."""
    with running_postgres() as primary, standby_of(primary) as standby:
        yield primary, standby


async def test_a_promoted_standby_is_doubted_and_a_crash_is_not(pair: tuple[Server, Server]) -> None:
    primary, standby = pair
    async with primary.connected() as connection:
        await connection.execute("CREATE ROLE plain LOGIN")
        await connection.execute("CREATE TABLE kept (n int)")
        await _replayed(standby, await connection.fetchval("SELECT pg_current_wal_lsn()"))
    watch = Watch()
    watch.hear(None, await standing(primary), NOON)
    await _cut_off(standby)
    async with primary.connected() as connection:
        await connection.execute("INSERT INTO kept VALUES (1)")
    watch.hear(watch.last, await standing(primary), NOON)
    await asyncio.to_thread(primary.crash)
    await asyncio.to_thread(primary.start_again)
    watch.hear(watch.last, await standing(primary), NOON)
    assert doubts(watch) == [], "a crash loses nothing"
    async with standby.connected() as connection:
        assert await connection.fetchval("SELECT pg_promote()")
        assert await connection.fetchval("SELECT count(*) FROM kept") == 0, "the commit is lost"
    watch.hear(watch.last, await standing(standby), NOON)
    (first,) = doubts(watch)
    assert "a standby was promoted" in first
    watch.hear(watch.last, await standing(standby), NOON)
    assert doubts(watch) == [first], "one failover is one doubt"
    watch.settle()
    watch.hear(watch.last, await standing(standby), NOON)
    assert doubts(watch) == []


async def test_after_a_failover_nothing_starts_until_somebody_has_looked(
    pair: tuple[Server, Server],
) -> None:
    primary, standby = pair
    address = "{}?may_lose_data=yes"
    live = PostgresStore(address.format(primary.dsn()), SystemClock())
    await live.open()
    await live.transact(_pulse)
    assert await _halts(live) == []
    async with primary.connected() as connection:
        await _replayed(standby, await connection.fetchval("SELECT pg_current_wal_lsn()"))
    await _cut_off(standby)
    await live.transact(lambda tx: tx.put_delivery(delivery("lost")))
    await asyncio.to_thread(primary.crash)
    async with standby.connected() as connection:
        assert await connection.fetchval("SELECT pg_promote()")
    live._pool.address.dsn = standby.dsn()  # as if the address had moved with the role
    new = PostgresStore(address.format(standby.dsn()), SystemClock())
    await new.open()
    for store in (live, new):
        assert await store.read(lambda tx: tx.inbox_depth()) == 0, "what was answered 200 is lost"
        (halt,) = await _halts(store)
        assert "a standby was promoted" in halt.reason
    (halt,) = await live.transact(lambda tx: tx.doubts())
    await live.transact(lambda tx: tx.put_halt(halt))
    assert await new.transact(lambda tx: tx.doubts()) == [], "both doubt the same, and one told of it"
    await new.transact(_pulse)
    later = PostgresStore(address.format(standby.dsn()), SystemClock())
    await later.open()
    assert await _halts(later) == [halt], "nobody has looked yet"
    await new.transact(lambda tx: tx.lift_halt(halt.id, "ann"))
    for store in (live, new, later):
        assert await _halts(store) == []
        await store.transact(_pulse)
        assert await store.transact(lambda tx: tx.doubts()) == []
        await store.close()


async def _pulse(_tx: Tx) -> None:
    """Whoever writes nothing asks whether it could."""


async def _halts(store: Store) -> list[Halt]:
    """As a decision sees them."""
    return list((await store.transact(lambda tx: tx.seen(scope()))).halts)


async def _replayed(standby: Server, position: str) -> None:
    async with standby.connected() as connection:
        await until(
            lambda: connection.fetchval("SELECT pg_last_wal_replay_lsn() >= $1", position),
            "the standby does not follow",
        )


async def _cut_off(standby: Server) -> None:
    """It hears no more from its primary."""
    async with standby.connected() as connection:
        await connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
        await connection.execute("SELECT pg_reload_conf()")
        gone = "SELECT NOT EXISTS (SELECT FROM pg_stat_wal_receiver)"
        await until(lambda: connection.fetchval(gone), "the standby still follows")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=30))
def test_answers_that_are_heard_late_are_no_step_back(grows: list[tuple[int, int]]) -> None:
    """Each question is answered by how far the server was then, and heard up to three answers later."""
    watch, position = Watch(), 100
    waiting: list[tuple[int, Standing | None, Standing]] = []
    for turn, (grown, late) in enumerate(grows):
        position += grown
        waiting.append((turn + late, watch.last, Standing("s", 1, position)))
        for heard in [one for one in waiting if one[0] <= turn]:
            waiting.remove(heard)
            watch.hear(heard[1], heard[2], NOON)
    assert watch.doubt is None
