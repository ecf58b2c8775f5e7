"""postgres.restore: what an act changed is taken back, and nothing that anybody wrote since."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from remediator.connectors.postgres import Postgres
from remediator.core.intention import Call
from remediator.core.messages import Done
from tests.connectors.changes import HALVE, Journal, act, done, execute, refused, restore
from tests.rig.postgres import Server

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql")]

Make = Callable[..., Postgres]
HALF = execute(HALVE, "p-17", Decimal("0.035"), Decimal("0.07"))
BOTH = execute(
    "UPDATE loyalty_programs SET earn_rate = $1, status = $2 WHERE earn_rate > $1", 0.01, "low", rows=2
)
GONE = execute("DELETE FROM loyalty_campaigns WHERE status = $1", "scheduled", rows=2)
NEW = execute(
    """INSERT INTO loyalty_programs (id, name, earn_rate, budget_limit, updated_at)
    VALUES ($1, $2, $3, $4, now())""",
    "p-19", "Niokolo", 0.02, 5,
)  # fmt: skip


async def sql(server: Server, database: str, text: str) -> list[dict[str, Any]]:
    async with server.connected(database) as db:
        return [dict(row) for row in await db.fetch(text)]


PROGRAMS = "SELECT id, name, status, earn_rate, budget_limit, budget_spent FROM loyalty_programs ORDER BY id"
CAMPAIGNS = "SELECT * FROM loyalty_campaigns ORDER BY id"


async def undone(connector: Postgres, result: dict[str, Any]) -> Done:
    found = await act(connector, restore(result))
    assert isinstance(found, Done), found
    return found


@pytest.mark.parametrize("change", [HALF, BOTH, GONE, NEW], ids=["one", "both", "gone", "new"])
async def test_what_nobody_touched_since_is_as_it_was(
    connector: Make, server: Server, database: str, change: Call
) -> None:
    before = [await sql(server, database, PROGRAMS), await sql(server, database, CAMPAIGNS)]
    changer = connector()
    result = await done(changer, change)
    assert [await sql(server, database, PROGRAMS), await sql(server, database, CAMPAIGNS)] != before
    back = await undone(changer, result)
    assert [await sql(server, database, PROGRAMS), await sql(server, database, CAMPAIGNS)] == before
    assert [back.left, back.result["restored"]] == ["", result["rows"]]


@pytest.mark.parametrize("change", [HALF, BOTH, GONE, NEW], ids=["one", "both", "gone", "new"])
async def test_taken_back_twice_is_taken_back_once(connector: Make, change: Call) -> None:
    changer = connector()
    result = await done(changer, change)
    await undone(changer, result)
    again = await undone(changer, result)
    assert again.result["restored"] == 0
    assert (again.left == "") == (change is not GONE)


async def test_what_somebody_changed_since_is_left_alone_and_told(
    connector: Make, server: Server, database: str
) -> None:
    changer = connector()
    result = await done(changer, BOTH)
    await sql(server, database, "UPDATE loyalty_programs SET earn_rate = 0.02 WHERE id = 'p-18'")
    back = await undone(changer, result)
    assert back.left == "1 of 2 rows left alone: id=p-18 holds earn_rate 0.0200, not 0.0100"
    assert back.result["rows"] == [{"id": "p-17"}]
    (left,) = back.result["left"]
    assert left["expected"] == {"earn_rate": Decimal("0.0100"), "status": "low"}
    assert left["found"] == {"earn_rate": Decimal("0.0200"), "status": "low"}
    now = {row["id"]: (row["earn_rate"], row["status"]) for row in await sql(server, database, PROGRAMS)}
    assert now == {"p-17": (Decimal("0.07"), "active"), "p-18": (Decimal("0.02"), "low")}


async def test_what_was_changed_beside_the_columns_that_were_set_is_kept(
    connector: Make, server: Server, database: str
) -> None:
    changer = connector()
    result = await done(changer, HALF)
    await sql(server, database, "UPDATE loyalty_programs SET budget_spent = 970000, updated_at = now()")
    assert (await undone(changer, result)).left == ""
    (program, _) = await sql(server, database, PROGRAMS)
    assert [program["earn_rate"], program["budget_spent"]] == [Decimal("0.07"), Decimal(970000)]


async def test_drift_is_judged_by_what_the_server_returned_and_not_by_what_was_sent(
    connector: Make, server: Server, database: str
) -> None:
    changer = connector()
    rounded = execute("UPDATE loyalty_programs SET earn_rate = $1 WHERE id = $2", Decimal("0.034999"), "p-17")
    result = await done(changer, rounded)
    assert result["changed"][0]["after"] == {"earn_rate": Decimal("0.0350")}
    assert (await undone(changer, result)).left == ""
    assert (await sql(server, database, PROGRAMS))[0]["earn_rate"] == Decimal("0.07")


async def test_a_row_that_is_gone_is_told(connector: Make, server: Server, database: str) -> None:
    changer = connector()
    result = await done(changer, execute("UPDATE loyalty_users SET name = $1 WHERE id = $2", "A.", "u-1"))
    await sql(server, database, "DELETE FROM loyalty_users WHERE id = 'u-1'")
    assert (await undone(changer, result)).left == "1 of 1 row left alone: id=u-1 is gone"


async def test_a_new_row_that_somebody_touched_since_stays(
    connector: Make, server: Server, database: str
) -> None:
    changer = connector()
    result = await done(changer, NEW)
    await sql(server, database, "UPDATE loyalty_programs SET budget_spent = 1 WHERE id = 'p-19'")
    told = "1 of 1 row left alone: id=p-19 holds budget_spent 1.00, not 0.00"
    assert (await undone(changer, result)).left == told
    assert len(await sql(server, database, PROGRAMS)) == 3


async def test_a_deleted_row_whose_key_is_taken_stays_gone(
    connector: Make, server: Server, database: str
) -> None:
    changer = connector()
    result = await done(changer, GONE)
    await sql(
        server,
        database,
        """
        INSERT INTO loyalty_campaigns (id, program_id, name, campaign_type, start_date, status)
        VALUES ('c-1', 'p-17', 'Another', 'bonus', now(), 'draft')
        """,
    )
    back = await undone(changer, result)
    assert back.left == "1 of 2 rows left alone: id=c-1 is there again"
    assert [row["name"] for row in await sql(server, database, CAMPAIGNS)] == ["Another", "Korite"]


async def test_many_rows_that_are_left_alone_are_told_in_few_words(
    connector: Make, server: Server, database: str
) -> None:
    await sql(server, database, "CREATE TABLE many (id int PRIMARY KEY, n int)")
    await sql(server, database, "INSERT INTO many SELECT n, 1 FROM generate_series(1, 20) n")
    changer = connector(tables=["many"])
    result = await done(changer, execute("UPDATE many SET n = $1 WHERE id > $2", 2, 0, rows=20))
    await sql(server, database, "UPDATE many SET n = 3 WHERE id > 10")
    back = await undone(changer, result)
    holds = "; ".join(f"id={n} holds n 3, not 2" for n in (11, 12, 13))
    assert back.left == f"10 of 20 rows left alone: {holds}; and 7 more"
    assert [back.result["restored"], len(back.result["left"])] == [10, 10]


TRIGGER = """
    CREATE FUNCTION n() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
    CREATE TRIGGER x BEFORE UPDATE ON loyalty_programs FOR EACH ROW EXECUTE FUNCTION n()
"""


@pytest.mark.parametrize(
    ("altered", "told"),
    [
        (
            "ALTER TABLE loyalty_programs ALTER earn_rate TYPE numeric(8,6)",
            "loyalty_programs.earn_rate was altered since: it was numeric(6,4)",
        ),
        ("ALTER TABLE loyalty_programs RENAME earn_rate TO rate", "earn_rate"),
        (TRIGGER, "a trigger fires on update"),
        ("DROP TABLE loyalty_programs CASCADE", "loyalty_programs"),
    ],
)
async def test_a_table_that_was_altered_since_is_left_to_people(
    connector: Make, server: Server, database: str, altered: str, told: str
) -> None:
    changer, journal = connector(), Journal()
    result = await done(changer, HALF)
    async with server.connected(database) as db:
        await db.execute(altered)
    assert told in await refused(changer, restore(result), journal=journal)
    assert journal.marks == []


ADDED = "ALTER TABLE %s ADD COLUMN note text DEFAULT 'somebody wrote this'"
KEYED = "ALTER TABLE loyalty_programs DROP CONSTRAINT loyalty_programs_pkey CASCADE, ADD PRIMARY KEY (%s)"


@pytest.mark.parametrize(
    ("change", "altered", "told"),
    [
        (NEW, ADDED % "loyalty_programs", "loyalty_programs.note was added or altered since"),
        (GONE, ADDED % "loyalty_campaigns", "loyalty_campaigns.note was added or altered since"),
        *(
            (change, KEYED % key, f"the primary key of loyalty_programs is {key} now: it was id")
            for change in (HALF, NEW)
            for key in ("name", "id, name", "name, id")
        ),
    ],
)
async def test_a_table_with_another_column_or_key_is_left_to_people(
    connector: Make, server: Server, database: str, change: Call, altered: str, told: str
) -> None:
    """Whole rows are deleted or inserted, by their key: what nobody knew of would be lost or made up."""
    changer, journal = connector(), Journal()
    result = await done(changer, change)
    async with server.connected(database) as db:
        await db.execute(altered)
    before = [await sql(server, database, PROGRAMS), await sql(server, database, CAMPAIGNS)]
    assert await refused(changer, restore(result), journal=journal) == f"never committed: {told}"
    assert journal.marks == []
    assert [await sql(server, database, PROGRAMS), await sql(server, database, CAMPAIGNS)] == before


async def test_a_column_that_an_update_did_not_set_may_be_added_since(
    connector: Make, server: Server, database: str
) -> None:
    changer = connector()
    result = await done(changer, HALF)
    await sql(server, database, ADDED % "loyalty_programs")
    assert (await undone(changer, result)).result["restored"] == 1


async def test_an_undo_marks_itself_and_may_be_told_not_to_become_final(
    connector: Make, server: Server, database: str
) -> None:
    changer, journal = connector(), Journal(no="undos are halted")
    result = await done(changer, HALF)
    assert "undos are halted" in await refused(changer, restore(result), journal=journal)
    assert (await sql(server, database, PROGRAMS))[0]["earn_rate"] == Decimal("0.035")


async def test_an_undo_that_is_not_one_is_refused(connector: Make) -> None:
    told = await refused(connector(), Call("postgres.restore", "loyalty_db", {"rows": "all"}))
    assert told == "never sent: this is not what postgres.execute returned"


@pytest.mark.parametrize("change", [HALF, GONE, NEW], ids=["one", "gone", "new"])
@pytest.mark.parametrize("without", ["key", "types", "rows", "its key", "its before", "its after", "values"])
async def test_an_undo_from_which_something_was_lost_is_refused(
    connector: Make, change: Call, without: str
) -> None:
    changer, journal = connector(), Journal()
    owed = (await done(changer, change))["restore"]
    match without.split():
        case ["its", part]:
            del owed["rows"][0][part]
        case ["values"]:
            owed["rows"][0] = {"key": {}, "before": {}, "after": {}}
        case _:
            del owed[without]
    told = await refused(changer, Call("postgres.restore", "loyalty_db", owed), journal=journal)
    assert "this is not what postgres.execute returned" in told
    assert journal.marks == []


async def test_a_row_that_a_writer_holds_is_waited_for_no_longer_than_allowed(
    connector: Make, server: Server, database: str
) -> None:
    changer = connector(lock_timeout="200ms")
    result = await done(changer, BOTH)
    async with server.connected(database) as db:
        await db.execute("BEGIN; UPDATE loyalty_programs SET earn_rate = 0.09 WHERE id = 'p-18'")
        assert "(55P03)" in await refused(changer, restore(result))
        await db.execute("COMMIT")
    assert (await sql(server, database, PROGRAMS))[0]["earn_rate"] == Decimal("0.01")  # all or nothing
    assert "id=p-18" in (await undone(changer, result)).left


async def test_a_writer_that_comes_between_is_never_stomped(
    connector: Make, server: Server, database: str
) -> None:
    changer = connector(lock_timeout="5s")
    result = await done(changer, HALF)
    async with server.connected(database) as db:
        await db.execute("BEGIN; UPDATE loyalty_programs SET earn_rate = 0.09 WHERE id = 'p-17'")
        undoing = asyncio.create_task(act(changer, restore(result)))
        await asyncio.sleep(0.3)
        await db.execute("COMMIT")
    found = await undoing
    assert isinstance(found, Done), found
    assert found.left == "1 of 1 row left alone: id=p-17 holds earn_rate 0.0900, not 0.0350"


# ── One row that cannot be as it was ────────────────────────────────────────────────────────────


async def laid_out(server: Server, database: str, text: str) -> None:
    async with server.connected(database) as db:
        await db.execute(text)


SEATS = """
    CREATE TABLE seats (id int PRIMARY KEY, n int, CONSTRAINT one_each UNIQUE (n) {});
    INSERT INTO seats VALUES (1, 10), (2, 20), (3, 30), (4, NULL)
"""


@pytest.mark.parametrize("deferred", ["", "DEFERRABLE INITIALLY DEFERRED"])
async def test_one_row_with_a_conflict_is_left_alone_and_all_others_are_restored(
    connector: Make, server: Server, database: str, deferred: str
) -> None:
    await laid_out(server, database, SEATS.format(deferred))
    changer = connector(tables=["seats"])
    free = execute("UPDATE seats SET n = $1 WHERE n >= $2", None, 1, rows=3)
    result = await done(changer, free)
    await sql(server, database, "UPDATE seats SET n = 20 WHERE id = 4")
    back = await undone(changer, result)
    assert back.left == (
        "1 of 3 rows left alone: id=2 cannot be as it was: "
        'duplicate key value violates unique constraint "one_each" (23505)'
    )
    assert [back.result["restored"], back.result["rows"]] == [2, [{"id": 1}, {"id": 3}]]
    now = await sql(server, database, "SELECT n FROM seats ORDER BY id")
    assert [row["n"] for row in now] == [10, None, 30, 20]


async def test_a_deleted_row_whose_other_is_gone_too_is_named(
    connector: Make, server: Server, database: str
) -> None:
    changer = connector()
    result = await done(changer, GONE)
    await sql(server, database, "DELETE FROM loyalty_programs WHERE id = 'p-18'")
    back = await undone(changer, result)
    assert back.left.startswith(
        "1 of 2 rows left alone: id=c-2 cannot be as it was: insert or update on table"
    )
    assert [row["id"] for row in await sql(server, database, CAMPAIGNS)] == ["c-1"]


async def test_rows_that_need_each_other_come_back_whatever_their_order(
    connector: Make, server: Server, database: str
) -> None:
    await laid_out(
        server,
        database,
        """
        CREATE TABLE tree (id int PRIMARY KEY, up int REFERENCES tree);
        INSERT INTO tree VALUES (9, NULL), (5, 9), (1, 5), (3, 1)
        """,
    )
    changer = connector(tables=["tree"])
    result = await done(changer, execute("DELETE FROM tree WHERE id > $1", 0, rows=4))
    back = await undone(changer, result)
    assert [back.left, back.result["restored"]] == ["", 4]
    assert len(await sql(server, database, "SELECT FROM tree")) == 4


async def test_a_moment_is_the_same_in_every_time_zone(
    connector: Make, server: Server, database: str
) -> None:
    login = f"clerk_{database}"
    await laid_out(
        server, database, f"CREATE ROLE {login} LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO {login}"
    )
    changer = connector(dsn=server.dsn(database, login))
    end = execute(
        "UPDATE loyalty_campaigns SET end_date = $1 WHERE id = $2", "2026-02-01T00:00:00+03:00", "c-1"
    )
    result = await done(changer, end)
    assert result["changed"][0]["after"] == {"end_date": "2026-01-31T21:00:00+00:00"}
    await sql(server, database, f"ALTER ROLE {login} SET timezone = 'America/New_York'")
    assert (await undone(connector(dsn=server.dsn(database, login)), result)).left == ""
