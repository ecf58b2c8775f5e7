"""What connectors tell is kept without our secrets: however they are spelled, and wherever a text was cut."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediator.connectors.command.running import MOST_ERRORS, Ended
from remediator.core.calls import printable
from remediator.core.cutting import broken_off, ending, shortened
from remediator.engine.hiding import HIDDEN, SHORTEST, hider

TOKEN = "hunter2-bypass-token"
QUOTED = 'k3y"with\\quote/77 & more'

SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in JSON": lambda secret: json.dumps(secret)[1:-1],
    "in JSON, letters as they are": lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1],
    "in a path": quote,
    "in a query": quote_plus,
    "in small percents": lambda secret: re.sub("%..", lambda found: found[0].lower(), quote(secret)),
    "in a repr": lambda secret: repr(secret)[1:-1],
    "in one line": lambda secret: " ".join(secret.split()),
    "printable": lambda secret: printable(secret, len(secret)),
}
CUTS: dict[str, Callable[[str, int], str]] = {
    "not cut": lambda text, _: text,
    "its beginning": shortened,
    "its beginning, printable": printable,
    "its end": ending,
    "broken off": lambda text, limit: broken_off(text[:limit]),
}

# Of other characters than what stands around it, so that what survives is the secret's.
secrets_of = st.text('ABCDEFGH0123456789"\\/&é\t ', min_size=SHORTEST, max_size=40).filter(
    lambda secret: len(" ".join(secret.split())) >= SHORTEST
)
around = st.text("abcdefgh .:\n", max_size=60)


def pieces(text: str) -> set[str]:
    return {text[at : at + SHORTEST] for at in range(len(text) - SHORTEST + 1)}


@settings(max_examples=300)
@given(
    secrets_of,
    around,
    around,
    st.sampled_from(list(SPELLINGS)),
    st.sampled_from(list(CUTS)),
    st.integers(2, 160),
)
def test_no_piece_of_a_secret_survives_whatever_the_cut(
    secret: str, before: str, after: str, spelled: str, cut: str, limit: int
) -> None:
    form = SPELLINGS[spelled](secret)
    told = CUTS[cut](f"x{before}-{form}-{after}x", limit)
    hidden = hider([secret, TOKEN])(f"it said: {told}")
    left = {piece for piece in pieces(form) & pieces(hidden) if piece.strip()}
    assert not left, (form, told, hidden)


@pytest.mark.parametrize("spelled", SPELLINGS)
def test_a_secret_is_hidden_however_it_is_spelled(spelled: str) -> None:
    form = SPELLINGS[spelled](QUOTED)
    assert hider([QUOTED])({form: [f"a {form} z"]}) == {HIDDEN: [f"a {HIDDEN} z"]}


def test_the_rest_of_a_secret_is_hidden_where_a_command_said_too_much() -> None:
    hide = hider([TOKEN])
    for padding in range(240, 330):
        said = f"usage: --secret={TOKEN} {'z' * padding}".encode()
        assert not pieces(TOKEN) & pieces(hide(Ended(told={"exit": 1}, errors=said).words)), padding
    blank = f"{TOKEN[4:]}{' ' * MOST_ERRORS}end".encode()[:MOST_ERRORS]
    assert hide(Ended(told={"exit": 1}, errors=blank).words) == f"it ended with 1: …{HIDDEN}"


def test_a_cut_that_leaves_no_secret_leaves_the_text_alone() -> None:
    hide = hider([TOKEN, "postgresql://db.example/x"])
    for told in ("a … b", "…", f"hunte… {TOKEN[:5]}…", "…token", "the database … of postgres"):
        assert hide(told) == told
    assert hide(f"{TOKEN[:6]}…{TOKEN[-6:]}") == f"{HIDDEN}…{HIDDEN}"


def test_a_cut_shows_and_keeps_to_its_limit() -> None:
    assert (shortened("abcdef", 6), shortened("abcdefg", 6)) == ("abcdef", "abcde…")
    assert (ending("abcdef", 6), ending("abcdefg", 6)) == ("abcdef", "…cdefg")
    assert broken_off("ab\N{REPLACEMENT CHARACTER}") == "ab…"
