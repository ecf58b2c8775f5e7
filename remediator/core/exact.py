"""Exact numbers on their way through stores and journals, whose JSON knows only doubles.

A decimal that was read is kept as ``{"#": "0.07"}`` wherever a run is kept, and comes back as the very
decimal. A map's own key that begins with ``#`` is kept with one more, so that no data from outside can
pass for a number. People see plain numbers; only where a journal holds what was hashed does it keep
the spelling, so that the hash can be told again.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from remediator.core.canonical import canonical, inert

MARK = "#"
_DOUBLES = 2**53
"""Up to here every whole number is a double as well."""


def kept(value: Any) -> Any:
    """The value as JSON that loses nothing. Raises TypeError for what has no such form."""
    if isinstance(value, str):  # nearly all
        return value
    match value:
        case Decimal():
            return {MARK: str(value)}
        case dict():
            return {_guarded(str(key)): kept(item) for key, item in value.items()}
        case list() | tuple():
            return [kept(item) for item in value]
    return inert(value)


def revived(value: Any) -> Any:
    """The reverse of `kept`. Asked for every decision: quick where there is much to look through."""
    if isinstance(value, dict):
        if len(value) == 1 and isinstance(text := value.get(MARK), str):
            return Decimal(text)
        return {key.removeprefix(MARK): revived(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [revived(item) for item in value]
    return value


def same(one: Any, other: Any) -> bool:
    """Is it the very value, as a journal tells it? Not as Python compares, to which True is 1 and 1.0."""
    return canonical(kept(one)) == canonical(kept(other))


def plain(value: Any) -> Any:
    """The value as ordinary JSON: a decimal is a number where a double says the same, else its text."""
    if isinstance(value, str):  # nearly all
        return value
    match value:
        case Decimal():
            return _number(value)
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
    return inert(value)


def spelled(value: Any) -> Any:
    """What was `kept`; a decimal as the text that it was read as: 0.0700, where `shown` says 0.07."""
    found = revived(value)
    return str(found) if isinstance(found, Decimal) else plain(found)


def shown(value: Any) -> Any:
    """What was `kept`, as people read it."""
    return plain(revived(value))


def worth(value: Any) -> Any:
    """What was `kept`, as its receiver takes it: 1, 1.0 and the decimal 1.00 are one number there."""
    return _worth(shown(value))


def _worth(value: Any) -> Any:
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {key: _worth(item) for key, item in value.items()}
        case list():
            return [_worth(item) for item in value]
    return value


def _guarded(key: str) -> str:
    return MARK + key if key.startswith(MARK) else key


def _number(number: Decimal) -> int | float | str:
    if abs(number) < _DOUBLES and number == number.to_integral_value():
        return int(number)
    near = float(number)
    return near if Decimal(repr(near)) == number else str(number)
