"""Rows before and after, in columns: as they were read, and nothing that passes for something else."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.core.evidence import Picture
from remediator.people.tables import MOST_ROWS, WIDEST, in_full, is_tabular, on_card
from tests.people.stories import halved, table


def row(after: Any, before: Any = "old", **key: Any) -> dict[str, Any]:
    return {"key": key or {"id": 1}, "before": {"v": before}, "after": {"v": after}}


def cell(value: Any) -> str:
    """How a value is written."""
    line = in_full(table(row(value))).splitlines()[1]
    return line.partition(" → ")[2]


def test_an_update_shows_the_key_and_each_column_before_and_after() -> None:
    assert on_card(table(halved(17))).text.splitlines() == [
        "id    earn_rate        status",
        "p-17  0.0700 → 0.0350  active → paused",
    ]


def test_a_row_that_comes_shows_what_it_will_be_and_one_that_goes_what_it_was() -> None:
    comes = {"key": {"id": 9}, "before": None, "after": {"id": 9, "name": "Teranga", "pct": Decimal("3.20")}}
    assert on_card(table(comes)).text.splitlines() == ["   id  name     pct", "+  9   Teranga  3.20"]
    goes = {"key": {"id": 9}, "before": {"id": 9, "name": "Teranga"}}
    assert on_card(table(goes)).text.splitlines() == ["   id  name", "−  9   Teranga"]


def test_a_key_of_two_columns_names_the_row() -> None:
    found = on_card(table(row("b", "a", tenant="sn", id=7))).text
    assert found.splitlines() == ["tenant  id  v", "sn      7   a → b"]


def test_a_key_that_would_change_itself_is_shown_changing() -> None:
    moves = {"key": {"id": 7}, "before": {"id": 7}, "after": {"id": 8}}
    assert on_card(table(moves)).text.splitlines() == ["id  id", "7   7 → 8"]


def test_rows_that_differ_in_their_columns_leave_places_empty() -> None:
    other = {"key": {"id": 2}, "before": {"w": 1}, "after": {"w": 2}}
    assert on_card(table(row("b", "a"), other)).text.splitlines() == [
        "id  v      w",
        "1   a → b",
        "2          1 → 2",
    ]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Decimal("0.0350"), "0.0350"),
        (Decimal("1E+3"), "1000"),
        (Decimal("NaN"), "NaN"),
        (Decimal("123456789012345678901234567890.10"), "123456789012345678901234567890.10"),
        (7, "7"),
        (0.5, "0.5"),
        (None, "NULL"),
        ("NULL", '"NULL"'),
        (True, "true"),
        ("true", '"true"'),
        ("", '""'),
        (" ", '" "'),
        ("a  b", '"a  b"'),
        ("a → b", '"a → b"'),
        ('say "hi"', r'"say \"hi\""'),
        ("two\nlines", r'"two\nlines"'),
        ("Été 店", "Été 店"),
        ("p\u0430ypal", r"p\u0430ypal"),
        ("\u202etxt", r"\u202etxt"),
        ([1, None], "[1, null]"),
        ({"a": "b"}, '{"a": "b"}'),
    ],
)
def test_a_value_is_written_as_it_is_and_passes_for_nothing_else(value: Any, written: str) -> None:
    assert cell(value) == written


def test_a_table_is_whole_up_to_so_many_rows() -> None:
    whole = on_card(table(*(halved(number) for number in range(MOST_ROWS))))
    assert (whole.whole, len(whole.text.splitlines())) == (True, MOST_ROWS + 1)
    more = on_card(table(*(halved(number) for number in range(MOST_ROWS + 3))))
    assert (more.whole, more.text.splitlines()[-1]) == (False, "… 3 more")
    unlisted = on_card(table(halved(1), count=8))
    assert (unlisted.whole, unlisted.text.splitlines()[-1]) == (False, "… 7 more")


def test_what_is_too_wide_is_cut_visibly_on_the_card_and_whole_in_the_file() -> None:
    wide = table(row("n" * 200, "o" * 200))
    shown = on_card(wide)
    assert not shown.whole
    assert all(len(line) <= WIDEST for line in shown.text.splitlines())
    assert "…" in shown.text
    assert f"{'o' * 200} → {'n' * 200}" in in_full(wide)


def test_wide_letters_keep_the_columns() -> None:
    lines = on_card(table(row("x", "店店", id="é"), row("x", "ab", id="bb"))).text.splitlines()
    assert lines == ["id  v", "é   店店 → x", "bb  ab → x"]
    both = {"key": {"id": 1}, "before": {"a": "店", "b": 1}, "after": {"a": "店", "b": 2}}
    assert on_card(table(both, halved())).text.splitlines()[1].startswith("1     店 → 店  1 → 2")


@pytest.mark.parametrize(
    "rows",
    [
        (),
        ({"id": 1, "status": "active"},),
        ({"key": {"id": 1}},),
        ({"key": "c-1", "before": {}, "after": {"v": 1}},),
        ({"key": {"id": 1}, "before": "0.07", "after": "0.035"},),
        ({"key": {"id": 1}, "after": {"v": 1}, "note": "x"},),
        (halved(), {"id": 1}),
    ],
)
def test_rows_of_another_kind_are_no_table(rows: tuple[dict[str, Any], ...]) -> None:
    assert not is_tabular(Picture(1, "", rows))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
rows_of_any_kind = st.fixed_dictionaries(
    {
        "key": st.dictionaries(st.text(min_size=1, max_size=8), values, min_size=1, max_size=2),
        "before": st.none()
        | st.dictionaries(st.text(min_size=1, max_size=8), values, min_size=1, max_size=3),
        "after": st.dictionaries(st.text(min_size=1, max_size=8), values, min_size=1, max_size=3),
    }
)


@given(st.lists(rows_of_any_kind, min_size=1, max_size=14))
def test_whatever_the_values_each_row_is_one_line_and_nothing_hides(rows: list[dict[str, Any]]) -> None:
    picture = table(*rows)
    assert is_tabular(picture)
    full, shown = in_full(picture), on_card(picture)
    for text in (full, shown.text):
        assert text.replace("\n", "").isprintable()
    assert len(full.split("\n")) == len(rows) + 1
    assert shown.whole <= (shown.text == full)
