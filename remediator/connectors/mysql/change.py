"""mysql.execute: a declared statement that changes rows, in one transaction, counted before it becomes final.

MySQL cannot be asked what became of a transaction. So where the connection names a table for marks, a row in
it is written in the same transaction: afterwards it is there, or it is not; and whoever asks puts a row of
its own in that place, after which the transaction can come to be no more. Without such a table a lost answer
to COMMIT stays unknown, and the proof or a person decides.

What people approved is what the statement's preview answered. The act asks it again in its transaction, with
the rows locked, and refuses where it answers anything else.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from remediator.connectors.bound import Bound
from remediator.connectors.mysql.link import Link, SaidNoError
from remediator.connectors.mysql.statement import Prepared, Statement
from remediator.connectors.mysql.values import text
from remediator.core.evidence import Picture
from remediator.core.exact import same
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.ports import Order

MARKED = 5.0
"""Seconds for the journal to keep the mark: all the while the rows are locked."""
DUPLICATE = 1062
WAITED = frozenset({1205, 3572})
"""A lock was not to be had in time."""
ROLLED_BACK = frozenset({1213})
"""Errors with which the server answers a COMMIT that it rolled back for certain."""
TRANSACTIONAL = ("InnoDB", "ROCKSDB", "TokuDB")
SHOWN_ROWS = 200
"""Rows that a declared preview may show."""

_ALONE = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"
"""For one transaction: what it reads is locked, also where FOR UPDATE does not reach, and no row joins."""
_STANDING = "SELECT @@global.read_only AS read_only, CONNECTION_ID() AS session"


@dataclass(frozen=True)
class Change:
    """A call of mysql.execute, judged again. given: the values of its slots, as people read them."""

    statement: Statement
    literals: Mapping[str, str]
    bound: Bound
    marks: str | None
    given: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The statement and its values, as people read them."""
        given = ", ".join(f"{name} = {value!r}" for name, value in self.given.items())
        return f"sends {' '.join(self.statement.sql.split())}" + (f" with {given}" if given else "")

    async def picture(self, link: Link, *, locking: bool = False) -> Picture:
        """What its preview answers. ``locking``: and nobody changes until the transaction's end."""
        if self.statement.preview is None:
            return Picture(0, self.text)
        asked = Prepared(self.statement.preview + (" FOR UPDATE" if locking else ""))
        rows = (await link.prepared(asked, self.literals, SHOWN_ROWS)).rows
        return Picture(len(rows), self.text, tuple(rows))


class Sending:
    """One transaction that may become final. ``sent``: from then on it may have."""

    def __init__(self, change: Change, order: Order) -> None:
        self._change = change
        self._order = order
        self.sent = False

    async def through(self, link: Link) -> Result:
        """Change, count, mark, commit."""
        change = self._change
        (standing,) = (await link.said(_STANDING)).rows
        if standing["read_only"]:
            return Refused("never sent: the server is read-only; is it a replica?")
        if lasting := await _not_taken_back(link, change):
            return Refused(f"never sent: {lasting} could not be rolled back: it is no table of InnoDB")
        key = f"{self._order.key[:120]}:{secrets.token_hex(16)}"
        approved = self._order.shown if change.statement.preview is not None else None
        if approved is not None:
            await link.said(_ALONE)
        await link.said("START TRANSACTION")
        if approved is not None and _other(await change.picture(link, locking=True), approved):
            return Refused("never sent: its preview answers otherwise than when it was approved; ask anew")
        if change.marks is not None:
            await link.said(_put(change.marks, key, "done"))
        answer = await link.prepared(change.statement.prepared, change.literals, most=1)
        if problem := change.bound.broken_by(answer.changed, "changed"):
            return Refused(f"never committed: {problem}")
        result = {"rows": answer.changed}
        mark = {"result": result, "key": key, "marks": change.marks, "session": standing["session"]}
        if why := await self._marked(mark) or self._order.late():
            return Refused(f"never committed: {why}")
        self.sent = True
        try:
            await link.said("COMMIT")
        except SaidNoError as error:
            if error.code in ROLLED_BACK:
                return Refused(f"rolled back at its end: {error}")
            raise
        return Done(result)

    async def _marked(self, mark: dict[str, Any]) -> str:
        assert self._order.mark is not None
        try:
            async with asyncio.timeout(MARKED):
                return await self._order.mark(mark)
        except TimeoutError:
            return f"its mark was not kept within {MARKED:g} s"


async def fate(link: Link, mark: Mapping[str, Any]) -> Result | None:
    """What became of a marked transaction. One that has not come to be is given up, and never will."""
    key, marks, session = (mark.get(name) for name in ("key", "marks", "session"))
    if not isinstance(key, str) or not isinstance(session, int):
        return Unknown("its mark cannot be read")
    if marks is None:
        gone = f"SELECT COUNT(*) AS n FROM information_schema.processlist WHERE id = {session}"
        if (await link.said(gone)).rows[0]["n"]:
            return None
        return Unknown("nothing tells whether it became final: the connection names no table for marks")
    (standing,) = (await link.said(_STANDING)).rows
    if standing["read_only"]:
        return None
    try:
        await link.said(_put(str(marks), key, "given up"))
    except SaidNoError as error:
        if error.code in WAITED:
            return None  # it is open still
        if error.code != DUPLICATE:
            raise
    found = (await link.said(f"SELECT state FROM `{marks}` WHERE step = {text(key)}")).rows
    if found and found[0]["state"] == "done":
        return Done(dict(mark.get("result") or {}))
    return Refused("it never came to be, and was given up") if found else Unknown("its mark was removed")


def _other(found: Picture, approved: Picture) -> bool:
    """Would it do something else than people agreed to?"""
    return found.text != approved.text or not same(found.rows, approved.rows)


def _put(marks: str, key: str, state: str) -> str:
    return f"INSERT INTO `{marks}` (step, state) VALUES ({text(key)}, {text(state)})"


async def _not_taken_back(link: Link, change: Change) -> str:
    """A table that the statement may mean and that knows no transactions; "" where all do."""
    names = [*change.statement.prepared.names, *([change.marks] if change.marks is not None else [])]
    listed = ", ".join(text(name) for name in dict.fromkeys(names) if name)
    engines = ", ".join(text(one) for one in TRANSACTIONAL)
    found = await link.said(
        "SELECT CONCAT(table_schema, '.', table_name) AS name FROM information_schema.tables "
        f"WHERE table_name IN ({listed}) AND table_type = 'BASE TABLE' AND engine NOT IN ({engines}) "
        f"AND (table_schema = DATABASE() OR table_schema IN ({listed}))",
        most=100,
    )
    return str(found.rows[0]["name"]) if found.rows else ""
