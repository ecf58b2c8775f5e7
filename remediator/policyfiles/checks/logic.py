"""What conditions say whatever the values are: which can never hold, and which only after another does.

Asked by the checks of cases and proofs. Cautious: where it cannot tell, a condition may hold. Comparisons
of one path with plain values are understood; everything else only as "the same words again".
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from remediator.core import syntax
from remediator.core.expression import Expression
from remediator.core.syntax import Node
from remediator.errors import EvaluationError

MOST = 256
"""Ways in which a condition may hold that are looked at; beyond, it may hold."""

_TURNED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "==", "!=": "!="}
_OPPOSITE = {"<": ">=", ">=": "<", ">": "<=", "<=": ">", "==": "!=", "!=": "=="}
_OF_EQUALS = ("==", "<=", ">=")
_ORDER: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Fact:
    """``path op value``. The path may be any words: the same words have the same value.

    Known beforehand may be, too: ``of`` some kinds (number, str, bool, NoneType), ``in`` some values.
    """

    path: str
    op: str
    value: object

    def opposite(self) -> Fact:
        """What holds when this does not."""
        return Fact(self.path, _OPPOSITE[self.op], self.value)


_Way = tuple[Fact, ...]
"""Facts that hold together."""


def constant(expression: Expression) -> object:
    """What it always is, whatever the values: an expression that looks nothing up. Else None."""
    if expression.paths:
        return None
    try:
        return expression.evaluate({})
    except EvaluationError:
        return "an error"


def never(expression: Expression, given: Iterable[Fact] = (), unless: Iterable[Expression] = ()) -> bool:
    """Can it never be true where these facts hold and none of those other conditions does?"""
    ways = _ways(expression.text, wanted=True)
    others = [_ways(one.text, wanted=False) for one in unless]
    count = functools.reduce(lambda sum_, some: sum_ * max(len(some), 1), others, len(ways))
    if count > MOST:
        others = []
    facts = tuple(given)
    return not any(
        possible((*facts, *itertools.chain.from_iterable(way))) for way in itertools.product(ways, *others)
    )


def always(expression: Expression, given: Iterable[Fact] = ()) -> bool:
    """Is it true where these facts hold, whatever else is read? An error does not count."""
    facts = tuple(given)
    false = any(possible((*facts, *way)) for way in _ways(expression.text, wanted=False))
    return not false and not never(expression, facts)


def possible(facts: Iterable[Fact]) -> bool:
    """May all of these facts hold at once?"""
    by_path: dict[str, list[Fact]] = {}
    for fact in facts:
        by_path.setdefault(fact.path, []).append(fact)
    return all(_possible(some) for some in by_path.values())


# ── Of one path ─────────────────────────────────────────────────────────────────────────────────


def _possible(facts: list[Fact]) -> bool:
    if any(fact.op in _ORDER and fact.value is None for fact in facts):
        return False
    known = [fact for fact in facts if fact.op in _KNOWN]
    facts = [fact for fact in facts if fact.op not in _KNOWN]
    if not all(_KNOWN[one.op](one.value, fact.value) for one in known for fact in facts if fact.op != "!="):
        return False
    if len({_kind(fact.value) for fact in facts if fact.op != "!="}) > 1:
        return False
    equal = [fact.value for fact in facts if fact.op == "=="]
    if equal:
        return all(_fits(equal[0], fact) for fact in facts)
    if {fact.value for fact in facts if fact.op == "!=" and isinstance(fact.value, bool)} == {True, False}:
        return False
    return _room(facts)


def _room(facts: list[Fact]) -> bool:
    """Is there a number between the limits?"""
    lows = [(value, op == ">") for value, op in _limits(facts) if op in (">", ">=")]
    highs = [(-value, op == "<") for value, op in _limits(facts) if op in ("<", "<=")]
    if not lows or not highs:
        return True
    (low, above), (negated, below) = max(lows), max(highs)
    if low != -negated:
        return low < -negated
    return not (above or below or any(fact.op == "!=" and fact.value == low for fact in facts))


def _limits(facts: list[Fact]) -> Iterator[tuple[float, str]]:
    for fact in facts:
        if isinstance(fact.value, int | float) and _is_number(fact):
            yield fact.value, fact.op


def _fits(value: object, fact: Fact) -> bool:
    match fact.op:
        case "==":
            return _kind(value) == _kind(fact.value) and value == fact.value
        case "!=":
            return _kind(value) != _kind(fact.value) or value != fact.value
    if not isinstance(value, int | float) or not isinstance(fact.value, int | float):
        return True
    return _ORDER[fact.op](value, fact.value)


_KNOWN: Mapping[str, Callable[[Any, object], bool]] = {
    "of": lambda kinds, value: _kind(value) in kinds,
    "in": lambda values, value: value in values,
}
"""May something that is known so be compared with this value, and hold?"""


def _is_number(fact: Fact) -> bool:
    return _kind(fact.value) == "number"


def _kind(value: object) -> str:
    if value is None or isinstance(value, bool | str):
        return type(value).__name__
    return "number"


# ── The ways in which a condition holds, or does not ────────────────────────────────────────────


def compared(expression: Expression) -> Iterator[Fact]:
    """Every comparison in it, as it is written or turned round; none where there are too many."""
    for wanted in (True, False):
        for way in _ways(expression.text, wanted=wanted):
            yield from way


class _TooManyError(Exception):
    """There are more ways than are looked at."""


@functools.lru_cache(maxsize=4096)
def _ways(text: str, *, wanted: bool) -> tuple[_Way, ...]:
    try:
        return _expanded(syntax.parse(text), wanted=wanted)
    except _TooManyError:
        return ((),)


def _expanded(node: Node, *, wanted: bool) -> tuple[_Way, ...]:
    match node:
        case syntax.Literal(value=bool() as value):
            return ((),) if value is wanted else ()
        case syntax.Literal():
            return ()
        case syntax.Unary(mark="!", of=of):
            return _expanded(of, wanted=not wanted)
        case syntax.Binary(mark="&&" | "||" as mark, left=left, right=right):
            one, other = _expanded(left, wanted=wanted), _expanded(right, wanted=wanted)
            either = (mark == "||") is wanted
            if (len(one) + len(other) if either else len(one) * len(other)) > MOST:
                raise _TooManyError
            return one + other if either else tuple(a + b for a, b in itertools.product(one, other))
        case syntax.Binary(mark=mark, left=left, right=right) if mark in _TURNED and _same(left, right):
            return ((),) if (mark in _OF_EQUALS) is wanted else ()
    fact = _fact(node)
    return ((fact if wanted else fact.opposite(),),)


def _fact(node: Node) -> Fact:
    if isinstance(node, syntax.Binary) and node.mark in _TURNED:
        left, right = _plain(node.left), _plain(node.right)
        if right is not None and left is None:
            return Fact(_words(node.left), node.mark, right[0])
        if left is not None and right is None:
            return Fact(_words(node.right), _TURNED[node.mark], left[0])
    return Fact(_words(node), "==", value=True)


def _same(left: Node, right: Node) -> bool:
    """Are these the same words? What may be written out on both sides is left to whoever reads values."""
    return _plain(left) is None and _words(left) == _words(right)


def _plain(node: Node) -> tuple[object] | None:
    """The value that is written out here, in a tuple; None where there is none."""
    return (node.value,) if isinstance(node, syntax.Literal) else None


def _words(node: Node) -> str:
    """One spelling for the same words, wherever they stand."""
    return "".join(_spelled(node))


def _spelled(node: Node) -> Iterator[str]:
    match node:
        case syntax.Name(name=name):
            yield name
        case syntax.Literal(value=value):
            yield repr(value)
        case syntax.Item(of=of, key=syntax.Literal(value=str() as key)):
            yield f"{_words(of)}.{key}" if key.isidentifier() else f"{_words(of)}[{key!r}]"
        case _:
            own = [str(getattr(node, name, "")) for name in ("mark", "name", "macro", "variable")]
            yield f"{type(node).__name__}:{':'.join(own)}({','.join(map(_words, syntax.parts(node)))})"
