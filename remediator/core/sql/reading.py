"""Reading SQL: is it one SELECT that only reads, of known tables, by pure functions?

Asked when a policy is loaded and again by the connector. PostgreSQL's own grammar makes the tree; every
node, function, type and operator in it must be on a list (`words`), so what nobody thought of is
refused. Functions and tables are spelled out with their schema in what is sent (`spelling`): nobody's
overload of ``upper`` or ``now``, and nobody's table in another schema, can stand in for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from remediator.core.catalog import Reach
from remediator.core.sql import words as sqlwords
from remediator.core.sql.spelling import BUILT_IN, spelled
from remediator.core.sql.tree import Fault, Judging, nodes, parsed, strings, worded

_NO_SELECT = "write one SELECT; it may begin with WITH"
_HIDES = "name each column that you need, with its table before it where there are several"


@dataclass(frozen=True)
class Query:
    """A statement that may be sent, once its names are spelled out.

    source: as written; built_in: bytes before a built-in function's bare name; listed: bytes before a
    function that the connection lists → its name as written; tables: the same of every table;
    args: how many values it takes; columns: the names of what it selects, in order, or None where the
    text does not tell them (``*``, an expression without AS); dotted: table → what is named behind it
    after a dot. ``t.f`` calls the function f where there is no such column, and only the database can tell.
    """

    source: str
    built_in: frozenset[int]
    listed: Mapping[int, str]
    tables: Mapping[int, str]
    args: int
    columns: tuple[str, ...] | None
    dotted: Mapping[str, frozenset[str]]

    def text(self, tables: Mapping[str, str], functions: Mapping[str, str]) -> str | Fault:
        """As it is sent. Each: name as written → the schema in which the database has it."""
        return spelled(
            self.source,
            {
                **dict.fromkeys(self.built_in, BUILT_IN),
                **{at: functions[name] for at, name in _bare(self.listed)},
                **{at: tables[name] for at, name in _bare(self.tables)},
            },
        )


def _bare(written: Mapping[int, str]) -> Iterator[tuple[int, str]]:
    return ((at, name) for at, name in written.items() if "." not in name)


def read(text: str, reach: Reach) -> Query | list[Fault]:
    """The statement made ready, or everything that is wrong with it."""
    tree = _select(text)
    if isinstance(tree, Fault):
        return [tree]
    reading = _Reading(text, reach, tree)
    return sorted(reading.faults, key=lambda one: one.offset) or reading.query()


def _select(text: str) -> dict[str, Any] | Fault:
    """The tree of the one SELECT."""
    statement = parsed(text, _NO_SELECT)
    if isinstance(statement, Fault):
        return statement
    if "SelectStmt" not in statement:
        kind = next(iter(statement)).removesuffix("Stmt")
        return Fault("P203", f"this is no SELECT but {kind.upper()}", _NO_SELECT)
    select: dict[str, Any] = statement["SelectStmt"]
    return select


def _columns(select: dict[str, Any]) -> tuple[str, ...] | None:
    """The names of the columns; of a UNION they are those of its first part."""
    while "larg" in select:
        select = select["larg"]
    names = [_named(one["ResTarget"]) for one in select.get("targetList", [])]
    return tuple(names) if names and all(names) else None


def _named(target: dict[str, Any]) -> str:
    """The name of one column; "" where only the database knows it."""
    if "name" in target:
        return str(target["name"])
    value = target["val"]
    while "TypeCast" in value:
        value = value["TypeCast"]["arg"]
    if "ColumnRef" in value and not any("A_Star" in part for part in value["ColumnRef"]["fields"]):
        return strings(value["ColumnRef"]["fields"])[-1]
    return strings(value["FuncCall"]["funcname"])[-1] if "FuncCall" in value else ""


@dataclass(frozen=True)
class _Table:
    """A table that is read: its name as written, its bare name, its name within the statement, its place."""

    written: str
    bare: str
    alias: str
    at: int


class _Reading(Judging):
    """One walk through one tree."""

    def __init__(self, text: str, reach: Reach, tree: dict[str, Any]) -> None:
        super().__init__(text.encode())
        self._text = text
        self._reach = reach
        self._tree = tree
        self._built_in: set[int] = set()  # bytes before bare names of functions
        self._listed: dict[int, str] = {}
        self._params: set[int] = set()
        self._tables = list(self._read_tables())
        for kind, node in nodes({"SelectStmt": tree}):
            self._judge(kind, node)
        self._check_params()
        self._hidden = self._hidden_columns()
        if self._hidden:
            self._check_hidden()

    def query(self) -> Query:
        return Query(
            source=self._text,
            built_in=frozenset(self._built_in),
            listed=self._listed,
            tables={table.at: table.written for table in self._tables},
            args=len(self._params),
            columns=_columns(self._tree),
            dotted=self._dotted(),
        )

    # ── What it is made of ────────────────────────────────────────────────────────────────────────

    def _judge(self, kind: str, node: Any) -> None:
        match kind:
            case "intoClause":
                self._fault("P203", "SELECT INTO writes a table", _NO_SELECT, node.get("rel"))
            case "lockingClause":
                self._fault("P203", "FOR UPDATE and FOR SHARE lock rows", "leave it out")
            case "withClause" if node is not self._tree.get("withClause"):
                self._fault("P203", "WITH may only stand at the beginning", "move it there", node)
            case "FuncCall":
                self._judge_function(node)
            case "TypeName" | "typeName":
                self._judge_type(node)
            case "A_Expr":
                self._judge_operator(node.get("name"), node)
            case "operName" | "useOp":
                self._judge_operator(node, None)
            case "A_Indirection" if strings(node["indirection"]):
                self._fault("P205", "a field of a composite value cannot be asked for", "", node.get("arg"))
            case "ParamRef":
                self._params.add(node.get("number", 0))
            case _ if kind[0].isupper() and kind not in sqlwords.NODES:
                self._fault("P203", f"{worded(kind)} may not stand in a probe", _NO_SELECT, node)

    def _judge_function(self, node: dict[str, Any]) -> None:
        names = strings(node["funcname"])
        called = ".".join(names)
        if called in self._reach.functions:
            self._listed[node["location"]] = called
            return
        if names[-1] not in sqlwords.FUNCTIONS or names[:-1] not in ([], ["pg_catalog"]):
            remedy = "if it only reads, list it under `functions` of the connection"
            self._fault("P205", f"the function {called}() is not allowed", remedy, node)
        elif len(names) == 1:
            self._built_in.add(node["location"])

    def _judge_type(self, node: dict[str, Any]) -> None:
        names = strings(node.get("names", []))
        if names[-1] not in sqlwords.TYPES or names[:-1] not in ([], ["pg_catalog"]):
            self._fault("P205", f"a cast to {'.'.join(names)} is not allowed", "compare it as text", node)

    def _judge_operator(self, name: Any, node: Any) -> None:
        names = strings(name or [])
        known = not names or names[-1] in sqlwords.OPERATORS or names[-1] in sqlwords.SPELLED
        if not known or names[:-1] not in ([], ["pg_catalog"]):
            self._fault("P205", f"the operator {'.'.join(names)} is not allowed", "", node)

    def _check_params(self) -> None:
        if self._params != set(range(1, len(self._params) + 1)):
            found = ", ".join(f"${number}" for number in sorted(self._params))
            self._fault("P207", f"the values are numbered {found}", "number them $1, $2 … without a gap")

    # ── Which tables ──────────────────────────────────────────────────────────────────────────────

    def _read_tables(self) -> Iterator[_Table]:
        """Every real table; a name that WITH gives is none, where it is in force."""
        clause = self._tree.get("withClause", {})
        parts = [one["CommonTableExpr"] for one in clause.get("ctes", [])]
        names = [part["ctename"] for part in parts]
        for number, part in enumerate(parts):
            if "SelectStmt" not in part["ctequery"]:
                self._fault("P203", f"{part['ctename']} changes data", _NO_SELECT, part)
                continue
            known = names if clause.get("recursive") else names[:number]
            yield from self._tables_in(part["ctequery"], frozenset(known))
        rest = {key: value for key, value in self._tree.items() if key != "withClause"}
        yield from self._tables_in(rest, frozenset(names))

    def _tables_in(self, tree: Any, named: frozenset[str]) -> Iterator[_Table]:
        for kind, node in nodes(tree):
            if kind != "RangeVar" or (node["relname"] in named and "schemaname" not in node):
                continue
            parts = [node[key] for key in ("catalogname", "schemaname", "relname") if key in node]
            alias = node.get("alias", {}).get("aliasname", node["relname"])
            table = _Table(".".join(parts), node["relname"], alias, node["location"])
            if table.written not in self._reach.tables:
                known = ", ".join(sorted(self._reach.tables)) or "none"
                remedy = f"the connection's tables: {known[:300]}"
                self._fault("P204", f"the connection lists no table {table.written!r}", remedy, node)
            yield table

    # ── Hidden columns ────────────────────────────────────────────────────────────────────────────

    def _guarded(self) -> list[_Table]:
        return [table for table in self._tables if self._reach.hides(table.bare)]

    def _hidden_columns(self) -> frozenset[str]:
        return frozenset().union(*(self._reach.hides(table.bare) for table in self._guarded()))

    def _check_hidden(self) -> None:
        """No way may lead to a hidden column: by name, by ``*``, by a whole row, or under another name."""
        rows = {name for table in self._guarded() for name in (table.alias, table.bare)}
        named: set[str] = set()
        told: set[str] = set()
        for kind, node in nodes({"SelectStmt": self._tree}):
            match kind:
                case "A_Star":
                    self._fault("P206", "* would read hidden columns", _HIDES, node)
                case "String" if node.get("sval", "").lower() in self._hidden:
                    named.add(node["sval"].lower())
                case "ColumnRef":
                    names = strings(node["fields"])
                    if names[-1:] and names[-1] in rows:
                        self._fault("P206", "a whole row holds hidden columns", _HIDES, node)
                    for name in self._hidden.intersection(map(str.lower, names)):
                        self._fault("P206", f"{name} is a hidden column", "leave it out", node)
                        told.add(name)
                case "RangeVar" if node["relname"] in rows and "colnames" in node.get("alias", {}):
                    self._fault("P206", "hidden columns would get other names", _HIDES, node)
                case "JoinExpr" if node.get("isNatural") or "alias" in node or "join_using_alias" in node:
                    self._fault("P206", "this join reaches hidden columns", "write JOIN … ON …", node)
        for name in sorted(named - told):  # as an alias, in USING, as a field
            self._fault("P206", f"{name} is a hidden column", "leave it out")

    def _dotted(self) -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for kind, node in nodes({"SelectStmt": self._tree}):
            names = strings(node["fields"]) if kind == "ColumnRef" else []
            if len(names) < 2 or len(names) < len(node["fields"]):
                continue
            for table in self._tables:
                if names[-2] in (table.alias, table.bare):
                    found[table.written] = found.get(table.written, frozenset()) | {names[-1]}
        return found
