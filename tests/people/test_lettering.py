"""Text made fit for eyes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.core.letters import plainly
from remediator.people.lettering import cut, escaped, linked, run_page


@given(st.text(st.characters(codec=None)))
def test_whatever_the_text_no_control_character_of_slack_is_left(text: str) -> None:
    safe = escaped(text)
    assert "<" not in safe
    assert ">" not in safe
    assert safe.isprintable()


@given(st.text(max_size=200), st.integers(10, 100))
def test_a_cut_text_fits_and_says_so(text: str, most: int) -> None:
    short = cut(escaped(text), most)
    assert len(short) <= most
    assert short == escaped(text) or short.endswith(" …")


@pytest.mark.parametrize(
    ("text", "shown"), [("aaaaaaaa&amp;bbbbbbbb", "aaaaaaaa …"), ("aaaaa\\u202ebbbbbbbb", "aaaaa …")]
)
def test_a_cut_leaves_no_half_of_an_escape(text: str, shown: str) -> None:
    assert cut(text, 12) == shown


def test_line_breaks_are_kept_only_where_asked() -> None:
    assert plainly("a\nb") == r"a\u000ab"
    assert plainly("a\nb", lines=True) == "a\nb"


def test_linking() -> None:
    assert run_page("https://r.example/", "r 1/..") == "https://r.example/runs/r%201%2F.."
    assert linked("https://r.example", "r-1", "a|<b>") == "<https://r.example/runs/r-1|a|&lt;b&gt;>"
    assert linked("", "r-1", "run") == "run"
