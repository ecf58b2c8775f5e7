"""Which way another condition goes: is it surely true, or surely false, only where the former one is?

An error is no answer and refuses the run, so something may be done now where nothing could be read before.
Therefore the new condition must have looked at all that the former one could stumble over: where an `&&` is
true every side of it was, and where an `||` is false.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from remediator.core import syntax
from remediator.core.expression import Expression
from remediator.core.syntax import Node
from remediator.policyfiles.checks.logic import never
from remediator.policyfiles.diff.alike import tree

When = Expression | None
"""None: always."""
ANY = "any"
_COMPARING = ("<", "<=", ">", ">=", "==", "!=")


def narrower(old: When, new: When) -> bool:
    """Is the former one true wherever the new one is?"""
    if old is None or new is None:
        return old is None
    return never(new, unless=[old]) and _answers(old, new, "&&")


def wider(old: When, new: When) -> bool:
    """Is the former one false wherever the new one is?"""
    if old is None or new is None:
        return new is None
    return never(old, unless=[new]) and _answers(old, new, "||")


def _answers(old: Expression, new: Expression, mark: str) -> bool:
    """Has the former one an answer wherever all sides of the new one, between these marks, have theirs?"""
    asked = {_asked(one) for one in _leaves(syntax.parse(old.text))}
    sure = {_asked(one) for one in _sides(syntax.parse(new.text), mark)}
    return asked <= sure | {(of, ANY) for of, _ in sure} | {(None, ANY)}


def _sides(node: Node, mark: str) -> Iterator[Node]:
    """Those that surely had an answer: of an ``&&`` that was true, of an ``||`` that was false."""
    match node:
        case syntax.Binary(mark=own, left=left, right=right) if own == mark:
            yield from _sides(left, mark)
            yield from _sides(right, mark)
        case syntax.Unary(mark="!", of=of):
            yield from _sides(of, "||" if mark == "&&" else "&&")
        case _:
            yield node


def _leaves(node: Node) -> Iterator[Node]:
    match node:
        case syntax.Binary(mark="&&" | "||", left=left, right=right):
            yield from _leaves(left)
            yield from _leaves(right)
        case syntax.Unary(mark="!", of=of):
            yield from _leaves(of)
        case _:
            yield node


def _asked(node: Node) -> tuple[Hashable, str]:
    """What is looked at, and of which kind it must be. Equality asks for one, too; with null for any."""
    match node:
        case syntax.Literal(value=bool()):
            return None, ANY
        case (
            syntax.Binary(mark=mark, left=of, right=syntax.Literal(value=value))
            | syntax.Binary(mark=mark, left=syntax.Literal(value=value), right=of)
        ) if mark in _COMPARING:
            return tree(of), _kind(value)
    return tree(node), "bool"


def _kind(value: object) -> str:
    if value is None:
        return ANY
    return (
        "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
    )
