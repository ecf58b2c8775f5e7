"""mysql.kill: ends sessions that have been idle, or at work on one statement, for too long.

Only sessions of logins that the connection lists, letter for letter; never our own, nor one of the server
itself or of a replica, which are none of theirs. One that says nothing in an open transaction is not idle:
ending it takes back what it has not committed. Those that people saw are ended, known by their number, their
login and the very port that they come from; and each is looked at once more right before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from remediator.connectors.bound import Bound, bound
from remediator.connectors.mysql.link import BrokenError, Link, SaidNoError
from remediator.connectors.mysql.settings import MysqlSettings
from remediator.connectors.mysql.values import text
from remediator.core.catalog import Escape, Holds, Kind, Operation, Param, Risk
from remediator.core.durations import parse_duration
from remediator.core.evidence import Picture
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.errors import ConnectorError
from remediator.ports import Order

_OPEN = "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx WHERE trx_autocommit_non_locking = 0"
"""Sessions that have a transaction open; not those that merely read, each statement by itself."""
STATES = {
    "idle": f"command = 'Sleep' AND id NOT IN ({_OPEN})",
    "idle in transaction": f"command = 'Sleep' AND id IN ({_OPEN})",
    "busy": "command IN ('Query', 'Execute')",
}
ENDED_WITHIN = 5.0
"""Seconds in which a session that was told to end must have ended."""
MOST = 10_000
"""Sessions that are looked at."""
UNKNOWN_SESSION = 1094

KILL = Operation(
    name="mysql.kill",
    kind=Kind.ACTION,
    doc="End sessions of listed logins that have been idle, or at work on one statement, for too long.",
    params={
        "state": Param(
            "`idle`, `idle in transaction` (what it has not committed is lost) or `busy`.",
            escape=Escape.LITERAL,
            required=True,
            choices=tuple(STATES),
        ),
        "longer_than": Param(
            "For how long already, such as 5m.", escape=Escape.LITERAL, required=True, holds=Holds.LONGER
        ),
        "user": Param(
            "Only sessions of this login, one that the connection lists.",
            escape=Escape.LITERAL,
            holds=Holds.THERE,
        ),
    },
    risk=Risk.DISRUPTIVE,
    settle=timedelta(seconds=ENDED_WITHIN),
    longest=timedelta(seconds=30),
    previews=True,
    counts=True,
)

_SEES_ALL = """
    SELECT (SELECT COUNT(*) FROM information_schema.user_privileges WHERE privilege_type = 'PROCESS')
        + (SELECT COUNT(*) FROM information_schema.processlist
            WHERE user <> SUBSTRING_INDEX(CURRENT_USER(), '@', 1)) AS n
"""


@dataclass(frozen=True)
class Sought:
    """A call of mysql.kill, judged again."""

    name: str
    state: str
    longer_than: timedelta
    users: tuple[str, ...]
    bound: Bound

    async def picture(self, link: Link) -> Picture:
        """The sessions that it would end. ConnectorError for what would be refused."""
        rows = await self._found(link)
        if problem := self.bound.broken_by(len(rows), "would end"):
            raise ConnectorError(self.name, problem)
        about = f"{self.state} for longer than {self.longer_than.total_seconds():g} s"
        return Picture(len(rows), f"ends {self.bound.counted(len(rows))} {about}", tuple(rows))

    async def _found(self, link: Link) -> list[dict[str, Any]]:
        if not (await link.said(_SEES_ALL)).rows[0]["n"]:
            raise ConnectorError(
                self.name, "it may not see what others do", remedy="GRANT PROCESS ON *.* TO its login"
            )
        return [_shown(row) for row in (await link.said(self._looking(), MOST)).rows]

    def _looking(self, *more: str) -> str:
        """The question for sessions as they are sought; ``more``: and that are such."""
        return (
            f"SELECT id, user, host, db, command, id IN ({_OPEN}) AS in_transaction "
            "FROM information_schema.processlist WHERE id <> CONNECTION_ID() "
            f"AND {_one_of('user', *self.users)} AND {STATES[self.state]} "
            f"AND time >= {round(self.longer_than.total_seconds())} "
            f"{''.join(f'AND {one} ' for one in more)}ORDER BY time DESC, id"
        )


class Ending:
    """One round of goodbyes. ``told``: sessions that were told to end, or may have been."""

    def __init__(self, sought: Sought, order: Order) -> None:
        self._sought = sought
        self._order = order
        self.told: list[dict[str, Any]] = []

    async def through(self, link: Link) -> Result:
        """End those that people saw and that are still so."""
        rows = await self._sought._found(link)  # noqa: SLF001 - its other half
        left: list[dict[str, Any]] = []
        if self._order.shown is not None:
            seen = [row.get("key") for row in self._order.shown.rows]
            rows = [row for row in rows if row["key"] in seen]
            left = [key for key in seen if key is not None and key not in [row["key"] for row in rows]]
        if problem := self._sought.bound.broken_by(len(rows), "would end"):
            return Refused(f"never sent: {problem}")
        if why := self._order.late():
            return Refused(f"never sent: {why}")
        for row in rows:
            try:
                ended = await self._end(link, row)
            except SaidNoError as error:
                if not self.told:
                    return Refused(f"never sent: {error}")
                raise BrokenError(str(error)) from None
            if not ended:
                left.append(row["key"])
        if standing := await _standing(link, self.told):
            numbers = ", ".join(str(one) for one in standing)
            return Unknown(f"told to end, and still there: {numbers}")
        ended_all = [{**row["key"], **row["before"]} for row in self.told]
        return Done({"rows": len(self.told), "ended": ended_all, "left": left})

    async def _end(self, link: Link, row: dict[str, Any]) -> bool:
        """False where it is not as sought any more."""
        key = row["key"]
        same = (f"id = {int(key['id'])}", _one_of("user", key["user"]), _one_of("host", key["host"]))
        if not (await link.said(self._sought._looking(*same))).rows:  # noqa: SLF001 - likewise
            return False
        self.told.append(row)
        try:
            await link.said(f"KILL CONNECTION {int(key['id'])}")
        except SaidNoError as error:
            self.told.remove(row)
            if error.code == UNKNOWN_SESSION:
                return False
            raise
        return True


def sought(call: Call, settings: MysqlSettings) -> Sought:
    """What a call asks for. ConnectorError where it may not be asked."""
    state, longer, user = (call.args.get(name) for name in ("state", "longer_than", "user"))
    if state not in STATES or not isinstance(longer, str) or not isinstance(user, str | None):
        raise ConnectorError(
            call.connection, f"state must be one of {', '.join(STATES)}, longer_than and user texts"
        )
    try:
        span = parse_duration(longer)
    except ValueError as error:
        raise ConnectorError(call.connection, f"longer_than: {error}") from None
    if span < timedelta(seconds=1):
        raise ConnectorError(call.connection, "longer_than must be a second at least, such as 5m")
    users = settings.users if user is None else tuple(one for one in settings.users if one == user)
    if not users:
        listed = ", ".join(settings.users) or "none"
        raise ConnectorError(
            call.connection,
            f"it lists no such login whose sessions may be ended: {listed}",
            remedy="see users",
        )
    return Sought(call.connection, state, span, users, bound(call, settings.sessions, "session"))


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """As a row of a picture. Not for how long: that is another figure with every look."""
    return {
        "key": {name: row[name] for name in ("id", "user", "host")},
        "before": {
            **{name: row[name] for name in ("db", "command")},
            "in_transaction": bool(row["in_transaction"]),
        },
        "after": {},
    }


def _one_of(column: str, *texts: str) -> str:
    """Byte for byte: to the server's own comparison, Shop and shöp are shop."""
    return f"CAST({column} AS BINARY) IN ({', '.join(f'CAST({text(one)} AS BINARY)' for one in texts)})"


async def _standing(link: Link, rows: Sequence[dict[str, Any]]) -> list[int]:
    """Which of them have not ended in time."""
    pause = 0.02
    left = [int(row["key"]["id"]) for row in rows]
    for _ in range(round(ENDED_WITHIN / pause)):
        if not left:
            break
        listed = ", ".join(map(str, left))
        there = f"SELECT id FROM information_schema.processlist WHERE id IN ({listed})"
        left = [int(row["id"]) for row in (await link.said(there, MOST)).rows]
        if left:
            await asyncio.sleep(pause)
    return left
