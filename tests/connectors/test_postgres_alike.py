"""Values that look alike and are not: what cannot be told apart is neither approved, changed nor restored."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from remediator.connectors.postgres import Postgres
from remediator.core.intention import Call
from tests.connectors.changes import Journal, act, done, execute, no_preview, preview, refused, restore
from tests.rig.postgres import Server

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql")]

Make = Callable[..., Postgres]
SET = "UPDATE odd SET v = $1 WHERE id = $2"
GONE = execute("DELETE FROM odd WHERE id = $1", 1)
OTHERS = "never sent: it would change other rows or other values than were approved"


async def laid_out(server: Server, database: str, kind: str, value: str) -> None:
    """One table with one row, whose v is of this type and has this value."""
    async with server.connected(database) as db:
        await db.execute(f"""
            CREATE DOMAIN code AS varchar(3); CREATE DOMAIN codes AS varchar(3)[];
            CREATE TABLE odd (id int PRIMARY KEY, v {kind}); INSERT INTO odd VALUES (1, {value})
        """)


async def write(server: Server, database: str, value: str) -> None:
    async with server.connected(database) as db:
        await db.execute(f"UPDATE odd SET v = {value}")


async def held(server: Server, database: str) -> str | None:
    """What the row holds, as the server spells it."""
    async with server.connected(database) as db:
        text: str | None = await db.fetchval("SELECT v::text FROM odd")
        return text


# ── True is not 1, though Python says so ────────────────────────────────────────────────────────

TWINS = [
    ("""'{"limit": 1}'""", """'{"limit": true}'"""),
    ("'[0, 5]'", "'[false, 5]'"),
    ("'1'", "'1.0'"),
    ("""'{"limit": 10}'""", """'{"limit": 10.00}'"""),
]


@pytest.mark.parametrize(("approved", "found"), TWINS)
async def test_another_value_than_was_approved_is_not_changed_however_alike_it_is(
    connector: Make, server: Server, database: str, approved: str, found: str
) -> None:
    await laid_out(server, database, "jsonb", approved)
    changer, change = connector(tables=["odd"]), execute(SET, {"limit": 5}, 1)
    picture = await preview(changer, change)
    await write(server, database, found)
    assert await refused(changer, change, shown=picture) == OTHERS
    assert await held(server, database) == found.strip("'")


@pytest.mark.parametrize(("left", "newer"), TWINS)
async def test_a_newer_value_is_not_overwritten_however_alike_it_is(
    connector: Make, server: Server, database: str, left: str, newer: str
) -> None:
    await laid_out(server, database, "jsonb", left)
    changer = connector(tables=["odd"])
    value = (await preview(changer, GONE)).rows[0]["before"]["v"]
    await write(server, database, "'7'")
    result = await done(changer, execute(SET, value, 1))
    await write(server, database, newer)
    assert (await done(changer, restore(result)))["restored"] == 0
    assert await held(server, database) == newer.strip("'")


async def test_a_number_that_another_writer_spelled_otherwise_is_another(
    connector: Make, server: Server, database: str
) -> None:
    await laid_out(server, database, "numeric", "0.07")
    changer = connector(tables=["odd"])
    result = await done(changer, execute(SET, Decimal("0.035"), 1))
    await write(server, database, "0.0350")
    (left,) = (await done(changer, restore(result)))["left"]
    assert left["why"] == "holds v 0.0350, not 0.035"


# ── JSON null is not NULL ───────────────────────────────────────────────────────────────────────

NULL = "v holds JSON null, which cannot be told from NULL"


@pytest.mark.parametrize(
    ("kind", "value"),
    [("jsonb", "'null'"), ("json", "' null '"), ("jsonb[]", "ARRAY['1', 'null']::jsonb[]")],
)
@pytest.mark.parametrize("change", [execute(SET, None, 1, undo=""), GONE], ids=["set", "gone"])
async def test_json_null_is_not_changed(
    connector: Make, server: Server, database: str, kind: str, value: str, change: Call
) -> None:
    if kind == "json" and change is GONE:
        change = execute("DELETE FROM odd WHERE id = $1", 1, undo="")
    await laid_out(server, database, kind, value)
    changer = connector(tables=["odd"])
    assert NULL in await no_preview(changer, change)
    assert NULL in await refused(changer, change)


async def test_json_null_is_not_written(connector: Make, server: Server, database: str) -> None:
    await laid_out(server, database, "jsonb DEFAULT 'null'", "'1'")
    changer = connector(tables=["odd"])
    assert NULL in await no_preview(changer, execute("UPDATE odd SET v = 'null' WHERE id = $1", 1))
    assert NULL in await refused(changer, execute("INSERT INTO odd (id) VALUES ($1)", 2))  # by its default
    assert await held(server, database) == "1"


@pytest.mark.parametrize(
    ("kind", "value"),
    [("jsonb", "NULL"), ("jsonb", """'{"a": null}'"""), ("jsonb", "'[null]'"), ("jsonb", "'\"null\"'"),
     ("jsonb[]", "ARRAY['1', NULL]::jsonb[]"), ("text", "'null'"), ("text[]", "'{\"null\"}'")],
)  # fmt: skip
async def test_null_and_a_null_within_json_are_themselves(
    connector: Make, server: Server, database: str, kind: str, value: str
) -> None:
    await laid_out(server, database, kind, value)
    before = await held(server, database)
    changer = connector(tables=["odd"])
    gone = await done(changer, GONE, shown=await preview(changer, GONE))
    assert (await done(changer, restore(gone)))["restored"] == 1
    assert await held(server, database) == before


async def test_what_became_json_null_since_is_not_overwritten(
    connector: Make, server: Server, database: str
) -> None:
    await laid_out(server, database, "jsonb", "'1'")
    changer, journal = connector(tables=["odd"]), Journal()
    result = await done(changer, execute(SET, None, 1))
    await write(server, database, "'null'")
    assert NULL in await refused(changer, restore(result), journal=journal)
    assert [journal.marks, await held(server, database)] == [[], "null"]


async def test_a_probe_reads_json_null_as_null(connector: Make, server: Server, database: str) -> None:
    await laid_out(server, database, "jsonb", "'null'")
    call = Call("postgres.query", "db", {"sql": "SELECT v FROM odd"})
    assert (await connector(tables=["odd"]).read(call, timeout=10))["row"] == {"v": None}


# ── Arrays that no list tells ───────────────────────────────────────────────────────────────────

SHAPE = "v holds an array that no list tells: it does not begin at 1, or is a matrix of JSON"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int[]", "'[0:2]={10,20,30}'"),
        ("int[]", "'[1:1][2:3]={{1,2}}'"),
        ("int[]", "'[10:11]={1,2}'"),
        ("codes", "'[0:0]={abc}'"),
        ("jsonb[]", "ARRAY[ARRAY['1', '2']]::jsonb[]"),
        ("jsonb[]", "'[0:0]={1}'"),
    ],
)
async def test_an_array_of_another_shape_than_its_list_is_not_changed(
    connector: Make, server: Server, database: str, kind: str, value: str
) -> None:
    await laid_out(server, database, kind, value)
    before, changer = await held(server, database), connector(tables=["odd"])
    for change in (execute(SET, [], 1), GONE):
        assert SHAPE in await no_preview(changer, change)
        assert SHAPE in await refused(changer, change)
    assert await held(server, database) == before


async def test_an_array_of_another_shape_is_not_written(
    connector: Make, server: Server, database: str
) -> None:
    await laid_out(server, database, "int[] DEFAULT '[0:0]={1}'", "'{1}'")
    changer = connector(tables=["odd"])
    assert SHAPE in await no_preview(changer, execute("UPDATE odd SET v = '[0:0]={2}' WHERE id = $1", 1))
    assert SHAPE in await no_preview(changer, execute("INSERT INTO odd (id, v) VALUES ($1, '[0:0]={2}')", 2))
    assert SHAPE in await refused(changer, execute("INSERT INTO odd (id) VALUES ($1)", 2))  # by its default


async def test_an_array_that_was_numbered_otherwise_since_is_not_overwritten(
    connector: Make, server: Server, database: str
) -> None:
    await laid_out(server, database, "int[]", "'{1}'")
    changer = connector(tables=["odd"])
    result = await done(changer, execute(SET, [10, 20], 1))
    await write(server, database, "'[0:1]={10,20}'")
    assert SHAPE in await refused(changer, restore(result))
    assert await held(server, database) == "[0:1]={10,20}"


@pytest.mark.parametrize(
    ("kind", "value", "new"),
    [
        ("int[]", "'{}'", [1, None]),
        ("int[]", "'{{1,2},{3,4}}'", [[5, 6]]),
        ("int[]", "'{{{1},{2}}}'", []),
        ("int[]", "NULL", [1]),
        ("codes", "'{abc,\"x y\"}'", ["z", None]),
        ("jsonb[]", """ARRAY['[1, 2]', '{"a": [3]}', NULL]::jsonb[]""", [[[1]], {"b": 1}]),
        ("jsonb[]", "'{}'", [5]),
    ],
)
async def test_an_ordinary_array_is_changed_and_restored(
    connector: Make, server: Server, database: str, kind: str, value: str, new: Any
) -> None:
    await laid_out(server, database, kind, value)
    before, changer = await held(server, database), connector(tables=["odd"])
    for change in (execute(SET, new, 1), GONE):
        picture = await preview(changer, change)
        assert picture.rows[0]["after"] == ({} if change is GONE else {"v": new})
        result = await done(changer, change, shown=picture)
        assert (await done(changer, restore(result)))["restored"] == 1
        assert await held(server, database) == before


# ── What a cast cuts and an assignment refuses ──────────────────────────────────────────────────

CUT = "the value is too long for v, and would be cut"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("varchar(3)", "'abcdef'"),
        ("varchar(3)", "upper('abcdef')"),
        ("varchar(3)", "id * 100000"),
        ("char(3)", "'abcdef'"),
        ("code", "'abcdef'"),
        ("varchar(3)[]", "'{abc,abcdef}'"),
        ("codes", "ARRAY['abcdef']"),
        ("code[]", "ARRAY['abcdef']"),
    ],
)
async def test_nobody_is_asked_for_a_value_that_does_not_fit(
    connector: Make, server: Server, database: str, kind: str, text: str
) -> None:
    await laid_out(server, database, kind, "NULL")
    changer = connector(tables=["odd"])
    assert CUT in await no_preview(changer, execute(f"UPDATE odd SET v = {text} WHERE id = $1", 1))
    if "id *" not in text:
        assert CUT in await no_preview(changer, execute(f"INSERT INTO odd (id, v) VALUES ($1, {text})", 2))
    assert CUT in await refused(changer, execute(f"UPDATE odd SET v = {text} WHERE id = $1", 1))
    assert await held(server, database) is None
    with pytest.raises(asyncpg.StringDataRightTruncationError):  # which is what the server says itself
        await write(server, database, text)


@pytest.mark.parametrize(
    ("kind", "value", "stored"),
    [
        ("varchar(3)", "abc", "abc"),
        ("varchar(3)", "ab     ", "ab "),  # spaces are cut, and shown as they are stored
        ("varchar(3)", "éàü", "éàü"),
        ("char(5)", "ab", "ab   "),
        ("varchar", "x" * 5000, "x" * 5000),
        ("code", "abc", "abc"),
        ("code[]", ["abc", None], ["abc", None]),
        ("varchar(3)[]", ["abc", ""], ["abc", ""]),
        ("varchar(3)", None, None),
    ],
)
async def test_a_value_that_fits_is_shown_as_it_is_stored(
    connector: Make, server: Server, database: str, kind: str, value: object, stored: object
) -> None:
    await laid_out(server, database, kind, "NULL" if stored is not None else "'old'")
    changer, change = connector(tables=["odd"]), execute(SET, value, 1)
    picture = await preview(changer, change)
    assert picture.rows[0]["after"] == {"v": stored}
    await done(changer, change, shown=picture)
    new = execute("INSERT INTO odd (id, v) VALUES ($1, $2)", 2, value)
    await done(changer, new, shown=await preview(changer, new))


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        ("int", "'2026-01-01'::text", "(42804)"),
        ("bool", "1", "(42804)"),
        ("jsonb", "upper('[1]')", "(42804)"),
    ],
)
async def test_nobody_is_asked_for_what_the_server_never_takes(
    connector: Make, server: Server, database: str, kind: str, text: str, told: str
) -> None:
    """A cast would do it, and shows as much; the assignment is refused before it is even planned."""
    await laid_out(server, database, kind, "NULL")
    changer = connector(tables=["odd"])
    for change in (
        execute(f"UPDATE odd SET v = {text} WHERE id = $1", 1),
        execute(f"INSERT INTO odd (id, v) VALUES ($1, {text})", 2),
    ):
        assert told in await no_preview(changer, change)
        assert told in str(await act(changer, change))
