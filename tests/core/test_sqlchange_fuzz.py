"""Any text: a change is taken apart into what it says, or refused; never a guess and never a crash."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pgparse
from hypothesis import example, given, settings
from hypothesis import strategies as st

from remediator.core.catalog import Reach
from remediator.core.sql.change import Change, change
from remediator.core.sql.picture import changing, holding, locking, looking, restoring
from remediator.core.sql.table import Column, Table, objection

REACH = Reach(
    tables=frozenset({"programs", "audit.entries", "set"}),
    hidden=frozenset({"programs.secret", "audit.entries.secret", "set.secret"}),
    functions=frozenset({"sneaky"}),
)
EXPRESSIONS = frozenset(
    """
    ColumnRef ParamRef A_Const A_Expr A_ArrayExpr A_Indirection A_Indices BoolExpr NullTest BooleanTest
    CaseExpr CaseWhen CoalesceExpr MinMaxExpr RowExpr TypeCast CollateClause FuncCall NamedArgExpr
    SQLValueFunction List String Integer ResTarget
    """.split()
)
"""Everything that may stand in a change which is accepted, written down a second time."""


# ── Statements within the grammar ───────────────────────────────────────────────────────────────

SET = ("a", "b", '"C d"', "values", "set")
READ = ("x", "y", '"where"', '"z, ""q"""', "name")
SPACES = st.sampled_from([" ", "  ", "\n", "\t ", "\r\n"])
LITERALS = st.one_of(
    st.integers(-(10**12), 10**12).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=0).map(str),
    st.text("abé ,();'\"=$.*-", max_size=8).map(lambda text: "'" + text.replace("'", "''") + "'"),
    st.sampled_from(["true", "NULL", "' WHERE id = 1'", "'),('", "', a = 2'", "'values ('"]),
)
LEAVES = st.one_of(
    LITERALS,
    st.just("$?"),
    st.sampled_from(["interval '1 day'", "make_interval(days => $?)"]),
)
TIMES = st.sampled_from(
    [
        "now()",
        "current_date",
        "(current_timestamp)::date",
        "now() AT TIME ZONE 'Africa/Dakar'",
        "clock_timestamp()",
    ]
)


def _nested(columns: bool) -> st.SearchStrategy[str]:
    leaves = st.one_of(LEAVES, st.sampled_from(READ)) if columns else LEAVES

    def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        two = st.tuples(inner, inner)
        return st.one_of(
            inner.map(lambda one: f"({one})"),
            inner.map(lambda one: f"(({one}))::text"),
            inner.map(lambda one: f"CAST({one} AS numeric(6, 4))"),
            inner.map(lambda one: f"upper({one})"),
            inner.map(lambda one: f"- ({one})"),
            inner.map(lambda one: f"({one})[1]"),
            two.map(lambda pair: f"{pair[0]} || {pair[1]}"),
            two.map(lambda pair: f"{pair[0]} * ({pair[1]})"),
            two.map(lambda pair: f"coalesce({pair[0]}, {pair[1]})"),
            two.map(lambda pair: f"greatest({pair[0]},{pair[1]})"),
            two.map(lambda pair: f"CASE WHEN ({pair[0]}) = ({pair[1]}) THEN {pair[1]} ELSE {pair[0]} END"),
            two.map(lambda pair: f"ARRAY[{pair[0]}, {pair[1]}]"),
            two.map(lambda pair: f"position(({pair[0]}) IN ({pair[1]}))"),
            two.map(lambda pair: f"(({pair[0]}) IN ({pair[1]}, 3) AND NOT ({pair[1]}) IS NULL)"),
            two.map(lambda pair: f"((({pair[0]}) AT TIME ZONE 'UTC') = ({pair[1]}))"),
        )

    return st.recursive(leaves, grown, max_leaves=6)


COMPARED = _nested(columns=True)
VALUED = _nested(columns=False)


@st.composite
def statements(draw: st.DrawFn) -> str:
    table = draw(st.sampled_from(sorted(REACH.tables)))
    alias = draw(st.sampled_from(["", "", " AS p", ' AS "set"', " AS values"]))
    space = draw(SPACES)
    match draw(st.sampled_from(["update", "delete", "insert"])):
        case "update":
            columns = draw(st.lists(st.sampled_from(SET), min_size=1, max_size=3, unique=True))
            sets = [f"{column}{space}={space}{draw(st.one_of(COMPARED, TIMES))}" for column in columns]
            text = (
                f"UPDATE {table}{alias} SET {f'{space},'.join(sets)}{space}WHERE{space}{draw(_conditions())}"
            )
        case "delete":
            text = f"DELETE FROM {table}{alias}{space}WHERE {draw(_conditions())}"
        case _:
            columns = draw(st.lists(st.sampled_from(SET), min_size=1, max_size=3, unique=True))
            rows = draw(
                st.lists(st.tuples(*(st.one_of(VALUED, TIMES) for _ in columns)), min_size=1, max_size=3)
            )
            values = f",{space}".join(f"({f' ,{space}'.join(row)})" for row in rows)
            text = f"INSERT INTO {table}{alias} ({', '.join(columns)}) VALUES{space}{values}"
    return _numbered(text) + draw(st.sampled_from(["", ";", "\n;\n"]))


@st.composite
def _conditions(draw: st.DrawFn) -> str:
    plain = draw(
        st.sampled_from(
            ["x = $?", "y IN (1, $?)", '"where" IS NULL', "name LIKE 'a,%'", "x BETWEEN 1 AND $?"]
        )
    )
    if draw(st.booleans()):
        return f"{plain} AND ({draw(COMPARED)}) = ({draw(COMPARED)})"
    return draw(
        st.sampled_from(
            [plain, f"({plain}) OR x = 3", f"NOT (name = $? OR {plain.replace('IS NULL', '= 2')})"]
        )
    )


def _numbered(text: str) -> str:
    number = iter(range(1, 1000))
    return re.sub(
        r"'(?:[^']|'')*'|\$\?", lambda match: f"${next(number)}" if match[0] == "$?" else match[0], text
    )


def _bare(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_bare(item) for item in tree]
    if isinstance(tree, dict):
        return {key: _bare(item) for key, item in tree.items() if key != "location"}
    return tree


def _parsed(text: str) -> dict[str, Any]:
    (statement,) = pgparse.parse(text)
    bare: dict[str, Any] = _bare(statement["stmt"])
    return bare


def _expression(text: str) -> Any:
    (target,) = _parsed(f"SELECT ({text})")["SelectStmt"]["targetList"]
    return target["ResTarget"]["val"]


def _accepted(text: str) -> Change:
    found = change(text, REACH)
    assert isinstance(found, Change), (text, found)
    return found


@settings(deadline=None, max_examples=200)
@given(statements())
def test_every_piece_means_alone_what_it_means_in_the_statement(text: str) -> None:
    found = _accepted(text)
    (tree,) = _parsed(found.text).values()
    if found.condition:
        assert _expression(found.condition) == tree["whereClause"]
    for one, target in zip(found.sets, tree.get("targetList", []), strict=True):
        assert (one.column, _expression(one.text)) == (
            target["ResTarget"]["name"],
            target["ResTarget"]["val"],
        )
    lists = tree.get("selectStmt", {}).get("SelectStmt", {}).get("valuesLists", [])
    assert [[_expression(one.text) for one in row] for row in found.rows] == [
        one["List"]["items"] for one in lists
    ]


@settings(deadline=None, max_examples=200)
@given(statements())
def test_what_is_sent_is_what_was_written_but_for_the_names_of_functions(text: str) -> None:
    found = _accepted(text)
    assert found.text.replace("pg_catalog.", "") == text.rstrip("; \n\t\r")
    assert sorted(set(re.findall(r"\$(\d+)", re.sub(r"'(?:[^']|'')*'", "", text)))) == sorted(
        str(number) for number in range(1, found.args + 1)
    )


@settings(deadline=None, max_examples=200)
@given(statements())
def test_whatever_is_derived_is_one_statement_with_every_value_in_it(text: str) -> None:
    found = _accepted(text)
    names = {*found.columns, *found.reads}
    columns = {name: Column(name, "numeric(6,4)", "numeric") for name in sorted(names)}
    columns["k 1"] = Column("k 1", "text", "text", identity="always")
    columns['k"2'] = Column('k"2', "text", "text")
    table = Table('"public"."it"', ("k 1", 'k"2'), columns)
    assert objection(found, table, restores=False) == ""
    derived = [looking(found, table), changing(found, table)]
    derived += [locking(found, table)] if found.verb != "insert" else []
    for one in derived:
        tree = _parsed(one.text)
        assert _numbers(tree) == set(range(1, found.args + 1 + one.limited))
        assert _width(tree) == len(one.columns)
    for one in (holding(found, table), restoring(found, table)):
        if not objection(found, table, restores=True):
            tree = _parsed(one.text)
            assert _numbers(tree) == set(range(1, len(one.params) + 1))
            assert _width(tree) == len(one.columns)


def _nodes(tree: Any) -> Iterator[tuple[str, Any]]:
    for key, item in tree.items() if isinstance(tree, dict) else []:
        yield key, item
        yield from _nodes(item)
    for item in tree if isinstance(tree, list) else []:
        yield from _nodes(item)


def _numbers(tree: Any) -> set[int]:
    return {node["number"] for kind, node in _nodes(tree) if kind == "ParamRef"}


def _width(tree: dict[str, Any]) -> int:
    (statement,) = tree.values()
    if "valuesLists" in statement:
        return len(statement["valuesLists"][0]["List"]["items"])
    return len(statement["returningList"] if "returningList" in statement else statement["targetList"])


# ── Any text ────────────────────────────────────────────────────────────────────────────────────

SCRAPS = st.sampled_from(
    [
        *(
            " ",
            ",",
            ";",
            "(",
            ")",
            "'",
            '"',
            "--",
            "/*",
            "*/",
            "$$",
            "$1",
            "$9",
            "E'",
            "U&'",
            "B'1'",
            "\\",
            "\n",
            "\0",
        ),
        *(
            " OR true",
            " OR 1 = 1",
            " AND ",
            " NOT ",
            " RETURNING *",
            " FROM programs",
            " USING programs",
            " ON CONFLICT DO NOTHING",
        ),
        *(
            " WHERE ",
            " SET ",
            " VALUES ",
            " DEFAULT ",
            "(SELECT 1)",
            " = ALL ($1)",
            "programs",
            "programs.*",
            "*",
            ".secret",
            "secret",
        ),
        *(
            "now()",
            "sneaky(x)",
            "pg_sleep(1)",
            "max(x)",
            "random()",
            "::regclass",
            "::text",
            "[1]",
            "ONLY ",
            " AS ",
            " OVER ()",
        ),
        *(
            "WITH x AS (SELECT 1) ",
            "; DROP TABLE programs",
            " LIMIT 1",
            "DELETE FROM ",
            "\u202e",
            "é",
            "\ud800",
        ),
    ]
)


@st.composite
def mutations(draw: st.DrawFn) -> str:
    text = draw(statements())
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 12)))
        put = draw(st.one_of(SCRAPS, st.just(""), st.just(text[start:end] * 2), st.text(max_size=3)))
        text = text[:start] + put + text[end:]
    return text


def _judge(text: str) -> None:
    found = change(text, REACH)
    if isinstance(found, list):
        assert found
        assert all(re.fullmatch(r"P2\d\d", fault.code) and fault.problem for fault in found)
        assert all(0 <= fault.offset <= len(text) for fault in found)
        return
    (kind,) = (statement := pgparse.parse(text)[0]["stmt"])
    tree = statement[kind]
    assert len(pgparse.parse(text)) == 1
    assert kind in ("UpdateStmt", "DeleteStmt", "InsertStmt")
    assert tree.keys() <= {"relation", "targetList", "whereClause", "cols", "selectStmt", "override"}
    assert found.table in REACH.tables
    assert (kind == "InsertStmt") or tree["whereClause"]
    plain = {"selectStmt", "SelectStmt", *EXPRESSIONS}
    assert {key for key, _ in _nodes(tree) if key[0].isupper()} <= plain
    names = {node["sval"].lower() for key, node in _nodes(tree) if key == "String"}
    assert not names & {"secret", "sneaky", "pg_sleep", "random", "regclass"}


@settings(deadline=None, max_examples=600)
@given(mutations())
def test_whatever_is_done_to_a_statement_it_is_judged(text: str) -> None:
    _judge(text)


@settings(deadline=None, max_examples=200)
@given(st.one_of(st.text(), st.lists(SCRAPS, max_size=12).map("".join)))
@example("UPDATE programs SET a = 1 WHERE " + "x = 1 AND (" * 700 + "x = 1" + ")" * 700)
@example("UPDATE programs SET a = " + "CASE WHEN x = 1 THEN " * 400 + "1" + " END" * 400 + " WHERE x = 1")
@example("UPDATE programs SET a = " + "-(" * 900 + "$1" + ")" * 900 + " WHERE x = 1")
def test_any_text_is_judged(text: str) -> None:
    _judge(text)
