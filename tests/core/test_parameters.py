"""Parameters: what an alert says, checked and typed before anything may use it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.core.opening import Param
from remediator.core.parameters import convert
from remediator.core.scopes import _lived
from remediator.errors import EvaluationError
from tests.core.campaign import policy


def read(value: Any, type_: str = "string", **rest: Any) -> Any:
    """The parameter ``x``, from a label with this value."""
    if type_ == "string":
        rest = {"pattern": "[a-z0-9-]{1,64}"} | rest
    param = Param.model_validate({"from": "labels.x", "type": type_} | rest)
    return convert("x", param, {"labels": {} if value is None else {"x": value}, "annotations": {}})


def refused(value: Any, type_: str = "string", **rest: Any) -> str:
    with pytest.raises(EvaluationError) as caught:
        read(value, type_, **rest)
    assert caught.value.place == "params.x"
    return caught.value.problem


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        ("string", "p-17", "p-17"),
        ("int", "17", 17),
        ("int", " -3 ", -3),
        ("int", "+5", 5),
        ("number", "0.07", 0.07),
        ("number", "-1e3", -1000.0),
        ("bool", "true", True),
        ("bool", "false", False),
        ("uuid", "6F9619FF-8B86-D011-B42D-00CF4FC964FF", "6f9619ff-8b86-d011-b42d-00cf4fc964ff"),
        ("duration", "30d1s", "2592001s"),
        ("duration", "1500ms", "1.5s"),
        ("time", "2026-03-04T10:00:00Z", "2026-03-04T10:00:00+00:00"),
    ],
)
def test_each_type_reads_its_text(type_: str, text: str, value: Any) -> None:
    found = read(text, type_)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("string", "P 17"),
        ("string", "a" * 65),
        ("string", "a\n"),
        ("string", ""),
        ("int", "1.5"),
        ("int", "1e3"),
        ("int", "٣"),
        ("int", "1_000"),
        ("int", "9" * 19),
        ("int", ""),
        ("number", "nan"),
        ("number", "inf"),
        ("number", "1e999"),
        ("number", "0x10"),
        ("number", "1,5"),
        ("bool", "True"),
        ("bool", "1"),
        ("uuid", "6f9619ff"),
        ("duration", "5 min"),
        ("duration", "9" * 30 + "d"),
        ("time", "yesterday"),
        ("time", "2026-03-04T10:00:00"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_value(type_: str, text: str) -> None:
    assert repr(text)[:20] in refused(text, type_)


def test_a_string_must_have_a_pattern_to_fit() -> None:
    param = Param.model_validate({"from": "labels.x"})
    with pytest.raises(EvaluationError, match="no pattern"):
        convert("x", param, {"labels": {"x": "anything; rm -rf /"}, "annotations": {}})


def test_a_pattern_is_anchored_and_lets_no_control_character_pass() -> None:
    assert "pattern" in refused("ab; rm", pattern="[a-z]+")
    assert "pattern" in refused("ab\n", pattern="[a-z]+")
    assert "control characters" in refused("a\x00b", pattern="(?s).*")
    assert "control characters" in refused("a\x7fb", pattern="(?s).*")


def test_an_enum_is_one_of_its_values() -> None:
    assert read("prod", "enum", values=("prod", "staging")) == "prod"
    assert "is none of prod, staging" in refused("dev", "enum", values=("prod", "staging"))


def test_a_missing_value_without_default_refuses_visibly() -> None:
    assert refused(None).startswith("no value:")


def test_a_default_stands_in_for_a_missing_or_empty_value_and_is_checked_too() -> None:
    assert read(None, "int", default=3) == 3
    assert read("", "int", default="4") == 4
    assert read("5", "int", default=3) == 5
    assert read(None, default="p-0") == "p-0"
    assert "pattern" in refused(None, default="NOT fit")


@pytest.mark.parametrize(
    ("expression", "type_", "value"),
    [
        ("int(labels.n) + 1", "int", 8),
        ("double(labels.n) / 2.0", "number", 3.5),
        ("double(labels.n) * 2.0", "int", 14),
        ("labels.n == '7'", "bool", True),
        ("duration('5m')", "duration", "300s"),
        ("timestamp('2026-03-04T10:00:00Z')", "time", "2026-03-04T10:00:00+00:00"),
    ],
)
def test_an_expression_may_give_the_value_itself(expression: str, type_: str, value: Any) -> None:
    param = Param.model_validate({"from": expression, "type": type_})
    found = convert("x", param, {"labels": {"n": "7"}, "annotations": {}})
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("default", [1.5, float("nan"), float("inf"), True, [1], {"a": 1}])
def test_a_default_that_is_no_int_is_refused(default: Any) -> None:
    refused(None, "int", default=default)


@pytest.mark.parametrize("type_", ["int", "number"])
def test_a_default_of_any_size_breaks_nothing(type_: str) -> None:
    assert read(None, type_, default=10**400) == 10**400


@given(
    st.text(max_size=40),
    st.sampled_from(["string", "int", "number", "bool", "uuid", "duration", "time", "enum"]),
)
def test_any_text_is_read_or_refused_and_what_is_read_is_plain(text: str, type_: str) -> None:
    try:
        found = read(text, type_, **({"values": ("a",)} if type_ == "enum" else {}))
    except EvaluationError:
        return
    assert msgspec.json.decode(msgspec.json.encode(found)) == found


@given(st.timedeltas(timedelta(), timedelta(days=10_000)))
def test_durations_and_times_come_back_as_they_were(span: timedelta) -> None:
    span -= timedelta(microseconds=span.microseconds % 1000)
    params = {"span": {"from": "labels.x", "type": "duration"}, "at": {"from": "labels.x", "type": "time"}}
    whole = policy(params=params, target="campaign/x")
    at = datetime(2026, 3, 4, tzinfo=UTC) + span
    scope: dict[str, Any] = {"annotations": {}}
    stored = convert(
        "span", whole.params["span"], {**scope, "labels": {"x": f"{span // timedelta(milliseconds=1)}ms"}}
    )
    assert _lived(whole, "span", stored) == span
    stored = convert("at", whole.params["at"], {**scope, "labels": {"x": at.isoformat()}})
    assert _lived(whole, "at", stored) == at
