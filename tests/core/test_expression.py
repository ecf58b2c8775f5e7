"""Expressions and templates: what they mean, what they refuse, and that values stay where they belong."""

from __future__ import annotations

import json
import math
import re
import string
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

import pytest
import re2
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from remediator.core.catalog import Escape
from remediator.core.expression import Expression, Template, format_duration, parse_duration
from remediator.errors import EvaluationError, ExpressionError

NOON = datetime(2025, 5, 4, 12, 0, tzinfo=UTC)
SCOPE: dict[str, object] = {
    "labels": {"env": "prod", "namespace": "shop", "my-label": "x"},
    "now": NOON,
    "budget": {
        "row": {
            "name": "Teranga",
            "remaining_pct": 3.2,
            "earn_rate": Decimal("0.07"),
            "note": None,
            "count": 7,
        },
        "rows": [{"n": 1, "tags": ["a"]}, {"n": 2, "tags": []}],
        "empty": [],
        "nan": math.nan,
        "huge": 2**70,
    },
}


def value(text: str, **more: object) -> object:
    return Expression.parse(text).evaluate({**SCOPE, **more})


def refusal(text: str, **more: object) -> str:
    with pytest.raises(EvaluationError) as caught:
        value(text, **more)
    return caught.value.problem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("budget.row.remaining_pct * 2", 6.4),
        ("budget.row.count * 0.5", 3.5),
        ("2 * 0.5", 1.0),
        ("7 / 2", 3.5),
        ("6 / 2", 3),
        ("-7 % 3", -1),
        ("7.5 % 2", 1.5),
        ("-budget.row.count", -7),
        ("- -3", 3),
        ("-9223372036854775808", -(2**63)),
        ("0x1F", 31),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("'a' + \"b\"", "ab"),
        ("[1] + [2]", [1, 2]),
        ("1 < 1.5", True),
        ("1 == 1.0", True),
        ("'a' < 'b'", True),
        ("budget.row.note == null", True),
        ("null != budget.row.note", False),
        ("budget.row.name != null", True),
        ("budget.row.note == null || budget.row.note > 5", True),
        ("budget.row.note != null && budget.row.note > 5", False),
        ("[1, [null]] == [1.0, [null]]", True),
        ("{'a': 1} == {'a': 2}", False),
        ("labels.env in ['prod', 'staging']", True),
        ("'env' in labels", True),
        ("1.0 in [1, 2]", True),
        ("labels.namespace", "shop"),
        ("labels['my-label']", "x"),
        ("has(labels.env)", True),
        ("has(labels.region)", False),
        ("has(labels['my-label'])", True),
        ("budget.rows[1].n", 2),
        ("budget.rows[2 - 1].n", 2),
        ("budget.rows.exists(r, r.n == 2)", True),
        ("budget.rows.exists_one(r, r.n == 2)", True),
        ("budget.rows.all(r, r.n > 1)", False),
        ("budget.rows.filter(r, r.n > 1)", [{"n": 2, "tags": []}]),
        ("budget.rows.map(r, r.n * 10)", [10, 20]),
        ("budget.rows.exists(r, has(r.tags) && size(r.tags) == 0)", True),
        ("budget.rows.exists(budget, budget.n == 2)", True),
        ("size(budget.empty)", 0),
        ("'été'.size()", 3),
        ("labels.env.startsWith('pr')", True),
        ("labels.env.endsWith('od')", True),
        ("labels.env.contains('ro')", True),
        ("labels.env.matches('p.*')", True),
        ("labels.env.matches('r')", False),
        ("matches('ab', 'a(b|c)')", True),
        ("true ? 1 : 2", 1),
        ("false ? 1 : true ? 2 : 3", 2),
        ("!false", True),
        ("round(2.345, 1)", 2.3),
        ("round(2.5)", 2),
        ("round(7)", 7),
        ("min(3, 1.5, 2)", 1.5),
        ("max([3, 1.5])", 3),
        ("string(5.0)", "5"),
        ("int('12')", 12),
        ("int(2.9)", 2),
        ("double('2.5')", 2.5),
        ("now - duration('7d') < now", True),
        ("duration('24h5m') == duration('1445m')", True),
        ("now - timestamp('2025-05-04T11:00:00Z')", timedelta(hours=1)),
        ("now.getHours()", 12),
        ("duration('90m').getMinutes()", 90),
        (r"'\x41\u00e9\n\''", "Aé\n'"),
        (r"r'\d'", r"\d"),
        ("1 + // why\n 1", 2),
    ],
)
def test_what_an_expression_means(text: str, expected: object) -> None:
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("budget.row.note > 5", "null"),
        ("budget.row.note == budget.row.name", "null"),
        ("null in [1]", "null"),
        ("budget.nan > 1", "not finite"),
        ("budget.nan", "not finite"),
        ("[budget.nan]", "not finite"),
        ("budget.huge + 1", "64 bits"),
        ("9223372036854775807 + 1", "64 bits"),
        ("1e308 * 10", "not a finite number"),
        ("1 / 0", "division by zero"),
        ("1.0 / 0.0", "division by zero"),
        ("1 % 0", "division by zero"),
        ("'a' < 1", "a text is compared with a number"),
        ("1 == 'a'", "a number is compared with a text"),
        ("true == 1", "a boolean is compared with a number"),
        ("true + 1", "expected a number"),
        ("'5' * 2", "expected a number"),
        ("[1] < [2]", "no order"),
        ("'a' in 'abc'", "expected a list or a map"),
        ("'a' in [1]", "compared"),
        ("budget.rwo.name", "budget has no 'rwo'"),
        ("budget.row.name.first", "budget.row.name is a text"),
        ("budget.rows[2]", "no item 2"),
        ("budget.rows[5 - 1]", "out of bounds"),
        ("labels.region == 'eu'", "labels has no 'region'"),
        ("nothing.there", "'nothing' is not known"),
        ("has(nothing.there)", "'nothing' is not known"),
        ("budget.rows.exists(r, r.missing == 1)", "there is no 'missing'"),
        ("budget.rows.exists(r, r.missing == 1 || true)", "there is no 'missing'"),
        ("1 / 0 > 1 || true", "division by zero"),
        ("labels.region == 'eu' || true", "no 'region'"),
        ("true && 1", "kind"),
        ("1 && true", "kind"),
        ("1 ? 2 : 3", "kind"),
        ("!1", "kind"),
        ("budget.row.note.startsWith('a')", "expected a text"),
        ("size(1)", "no size"),
        ("int('x')", "not a whole number"),
        ("int('9999999999999999999')", "64 bits"),
        ("double('nan')", "not a number"),
        ("double('1e999')", "finite"),
        ("min([])", "nothing"),
        ("min(1, 'a')", "compared"),
        ("round(1.5, 99)", "0 to 15"),
        ("labels.env.matches(labels.env + '(')", "RE2"),
        ("now + duration('3000000d')", "calendar"),
        ("timestamp(labels.env)", "not a time"),
        ("now.getHours().getHours()", "kind"),
    ],
)
def test_what_has_no_answer_never_counts_as_false(text: str, reason: str) -> None:
    assert reason in refusal(text)


def test_an_error_names_expression_place_and_the_values_that_were_looked_at() -> None:
    expression = Expression.parse("budget.row.note > 5", place="web.yaml:7:11")
    with pytest.raises(EvaluationError) as caught:
        expression.evaluate(SCOPE)
    assert str(caught.value).startswith("web.yaml:7:11: 'budget.row.note > 5' has no answer")
    assert "budget.row.note = null" in str(caught.value)


def test_a_long_value_is_cut_in_errors() -> None:
    problem = refusal("labels.x > 5", labels={"x": "y" * 10_000})
    assert "yyy" in problem
    assert len(problem) < 400


def test_half_a_character_is_refused_in_words_that_can_be_printed() -> None:
    problem = refusal("labels.x.matches('.*')", labels={"x": "\ud800"})
    assert "half a character" in problem
    assert "ud800" in problem
    assert problem.encode()


def test_a_bare_path_keeps_its_very_value() -> None:
    assert value("budget.row.earn_rate") is SCOPE["budget"]["row"]["earn_rate"]  # type: ignore[index]
    assert value("budget.huge") == 2**70
    assert Expression.parse("budget.rows[0]['n']").is_path
    assert not Expression.parse("budget.rows[0].n + 0").is_path


def test_names_are_the_free_roots_only() -> None:
    expression = Expression.parse(
        "rows.exists(r, r.n > limit && has(x.y)) || labels['env'] == steps.a.result"
    )
    assert expression.names == {"rows", "limit", "x", "labels", "steps"}
    assert [(str(path), path.offset) for path in expression.paths][:2] == [("rows", 0), ("limit", 21)]


def test_a_default_may_stand_in_for_a_missing_key_only() -> None:
    assert Expression.parse("labels.region").is_missing(SCOPE)
    assert not Expression.parse("labels.env").is_missing(SCOPE)
    assert not Expression.parse("labels.env.x").is_missing(SCOPE)
    assert Expression.parse("labels.region + 'x'").is_missing(SCOPE)
    assert not Expression.parse("labels.region + labels.env").is_missing(SCOPE)


@pytest.mark.parametrize(
    ("text", "offset", "words"),
    [
        ("", 0, "expected a value"),
        ("a = 1", 2, "write =="),
        ("a &", 2, "&&"),
        ("a < b < c", 6, "do not chain"),
        ("a.", 2, "after the dot"),
        ("a b", 2, "expected the end"),
        ("(a", 2, "')'"),
        ("'abc", 0, "close the quote"),
        ("foo(1)", 0, "no function foo()"),
        ("rond(1)", 0, "did you mean round()?"),
        ("a.startswith('b')", 2, "startsWith"),
        ("size(1, 2)", 0, "1 arguments, not 2"),
        ("has(a)", 0, "has(a.b)"),
        ("rows.exists(1, true)", 5, "variable's name"),
        ("namespace == 1", 0, "reserved"),
        ("a.matches('(')", 10, "RE2"),
        ("now - duration('7 days')", 15, "not a duration"),
        ("1e999", 0, "too large"),
        ("9223372036854775808", 0, "64 bits"),
        ("12abc", 0, "not a number"),
        (r"'\q'", 0, "not an escape"),
        (r"'\ud800'", 0, "not a character"),
        ("${a}", 0, "no ${ }"),
        ("b'x'", 1, "expected the end"),
        ("type(1)", 0, "no function"),
        ("__at(0)", 0, "reserved"),
        ("(" * 65 + "1" + ")" * 65, 64, "deep"),
        ("+".join("1" * 100), 72, "deep"),
        ("x" * 5000, 4096, "4096"),
    ],
)
def test_what_cannot_be_parsed_says_where(text: str, offset: int, words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        Expression.parse(text)
    assert words in str(caught.value)
    assert caught.value.offset == offset


def test_the_engine_comes_without_its_command_line() -> None:
    code = "import sys, remediator.core.expression; print('prompt_toolkit' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


NUMBERS = st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6).map(lambda number: round(number, 6))


@given(NUMBERS, NUMBERS, st.sampled_from("+-*/"))
def test_arithmetic_agrees_with_python(left: float, right: float, mark: str) -> None:
    scope = {"a": left, "b": right}
    if mark == "/" and right == 0:
        with pytest.raises(EvaluationError):
            Expression.parse("a / b").evaluate(scope)
        return
    expected = {"+": lambda: left + right, "-": lambda: left - right, "*": lambda: left * right}.get(
        mark, lambda: left / right
    )()
    assert Expression.parse(f"a {mark} b").evaluate(scope) == expected


@given(NUMBERS, NUMBERS, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]))
def test_comparison_agrees_with_python(left: float, right: float, mark: str) -> None:
    assert Expression.parse(f"a {mark} b").evaluate({"a": left, "b": right}) is eval(
        f"{left!r} {mark} {right!r}"
    )


@given(st.text(alphabet=string.printable + "é${}", max_size=40))
def test_no_text_makes_the_parser_stumble(text: str) -> None:
    with suppress(ExpressionError, EvaluationError):
        Expression.parse(text).evaluate(SCOPE)


ATOMS = st.sampled_from(
    [
        "1",
        "0.5",
        "'a'",
        "true",
        "null",
        "a",
        "b.c",
        "rows",
        "[1, 'x']",
        "{'k': 1}",
        "duration('1h')",
        "r",
        "now",
    ]
)
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "<", "==", "&&", "||", "in"]), inner).map(
            lambda three: "(" + " ".join(three) + ")"
        ),
        inner.map(lambda one: f"(!{one})"),
        inner.map(lambda one: f"size({one})"),
        inner.map(lambda one: f"string({one})"),
        inner.map(lambda one: f"rows.exists(r, {one})"),
        inner.map(lambda one: f"rows.map(r, {one})"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]})[{two[1]}]"),
        st.tuples(inner, inner, inner).map(lambda three: f"({three[0]} ? {three[1]} : {three[2]})"),
    ),
    max_leaves=8,
)


@given(EXPRESSIONS, st.integers() | st.text() | st.none() | st.floats() | st.decimals())
def test_an_expression_answers_or_refuses_and_never_anything_else(text: str, a: object) -> None:
    scope = {"a": a, "b": {"c": a}, "rows": [a, 1, {"n": a}], "now": NOON, "r": 1}
    try:
        answer = Expression.parse(text).evaluate(scope)
    except EvaluationError:
        return
    assert not (isinstance(answer, float) and not math.isfinite(answer))


# ── Durations ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("2h", 7200), ("7d", 604_800), ("24h5m", 86_700), ("1d1h1m1s1ms", 90_061.001)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "m5", "5 m", "1.5h", "5m2h", "-", "1y", "9" * 50 + "d", "9999999999d"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|long"):
        parse_duration(text)


@given(st.integers(-(10**13), 10**13))
def test_a_duration_survives_being_written(milliseconds: int) -> None:
    span = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(span)) == span


# ── Templates ───────────────────────────────────────────────────────────────────────────────────


def render(text: str, escape: Escape = Escape.TEXT, **scope: object) -> object:
    return Template.parse(text).render({**SCOPE, **scope}, escape)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("", ""),
        ("$5 {x}", "$5 {x}"),
        ("$${x}", "${x}"),
        ("$$${x}", "$${x}"),
        ("${labels.env}", "prod"),
        ("a ${ labels.env } b", "a prod b"),
        ('${ {"a}": "}"}["a}"] }!', "}!"),
        ("${round(budget.row.remaining_pct, 1)} %", "3.2 %"),
        ("${5.0} ${1e21} ${1e-7} ${true}", "5 1000000000000000000000 0.0000001 true"),
        ("rate ${budget.row.earn_rate}", "rate 0.07"),
        ("since ${duration('90m')}, at ${now}", "since 1h30m, at 2025-05-04T12:00:00Z"),
        ("${[1, 'a']}", '[1, "a"]'),
    ],
)
def test_a_template_reads_as_text(text: str, expected: str) -> None:
    assert render(text) == expected


def test_null_has_no_text() -> None:
    with pytest.raises(EvaluationError, match="null has no text"):
        render("note: ${budget.row.note}")


def test_only_a_typed_whole_expression_keeps_its_type() -> None:
    assert render("${budget.row.earn_rate}", Escape.TYPED) == Decimal("0.07")
    assert render("${budget.row.note}", Escape.TYPED) is None
    assert render("${budget.row.earn_rate}", Escape.TEXT) == "0.07"
    assert Template.parse("${ a.b }").whole == Expression.parse("a.b")
    assert Template.parse(" ${a}").whole is None


def test_a_value_is_never_read_as_a_template() -> None:
    assert render("${labels.x} ${labels.x}", labels={"x": "${labels.y}"}) == "${labels.y} ${labels.y}"


def test_literal_parameters_take_no_expression() -> None:
    assert render("POST", Escape.LITERAL) == "POST"
    assert render("a $${b}", Escape.LITERAL) == "a ${b}"
    with pytest.raises(EvaluationError):
        render("${labels.env}", Escape.LITERAL)
    assert Template.parse("${x}").check(Escape.LITERAL)
    assert not Template.parse("x").check(Escape.LITERAL)


@pytest.mark.parametrize(
    ("text", "offset"),
    [("ab ${x", 3), ("${}", 2), ("a ${x y}", 6), ("${'abc}", 2), ("x ${ a. }", 7)],
)
def test_a_broken_template_says_where(text: str, offset: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        Template.parse(text)
    assert caught.value.offset == offset


class Case(BaseModel):
    when: Expression
    text: Template = Template.parse("x")


def test_fields_of_models() -> None:
    case = Case.model_validate({"when": "a > 1", "text": "${a}"})
    assert case.when.names == {"a"}
    assert Case.model_validate({"when": case.when}).when is case.when
    assert Case.model_json_schema()["properties"]["when"]["type"] == "string"
    with pytest.raises(ValidationError) as caught:
        Case.model_validate({"when": "a >"})
    assert caught.value.errors()[0]["ctx"]["offset"] == 3
    with pytest.raises(ValidationError, match="quote it"):
        Case.model_validate({"when": True})


# ── Escapes ─────────────────────────────────────────────────────────────────────────────────────

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"])) | st.text("\"'\\`{}\n|.*#,=~ ax")


@given(ANY_TEXT.filter(lambda text: text not in ("", ".", "..")))
@example("../../admin")
@example("a?b#c%2F")
def test_a_path_value_stays_one_segment(text: str) -> None:
    path = str(render("/api/${x}/end", Escape.PATH, x=text))
    assert re.fullmatch(r"/api/[A-Za-z0-9._~%-]+/end", path)
    assert unquote(path.split("/")[2]) == text


@pytest.mark.parametrize("bad", ["", ".", "..", None, ["a"], {}, "\ud800"])
def test_a_path_value_that_would_change_the_path_is_refused(bad: object) -> None:
    with pytest.raises(EvaluationError):
        render("/api/${x}", Escape.PATH, x=bad)


def test_a_whole_path_is_escaped_too() -> None:
    assert render("${x}", Escape.PATH, x="a/b") == "a%2Fb"


def go_text(source: str, quote: str) -> tuple[str, str]:
    """A Go string literal as Prometheus's lexer reads it: (value, what follows it)."""
    assert source[0] == quote
    escapes = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", quote: quote}
    text, at = "", 1
    while source[at] != quote:
        assert source[at] != "\n"
        if source[at] != "\\":
            text, at = text + source[at], at + 1
        elif source[at + 1] == "x":
            text, at = text + chr(int(source[at + 2 : at + 4], 16)), at + 4
        else:
            text, at = text + escapes[source[at + 1]], at + 2
    return text, source[at + 1 :]


@given(ANY_TEXT, st.sampled_from("\"'"))
@example('"} or vector(1) #', '"')
@example("\\", "'")
def test_a_promql_value_never_leaves_its_quotes(text: str, quote: str) -> None:
    query = str(render(f"up{{a={quote}x${{v}}y{quote}}} > ${{n}}", Escape.PROMQL, v=text, n=1.5))
    found, rest = go_text(query.removeprefix("up{a="), quote)
    assert found == f"x{text}y"
    assert rest == "} > 1.5"


@given(st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0x7FF)), st.sampled_from(["=~", "!~"]))
@example("a|.*", "=~")
def test_a_promql_value_in_a_pattern_matches_only_itself(text: str, op: str) -> None:
    query = str(render(f'up{{a {op}  "x|${{v}}"}}', Escape.PROMQL, v=text))
    pattern, rest = go_text(query.removeprefix(f"up{{a {op}  "), '"')
    assert rest == "}"
    assert pattern.startswith("x|")
    assert re2.fullmatch(pattern[2:], text)
    assert not re2.fullmatch(pattern[2:], text + "x")


@pytest.mark.parametrize(
    ("query", "scope", "expected"),
    [
        ("rate(x[${d}]) > ${n}", {"d": timedelta(minutes=5), "n": Decimal("0.50")}, "rate(x[5m]) > 0.5"),
        ('x{a="\\"",b=~"${v}"}', {"v": "a.b"}, 'x{a="\\"",b=~"a\\\\.b"}'),
        ('x{a=~"a",b="${v}"}', {"v": "a.b"}, 'x{a=~"a",b="a.b"}'),
        ('x{a=~"${v}",b="${v}"}', {"v": "."}, 'x{a=~"\\\\.",b="."}'),
        ("x # it's\n > ${n}", {"n": 1}, "x # it's\n > 1"),
        ('x{a=`"`} > ${n}', {"n": 1}, 'x{a=`"`} > 1'),
        ('x{a="#"} > ${n}', {"n": -1}, 'x{a="#"} > -1'),
    ],
)
def test_promql_values(query: str, scope: dict[str, Any], expected: str) -> None:
    assert render(query, Escape.PROMQL, **scope) == expected


@pytest.mark.parametrize(
    ("query", "bad"),
    [
        ("x > ${v}", "1 or vector(1)"),
        ("${v}", "up"),
        ("x > ${v}", True),
        ("x > ${v}", None),
        ("x{a=`${v}`}", "a"),
        ("x # ${v}", "a"),
        ('x{a="\\${v}"}', '"'),
        ("x{a='${v}'}", "\ud800"),
    ],
)
def test_a_promql_value_without_a_safe_place_is_refused(query: str, bad: object) -> None:
    with pytest.raises(EvaluationError):
        render(query, Escape.PROMQL, v=bad)


@given(ANY_TEXT)
def test_no_slack_markup_comes_from_data(text: str) -> None:
    found = str(render("Hi ${x}", Escape.MRKDWN, x=text))
    assert not set(found) & set("<>")
    assert found.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == f"Hi {text}"


def test_values_show_as_json_in_errors() -> None:
    assert json.dumps("prod") in refusal("labels.env + 1")
