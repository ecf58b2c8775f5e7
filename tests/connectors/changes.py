"""Changes as a step asks for them, and the journal that keeps their marks."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from remediator.connectors.postgres import Postgres
from remediator.core.evidence import Picture
from remediator.core.exact import kept, revived
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.errors import ConnectorError
from remediator.ports import Order

HALVE = """
    UPDATE loyalty_programs SET earn_rate = $2, updated_at = now() WHERE id = $1 AND earn_rate = $3
"""


def execute(sql: str, *args: object, rows: int | dict[str, int] = 1, undo: str = "restore") -> Call:
    """One change, which touches exactly (or ``{"at_most": …}``) so many rows."""
    bound = {"exactly": rows} if isinstance(rows, int) else rows
    given = {"sql": sql, "args": list(args), "rows": bound, **({"undo": undo} if undo else {})}
    return Call("postgres.execute", "loyalty_db", given)


def through_the_store(value: Any) -> Any:
    """As it comes back from a journal."""
    return revived(json.loads(json.dumps(kept(value))))


@dataclass
class Journal:
    """Keeps marks; says ``no`` where it may not become final; ``meanwhile`` happens before it answers."""

    no: str = ""
    meanwhile: Callable[[], Awaitable[object]] | None = None
    marks: list[dict[str, Any]] = field(default_factory=list)

    async def mark(self, about: dict[str, Any]) -> str:
        self.marks.append(through_the_store(about))
        if self.meanwhile is not None:
            await self.meanwhile()
        return self.no


async def act(
    connector: Postgres,
    call: Call,
    *,
    shown: Picture | None = None,
    journal: Journal | None = None,
    timeout: float = 20,
) -> Result:
    """Do it, with this journal behind it."""
    order = Order("run-1/step", shown, (journal or Journal()).mark)
    return await connector.act(call, order=order, timeout=timeout)


async def done(connector: Postgres, call: Call, **given: Any) -> dict[str, Any]:
    """What an act that must go well returned, as it comes back from a journal."""
    result = await act(connector, call, **given)
    assert isinstance(result, Done), result
    kept: dict[str, Any] = through_the_store(result.result)
    return kept


async def refused(connector: Postgres, call: Call, **given: Any) -> str:
    """Why an act was refused."""
    result = await act(connector, call, **given)
    assert isinstance(result, Refused), result
    return result.reason


async def unknown(connector: Postgres, call: Call, **given: Any) -> str:
    """Why nobody knows what became of an act."""
    result = await act(connector, call, **given)
    assert isinstance(result, Unknown), result
    return result.reason


async def preview(connector: Postgres, call: Call) -> Picture:
    """What it would change, as people agree to it."""
    picture = await connector.preview(call, timeout=20)
    return Picture(picture.count, picture.text, tuple(through_the_store(list(picture.rows))))


async def no_preview(connector: Postgres, call: Call) -> str:
    """Why nobody is asked."""
    try:
        picture = await connector.preview(call, timeout=20)
    except ConnectorError as error:
        return str(error)
    raise AssertionError(picture)


def restore(result: dict[str, Any]) -> Call:
    """The generated undo of what an act returned."""
    return Call("postgres.restore", "loyalty_db", result["restore"])
