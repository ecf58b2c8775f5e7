"""PostgreSQL, by asyncpg. `connector` says to whom each call goes; begin there."""

from remediator.connectors.postgres.connector import (
    EXECUTE,
    KIND,
    MAINTAIN,
    QUERY,
    RESTORE,
    TERMINATE,
    Postgres,
    PostgresSettings,
)

__all__ = ["EXECUTE", "KIND", "MAINTAIN", "QUERY", "RESTORE", "TERMINATE", "Postgres", "PostgresSettings"]
