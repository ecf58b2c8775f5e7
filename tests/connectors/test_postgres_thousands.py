"""Ten thousand odd values: each is found by itself, and stored as the preview said, to the last digit."""

from __future__ import annotations

import json
import random
import string
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from remediator.connectors.postgres import Postgres
from remediator.core.intention import Call
from tests.connectors.changes import done, execute, preview, restore, through_the_store
from tests.rig.postgres import Server

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql"), pytest.mark.no_cover]

EACH = 440
AT_ONCE = 40
"""Values in one statement."""
LAY_OUT = """
    CREATE TYPE mood AS ENUM ('calm', 'cross', 'half "mad", \\ it says');
    CREATE DOMAIN score AS numeric(12,4); CREATE EXTENSION citext;
"""

Make = Callable[..., Postgres]


@dataclass(frozen=True)
class Kind:
    """A type, and a random value of it in the server's own spelling."""

    type: str
    spelled: Callable[[random.Random], str]
    same: str = "v = ${}"


def _digits(chance: random.Random) -> str:
    sign = chance.choice(["", "-"])
    match chance.randrange(6):
        case 0:
            return f"{sign}{chance.randrange(10)}.{'0' * chance.randrange(20)}{chance.randrange(100)}"
        case 1:
            return f"{sign}{chance.getrandbits(chance.choice([8, 64, 1000]))}"
        case 2:
            return f"{sign}{chance.getrandbits(70)}.{chance.getrandbits(90)}"
        case 3:
            return f"{sign}{chance.randrange(1, 99)}e{chance.randrange(-400, 400)}"
        case 4:
            return f"{chance.randrange(10)}.{'0' * chance.randrange(12)}"
    return f"{sign}{chance.random()!r}"


def _double(chance: random.Random) -> str:
    odd = ["5e-324", "-1.7976931348623157e308", "-0", "0.1", "1e22", "123456789012345680"]
    return (
        chance.choice(odd)
        if chance.random() < 0.1
        else repr(chance.uniform(-1, 1) * 10 ** chance.randrange(-300, 300))
    )


def _single(chance: random.Random) -> str:
    odd = ["1e-45", "3.4028235e38", "-0", "0.1", "16777217"]
    return (
        chance.choice(odd)
        if chance.random() < 0.1
        else f"{chance.uniform(-1, 1) * 10 ** chance.randrange(-30, 30):e}"
    )


def _whole(bits: int) -> Callable[[random.Random], str]:
    return lambda chance: str(
        chance.choice([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, 0, -1, chance.getrandbits(bits - 1)])
    )


def _text(chance: random.Random) -> str:
    letters = [
        *string.printable, "\\", "'", '"', "$1", "\u0301", "\u200e", "\u202e", "\ufeff", "\U0001f525", "ﷺ",
        "\x01", "\x7f", "\x85", "\u2028", "#", "${a}", "NULL", "{}", "\ue000", "\uffff", "é",
    ]  # fmt: skip
    return "".join(chance.choices(letters, k=chance.randrange(30)))


def _moment(chance: random.Random) -> datetime:
    passed = timedelta(days=chance.randrange(3_652_050), microseconds=chance.randrange(86_400 * 10**6))
    day = datetime(1, 1, 3, tzinfo=UTC).replace(tzinfo=None) + passed
    return day.replace(microsecond=chance.choice([0, 1, 999_999, 100_000, day.microsecond]))


def _zoned(chance: random.Random) -> str:
    zone = timezone(timedelta(minutes=chance.randrange(-14 * 60, 14 * 60)))
    return _moment(chance).replace(tzinfo=zone).isoformat()


def _period(chance: random.Random) -> str:
    return (
        f"{chance.randrange(-1200, 1200)} months {chance.randrange(-9999, 9999)} days"
        f" {chance.randrange(-(10**14), 10**14)} microseconds"
    )


def _document(chance: random.Random, depth: int = 0) -> Any:
    match chance.randrange(8 if depth < 3 else 5):
        case 0:
            return chance.choice([True, False, None])
        case 1:
            return chance.getrandbits(chance.choice([8, 80]))
        case 2:
            return chance.uniform(-1e6, 1e6)
        case 3 | 4:
            return _text(chance)
        case 5 | 6:
            return {_text(chance): _document(chance, depth + 1) for _ in range(chance.randrange(4))}
    return [_document(chance, depth + 1) for _ in range(chance.randrange(4))]


def _json(chance: random.Random) -> str:
    return json.dumps({"it": _document(chance)}, ensure_ascii=chance.random() < 0.5)


def _array(one: Callable[[random.Random], str]) -> Callable[[random.Random], str]:
    def spelled(chance: random.Random) -> str:
        items = (None if chance.random() < 0.2 else one(chance) for _ in range(chance.randrange(5)))
        quoted = (
            "NULL" if item is None else '"' + item.replace("\\", r"\\").replace('"', r"\"") + '"'
            for item in items
        )
        return "{" + ",".join(quoted) + "}"

    return spelled


def _bool(chance: random.Random) -> str:
    return chance.choice(["true", "false"])


def _uuid(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128)))


KINDS = (
    Kind("numeric", _digits),
    Kind("numeric(30,6)", lambda chance: f"{chance.getrandbits(70)}.{chance.getrandbits(30)}"),
    Kind("score", lambda chance: f"{chance.uniform(-1e7, 1e7)}"),
    Kind("float8", _double),
    Kind("float4", _single),
    Kind("int2", _whole(16)),
    Kind("int4", _whole(32)),
    Kind("int8", _whole(64)),
    Kind("bool", _bool),
    Kind("text", _text),
    Kind("varchar(200)", _text),
    Kind("citext", _text),
    Kind("mood", lambda chance: chance.choice(["calm", "cross", 'half "mad", \\ it says'])),
    Kind("uuid", _uuid),
    Kind("timestamptz", _zoned),
    Kind("timestamp", lambda chance: _moment(chance).isoformat()),
    Kind("date", lambda chance: _moment(chance).date().isoformat()),
    Kind("time", lambda chance: _moment(chance).time().isoformat()),
    Kind("interval", _period),
    Kind("jsonb", _json),
    Kind("json", _json, "v::jsonb = ${}::jsonb"),
    Kind("numeric[]", _array(_digits)),
    Kind("text[]", _array(_text)),
    Kind("timestamptz[]", _array(_zoned)),
    Kind("jsonb[]", _array(_json)),
    Kind("uuid[]", _array(_uuid)),
    Kind("mood[]", _array(lambda chance: chance.choice(["calm", 'half "mad", \\ it says']))),
)


def _together(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    return (rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE))


@pytest.mark.parametrize("kind", KINDS, ids=lambda one: one.type)
async def test_each_is_found_by_itself_and_stored_as_foretold(
    connector: Make, server: Server, database: str, kind: Kind
) -> None:
    chance = random.Random(f"{kind.type} 17")
    values = [kind.spelled(chance) for _ in range(EACH)]
    async with server.connected(database) as db:
        await db.execute(LAY_OUT)
        for table in ("odd", "copy"):
            await db.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, v {kind.type})")
        sql = f"INSERT INTO odd SELECT n, t::{kind.type} FROM unnest($1::int[], $2::text[]) one (n, t)"
        await db.execute(sql, list(range(EACH)), values)
    changer = connector(tables=["odd", "copy"])
    read = await changer.read(_ask("SELECT id, v FROM odd ORDER BY id"), timeout=20)
    rows = through_the_store(read["rows"])
    assert len(rows) == EACH
    for some in _together(rows):
        pairs = [one for row in some for one in (row["id"], row["v"])]
        parts = [f"(id = ${n} AND {kind.same.format(n + 1)})" for n in range(1, len(pairs), 2)]
        found = await changer.read(_ask(f"SELECT id FROM odd WHERE {' OR '.join(parts)}", *pairs), timeout=20)
        assert found["count"] == len(some), [row for row in some if row["id"] not in _ids(found)]
        places = ", ".join(f"(${n}, ${n + 1})" for n in range(1, len(pairs), 2))
        new = execute(f"INSERT INTO copy (id, v) VALUES {places}", *pairs, rows=len(some), undo="")
        picture = await preview(changer, new)
        assert [row["after"]["v"] for row in picture.rows] == [row["v"] for row in some]
        await done(changer, new, shown=picture)
    text = "text" if kind.type != "json" else "jsonb::text"
    await _agree(server, database, f"odd.v::{text}", f"copy.v::{text}")
    if kind.type != "json":  # whose spelling cannot be restored
        shift = execute("UPDATE copy SET v = $1 WHERE id >= $2", rows[1]["v"], 0, rows=EACH)
        result = await done(changer, shift, shown=await preview(changer, shift))
        await _agree(server, database, "(SELECT v FROM odd WHERE id = 1)::text", "copy.v::text")
        assert (await done(changer, restore(result)))["left"] == []
        await _agree(server, database, "odd.v::text", "copy.v::text")


async def _agree(server: Server, database: str, one: str, other: str) -> None:
    """The server's own texts of both are the same in every row."""
    async with server.connected(database) as db:
        sql = f"SELECT {one}, {other} FROM odd FULL JOIN copy USING (id) WHERE {one} IS DISTINCT FROM {other}"
        assert [tuple(row) for row in await db.fetch(sql)] == []


def test_there_are_ten_thousand() -> None:
    assert len(KINDS) * EACH > 10_000


def _ask(sql: str, *args: object) -> Call:
    return Call("postgres.query", "db", {"sql": sql, "args": list(args)})


def _ids(found: dict[str, Any]) -> set[int]:
    return {row["id"] for row in found["rows"]}
