"""Does a WHERE say which rows? A statement that would change every row of a table is refused.

It must compare a column with something that is none: alone, or in one part of an AND, or in every part of
an OR. This finds slips, not malice: how many rows may change is counted before anything is committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Any

from remediator.core.sql.tree import nodes, strings


class Hold(IntEnum):
    """How much a condition leaves. ALL_BUT: it says which rows are left out (``<>``), enough by itself."""

    ALL = 0
    ALL_BUT = 1
    SOME = 2


_POSITIVE = frozenset("= < <= > >= ~ ~* ~~ ~~* ^@ @> <@ && ? ?| ?& << >> -|- &< &> <<= >>= @? @@".split())
_NEGATIVE = frozenset({"<>", "!=", "!~", "!~*", "!~~", "!~~*"})
_TESTS = {
    "IS_NULL": Hold.SOME,
    "IS_TRUE": Hold.SOME,
    "IS_FALSE": Hold.SOME,
    "IS_UNKNOWN": Hold.SOME,
    "IS_NOT_TRUE": Hold.ALL_BUT,
    "IS_NOT_FALSE": Hold.ALL_BUT,
}
"""Not among them: IS NOT NULL, which holds for every row of most columns."""
_FAITHFUL_SIGNS = frozenset({"+", "-", "->", "->>", "#>", "#>>"})
_FAITHFUL = frozenset(
    {"lower", "upper", "btrim", "ltrim", "rtrim", "date_trunc", "date_part", "extract", "timezone"}
)
"""Functions whose result still tells rows apart."""


def restricts(condition: Any) -> bool:
    """May there be rows for which it does not hold, as far as one can see?"""
    return _hold(condition, negated=False) is not Hold.ALL


def conjuncts(condition: Any) -> Iterator[Any]:
    """The parts that must all hold."""
    inner = condition.get("BoolExpr", {})
    if inner.get("boolop") != "AND_EXPR":
        yield condition
    for part in inner["args"] if inner.get("boolop") == "AND_EXPR" else ():
        yield from conjuncts(part)


def compared(condition: Any) -> frozenset[str]:
    """Columns that must equal a value which is passed or written: ``earn_rate = $3``, ``percent = 5``."""
    found: set[str] = set()
    for part in conjuncts(condition):
        node = part.get("A_Expr", {})
        same = node.get("kind") == "AEXPR_OP" and strings(node["name"]) == ["="]
        if same or node.get("kind") == "AEXPR_NOT_DISTINCT":
            sides = (node.get("lexpr", {}), node["rexpr"])
            for column, value in (sides, sides[::-1]):
                if "ColumnRef" in column and not {"ParamRef", "A_Const"}.isdisjoint(_cast(value)):
                    found.add(strings(column["ColumnRef"]["fields"])[-1])
    return frozenset(found)


def _cast(value: Any) -> Any:
    return value["TypeCast"]["arg"] if "TypeCast" in value else value


def _inner(node: Any) -> tuple[str, Any]:
    return next(iter(node.items()), ("", None))


def _hold(node: Any, *, negated: bool) -> Hold:
    kind, inner = _inner(node)
    match kind:
        case "BoolExpr":
            parts = inner["args"]
            if inner["boolop"] == "NOT_EXPR":
                return _hold(parts[0], negated=not negated)
            found = [_hold(part, negated=negated) for part in parts]
            if (inner["boolop"] == "AND_EXPR") is not negated:
                return max(found)
            return Hold.SOME if min(found) is Hold.SOME else Hold.ALL  # a <> 1 OR a <> 2: every row
        case "A_Expr":
            return _compares(inner, negated=negated)
        case "NullTest" | "BooleanTest" if _is_column(inner["arg"]):
            test = inner.get("nulltesttype") or inner["booltesttype"]
            return _TESTS.get(_reverse(test) if negated else test, Hold.ALL)
        case "ColumnRef":
            return Hold.SOME  # a boolean column, or NOT it
    return Hold.ALL


def _reverse(test: str) -> str:
    return test.replace("IS_NOT_", "IS_") if "_NOT_" in test else test.replace("IS_", "IS_NOT_")


def _compares(node: dict[str, Any], *, negated: bool) -> Hold:
    kind, sign = node["kind"], strings(node["name"])[-1]
    left, right = node.get("lexpr", {}), node.get("rexpr", {})
    fits = _column_and_value(left, right)
    match kind.removesuffix("_SYM"):
        case "AEXPR_OP" | "AEXPR_LIKE" | "AEXPR_ILIKE" | "AEXPR_SIMILAR":
            fits = (fits or _column_and_value(right, left)) and not _idle(sign, right)
            most = sign in _NEGATIVE
            fits = fits and (most or sign in _POSITIVE)
        case "AEXPR_DISTINCT" | "AEXPR_NOT_DISTINCT":
            fits = fits or _column_and_value(right, left)
            most = kind == "AEXPR_DISTINCT"
        case "AEXPR_IN" | "AEXPR_BETWEEN" | "AEXPR_NOT_BETWEEN":
            fits = fits or (_is_free(left) and _all_columns(right))
            most = "NOT" in kind or sign == "<>"
        case "AEXPR_OP_ANY":  # ALL holds for every row when the list is empty, and so does NOT … ANY
            fits = (fits or _column_and_value(right, left)) and sign in _POSITIVE and not negated
            most = False
        case _:
            return Hold.ALL
    if not fits:
        return Hold.ALL
    return Hold.ALL_BUT if most is not negated else Hold.SOME


def _idle(sign: str, pattern: Any) -> bool:
    """A pattern that every text fits: LIKE '%', ~ '.*'."""
    escaped = pattern.get("FuncCall", {}).get("args", [{}])  # of SIMILAR TO, or with ESCAPE
    constant = (pattern if "A_Const" in pattern else escaped[0]).get("A_Const", {}).get("sval")
    if constant is None or not sign.lstrip("!").startswith("~"):
        return False
    text = constant.get("sval", "")
    return not text.strip("%^.*?$") and (bool(text) or "~~" not in sign)


def _column_and_value(column: Any, value: Any) -> bool:
    return _is_column(column) and _is_free(value)


def _all_columns(listed: Any) -> bool:
    return all(_is_column(item) for item in listed.get("List", {}).get("items", [{}]))


def _is_free(node: Any) -> bool:
    """Does it name no column?"""
    return bool(node) and all(kind != "ColumnRef" for kind, _ in nodes(node))


def _is_column(node: Any) -> bool:
    """A column, or what still tells its values apart: a cast, a field of JSON, lower(…), + 1."""
    kind, inner = _inner(node)
    match kind:
        case "ColumnRef":
            return True
        case "TypeCast" | "CollateClause":
            return _is_column(inner["arg"])
        case "RowExpr":
            return bool(inner.get("args")) and all(_is_column(item) for item in inner["args"])
        case "A_Indirection":
            return _is_column(inner["arg"]) and _is_free(inner["indirection"])
        case "FuncCall" if strings(inner["funcname"])[-1] in _FAITHFUL:
            return _one_column(inner.get("args", []))
        case "A_Expr" if inner["kind"] == "AEXPR_OP" and strings(inner["name"])[-1] in _FAITHFUL_SIGNS:
            return _one_column([inner[side] for side in ("lexpr", "rexpr") if side in inner])
    return False


def _one_column(parts: list[Any]) -> bool:
    return sum(map(_is_column, parts)) == 1 and sum(map(_is_free, parts)) == len(parts) - 1
