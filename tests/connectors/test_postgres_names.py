"""Whose table, whose operator: what somebody else puts on the login's search_path is never ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from remediator.connectors.postgres import Postgres
from remediator.connectors.postgres.link import said
from remediator.connectors.postgres.names import standing
from remediator.connectors.postgres.rows import Place
from remediator.connectors.postgres.table import facts
from remediator.core.intention import Call
from remediator.errors import ConnectorError
from tests.connectors.changes import HALVE, Journal, act, done, execute, no_preview, preview, refused, restore
from tests.rig.postgres import Server

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql")]

Make = Callable[..., Postgres]
HALF = execute(HALVE, "p-17", Decimal("0.035"), Decimal("0.07"))


async def laid_out(server: Server, database: str, sql: str) -> None:
    async with server.connected(database) as db:
        await db.execute(sql)


async def logins(server: Server, database: str) -> tuple[str, str]:
    """Ours, and a neighbour who may create things in schema public and schemas of his own."""
    ours, neighbour = f"clerk_{database}", f"neighbour_{database}"
    await laid_out(
        server,
        database,
        f"""
        CREATE ROLE {ours} LOGIN; CREATE ROLE {neighbour} LOGIN;
        CREATE TABLE shops (id varchar(20) PRIMARY KEY, town varchar(20), n int);
        INSERT INTO shops VALUES ('a', 'Dakar', 1), ('b', 'Thies', 2);
        CREATE TABLE overheard (who text, what text);
        GRANT ALL ON ALL TABLES IN SCHEMA public TO {ours}; GRANT ALL ON overheard TO PUBLIC;
        GRANT CREATE ON SCHEMA public TO {neighbour}; GRANT CREATE ON DATABASE {database} TO {neighbour};
        GRANT SELECT ON loyalty_programs TO {neighbour}
        """,
    )
    return ours, neighbour


async def by(server: Server, database: str, login: str, sql: str) -> None:
    db = await asyncpg.connect(server.dsn(database, login))
    try:
        await db.execute(sql)
    finally:
        await db.close()


async def read(connector: Postgres, sql: str, *args: object) -> list[dict[str, Any]]:
    call = Call("postgres.query", "loyalty_db", {"sql": sql, "args": list(args)})
    rows: list[dict[str, Any]] = (await connector.read(call, timeout=20))["rows"]
    return rows


# ── Operators ───────────────────────────────────────────────────────────────────────────────────

HEARS = """
    CREATE FUNCTION public.hears(varchar, varchar) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
        BEGIN INSERT INTO public.overheard VALUES (current_user, $1);
        EXCEPTION WHEN read_only_sql_transaction THEN NULL; END;
        RETURN true;
    END $$;
    CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = public.hears);
"""


@pytest.mark.parametrize("path", ['"$user", public', "public, pg_catalog"])
async def test_nobodys_operator_runs_as_our_login(
    connector: Make, server: Server, database: str, path: str
) -> None:
    ours, neighbour = await logins(server, database)
    await laid_out(server, database, f"ALTER ROLE {ours} SET search_path = {path}")
    await by(server, database, neighbour, HEARS)
    clerk = connector(tables=["shops"], dsn=server.dsn(database, ours))
    assert await read(clerk, "SELECT id FROM shops WHERE town = $1", "Dakar") == [{"id": "a"}]
    assert await read(clerk, "SELECT id FROM shops WHERE town = id") == []
    move = execute("UPDATE shops SET town = $2 WHERE town = $1", "Dakar", "Touba")
    picture = await preview(clerk, move)
    assert [row["key"] for row in picture.rows] == [{"id": "a"}]
    result = await done(clerk, move, shown=picture)
    assert (await done(clerk, restore(result)))["restored"] == 1
    assert await read(clerk, "SELECT id, town FROM shops ORDER BY id") == [
        {"id": "a", "town": "Dakar"},
        {"id": "b", "town": "Thies"},
    ]
    async with server.connected(database) as db:
        assert await db.fetch("SELECT * FROM overheard") == []


CATALOGUE = """
    CREATE FUNCTION public.never({0}, {1}) RETURNS boolean LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'heard'; END $$;
    CREATE OPERATOR public.= (LEFTARG = {0}, RIGHTARG = {1}, FUNCTION = public.never);
"""


FUNCTION = """
    CREATE FUNCTION public.{} RETURNS pg_lsn LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'heard'; END $$
"""


async def test_not_even_the_catalogue_is_read_by_somebody_elses_operators(
    connector: Make, server: Server, database: str
) -> None:
    ours, neighbour = await logins(server, database)
    kinds = [("oid", "oid"), ("oid", "regclass"), ("name", "text"), ("name", "name"), ("text", "text"),
             ("bigint", "bigint"), ('"char"', "text"), ("smallint", "smallint")]  # fmt: skip
    for left, right in kinds:
        await by(server, database, neighbour, CATALOGUE.format(left, right))
    for function in ("pg_logical_emit_message(boolean, text, text)", "pg_current_wal_flush_lsn()"):
        await by(server, database, neighbour, FUNCTION.format(function))
    await laid_out(
        server,
        database,
        f"ALTER ROLE {ours} SET search_path = public, pg_catalog; GRANT pg_monitor TO {ours}",
    )
    clerk = connector(tables=["shops"], dsn=server.dsn(database, ours))
    move = execute("UPDATE shops SET town = $2 WHERE id = $1", "a", "Touba")
    journal = Journal()
    result = await done(clerk, move, shown=await preview(clerk, move), journal=journal)
    assert (await done(clerk, restore(result)))["restored"] == 1
    assert await clerk.inquire(move, journal.marks[0], timeout=5) is not None
    stuck = Call(
        "postgres.terminate",
        "loyalty_db",
        {"state": "active", "longer_than": "1h", "rows": {"at_most": 1}},
    )
    assert (await clerk.preview(stuck, timeout=5)).count == 0
    analyze = Call("postgres.maintain", "loyalty_db", {"task": "analyze", "table": "shops"})
    assert "only the owner of shops may do that" in await refused(clerk, analyze)
    await laid_out(server, database, f"ALTER TABLE shops OWNER TO {ours}")
    await done(clerk, analyze)


# ── What is told of an error ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code", ["P0001", "22023", "ZX001"])
async def test_an_error_that_somebodys_function_raises_carries_no_row_out(
    connector: Make, server: Server, database: str, code: str
) -> None:
    await laid_out(
        server,
        database,
        f"""
        CREATE FUNCTION tells() RETURNS text LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION USING ERRCODE = '{code}',
                MESSAGE = (SELECT min(password_hash) FROM public.loyalty_users);
        END $$;
        """,
    )
    with pytest.raises(ConnectorError) as error:
        await read(connector(functions=["tells"]), "SELECT tells() AS told")
    assert str(error.value) == f"loyalty_db: the server refused the query ({code})"


async def test_an_error_that_is_none_of_the_servers_own_is_told_by_its_number_whoever_raised_it() -> None:
    assert said(asyncpg.RaiseError("canary")) == ""
    assert said(asyncpg.UniqueViolationError("duplicate key")) == "duplicate key"


# ── Listed functions ────────────────────────────────────────────────────────────────────────────


async def test_a_listed_function_is_found_by_the_logins_search_path_or_by_its_schema(
    connector: Make, server: Server, database: str
) -> None:
    await laid_out(
        server,
        database,
        """
        CREATE SCHEMA audit; CREATE FUNCTION audit.digest(text) RETURNS text LANGUAGE sql AS 'SELECT md5($1)';
        CREATE FUNCTION public.tier(int) RETURNS text LANGUAGE sql AS $$ SELECT 'gold' $$;
        """,
    )
    reader = connector(functions=["tier", "audit.digest", "nowhere"])
    assert await read(reader, "SELECT tier(1) AS tier, audit.digest('a') = md5('a') AS same") == [
        {"tier": "gold", "same": True}
    ]
    with pytest.raises(ConnectorError, match=r"there is no function nowhere\(\); is its schema"):
        await read(reader, "SELECT nowhere() AS a")


async def test_a_listed_function_that_somebody_else_has_overloaded_is_not_called(
    connector: Make, server: Server, database: str
) -> None:
    _ours, neighbour = await logins(server, database)
    await laid_out(server, database, "CREATE FUNCTION tier(text) RETURNS text LANGUAGE sql AS 'SELECT $1'")
    reader = connector(tables=["shops"], functions=["tier", "public.tier"])
    assert await read(reader, "SELECT tier(id) AS tier FROM shops WHERE id = 'a'") == [{"tier": "a"}]
    overload = "CREATE FUNCTION public.tier(varchar) RETURNS text LANGUAGE sql AS $$ SELECT 'evil' $$"
    await by(server, database, neighbour, overload)
    for called in ("tier", "public.tier"):
        with pytest.raises(ConnectorError, match=r"there are functions public.tier\(\) of several owners"):
            await read(reader, f"SELECT {called}(id) AS tier FROM shops")


# ── Tables ──────────────────────────────────────────────────────────────────────────────────────

SHADOW = """
    CREATE SCHEMA {0}; GRANT USAGE ON SCHEMA {0} TO PUBLIC;
    CREATE TABLE {0}.loyalty_programs (LIKE public.loyalty_programs INCLUDING ALL);
    INSERT INTO {0}.loyalty_programs SELECT * FROM public.loyalty_programs;
    GRANT ALL ON {0}.loyalty_programs TO PUBLIC
"""


async def rates(server: Server, database: str, schema: str = "public") -> list[Decimal]:
    async with server.connected(database) as db:
        found = await db.fetch(f"SELECT earn_rate FROM {schema}.loyalty_programs WHERE id = 'p-17'")
        return [row[0] for row in found]


async def test_what_people_approved_of_one_table_is_not_done_to_another(
    connector: Make, server: Server, database: str
) -> None:
    ours, neighbour = await logins(server, database)
    clerk, journal = connector(dsn=server.dsn(database, ours)), Journal()
    picture = await preview(clerk, HALF)
    assert picture.text.startswith("UPDATE of 1 row in public.loyalty_programs")
    await by(server, database, neighbour, SHADOW.format(ours))
    told = await refused(clerk, HALF, shown=picture, journal=journal)
    assert told.startswith(
        "never sent: it would do something else than was approved: UPDATE of 1 row in clerk_"
    )
    assert journal.marks == []
    assert await rates(server, database) == await rates(server, database, ours) == [Decimal("0.07")]


async def test_what_was_changed_in_one_table_is_not_taken_back_in_another(
    connector: Make, server: Server, database: str
) -> None:
    ours, neighbour = await logins(server, database)
    clerk, journal = connector(dsn=server.dsn(database, ours)), Journal()
    result = await done(clerk, HALF)
    await by(server, database, neighbour, SHADOW.format(ours))
    told = await refused(clerk, restore(result), journal=journal)
    assert "public.loyalty_programs (oid " in told
    assert f"loyalty_programs is {ours}.loyalty_programs (oid " in told
    assert journal.marks == []
    assert await rates(server, database) == await rates(server, database, ours) == [Decimal("0.035")]
    await by(server, database, neighbour, f"DROP SCHEMA {ours} CASCADE")
    assert (await done(clerk, restore(result)))["restored"] == 1


async def test_a_table_that_was_made_anew_is_another_one(
    connector: Make, server: Server, database: str
) -> None:
    clerk = connector()
    result = await done(clerk, execute("UPDATE loyalty_users SET name = $1 WHERE id = $2", "A.", "u-1"))
    await laid_out(
        server,
        database,
        """
        ALTER TABLE loyalty_users RENAME TO was;
        CREATE TABLE loyalty_users (LIKE was INCLUDING ALL); INSERT INTO loyalty_users SELECT * FROM was
        """,
    )
    assert "public.loyalty_users (oid " in await refused(clerk, restore(result))


async def test_a_table_that_is_replaced_between_its_name_and_its_facts_is_not_touched(
    connector: Make,
) -> None:
    changer = connector()
    async with changer._changing.transaction("loyalty_db") as within:
        place = Place("loyalty_db", changer._settings, within)
        found = await standing(place, ["loyalty_users", "loyalty_programs"])
        other = replace(found["loyalty_users"], oid=found["loyalty_programs"].oid)
        with pytest.raises(ConnectorError, match=r"public\.loyalty_users was replaced just now"):
            await facts(place, other)


async def test_a_table_is_found_where_the_logins_search_path_finds_it(
    connector: Make, server: Server, database: str
) -> None:
    ours, _neighbour = await logins(server, database)
    await laid_out(
        server,
        database,
        f"""
        CREATE SCHEMA "Odd One"; CREATE TABLE "Odd One".shops (LIKE shops INCLUDING ALL);
        INSERT INTO "Odd One".shops VALUES ('c', 'Kaolack', 3);
        GRANT USAGE ON SCHEMA "Odd One" TO {ours}; GRANT ALL ON "Odd One".shops TO {ours};
        ALTER ROLE {ours} SET search_path = nowhere, "Odd One", public
        """,
    )
    clerk = connector(tables=["shops", "public.shops", "loyalty_users"], dsn=server.dsn(database, ours))
    assert await read(clerk, "SELECT shops.id FROM shops") == [{"id": "c"}]
    assert await read(clerk, "SELECT count(*) AS n FROM public.shops") == [{"n": 2}]
    assert (await preview(clerk, execute("UPDATE shops SET n = $1 WHERE n = $2", 4, 3))).text == (
        "UPDATE of 1 row in Odd One.shops"
    )
    other = execute("UPDATE public.shops s SET n = $1 WHERE s.n = $2", 4, 1)
    assert (await done(clerk, other, shown=await preview(clerk, other)))["rows"] == 1
    await act(clerk, execute("DELETE FROM shops WHERE id = $1", "c"))
    assert await read(clerk, "SELECT count(*) AS n FROM shops") == [{"n": 0}]
    assert "there is no table 'nothing'" in await no_preview(
        connector(tables=["nothing"]), execute("DELETE FROM nothing WHERE id = $1", 1)
    )
