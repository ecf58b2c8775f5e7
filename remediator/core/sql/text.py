"""The text of a statement that changes, in tokens, so that parts of it can be cut out.

PostgreSQL's grammar tells where a node begins and not where it ends. What is cut by these tokens is
therefore only proposed: `change` parses every piece again and compares it with the tree. Comments and
every spelling that a reviewer may read wrongly are faults.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from remediator.core.letters import look_alikes, unseen
from remediator.core.sql.tree import Fault

_TOKEN = re.compile(
    rb"""
      (?P<space> [\ \t\n\r\f\v]+ )
    | (?P<comment> -- | /\* )
    | (?P<odd> [eEbBxXnN]' | [uU]&['"] )
    | (?P<dollar> \$ (?: [A-Za-z_\x80-\xff] [A-Za-z0-9_\x80-\xff]* )? \$ )
    | (?P<param> \$ [0-9]+ )
    | (?P<text> ' (?: [^'] | '' )* ' )
    | (?P<name> " (?: [^"] | "" )* " )
    | (?P<word> [A-Za-z_\x80-\xff] [A-Za-z0-9_$\x80-\xff]* )
    | (?P<number> \.? [0-9] [0-9A-Za-z_.]* )
    | (?P<sign> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_ODD = {
    "comment": ("a comment may not stand in a change", "write it above the statement, as YAML"),
    "odd": ("texts with escapes, bits and U& may not stand in a change", "write '…', or pass it as a value"),
    "dollar": ("texts between dollars may not stand in a change", "write '…', or pass it as a value"),
}
_VALUE = "pass it as a value"


@dataclass(frozen=True)
class Token:
    """start, end: in bytes; depth: how many brackets are open around it."""

    kind: str  # text | name | word | param | number | sign
    text: str
    start: int
    end: int
    depth: int

    def is_word(self, word: str) -> bool:
        """Is it this keyword?"""
        return self.text.lower() == word

    def is_sign(self, sign: str) -> bool:
        """Is it this sign?"""
        return self.text == sign


def tokens(source: bytes) -> list[Token] | Fault:
    """Those of a statement that the grammar takes, without a semicolon at its end; or what may hide there."""
    found: list[Token] = []
    depth = 0
    for match in _TOKEN.finditer(source):
        kind, at, text = str(match.lastgroup), match.start(), match[0].decode(errors="replace")
        if kind == "space":
            continue
        if problem := _doubtful(kind, text, found):
            return Fault("P213", *problem, offset=len(source[:at].decode(errors="ignore")))
        depth -= text in (")", "]")
        found.append(Token(kind, text, at, match.end(), depth))
        depth += text in ("(", "[")
    while found and found[-1].is_sign(";"):
        found.pop()
    return found


def hiding(text: str) -> Fault | None:
    """A letter that people cannot see, or take for another."""
    for place, letter in enumerate(text):
        if letter not in "\n\r\t" and unseen(letter):
            return Fault("P213", "there is a letter that cannot be seen", _VALUE, place)
    for place in sorted(look_alikes(text)):
        return Fault("P213", "there is a letter of another alphabet inside a word", _VALUE, place)
    return None


def _doubtful(kind: str, text: str, before: list[Token]) -> tuple[str, str] | None:
    if kind in _ODD:
        return _ODD[kind]
    if "\\" in text:
        return "a backslash may mean two things", _VALUE
    if kind == "text" and before and before[-1].kind == "text":
        return "two texts one below the other are one", "write one"
    return None


def split(found: list[Token], sign: str) -> Iterator[list[Token]]:
    """The pieces between this sign, where it stands at the depth of the first token."""
    piece: list[Token] = []
    for token in found:
        if token.is_sign(sign) and token.depth == found[0].depth:
            yield piece
            piece = []
        else:
            piece.append(token)
    yield piece


def place(found: list[Token], word: str) -> int | None:
    """Where this keyword last stands, not as a name behind a dot."""
    for number in range(len(found) - 1, 0, -1):
        if found[number].is_word(word) and not found[number - 1].is_sign("."):
            return number
    return None


def starred(found: list[Token], location: int) -> bool:
    """Does a ``*`` follow the table's name, which begins at this byte?"""
    name = [token for token in found if token.start >= location]
    end = 0
    while len(name) > end + 2 and name[end + 1].is_sign("."):
        end += 2
    return len(name) > end + 1 and name[end + 1].text.startswith("*")
