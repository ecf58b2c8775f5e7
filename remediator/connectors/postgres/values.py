"""Values between PostgreSQL's columns and the journal, by type: one table for both directions.

Everything but booleans, whole numbers and texts travels in the server's own text form. What is read
and passed back bare is then the very value, and asyncpg's own conversions, which turn 0.07 into
0.07000000000000000666, 1.5 into 1, a month into 30 days and infinity into the year 9999, have no part.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any


class Unfit(ValueError):
    """This value has no exact form on the other side; the message says why."""


@dataclass(frozen=True)
class _Type:
    """read: from the server's text; write: from a value; native: asyncpg's own codec is exact."""

    read: Callable[[Any], Any]
    write: Callable[[Any], Any]
    native: bool = False


# ── Numbers and booleans ────────────────────────────────────────────────────────────────────────


def _as_is(value: Any) -> Any:
    return value


def _number(value: Any) -> Decimal:
    """Any number as the shortest decimal that says the same."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise Unfit(f"{_kind(value)} is no number")
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        raise Unfit(f"{number} is no finite number")
    return number


def _whole(bits: int, *, signed: bool = True) -> Callable[[Any], int]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)

    def write(value: Any) -> int:
        number = _number(value)
        if not low <= number <= high:
            raise Unfit(f"{number} is out of range")
        if number != int(number):
            raise Unfit(f"{number} is no whole number")
        return int(number)

    return write


def _double(largest: str) -> Callable[[Any], str]:
    def write(value: Any) -> str:
        number = _number(value)
        if abs(number) > Decimal(largest) or (number and not float(number)):
            raise Unfit(f"{number} is out of range")
        return str(number)

    return write


def _numeric(value: Any) -> str:
    number = _number(value)
    _sign, digits, exponent = number.as_tuple()
    if number and (len(digits) + int(exponent) > 131_072 or int(exponent) < -16_383):
        raise Unfit("this is out of range")
    return str(number)


def _read_double(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Unfit(f"{text} is no finite number")
    return number


def _read_numeric(text: str) -> Decimal:
    number = Decimal(text)
    if not number.is_finite():
        raise Unfit(f"{text} is no finite number")
    return number


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Unfit(f"{_kind(value)} is neither true nor false")
    return value


# ── Texts ───────────────────────────────────────────────────────────────────────────────────────


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Unfit(f"{_kind(value)} is no text")
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise Unfit("the text holds a NUL or half a character")
    return value


def _uuid(value: Any) -> str:
    try:
        return str(uuid.UUID(_text(value)))
    except ValueError:
        raise Unfit("this is no UUID") from None


def _address(value: Any) -> str:
    try:
        ipaddress.ip_interface(_text(value))
    except ValueError:
        raise Unfit("this is no address or network") from None
    return str(value)


def _to_json(value: Any) -> str:
    """As ``json.dumps``, with decimals as the numbers that they are."""
    match value:
        case str():
            return json.dumps(_text(value), ensure_ascii=False)
        case None | bool():
            return json.dumps(value)
        case int() | float() | Decimal():
            return str(_number(value))
        case Mapping():
            return "{" + ",".join(f"{_to_json(str(key))}:{_to_json(value[key])}" for key in value) + "}"
        case list() | tuple():
            return "[" + ",".join(map(_to_json, value)) + "]"
    raise Unfit(f"{_kind(value)} has no form in JSON")


def _from_json(text: str) -> Any:
    return json.loads(text, parse_float=Decimal, parse_int=_json_int)


def _json_int(text: str) -> int | Decimal:
    exact = Decimal(text)  # int() refuses thousands of digits
    return int(exact) if abs(exact) < 2**63 else exact


# ── Times ───────────────────────────────────────────────────────────────────────────────────────

_PERIOD = re.compile(
    r"P(?=.)(-?\d+Y)?(-?\d+M)?(-?\d+W)?(-?\d+D)?(T(?=.)(-?\d+H)?(-?\d+M)?(-?\d+(\.\d{1,6})?S)?)?"
)
_SECONDS = re.compile(r"-?\d+(\.\d{1,6})?s")
_FINE = re.compile(r"[.,]\d{7}")


def _moment(kind: str, *, zone: bool) -> Callable[[Any], str]:
    """ISO 8601 to the microsecond; with its zone, or without any."""

    def write(value: Any) -> str:
        text = _text(value)
        try:
            found = datetime.fromisoformat(text) if kind == "timestamp" else time.fromisoformat(text)
        except ValueError:
            raise Unfit(f"this is no ISO {kind}") from None
        if len(text) <= 10 and kind == "timestamp":
            raise Unfit("this is a date, without a time")
        if _FINE.search(text):
            raise Unfit("this is finer than a microsecond")
        if zone is not (found.tzinfo is not None):
            raise Unfit("the time has no zone" if zone else "the time has a zone, and the column has none")
        return found.isoformat()

    return write


def _day(value: Any) -> str:
    try:
        return date.fromisoformat(_text(value)).isoformat()
    except ValueError:
        raise Unfit("this is no ISO date") from None


def _period(value: Any) -> str:
    text = _text(value)
    if not _PERIOD.fullmatch(text) and not _SECONDS.fullmatch(text):
        raise Unfit("this is no duration, such as P1DT2H or 90s")
    return text


def _read_moment(text: str) -> str:
    try:
        return datetime.fromisoformat(text).isoformat()
    except ValueError:
        raise Unfit(f"{text} is beyond the years 1 to 9999") from None


def _read_instant(text: str) -> str:
    """In UTC, in whichever zone the session tells it: the same moment is the same value."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        raise Unfit(f"{text} is beyond the years 1 to 9999") from None


def _read_day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise Unfit(f"{text} is beyond the years 1 to 9999") from None


def _read_time(text: str) -> str:
    try:
        return time.fromisoformat(text).isoformat()
    except ValueError:
        raise Unfit(f"{text} is no time of a day") from None


# ── The table ───────────────────────────────────────────────────────────────────────────────────

_TYPES: Mapping[str, _Type] = MappingProxyType(
    {
        "bool": _Type(_as_is, _truth, native=True),
        "int2": _Type(_as_is, _whole(16), native=True),
        "int4": _Type(_as_is, _whole(32), native=True),
        "int8": _Type(_as_is, _whole(64), native=True),
        "oid": _Type(_as_is, _whole(32, signed=False), native=True),
        "text": _Type(_as_is, _text, native=True),
        "varchar": _Type(_as_is, _text, native=True),
        "bpchar": _Type(_as_is, _text, native=True),
        "name": _Type(_as_is, _text, native=True),
        "numeric": _Type(_read_numeric, _numeric),
        "float4": _Type(_read_double, _double("3.4028235e38")),
        "float8": _Type(_read_double, _double("1.7976931348623157e308")),
        "uuid": _Type(_as_is, _uuid),
        "inet": _Type(_as_is, _address),
        "cidr": _Type(_as_is, _address),
        "json": _Type(_from_json, _to_json),
        "jsonb": _Type(_from_json, _to_json),
        "date": _Type(_read_day, _day),
        "time": _Type(_read_time, _moment("time", zone=False)),
        "timetz": _Type(_read_time, _moment("time", zone=True)),
        "timestamp": _Type(_read_moment, _moment("timestamp", zone=False)),
        "timestamptz": _Type(_read_instant, _moment("timestamp", zone=True)),
        "interval": _Type(_as_is, _period),
    }
)

_JSON = frozenset({"json", "jsonb"})

AS_TEXT = tuple(name for name, one in _TYPES.items() if not one.native)
"""The types that must travel as text."""


def known(type_name: str) -> bool:
    """Can values of this type be read and written? ``int4[]`` is an array of ``int4``."""
    return type_name.removesuffix("[]") in _TYPES


def decode(type_name: str, value: Any) -> Any:
    """What was read, in plain values and decimals. Raises Unfit."""
    if value is None:
        return None
    if isinstance(value, list):
        return [decode(type_name, item) for item in value]
    return _TYPES[type_name.removesuffix("[]")].read(value)


def json_null(type_name: str, value: Any) -> bool:
    """Was JSON null read, or an array with one in it? Decoded, it is None, as NULL is."""
    if type_name.removesuffix("[]") not in _JSON:
        return False
    if isinstance(value, list):
        return any(json_null(type_name, item) for item in value)
    return value is not None and value.strip() == "null"


def encode(type_name: str, value: Any) -> Any:
    """The value as the parameter's type takes it. Raises Unfit."""
    if value is None:
        return None
    one = _TYPES.get(type_name.removesuffix("[]"))
    if one is None:
        raise Unfit(f"a value of type {type_name} cannot be passed")
    if not type_name.endswith("[]"):
        return _written(one, value)
    if not isinstance(value, list):
        raise Unfit(f"{_kind(value)} is no list")
    return [_items(one, item) for item in value]


def _items(one: _Type, value: Any) -> Any:
    """An element, or a row of a matrix. In arrays of JSON a list is an element."""
    if value is None:
        return None
    if isinstance(value, list) and one.write is not _to_json:
        return [_items(one, item) for item in value]
    return _written(one, value)


def _written(one: _Type, value: Any) -> Any:
    try:
        return one.write(value)
    except (InvalidOperation, OverflowError, RecursionError):
        raise Unfit("this is out of range") from None


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "a boolean"
        case int() | float() | Decimal():
            return "a number"
        case str():
            return "a text"
        case list() | tuple():
            return "a list"
        case dict():
            return "a map"
    return f"a {type(value).__name__}"
