"""Random tables, rows and changes, with a stranger who writes in between: the model never differs.

The model is a dict. It hears what the stranger's statements returned and what the act said that it changed;
if the table ever differs from it, something changed that nobody was told of.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from remediator.connectors.postgres import Postgres, final
from remediator.connectors.postgres import change as changing
from remediator.connectors.postgres.rows import Place, Statement
from remediator.core.evidence import Picture
from remediator.core.exact import kept
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result
from remediator.errors import ConnectorError
from remediator.ports import Order
from tests.connectors.changes import Journal, act, execute, preview, restore, through_the_store
from tests.rig.postgres import Server

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql"), pytest.mark.no_cover]

EXAMPLES = 120
TYPES: dict[str, Callable[[random.Random], Any]] = {
    "int4": lambda chance: chance.randrange(-3, 4),
    "numeric(8,2)": lambda chance: Decimal(chance.randrange(-300, 300)) / 1000,
    "text": lambda chance: chance.choice(["", "a", "b", "é", "'", "$1"]),
    "bool": lambda chance: chance.choice([True, False]),
}
Row = dict[str, Any]
Key = tuple[Any, ...]


@dataclass
class World:
    """A random table, and what it must hold."""

    chance: random.Random
    key: tuple[str, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)
    model: dict[Key, Row] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.key = self.chance.choice([("k",), ("k2", "k1")])
        self.columns = {f"c{n}": self.chance.choice(list(TYPES)) for n in range(self.chance.randrange(1, 4))}
        for _ in range(self.chance.randrange(14)):
            row = self.row()
            self.model[self.key_of(row)] = row

    def row(self) -> Row:
        made = {name: self.chance.randrange(5 if len(self.key) > 1 else 14) for name in self.key}
        return {**made, **{name: self.value(name) for name in self.columns}}

    def value(self, column: str) -> Any:
        return None if self.chance.random() < 0.1 else TYPES[self.columns[column]](self.chance)

    def key_of(self, row: Row) -> Key:
        return tuple(row[name] for name in self.key)

    @property
    def names(self) -> str:
        return ", ".join((*self.key, *self.columns))

    @property
    def laid_out(self) -> str:
        columns = [
            *(f"{name} int4" for name in self.key),
            *(f"{n} {kind}" for n, kind in self.columns.items()),
        ]
        return f"CREATE TABLE t ({', '.join(columns)}, PRIMARY KEY ({', '.join(self.key)}))"

    # ── What is asked ─────────────────────────────────────────────────────────────────────────────

    def condition(self, args: list[Any]) -> str:
        parts = []
        for _ in range(self.chance.randrange(1, 4)):
            name = self.chance.choice([*self.key, *self.columns])
            kind = self.columns.get(name, "int4")
            args.append(TYPES[kind](self.chance) if name in self.columns else self.chance.randrange(8))
            sign = self.chance.choice(["=", "<>", "<", ">", "<=", ">="])
            parts.append(f"{name} {sign} ${len(args)}")
        return self.chance.choice([" AND ", " OR "]).join(parts)

    def change(self) -> tuple[str, list[Any]]:
        args: list[Any] = []
        verb = self.chance.choice(["update", "update", "update", "delete", "insert"])
        if verb == "delete":
            return f"DELETE FROM t WHERE {self.condition(args)}", args
        if verb == "insert":
            rows = []
            for _ in range(self.chance.randrange(1, 4)):
                row = self.row()
                args += row.values()
                rows.append(f"({', '.join(f'${n}' for n in range(len(args) - len(row) + 1, len(args) + 1))})")
            return f"INSERT INTO t ({self.names}) VALUES {', '.join(rows)}", args
        sets = []
        for name in self.chance.sample(list(self.columns), self.chance.randrange(1, len(self.columns) + 1)):
            args.append(self.value(name))
            sets.append(f"{name} = ${len(args)}")
        return f"UPDATE t SET {', '.join(sets)} WHERE {self.condition(args)}", args

    def call(self) -> Call:
        sql, args = self.change()
        most = self.chance.randrange(1, 9)
        rows: Any = {"at_most": most} if self.chance.random() < 0.8 else most
        return execute(sql, *args, rows=rows)

    # ── Who else writes ───────────────────────────────────────────────────────────────────────────

    async def strange(self, stranger: Any) -> None:
        """A stranger writes a little, or does not get a lock; the model hears of it."""
        for _ in range(self.chance.randrange(3)):
            sql, args = self.change()
            gone = list(self.model) if sql.startswith("DELETE") else []
            try:
                found = await stranger.fetch(f"{sql} RETURNING {self.names}", *args)
            except (asyncpg.LockNotAvailableError, asyncpg.UniqueViolationError):
                continue
            for one in found:
                row = dict(one)
                if gone:
                    del self.model[self.key_of(row)]
                else:
                    self.model[self.key_of(row)] = row

    # ── What it must hold ─────────────────────────────────────────────────────────────────────────

    def changed(self, sql: str, rows: list[Row]) -> None:
        """What the act said that it changed."""
        for row in rows:
            key = self.key_of(row["key"])
            if sql.startswith("DELETE"):
                assert {**row["key"], **row["before"]} == self.model.pop(key)
            elif sql.startswith("INSERT"):
                assert key not in self.model
                self.model[key] = {**row["key"], **row["after"]}
            else:
                assert row["before"].items() <= self.model[key].items()
                self.model[key] = {**self.model[key], **row["after"]}

    def restored(self, sql: str, rows: list[Row]) -> int:
        """How many rows an undo must bring back: those, and only those, that nobody touched since."""
        count = 0
        for row in rows:
            key = self.key_of(row["key"])
            found = self.model.get(key)
            if sql.startswith("DELETE"):
                if found is None:
                    self.model[key] = {**row["key"], **row["before"]}
                    count += 1
            elif found is not None and row["after"].items() <= found.items():
                count += 1
                if sql.startswith("INSERT"):
                    del self.model[key]
                else:
                    self.model[key] = {**found, **row["before"]}
        return count

    async def agrees(self, db: Any) -> None:
        found = [
            dict(row) for row in await db.fetch(f"SELECT {self.names} FROM t ORDER BY {', '.join(self.key)}")
        ]
        wanted = [self.model[key] for key in sorted(self.model)]
        assert kept(found) == kept(wanted)


@dataclass(frozen=True)
class Between(Place):
    """A place where somebody writes between the locks and the change."""

    write: Callable[[], Any] = field(kw_only=True)

    async def prepare(self, text: str) -> Statement:
        if "RETURNING" in text:
            await self.write()
        return await super().prepare(text)


async def acted(changer: Postgres, call: Call, shown: Picture | None, world: World, stranger: Any) -> Result:
    """The act, with a stranger at each of its gaps."""
    wanted = changing.wanted(call, changer._settings)

    async def write() -> None:
        await world.strange(stranger)

    async def work(database: Any) -> Done | Refused:
        place = Between("db", changer._settings, database, write=write)
        return await wanted.made(place, shown)

    order = Order("k", shown, Journal(meanwhile=write).mark)
    return await final.act("db", changer._changing, work, order=order, timeout=20)


async def test_the_table_never_differs_from_what_everybody_was_told(
    connector: Callable[..., Postgres], server: Server, database: str
) -> None:
    changer = connector(tables=["t"], lock_timeout="100ms")
    seen: dict[str, int] = {"done": 0, "undone": 0, "left": 0, "refused": 0, "not asked": 0}

    async def story(number: int) -> None:
        world = World(random.Random(number))
        async with server.connected(database) as db, server.connected(database) as stranger:
            await db.execute(f"DROP TABLE IF EXISTS t; {world.laid_out}")
            places = ", ".join(f"${n}" for n in range(1, len(world.key) + len(world.columns) + 1))
            sql = f"INSERT INTO t ({world.names}) VALUES ({places})"
            await db.executemany(sql, [tuple(row.values()) for row in world.model.values()])
            held = [dict(row) for row in await db.fetch(f"SELECT {world.names} FROM t")]
            world.model = {world.key_of(row): row for row in held}
            await stranger.execute("SET lock_timeout = '5ms'")
            await told(world, db, stranger)

    async def told(world: World, db: Any, stranger: Any) -> None:
        call = world.call()
        sql, bound = call.args["sql"], call.args["rows"]
        try:
            picture = await preview(changer, call)
        except ConnectorError:
            seen["not asked"] += 1
            return
        assert picture.count <= max(bound.values())
        if world.chance.random() < 0.3:
            await world.strange(stranger)
        shown = picture if world.chance.random() < 0.7 else None
        result = await acted(changer, call, shown, world, stranger)
        if isinstance(result, Refused):
            seen["refused"] += 1
            await world.agrees(db)
            return
        assert isinstance(result, Done), result
        seen["done"] += 1
        answer = through_the_store(result.result)
        assert answer["rows"] == len(answer["changed"]) <= max(bound.values())
        assert shown is None or kept([row["key"] for row in answer["changed"]]) == kept(
            [row["key"] for row in shown.rows]
        )
        world.changed(sql, answer["changed"])
        await world.agrees(db)
        await world.strange(stranger)
        count = world.restored(sql, answer["changed"])
        back = await act(changer, restore(answer))
        assert isinstance(back, Done), back
        seen["undone"] += 1
        seen["left"] += bool(back.left)
        await world.agrees(db)
        again = len(back.result.get("already", ()))
        assert back.result["restored"] <= count <= back.result["restored"] + again

    loop = asyncio.get_running_loop()

    def play(number: int) -> None:
        asyncio.run_coroutine_threadsafe(story(number), loop).result(60)

    await asyncio.to_thread(_examples, play)
    assert min(seen.values()) > 0, seen
    assert seen["done"] > EXAMPLES / 4, seen


def _examples(play: Callable[[int], None]) -> None:
    """Hypothesis plays in a thread, while the connections live in the test's own loop."""

    @seed(17)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 10**9))
    def examples(number: int) -> None:
        play(number)

    examples()
