"""How a Redis is configured: its address, the keys that may be read, and the commands that may be sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from remediator.config import Duration, Secret
from remediator.connectors.declared import Declared, declared, endpoints, named
from remediator.connectors.settings import BLIND, Authorities, Settings
from remediator.core.catalog import Command, Risk

LONGEST = timedelta(seconds=30)
"""The longest that one call may be given."""

CHANGING = frozenset(
    """
    APPEND COPY DECR DECRBY DEL EXPIRE EXPIREAT FLUSHALL FLUSHDB GETDEL GETSET HDEL HINCRBY HSET HSETNX
    INCR INCRBY LINSERT LMOVE LPOP LPUSH LPUSHX LREM LSET LTRIM MOVE PERSIST PEXPIRE PEXPIREAT PSETEX
    PUBLISH RENAME RENAMENX RPOP RPOPLPUSH RPUSH RPUSHX SADD SET SETEX SETNX SMOVE SREM UNLINK XACK XADD
    XDEL XTRIM ZADD ZINCRBY ZREM ZREMRANGEBYRANK ZREMRANGEBYSCORE
    """.split()
)
"""Commands that may be declared. None runs scripts, blocks, changes the connection, or leaves the server."""
ALSO = MappingProxyType(
    {
        "CONFIG SET": ("maxmemory", "maxmemory-policy", "maxclients", "timeout"),
        "CONFIG RESETSTAT": (),
        "MEMORY PURGE": (),
    }
)
"""Commands of two words that may be declared too, and the settings that they may change.

They change the server itself and no data: done twice is as done once. So they go without a marker, for which
a full server has no room.
"""


class RedisCommand(Declared):
    """A command of Redis."""

    @model_validator(mode="after")
    def _may_be_declared(self) -> Self:
        texts = [word.text if word.text is not None else "" for word in self.argv]
        first, two = texts[0].upper(), self._two
        if first not in CHANGING and two not in ALSO:
            told = " ".join(texts[:2]).strip()
            raise ValueError(
                f"the command {told} may not be declared; commands that only change data may be, "
                "such as FLUSHDB, UNLINK or EXPIRE: see docs/redis.md"
            )
        settings = ALSO.get(two, ())
        if settings and (len(texts) != 4 or texts[2].lower() not in settings):
            raise ValueError(
                f"the command {two} may set one of {', '.join(settings)}, written out, to one value"
            )
        return self

    @property
    def _two(self) -> str:
        return " ".join(word.text or "" for word in self.argv[:2]).upper()

    @property
    def marked(self) -> bool:
        """Does a marker go with it?"""
        return self._two not in ALSO

    @property
    def sets(self) -> bool:
        """Is it a setting of the server, which can be asked for?"""
        return self._two == "CONFIG SET"


def _address(value: str, info: ValidationInfo) -> str:
    if (info.context or {}).get(BLIND) and value.startswith("https://unknown.invalid/"):
        return value  # stands for a reference
    try:
        parts = urlsplit(value)
        port, base = parts.port, parts.path.removeprefix("/")
    except ValueError as error:
        raise ValueError(f"is not an address: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("may not hold credentials; write username and password")
    fits = parts.scheme in ("redis", "rediss") and parts.hostname and not parts.query and not parts.fragment
    if not fits or port == 0 or not re.fullmatch(r"[0-9]{0,5}", base):
        raise ValueError("write redis://host:port/database, or rediss:// for TLS")
    return value


def _keys(value: tuple[str, ...]) -> tuple[str, ...]:
    for key in value:
        if not key or not key.isprintable():
            raise ValueError(f"{key!r} is no pattern of keys; write one such as 'queues:*'")
    return tuple(sorted(set(value)))


class RedisSettings(Settings):
    """A Redis, or what speaks its protocol (Valkey, KeyDB)."""

    url: Annotated[str, AfterValidator(_address)] = Field(
        description="its address, such as redis://127.0.0.1:6379/0"
    )
    username: str | None = Field(default=None, description="the ACL user; the default user if left out")
    password: Secret | None = Field(default=None, description="its password: ${env:REDIS_PASSWORD}")
    ca: Authorities = None
    keys: Annotated[tuple[str, ...], AfterValidator(_keys)] = Field(
        default=(), description="keys that redis.read may ask about, such as 'queues:*'; a * is any text"
    )
    commands: Annotated[dict[str, RedisCommand], AfterValidator(named)] = Field(
        default={}, description="all that redis.command may send, by name"
    )
    timeout: Duration = Field(default=timedelta(seconds=5), gt=timedelta(0), le=LONGEST)

    @property
    def risks(self) -> Mapping[str, Risk]:
        """Those of the commands."""
        return endpoints(self.commands)

    @property
    def declared(self) -> Mapping[str, Command]:
        """What policies may know of the commands."""
        return declared(self.commands)

    @property
    def database(self) -> int:
        """Which of its databases."""
        return int(urlsplit(self.url).path.removeprefix("/") or 0)
