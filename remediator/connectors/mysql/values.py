"""Values on their way to the server, in letters that mean nothing to SQL; and on their way back, exact."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

LONGEST_TEXT = 4096
"""Characters that a text may have."""
MOST_DIGITS = 65
"""Of a DECIMAL."""


def text(value: object) -> str:
    """A text, by the hex digits of its UTF-8: there is nothing in it that a parser could take for its own."""
    if not isinstance(value, str):
        raise ValueError(f"{brief(value)} is no text")  # noqa: TRY004 - as pydantic wants it
    if not value or len(value) > LONGEST_TEXT:
        raise ValueError(f"it must have 1 to {LONGEST_TEXT} characters, not {len(value)}")
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError("the text holds a NUL or half a character")
    return f"_utf8mb4 X'{value.encode().hex()}'"


def whole(value: object) -> str:
    """A whole number that a BIGINT holds."""
    exact = number(value)
    if Decimal(exact) != int(Decimal(exact)):
        raise ValueError(f"{exact} is no whole number")
    if not -(2**63) <= int(Decimal(exact)) < 2**63:
        raise ValueError(f"{exact} is out of range")
    return str(int(Decimal(exact)))


def number(value: object) -> str:
    """A number, digit for digit; of a double the shortest decimal that says the same."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError(f"{brief(value)} is no number")  # noqa: TRY004 - as pydantic wants it
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not exact.is_finite():
        raise ValueError(f"{exact} is no finite number")
    if abs(exact.adjusted()) > MOST_DIGITS or len(exact.as_tuple().digits) > MOST_DIGITS:
        raise ValueError(f"it has more than {MOST_DIGITS} digits")
    return format(exact, "f")


def truth(value: object) -> str:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{brief(value)} is neither true nor false")  # noqa: TRY004 - as pydantic wants it
    return "1" if value else "0"


def moment(value: object) -> str:
    """An ISO time; with a zone, it is told in UTC, which is the zone of our sessions."""
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"{brief(value)} is no ISO time") from None
    if found.tzinfo is not None:
        found = found.astimezone(UTC).replace(tzinfo=None)
    return text(found.isoformat(sep=" "))


def brief(value: object) -> str:
    """As people read it in a reason."""
    return repr(value)[:80]


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────


def _double(told: str) -> float:
    found = float(told)
    if not math.isfinite(found):
        raise ValueError(f"{told} is no finite number")
    return found


def _time(told: str) -> str | None:
    """Of `0000-00-00`, which is no date, null."""
    return None if told.startswith("0000-00-00") else datetime.fromisoformat(told).isoformat()


def _instant(told: str) -> str | None:
    found = _time(told)
    return f"{found}+00:00" if found is not None else None


def _day(told: str) -> str | None:
    return None if told == "0000-00-00" else told


def _json(told: str) -> Any:
    return json.loads(told, parse_float=Decimal)


_READ: Mapping[int, Callable[[str], Any]] = MappingProxyType(
    {
        **dict.fromkeys((0, 246), Decimal),  # DECIMAL, NEWDECIMAL
        **dict.fromkeys((1, 2, 3, 8, 9, 13), int),  # TINYINT to BIGINT, MEDIUMINT, YEAR
        **dict.fromkeys((4, 5), _double),
        7: _instant,
        12: _time,
        10: _day,
        245: _json,
    }
)
"""By the number of a column's type. What is not here is a text."""
_BIT = 16


def read(kind: int, told: object) -> Any:
    """What the server told of one value, in plain values and decimals. Raises ValueError."""
    if told is None:
        return None
    if isinstance(told, bytes):
        if kind == _BIT:
            return int.from_bytes(told)
        try:
            told = told.decode()
        except UnicodeDecodeError:
            raise ValueError("its bytes are no text; select HEX(…) of it") from None
    return _READ.get(kind, str)(str(told))
