"""A Redis: what it says of itself, what stands under a key, and commands that the config declares."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any

from remediator.connectors.declared import COMMAND, SLOTS, found, spelled
from remediator.connectors.redis import fence
from remediator.connectors.redis.answers import MOST_BYTES, facts, number
from remediator.connectors.redis.link import BrokenError, Link, linked
from remediator.connectors.redis.settings import LONGEST, RedisCommand, RedisSettings
from remediator.connectors.unoffered import Unoffered
from remediator.core.calls import printable
from remediator.core.catalog import Escape, Fence, Holds, Kind, Operation, Param, Risk
from remediator.core.evidence import Picture
from remediator.core.intention import Call
from remediator.core.messages import Refused, Result, Unknown
from remediator.errors import ConnectorError
from remediator.ports import ConnectorKind, Order

__all__ = ["INFO", "KIND", "READ", "RUN", "Redis", "RedisSettings"]

SECTIONS = (
    *("server", "clients", "memory", "persistence", "stats", "replication", "cpu", "commandstats"),
    *("latencystats", "cluster", "keyspace", "errorstats", "all"),
)

INFO = Operation(
    name="redis.info",
    kind=Kind.PROBE,
    doc="INFO, as one map: `cache.keyspace_hits`, `cache.maxmemory_policy`, `cache.db0.keys`.",
    params={
        "section": Param(
            "One section of it; the usual ones if left out.", escape=Escape.LITERAL, choices=SECTIONS
        )
    },
    longest=LONGEST,
)

_BY_KEY = {
    **dict.fromkeys(("EXISTS", "TYPE", "TTL", "PTTL", "STRLEN", "LLEN", "SCARD", "ZCARD", "HLEN", "XLEN"), 0),
    "GET": 0,
    **dict.fromkeys(("HGET", "HEXISTS", "SISMEMBER", "ZSCORE"), 1),
}
"""Reading commands, and how many words follow the key."""

READ = Operation(
    name="redis.read",
    kind=Kind.PROBE,
    doc="One reading command on one key that the connection lists. `value` is null where nothing stands.",
    params={
        "command": Param(
            "What to ask; DBSIZE takes no key.",
            escape=Escape.LITERAL,
            required=True,
            choices=("DBSIZE", *_BY_KEY),
        ),
        "key": Param("The key, such as `queues:${queue}`; one that the connection lists under keys."),
        "field": Param("Of HGET and HEXISTS the field, of SISMEMBER and ZSCORE the member."),
    },
    longest=LONGEST,
    reads=("value",),
)

RUN = Operation(
    name="redis.command",
    kind=Kind.ACTION,
    doc="Send a command that the connection declares, once; one on data with a marker in its transaction.",
    params={
        "command": COMMAND,
        "slots": SLOTS,
        "was": Param(
            "Of a CONFIG SET: only while the setting has this value, such as the one that a step left.",
            type="any",
            holds=Holds.THERE,
        ),
    },
    risk=Risk.DESTRUCTIVE,
    fence=Fence.TRANSACTION,
    longest=LONGEST,
    previews=True,
)


class Redis(Unoffered):
    """A configured Redis."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings

    async def read(self, call: Call, *, timeout: float) -> dict[str, Any]:
        """INFO as a map; or `value`."""
        if call.operation == INFO.name:
            section = call.args.get("section")
            words = ["INFO", section] if section in SECTIONS else ["INFO"]
        else:
            words = reading(call, self._settings)
        async with self._asking(call, timeout) as link:
            if call.operation == INFO.name:
                return facts(await link.asked(*words))
            return {"value": await self._value(link, call, words)}

    async def _value(self, link: Link, call: Call, words: list[str]) -> Any:
        if words[0] in ("GET", "HGET"):
            size = await link.asked({"GET": "STRLEN", "HGET": "HSTRLEN"}[words[0]], *words[1:])
            if isinstance(size, int) and size > MOST_BYTES:
                raise ConnectorError(call.connection, f"the value has {size} bytes, more than {MOST_BYTES}")
        answer = await link.asked(*words)
        return number(answer) if words[0] == "ZSCORE" else answer

    async def preview(self, call: Call, *, timeout: float) -> Picture:
        """The very command. The server is not asked: what stands there may change at any time."""
        if call.operation != RUN.name:
            return await super().preview(call, timeout=timeout)
        try:
            command = found(self._settings.commands, call.args.get("command"))
            words = command.words(call.args.get("slots"), shown=True)
            was = _was(call, command)
        except ValueError as error:
            raise ConnectorError(call.connection, f"never sent: {error}") from None
        where = "all databases" if words[0].upper() == "FLUSHALL" else f"database {self._settings.database}"
        only = f", while it is {was}" if was is not None else ""
        return Picture(0, f"sends {spelled(words)} to {where} of {self._settings.url}{only}")

    async def act(self, call: Call, *, order: Order, timeout: float) -> Result:
        """Send a declared command, once."""
        try:
            command = found(self._settings.commands, call.args.get("command"))
            words, was = command.words(call.args.get("slots")), _was(call, command)
        except ValueError as error:
            return Refused(f"never sent: {error}")
        if order.mark is None:
            return Refused("never sent: nothing would keep the mark of its transaction")
        within = self._within(timeout)
        sending = fence.Sending(words, order, marked=command.marked, was=was)
        try:
            async with asyncio.timeout(within), linked(self._settings) as link:
                return await sending.through(link)
        except TimeoutError:
            problem = f"no answer within {within:g} s"
        except BrokenError as error:
            problem = error.told
        return Unknown(f"sent, and then: {problem}") if sending.sent else Refused(f"never sent: {problem}")

    async def inquire(self, call: Call, mark: dict[str, Any], *, timeout: float) -> Result | None:
        """What became of a marked transaction; one that has not come to be never will."""
        if call.operation != RUN.name:
            return await super().inquire(call, mark, timeout=timeout)
        async with self._asking(call, timeout) as link:
            if not fence.unmarked(mark):
                return await fence.fate(call.connection, link, mark)
            try:
                words = found(self._settings.commands, call.args.get("command")).words(call.args.get("slots"))
            except ValueError as error:
                return Unknown(f"it cannot be told any more what it was: {error}")
            return await fence.setting(link, words, mark)

    @contextlib.asynccontextmanager
    async def _asking(self, call: Call, timeout: float) -> AsyncIterator[Link]:
        """A connection for asking. ConnectorError."""
        within = self._within(timeout)
        try:
            async with asyncio.timeout(within), linked(self._settings) as link:
                yield link
        except TimeoutError:
            raise ConnectorError(call.connection, f"no answer within {within:g} s") from None
        except BrokenError as error:
            raise ConnectorError(call.connection, str(error), remedy=error.remedy) from None

    def _within(self, timeout: float) -> float:
        return min(timeout, self._settings.timeout.total_seconds())


def reading(call: Call, settings: RedisSettings) -> list[str]:
    """The words of a reading command. ConnectorError where it may not be asked."""
    command, key, field = (call.args.get(name) for name in ("command", "key", "field"))
    if command == "DBSIZE" and key is None and field is None:
        return [command]
    if command not in _BY_KEY or not isinstance(key, str):
        raise ConnectorError(call.connection, f"not asked: {command} needs a key")
    if not any(_fits(one, key) for one in settings.keys):
        listed = ", ".join(settings.keys) or "none"
        raise ConnectorError(
            call.connection,
            f"not asked: {printable(key, 80)!r} is none of the keys that it lists: {listed}",
            remedy="list it under keys",
        )
    wanted = _BY_KEY[command]
    if (field is not None) is not bool(wanted) or not isinstance(field, str | None):
        needs = "needs a field" if wanted else "takes no field"
        raise ConnectorError(call.connection, f"not asked: {command} {needs}")
    return [command, key, *([field] if field is not None else [])]


def _fits(pattern: str, key: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), key, re.DOTALL) is not None


def _was(call: Call, command: RedisCommand) -> str | None:
    """What the setting must be now. Raises ValueError where there is none."""
    was = call.args.get("was")
    if was is None:
        return None
    if not command.sets:
        raise ValueError("only CONFIG SET knows what it was; leave `was` out")
    return str(was)


KIND = ConnectorKind(
    name="redis",
    doc="A Redis, by redis-py.",
    operations=(INFO, READ, RUN),
    settings=RedisSettings,
    make=Redis,
    needs="redis",
    judges={READ.name: reading},
)
