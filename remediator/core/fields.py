"""The kinds of values that a policy's fields hold: durations, rates, patterns, names, templates.

Each is written as text, parsed once when the policy is read, and written as text again in the schema.
Used by policy alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from remediator.core.durations import Rate, format_duration, parse_duration
from remediator.core.expression import Template
from remediator.core.operators import compiled, fits
from remediator.core.selector import Selector, parse_selector
from remediator.core.syntax import RESERVED
from remediator.core.windows import Window
from remediator.errors import ExpressionError

OUR_WORDS = frozenset(
    {"alert", "annotations", "before", "each", "labels", "now", "steps", "target", "verify"}
)
"""Names that expressions give a meaning of their own: no probe, step or param may take them."""

T = TypeVar("T")


def _from_text(parse: Callable[[str], T], kind: type[T], remedy: str = "") -> Callable[[object], T]:
    """A validator that parses text and lets a parsed value through."""

    def validated(value: object) -> T:
        if isinstance(value, kind):
            return value
        if not isinstance(value, str) and remedy:
            raise PydanticCustomError("format", "{problem}", {"problem": remedy})
        if not isinstance(value, str):
            raise PydanticCustomError("string_type", "Input should be a text; quote it")
        try:
            return parse(value)
        except ExpressionError as error:
            raise _unparsed(error) from error
        except ValueError as error:
            raise PydanticCustomError("format", "{problem}", {"problem": str(error)}) from error

    return validated


def _name(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or len(name) > 64:
        raise ValueError(f"{name[:70]!r} is not a name: lower-case letters, digits and _, a letter first")
    if name in RESERVED | OUR_WORDS:
        raise ValueError(f"{name!r} is a reserved word")
    return name


def _kebab(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) or len(name) > 100:
        raise ValueError(f"{name[:110]!r} is not a policy's name: write it like-this")
    return name


def _span(text: str) -> timedelta:
    span = parse_duration(text)
    if span < timedelta():
        raise ValueError(f"{text} is negative")
    return span


@dataclass(frozen=True)
class Pattern:
    """A regular expression: RE2, anchored at both ends."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError when RE2 refuses it."""
        compiled(text)
        return cls(text)

    def matches(self, text: str) -> bool:
        """Does the whole text fit? One that holds half a character (a surrogate) fits nothing."""
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            return False
        return fits(compiled(self.text), text)

    def __str__(self) -> str:
        return self.text


def templated(value: Any, *, within: tuple[str | int, ...] = ()) -> Any:
    """Any YAML value with every text in it made a Template; maps and lists are kept.

    ``within``: the way to it from the field, which an error tells as its context.
    """
    match value:
        case str():
            return _template(value, within)
        case dict():
            return {key: templated(item, within=(*within, key)) for key, item in value.items()}
        case list():
            return [templated(item, within=(*within, number)) for number, item in enumerate(value)]
    return value


def _template(text: str, within: tuple[str | int, ...]) -> Template:
    try:
        return Template.parse(text)
    except ExpressionError as error:
        raise _unparsed(error, within) from error


def _unparsed(error: ExpressionError, within: tuple[str | int, ...] = ()) -> PydanticCustomError:
    told = {"problem": error.problem, "remedy": error.remedy, "offset": error.offset, "within": within}
    return PydanticCustomError("expression", "{problem}", told)


_DURATION_SCHEMA = {"type": "string", "pattern": r"^(?=\d)(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$"}
_DAY = "(Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_WINDOW_SCHEMA: dict[str, Any] = {
    "type": "string",
    "pattern": rf"^\s*({_DAY}([,-]{_DAY})*\s+)?(\d\d:\d\d-\d\d:\d\d\s+)?[A-Z]\S*\s*$",
    "examples": ["Fri 16:00-20:00 Africa/Dakar"],
}
_RATE_SCHEMA = {"type": "string", "pattern": r"^\d+ in \S+$"}

Name = Annotated[str, AfterValidator(_name)]
PolicyName = Annotated[
    str,
    AfterValidator(_kebab),
    WithJsonSchema({"type": "string", "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$"}),
]
Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(strict=True, ge=1)]
Duration = Annotated[
    timedelta,
    PlainValidator(_from_text(_span, timedelta, "write a duration such as 2h")),
    PlainSerializer(format_duration, str),
    WithJsonSchema(_DURATION_SCHEMA),
]
RateText = Annotated[
    Rate,
    PlainValidator(_from_text(Rate.parse, Rate, "write a rate such as 3 in 24h")),
    PlainSerializer(str, str),
    WithJsonSchema(_RATE_SCHEMA),
]
WindowText = Annotated[
    Window,
    PlainValidator(_from_text(Window.parse, Window)),
    PlainSerializer(str, str),
    WithJsonSchema(_WINDOW_SCHEMA),
]
SelectorText = Annotated[
    Selector,
    PlainValidator(_from_text(parse_selector, Selector)),
    PlainSerializer(str, str),
    WithJsonSchema({"type": "string"}),
]
PatternText = Annotated[
    Pattern,
    PlainValidator(_from_text(Pattern.parse, Pattern)),
    PlainSerializer(str, str),
    WithJsonSchema({"type": "string"}),
]
With = Annotated[dict[str, Any], AfterValidator(templated)]
