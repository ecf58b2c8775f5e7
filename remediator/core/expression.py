"""Expressions and templates of policies: CEL behind one door, with our meaning.

Policies hold them, parsed once; decide asks them. A bare path keeps its value's exact type. An
expression that has no answer raises, with its text, its place and the values that it saw; it never
counts as false. A template is evaluated once: nothing ever looks at its result again for ``${``.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from remediator.core import escaping, operators, syntax, tokens
from remediator.core.catalog import Escape
from remediator.core.durations import format_duration, parse_duration
from remediator.core.operators import Wrong
from remediator.core.program import Missing, Path, Program, shown, walk
from remediator.errors import EvaluationError, ExpressionError

__all__ = ["Expression", "Path", "Template", "format_duration", "parse_duration"]


class _FromText:
    """Lets a pydantic field be written as text and hold the parsed value."""

    @classmethod
    def parse(cls, text: str, place: str = "") -> Self:
        raise NotImplementedError

    @classmethod
    def _validated(cls, value: object) -> Self:
        if isinstance(value, cls):
            return value
        if not isinstance(value, str):
            raise PydanticCustomError("string_type", "Input should be a text; quote it")
        try:
            return cls.parse(value)
        except ExpressionError as error:
            told = {"problem": error.problem, "remedy": error.remedy, "offset": error.offset}
            raise PydanticCustomError("expression", "{problem}", told) from error

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        return core_schema.no_info_plain_validator_function(
            cls._validated,
            json_schema_input_schema=core_schema.str_schema(),
            serialization=core_schema.to_string_ser_schema(),
        )


# ── Expressions ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Expression(_FromText):
    """One parsed expression; equal to another with the same text.

    place: where it is written, for errors; names: the root names that it looks up; paths: the same
    with all their keys and offsets; is_path: is it nothing but a path, so that its value keeps its type?
    """

    text: str
    place: str = field(default="", compare=False)
    names: frozenset[str] = field(default=frozenset(), compare=False)
    paths: tuple[Path, ...] = field(default=(), compare=False)
    is_path: bool = field(default=False, compare=False)
    _program: Any = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return self.text

    @classmethod
    def parse(cls, text: str, place: str = "") -> Self:
        """Raises ExpressionError with the offset of what is wrong."""
        try:
            program = _program(text)
        except ExpressionError as error:
            raise ExpressionError(place, error.problem, remedy=error.remedy, offset=error.offset) from error
        names = frozenset(path.root for path in program.paths)
        return cls(text, place, names, program.paths, program.bare is not None, program)

    def evaluate(self, scope: Mapping[str, object], place: str = "") -> object:
        """The answer for these names and values; raises EvaluationError."""
        used: dict[str, object] = {}
        try:
            return self._program.run(scope, used)
        except (ValueError, TypeError, ArithmeticError) as error:
            values = "".join(f", {path} = {shown(value)}" for path, value in used.items())
            problem = f"{self.text!r} has no answer: {error}"
            raise EvaluationError(
                place or self.place, problem + (f" (where {values[2:]})" if values else "")
            ) from error

    def values(self, scope: Mapping[str, object]) -> dict[str, object]:
        """What its paths lead to, as far as they lead anywhere: for people who ask why."""
        found: dict[str, object] = {}
        for path in self.paths:
            with contextlib.suppress(Wrong):
                found[str(path)] = path.find(scope)
        return found

    def is_missing(self, scope: Mapping[str, object]) -> bool:
        """Is it made of one path alone, which leads to a key that is not there? A default may stand in."""
        if len(set(self.paths)) != 1:
            return False
        try:
            self.paths[0].find(scope)
        except Missing:
            return True
        except Wrong:
            return False
        return False


@functools.lru_cache(maxsize=8192)
def _program(text: str) -> Program:
    tree = syntax.parse(text)
    for node in walk(tree):
        if isinstance(node, syntax.Call):
            _check_literal(node)
    try:
        return Program(tree)
    except ValueError as error:
        raise ExpressionError("", "nested too deeply, or not CEL", remedy="write it shorter") from error


_LITERALS: dict[str, Callable[[Any], object]] = {
    "matches": operators.compiled,
    "duration": operators.duration,
    "timestamp": operators.timestamp,
}


def _check_literal(call: syntax.Call) -> None:
    """A pattern, duration or time that is written out must be one: say so at load."""
    last = call.args[-1]
    if call.name not in _LITERALS or not isinstance(last, syntax.Literal):
        return
    try:
        _LITERALS[call.name](last.value)
    except (ValueError, TypeError) as error:
        raise ExpressionError("", str(error), offset=last.offset) from error


# ── Templates ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Template(_FromText):
    """A text with ``${…}``; equal to another with the same text. ``$${`` stands for a literal ``${``.

    place: where it is written, for errors; pieces: its texts and expressions in order; starts: where
    in the text each expression starts.
    """

    text: str
    place: str = field(default="", compare=False)
    pieces: tuple[str | Expression, ...] = field(default=(), compare=False)
    starts: tuple[int, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return self.text

    @classmethod
    def parse(cls, text: str, place: str = "") -> Self:
        """Raises ExpressionError with the offset of what is wrong, counted in the template's text."""
        pieces, starts = _pieces(text, place)
        return cls(text, place, tuple(pieces), tuple(starts))

    @functools.cached_property
    def expressions(self) -> tuple[Expression, ...]:
        """Its expressions, in order."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Expression))

    @property
    def names(self) -> frozenset[str]:
        """The root names that its expressions look up."""
        return frozenset().union(*(one.names for one in self.expressions))

    @functools.cached_property
    def whole(self) -> Expression | None:
        """Its expression, when it is exactly one ``${…}``."""
        return self.expressions[0] if len(self.pieces) == 1 and self.expressions else None

    @property
    def literal(self) -> bool:
        """Has it no expression at all?"""
        return not self.expressions

    def render(self, scope: Mapping[str, object], escape: Escape, place: str = "") -> object:
        """The text with its values in place, made inert by ``escape``; raises EvaluationError.

        TYPED alone gives the value of a whole ``${…}`` as it is; all others give text.
        """
        place = place or self.place
        if self.whole and escape is Escape.TYPED:
            return self.whole.evaluate(scope, place)
        return self._joined(escape, place, lambda one: one.evaluate(scope, place))

    def check(self, escape: Escape) -> str:
        """Why no value at all could be rendered with ``escape``; empty when some could."""
        if escape is Escape.LITERAL and not self.literal:
            return "no expression is allowed here"
        try:
            self._joined(escape, "", lambda _: 1)
        except EvaluationError as error:
            return str(error.__cause__)
        return ""

    def _joined(self, escape: Escape, place: str, answer: Callable[[Expression], object]) -> str:
        literal, escaped = _writers(escape)
        texts = []
        for piece in self.pieces:
            if isinstance(piece, str):
                texts.append(literal(piece))
                continue
            value = answer(piece)
            try:
                texts.append(escaped(value))
            except Wrong as error:
                problem = f"${{{piece.text}}} cannot be inserted: {error} (where it is {shown(value)})"
                raise EvaluationError(place, problem) from error
        return "".join(texts)


def _writers(escape: Escape) -> tuple[Callable[[str], str], Callable[[object], str]]:
    """How a template's own text is written, and how a value is."""
    match escape:
        case Escape.TYPED | Escape.TEXT:
            return str, operators.text_of
        case Escape.LITERAL:
            return str, escaping.never
        case Escape.PATH:
            return str, escaping.path_segment
        case Escape.MRKDWN:
            return str, escaping.mrkdwn
        case Escape.PROMQL:
            query = escaping.PromQL()
            return query.literal, query.value


_OPENING = re.compile(r"\$?\$\{")


def _pieces(text: str, place: str) -> tuple[list[str | Expression], list[int]]:
    """The texts and expressions of a template, and where each expression starts."""
    pieces: list[str | Expression] = []
    starts: list[int] = []
    plain = ""
    at = 0
    while found := _OPENING.search(text, at):
        plain += text[at : found.start()]
        at = found.end()
        if found.group() == "$${":
            plain += "${"
            continue
        if plain:
            pieces.append(plain)
        plain = ""
        end = _closing(text, at, place)
        starts.append(at + len(text[at:end]) - len(text[at:end].lstrip()))
        pieces.append(_inside(text[at:end].strip(), starts[-1], place))
        at = end + 1
    plain += text[at:]
    return [*pieces, plain] if plain else pieces, starts


def _inside(text: str, start: int, place: str) -> Expression:
    """The expression between the braces."""
    try:
        return Expression.parse(text, place)
    except ExpressionError as error:
        offset = start + error.offset
        raise ExpressionError(place, error.problem, remedy=error.remedy, offset=offset) from error


def _closing(text: str, start: int, place: str) -> int:
    """Where the brace that ends an expression stands; braces and quotes inside it do not count."""
    depth = 0
    try:
        for token in tokens.tokens(text, start):
            if token.is_mark("{"):
                depth += 1
            elif token.is_mark("}"):
                if not depth:
                    return token.offset
                depth -= 1
    except ExpressionError as error:
        raise ExpressionError(place, error.problem, remedy=error.remedy, offset=error.offset) from error
    raise ExpressionError(
        place,
        "${ without its closing }",
        remedy="close it with }, or write $${ for a literal ${",
        offset=start - 2,
    )
