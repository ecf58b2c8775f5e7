"""The tables on PostgreSQL: made, brought up to this program's version, or refused. Asked on opening.

Migrations go forward only, each step one transaction, under a lock that all daemons share. Each leaves
the tables such that the previous version of the program goes on working: daemons are replaced one by one.
"""

from __future__ import annotations

import logging
from importlib import resources
from typing import Any

from remediator.errors import SchemaTooNew, StoreError
from remediator.store.postgres_pool import pooler

log = logging.getLogger(__name__)

VERSION = 1
"""What this program writes: made by ``schema/postgres.sql``, or reached by ``schema/postgres_to_N.sql``."""

_OLDEST = 130000
_MIGRATING_S = 600.0
_LOCK = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock(4711001)"

_SETTINGS = """SELECT current_setting('server_version_num')::int AS version,
 current_setting('server_encoding') AS encoding,
 current_setting('fsync') AS fsync, current_setting('full_page_writes') AS pages,
 current_setting('transaction_read_only') = 'on' OR pg_is_in_recovery() AS read_only"""


async def bring_up(connection: Any, place: str) -> None:
    """Make the tables, or lead them here, step by step, each whole or not at all. Raises StoreError."""
    found = await version(connection, place)
    while found < VERSION:
        async with connection.transaction():
            await connection.execute(_LOCK, timeout=_MIGRATING_S)
            found = await version(connection, place)  # another daemon may have done it meanwhile
            if found < VERSION:
                found = await _step(connection, found, place)


async def _step(connection: Any, found: int, place: str) -> int:
    if found == 0:
        if not await connection.fetch("SELECT FROM pg_namespace WHERE nspname = 'remediator'"):
            await connection.execute("CREATE SCHEMA remediator")
        made = f"INSERT INTO meta VALUES ('schema', {VERSION}), ('high_water', 0);"  # noqa: S608 - two numbers
        await connection.execute(f"{_text('postgres')} {made}", timeout=_MIGRATING_S)
        return VERSION
    log.info("the store is brought up to a new version", extra={"store": place, "version": found + 1})
    done = f"UPDATE meta SET value = {found + 1} WHERE key = 'schema';"  # noqa: S608 - a number
    await connection.execute(f"{_text(f'postgres_to_{found + 1}')} {done}", timeout=_MIGRATING_S)
    return found + 1


async def version(connection: Any, place: str) -> int:
    """The version of tables that this program can lead on; 0 where there are none. Raises StoreError."""
    tables = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('remediator') AND relkind = 'r'"
    )
    if not tables:
        return 0
    if not any(name == "meta" for (name,) in tables):
        raise StoreError(
            place, "its schema `remediator` belongs to another program", remedy="name another database"
        )
    rows = await connection.fetch("SELECT value FROM meta WHERE key = 'schema'")
    found = int(rows[0]["value"]) if rows else 0
    if found > VERSION:
        raise SchemaTooNew(
            place,
            f"has schema version {found}, this program knows {VERSION}",
            remedy="install the newer version again, or put an older backup in its place",
        )
    if found < 1:
        raise StoreError(place, f"has an unknown schema version, {found}", remedy="put a backup in its place")
    return found


async def current(connection: Any, place: str) -> None:
    """For those who only read. Raises StoreError where the tables are not this program's."""
    found = await version(connection, place)
    if found != VERSION:
        raise StoreError(
            place, f"has schema version {found}, this program reads {VERSION}",
            remedy="run `remediator db migrate`",
        )  # fmt: skip


async def refuse_unsafe(connection: Any, place: str, *, may_lose: bool) -> None:
    """A server that could forget what it has confirmed. Raises StoreError with a remedy.

    Asked again and again: it may be set otherwise while it runs. What a session can set for itself it does,
    see `remediator.store.postgres_pool`.
    """
    (found,) = await connection.fetch(_SETTINGS)
    problems = (
        (found["version"] < _OLDEST, "is older than PostgreSQL 13", "upgrade it"),
        (found["encoding"] != "UTF8", f"is encoded in {found['encoding']}", "create the database in UTF8"),
        (found["read_only"], "is read-only, or a standby", "name the primary"),
    )
    forgets = (
        (found["fsync"] != "on", "may forget what it has confirmed: fsync is off", "set fsync = on"),
        (
            found["pages"] != "on",
            "may be torn by a crash: full_page_writes is off",
            "set full_page_writes = on",
        ),
    )
    for is_so, problem, remedy in problems if may_lose else problems + forgets:
        if is_so:
            raise StoreError(place, problem, remedy=remedy)


async def refuse_pooler(one: Any, other: Any, place: str) -> None:
    """Two connections that share a session, or one that has two: settings and locks would be lost."""
    for _ in range(2):
        before = await _session(one)
        await other.execute("BEGIN")
        beside = await _pid(other)
        after = await _session(one)
        await other.execute("COMMIT")
        if before == beside or before != after:
            raise pooler(place)


async def _session(connection: Any) -> int:
    await connection.execute("BEGIN")
    pid = await _pid(connection)
    await connection.execute("COMMIT")
    return pid


async def _pid(connection: Any) -> int:
    rows = await connection.fetch("SELECT pg_backend_pid() AS pid")
    return int(rows[0]["pid"])


def grants(role: str) -> str:
    """What a daemon's login may do: ``schema/postgres_grants.sql`` for this role."""
    quoted = '"' + role.replace('"', '""') + '"'
    return _text("postgres_grants").replace("remediator_daemon", quoted)


def _text(name: str) -> str:
    return resources.files("remediator.store").joinpath(f"schema/{name}.sql").read_text("utf-8")
