"""The expressions of a statement that changes: may all that stands in them stand there?

Every node and every field of a node must be on a list (`words.FIELDS`), as must functions, types and
operators. What is written to a column is judged more strictly than what is compared: its value must be the
same in the preview and in the act, unless it plainly tells the time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from remediator.core.catalog import Reach
from remediator.core.sql import words as sqlwords
from remediator.core.sql.tree import Judging, nodes, strings, worded

FORMS = {
    "SubLink": ("a subquery may not stand in a change", "read in a probe, and pass what it found as a value"),
    "SetToDefault": ("DEFAULT may not be written", "write the value"),
    "MultiAssignRef": ("several columns may not be set at once", "write column = value for each"),
    "CurrentOfExpr": ("there is no cursor here", "write WHERE with the row's key"),
    "A_Star": ("* may not stand in a change", "name the columns"),
}
SYSTEM = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"})
"""Columns that every table has, and that mean a row only for a moment."""

_RELATIVE = re.compile(r"(?<![a-z])(now|today|tomorrow|yesterday)(?![a-z])", re.IGNORECASE)


class Terms(Judging):
    """All expressions of one statement.

    relation: the node of its table; columns: may they name columns at all? names: bytes before a built-in
    function's bare name; params: the numbers of the values that they take.
    """

    def __init__(self, source: bytes, reach: Reach, relation: dict[str, Any], *, columns: bool) -> None:
        super().__init__(source)
        self.names: list[int] = []
        self.params: set[int] = set()
        self._bare: str = relation["relname"]
        self._alias: str = relation.get("alias", {}).get("aliasname", self._bare)
        self._hidden = reach.hides(self._bare)
        self._columns = columns

    def judge(self, expression: Any, *, written: bool) -> None:
        """Look at one. ``written``: to a column, rather than compared."""
        if written and varies(expression) and not _is_the_time(expression):
            problem = "what depends on the time cannot be shown before it is written, nor taken back"
            self._fault("P211", problem, "only the time itself may: now(); or pass a value: '${now}'")
        left = list(expression.items())
        while left:
            kind, node = left.pop()
            if kind not in sqlwords.FIELDS:
                known = FORMS.get(kind, (f"{worded(kind)} may not stand in a change", ""))
                self._fault("P211", *known, node=node)
                continue
            self._judge(kind, node, written=written)
            for part, value in node.items():
                if part not in sqlwords.FIELDS[kind]:
                    self._fault("P211", f"{part} of {worded(kind)} may not stand in a change", node=node)
                elif isinstance(value, dict):
                    inner = sqlwords.UNWRAPPED.get(part)
                    left.extend([(inner, value)] if inner else value.items())
                elif isinstance(value, list):
                    left.extend(item for one in value for item in one.items())

    def _judge(self, kind: str, node: Any, *, written: bool) -> None:
        match kind:
            case "ColumnRef":
                self._judge_column(node)
            case "ParamRef":
                self.params.add(node.get("number", 0))
            case "FuncCall":
                self._judge_function(node, written=written)
            case "A_Expr":
                self._judge_operator(node)
            case "TypeName":
                self._judge_type(node)
            case "A_Indirection" if strings(node["indirection"]):
                self._fault("P205", "a field of a composite value cannot be asked for")
            case "A_Const" if written and (said := _RELATIVE.search(node.get("sval", {}).get("sval", ""))):
                remedy = "write now() or current_date; a text belongs into args"
                self._fault("P213", f"the text {said[0]!r} may mean the time", remedy, node)
            case "TypeCast" if written and _may_mean_the_time(node):
                remedy = "leave the cast out: the column's type does it; or cast it in a probe"
                self._fault("P205", "a cast of something computed to a type of time", remedy, node)

    def _judge_column(self, node: dict[str, Any]) -> None:
        names = strings(node["fields"])
        if len(names) < len(node["fields"]):
            return  # *, which is refused by itself
        if not self._columns:
            self._fault("P211", f"{names[-1]}: a value cannot be read from a column here", "pass it", node)
        for name in set(map(str.lower, names)) & self._hidden:
            self._fault("P206", f"{name} is a hidden column", "leave it out", node)
        if names[-1] in SYSTEM:
            self._fault("P211", f"{names[-1]} is the system's own column", "name the row by its key", node)
        if names in ([self._alias], [self._bare]):
            self._fault("P211", "a whole row may not stand in a change", "name the columns", node)
        if len(names) > 2 or (len(names) == 2 and names[0] != self._alias):
            remedy = f"write {self._alias}.{names[-1]}, or {names[-1]}"
            self._fault("P211", f"{'.'.join(names)} is no column of this table", remedy, node)

    def _judge_function(self, node: dict[str, Any], *, written: bool) -> None:
        names = strings(node["funcname"])
        called = ".".join(names)
        if names[-1] not in sqlwords.SCALAR or names[:-1] not in ([], ["pg_catalog"]):
            remedy = "call it in a probe, and pass what it found as a value"
            self._fault("P205", f"the function {called}() is not allowed in a change", remedy, node)
        elif names[-1] in sqlwords.RESTLESS and not written:
            self._fault("P205", f"{called}() differs from row to row", "write now()", node)
        elif len(names) == 1:
            self.names.append(node["location"])

    def _judge_type(self, node: dict[str, Any]) -> None:
        names = strings(node.get("names", []))
        if not names or names[-1] not in sqlwords.TYPES or names[:-1] not in ([], ["pg_catalog"]):
            self._fault("P205", f"a cast to {'.'.join(names)} is not allowed", "compare it as text", node)

    def _judge_operator(self, node: dict[str, Any]) -> None:
        names = strings(node["name"])
        known = names[-1] in sqlwords.OPERATORS or names[-1] in sqlwords.SPELLED
        if not known or names[:-1] not in ([], ["pg_catalog"]):
            self._fault("P205", f"the operator {'.'.join(names)} is not allowed", "", node)


def varies(tree: Any) -> bool:
    """Does it depend on the time?"""
    for kind, node in nodes(tree):
        if kind == "FuncCall":
            name = strings(node["funcname"])[-1]
            if name in sqlwords.NOW or (name == "age" and len(node.get("args", [])) == 1):
                return True
        if kind == "SQLValueFunction" and ("CURRENT_DATE" in node["op"] or "TIME" in node["op"]):
            return True
    return False


def _is_the_time(tree: dict[str, Any]) -> bool:
    """Is it nothing but the time, as in ``updated_at = now()``, perhaps cast or in a zone?"""
    if "SQLValueFunction" in tree:
        return True
    if "TypeCast" in tree:
        return _is_the_time(tree["TypeCast"]["arg"])
    call = tree.get("FuncCall", {})
    name, args = strings(call.get("funcname", []))[-1:], call.get("args", [])
    if name == ["timezone"] and len(args) == 2 and "A_Const" in args[0]:
        return _is_the_time(args[1])
    return not args and bool(sqlwords.NOW.intersection(name))


def _may_mean_the_time(cast: dict[str, Any]) -> bool:
    """``('n' || 'ow')::date``. A value is of that type when it is cast at once; what tells time varies."""
    if strings(cast["typeName"].get("names", []))[-1:][0] not in sqlwords.TIMELY:
        return False
    return not {"A_Const", "ParamRef"} & cast["arg"].keys() and not varies(cast["arg"])


def references(tree: Any) -> Iterator[dict[str, Any]]:
    """Every column that is named."""
    return (node for kind, node in nodes(tree) if kind == "ColumnRef")
