"""Where all state lives: one store per database, all behind `remediator.ports.Store`."""

from __future__ import annotations

from remediator.errors import StoreError
from remediator.ports import Clock, Store
from remediator.store.sqlite import SqliteStore


def open_store(url: str, clock: Clock) -> Store:
    """The store that a ``store:`` setting names; not opened yet.

    ``sqlite:///relative/path`` or ``sqlite:////absolute/path``. The URL is never repeated in an
    error: it may hold a password.
    """
    scheme, _, rest = url.partition("://")
    if scheme in ("postgresql", "postgres"):
        raise StoreError("store", "PostgreSQL is not supported yet", remedy="write sqlite:///state.db")
    if scheme != "sqlite":
        raise StoreError("store", "not a store that is known", remedy="write sqlite:///state.db")
    host, slash, path = rest.partition("/")
    if host or not slash or not path or path.endswith("/") or set(path) & {"?", "#", "\0"}:
        raise StoreError(
            "store",
            "not the address of a SQLite file",
            remedy="write sqlite:///relative/path.db or sqlite:////absolute/path.db",
        )
    return SqliteStore(path, clock)
