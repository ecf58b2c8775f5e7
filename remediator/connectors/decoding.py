"""JSON as an application or a command writes it: read whole, or not at all."""

from __future__ import annotations

import json
from typing import Any


def as_json(text: str) -> Any:
    """The text as JSON; None if it is not, or holds what JSON has no word for (NaN, half characters)."""
    try:
        value = json.loads(text, parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    return value


def _refuse(word: str) -> Any:
    raise ValueError(word)
