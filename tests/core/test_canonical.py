"""One spelling for everything that is hashed: different values differ, the same value never does."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from remediator.core.canonical import canonical, digest, inert

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("#ab", max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def typed(value: Any) -> Any:
    """The value with the types that Python's == does not tell apart."""
    match value:
        case dict():
            return {key: typed(item) for key, item in value.items()}
        case list():
            return [typed(item) for item in value]
    return (type(value).__name__, repr(value))


@given(plain, plain)
def test_two_values_are_spelled_alike_only_when_they_are_the_same(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == (typed(one) == typed(other))


@given(plain)
def test_the_spelling_survives_storage(value: Any) -> None:
    stored = msgspec.json.decode(msgspec.json.encode(value))
    assert digest(stored) == digest(value)
    assert json.loads(canonical(value)) is not Ellipsis


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        (1, "1"),
        (0.0, -0.0),
        (1, {"#": "1"}),
        ({"#": 1}, {"##": 1}),
        ({"a": 1}, {"a": {"#": "1"}}),
        (None, "null"),
        ([], {}),
        ("", None),
    ],
)
def test_look_alikes_differ(one: Any, other: Any) -> None:
    assert digest(one) != digest(other)


def test_the_order_of_keys_does_not_matter() -> None:
    assert canonical({"b": 1, "a": "x"}) == canonical({"a": "x", "b": 1}) == '{"a":"x","b":{"#":"1"}}'


@given(st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=5), max_size=3), max_size=3))
@example([{chr(code): chr(code) for code in (*range(0x300), 0x2028, 0xFFFF, 0x10000, 0x10FFFF)}])
def test_the_letters_and_the_order_are_those_of_the_standard_librarys_json(value: Any) -> None:
    """Hashes of years ago must be told again: no other encoder may spell a letter in its own way."""
    known = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert canonical(value) == known.replace('{"#', '{"##').replace(',"#', ',"##')


class _Text(str):
    __slots__ = ()


def test_a_text_of_a_class_of_its_own_is_a_text() -> None:
    assert digest({"a": [_Text("b")]}) == digest({"a": ["b"]})


def test_half_characters_are_hashed_rather_than_raising() -> None:
    assert digest("\ud800") != digest("\ud801")


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(days=7), "604800s"),
        (timedelta(days=30, seconds=1), "2592001s"),
        (timedelta(days=400), "34560000s"),
        (timedelta(microseconds=1), "0.000001s"),
        (timedelta(milliseconds=1500), "1.5s"),
        (timedelta(), "0s"),
        (-timedelta(minutes=1), "-60s"),
    ],
)
def test_a_duration_keeps_every_second_of_it(span: timedelta, text: str) -> None:
    assert inert(span) == text


def test_what_is_plain() -> None:
    at = datetime(2026, 3, 4, 10, tzinfo=UTC)
    value = {"at": at, "rate": Decimal("0.070"), 3: (1, None, [True])}
    assert inert(value) == {"at": "2026-03-04T10:00:00+00:00", "rate": "0.070", "3": [1, None, [True]]}


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object(), {"deep": [b"x"]}])
def test_what_has_no_plain_form_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="is not one of null, booleans"):
        inert(value)
