"""How a MySQL or MariaDB is configured: its address, what may be sent there, whose sessions may end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from remediator.config import Duration, Secret
from remediator.connectors.declared import named, refusing
from remediator.connectors.mysql.statement import Statement
from remediator.connectors.settings import BLIND, Authorities, Settings
from remediator.core.catalog import Command, Risk
from remediator.core.risk import COMMAND

LONGEST = timedelta(seconds=30)
"""The longest that one statement may be given."""

_SYSTEM = frozenset({"system user", "event_scheduler", "mysql.session", "mysql.sys", "mariadb.sys"})
_MARKS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _address(value: str, info: ValidationInfo) -> str:
    if (info.context or {}).get(BLIND) and value.startswith("https://unknown.invalid/"):
        return value  # stands for a reference
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"is not an address: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("may not hold credentials; write username and password")
    whole = parts.scheme == "mysql" and parts.hostname and not parts.query and not parts.fragment
    if not whole or port == 0 or not re.fullmatch(r"/[A-Za-z0-9_$-]{1,64}", parts.path):
        raise ValueError("write mysql://host:port/database")
    return value


def _clients(value: tuple[str, ...]) -> tuple[str, ...]:
    for user in value:
        if user in _SYSTEM or not user or not user.isprintable():
            raise ValueError(f"{user!r} is none whose sessions may be ended; name an application's login")
    return tuple(sorted(set(value)))


def _table(value: str | None) -> str | None:
    if value is not None and not _MARKS.fullmatch(value):
        raise ValueError(f"{value!r} is no table; write one such as remediator_marks")
    return value


class MysqlSettings(Settings):
    """A MariaDB or MySQL database."""

    url: Annotated[str, AfterValidator(_address)] = Field(
        description="its address, such as mysql://127.0.0.1:3306/shop"
    )
    username: str = Field(description="its login")
    password: Secret | None = Field(default=None, description="its password: ${env:MYSQL_PASSWORD}")
    tls: bool = Field(
        default=False, description="speak TLS only, and check who answers; with ca it is so anyway"
    )
    ca: Authorities = None
    statements: Annotated[dict[str, Statement], AfterValidator(named)] = Field(
        default={}, description="all that mysql.query and mysql.execute may send, by name"
    )
    marks: Annotated[str | None, AfterValidator(_table)] = Field(
        default=None, description="a table for marks, by which a lost answer to COMMIT is looked up"
    )
    users: Annotated[tuple[str, ...], AfterValidator(_clients)] = Field(
        default=(), description="logins whose sessions mysql.kill may end"
    )
    sessions: int = Field(default=100, gt=0, le=1000, description="sessions that one step may end, at most")
    timeout: Duration = Field(default=timedelta(seconds=5), gt=timedelta(0), le=LONGEST)
    lock_timeout: Duration = Field(default=timedelta(seconds=1), ge=timedelta(seconds=1), le=LONGEST)
    bytes: int = Field(default=1024 * 1024, gt=0, le=64 * 1024 * 1024, description="of one answer, at most")

    @model_validator(mode="after")
    def _spares_itself(self) -> Self:
        if self.username in self.users:
            raise ValueError(f"{self.username} is our own login; its sessions are not ended")
        return self

    @property
    def place(self) -> SplitResult:
        """Host, port and database."""
        return urlsplit(self.url)

    @property
    def risks(self) -> Mapping[str, Risk]:
        """Those of the statements that change something."""
        return {f"{COMMAND} {name}": one.risk for name, one in self.statements.items() if not one.reads}

    @property
    def declared(self) -> Mapping[str, Command]:
        """What policies may know of the statements."""
        return {
            name: Command(one.reads, frozenset(one.slots), refusing(one.filled))
            for name, one in self.statements.items()
        }
