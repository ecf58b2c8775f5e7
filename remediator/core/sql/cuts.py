"""Cutting a statement that changes into the texts of its parts, each proved against the tree.

A piece is cut by tokens, parsed again as ``SELECT (piece)``, and must give the very subtree that the whole
statement has there. Anything else is a fault, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from remediator.core.sql import text as sqltext
from remediator.core.sql.text import Token
from remediator.core.sql.tree import Fault, parsed, strings

_STUCK = Fault("P211", "this cannot be taken apart safely", "write it more plainly")


@dataclass(frozen=True)
class Cuts:
    """The statement without a semicolon, and its parts as text: WHERE, SET or rows of VALUES."""

    text: str
    condition: str
    sets: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


class _Stuck(Exception):
    """A piece is not what the tree says."""


def cut(text: str, verb: str, original: dict[str, Any]) -> Cuts | Fault:
    """The parts of ``text``, which must be the original with its built-in functions spelled out."""
    found = sqltext.tokens(text.encode())
    if isinstance(found, Fault):
        return _STUCK
    try:
        (statement,) = _tree(text).values()
        if bare(statement) != bare(original):
            return _STUCK
        return _Cutting(text.encode(), found).cuts(verb, statement)
    except _Stuck:
        return _STUCK


def _tree(text: str) -> dict[str, Any]:
    tree = parsed(text, "")
    if isinstance(tree, Fault):
        raise _Stuck
    return tree


class _Cutting:
    def __init__(self, source: bytes, found: list[Token]) -> None:
        self._source = source
        self._tokens = found

    def cuts(self, verb: str, statement: dict[str, Any]) -> Cuts:
        text = self._text(self._tokens)
        (whole,) = _tree(text).values()
        if bare(whole) != bare(statement):
            raise _Stuck
        if verb == "insert":
            return Cuts(text, "", rows=self._rows(statement))
        where = self._place("where")
        condition = self._proved(self._tokens[where + 1 :], statement["whereClause"])
        sets = self._sets(statement["targetList"], where) if verb == "update" else ()
        return Cuts(text, condition, sets)

    def _sets(self, targets: list[Any], where: int) -> tuple[str, ...]:
        """The grammar tells where each name begins; behind it stands =, and before the next one a comma."""
        starts = [self._at(target["ResTarget"]["location"]) for target in targets]
        ends = [start - 1 for start in starts[1:]] + [where]
        return tuple(
            self._proved(self._tokens[start + 2 : end], target["ResTarget"]["val"])
            for target, start, end in zip(targets, starts, ends, strict=True)
        )

    def _rows(self, statement: dict[str, Any]) -> tuple[tuple[str, ...], ...]:
        lists = [row["List"]["items"] for row in statement["selectStmt"]["SelectStmt"]["valuesLists"]]
        pieces = list(sqltext.split(self._tokens[self._place("values") + 1 :], ","))
        if len(pieces) != len(lists):
            raise _Stuck
        return tuple(self._row(piece, items) for piece, items in zip(pieces, lists, strict=True))

    def _row(self, piece: list[Token], items: list[Any]) -> tuple[str, ...]:
        texts = list(sqltext.split(piece[1:-1], ","))
        if len(texts) != len(items):
            raise _Stuck
        return tuple(self._proved(text, item) for text, item in zip(texts, items, strict=True))

    def _place(self, word: str) -> int:
        place = sqltext.place(self._tokens, word)
        if place is None:
            raise _Stuck
        return place

    def _at(self, location: int) -> int:
        for number, token in enumerate(self._tokens):
            if token.start == location:
                return number
        raise _Stuck

    def _text(self, piece: list[Token]) -> str:
        if not piece:
            raise _Stuck
        return self._source[piece[0].start : piece[-1].end].decode()

    def _proved(self, piece: list[Token], subtree: Any) -> str:
        """The text of a piece, if it means alone what it means in the statement."""
        text = self._text(piece)
        select = {
            "targetList": [{"ResTarget": {"val": bare(subtree)}}],
            "limitOption": "LIMIT_OPTION_DEFAULT",
            "op": "SETOP_NONE",
        }
        if bare(_tree(f"SELECT ({text})")) != {"SelectStmt": select}:
            raise _Stuck
        return text


def bare(tree: Any) -> Any:
    """The tree without places, and with every function of one name as one of pg_catalog."""
    if isinstance(tree, list):
        return [bare(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    found = {key: bare(item) for key, item in tree.items() if key != "location"}
    if "funcname" in found and len(strings(found["funcname"])) == 1:
        found["funcname"] = [{"String": {"sval": "pg_catalog"}}, *found["funcname"]]
    return found
