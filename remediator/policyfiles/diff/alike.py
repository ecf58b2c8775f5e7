"""Do two values of a policy mean the same, however they are laid out? Asked before any judge.

Expressions are compared by their trees, SQL by PostgreSQL's; of PromQL blanks outside of quotes do not count.
A number is another one where JSON would show it so: ``1`` is neither ``1.0`` nor ``true``.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel

from remediator.core import syntax
from remediator.core.catalog import Escape, Param
from remediator.core.expression import Expression, Template
from remediator.core.sql.cuts import bare
from remediator.core.sql.tree import Fault, parsed
from remediator.policyfiles.diff.change import spelled

_QUERY = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)|(\#)|\s+""", re.DOTALL)
"""Of PromQL: a text, what begins a comment, blanks."""
_SQL = ("select", "change")


def alike(one: Any, other: Any) -> bool:
    """Of any two values that may stand in a policy or in settings."""
    match one, other:
        case Expression(), Expression():
            return one == other or key(one) == key(other)
        case Template(), Template():
            return one == other or alike(one.pieces, other.pieces)
        case BaseModel(), BaseModel():
            names = type(one).model_fields
            return type(one) is type(other) and all(
                alike(getattr(one, name), getattr(other, name)) for name in names
            )
        case Mapping(), Mapping():
            return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)
        case (list() | tuple(), list() | tuple()):
            return len(one) == len(other) and all(map(alike, one, other))
    return type(one) is type(other) and bool(one == other)


def alike_as(param: Param | None, one: Any, other: Any) -> bool:
    """Of one argument, by what its operation says of it."""
    if alike(one, other):
        return True
    if param is None or None in (one, other):
        return False
    if param.type in _SQL:
        trees = [parsed(spelled(text), "") for text in (one, other)]
        return not any(isinstance(tree, Fault) for tree in trees) and bare(trees[0]) == bare(trees[1])
    if param.escape is Escape.PROMQL and isinstance(one, Template) and isinstance(other, Template):
        return _unfolded(one) == _unfolded(other)
    return False


def key(expression: Expression | None) -> Hashable:
    """The same for all that mean the same by their words; None: no expression."""
    return None if expression is None else tree(syntax.parse(expression.text))


def tree(node: Any) -> Hashable:
    """A tree of syntax without the places at which its parts are written."""
    if is_dataclass(node):
        parts = (getattr(node, one.name) for one in fields(node) if one.name != "offset")
        return type(node), *map(tree, parts)
    if isinstance(node, tuple):
        return tuple(map(tree, node))
    return type(node), node


def _unfolded(query: Template) -> Hashable:
    """In one line, as it is where a comment stands in it; and its expressions."""
    text = "".join(piece if isinstance(piece, str) else "${}" for piece in query.pieces)
    asked = tuple(map(key, query.expressions))
    if any(found[2] for found in _QUERY.finditer(text)):
        return text, asked
    return _QUERY.sub(lambda found: found[1] or " ", text).strip(), asked
