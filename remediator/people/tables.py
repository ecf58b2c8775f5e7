"""Rows as they are and as they would be, in columns: for a card, or whole for the file in its thread. Pure.

Rows come from a `Picture` of SQL: ``{"key": {…}, "before": {…}, "after": {…}}``, values as `exact.kept`.
Numbers stand as they were read, 0.0700 and not 0.07. Nothing in a cell can pass for a table's own lines:
line breaks and everything else that hides is spelled out.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from remediator.core.canonical import inert
from remediator.core.evidence import Picture
from remediator.core.exact import revived
from remediator.core.letters import plainly
from remediator.people.lettering import cut

MOST_ROWS = 10
"""Rows of one table on a card."""
WIDEST = 100
"""Letters of a line on a card; Slack folds longer ones, and then columns are none any more."""
WIDEST_CELL = 24
"""Letters of a cell of a table that a card cannot hold whole."""

_SIDES = frozenset({"key", "before", "after"})
_BARE = re.compile(r"[^\s\"→]+(?: [^\s\"→]+)*")


@dataclass(frozen=True)
class Table:
    """Lines in columns. ``whole``: every row that would change is there, letter by letter."""

    text: str
    whole: bool


def is_tabular(picture: Picture) -> bool:
    """Are these rows of a table, before and after?"""
    return bool(picture.rows) and all(_is_row(row) for row in picture.rows)


def on_card(picture: Picture) -> Table:
    """The table as far as a card can show it."""
    rows = [_Row.of(row) for row in picture.rows]
    lines = _aligned(rows[:MOST_ROWS])
    fits = all(_width(line) <= WIDEST for line in lines)
    if not fits:
        lines = [cut(line, WIDEST) for line in _aligned(rows[:MOST_ROWS], WIDEST_CELL)]
    left = max(picture.count, len(rows)) - min(len(rows), MOST_ROWS)
    if left > 0:
        lines.append(f"… {left} more")
    return Table("\n".join(lines), fits and left == 0)


def in_full(picture: Picture) -> str:
    """Every row that is known, however wide."""
    return "\n".join(_aligned([_Row.of(row) for row in picture.rows]))


# ── Rows ──────────────────────────────────────────────────────────────────────────────────────────


def _is_row(row: Mapping[str, Any]) -> bool:
    sides = all(isinstance(side, Mapping | None) for side in row.values())
    known = row.keys() <= _SIDES and isinstance(row.get("key"), Mapping)
    return known and sides and bool(row.get("before") or row.get("after"))


@dataclass(frozen=True)
class _Row:
    """One row: what names it, and each column's value before and after. None: it is not there then."""

    key: Mapping[str, Any]
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> _Row:
        live = revived(dict(row))
        return cls(live["key"], live.get("before"), live.get("after"))

    @property
    def mark(self) -> str:
        """``+`` where a row comes, ``−`` where one goes."""
        if not self.before:
            return "+"
        return "" if self.after else "−"

    def columns(self) -> list[str]:
        """The columns beside the key's, in their order."""
        names = dict.fromkeys([*(self.after or {}), *(self.before or {})])
        return [name for name in names if name not in self.key or self.changes(name)]

    def changes(self, name: str) -> bool:
        """Would a part of the key itself become another?"""
        return bool(self.before and self.after) and self._at(self.after, name) not in (
            None,
            _cell(self.key.get(name)),
        )

    def cell(self, name: str, widest: int) -> str:
        """``0.0700 → 0.0350``; one value where there is only one."""
        sides = [self._at(side, name) for side in (self.before, self.after)]
        return " → ".join(_cut(side, widest) for side in sides if side is not None)

    @staticmethod
    def _at(side: Mapping[str, Any] | None, name: str) -> str | None:
        return _cell(side[name]) if side is not None and name in side else None


def _cell(value: Any) -> str:
    """As a person at a database's prompt would see it, but never to be taken for something else."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "true" if value else "false"
        case Decimal():
            return f"{value:f}" if value.is_finite() else str(value)
        case str() if _BARE.fullmatch(value) and value not in ("NULL", "true", "false"):
            return plainly(value)
    return plainly(json.dumps(inert(value), ensure_ascii=False))


# ── Columns ───────────────────────────────────────────────────────────────────────────────────────


def _aligned(rows: Sequence[_Row], widest: int = 0) -> list[str]:
    """A line of headings and a line for each row, padded into columns. ``widest``: 0 cuts no cell."""
    keys = list(dict.fromkeys(name for row in rows for name in row.key))
    columns = list(dict.fromkeys(name for row in rows for name in row.columns()))
    marked = any(row.mark for row in rows)
    cells = [[*([""] if marked else []), *(_cut(plainly(name), widest) for name in [*keys, *columns])]]
    for row in rows:
        named = [_cut(_cell(row.key[name]), widest) if name in row.key else "" for name in keys]
        mark = [row.mark] if marked else []
        cells.append([*mark, *named, *(row.cell(name, widest) for name in columns)])
    widths = [max(_width(line[place]) for line in cells) for place in range(len(cells[0]))]
    return ["  ".join(map(_padded, line, widths)).rstrip() for line in cells]


def _cut(text: str, widest: int) -> str:
    return cut(text, widest) if widest else text


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - _width(cell))


def _width(text: str) -> int:
    """Places that the letters take in a fixed-width font."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1
        for one in text
    )
