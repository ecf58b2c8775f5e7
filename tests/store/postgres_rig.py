"""A PostgreSQL store for a test: a fresh copy of the tables, a clock set by hand, statements that fail."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

from remediator.ports import Store
from remediator.store.postgres import PostgresStore
from remediator.store.postgres_pool import AT_ONCE
from remediator.store.postgres_schema import bring_up
from remediator.store.sqlite_rows import micros
from tests.rig.postgres import Server
from tests.store.samples import HandClock, key_of

TEMPLATE = "store_template"

_BY_HAND = """CREATE OR REPLACE FUNCTION clock() RETURNS bigint LANGUAGE sql VOLATILE AS $$
SELECT coalesce(nullif(current_setting('test.now', true), '')::bigint,
 (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) $$"""


async def lay_out(server: Server) -> None:
    """The template: the store's tables, and a clock that tests may set."""
    async with server.connected() as connection:
        await connection.execute(f"CREATE DATABASE {TEMPLATE}")
    async with server.connected(TEMPLATE) as connection:
        await connection.execute("SET search_path = remediator, pg_catalog")
        await bring_up(connection, "template")
        await connection.execute(_BY_HAND)


_CLEAN = """DO $$ DECLARE one text; BEGIN
FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = 'remediator' AND tablename <> 'meta' LOOP
EXECUTE format('DELETE FROM remediator.%I', one); END LOOP;
UPDATE remediator.meta SET value = 0 WHERE key = 'high_water'; END $$"""


class Trouble:
    """Which statement fails next. Shared by all connections of one rig."""

    countdown = 0
    struck = False
    asked: list[str]

    def __init__(self) -> None:
        self.asked = []

    def strike(self, sql: str) -> None:
        if "pg_notify" in sql or "LISTEN" in sql:
            return  # nobody waits for it
        self.asked.append(sql)
        if self.countdown == 1:
            self.struck = True
            raise asyncpg.PostgresIOError("could not write to file")
        if self.countdown:
            self.countdown -= 1


def fragile(trouble: Trouble) -> type[Any]:
    class Fragile(asyncpg.Connection):  # type: ignore[misc]
        async def execute(self, query: str, *arguments: Any, timeout: float | None = None) -> str:
            trouble.strike(query)
            return str(await super().execute(query, *arguments, timeout=timeout))

        async def fetch(self, query: str, *arguments: Any, **more: Any) -> list[Any]:
            trouble.strike(query)
            return list(await super().fetch(query, *arguments, **more))

    return Fragile


class HandSet(PostgresStore):
    """A store whose server's clock is set by hand."""

    by_hand: HandClock

    @property
    def begin(self) -> str:  # type: ignore[override]
        return f"BEGIN; SET LOCAL test.now = '{micros(self.by_hand.wall)}'"

    @property
    def begin_reading(self) -> str:  # type: ignore[override]
        return f"{PostgresStore.begin_reading}; SET LOCAL test.now = '{micros(self.by_hand.wall)}'"


class PostgresRig:
    statements = 3
    queued = 20 * AT_ONCE

    def __init__(self, server: Server, database: str) -> None:
        self.server = server
        self.database = database
        self.clock = HandClock()
        self.url = f"{server.dsn(database)}?may_lose_data=yes"
        self.trouble = Trouble()
        self._stores: list[Store] = []

    async def opened(self, clock: HandClock | None = None) -> Store:
        store = HandSet(self.url, clock or self.clock, connection=fragile(self.trouble))
        store.by_hand = clock or self.clock
        await store.open()
        self._stores.append(store)
        return store

    async def reopened(self) -> Store:
        await self.close()
        return await self.opened()

    async def close(self) -> None:
        self.heal()
        for one in self._stores:
            await one.close()

    async def clean(self) -> None:
        """As if it were new: quicker than a new database."""
        async with self.server.connected(self.database) as connection:
            await connection.execute(_CLEAN)

    def fail_statement(self, number: int) -> None:
        self.trouble.countdown = number

    def heal(self) -> bool:
        struck, self.trouble.struck, self.trouble.countdown = self.trouble.struck, False, 0
        return struck

    async def spoil(self, key: str, table: str = "runs", doc: str = "{}") -> None:
        await self.tamper(f"UPDATE {table} SET doc = '{doc}' WHERE {key_of(table)} = '{key}'")

    async def tamper(self, sql: str) -> None:
        async with self.server.connected(self.database) as connection:
            await connection.execute(f"SET search_path = remediator; {sql}")


def lay_out_once(server: Server) -> None:
    """From a fixture that is no coroutine."""
    asyncio.run(lay_out(server))
