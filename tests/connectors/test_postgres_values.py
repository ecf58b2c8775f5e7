"""Values between PostgreSQL and policies: read and passed back bare, each is still the very value."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from remediator.connectors.postgres import Postgres
from remediator.connectors.postgres.values import Unfit, decode, encode
from remediator.core.exact import kept, revived
from remediator.core.intention import Call
from remediator.errors import ConnectorError
from tests.rig.postgres import Server

pytestmark = pytest.mark.no_cover


@dataclass(frozen=True)
class Odd:
    """A kind of column, and random values in the server's own spelling."""

    column: str
    spelled: st.SearchStrategy[str]


ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
NUMERIC = st.decimals(allow_nan=False, allow_infinity=False, places=None).filter(
    lambda one: -300 < one.adjusted() < 300 and int(one.as_tuple().exponent) > -300
)
JSON = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
).filter(lambda one: one is not None)
ARRAYS = st.lists(st.none() | NUMERIC, max_size=6)
PERIODS = st.builds(
    "{} months {} days {} microseconds".format,
    st.integers(-1200, 1200),
    st.integers(-9999, 9999),
    st.integers(-(10**15), 10**15),
)

KINDS = (
    Odd("numeric", NUMERIC.map(str)),
    Odd("float8", st.floats(allow_nan=False, allow_infinity=False).map(repr)),
    Odd("float4", st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr)),
    Odd("int8", st.integers(-(2**63), 2**63 - 1).map(str)),
    Odd("timestamptz", st.datetimes(timezones=ZONES).filter(lambda one: 2 < one.year < 9998).map(str)),
    Odd("timestamp", st.datetimes().map(str)),
    Odd("date", st.dates().map(str)),
    Odd("time", st.times().map(str)),
    Odd("interval", PERIODS),
    Odd("uuid", st.uuids().map(str)),
    Odd("text", TEXTS),
    Odd("jsonb", JSON.map(lambda one: json.dumps(one, ensure_ascii=False).replace("\\u0000", " "))),
    Odd("bool", st.booleans().map(str)),
    Odd("inet", st.ip_addresses().map(str)),
    Odd("numeric[]", ARRAYS.map(
        lambda one: "{" + ",".join("NULL" if n is None else str(n) for n in one) + "}"
    )),
    Odd("timestamptz[]", st.lists(st.datetimes(timezones=ZONES).filter(lambda one: 2 < one.year < 9998)).map(
        lambda one: "{" + ",".join(f'"{moment}"' for moment in one) + "}"
    )),
)  # fmt: skip

EXAMPLES = 20
AT_ONCE = 12
"""Values in one example: 16 kinds, 240 values each."""


@pytest.mark.real
@pytest.mark.needs("postgresql")
@pytest.mark.parametrize("kind", KINDS, ids=lambda one: one.column)
async def test_what_was_read_and_kept_and_passed_back_bare_is_equal(
    kind: Odd, connector: Callable[..., Postgres], server: Server, database: str
) -> None:
    reader = connector(tables=["odds"])
    checked = 0

    async def story(db: Any, spelled: list[str]) -> None:
        nonlocal checked
        await db.execute("DELETE FROM odds")
        await db.executemany(
            f"INSERT INTO odds VALUES ($1, $2::text::{kind.column})", list(enumerate(spelled))
        )
        read = await ask(reader, "SELECT n, v FROM odds ORDER BY n")
        stored = revived(json.loads(json.dumps(kept(read["rows"]))))
        passed = [one for row in stored for one in (row["n"], row["v"])]
        each = " OR ".join(f"(n = ${n} AND v = ${n + 1})" for n in range(1, len(passed), 2))
        again = await ask(reader, f"SELECT n FROM odds WHERE {each} ORDER BY n", *passed)
        assert [row["n"] for row in again["rows"]] == list(range(len(spelled))), stored
        checked += len(spelled)

    loop = asyncio.get_running_loop()
    async with server.connected(database) as db:
        await db.execute(f"CREATE TABLE odds (n int, v {kind.column})")
        await asyncio.to_thread(_examples, kind, lambda spelled: _in(loop, story(db, spelled)))
    assert checked >= EXAMPLES * AT_ONCE


def _in(loop: asyncio.AbstractEventLoop, story: Any) -> None:
    asyncio.run_coroutine_threadsafe(story, loop).result(60)


def _examples(kind: Odd, play: Callable[[list[str]], None]) -> None:
    """Hypothesis plays in a thread, while the connections live in the test's own loop."""

    @seed(15)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(kind.spelled, min_size=AT_ONCE, max_size=AT_ONCE))
    def examples(spelled: list[str]) -> None:
        play(spelled)

    examples()


async def ask(connector: Postgres, sql: str, *args: object) -> dict[str, Any]:
    return await connector.read(Call("postgres.query", "db", {"sql": sql, "args": list(args)}), timeout=20)


@pytest.mark.real
@pytest.mark.needs("postgresql")
async def test_a_computed_double_is_the_decimal_that_people_saw(connector: Callable[..., Postgres]) -> None:
    read = await ask(connector(), "SELECT $1::numeric AS rate, $2::numeric AS half", 0.07, 0.07 * 0.5)
    assert read["row"] == {"rate": Decimal("0.07"), "half": Decimal("0.035")}


@pytest.mark.real
@pytest.mark.needs("postgresql")
@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("'NaN'::numeric", "NaN is no finite number"),
        ("'Infinity'::numeric", "Infinity is no finite number"),
        ("'NaN'::float8", "NaN is no finite number"),
        ("'-Infinity'::float4", "-Infinity is no finite number"),
        ("ARRAY[1, 'NaN'::numeric]", "NaN is no finite number"),
        ("'infinity'::timestamptz", "infinity is beyond the years 1 to 9999"),
        ("'0044-03-15 BC'::date", "beyond the years 1 to 9999"),
        ("'24:00'::time", "24:00:00 is no time of a day"),
        ("'x'::bytea", "of type bytea, not a plain one; cast it: odd::text"),
        ("ROW(1, 2)", "of type record, not a plain one"),
        ("'[1,2)'::int4range", "of type int4range, not a plain one"),
    ],
)
async def test_what_has_no_plain_value_is_refused_with_its_column(
    connector: Callable[..., Postgres], expression: str, problem: str
) -> None:
    with pytest.raises(ConnectorError, match="column 'odd'") as error:
        await ask(connector(), f"SELECT 1 AS fine, {expression} AS odd")
    assert problem in str(error.value)


@pytest.mark.real
@pytest.mark.needs("postgresql")
async def test_json_keeps_its_numbers_and_null_is_null(connector: Callable[..., Postgres]) -> None:
    document = '{"a": 1.10, "b": 123456789012345678901234567890, "c": [null, true]}'
    read = await ask(connector(), f"SELECT '{document}'::jsonb AS doc, NULL::jsonb AS nothing")
    doc = {"a": Decimal("1.10"), "b": Decimal(123456789012345678901234567890), "c": [None, True]}
    assert read["row"] == {"doc": doc, "nothing": None}


@pytest.mark.parametrize(
    ("type_name", "value", "encoded"),
    [
        ("bool", True, True),
        ("int4", 5, 5),
        ("int4", 5.0, 5),
        ("int8", Decimal("5.00"), 5),
        ("numeric", 0.07, "0.07"),
        ("numeric", 1e22, "1E+22"),
        ("float8", Decimal("0.1"), "0.1"),
        ("text", "", ""),
        ("uuid", "FF58DD8EC1BF48FC8C49D208ECA2EB46", "ff58dd8e-c1bf-48fc-8c49-d208eca2eb46"),
        ("date", "2026-02-28", "2026-02-28"),
        ("timestamptz", "2026-02-28T10:00:00Z", "2026-02-28T10:00:00+00:00"),
        ("timestamp", "2026-02-28T10:00:00.000001", "2026-02-28T10:00:00.000001"),
        ("interval", "90s", "90s"),
        ("interval", "P1Y-2M3DT-4H5.5S", "P1Y-2M3DT-4H5.5S"),
        ("jsonb", {"a": Decimal("1.10"), "b": ["x", None]}, '{"a":1.10,"b":["x",null]}'),
        ("jsonb", "text", '"text"'),
        ("int4[]", [1, None, 2.0], [1, None, 2]),
        ("numeric[]", [[1], [2]], [["1"], ["2"]]),
        ("jsonb[]", [[1], {"a": 2}], ["[1]", '{"a":2}']),
        ("inet", "10.0.0.1/8", "10.0.0.1/8"),
        *((name, None, None) for name in ("int4", "text", "jsonb", "numeric[]")),
    ],
)
def test_a_value_is_encoded_by_the_parameters_type(type_name: str, value: object, encoded: object) -> None:
    assert repr(encode(type_name, value)) == repr(encoded)


@pytest.mark.parametrize(
    ("type_name", "value", "problem"),
    [
        ("int4", 1.5, "1.5 is no whole number"),
        ("int4", 2**31, "out of range"),
        ("int2", Decimal("1E+400"), "out of range"),
        ("oid", -1, "out of range"),
        ("int4", True, "a boolean is no number"),
        ("int4", "5", "a text is no number"),
        ("numeric", "0.07", "a text is no number"),
        ("numeric", float("nan"), "no finite number"),
        ("numeric", Decimal("1E+200000"), "out of range"),
        ("numeric", Decimal("1E-20000"), "out of range"),
        ("float8", Decimal("1E+400"), "out of range"),
        ("float8", Decimal("1E-400"), "out of range"),
        ("float4", 1e39, "out of range"),
        ("bool", 1, "a number is neither true nor false"),
        ("text", 5, "a number is no text"),
        ("text", "a\0b", "NUL"),
        ("text", "\ud800", "half a character"),
        ("uuid", "p-17", "no UUID"),
        ("date", "2026-02-30", "no ISO date"),
        ("date", "2026-02-28T10:00:00", "no ISO date"),
        ("timestamptz", "2026-02-28T10:00:00", "has no zone"),
        ("timestamptz", "tomorrow", "no ISO timestamp"),
        ("timestamp", "2026-02-28T10:00:00Z", "has a zone"),
        ("timestamp", "2026-02-28", "a date, without a time"),
        ("timestamp", "2026-02-28T10:00:00.1234567", "finer than a microsecond"),
        ("interval", "3 months ago", "no duration"),
        ("interval", "P", "no duration"),
        ("jsonb", {"a": "\0"}, "NUL"),
        ("jsonb", float("inf"), "no finite number"),
        ("jsonb", {1, 2}, "no form in JSON"),
        ("int4[]", 5, "a number is no list"),
        ("int4[]", [1, 1.5], "1.5 is no whole number"),
        ("inet", "everywhere", "no address"),
        ("bytea", "x", "a value of type bytea cannot be passed"),
        ("mood", "calm", "a value of type mood cannot be passed"),
    ],
)
def test_what_would_become_another_value_is_refused(type_name: str, value: object, problem: str) -> None:
    with pytest.raises(Unfit, match=problem):
        encode(type_name, value)


def test_arrays_are_read_element_by_element() -> None:
    assert decode("numeric[]", [["1.50", None]]) == [[Decimal("1.50"), None]]
