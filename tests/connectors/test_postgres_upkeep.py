"""postgres.maintain against a real PostgreSQL: tables and indexes made anew beside those who use them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from remediator.connectors.postgres import Postgres
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Unknown
from remediator.ports import Order
from tests.rig.postgres import Server

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql")]

Make = Callable[..., Postgres]


async def maintain(connector: Postgres, task: str, table: str = "loyalty_programs", **given: Any) -> Any:
    call = Call("postgres.maintain", "loyalty_db", {"task": task, "table": table, **given})
    return await connector.act(call, order=Order("k"), timeout=60)


async def value(server: Server, database: str, sql: str) -> Any:
    async with server.connected(database) as db:
        return await db.fetchval(sql)


FILE = "SELECT relfilenode FROM pg_class WHERE relname = "


async def test_a_table_is_counted_anew(connector: Make, server: Server, database: str) -> None:
    told = "SELECT last_analyze FROM pg_stat_user_tables WHERE relname = 'loyalty_programs'"
    assert await value(server, database, told) is None
    result = await maintain(connector(), "analyze")
    assert result == Done({"task": "analyze", "table": "loyalty_programs", "index": None})
    for _ in range(1500):
        if await value(server, database, told) is not None:
            return
        await asyncio.sleep(0.02)
    pytest.fail("it was not counted")


async def test_all_indexes_of_a_table_are_built_anew_or_only_one(
    connector: Make, server: Server, database: str
) -> None:
    async with server.connected(database) as db:
        await db.execute('CREATE INDEX "The ""Rate" ON loyalty_programs (earn_rate)')
    key, rate = f"{FILE} 'loyalty_programs_pkey'", f"{FILE} 'The \"Rate'"
    before = [await value(server, database, key), await value(server, database, rate)]
    assert isinstance(await maintain(connector(), "reindex", index='The "Rate'), Done)
    one = [await value(server, database, key), await value(server, database, rate)]
    assert [one[0] == before[0], one[1] == before[1]] == [True, False]
    assert isinstance(await maintain(connector(), "reindex"), Done)
    both = [await value(server, database, key), await value(server, database, rate)]
    assert [both[0] == one[0], both[1] == one[1]] == [False, False]


@pytest.mark.parametrize(
    ("task", "given", "told"),
    [
        ("vacuum", {}, "task must be one of analyze, reindex"),
        ("analyze", {"table": "elsewhere"}, "the connection lists no table 'elsewhere'"),
        ("analyze", {"table": "pg_catalog.pg_class"}, "the connection lists no table"),
        ("analyze", {"index": "loyalty_programs_pkey"}, "index must be a text, and needs task: reindex"),
        ("reindex", {"index": "loyalty_campaigns_pkey"}, "has no index 'loyalty_campaigns_pkey'"),
        ("reindex", {"index": 'x"; DROP TABLE loyalty_programs; --'}, "has no index"),
        ("reindex", {"table": "gone"}, "there is no table 'gone'"),
        ("analyze", {"table": "shown"}, "shown is not a plain table"),
    ],
)
async def test_what_may_not_be_asked_is_refused(
    connector: Make, server: Server, database: str, task: str, given: dict[str, str], told: str
) -> None:
    async with server.connected(database) as db:
        await db.execute("CREATE VIEW shown AS SELECT 1 AS n")
    keeper = connector(tables=["loyalty_programs", "gone", "shown"])
    result = await maintain(keeper, task, **given)
    assert isinstance(result, Refused), result
    assert f"never sent: {told}" in result.reason or told in result.reason


async def test_only_an_owner_may_and_hears_so_rather_than_nothing(
    connector: Make, server: Server, database: str
) -> None:
    modest = f"keeper_{database}"
    async with server.connected(database) as db:
        rights = "SELECT, INSERT, UPDATE, DELETE"
        await db.execute(f"CREATE ROLE {modest} LOGIN; GRANT {rights} ON loyalty_programs TO {modest}")
    keeper = connector(dsn=server.dsn(database, modest))
    for task in ("analyze", "reindex"):
        result = await maintain(keeper, task)
        told = "never sent: only the owner of loyalty_programs may do that; a superuser owns it: give it to"
        assert isinstance(result, Refused)
        assert result.reason.startswith(told)
    async with server.connected(database) as db:
        await db.execute(
            f"CREATE ROLE owner_{database}; ALTER TABLE loyalty_programs OWNER TO owner_{database}"
        )
    result = await maintain(keeper, "analyze")
    assert isinstance(result, Refused)
    assert result.reason.endswith(f"GRANT owner_{database} TO its login")


async def test_an_index_that_cannot_be_built_is_left_invalid_and_named(
    connector: Make, server: Server, database: str
) -> None:
    async with server.connected(database) as db:
        await db.execute("""
            CREATE TABLE numbers (id int PRIMARY KEY, n int);
            CREATE FUNCTION fits(n int) RETURNS int IMMUTABLE LANGUAGE sql AS $$ SELECT 10 / n $$;
            INSERT INTO numbers VALUES (1, 1);
            CREATE INDEX numbers_fit ON numbers (fits(n));
            CREATE OR REPLACE FUNCTION fits(n int) RETURNS int IMMUTABLE LANGUAGE sql AS
            $$ SELECT 10 / (n - 1) $$
        """)
    result = await maintain(connector(tables=["numbers"]), "reindex", "numbers", index="numbers_fit")
    assert isinstance(result, Refused)
    assert "(22012)" in result.reason
    assert 'It left an invalid index: DROP INDEX CONCURRENTLY "numbers_fit_ccnew"' in result.reason


async def test_what_takes_too_long_is_cancelled_and_what_it_left_is_named(
    connector: Make, server: Server, database: str
) -> None:
    keeper = connector(upkeep_timeout="500ms")
    async with server.connected(database) as db:
        await db.execute("BEGIN; INSERT INTO loyalty_users VALUES ('u-9', 'x', 'y')")  # it waits for this
        result = await maintain(keeper, "reindex", "loyalty_users")
        assert isinstance(result, Refused), result
        assert "it was cancelled: not finished within 0.5 s" in result.reason
        assert 'DROP INDEX CONCURRENTLY "loyalty_users_pkey_ccnew"' in result.reason
        running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'REINDEX%' AND state = 'active'"
        assert await db.fetchval(running) == 0
        await db.execute("COMMIT")


async def test_an_application_writes_while_an_index_is_built(
    connector: Make, server: Server, database: str
) -> None:
    async with server.connected(database) as db, server.connected(database) as app:
        await db.execute("BEGIN; INSERT INTO loyalty_users VALUES ('u-9', 'x', 'y')")
        building = asyncio.create_task(maintain(connector(), "reindex", "loyalty_users"))
        await asyncio.sleep(0.3)
        await app.execute("SET lock_timeout = '1s'; UPDATE loyalty_users SET name = 'z' WHERE id = 'u-1'")
        assert not building.done()
        await db.execute("COMMIT")
        assert isinstance(await building, Done)


async def test_a_line_that_is_cut_leaves_it_unknown(connector: Make, server: Server, database: str) -> None:
    async with server.connected(database) as db, server.connected(database) as other:
        await db.execute("BEGIN; INSERT INTO loyalty_users VALUES ('u-9', 'x', 'y')")
        building = asyncio.create_task(maintain(connector(), "reindex", "loyalty_users"))
        kill = """
            SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE datname = current_database() AND query LIKE 'REINDEX%' AND state = 'active'
        """
        for _ in range(1500):
            if await other.fetchval(kill):
                break
            await asyncio.sleep(0.02)
        assert isinstance(await building, Unknown)
