"""How many of something, in words."""

from __future__ import annotations

from remediator.core.counting import counted


def test_one_is_one_and_no_other_number_is() -> None:
    assert [counted(number, "row") for number in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]
    assert [counted(number, "copy", "copies") for number in (1, 2)] == ["1 copy", "2 copies"]


def test_the_form_is_of_the_number() -> None:
    assert counted(12000, "alert", form=",") == "12,000 alerts"
