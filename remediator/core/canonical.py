"""One spelling for every value that is hashed: journals, intentions, policy versions."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

type_names = "null, booleans, numbers, strings, lists, maps, times and durations"


def inert(value: Any) -> Any:
    """The value as plain JSON: times become ISO strings, durations seconds, decimals strings.

    Raises TypeError for anything that has no such form.
    """
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    match value:
        case datetime():
            return value.isoformat()
        case timedelta():
            return f"{f'{value.total_seconds():.6f}'.rstrip('0').rstrip('.')}s"
        case Decimal():
            return str(value)
        case dict():
            return {str(key): inert(item) for key, item in value.items()}
        case list() | tuple():
            return [inert(item) for item in value]
    raise TypeError(f"{type(value).__name__} is not one of {type_names}")


def canonical(value: Any) -> str:
    """JSON with sorted keys and numbers as decimal strings, so that 1.0 and 1 hash differently."""
    return _written(value).decode("utf-8", "surrogatepass")


def digest(value: Any) -> str:
    """SHA-256, in hexadecimal, of the canonical spelling."""
    return hashlib.sha256(_written(value)).hexdigest()


_quick = msgspec.json.Encoder(order="sorted").encode
_thorough = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def _written(value: Any) -> bytes:
    spelled = _spelled(value)
    try:
        return _quick(spelled)
    except (UnicodeEncodeError, TypeError):  # half a character, or a text of a class of its own
        return _thorough(spelled).encode("utf-8", "surrogatepass")


_AS_IT_IS = frozenset({str, bool, type(None)})


def _spelled(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            _key(str(key)): item if type(item) in _AS_IT_IS else _spelled(item) for key, item in value.items()
        }
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, (list, tuple)):
        return [item if type(item) in _AS_IT_IS else _spelled(item) for item in value]
    if isinstance(value, int):
        return {"#": str(value)}
    if isinstance(value, float):
        return {"#": repr(value)}
    return _spelled(inert(value))


def _key(key: str) -> str:
    """``#`` alone marks a number; a map that has such a key itself may not pass for one."""
    return f"#{key}" if key.startswith("#") else key
