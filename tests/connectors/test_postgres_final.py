"""A change becomes final once or never, and its mark tells which: lines are cut, servers killed, replaced."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from remediator.connectors.postgres import Postgres, PostgresSettings
from remediator.connectors.postgres import final as postgres_final
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.errors import ConnectorError
from remediator.ports import Order
from tests.connectors.changes import HALVE, Journal, act, done, execute, refused, restore, unknown
from tests.rig.pgproxy import Cut, proxy_to
from tests.rig.postgres import Server, running_postgres, standby_of

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql")]

Make = Callable[..., Postgres]
HALF = execute(HALVE, "p-17", Decimal("0.035"), Decimal("0.07"))


async def rate(server: Server, database: str) -> Decimal:
    async with server.connected(database) as db:
        found: Decimal = await db.fetchval("SELECT earn_rate FROM loyalty_programs WHERE id = 'p-17'")
        return found


async def became(connector: Postgres, journal: Journal, call: Call = HALF) -> Result:
    """Ask by the mark until it can be told."""
    for _ in range(1500):
        found = await connector.inquire(call, journal.marks[-1], timeout=10)
        if found is not None:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError("it is under way for ever")


# ── The mark ────────────────────────────────────────────────────────────────────────────────────


async def test_a_change_is_marked_before_anybody_can_see_it_and_the_mark_tells_that_it_became_final(
    connector: Make, server: Server, database: str
) -> None:
    seen: list[Decimal] = []
    undecided: list[Result | None] = []
    changer = connector()

    async def look() -> None:
        seen.append(await rate(server, database))
        undecided.append(await changer.inquire(HALF, journal.marks[0], timeout=10))

    journal = Journal(meanwhile=look)
    result = await act(changer, HALF, journal=journal)
    assert (seen, undecided) == ([Decimal("0.07")], [None])
    assert await rate(server, database) == Decimal("0.035")
    found = await changer.inquire(HALF, journal.marks[0], timeout=10)
    assert isinstance(result, Done)
    assert found == result


async def test_what_may_not_be_marked_is_rolled_back(connector: Make, server: Server, database: str) -> None:
    changer, journal = connector(), Journal(no="the run does not wait for it any more")
    told = await refused(changer, HALF, journal=journal)
    assert told == "never committed: the run does not wait for it any more"
    assert await rate(server, database) == Decimal("0.07")
    assert await became(changer, journal) == Refused("rolled back")


async def test_without_a_journal_nothing_is_sent(connector: Make) -> None:
    result = await connector().act(HALF, order=Order("k"), timeout=10)
    assert result == Refused("never sent: nothing would keep the mark of its transaction")


async def test_the_number_of_the_transaction_is_on_disk_before_it_is_marked(
    connector: Make, server: Server, database: str
) -> None:
    flushed: list[bool] = []

    async def look() -> None:
        async with server.connected(database) as db:
            sql = "SELECT pg_current_wal_flush_lsn() >= $1::text::pg_lsn"
            flushed.append(await db.fetchval(sql, journal.marks[0]["lsn"]))

    journal = Journal(meanwhile=look)
    await done(connector(), HALF, journal=journal)
    assert flushed == [True]


async def test_a_journal_that_never_answers_keeps_nothing_locked(
    connector: Make, server: Server, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changer, journal = connector(), Journal(meanwhile=lambda: asyncio.sleep(60))
    assert "not through within 0.5 s" in await refused(changer, HALF, journal=journal, timeout=0.5)
    monkeypatch.setattr(postgres_final, "MARKED", 0.5)
    assert "its mark was not kept within 0.5 s" in await refused(changer, HALF, journal=journal)
    async with server.connected(database) as db:
        await db.execute("SET lock_timeout = '1s'; UPDATE loyalty_programs SET earn_rate = 0.06")
    assert await became(changer, journal) == Refused("rolled back")


async def test_a_transaction_that_is_given_up_leaves_nothing_open(
    connector: Make, server: Server, database: str
) -> None:
    marked = asyncio.Event()

    async def wait() -> None:
        marked.set()
        await asyncio.sleep(60)

    changer = connector()
    acting = asyncio.create_task(act(changer, HALF, journal=Journal(meanwhile=wait)))
    await marked.wait()
    acting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await acting
    assert changer._changing._pool.get_size() == 0  # neither of its connections is used again
    async with server.connected() as db:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND xact_start IS NOT NULL"
        for _ in range(1500):
            if await db.fetchval(sql, database) == 0:
                break
            await asyncio.sleep(0.02)
        else:
            pytest.fail("its transaction is still open")
    assert await rate(server, database) == Decimal("0.07")


# ── Lines that are cut ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("cut", "commits", "final"),
    [
        (Cut.BEFORE, 0, False),
        (Cut.HALF, 0, False),
        (Cut.AFTER, 1, True),
    ],
)
async def test_a_line_that_is_cut_around_commit_leaves_it_unknown_and_the_mark_tells(
    connector: Make, server: Server, database: str, cut: Cut, commits: int, *, final: bool
) -> None:
    async with proxy_to(server.child.port, cut) as proxy:
        changer, journal = connector(dsn=server.dsn(database, port=proxy.port)), Journal()
        assert "COMMIT was sent, and then: the connection was lost" in await unknown(
            changer, HALF, journal=journal
        )
        found = await became(connector(), journal)
        assert isinstance(found, Done if final else Refused), found
        assert [proxy.commits, await rate(server, database)] == [
            commits,
            Decimal("0.035" if final else "0.07"),
        ]
        assert len(journal.marks) == 1


@pytest.mark.parametrize(("cut", "final"), [(Cut.SILENT, True), (Cut.HELD, False)])
async def test_a_commit_that_is_not_answered_in_time_is_unknown_and_the_mark_tells(
    connector: Make, server: Server, database: str, cut: Cut, *, final: bool
) -> None:
    async with proxy_to(server.child.port, cut) as proxy:
        changer, journal = connector(dsn=server.dsn(database, port=proxy.port)), Journal()
        began = time.monotonic()
        assert "not through within 1 s" in await unknown(changer, HALF, journal=journal, timeout=1)
        assert time.monotonic() - began < 15
        assert isinstance(await became(connector(), journal), Done if final else Refused)
        assert await rate(server, database) == Decimal("0.035" if final else "0.07")
        assert proxy.commits == final


async def test_the_answer_to_a_commit_is_not_waited_for_as_long_as_the_change_may_take(
    connector: Make, server: Server, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_final, "COMMITTED", 0.5)
    async with proxy_to(server.child.port, Cut.SILENT) as proxy:
        changer, journal = connector(dsn=server.dsn(database, port=proxy.port)), Journal()
        began = time.monotonic()
        told = await unknown(changer, HALF, journal=journal, timeout=60)
        assert told == "COMMIT was sent, and then: not through within 0.5 s"
        assert time.monotonic() - began < 15
        assert isinstance(await became(connector(), journal), Done)


async def test_an_undo_whose_line_is_cut_is_told_by_its_mark_with_what_it_left_alone(
    connector: Make, server: Server, database: str
) -> None:
    both = execute("UPDATE loyalty_programs SET earn_rate = $1 WHERE earn_rate > $1", 0.01, rows=2)
    result = await done(connector(), both)
    async with server.connected(database) as db:
        await db.execute("UPDATE loyalty_programs SET earn_rate = 0.02 WHERE id = 'p-18'")
    async with proxy_to(server.child.port, Cut.AFTER) as proxy:
        undoer, journal = connector(dsn=server.dsn(database, port=proxy.port)), Journal()
        await unknown(undoer, restore(result), journal=journal)
    found = await became(connector(), journal, restore(result))
    assert isinstance(found, Done)
    assert found.left == "1 of 2 rows left alone: id=p-18 holds earn_rate 0.0200, not 0.0100"
    assert found.result["rows"] == [{"id": "p-17"}]
    assert await rate(server, database) == Decimal("0.07")


async def test_a_constraint_that_speaks_only_at_commit_refuses_it(
    connector: Make, server: Server, database: str
) -> None:
    async with server.connected(database) as db:
        await db.execute("""
            ALTER TABLE loyalty_campaigns ALTER CONSTRAINT loyalty_campaigns_program_id_fkey
            DEFERRABLE INITIALLY DEFERRED
        """)
    changer, journal = connector(), Journal()
    away = execute("UPDATE loyalty_campaigns SET program_id = $1 WHERE id = $2", "p-0", "c-1")
    assert "rolled back at its end (23503)" in await refused(changer, away, journal=journal)
    assert await became(changer, journal) == Refused("rolled back")


@pytest.mark.parametrize(
    ("code", "certain"),
    [("40001", True), ("40002", True), ("40P01", True), ("23514", True), ("40003", False), ("40000", False)],
)
async def test_only_what_certainly_rolled_back_is_refused_at_commit(
    connector: Make, server: Server, database: str, code: str, *, certain: bool
) -> None:
    """40003 says itself that nobody knows whether it became final."""
    async with server.connected(database) as db:
        await db.execute(f"""
            CREATE TABLE t (id int);
            CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE 'no' USING ERRCODE = '{code}'; END $$;
            CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION no()
        """)

    async def work(within: Any) -> Done:
        await within.execute("INSERT INTO public.t VALUES (1)")
        return Done()

    changer, journal = connector(), Journal()
    order = Order("k", None, journal.mark)
    told = await postgres_final.act("loyalty_db", changer._changing, work, order=order, timeout=20)
    assert isinstance(told, Refused if certain else Unknown), told
    assert await became(changer, journal) == Refused("rolled back")


# ── Servers that die, and others in their place ─────────────────────────────────────────────────


@pytest.fixture(scope="module")
def mortal() -> Iterator[Server]:
    """A server that may be killed."""
    with running_postgres() as running:
        yield running


async def _of(mortal: Server) -> tuple[Postgres, str]:
    database = await mortal.copy()
    settings = {"dsn": mortal.dsn(database), "tables": ["loyalty_programs"]}
    return Postgres(PostgresSettings.model_validate(settings)), database


async def test_a_server_that_crashes_after_the_mark_never_gives_its_number_to_another(mortal: Server) -> None:
    changer, database = await _of(mortal)

    async def crash() -> None:
        await asyncio.to_thread(mortal.crash)

    journal = Journal(meanwhile=crash)
    result = await act(changer, HALF, journal=journal)
    assert isinstance(result, Refused | Unknown), result
    await asyncio.to_thread(mortal.start_again)
    async with mortal.connected(database) as db:
        for _ in range(20):  # strangers, whose numbers would pass for ours
            await db.execute("UPDATE loyalty_programs SET budget_spent = budget_spent + 1")
    assert await became(changer, journal) == Refused("rolled back")
    assert await rate(mortal, database) == Decimal("0.07")
    await changer.close()


async def test_a_server_that_crashes_after_the_commit_still_knows_it(mortal: Server) -> None:
    changer, database = await _of(mortal)
    journal = Journal()
    async with proxy_to(mortal.child.port, Cut.AFTER) as proxy:
        settings = {"dsn": mortal.dsn(database, port=proxy.port), "tables": ["loyalty_programs"]}
        lost = Postgres(PostgresSettings.model_validate(settings))
        await unknown(lost, HALF, journal=journal)
        await lost.close()
    await asyncio.to_thread(mortal.crash)
    with pytest.raises(ConnectorError, match="cannot be reached"):
        await changer.inquire(HALF, journal.marks[0], timeout=5)
    await asyncio.to_thread(mortal.start_again)
    assert isinstance(await became(changer, journal), Done)
    assert await rate(mortal, database) == Decimal("0.035")
    await changer.close()


async def test_a_standby_is_left_alone_and_after_a_failover_the_mark_says_nothing(mortal: Server) -> None:
    changer, database = await _of(mortal)
    with standby_of(mortal) as standby:
        settings = PostgresSettings.model_validate(
            {"dsn": standby.dsn(database), "tables": ["loyalty_programs"]}
        )
        other = Postgres(settings)
        analyze = Call("postgres.maintain", "loyalty_db", {"task": "analyze", "table": "loyalty_programs"})
        for change in (HALF, analyze):
            assert await refused(other, change) == "never sent: the server is a standby"
        journal = Journal()
        await done(changer, HALF, journal=journal)
        with pytest.raises(ConnectorError, match="the server is a standby"):
            await other.inquire(HALF, journal.marks[0], timeout=5)
        async with standby.connected() as db:
            assert await db.fetchval("SELECT pg_promote()")
        found = await other.inquire(HALF, journal.marks[0], timeout=5)
        assert found == Unknown("the server failed over since, and may have lost it")
        await other.close()
    await changer.close()


@pytest.mark.parametrize(
    ("part", "value", "told"),
    [
        ("system", "7", "this is another server than the one that was changed"),
        ("timeline", "0000000F", "the server failed over since, and may have lost it"),
        ("lsn", "FFFF/0", "the server was set back to an earlier state"),
        ("xid", "99999999", "the server was set back to an earlier state"),
        ("xid", "5", "it is so long ago that the server does not know it any more"),
        ("xid", 5, "its mark cannot be read"),
    ],
)
async def test_a_mark_of_another_place_or_time_says_nothing(
    connector: Make, part: str, value: object, told: str
) -> None:
    changer, journal = connector(), Journal()
    await done(changer, HALF, journal=journal)
    mark: dict[str, Any] = {**journal.marks[0], part: value}
    assert await changer.inquire(HALF, mark, timeout=5) == Unknown(told)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("default_transaction_read_only = on", "the server is read-only"),
        ("synchronous_commit = off", "synchronous_commit is off: what is committed could be lost"),
    ],
)
async def test_a_server_that_cannot_keep_a_promise_is_not_changed(
    connector: Make, server: Server, database: str, setting: str, told: str
) -> None:
    async with server.connected() as db:
        await db.execute(f"ALTER DATABASE {database} SET {setting}")
    assert await refused(connector(), HALF) == f"never sent: {told}"


async def test_a_login_that_may_not_ask_for_the_servers_identity_hears_what_to_grant(
    connector: Make, server: Server, database: str
) -> None:
    async with server.connected(database) as db:
        await db.execute("""
            CREATE ROLE modest LOGIN; GRANT SELECT, UPDATE ON loyalty_programs TO modest;
            REVOKE EXECUTE ON FUNCTION pg_control_system() FROM public
        """)
    told = await refused(connector(dsn=server.dsn(database, "modest")), HALF)
    assert "never committed: " in told
    assert "GRANT EXECUTE ON FUNCTION pg_control_system TO the connection's login" in told
