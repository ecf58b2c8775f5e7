"""What the operators and functions of expressions mean. Called back by CEL, and by templates for text.

CEL alone would refuse ``5 * 0.5``, say that ``null != 1.0`` is true and let NaN through. Here numbers
mix, and everything doubtful raises `Wrong`: an expression without a clear answer must have none.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import re2

from remediator.core.durations import format_duration, parse_duration

SMALLEST, LARGEST = -(2**63), 2**63 - 1


class Wrong(ValueError):
    """These values have no answer; the message says why."""


class Unread(dict[str, Any]):
    """A reading that failed: it is null, as each of its values is, and has nothing but ``ok`` and ``at``."""


# ── Kinds of values ─────────────────────────────────────────────────────────────────────────────


def kind_of(value: object) -> str:
    """The value's kind, in the words that people read."""
    match value:
        case None | Unread():
            return "null"
        case bool():
            return "a boolean"
        case int() | float() | Decimal():
            return "a number"
        case str():
            return "a text"
        case datetime():
            return "a time"
        case timedelta():
            return "a duration"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "a map"
    return f"a {type(value).__name__}"


def check_finite(value: object) -> None:
    """Raise Wrong for a number that is not finite, at any depth."""
    if isinstance(value, str):  # nearly all
        return
    match value:
        case float():
            if not math.isfinite(value):
                raise Wrong("a number is not finite")
        case Decimal():
            if not value.is_finite():
                raise Wrong("a number is not finite")
        case Mapping():
            for item in value.values():
                check_finite(item)
        case list() | tuple():
            for item in value:
                check_finite(item)


def _number(value: object) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Wrong(f"expected a number, got {kind_of(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise Wrong("a number is not finite, or beyond 64 bits")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Wrong(f"expected a text, got {kind_of(value)}")
    return value


def encodable(text: str) -> str:
    """The text, unless UTF-8 has no form of it."""
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise Wrong("the text holds half a character (a surrogate)")
    return text


def _in_range(number: Any) -> Any:
    if isinstance(number, float):
        if not math.isfinite(number):
            raise Wrong("the result is not a finite number")
    elif not SMALLEST <= number <= LARGEST:
        raise Wrong("the result is beyond 64 bits")
    return number


# ── Arithmetic ──────────────────────────────────────────────────────────────────────────────────


def add(left: Any, right: Any) -> Any:
    """Numbers, texts, lists; a duration to a time or to a duration."""
    match left, right:
        case (str(), str()) | (list(), list()) | (datetime() | timedelta(), timedelta()):
            return _moved(lambda: left + right)
        case timedelta(), datetime():
            return _moved(lambda: left + right)
    return _in_range(_number(left) + _number(right))


def subtract(left: Any, right: Any) -> Any:
    """Numbers; a duration from a time or a duration; two times."""
    match left, right:
        case (datetime() | timedelta(), timedelta()) | (datetime(), datetime()):
            return _moved(lambda: left - right)
    return _in_range(_number(left) - _number(right))


def _moved(move: Callable[[], Any]) -> Any:
    try:
        return move()
    except OverflowError as error:
        raise Wrong("the result is beyond the calendar") from error


def multiply(left: Any, right: Any) -> Any:
    """Numbers."""
    return _in_range(_number(left) * _number(right))


def divide(left: Any, right: Any) -> Any:
    """Numbers; whole when exact, else a fraction: how data is formatted must not change its meaning."""
    top, bottom = _number(left), _number(right)
    if bottom == 0:
        raise Wrong("division by zero")
    if isinstance(top, int) and isinstance(bottom, int) and top % bottom == 0:
        return _in_range(top // bottom)
    return _in_range(top / bottom)


def remainder(left: Any, right: Any) -> Any:
    """The remainder has the sign of the dividend, as in CEL."""
    top, bottom = _number(left), _number(right)
    if bottom == 0:
        raise Wrong("division by zero")
    if isinstance(top, int) and isinstance(bottom, int):
        rest = abs(top) % abs(bottom)
        return -rest if top < 0 else rest
    return _in_range(math.fmod(top, bottom))


def negate(value: Any) -> Any:
    """Numbers and durations."""
    return -value if isinstance(value, timedelta) else _in_range(-_number(value))


def round_(value: Any, digits: Any = 0) -> Any:
    """Half to even; whole without digits, else a number with at most so many decimals."""
    number, places = _number(value), _number(digits)
    if not isinstance(places, int) or not 0 <= places <= 15:
        raise Wrong("round() takes 0 to 15 decimals")
    if isinstance(number, int):
        return number
    return _in_range(round(number, places) if places else round(number))


def least(*values: Any) -> Any:
    """The smallest of the arguments, or of one list."""
    return functools.reduce(lambda a, b: b if less(b, a) else a, _several(values))


def greatest(*values: Any) -> Any:
    """The largest of the arguments, or of one list."""
    return functools.reduce(lambda a, b: b if less(a, b) else a, _several(values))


def _several(values: tuple[Any, ...]) -> list[Any]:
    items = list(values[0]) if len(values) == 1 and isinstance(values[0], list) else list(values)
    if not items:
        raise Wrong("min() and max() of nothing")
    for item in items:
        less(item, item)
    return items


# ── Comparison ──────────────────────────────────────────────────────────────────────────────────


def _comparable(left: object, right: object) -> str:
    mine, other = kind_of(left), kind_of(right)
    if "null" in (mine, other):
        raise Wrong("null is compared; test it with == null or != null first")
    if mine != other:
        raise Wrong(f"{mine} is compared with {other}")
    if mine == "a number":
        _number(left), _number(right)
    return mine


def less(left: Any, right: Any) -> bool:
    """Two numbers, texts, times, durations or booleans."""
    if _comparable(left, right) in ("a list", "a map"):
        raise Wrong("lists and maps have no order")
    return bool(left < right)


def at_most(left: Any, right: Any) -> bool:
    """``left <= right``."""
    return not less(right, left)


def equal(left: Any, right: Any) -> bool:
    """Equal values of one kind; another kind is a mistake, not an inequality."""
    match _comparable(left, right):
        case "a list":
            return len(left) == len(right) and all(map(_same, left, right))
        case "a map":
            return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    return bool(left == right)


def _same(left: Any, right: Any) -> bool:
    """Inside lists and maps null is a value like any other."""
    if left is None or right is None:
        return left is right
    return equal(left, right)


def within(item: Any, of: Any) -> bool:
    """Is it an element of the list, or a key of the map?"""
    if item is None:
        raise Wrong("null is looked for")
    match of:
        case list():
            return any(equal(item, one) for one in of if one is not None)
        case dict():
            return any(equal(item, key) for key in of)
    raise Wrong(f"expected a list or a map after in, got {kind_of(of)}")


# ── Texts, times, conversions ───────────────────────────────────────────────────────────────────


def matches(text: Any, pattern: Any) -> bool:
    """RE2, anchored at both ends, as Alertmanager's matchers are."""
    return fits(compiled(_text(pattern)), _text(text))


def fits(pattern: Any, text: str) -> bool:
    """Does the whole text fit a compiled pattern? Half a character (a surrogate) reads as in Go.

    As bytes: of a text, RE2's door would first reckon where each group stands, which nobody asks.
    """
    try:
        found = text.encode()
    except UnicodeEncodeError:
        repaired = "".join("\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in text)
        found = repaired.encode()
    return pattern.fullmatch(found) is not None


@functools.lru_cache(maxsize=4096)
def compiled(pattern: str) -> Any:
    """The RE2 pattern; raises Wrong when RE2 refuses it."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except UnicodeEncodeError as error:
        raise Wrong("the pattern holds half a character (a surrogate)") from error
    except re2.error as error:
        reason = error.args[0] if error.args else error
        reason = reason.decode() if isinstance(reason, bytes) else reason
        raise Wrong(f"{pattern!r} is not an RE2 pattern: {reason}") from error


def contains(text: Any, part: Any) -> bool:
    """Does the text contain the part?"""
    return _text(part) in _text(text)


def starts_with(text: Any, part: Any) -> bool:
    """Does the text start with the part?"""
    return _text(text).startswith(_text(part))


def ends_with(text: Any, part: Any) -> bool:
    """Does the text end with the part?"""
    return _text(text).endswith(_text(part))


def size(value: Any) -> int:
    """Characters of a text, elements of a list, entries of a map."""
    if isinstance(value, str | list | dict):
        return len(value)
    raise Wrong(f"{kind_of(value)} has no size")


def whole(value: Any) -> int:
    """``int(x)``: a number without its fraction, or a text that is a whole number."""
    if isinstance(value, str):
        if not re.fullmatch(r"[+-]?[0-9]{1,19}", value):
            raise Wrong(f"{value[:40]!r} is not a whole number")
        return int(_in_range(int(value)))
    return int(_in_range(int(_number(value))))


def fraction(value: Any) -> float:
    """``double(x)``: a number, or a text that is one."""
    if isinstance(value, str):
        if not re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", value):
            raise Wrong(f"{value[:40]!r} is not a number")
        return float(_in_range(float(value)))
    return float(_number(value))


def timestamp(value: Any) -> datetime:
    """A time as it is, or an RFC 3339 text with its zone."""
    if isinstance(value, datetime):
        return value
    try:
        moment = datetime.fromisoformat(_text(value))
    except ValueError as error:
        raise Wrong(f"{value[:40]!r} is not a time") from error
    if moment.tzinfo is None:
        raise Wrong(f"{value[:40]!r} has no time zone")
    return moment


def duration(value: Any) -> timedelta:
    """``duration("7d")``."""
    return value if isinstance(value, timedelta) else parse_duration(_text(value))


# ── Text ────────────────────────────────────────────────────────────────────────────────────────


def plain_number(number: float | Decimal) -> str:
    """The shortest decimal form without an exponent: ``0.07``, ``5``, ``-3``."""
    check_finite(number)
    text = format(number if isinstance(number, Decimal) else Decimal(repr(number)), "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def text_of(value: object) -> str:
    """The value as people read it; null has no text."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float() | Decimal():
            return plain_number(value)
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case timedelta():
            return format_duration(value)
        case list() | tuple() | Mapping():
            check_finite(value)
            return json.dumps(value, ensure_ascii=False, separators=(", ", ": "), default=_inner)
    raise Wrong(f"{kind_of(value)} has no text")


def _inner(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else text_of(value)


MARKS: dict[str, tuple[str, Callable[..., Any]]] = {
    "+": ("__add", add),
    "-": ("__subtract", subtract),
    "*": ("__multiply", multiply),
    "/": ("__divide", divide),
    "%": ("__remainder", remainder),
    "<": ("__less", less),
    "<=": ("__at_most", at_most),
    ">": ("__more", lambda left, right: less(right, left)),
    ">=": ("__at_least", lambda left, right: at_most(right, left)),
    "==": ("__equal", equal),
    "!=": ("__differ", lambda left, right: not equal(left, right)),
    "in": ("__within", within),
}
"""Infix marks → the function that CEL calls instead."""

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "contains": contains,
    "double": fraction,
    "duration": duration,
    "endsWith": ends_with,
    "int": whole,
    "matches": matches,
    "max": greatest,
    "min": least,
    "round": round_,
    "size": size,
    "startsWith": starts_with,
    "string": text_of,
    "timestamp": timestamp,
}
"""Functions and methods that CEL calls back; the getters of times stay CEL's own."""
