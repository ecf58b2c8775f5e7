"""How a PostgreSQL database is configured: its address, how far SQL may reach there, and the limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, field_validator

from remediator.config import Duration, Secret
from remediator.connectors.settings import Settings
from remediator.core.catalog import Reach

LONGEST = timedelta(seconds=30)
"""The longest statement_timeout that may be set."""
LONGEST_UPKEEP = timedelta(minutes=50)
"""The longest that building an index anew or counting a table anew may be given."""

_TABLE = re.compile(r"[^.\s]+(\.[^.\s]+){0,2}")
_COLUMN = re.compile(r"[^.\s]+(\.[^.\s]+){1,3}")


def _address(value: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(value.get_secret_value())
        whole = parts.scheme in ("postgresql", "postgres") and bool(parts.hostname)
    except ValueError:
        whole = False
    if not whole:
        raise ValueError("write postgresql://login:password@host:port/database")
    return value


LIMITS = ("statement_timeout", "lock_timeout", "upkeep_timeout", "rows", "bytes")
"""Settings that bound what one call may do."""


class PostgresSettings(Settings):
    """A PostgreSQL database."""

    dsn: Annotated[Secret, AfterValidator(_address)] = Field(
        description="its address, such as ${env:LOYALTY_DSN}"
    )
    tables: tuple[str, ...] = Field(
        description="the tables that policies may name, with their schema or without it"
    )
    hidden: tuple[str, ...] = Field(default=(), description="columns that never leave: table.column")
    functions: tuple[str, ...] = Field(
        default=(), description="functions allowed beside the built-in ones; they must only read"
    )
    statement_timeout: Duration = Field(default=timedelta(seconds=5), gt=timedelta(0), le=LONGEST)
    lock_timeout: Duration = Field(default=timedelta(seconds=1), gt=timedelta(0), le=LONGEST)
    upkeep_timeout: Duration = Field(
        default=timedelta(minutes=15),
        gt=timedelta(0),
        le=LONGEST_UPKEEP,
        description="how long one ANALYZE or REINDEX may take",
    )
    rows: int = Field(default=1000, gt=0, le=100_000, description="rows of one answer, at most")
    bytes: int = Field(default=1024 * 1024, gt=0, le=64 * 1024 * 1024, description="its size, at most")

    @field_validator("tables", "functions")
    @classmethod
    def _named(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _fitting(value, _TABLE, "a name, such as loyalty_programs or public.loyalty_programs")

    @field_validator("hidden")
    @classmethod
    def _in_a_table(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _fitting(value, _COLUMN, "a column, such as loyalty_users.password_hash")

    @property
    def reach(self) -> Reach:
        """As written in the config."""
        return Reach(frozenset(self.tables), frozenset(self.hidden), frozenset(self.functions))

    @property
    def limits(self) -> Mapping[str, int | timedelta]:
        """As written in the config, or by default."""
        return {name: getattr(self, name) for name in LIMITS}


def _fitting(names: tuple[str, ...], pattern: re.Pattern[str], what: str) -> tuple[str, ...]:
    """In one order, so that the digest is the same after each start."""
    for name in names:
        if not pattern.fullmatch(name):
            raise ValueError(f"{name!r} is not {what}")
    return tuple(sorted(set(names)))
