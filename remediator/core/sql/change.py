"""Reading SQL that changes: one UPDATE, INSERT or DELETE on one listed table, taken apart by pure functions.

Asked when a policy is loaded and again by the connector. As in `reading`, every node, function, type and
operator must be on a list, and here every field of a node too. Nothing here knows the table itself: what
its columns, keys and triggers forbid is told by `table`, and what is derived by `picture`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from remediator.core.catalog import Reach
from remediator.core.sql import cuts as sqlcuts
from remediator.core.sql import text as sqltext
from remediator.core.sql import where as sqlwhere
from remediator.core.sql.spelling import spelled as schemed
from remediator.core.sql.terms import SYSTEM, Terms, references, varies
from remediator.core.sql.tree import Fault, Judging, parsed, spelled, strings, worded

Verb = Literal["update", "insert", "delete"]

_VERBS: Mapping[str, Verb] = {"UpdateStmt": "update", "InsertStmt": "insert", "DeleteStmt": "delete"}
_ONE = "write one UPDATE, INSERT or DELETE"
_CLAUSES = {
    "withClause": ("WITH may not stand in a change", "read in a probe, and pass what it found as a value"),
    "fromClause": ("FROM may not stand in an UPDATE", "read in a probe, and pass what it found as a value"),
    "usingClause": ("USING may not stand in a DELETE", "read in a probe, and pass what it found as a value"),
    "returningList": ("RETURNING may not be written", "what changes is read without it"),
    "returningClause": ("RETURNING may not be written", "what changes is read without it"),
    "onConflictClause": ("ON CONFLICT may not be written", "probe for the row, and write an UPDATE"),
}
_RELATION = frozenset({"catalogname", "schemaname", "relname", "inh", "relpersistence", "alias", "location"})


@dataclass(frozen=True)
class Assigned:
    """One SET column = expression, or one value of an INSERT's row.

    text: the expression as written, its built-in functions spelled out; varies: it depends on the time,
    so a preview cannot tell its value, and undo and drift leave the column alone.
    """

    column: str
    text: str
    varies: bool


@dataclass(frozen=True)
class Change:
    """A statement that may be sent, once `table.objection` has none.

    table: as written and as listed by the connection; alias: the name by which its columns are qualified;
    text: the whole statement, its functions spelled out, without RETURNING; condition: the text of WHERE,
    "" for an INSERT; rows: an INSERT's VALUES, each in the order of the column list; args: how many values
    it takes; reads: every column named in WHERE and in an expression; dotted: table → what is named behind
    it after a dot, as in `reading.Query`.
    """

    verb: Verb
    table: str
    alias: str
    text: str
    condition: str
    sets: tuple[Assigned, ...]
    rows: tuple[tuple[Assigned, ...], ...]
    args: int
    reads: frozenset[str]
    dotted: Mapping[str, frozenset[str]]

    @property
    def columns(self) -> tuple[str, ...]:
        """Those that are written, in order."""
        return tuple(one.column for one in (self.rows[0] if self.rows else self.sets))

    @property
    def varying(self) -> frozenset[str]:
        """Those whose value depends on the time."""
        written = (*self.sets, *(one for row in self.rows for one in row))
        return frozenset(one.column for one in written if one.varies)


def change(text: str, reach: Reach) -> Change | list[Fault]:
    """The statement taken apart, or everything that is wrong with it."""
    try:
        tree = parsed(text, _ONE)
        if isinstance(tree, Fault):
            return [tree]
        kind, statement = next(iter(tree.items()))
        if kind not in _VERBS:
            stands = kind.removesuffix("Stmt").upper()
            return [Fault("P203", f"this is no UPDATE, INSERT or DELETE but {stands}", _ONE)]
        reading = _Reading(text, reach, _VERBS[kind], statement)
        return sorted(dict.fromkeys(reading.faults), key=lambda one: one.offset) or reading.change()
    except RecursionError:
        return [Fault("P201", "this is nested too deeply", "write it shorter")]


def placed(change: Change, schema: str) -> Change | Fault:
    """The change as it is sent, its table with its schema; the schema is that which the database tells."""
    tree = parsed(change.text, _ONE)
    if isinstance(tree, Fault):
        return tree
    (statement,) = tree.values()
    if "schemaname" in statement["relation"]:
        return change
    text = schemed(change.text, {statement["relation"]["location"]: schema})
    return text if isinstance(text, Fault) else replace(change, text=text)


def _settles(value: Any, columns: set[str]) -> bool:
    """Is it LEAST or GREATEST of one of these columns and of what is none? A second time changes nothing."""
    parts = value.get("MinMaxExpr", {}).get("args", [])
    read = [strings(ref["fields"])[-1] for part in parts for ref in references(part)]
    return sum(name in columns for name in read) == 1 and any(
        "ColumnRef" in part and strings(part["ColumnRef"]["fields"])[-1] in columns for part in parts
    )


class _Reading(Judging):
    """One walk through one tree."""

    def __init__(self, text: str, reach: Reach, verb: Verb, statement: dict[str, Any]) -> None:
        super().__init__(text.encode())
        self._reach = reach
        self._verb: Verb = verb
        self._statement = statement
        self._relation: dict[str, Any] = statement["relation"]
        self._terms = Terms(self._source, reach, self._relation, columns=verb != "insert")
        self._judge_text(text)
        self._judge_table()
        self._judge_clauses()
        self._targets = self._read_targets()
        self._condition = statement.get("whereClause")
        for written, expression in self._expressions():
            self._terms.judge(expression, written=written)
        self.faults += self._terms.faults
        self._judge_where()
        self._check_params()

    def change(self) -> Change | list[Fault]:
        text = spelled(self._source, self._terms.names)
        cut = sqlcuts.cut(text, self._verb, self._statement)
        if isinstance(cut, Fault):
            return [cut]
        return Change(
            verb=self._verb,
            table=self._written(),
            alias=self._alias(),
            text=cut.text,
            condition=cut.condition,
            sets=self._assigned(cut.sets, [value for _, value in self._targets if value]),
            rows=tuple(self._assigned(texts, row) for texts, row in zip(cut.rows, self._rows(), strict=True)),
            args=len(self._terms.params),
            reads=frozenset(strings(ref["fields"])[-1] for ref in references(self._statement)),
            dotted=self._dotted(),
        )

    # ── The statement ─────────────────────────────────────────────────────────────────────────────

    def _judge_text(self, text: str) -> None:
        found = sqltext.tokens(self._source)
        if isinstance(found, Fault):
            self.faults.append(found)
        if hidden := sqltext.hiding(text):
            self.faults.append(hidden)
        if isinstance(found, list) and sqltext.starred(found, self._relation.get("location", 0)):
            self._fault("P211", "* may not stand behind the table", "leave it out", self._relation)

    def _written(self) -> str:
        parts = ("catalogname", "schemaname", "relname")
        return ".".join(self._relation[part] for part in parts if part in self._relation)

    def _alias(self) -> str:
        alias: str = self._relation.get("alias", {}).get("aliasname", self._relation["relname"])
        return alias

    def _judge_table(self) -> None:
        if self._written() not in self._reach.tables:
            known = ", ".join(sorted(self._reach.tables)) or "none"
            remedy = f"the connection's tables: {known[:300]}"
            problem = f"the connection lists no table {self._written()!r}"
            self._fault("P204", problem, remedy, self._relation)
        if not self._relation.get("inh"):
            self._fault("P211", "ONLY may not stand in a change", "leave it out", self._relation)
        if self._relation.keys() - _RELATION or self._relation.get("alias", {}).keys() - {"aliasname"}:
            self._fault("P211", "the table may have another name here, and nothing else", "", self._relation)

    def _judge_clauses(self) -> None:
        parts = {"update": {"targetList", "whereClause"}, "delete": {"whereClause"}}
        known = parts.get(self._verb, {"cols", "selectStmt", "override"}) | {"relation"}
        for part in self._statement.keys() - known:
            problem, remedy = _CLAUSES.get(part, (f"{worded(part)} may not stand in a change", ""))
            self._fault("P211", problem, remedy)
        if self._verb == "insert":
            self._judge_insert()

    def _judge_insert(self) -> None:
        values = self._statement.get("selectStmt", {}).get("SelectStmt", {})
        plain = {"limitOption": "LIMIT_OPTION_DEFAULT", "op": "SETOP_NONE"}
        rest = {part: value for part, value in values.items() if part != "valuesLists"}
        if rest != plain:
            self._fault("P211", "an INSERT needs VALUES, and nothing else", "write VALUES (…)")
        if self._statement.get("override") != "OVERRIDING_NOT_SET":
            self._fault("P211", "OVERRIDING may not be written", "leave the identity column out")
        columns = self._statement.get("cols", [])
        if not columns:
            self._fault("P211", "an INSERT must name its columns", "write INSERT INTO t (a, b) VALUES …")
        elif any(len(row) != len(columns) for row in self._rows()):
            self._fault(
                "P211", f"there are {len(columns)} columns, and not as many values", "", self._relation
            )

    # ── What is written ───────────────────────────────────────────────────────────────────────────

    def _rows(self) -> list[list[Any]]:
        values = self._statement.get("selectStmt", {}).get("SelectStmt", {})
        return [row["List"].get("items", []) for row in values.get("valuesLists", [])]

    def _read_targets(self) -> list[tuple[str, Any]]:
        """Column → its expression, of an UPDATE; of an INSERT, its columns."""
        targets: list[tuple[str, Any]] = []
        hidden = self._reach.hides(self._relation["relname"])
        part = "targetList" if self._verb == "update" else "cols"
        for target in (one["ResTarget"] for one in self._statement.get(part, [])):
            name = target["name"]
            if name in {column for column, _ in targets}:
                self._fault("P211", f"{name} is written twice", "leave one out", target)
            if target.keys() - {"name", "val", "location"}:
                self._fault("P211", f"a part of {name} may not be written", "write the whole value", target)
            if name in SYSTEM:
                self._fault("P211", f"{name} is the system's own column", "", target)
            if name.lower() in hidden:
                self._fault("P206", f"{name} is a hidden column", "leave it out", target)
            targets.append((name, target.get("val")))
        return targets

    def _expressions(self) -> Iterator[tuple[bool, Any]]:
        """Every expression; and is it written to a column, rather than compared?"""
        if self._condition:
            yield False, self._condition
        for value in (value for _, value in self._targets if value):
            yield True, value
        for value in (value for row in self._rows() for value in row):
            yield True, value

    def _assigned(self, texts: tuple[str, ...], values: list[Any]) -> tuple[Assigned, ...]:
        columns = [column for column, _ in self._targets] if values else []
        written = zip(columns, texts, values, strict=True)
        return tuple(Assigned(column, text, varies(value)) for column, text, value in written)

    # ── The whole ─────────────────────────────────────────────────────────────────────────────────

    def _judge_where(self) -> None:
        if self._verb == "insert":
            return
        remedy = "say which rows: WHERE id = $1"
        if self._condition is None:
            self._fault("P210", "there is no WHERE, so every row would change", remedy)
        elif not sqlwhere.restricts(self._condition):
            self._fault(
                "P210", "the WHERE may hold for every row: it compares no column with a value", remedy
            )
        compared = sqlwhere.compared(self._condition) if self._condition else frozenset()
        columns = {column for column, _ in self._targets}
        for _, value in self._targets:
            for ref in references(value):
                name = strings(ref["fields"])[-1:]
                if set(name) & columns - compared and not _settles(value, columns):
                    problem = f"{name[0]} is set, and read for it: a second time would change it again"
                    remedy = (
                        f"read it in a probe, pass the new value, and add AND {name[0]} = $n with the old one"
                    )
                    self._fault("P212", problem, remedy, ref)

    def _check_params(self) -> None:
        if self._terms.params != set(range(1, len(self._terms.params) + 1)):
            found = ", ".join(f"${number}" for number in sorted(self._terms.params))
            self._fault("P207", f"the values are numbered {found}", "number them $1, $2 … without a gap")

    def _dotted(self) -> dict[str, frozenset[str]]:
        names = [strings(ref["fields"]) for ref in references(self._statement)]
        dotted = frozenset(parts[-1] for parts in names if len(parts) > 1)
        return {self._written(): dotted} if dotted else {}
