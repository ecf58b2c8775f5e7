"""postgres.query against a real PostgreSQL: it reads, within its limits, and can do nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from remediator.connectors.postgres import Postgres, PostgresSettings
from remediator.core.intention import Call
from remediator.errors import ConnectorError
from tests.rig.postgres import Server
from tests.rig.processes import free_port

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql")]

Make = Callable[..., Postgres]


async def ask(connector: Postgres, sql: str, *args: object, timeout: float = 20) -> dict[str, Any]:
    call = Call("postgres.query", "loyalty_db", {"sql": sql, "args": list(args)})
    return await connector.read(call, timeout=timeout)


async def refused(connector: Postgres, sql: str, *args: object) -> str:
    with pytest.raises(ConnectorError) as error:
        await ask(connector, sql, *args)
    assert error.value.place == "loyalty_db"
    return str(error.value)


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────


async def test_the_budget_of_a_program_is_read_as_the_runbook_asks(connector: Make) -> None:
    sql = """
        SELECT name, earn_rate,
               round(100 * (budget_limit - budget_spent) / budget_limit, 2) AS remaining_pct
        FROM loyalty_programs WHERE id = $1
    """
    row = {"name": "Teranga", "earn_rate": Decimal("0.0700"), "remaining_pct": Decimal("3.20")}
    assert await ask(connector(), sql, "p-17") == {"rows": [row], "row": row, "count": 1}


async def test_nothing_found_is_no_row(connector: Make) -> None:
    read = await ask(connector(), "SELECT id FROM loyalty_programs WHERE id = $1", "p-0")
    assert read == {"rows": [], "row": None, "count": 0}


async def test_campaigns_that_are_late_are_found_by_the_servers_clock(connector: Make) -> None:
    late = "SELECT id FROM loyalty_campaigns WHERE status = 'scheduled' AND start_date < now()"
    assert (await ask(connector(), late))["rows"] == [{"id": "c-1"}]


async def test_many_may_ask_at_once(connector: Make) -> None:
    reader = connector()
    answers = await asyncio.gather(*(ask(reader, "SELECT $1::int AS n", n) for n in range(30)))
    assert [answer["row"]["n"] for answer in answers] == list(range(30))


# ── Only reading ────────────────────────────────────────────────────────────────────────────────


async def test_a_change_is_refused_before_it_is_sent(connector: Make) -> None:
    told = await refused(connector(), "UPDATE loyalty_programs SET earn_rate = 0 RETURNING id")
    assert "not asked: P203" in told


async def test_a_function_that_writes_is_refused_by_the_server_though_it_is_listed(
    connector: Make, server: Server, database: str
) -> None:
    async with server.connected(database) as db:
        await db.execute("""
            CREATE FUNCTION sneaky() RETURNS int LANGUAGE sql AS
            $$ UPDATE public.loyalty_programs SET earn_rate = 0; SELECT 1 $$
        """)
        told = await refused(connector(functions=["sneaky"]), "SELECT sneaky() AS n")
        assert "(25006)" in told
        assert await db.fetchval("SELECT count(*) FROM loyalty_programs WHERE earn_rate = 0") == 0
    assert "P205" in await refused(connector(), "SELECT sneaky() AS n")


async def test_the_server_itself_refuses_a_change_in_this_transaction(connector: Make) -> None:
    reader = connector()
    with pytest.raises(ConnectorError, match="25006"):
        async with reader._reading.transaction("loyalty_db") as db:
            await db.execute("UPDATE public.loyalty_programs SET earn_rate = 0")
    assert (await ask(reader, "SELECT count(*) AS n FROM loyalty_programs WHERE earn_rate = 0"))["row"] == {
        "n": 0
    }


async def test_nobodys_overload_stands_in_for_a_built_in_function(
    connector: Make, server: Server, database: str
) -> None:
    async with server.connected(database) as db:
        await db.execute("""
            CREATE DOMAIN label AS text;
            CREATE TABLE shops (name label);
            INSERT INTO shops VALUES ('Sandaga');
            CREATE FUNCTION upper(label) RETURNS text LANGUAGE sql AS $$ SELECT 'evil' $$;
            CREATE FUNCTION spy(shops) RETURNS text LANGUAGE sql AS $$ SELECT 'evil' $$;
            CREATE FUNCTION peep(anyelement) RETURNS text LANGUAGE sql AS $$ SELECT 'evil' $$;
        """)
    reader = connector(tables=["shops"])
    assert (await ask(reader, "SELECT upper(name) AS name FROM shops"))["row"] == {"name": "SANDAGA"}
    assert "no column 'spy'" in await refused(reader, "SELECT s.spy FROM shops s")
    assert "no column 'spy'" in await refused(reader, "SELECT public.shops.spy FROM shops")
    told = await refused(reader, "SELECT t.peep FROM (SELECT name FROM shops) t")
    assert "column t.peep does not exist" in told


INJECTIONS = [
    "p-17' OR '1'='1",
    "'; DROP TABLE loyalty_programs; --",
    "$1",
    "$$; SELECT pg_sleep(9); $$",
    "p-17\\'; COMMIT; UPDATE loyalty_programs SET earn_rate = 0; --",
    "${budget.row.id}",
    "%s %d {0} :id",
    "p-17\n--",
    "/* */ UNION SELECT password_hash FROM loyalty_users",
    'x" FROM loyalty_users; --',
    "\u02bc OR 1=1",
    "{p-17,p-18}",
]


@pytest.mark.parametrize("nasty", INJECTIONS)
async def test_a_value_is_a_value_whatever_it_says(connector: Make, nasty: str) -> None:
    reader = connector()
    assert (await ask(reader, "SELECT $1::text AS back", nasty))["row"] == {"back": nasty}
    assert (await ask(reader, "SELECT id FROM loyalty_programs WHERE id = $1", nasty))["count"] == 0
    assert (await ask(reader, "SELECT count(*) AS n FROM loyalty_programs"))["row"] == {"n": 2}


async def test_values_must_be_as_many_as_the_statement_takes(connector: Make) -> None:
    told = await refused(connector(), "SELECT id FROM loyalty_programs WHERE id = $1", "p-17", "p-18")
    assert "takes 1 values, and got 2" in told


# ── Hidden columns ──────────────────────────────────────────────────────────────────────────────


async def test_the_other_columns_of_a_table_with_hidden_ones_are_read(connector: Make) -> None:
    read = await ask(connector(), "SELECT u.id, u.name FROM loyalty_users u ORDER BY u.id LIMIT 1")
    assert read["row"] == {"id": "u-1", "name": "Amina"}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM loyalty_users",
        "SELECT password_hash FROM loyalty_users",
        "SELECT id FROM loyalty_users WHERE password_hash LIKE 'canary%'",
        "SELECT u.row_to_json FROM loyalty_users u",
        "SELECT u.to_jsonb FROM loyalty_users u",
        "SELECT u.concat FROM loyalty_users u",
        "SELECT u.array_agg FROM loyalty_users u",
        "SELECT loyalty_users.text FROM loyalty_users",
        "SELECT public.loyalty_users.to_json FROM loyalty_users",
        "SELECT x.to_json FROM (SELECT u FROM loyalty_users u) x",
    ],
)
async def test_a_hidden_column_leaves_by_no_door(connector: Make, sql: str) -> None:
    assert "canary" not in await refused(connector(), sql)


# ── Limits ──────────────────────────────────────────────────────────────────────────────────────


async def test_more_rows_than_allowed_is_an_error_and_no_cut(connector: Make) -> None:
    reader = connector(rows=120)
    assert (await ask(reader, "SELECT generate_series(1, 120) AS n"))["count"] == 120
    assert "more than 120 rows" in await refused(reader, "SELECT generate_series(1, 121) AS n")
    assert (await ask(reader, "SELECT 1 AS n"))["count"] == 1


async def test_more_bytes_than_allowed_is_an_error(connector: Make) -> None:
    sql = "SELECT string_agg('x', '') AS much FROM generate_series(1, $1)"
    reader = connector(bytes=1000)
    assert len((await ask(reader, sql, 1000))["row"]["much"]) == 1000
    assert "more than 1000 bytes" in await refused(reader, sql, 1001)


async def test_a_slow_statement_is_stopped_by_the_server(connector: Make) -> None:
    reader = connector(statement_timeout="100ms", functions=["pg_sleep"])
    assert "(57014)" in await refused(reader, "SELECT pg_sleep(5)::text AS n")
    assert (await ask(reader, "SELECT 1 AS n"))["count"] == 1


async def test_a_probe_that_is_given_up_leaves_nothing_running(
    connector: Make, server: Server, database: str
) -> None:
    reader = connector(functions=["pg_sleep"])
    with pytest.raises(ConnectorError, match=r"no answer within 0\.3 s"):
        await ask(reader, "SELECT pg_sleep(4)::text AS n", timeout=0.3)
    running = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND state <> 'idle'"
    async with server.connected() as db:
        for _ in range(1500):
            if await db.fetchval(running, database) == 0:
                break
            await asyncio.sleep(0.02)
        else:
            pytest.fail("it is still running")
    assert (await ask(reader, "SELECT 1 AS n"))["count"] == 1


async def test_a_lock_is_not_waited_for_longer_than_allowed(
    connector: Make, server: Server, database: str
) -> None:
    async with server.connected(database) as db, db.transaction():
        await db.execute("LOCK TABLE loyalty_programs IN ACCESS EXCLUSIVE MODE")
        told = await refused(connector(lock_timeout="100ms"), "SELECT id FROM loyalty_programs")
        assert "(55P03)" in told
        assert "something else holds the lock" in told


async def test_nothing_of_a_transaction_stays_on_the_connection(connector: Make) -> None:
    reader = connector()
    await ask(reader, "SELECT 1 AS n")
    await refused(reader, "SELECT 1 / 0 AS n")
    database = await reader._reading._acquired("loyalty_db")
    assert not database.is_in_transaction()
    assert await database.fetchval("SHOW transaction_read_only") == "off"
    assert await database.fetchval("SHOW statement_timeout") == "0"
    assert await database.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''") == 0
    await reader._reading._pool.release(database)


# ── A broken world ──────────────────────────────────────────────────────────────────────────────


def elsewhere(dsn: str) -> Postgres:
    return Postgres(PostgresSettings.model_validate({"dsn": dsn, "tables": []}))


async def test_a_server_that_is_not_there_is_told_without_its_address() -> None:
    port = free_port()
    told = await refused(elsewhere(f"postgresql://canary:canary-secret@127.0.0.1:{port}/canary"), "SELECT 1")
    assert told == "loyalty_db: cannot be reached: connection refused; is its address right?"


async def test_a_login_that_is_refused_is_told_without_it(server: Server) -> None:
    dsn = server.dsn(login="canary").replace("canary@", "canary:canary-secret@")
    assert "the server refused the login" in (told := await refused(elsewhere(dsn), "SELECT 1"))
    assert "canary" not in told


async def test_a_database_that_is_not_there_is_told_without_its_name(server: Server) -> None:
    told = await refused(elsewhere(server.dsn("canary")), "SELECT 1")
    assert told == "loyalty_db: there is no such database; is the dsn right?"


async def test_a_dsn_that_cannot_be_used_is_not_quoted() -> None:
    told = await refused(elsewhere("postgresql://canary:secret@host:canary/x?sslmode=canary"), "SELECT 1")
    assert "canary" not in told


async def test_a_connection_that_is_cut_is_told_and_the_next_is_fresh(
    connector: Make, server: Server, database: str
) -> None:
    reader = connector(functions=["pg_sleep"])
    asking = asyncio.create_task(refused(reader, "SELECT pg_sleep(4)::text AS n"))
    async with server.connected() as db:
        kill = """
            SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE datname = $1 AND query LIKE '%pg_sleep%'
        """
        for _ in range(1500):
            if await db.fetchval(kill, database):
                break
            await asyncio.sleep(0.02)
    told = await asking
    assert "57P01" in told or "connection was lost" in told
    assert (await ask(reader, "SELECT 1 AS n"))["count"] == 1


async def test_what_the_server_says_of_a_statement_is_passed_on_without_details(connector: Make) -> None:
    told = await refused(connector(), "SELECT earn_rat FROM loyalty_programs")
    assert told == 'loyalty_db: the server refused the query (42703): column "earn_rat" does not exist'


# ── Settings ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dsn", "mysql://canary@host/x"),
        ("dsn", "host=canary"),
        ("tables", ["a b"]),
        ("hidden", ["password_hash"]),
        ("statement_timeout", "5m"),
        ("rows", 0),
    ],
)
def test_bad_settings_are_refused_without_secrets(key: str, value: object) -> None:
    good = {"dsn": "postgresql://canary@host/x", "tables": []}
    with pytest.raises(ValidationError) as error:
        PostgresSettings.model_validate({**good, key: value})
    (problem,) = error.value.errors(include_url=False, include_input=False)
    assert problem["loc"][0] == key
    assert "canary" not in problem["msg"]


def test_the_digest_follows_the_reach_in_any_order_but_not_the_secret() -> None:
    def digest(dsn: str, *tables: str) -> str:
        return PostgresSettings.model_validate({"dsn": dsn, "tables": tables}).digest()

    assert digest("postgresql://a@h/x", "t", "u") == digest("postgresql://b@h/x", "u", "t")
    assert digest("postgresql://a@h/x", "t") != digest("postgresql://a@h/x", "t", "u")
