"""postgres.terminate against a real PostgreSQL: the sessions that people saw end, and no others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import pytest

from remediator.connectors.postgres import Postgres
from remediator.core.evidence import Picture
from remediator.core.intention import Call
from remediator.core.messages import Done, Result, Unknown
from remediator.errors import ConnectorError
from remediator.ports import Order
from tests.rig.pgproxy import proxy_to
from tests.rig.postgres import Server

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql")]

Make = Callable[..., Postgres]


def terminate(*, rows: Any = None, **given: str) -> Call:
    sought = {"state": "idle in transaction", "longer_than": "200ms", **given}
    return Call("postgres.terminate", "loyalty_db", {**sought, "rows": rows or {"at_most": 9}})


async def act(connector: Postgres, call: Call, shown: Picture | None = None) -> Result:
    return await connector.act(call, order=Order("k", shown), timeout=20)


@asynccontextmanager
async def login(server: Server, database: str, rights: str = "") -> AsyncIterator[str]:
    """A login of an application."""
    name = f"app_{database}"
    async with server.connected(database) as db:
        await db.execute(f"CREATE ROLE {name} LOGIN {rights}; GRANT ALL ON loyalty_programs TO {name}")
    yield name


class Sessions:
    """Sessions of applications, each in some state since a while."""

    def __init__(self, server: Server, database: str, user: str) -> None:
        self.server, self.database, self.user = server, database, user
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[Any]] = []

    async def opened(self, application: str = "app", user: str = "") -> Any:
        dsn = self.server.dsn(self.database, user or self.user)
        db = await asyncpg.connect(dsn, server_settings={"application_name": application})
        self._stack.callback(db.terminate)
        return db

    async def idle(self, application: str = "app", user: str = "") -> Any:
        db = await self.opened(application, user)
        await db.execute("BEGIN; SELECT 'a statement that is not shown', count(*) FROM loyalty_programs")
        return db

    async def busy(self) -> Any:
        db = await self.opened()
        self._tasks.append(asyncio.create_task(db.execute("SELECT pg_sleep(30)")))
        return db

    async def close(self) -> None:
        await self._stack.aclose()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
async def sessions(server: Server, database: str) -> AsyncIterator[Sessions]:
    async with login(server, database) as user:
        made = Sessions(server, database, user)
        yield made
        await made.close()


async def alive(db: Any) -> bool:
    try:
        return bool(await db.fetchval("SELECT 1"))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
        return False


async def test_sessions_that_sit_in_a_transaction_are_shown_and_ended(
    connector: Make, sessions: Sessions
) -> None:
    stuck, fresh = await sessions.idle("worker"), await sessions.opened("web")
    await asyncio.sleep(0.3)
    ender = connector()
    picture = await ender.preview(terminate(), timeout=10)
    (row,) = picture.rows
    assert [picture.count, picture.text] == [1, "ends 1 session"]
    assert row["before"]["user"] == sessions.user
    assert [row["before"]["application"], row["before"]["state"]] == ["worker", "idle in transaction"]
    assert row["before"]["statement"] == "BEGIN"
    result = await act(ender, terminate(), picture)
    assert isinstance(result, Done), result
    assert [result.result["rows"], result.result["gone"]] == [1, []]
    assert [await alive(stuck), await alive(fresh)] == [False, True]


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("update loyalty_programs SET name = 'canary' WHERE id = 'x'", "UPDATE"),
        (" \n\tSELECT 'canary'", "SELECT"),
        ("-- canary\nSELECT 1", "other"),
        ("VALUES ('canary')", "other"),
        ("(SELECT 'canary')", "other"),
    ],
)
async def test_of_what_others_say_no_more_is_told_than_its_kind(
    connector: Make, sessions: Sessions, statement: str, told: str
) -> None:
    """Their statements hold values, also of columns that are hidden from us."""
    stuck = await sessions.opened()
    await stuck.execute("BEGIN")
    await stuck.execute(statement)
    await asyncio.sleep(0.3)
    ender = connector()
    picture = await ender.preview(terminate(), timeout=10)
    assert picture.rows[0]["before"]["statement"] == told
    result = await act(ender, terminate(), picture)
    assert isinstance(result, Done), result
    assert result.result["ended"][0]["statement"] == told
    assert "canary" not in f"{picture}{result}"


async def test_one_whose_transaction_has_failed_sits_in_it_too(connector: Make, sessions: Sessions) -> None:
    stuck = await sessions.idle()
    with pytest.raises(asyncpg.PostgresError):
        await stuck.execute("SELECT 1 / 0")
    await asyncio.sleep(0.3)
    assert isinstance(await act(connector(), terminate(rows={"exactly": 1})), Done)
    assert not await alive(stuck)


async def test_a_long_statement_is_ended_and_not_one_that_just_began(
    connector: Make, sessions: Sessions
) -> None:
    await sessions.busy()
    await asyncio.sleep(0.3)
    ender = connector()
    assert (await ender.preview(terminate(state="active"), timeout=10)).count == 1
    assert (await ender.preview(terminate(state="active", longer_than="1h"), timeout=10)).count == 0
    assert isinstance(await act(ender, terminate(state="active")), Done)
    assert (await ender.preview(terminate(state="active"), timeout=10)).count == 0


async def test_only_those_of_the_user_and_application_are_ended(connector: Make, sessions: Sessions) -> None:
    web, worker = await sessions.idle("web"), await sessions.idle("worker")
    await asyncio.sleep(0.3)
    ender = connector()
    assert (await ender.preview(terminate(user="somebody"), timeout=10)).count == 0
    nasty = "web' OR '1'='1"
    assert (await ender.preview(terminate(application=nasty), timeout=10)).count == 0
    call = terminate(user=sessions.user, application="web")
    assert isinstance(await act(ender, call), Done)
    assert [await alive(web), await alive(worker)] == [False, True]


async def test_ours_a_superusers_and_one_that_replicates_are_never_ended(
    connector: Make, server: Server, database: str, sessions: Sessions
) -> None:
    async with server.connected() as db:
        await db.execute(f"CREATE ROLE replica_{database} LOGIN REPLICATION")
        await db.execute(f"CREATE ROLE ender_{database} LOGIN IN ROLE pg_read_all_stats, pg_signal_backend")
    await sessions.idle("psql", "nobody")
    async with server.connected(database) as db:
        await db.execute(f"GRANT SELECT ON loyalty_programs TO replica_{database}, ender_{database}")
    await sessions.idle("psql", f"replica_{database}")
    await sessions.idle("remediator", f"ender_{database}")
    await asyncio.sleep(0.3)
    ender = connector(dsn=server.dsn(database, f"ender_{database}"))
    assert (await ender.preview(terminate(), timeout=10)).count == 0
    await sessions.idle("psql", f"ender_{database}")
    await sessions.idle("remediator")  # as it calls itself: it is a stranger nevertheless
    await asyncio.sleep(0.3)
    rows = (await ender.preview(terminate(), timeout=10)).rows
    assert [(row["before"]["user"], row["before"]["application"]) for row in rows] == [
        (f"ender_{database}", "psql"),
        (sessions.user, "remediator"),
    ]


async def test_those_of_another_database_are_not_ended(
    connector: Make, server: Server, sessions: Sessions
) -> None:
    other = await server.copy()
    async with server.connected(other) as db:
        await db.execute(f"GRANT SELECT ON loyalty_programs TO {sessions.user}")
    sessions.database = other
    stuck = await sessions.idle()
    await asyncio.sleep(0.3)
    assert (await connector().preview(terminate(), timeout=10)).count == 0
    assert await alive(stuck)


async def test_more_than_allowed_are_neither_shown_nor_ended(connector: Make, sessions: Sessions) -> None:
    stuck = [await sessions.idle() for _ in range(3)]
    await asyncio.sleep(0.3)
    ender = connector()
    for rows, told in (
        ({"at_most": 2}, "it would end more than 2 sessions"),
        ({"exactly": 4}, "it would end 3 sessions, not 4"),
        ({"at_most": 1001}, "1001 sessions are more than the connection allows"),
        ({}, "it is not said how many sessions"),
    ):
        call = Call("postgres.terminate", "db", {**terminate().args, "rows": rows})
        with pytest.raises(ConnectorError, match=told):
            await ender.preview(call, timeout=10)
        result = await act(ender, call)
        assert f"never sent: {told}" in str(result)
    assert all([await alive(db) for db in stuck])


async def test_only_those_that_people_saw_are_ended(connector: Make, sessions: Sessions) -> None:
    seen, gone = await sessions.idle(), await sessions.idle()
    await asyncio.sleep(0.3)
    ender = connector()
    picture = await ender.preview(terminate(), timeout=10)
    gone.terminate()
    late = await sessions.idle()
    await asyncio.sleep(0.3)
    result = await act(ender, terminate(), picture)
    assert isinstance(result, Done)
    assert [result.result["rows"], len(result.result["gone"])] == [1, 1]
    assert [await alive(seen), await alive(late)] == [False, True]


async def test_a_number_that_was_given_to_somebody_else_since_is_not_ended(
    connector: Make, sessions: Sessions
) -> None:
    other = await sessions.idle()
    await asyncio.sleep(0.3)
    ender = connector()
    picture = await ender.preview(terminate(), timeout=10)
    (row,) = picture.rows
    born_before = {**row, "key": {**row["key"], "backend_start": "2026-01-01T00:00:00.000000Z"}}
    result = await act(ender, terminate(), Picture(1, "", (born_before,)))
    assert isinstance(result, Done)
    assert [result.result["rows"], len(result.result["gone"])] == [0, 1]
    assert await alive(other)


async def test_one_that_went_back_to_work_meanwhile_is_not_ended(connector: Make, sessions: Sessions) -> None:
    worker = await sessions.idle()
    await asyncio.sleep(0.3)
    ender = connector()
    picture = await ender.preview(terminate(), timeout=10)
    await worker.execute("COMMIT")
    result = await act(ender, terminate(), picture)
    assert isinstance(result, Done)
    assert result.result["rows"] == 0
    assert await alive(worker)


async def test_a_login_that_may_not_see_or_end_others_hears_what_to_grant(
    connector: Make, server: Server, database: str, sessions: Sessions
) -> None:
    modest = f"modest_{database}"
    async with server.connected() as db:
        await db.execute(f"CREATE ROLE {modest} LOGIN")
        await sessions.idle()
        await asyncio.sleep(0.3)
        ender = connector(dsn=server.dsn(database, modest))
        assert "GRANT pg_read_all_stats TO its login" in str(await act(ender, terminate()))
        await db.execute(f"GRANT pg_read_all_stats TO {modest}")
        assert "GRANT pg_signal_backend TO its login" in str(await act(ender, terminate()))
        await db.execute(f"GRANT pg_signal_backend TO {modest}")
        assert isinstance(await act(ender, terminate()), Done)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"state": "idle"}, "state must be one of"),
        ({"longer_than": "a while"}, "is not a duration"),
        ({"longer_than": "-1m"}, "longer_than must be a time"),
        ({"longer_than": "0s"}, "longer_than must be a time"),
    ],
)
async def test_what_may_not_be_asked_is_refused(connector: Make, given: dict[str, str], told: str) -> None:
    assert told in str(await act(connector(), terminate(**given)))


async def test_an_answer_that_is_lost_leaves_it_unknown(
    connector: Make, server: Server, database: str, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    from remediator.connectors.postgres import sessions as postgres_sessions

    cut = postgres_sessions._END.replace("count(*)", "pg_terminate_backend(pg_backend_pid()), count(*)")
    monkeypatch.setattr(postgres_sessions, "_END", cut)
    stuck = await sessions.idle()
    await asyncio.sleep(0.3)
    async with proxy_to(server.child.port) as proxy:
        ender = connector(dsn=server.dsn(database, port=proxy.port))
        result = await act(ender, terminate())
    assert isinstance(result, Unknown), result
    assert not await alive(stuck)
