"""How commands print: columns for people, JSON for pipes; control characters never reach a terminal."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any


def printed(args: argparse.Namespace, answer: Any, text: str) -> int:
    """Print one or the other; returns 0."""
    print(json.dumps(answer, indent=2, ensure_ascii=False) if args.json else _plain(text))
    return 0


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the last is not padded."""
    cells = [list(header), *([_plain(str(cell)).replace("\n", " ") for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def changed(row: dict[str, Any]) -> str:
    """A row of a picture: ``id=p-17: earn_rate 0.0700 → 0.0350``."""
    if "key" not in row:
        return _json(row)
    key = ", ".join(f"{name}={_cell(value)}" for name, value in row["key"].items())
    before, after = row.get("before") or {}, row.get("after") or {}
    names = [name for name in after or before if name not in row["key"]]
    changes = (
        f"{name} " + " → ".join(_cell(side[name]) for side in (before, after) if name in side)
        for name in names
    )
    return f"{key}: {', '.join(changes)}"


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() or letter == "\n" else "�" for letter in text)
