"""The tables of a SQLite file: made, brought up to this program's version, or refused. Asked on opening."""

from __future__ import annotations

import logging
import sqlite3
from importlib import resources
from pathlib import Path

from remediator.errors import SchemaTooNew, StoreError

log = logging.getLogger(__name__)

VERSION = 7
"""What this program writes: made by ``schema/sqlite.sql``, or reached by the ``schema/sqlite_to_N.sql``."""


def bring_up(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables, or lead them here, step by step, each whole or not at all. Raises StoreError."""
    if not _tables(connection):
        made = f"INSERT INTO meta VALUES ('schema', {VERSION}), ('high_water', 0);"  # noqa: S608 - two numbers
        connection.executescript(f"BEGIN IMMEDIATE; {_text('sqlite')} {made} COMMIT;")
        return
    for version in range(check(connection, path) + 1, VERSION + 1):
        log.info("the store is brought up to a new version", extra={"path": str(path), "version": version})
        done = f"UPDATE meta SET value = {version} WHERE key = 'schema';"  # noqa: S608 - a number
        connection.executescript(f"BEGIN IMMEDIATE; {_text(f'sqlite_to_{version}')} {done} COMMIT;")


def check(connection: sqlite3.Connection, path: Path) -> int:
    """The version of a file that this program can read; an older one too. Raises StoreError."""
    if "meta" not in _tables(connection):
        raise StoreError(str(path), "belongs to another program", remedy="name another file under `store:`")
    (found,) = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone() or (0,)
    if isinstance(found, int) and 1 <= found <= VERSION:
        return found
    if isinstance(found, int) and found > VERSION:
        raise SchemaTooNew(
            str(path),
            f"has schema version {found}, this program knows {VERSION}",
            remedy="install the newer version again, or put an older backup in its place",
        )
    raise StoreError(str(path), f"has an unknown schema version, {found}", remedy="put a backup in its place")


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _text(name: str) -> str:
    return resources.files("remediator.store").joinpath(f"schema/{name}.sql").read_text("utf-8")
