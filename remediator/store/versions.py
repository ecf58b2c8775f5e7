"""Which version a store's tables have, and bringing them up, without a daemon. Asked by ``remediator db``."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remediator.clock import SystemClock
from remediator.errors import StoreError
from remediator.store import open_store
from remediator.store.sqlite import SqliteStore
from remediator.store.sqlite_schema import VERSION, check


@dataclass(frozen=True)
class Version:
    """Of a store's tables; 0 where there are none. ``program``: what this program writes."""

    place: str
    version: int
    program: int


async def status(url: str, folder: Path) -> Version:
    """Raises StoreError for a store that cannot be read, or that a newer program wrote."""
    store = open_store(url, SystemClock(), folder)
    if isinstance(store, SqliteStore):
        return Version(str(store.path), _version_of_file(store.path), VERSION)
    from remediator.store import postgres_schema as schema

    async with _connected(url) as (connection, place):
        return Version(place, await schema.version(connection, place), schema.VERSION)


async def migrate(url: str, folder: Path, *, grant: str = "") -> Version:
    """``grant``: a PostgreSQL role that may then do what a daemon does. Raises StoreError."""
    store = open_store(url, SystemClock(), folder)
    if isinstance(store, SqliteStore):
        if grant:
            raise StoreError(str(store.path), "a file has no roles", remedy="leave out --grant")
        await store.open()
        await store.close()
        return await status(url, folder)
    from remediator.store import postgres_schema as schema

    async with _connected(url) as (connection, place):
        await schema.bring_up(connection, place)
        if grant:
            await connection.execute(schema.grants(grant))
    return await status(url, folder)


def _version_of_file(path: Path) -> int:
    if not path.exists():
        return 0
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            return check(connection, path)
    except sqlite3.Error as error:
        raise StoreError(str(path), str(error), remedy="is it a store of Remediator?") from error


@contextlib.asynccontextmanager
async def _connected(url: str) -> Any:
    from remediator.store.postgres_pool import Address, Pool, errors

    pool = Pool(Address(url))
    connection = await pool.dial()
    try:
        yield connection, pool.address.shown
    except errors() as error:
        raise pool.explain(error) from error
    finally:
        connection.terminate()
