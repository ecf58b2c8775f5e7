"""Where all state lives: one store per database, all behind `remediator.ports.Store`."""

from __future__ import annotations

from pathlib import Path

from remediator.errors import StoreError
from remediator.ports import Clock, Store
from remediator.store.sqlite import SqliteStore

REMEDY = (
    "write postgresql://login:password@host:5432/database, sqlite:///var/lib/remediator/state.db, or "
    "sqlite:state.db beside the settings"
)


def open_store(url: str, clock: Clock, folder: Path = Path()) -> Store:
    """The store that a ``store:`` setting names; not opened yet.

    ``postgresql://login:password@host:5432/database``; or ``sqlite:///absolute/path``, or
    ``sqlite:relative/path``, which starts at ``folder``. The URL is never repeated in an error: it may
    hold a password.
    """
    scheme, _, rest = url.partition(":")
    if scheme in ("postgresql", "postgres"):
        from remediator.store.postgres import PostgresStore

        return PostgresStore(url, clock)
    if scheme != "sqlite":
        raise StoreError("store", "not a store that is known", remedy=REMEDY)
    absolute = rest.startswith("///")
    path = "/" + rest.lstrip("/") if absolute else rest
    if (
        not path
        or path.endswith("/")
        or (rest.startswith("/") and not absolute)
        or set(path) & {"?", "#", "\0"}
    ):
        raise StoreError("store", "not the address of a SQLite file", remedy=REMEDY)
    return SqliteStore(folder / path, clock)
