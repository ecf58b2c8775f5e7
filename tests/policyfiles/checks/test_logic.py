"""Conditions whatever the values: what can never hold is never true for any values that are tried."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.core.expression import Expression
from remediator.errors import EvaluationError
from remediator.policyfiles.checks.logic import Fact, constant, never


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("a > 5 && a < 3", True),
        ("a > 5 && a < 6", False),
        ("a >= 5 && a <= 5", False),
        ("a >= 5 && a < 5", True),
        ("a >= 5 && a <= 5 && a != 5", True),
        ("5 < a && a <= 5", True),
        ("-3 > a && a > -2", True),
        ('a == "x" && a == "y"', True),
        ('a == "x" && a != "y"', False),
        ('a == "x" && a == 1', True),
        ("a == 1.0 && a == 1", False),
        ("a == true && a == 1", True),
        ("a == null && a > 1", True),
        ("a == null && a != 1", False),
        ("a > null", True),
        ("a && !a", True),
        ("a != true && a != false", True),
        ("!(a && b) && a && b", True),
        ("!(a || b) && (a || b)", True),
        ("(a > 1 || b > 1) && a <= 1 && b <= 1", True),
        ("(a > 1 || b > 1) && a <= 1", False),
        ("size(a) > 1 && size(a) < 1", True),
        ('a.matches("x") && !a.matches("x")', True),
        ('a.matches("x") && !a.matches("y")', False),
        ("a[b] > 1 && a[b] < 1", True),
        ("a[b] > 1 && a[c] < 1", False),
        ('a.matches("x") && a.matches("x") == false', True),
        ("a in [1, 2] && !(a in [1, 2])", True),
        ("a.exists(x, x > 1) && !a.exists(x, x > 1)", True),
        ("a.exists(x, x > 1) && !a.exists(x, x > 2)", False),
        ("a ? b > 1 : b < 1", False),
        ("false", True),
        ("5 == a || true", False),
    ],
)
def test_what_is_seen_to_be_impossible(text: str, known: bool) -> None:
    assert never(Expression.parse(text)) is known


def test_what_holds_only_after_another() -> None:
    first, second = Expression.parse("a > 10"), Expression.parse("b == 1")
    assert never(Expression.parse("a >= 11 && c"), unless=[first])
    assert never(Expression.parse("a > 20 || b == 1"), unless=[first, second])
    assert not never(Expression.parse("a >= 10"), unless=[first])
    assert never(Expression.parse("a"), given=[Fact("a", "==", value=False)])


def test_what_looks_nothing_up_is_constant() -> None:
    assert constant(Expression.parse("1 < 2")) is True
    assert constant(Expression.parse("1 / 0")) == "an error"
    assert constant(Expression.parse("a < 2")) is None


def test_conditions_of_very_many_ways_are_let_be() -> None:
    many = " && ".join(f"(a{n} > 1 || b{n} > 1)" for n in range(40))
    assert not never(Expression.parse(many))
    few = [Expression.parse(f"a{n} > 1 && b{n} > 1 && c{n} > 1 && d{n} > 1") for n in range(5)]
    assert never(Expression.parse(few[0].text), unless=few[:1])
    assert not never(Expression.parse(few[0].text), unless=few), "too many together: let be"
    assert never(Expression.parse("a > 1 && a < 1"), unless=[Expression.parse(many)])


VALUES: tuple[object, ...] = (None, True, False, -1, 0, 1, 1.5, 2, "x", "y")
ATOMS = st.builds(
    "{} {} {}".format,
    st.sampled_from("ab"),
    st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
    st.sampled_from(["0", "1", "1.5", "-1", '"x"', "true", "null"]),
) | st.sampled_from(["a", "b", "!a"])
CONDITIONS = st.recursive(
    ATOMS,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["&&", "||"]), inner)
        | st.builds("!({})".format, inner)
    ),
    max_leaves=5,
)


@given(CONDITIONS, st.lists(CONDITIONS, max_size=2))
def test_no_values_make_true_what_is_said_to_be_impossible(text: str, before: list[str]) -> None:
    condition, others = Expression.parse(text), [Expression.parse(one) for one in before]
    if not never(condition, unless=others):
        return
    for a, b in itertools.product(VALUES, VALUES):
        scope = {"a": a, "b": b}
        assert not (_answer(condition, scope) is True and all(_answer(one, scope) is False for one in others))


def _answer(condition: Expression, scope: dict[str, object]) -> object:
    """What it says for these values; an error is neither true nor false."""
    try:
        return condition.evaluate(scope)
    except EvaluationError:
        return "an error"
