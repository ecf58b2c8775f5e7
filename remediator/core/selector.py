"""Alertmanager's selectors, read as Alertmanager reads them. Called by policy, asked by matching.

Two grammars exist: the UTF-8 one (pkg/labels of Alertmanager 0.27, ``matcher/parse``) and the classic
one (``pkg/labels/parse.go``), which allows more in unquoted values and takes a spurious backslash
literally. As Alertmanager does, the first is tried, then the second. Where both read the text but
disagree about its meaning the selector is refused: a policy must not mean two things.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from remediator.core.operators import Wrong, compiled, fits
from remediator.errors import ExpressionError

_REMEDY = 'write {alertname="X", env=~"a|b"}'


_PLAIN_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
_ESCAPED_BY_ONE = re.compile(r"[\x00-\x09\x0b-\x1f]")
_PLAIN_CHOICE = re.compile(r"[\w :/@-]+(?:\|[\w :/@-]+)*")


@dataclass(frozen=True)
class Matcher:
    """``name op value``; the op is one of ``=  !=  =~  !~``. An absent label is an empty text."""

    name: str
    op: str
    value: str
    _pattern: Any = field(default=None, compare=False, repr=False)
    choices: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """All that its pattern takes, where that is nothing but a choice of plain values, such as ``a|b``."""

    def __post_init__(self) -> None:
        """Raises Wrong when RE2 refuses the pattern."""
        if self.op in ("=~", "!~"):
            object.__setattr__(self, "_pattern", compiled(self.value))
            if "\\Q" in self.value:  # Alertmanager closes a group behind it: an open quotation takes that in
                compiled(f"(?:{self.value})")
            if _PLAIN_CHOICE.fullmatch(self.value):
                object.__setattr__(self, "choices", tuple(dict.fromkeys(self.value.split("|"))))

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Do these labels fit?"""
        found = labels.get(self.name, "")
        if self._pattern is None:
            return (found == self.value) is (self.op == "=")
        if self.choices:
            return (found in self.choices) is (self.op == "=~")
        return fits(self._pattern, found) is (self.op == "=~")

    def __str__(self) -> str:
        """Reads as this very matcher. A quoted name keeps the grammar away that knows three escapes only."""
        plain = _PLAIN_NAME.fullmatch(self.name) and not _ESCAPED_BY_ONE.search(self.value)
        return f"{self.name if plain else _quoted(self.name)}{self.op}{_quoted(self.value)}"


@dataclass(frozen=True)
class Selector:
    """Matchers that must all hold; ``text`` is how the policy's author wrote them."""

    matchers: tuple[Matcher, ...]
    text: str = field(default="", compare=False)

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Do all its matchers hold?"""
        return all(matcher.holds(labels) for matcher in self.matchers)

    def noes(self, labels: Mapping[str, str]) -> tuple[Matcher, ...]:
        """The matchers that do not hold, for people who ask why."""
        return tuple(matcher for matcher in self.matchers if not matcher.holds(labels))

    def __str__(self) -> str:
        return self.text or "{" + ", ".join(map(str, self.matchers)) + "}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def parse_selector(text: str) -> Selector:
    """Raises ExpressionError with the offset of what is wrong."""
    if len(text) > 4096:
        raise ExpressionError("", "a selector longer than 4096 characters")
    problem: ExpressionError | None = None
    modern = classic = None
    try:
        modern = _Reader(text).read()
    except ExpressionError as error:
        problem = error
    try:
        classic = _classic(text)
    except ExpressionError as error:
        problem = problem or (None if modern else error)
    found = modern or classic
    if found is None:
        raise problem or ExpressionError("", "no matcher", remedy=_REMEDY)
    if modern and classic and modern != classic:
        raise ExpressionError(
            "",
            "Alertmanager's two grammars read this differently",
            remedy="write a backslash twice, or the character itself",
        )
    return Selector(_checked(found, text), text)


def _checked(parts: list[tuple[str, str, str]], text: str) -> tuple[Matcher, ...]:
    matchers = []
    for name, op, value in parts:
        try:
            matchers.append(Matcher(name, op, value))
        except Wrong as error:
            raise ExpressionError("", str(error), offset=max(text.find(value), 0)) from error
    if all(matcher.holds({}) for matcher in matchers):
        raise ExpressionError(
            "", "this would match every alert", remedy="name at least one label that must be there"
        )
    return tuple(matchers)


# ── The UTF-8 grammar ───────────────────────────────────────────────────────────────────────────

_SPACE = re.compile(r"\s*")
_OPERATOR = re.compile(r"=~|!=|!~|=")
_PLAIN = re.compile(r"""[^\s{}!=~,\\"'`]+""")
_QUOTED = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
_ESCAPE = re.compile(
    r"\\(?:x(?P<x>[0-9a-fA-F]{2})|u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})|(?P<o>[0-3][0-7]{2})"
    r"|(?P<one>.))"
)
_ESCAPED = dict(zip('abfnrtv\\"', '\a\b\f\n\r\t\v\\"', strict=True))


class _Reader:
    """Reads ``{name op value, …}``; the braces may both be left out."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def read(self) -> list[tuple[str, str, str]]:
        """The (name, op, value) of each matcher."""
        braced = self._skip("{")
        found: list[tuple[str, str, str]] = []
        while not self._ends(braced=braced):
            found.append((self._word("a label's name"), self._operator(), self._word("a value")))
            if not self._skip(",") and not self._ends(braced=braced):
                raise self._error("expected a comma")
        if braced:
            self._skip("}")
            if not self._ends(braced=False):
                raise self._error("nothing may follow the closing brace")
        return found

    def _ends(self, *, braced: bool) -> bool:
        self._blank()
        if braced and self._at >= len(self._text):
            raise self._error("expected the closing brace")
        return self._text.startswith("}", self._at) if braced else self._at >= len(self._text)

    def _blank(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _skip(self, mark: str) -> bool:
        self._blank()
        if not self._text.startswith(mark, self._at):
            return False
        self._at += 1
        return True

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        self._blank()
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return found

    def _operator(self) -> str:
        if found := self._take(_OPERATOR):
            return found.group()
        raise self._error("expected =, !=, =~ or !~")

    def _word(self, what: str) -> str:
        self._blank()
        start = self._at
        if found := self._take(_QUOTED):
            return _ESCAPE.sub(lambda escape: _unescaped(escape, start), found[1])
        if found := self._take(_PLAIN):
            return found.group()
        raise self._error(f"expected {what}")

    def _error(self, problem: str) -> ExpressionError:
        seen = repr(self._text[self._at]) if self._at < len(self._text) else "the end"
        return ExpressionError("", f"{problem}, found {seen}", remedy=_REMEDY, offset=self._at)


def _unescaped(found: re.Match[str], at: int) -> str:
    code = found["x"] or found["u"] or found["U"]
    number = int(code, 16) if code else int(found["o"], 8) if found["o"] else None
    if number is None and found["one"] in _ESCAPED:
        return _ESCAPED[found["one"]]
    if number is None or number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        raise ExpressionError("", f"{found.group()} is not an escape", remedy=r"write \\", offset=at)
    if number > 0x7F and not (found["u"] or found["U"]):
        raise ExpressionError("", f"{found.group()} is a byte, not a character", offset=at)
    return chr(number)


# ── The classic grammar ─────────────────────────────────────────────────────────────────────────

_CLASSIC = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(=~|=|!=|!~)\s*(.*?)\s*", re.DOTALL | re.ASCII)
_PIECE = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*("|$))*', re.DOTALL)


def _classic(text: str) -> list[tuple[str, str, str]]:
    stripped = text.strip()
    if stripped.startswith("{") is not stripped.endswith("}"):
        raise ExpressionError("", "only one of the two braces is there", remedy=_REMEDY)
    body = stripped[1:-1] if stripped.startswith("{") else stripped
    offset = text.find(body)
    found = []
    at = 0
    while at < len(body):
        piece = _PIECE.match(body, at)
        end = piece.end() if piece else at
        if body[at:end].strip() or end < len(body):
            found.append(_one_classic(body[at:end], offset + at))
        at = end + 1
    return found


def _one_classic(text: str, at: int) -> tuple[str, str, str]:
    found = _CLASSIC.fullmatch(text)
    if found is None:
        raise ExpressionError("", f"{text.strip()!r} is not a matcher", remedy=_REMEDY, offset=at)
    name, op, raw = found.groups()
    quoted = raw.startswith('"')
    if raw.startswith(("'", "=", "~")):  # Alertmanager takes them as part of the value; nobody means that
        raise ExpressionError("", f"the value starts with {raw[0]!r}", remedy=_REMEDY, offset=at)
    body = raw[1:] if quoted else raw
    value = re.sub(r'\\([n"\\])', lambda escape: {"n": "\n"}.get(escape[1], escape[1]), body)
    bare = re.sub(r"\\.", "..", body, flags=re.DOTALL)
    if quoted:
        if not bare.endswith('"') or '"' in bare[:-1]:
            raise ExpressionError("", "a quote is not closed", remedy=_REMEDY, offset=at)
        value = value[:-1]
    elif '"' in bare:
        raise ExpressionError("", "a quote stands inside a value", remedy=_REMEDY, offset=at)
    return name, op, value
