"""Which servers and logins the PostgreSQL store takes, and what it says of the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from remediator.cli import main
from remediator.core.messages import Entry
from remediator.errors import SchemaTooNew, StoreError
from remediator.ports import SYSTEM, Tx
from remediator.store import open_store
from remediator.store.postgres_pool import Address, Pool
from remediator.store.postgres_schema import refuse_pooler
from tests.connectors.peers import a_port_where_nobody_answers, a_port_where_nobody_listens
from tests.rig.pgproxy import Cut, proxy_to
from tests.rig.postgres import Server, running_postgres
from tests.rig.room import until
from tests.store.postgres_rig import TEMPLATE, PostgresRig
from tests.store.promises import traces, whole_decision
from tests.store.samples import HandClock, delivery

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql")]


@pytest.fixture
async def own(server: Server, store_database: str) -> AsyncIterator[PostgresRig]:
    """A database of the test's own."""
    rig = PostgresRig(server, await server.copy(TEMPLATE))
    yield rig
    await rig.close()


async def refused(url: str) -> StoreError:
    with pytest.raises(StoreError) as caught:
        await open_store(url, HandClock()).open()
    assert "secret" not in str(caught.value)
    return caught.value


async def test_a_server_that_may_forget_is_refused(own: PostgresRig) -> None:
    sure = own.url.partition("?")[0]
    assert "fsync is off" in str(await refused(sure))
    async with own.server.connected() as connection:
        await connection.execute(f"ALTER DATABASE {own.database} SET default_transaction_read_only = on")
    assert "name the primary" in str(await refused(own.url))


@pytest.mark.parametrize(("server_says", "kept"), [("off", "on"), ("remote_apply", "remote_apply")])
async def test_each_session_sees_to_it_that_commits_are_on_the_disk(
    own: PostgresRig, server_says: str, kept: str
) -> None:
    async with own.server.connected() as connection:
        await connection.execute(f"ALTER DATABASE {own.database} SET synchronous_commit = {server_says}")
    connection = await Pool(Address(own.url.partition("?")[0])).dial()
    assert await connection.fetchval("SHOW synchronous_commit") == kept
    await connection.close()


@pytest.fixture
def durable() -> Iterator[Server]:
    """A server of the test's own, whose commits are on the disk."""
    with running_postgres(durable=True) as server:
        yield server


async def test_a_server_that_becomes_forgetful_while_it_runs(durable: Server) -> None:
    store = open_store(durable.dsn(), HandClock())
    await store.open()
    await _set(durable, "synchronous_commit = off", "wal_writer_delay = '10s'")
    await store.transact(lambda tx: tx.put_delivery(delivery("confirmed")))
    await asyncio.to_thread(durable.crash)
    await asyncio.to_thread(durable.start_again)
    assert await store.read(lambda tx: tx.inbox_depth()) == 1, "what was confirmed is kept"
    for setting in ("fsync", "full_page_writes"):
        await _set(durable, f"{setting} = off")
        for work in (_pulse, _accept, _accept):
            with pytest.raises(StoreError, match=f"set {setting} = on"):
                await store.transact(work)
        await _set(durable, f"{setting} = on")
        await store.transact(_pulse)
    assert await store.transact(_accept)
    await store.close()


async def _pulse(_tx: Tx) -> int:
    """Whoever writes nothing asks whether it could."""
    return 0


async def _accept(tx: Tx) -> int:
    return await tx.put_delivery(delivery())


async def _set(server: Server, *settings: str) -> None:
    """While it runs; a session hears of it before its next statement."""
    async with server.connected() as connection:
        for one in settings:
            await connection.execute(f"ALTER SYSTEM SET {one}")
        await connection.execute("SELECT pg_reload_conf()")
    name, _, value = settings[0].partition(" = ")
    async with server.connected() as connection:
        await until(lambda: connection.fetchval(f"SELECT current_setting('{name}') = '{value}'"), "not set")


async def test_a_server_that_is_not_there_shows_at_once_and_without_the_password() -> None:
    began = time.monotonic()
    port = a_port_where_nobody_listens()
    assert "is it up" in str(await refused(f"postgresql://ann:secret@127.0.0.1:{port}/state"))
    with a_port_where_nobody_answers() as silent:
        error = await refused(f"postgresql://ann:secret@127.0.0.1:{silent}/state")
    assert "no answer within 5 s" in str(error)
    assert time.monotonic() - began < 20


def test_a_server_that_is_starting_is_not_taken_for_one_that_stops() -> None:
    pool = Pool(Address("postgresql://ann:secret@127.0.0.1/state"))
    told = pool.explain(asyncpg.CannotConnectNowError("the database system is starting up"))
    assert told.remedy == "it is starting or stopping; it is asked again by itself"


async def test_tables_of_a_newer_program_are_refused(own: PostgresRig) -> None:
    await own.tamper("UPDATE meta SET value = value + 1 WHERE key = 'schema'")
    with pytest.raises(SchemaTooNew, match="install the newer version"):
        await own.opened()


async def test_tables_are_made_once_by_whichever_of_several_daemons_comes_first(server: Server) -> None:
    async with server.connected() as connection:
        await connection.execute("CREATE DATABASE fresh")
    stores = [open_store(f"{server.dsn('fresh')}?may_lose_data=yes", HandClock()) for _ in range(3)]
    await asyncio.gather(*(store.open() for store in stores))
    for store in stores:
        await store.close()


async def test_the_daemons_login_can_do_all_but_change_journals(
    own: PostgresRig, capsys: pytest.CaptureFixture[str]
) -> None:
    async with own.server.connected() as connection:
        await connection.execute("DROP ROLE IF EXISTS a_daemon; CREATE ROLE a_daemon LOGIN")
    store = f"--store={own.url}"
    assert await asyncio.to_thread(main, ["db", "migrate", store, "--grant", "a_daemon"]) == 0
    assert await asyncio.to_thread(main, ["db", "status", store]) == 0
    assert "this program writes version" in capsys.readouterr().out
    login = own.server.dsn(own.database, login="a_daemon")
    daemon = open_store(f"{login}?may_lose_data=yes", HandClock())
    await daemon.open()
    await daemon.transact(whole_decision)
    await daemon.transact(lambda tx: tx.journal(SYSTEM, [Entry("started")]))
    assert all((await daemon.read(traces))[1:])
    await daemon.close()
    connection = await asyncpg.connect(login)
    for crime in ("UPDATE remediator.journal SET data = '{}'", "DELETE FROM remediator.journal",
                  "TRUNCATE remediator.journal", "DELETE FROM remediator.heads"):  # fmt: skip
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(crime)
    await connection.close()


async def test_two_connections_that_share_a_session_have_a_pooler_before_them(own: PostgresRig) -> None:
    connection = await asyncpg.connect(own.server.dsn(own.database))
    other = await asyncpg.connect(own.server.dsn(own.database))
    await refuse_pooler(connection, other, "here")
    with pytest.raises(
        StoreError, match="pooler in transaction mode before it; connect to the server itself"
    ):
        await refuse_pooler(connection, connection, "here")
    await connection.close()
    await other.close()


async def test_a_line_that_falls_silent_shows_within_seconds_and_the_next_one_is_used(
    own: PostgresRig,
) -> None:
    async with proxy_to(own.server.child.port) as line:
        url = f"{own.server.dsn(own.database, port=line.port)}?may_lose_data=yes"
        store = open_store(url, HandClock())
        await store.open()
        line.cut = Cut.SILENT
        began = time.monotonic()
        with pytest.raises(StoreError, match="no answer within 5 s"):
            await store.transact(lambda tx: tx.put_delivery(delivery()))
        assert time.monotonic() - began < 20
        line.cut = Cut.NEVER
        await store.transact(lambda tx: tx.put_delivery(delivery()))
        await store.close()
