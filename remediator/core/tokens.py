"""The words of expressions: text in, tokens with offsets out. Called by syntax and by templates.

Numbers and texts are decoded here. Left out of CEL on purpose: bytes, unsigned numbers and
triple-quoted texts; no policy needs them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from remediator.errors import ExpressionError


class Sort(Enum):
    """What a token is."""

    NAME = auto()
    NUMBER = auto()
    TEXT = auto()
    MARK = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """``value``: the number or the decoded text; the source text for the rest."""

    sort: Sort
    value: object
    offset: int
    end: int

    def is_mark(self, *marks: str) -> bool:
        """Is it one of these punctuation marks?"""
        return self.sort is Sort.MARK and self.value in marks


_TOKEN = re.compile(
    r"""
    (?P<space>  [ \t\r\n\f]+ | //[^\n]* )
  | (?P<float>  (?:\d+\.\d+|\.\d+)(?:[eE][+-]?\d+)? | \d+[eE][+-]?\d+ )
  | (?P<int>    0[xX][0-9a-fA-F]+ | \d+ )
  | (?P<raw>    [rR](?: "[^"\n]*" | '[^'\n]*' ) )
  | (?P<line>   "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' )
  | (?P<name>   [A-Za-z_][A-Za-z0-9_]* )
  | (?P<mark>   && | \|\| | == | != | <= | >= | [-+*/%<>!?:.,()\[\]{}] )
    """,
    re.VERBOSE | re.ASCII,
)

_ESCAPE = re.compile(
    r"\\(?:x(?P<x>[0-9a-fA-F]{2})|u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})"
    r"|(?P<oct>[0-3][0-7]{2})|(?P<one>.)|$)",
    re.DOTALL,
)
_ESCAPED = dict(zip("abfnrtv\\?\"'`", "\a\b\f\n\r\t\v\\?\"'`", strict=True))

_TYPOS = {
    "=": "write == to compare",
    "&": "write &&",
    "|": "write ||",
    "`": 'write labels["my-label"]',
    "$": "inside an expression no ${ } is needed",
    '"': "close the quote",
    "'": "close the quote",
}


def tokens(text: str, start: int = 0) -> Iterator[Token]:
    """The tokens of ``text`` from ``start``, lazily: a template stops at its closing brace."""
    at = start
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ExpressionError("", f"unexpected {text[at]!r}", remedy=_TYPOS.get(text[at], ""), offset=at)
        if found.lastgroup != "space":
            yield _token(found)
        at = found.end()
    yield Token(Sort.END, "the end", at, at)


def _token(found: re.Match[str]) -> Token:
    source, at, end = found.group(), found.start(), found.end()
    match found.lastgroup:
        case "int" | "float":
            if found.string[end : end + 1].isidentifier():
                raise ExpressionError("", f"{source}{found.string[end]} is not a number", offset=at)
            return Token(Sort.NUMBER, _number(source, at), at, end)
        case "raw" | "line":
            return Token(Sort.TEXT, _text(source, at), at, end)
        case "name":
            return Token(Sort.NAME, source, at, end)
        case _:
            return Token(Sort.MARK, source, at, end)


def _number(source: str, at: int) -> int | float:
    if source[:2] in ("0x", "0X"):
        return int(source, 16)
    if source.isdigit():
        return int(source)
    number = float(source)
    if not math.isfinite(number):
        raise ExpressionError("", f"{source} is too large", offset=at)
    return number


def _text(source: str, at: int) -> str:
    raw = source[0] in "rR"
    body = source[1:] if raw else source
    if raw:
        return body[1:-1]
    return _ESCAPE.sub(lambda found: _unescape(found, at), body[1:-1])


def _unescape(found: re.Match[str], at: int) -> str:
    code = found["x"] or found["u"] or found["U"]
    number = int(code, 16) if code else int(found["oct"], 8) if found["oct"] else None
    if number is not None:
        if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
            raise ExpressionError("", f"{found.group()} is not a character", offset=at)
        return chr(number)
    if found["one"] in _ESCAPED:
        return _ESCAPED[found["one"]]
    raise ExpressionError(
        "", f"{found.group()!r} is not an escape", remedy=r"write \\ for a backslash", offset=at
    )
