"""What is derived from a change, against a real PostgreSQL: the preview tells what the act will do."""

# ruff: noqa: E501 - in a table of cases, one line is one case
from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from remediator.core.catalog import Reach
from remediator.core.sql.change import Change, change
from remediator.core.sql.picture import Derived, changing, holding, locking, looking, restoring
from remediator.core.sql.table import Column, Table, objection
from tests.rig.postgres import Server

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql")]

REACH = Reach(frozenset({"loyalty_programs", "loyalty_campaigns", "loyalty_transactions", "Odd.Table"}))
RATE = "UPDATE loyalty_programs SET earn_rate = $2, updated_at = now() WHERE id = $1 AND earn_rate = $3"
ODD = """
CREATE SCHEMA "Odd";
CREATE TABLE "Odd"."Table" (
    "Key 1" varchar(10), "k""2" int, "where" text, doubled int GENERATED ALWAYS AS ("k""2" * 2) STORED,
    PRIMARY KEY ("Key 1", "k""2")
);
INSERT INTO "Odd"."Table" VALUES ('b', 1, 'x'), ('a', 2, 'x'), ('a', 1, 'y');
"""


@pytest.fixture
async def db(server: Server, database: str) -> AsyncIterator[Any]:
    async with server.connected(database) as connection:
        await connection.execute(ODD)
        yield connection


async def facts(db: Any, name: str) -> Table:
    """As much of the catalogue as these stories need."""
    columns = await db.fetch(
        "SELECT attname::text AS name, format_type(atttypid, atttypmod) AS type, typname::text AS base,"
        " attgenerated <> '' AS generated, attidentity AS identity"
        " FROM pg_attribute JOIN pg_type t ON t.oid = atttypid"
        " WHERE attrelid = $1::text::regclass AND attnum > 0 ORDER BY attnum",
        name,
    )
    key = await db.fetch(
        "SELECT attname::text FROM pg_index, unnest(indkey) WITH ORDINALITY AS k (number, place)"
        " JOIN pg_attribute ON attnum = number"
        " WHERE indrelid = $1::text::regclass AND attrelid = indrelid AND indisprimary ORDER BY place",
        name,
    )
    known = {
        one["name"]: Column(
            one["name"],
            one["type"],
            one["base"],
            one["generated"],
            "always" if one["identity"] == b"a" else "",
        )
        for one in columns
    }
    return Table(name, tuple(one[0] for one in key), known)


def read(text: str) -> Change:
    found = change(text, REACH)
    assert isinstance(found, Change), found
    return found


async def asked(db: Any, derived: Derived, *args: object) -> list[dict[tuple[str, str], Any]]:
    rows = await db.fetch(derived.text, *args)
    return [dict(zip(derived.columns, row, strict=True)) for row in rows]


async def test_the_preview_of_the_runbooks_change_is_what_it_does(db: Any) -> None:
    table, rate = await facts(db, '"public"."loyalty_programs"'), read(RATE)
    assert objection(rate, table, restores=True) == ""
    args = ("p-17", Decimal("0.035"), Decimal("0.07"))
    (seen,) = await asked(db, looking(rate, table), *args, 2)
    assert seen["key", "id"] == "p-17"
    assert (seen["before", "earn_rate"], seen["after", "earn_rate"]) == (Decimal("0.0700"), Decimal("0.0350"))
    (locked,) = await asked(db, locking(rate, table), *args, 2)
    assert {part: value for part, value in locked.items() if part[0] != "varies"} == {
        part: value for part, value in seen.items() if part[0] != "varies"
    }
    (done,) = await asked(db, changing(rate, table), *args)
    assert done["after", "earn_rate"] == seen["after", "earn_rate"]
    assert await asked(db, looking(rate, table), *args, 2) == []  # a second time there is nothing to do
    (held,) = await asked(db, holding(rate, table), "p-17")
    assert held == {("key", "id"): "p-17", ("after", "earn_rate"): Decimal("0.0350")}
    (back,) = await asked(db, restoring(rate, table), seen["before", "earn_rate"], "p-17")
    assert back == {("key", "id"): "p-17"}
    assert await db.fetchval("SELECT earn_rate FROM loyalty_programs WHERE id = 'p-17'") == Decimal("0.0700")


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ("UPDATE loyalty_programs SET earn_rate = 0.01234 WHERE id IN ($1, 'p-18')", ["p-17"]),
        ("UPDATE loyalty_programs SET earn_rate = earn_rate / 3 WHERE id = $1 AND earn_rate = $2", ["p-17", Decimal("0.07")]),
        ("UPDATE loyalty_programs p SET name = upper(p.name) || ', (é)', status = CASE WHEN p.budget_spent > $2 THEN 'used' ELSE p.name END WHERE p.id = $1 AND name = $3 AND p.status = $4", ["p-17", 10, "Teranga", "active"]),
        ("UPDATE loyalty_programs SET name = $1, status = $1 WHERE id = $2 AND name <> $1", ["New", "p-17"]),
        ("UPDATE loyalty_programs SET status = budget_limit::text WHERE budget_spent BETWEEN $1 AND 30000", [0]),
        ("UPDATE loyalty_programs SET updated_at = '2026-01-01' WHERE lower(name) LIKE 'ter%'", []),
    ],
)  # fmt: skip
async def test_a_preview_tells_the_rows_and_values_of_the_act(db: Any, text: str, args: list[Any]) -> None:
    table, found = await facts(db, '"public"."loyalty_programs"'), read(text)
    seen = await asked(db, looking(found, table), *args, 100)
    done = await asked(db, changing(found, table), *args)
    kept = {"key", "after"}
    assert seen
    assert [{part: row[part] for part in row if part[0] in kept} for row in seen] == sorted(
        done, key=lambda row: row["key", "id"]
    )


async def test_no_more_rows_are_read_than_were_asked_for_and_in_the_order_of_the_key(db: Any) -> None:
    table, found = (
        await facts(db, '"Odd"."Table"'),
        read('DELETE FROM "Odd"."Table" AS "T" WHERE "T"."k""2" > 0'),
    )
    seen = await asked(db, looking(found, table), 2)
    assert [(row["key", "Key 1"], row["key", 'k"2']) for row in seen] == [("a", 1), ("a", 2)]
    assert [row["before", "doubled"] for row in seen] == [2, 4]


async def test_a_row_that_was_deleted_comes_back_as_it_was_and_only_once(db: Any) -> None:
    table = await facts(db, '"Odd"."Table"')
    found = read('DELETE FROM "Odd"."Table" WHERE "where" = $1 AND "k""2" = 2')
    (seen,) = await asked(db, locking(found, table), "x", 10)
    (done,) = await asked(db, changing(found, table), "x")
    assert done.items() <= seen.items()
    assert await asked(db, holding(found, table), "a", 2) == []
    way_back = restoring(found, table)
    values = [seen[part] for part in way_back.params]
    assert await asked(db, way_back, *values) == [done]
    assert await asked(db, way_back, *values) == []
    assert (
        await db.fetchval('SELECT "where" || doubled FROM "Odd"."Table" WHERE "Key 1" = \'a\' AND "k""2" = 2')
        == "x4"
    )


async def test_an_identity_that_the_database_gives_comes_back_too(db: Any) -> None:
    table = await facts(db, '"public"."loyalty_transactions"')
    found = read("DELETE FROM loyalty_transactions WHERE id = $1")
    (seen,) = await asked(db, locking(found, table), 7, 2)
    await asked(db, changing(found, table), 7)
    way_back = restoring(found, table)
    assert "OVERRIDING SYSTEM VALUE" in way_back.text
    assert await asked(db, way_back, *(seen[part] for part in way_back.params)) == [{("key", "id"): 7}]


async def test_rows_of_an_insert_are_shown_as_the_columns_will_hold_them(db: Any) -> None:
    table = await facts(db, '"public"."loyalty_programs"')
    found = read(
        "INSERT INTO loyalty_programs (id, name, earn_rate, budget_limit, updated_at)"
        " VALUES ($1, upper($2), 0.012345, 5, now()), ($3, 'b', $4, 10 / 4.0, current_timestamp)"
    )
    args = ("p-1", "a", "p-2", Decimal("0.5"))
    seen = await asked(db, looking(found, table), *args)
    assert [row["key", "id"] for row in seen] == ["p-1", "p-2"]
    assert [row["after", "earn_rate"] for row in seen] == [Decimal("0.0123"), Decimal("0.5000")]
    done = await asked(db, changing(found, table), *args)
    for row, made in zip(seen, done, strict=True):
        assert {part: value for part, value in row.items() if part[0] != "varies"}.items() <= made.items()
    assert done[0]["after", "status"] == "active"
    assert await asked(db, holding(found, table), "p-1") == [done[0]]
    assert await asked(db, restoring(found, table), "p-1") == [{("key", "id"): "p-1"}]
    assert await asked(db, holding(found, table), "p-1") == []


async def test_a_row_that_is_locked_stays_as_it_was_seen(server: Server, database: str, db: Any) -> None:
    table, rate = await facts(db, '"public"."loyalty_programs"'), read(RATE)
    async with server.connected(database) as other:
        await db.execute("BEGIN")
        assert await asked(db, locking(rate, table), "p-17", Decimal("0.035"), Decimal("0.07"), 2)
        await other.execute("SET lock_timeout = 100")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await other.execute("UPDATE loyalty_programs SET earn_rate = 0.01 WHERE id = 'p-17'")
        await other.execute("UPDATE loyalty_programs SET earn_rate = 0.01 WHERE id = 'p-18'")
        await db.execute("ROLLBACK")


async def test_values_have_the_types_in_the_preview_that_they_have_in_the_act(db: Any) -> None:
    table = await facts(db, '"public"."loyalty_campaigns"')
    found = read("UPDATE loyalty_campaigns SET users_awarded = $1 WHERE total_points_awarded = $1")
    types = []
    for derived in (changing(found, table), looking(found, table), locking(found, table)):
        statement = await db.prepare(derived.text)
        types.append([kind.name for kind in statement.get_parameters()][: found.args])
    assert types == [["int8"]] * 3  # of the column in WHERE, not of the one that is set


async def test_the_preview_looks_through_the_index_as_the_act_does(db: Any) -> None:
    table, rate = await facts(db, '"public"."loyalty_programs"'), read(RATE)
    await db.execute("SET enable_seqscan = off")
    for derived in (looking(rate, table), locking(rate, table)):
        await db.execute(f"PREPARE it AS {derived.text}")
        plan = "\n".join(one[0] for one in await db.fetch("EXPLAIN EXECUTE it ('p-17', 0.035, 0.07, 2)"))
        assert "Index Scan using loyalty_programs_pkey" in plan
        assert "Subquery Scan" not in plan
        assert ("LockRows" in plan) is derived.text.endswith("FOR UPDATE")
        await db.execute("DEALLOCATE it")
