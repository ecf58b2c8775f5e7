"""The grammar of expressions: text in, a tree with offsets out. Called by expression; knows no values.

CEL's own parser tells neither where a variable stands nor what kind of expression it read, and a
policy author needs both. So the text is read here, and `expression` writes CEL from the tree.
Only functions that are known to exist are let through: a typing error is found at load, not at night.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from remediator.core.tokens import Sort, Token, tokens
from remediator.errors import ExpressionError

LONGEST = 4096
"""Characters that one expression may have."""

DEEPEST = 64
"""Levels that one expression may nest; keeps recursion here and in the engine far from its limits."""

RESERVED = frozenset(
    "as break const continue else false for function if import in let loop namespace null package "
    "return true var void while".split()
)
"""CEL's keywords and reserved words: none may name a variable."""

MACROS = frozenset({"all", "exists", "exists_one", "filter", "map"})
"""Methods that bind a variable: ``rows.exists(row, row.amount > 5)``."""

GLOBALS = {
    "double": (1, 1),
    "duration": (1, 1),
    "int": (1, 1),
    "matches": (2, 2),
    "max": (1, 16),
    "min": (1, 16),
    "round": (1, 2),
    "size": (1, 1),
    "string": (1, 1),
    "timestamp": (1, 1),
}
"""Functions, with the fewest and the most arguments."""

METHODS = {
    "contains": 1,
    "endsWith": 1,
    "matches": 1,
    "size": 0,
    "startsWith": 1,
    "getDate": 0,
    "getDayOfMonth": 0,
    "getDayOfWeek": 0,
    "getDayOfYear": 0,
    "getFullYear": 0,
    "getHours": 0,
    "getMilliseconds": 0,
    "getMinutes": 0,
    "getMonth": 0,
    "getSeconds": 0,
}
"""Methods, with the number of arguments beside the receiver."""


@dataclass(frozen=True, slots=True)
class Literal:
    """``null``, ``true``, ``5``, ``0.5`` or ``"text"``."""

    value: object
    offset: int


@dataclass(frozen=True, slots=True)
class Name:
    """A variable."""

    name: str
    offset: int


@dataclass(frozen=True, slots=True)
class Item:
    """``of.key`` or ``of[key]``."""

    of: Node
    key: Node
    offset: int


@dataclass(frozen=True, slots=True)
class Has:
    """``has(of.key)``."""

    item: Item
    offset: int


@dataclass(frozen=True, slots=True)
class Call:
    """``name(args)``, or ``args[0].name(args[1:])``: both are the same call."""

    name: str
    args: tuple[Node, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Loop:
    """``of.macro(variable, bodies)``."""

    macro: str
    of: Node
    variable: str
    bodies: tuple[Node, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Unary:
    """``!x`` or ``-x``."""

    mark: str
    of: Node
    offset: int


@dataclass(frozen=True, slots=True)
class Binary:
    """``left mark right``; the mark may be ``in``."""

    mark: str
    left: Node
    right: Node
    offset: int


@dataclass(frozen=True, slots=True)
class Choice:
    """``when ? then : other``."""

    when: Node
    then: Node
    other: Node
    offset: int


@dataclass(frozen=True, slots=True)
class Sequence:
    """``[a, b]``."""

    items: tuple[Node, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Mapping:
    """``{"a": 1}``."""

    entries: tuple[tuple[Node, Node], ...]
    offset: int


Node = Literal | Name | Item | Has | Call | Loop | Unary | Binary | Choice | Sequence | Mapping


def parts(node: Node) -> tuple[Node, ...]:
    """The nodes directly inside a node."""
    match node:
        case Item(of=of, key=key):
            return (of, key)
        case Has(item=item):
            return (item,)
        case Call(args=inner) | Sequence(items=inner):
            return inner
        case Loop(of=of, bodies=bodies):
            return (of, *bodies)
        case Unary(of=of):
            return (of,)
        case Binary(left=left, right=right):
            return (left, right)
        case Choice(when=when, then=then, other=other):
            return (when, then, other)
        case Mapping(entries=entries):
            return tuple(node for entry in entries for node in entry)
        case Literal() | Name():
            return ()


_BINDS = {"||": 1, "&&": 2} | dict.fromkeys(("<", "<=", ">", ">=", "==", "!=", "in"), 3)
_BINDS |= {"+": 4, "-": 4, "*": 5, "/": 5, "%": 5}
_COMPARES = 3


def parse(text: str) -> Node:
    """The tree of an expression; raises ExpressionError with the offset of what is wrong."""
    if len(text) > LONGEST:
        raise ExpressionError("", f"longer than {LONGEST} characters", offset=LONGEST)
    parser = _Parser(text)
    tree = parser.expression()
    if parser.now.sort is not Sort.END:
        raise parser.error("expected the end")
    _check_depth(tree)
    return tree


def _check_depth(tree: Node) -> None:
    left = [(tree, 1)]
    while left:
        node, depth = left.pop()
        if depth > DEEPEST:
            raise ExpressionError("", f"nested more than {DEEPEST} deep", offset=node.offset)
        left.extend((part, depth + 1) for part in parts(node))


_T = TypeVar("_T")


class _Parser:
    """Precedence climbing over one token of look-ahead."""

    def __init__(self, text: str) -> None:
        self._tokens = tokens(text)
        self.now = next(self._tokens)
        self._depth = 0

    def error(self, problem: str, remedy: str = "") -> ExpressionError:
        """What is wrong with the token that comes next."""
        seen = self.now.value if self.now.sort is Sort.END else repr(self.now.value)
        return ExpressionError("", f"{problem}, found {seen}", remedy=remedy, offset=self.now.offset)

    def _take(self) -> Token:
        token = self.now
        if token.sort is not Sort.END:
            self.now = next(self._tokens)
        return token

    def _skip(self, mark: str) -> bool:
        if not self.now.is_mark(mark):
            return False
        self._take()
        return True

    def _need(self, mark: str) -> None:
        if not self._skip(mark):
            raise self.error(f"expected {mark!r}")

    def expression(self) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise ExpressionError("", f"nested more than {DEEPEST} deep", offset=self.now.offset)
        node = self._binary(0)
        if self.now.is_mark("?"):
            at = self._take().offset
            then = self.expression()
            self._need(":")
            node = Choice(node, then, self.expression(), at)
        self._depth -= 1
        return node

    def _binary(self, floor: int) -> Node:
        left = self._unary()
        while (binds := self._binding()) > floor:
            mark = self._take()
            right = self._binary(binds)
            left = Binary(str(mark.value), left, right, mark.offset)
            if binds == _COMPARES == self._binding():
                raise self.error("comparisons do not chain", remedy="write a < b && b < c")
        return left

    def _binding(self) -> int:
        infix = self.now.sort is Sort.MARK or (self.now.sort is Sort.NAME and self.now.value == "in")
        return _BINDS.get(str(self.now.value), 0) if infix else 0

    def _unary(self) -> Node:
        signs = []
        while self.now.is_mark("!", "-"):
            signs.append(self._take())
        negative = bool(signs) and signs[-1].value == "-" and self.now.sort is Sort.NUMBER
        if negative:
            sign = signs.pop()
            node = self._postfix(self._numeral(-1, sign.offset))
        else:
            node = self._postfix(self._primary())
        for sign in reversed(signs):
            node = Unary(str(sign.value), node, sign.offset)
        return node

    def _numeral(self, sign: int, offset: int) -> Literal:
        token = self._take()
        number = sign * cast("int | float", token.value)
        if isinstance(number, int) and not -(2**63) <= number < 2**63:
            raise ExpressionError("", "a whole number beyond 64 bits", offset=offset)
        return Literal(number, offset)

    def _primary(self) -> Node:
        token = self.now
        if token.sort is Sort.NUMBER:
            return self._numeral(1, token.offset)
        if token.sort is Sort.TEXT:
            return Literal(self._take().value, token.offset)
        if token.sort is Sort.NAME:
            return self._named()
        if self._skip("("):
            node = self.expression()
            self._need(")")
            return node
        if self._skip("["):
            return Sequence(tuple(self._list("]", self.expression)), token.offset)
        if self._skip("{"):
            return Mapping(tuple(self._list("}", self._entry)), token.offset)
        raise self.error("expected a value")

    def _entry(self) -> tuple[Node, Node]:
        key = self.expression()
        self._need(":")
        return key, self.expression()

    def _list(self, close: str, one: Callable[[], _T]) -> list[_T]:
        found: list[_T] = []
        while not self._skip(close):
            found.append(one())
            if not self._skip(","):
                self._need(close)
                break
        return found

    def _named(self) -> Node:
        token = self._take()
        name = str(token.value)
        if name in ("true", "false", "null"):
            return Literal({"true": True, "false": False, "null": None}[name], token.offset)
        if name in RESERVED or name.startswith("__"):
            raise ExpressionError("", f"{name!r} is a reserved word", offset=token.offset)
        if self._skip("("):
            return self._call(name, token.offset)
        return Name(name, token.offset)

    def _postfix(self, node: Node) -> Node:
        while self.now.is_mark(".", "["):
            at = self.now.offset
            if self._skip("["):
                node = Item(node, self.expression(), at)
                self._need("]")
                continue
            self._take()
            if self.now.sort is not Sort.NAME:
                raise self.error("expected a name after the dot", remedy='write ["my-label"]')
            field = self._take()
            name = str(field.value)
            if self._skip("("):
                node = self._method(node, name, field.offset)
            else:
                node = Item(node, Literal(name, field.offset), at)
        return node

    def _call(self, name: str, at: int) -> Node:
        args = tuple(self._list(")", self.expression))
        if name == "has":
            if len(args) != 1 or not isinstance(args[0], Item):
                raise ExpressionError("", "has() asks for one field", remedy="write has(a.b)", offset=at)
            return Has(args[0], at)
        if name not in GLOBALS:
            raise _unknown(name, GLOBALS, at)
        fewest, most = GLOBALS[name]
        _check_count(name, len(args), fewest, most, at)
        return Call(name, args, at)

    def _method(self, of: Node, name: str, at: int) -> Node:
        args = tuple(self._list(")", self.expression))
        if name in MACROS:
            _check_count(name, len(args), 2, 3 if name == "map" else 2, at)
            if not isinstance(args[0], Name):
                raise ExpressionError("", f"{name}() starts with a variable's name", offset=at)
            return Loop(name, of, args[0].name, args[1:], at)
        if name not in METHODS:
            raise _unknown(name, METHODS | dict.fromkeys(MACROS, 2), at)
        _check_count(name, len(args), METHODS[name], METHODS[name], at)
        return Call(name, (of, *args), at)


def _check_count(name: str, count: int, fewest: int, most: int, at: int) -> None:
    if not fewest <= count <= most:
        wanted = str(fewest) if fewest == most else f"{fewest} to {most}"
        raise ExpressionError("", f"{name}() takes {wanted} arguments, not {count}", offset=at)


def _unknown(name: str, known: dict[str, Any], at: int) -> ExpressionError:
    near = difflib.get_close_matches(name, known, 1)
    remedy = f"did you mean {near[0]}()?" if near else f"there are {', '.join(sorted(known))}"
    return ExpressionError("", f"no function {name}()", remedy=remedy, offset=at)
