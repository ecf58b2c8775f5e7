"""Typed parameters: the only way for alert data to reach an action."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any
from uuid import UUID  # noqa: TID251 -- only to read one; none is made here

from remediator.core.canonical import inert
from remediator.core.expression import parse_duration
from remediator.core.opening import Param
from remediator.errors import EvaluationError, RemediatorError

_INT = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]{1,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")


def convert(name: str, param: Param, scope: Mapping[str, Any]) -> Any:
    """The parameter's value as plain JSON, checked against its type and pattern.

    Raises EvaluationError when it is missing (and has no default) or does not fit.
    """
    place = f"params.{name}"
    try:
        raw = param.from_.evaluate(scope, place=place)
    except RemediatorError as error:
        if not (param.has_default and param.from_.is_missing(scope)):
            raise EvaluationError(place, f"no value: {error.problem}", remedy=error.remedy) from error
        raw = param.default
    return _checked(place, param, raw)


@dataclass(frozen=True)
class Misfit:
    """Why a value that a person gave for a parameter cannot be taken, and what can."""

    name: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"params.{self.name}: {self.problem}; {self.remedy}"


def fit(params: Mapping[str, Param], given: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Misfit, ...]]:
    """The parameters as a person gave them, checked as an alert's are, and all that is wrong with them."""
    values: dict[str, Any] = {}
    wrong = list(_unknown(params, given))
    for name, param in params.items():
        raw = given.get(name)
        if raw is None and not param.has_default:
            wrong.append(Misfit(name, "is missing", f"give {_wanted(param)}"))
            continue
        try:
            values[name] = _checked(f"params.{name}", param, raw)
        except EvaluationError as error:
            wrong.append(Misfit(name, error.problem, f"give {_wanted(param)}"))
            continue
        if isinstance(values[name], int) and abs(values[name]) >= 10**18:  # no text of an alert has more
            wrong.append(Misfit(name, "has more than 18 digits", f"give {_wanted(param)}"))
    return values, tuple(wrong)


def _unknown(params: Mapping[str, Param], given: Mapping[str, Any]) -> Iterator[Misfit]:
    for name in given:
        if name not in params:
            near = get_close_matches(name, params, n=1)
            known = f"there are {', '.join(params)}" if params else "it takes none"
            yield Misfit(
                name[:100], "the policy has no such param", f"did you mean {near[0]}?" if near else known
            )


def _wanted(param: Param) -> str:
    """What a parameter takes, in words."""
    match param.type:
        case "string":
            return f"a text that fits {param.pattern.text}" if param.pattern is not None else "a text"
        case "enum":
            return f"one of {', '.join(param.values)}"
        case "int":
            return "a whole number"
        case "number":
            return "a number"
        case "bool":
            return "true or false"
        case "uuid":
            return "a UUID"
        case "duration":
            return "a duration such as 30s, 5m or 2h"
        case "time":
            return "a time with its zone, such as 2026-12-20T00:00Z"


def _checked(place: str, param: Param, raw: Any) -> Any:
    """The value as plain JSON; nothing at all is the default, where there is one."""
    if raw in (None, "") and param.has_default:
        raw = param.default
    try:
        return inert(_typed(param, raw))
    except (ValueError, RemediatorError) as error:
        problem = error.problem if isinstance(error, RemediatorError) else str(error)
        raise EvaluationError(place, f"{_shown(raw)} {problem}") from error


def _typed(param: Param, raw: Any) -> Any:
    text = raw.strip() if isinstance(raw, str) else raw
    match param.type:
        case "string":
            return _string(param, raw)
        case "enum":
            return _chosen(param, raw)
        case "int":
            return _int(raw) if is_number(raw) else int(_fits(_INT, text, "an int"))
        case "number":
            return _finite(raw) if is_number(raw) else _finite(float(_fits(_NUMBER, text, "a number")))
        case "bool":
            return _truth(raw)
        case "uuid":
            return _uuid(text)
        case "duration":
            return raw if isinstance(raw, timedelta) else _span(str(text))
        case "time":
            return _time(raw)
    raise ValueError(f"has the unknown type {param.type}")


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _string(param: Param, raw: Any) -> str:
    if not isinstance(raw, str):
        raise ValueError("is not a string")
    if param.pattern is None:
        raise ValueError("has no pattern to fit")
    if not param.pattern.matches(raw):
        raise ValueError(f"does not fit the pattern {param.pattern.text}")
    if _CONTROL.search(raw):
        raise ValueError("holds control characters")
    return raw


def _chosen(param: Param, raw: Any) -> str:
    if raw not in param.values:
        raise ValueError(f"is none of {', '.join(param.values)}")
    return str(raw)


def _truth(raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    if raw in ("true", "false"):
        return bool(raw == "true")
    raise ValueError("is neither true nor false")


def _uuid(text: Any) -> str:
    try:
        return str(UUID(str(text)))
    except ValueError as error:
        raise ValueError("is not a UUID") from error


def _span(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ValueError("is not a duration") from error


def _time(raw: Any) -> datetime:
    try:
        at = raw if isinstance(raw, datetime) else datetime.fromisoformat(str(raw))
    except ValueError as error:
        raise ValueError("is not an ISO time") from error
    if at.tzinfo is None:
        raise ValueError("has no time zone")
    return at


def is_number(raw: Any) -> bool:
    """To us True is none, though it is one to Python."""
    return isinstance(raw, int | float) and not isinstance(raw, bool)


def _int(number: int | float) -> int:  # noqa: PYI041 -- mypy would take an int for a float
    if isinstance(number, float) and not number.is_integer():
        raise ValueError("is not an int")
    return int(number)


def _finite(number: int | float) -> float:  # noqa: PYI041 -- likewise
    if isinstance(number, float) and not math.isfinite(number):
        raise ValueError("is not finite")
    return number


def _fits(pattern: re.Pattern[str], text: Any, what: str) -> str:
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise ValueError(f"is not {what}")
    return text


def _shown(raw: Any) -> str:
    return repr(raw)[:100]
