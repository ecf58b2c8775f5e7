"""Exact numbers survive the journal's JSON, and people see plain ones."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.core import exact
from remediator.core.canonical import digest
from remediator.core.evidence import Reading
from remediator.core.exact import kept, plain, revived
from remediator.core.expression import Expression

DECIMALS = st.decimals(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | DECIMALS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["#", "##", "#x"]), inner),
)


def same(left: object, right: object) -> bool:
    """Equal, and numbers of one type: 1, 1.0 and Decimal('1.0') are three."""
    return repr(left) == repr(right)


@given(VALUES)
def test_what_is_kept_comes_back_as_the_very_value(value: object) -> None:
    assert same(revived(json.loads(json.dumps(kept(value)))), value)


@given(VALUES)
def test_everything_has_a_plain_form(value: object) -> None:
    json.dumps(plain(value))


def test_data_from_outside_cannot_pass_for_a_number() -> None:
    assert kept({"#": "0.07"}) == {"##": "0.07"}
    assert revived(kept({"#": "no number"})) == {"#": "no number"}


@pytest.mark.parametrize(
    ("exact", "shown"),
    [
        ("0.0700", 0.07),
        ("5", 5),
        ("5.00", 5),
        ("-12.5", -12.5),
        ("9007199254740993", "9007199254740993"),
        ("0.12345678901234567890", "0.12345678901234567890"),
        ("1E+400", "1E+400"),
    ],
)
def test_people_see_a_number_where_a_double_says_the_same(exact: str, shown: object) -> None:
    assert same(plain(Decimal(exact)), shown)


def test_a_stored_reading_is_a_number_to_expressions_and_exact_as_a_bare_path() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    read = Reading(at, ok=True, value=kept({"row": {"rate": Decimal("0.07000000000000000001")}}))
    stored = msgspec.json.decode(msgspec.json.encode(read), type=Reading)
    scope = {"budget": stored.as_seen()}
    assert same(Expression.parse("budget.row.rate").evaluate(scope), Decimal("0.07000000000000000001"))
    assert Expression.parse("budget.row.rate * 0.5").evaluate(scope) == 0.035
    assert Expression.parse("budget.row.rate < 0.08").evaluate(scope) is True
    assert stored.shown == {"row": {"rate": "0.07000000000000000001"}}


def test_another_number_is_another_hash() -> None:
    spellings = {"a": kept(Decimal("0.07"))}, {"a": kept(Decimal("0.070"))}, {"a": "0.07"}, {"a": 0.07}
    assert len({digest(one) for one in spellings}) == 4


@given(VALUES)
def test_a_value_is_the_same_as_it_was_before_the_store(value: object) -> None:
    assert exact.same(value, revived(json.loads(json.dumps(kept(value)))))


@pytest.mark.parametrize("pair", [(True, 1), (False, 0), (1, 1.0), (1, Decimal(1)), (None, "null")])
def test_what_python_calls_equal_need_not_be_the_same(pair: tuple[object, object]) -> None:
    one, other = pair
    assert exact.same({"limit": [one]}, {"limit": [one]})
    assert not exact.same({"limit": [one]}, {"limit": [other]})
