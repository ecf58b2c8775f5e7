"""A piece that is cut wrongly is a fault, never a guess: the tree has the last word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pgparse
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediator.core.sql import text as sqltext
from remediator.core.sql.cuts import Cuts, cut
from remediator.core.sql.text import Token
from remediator.core.sql.tree import Fault

UPDATE = "UPDATE t SET a = (1 + $1) * 2, b = 'x, WHERE y' WHERE id = $2 AND c IN (1, 2)"
INSERT = "INSERT INTO t (a, b) VALUES ((1), $1), (f(2, 3), 'x')"
DELETE = "DELETE FROM t WHERE (id = $1 AND c) OR d = 2"
WHOLE = {
    UPDATE: Cuts(UPDATE, "id = $2 AND c IN (1, 2)", sets=("(1 + $1) * 2", "'x, WHERE y'")),
    INSERT: Cuts(INSERT, "", rows=(("(1)", "$1"), ("f(2, 3)", "'x'"))),
    DELETE: Cuts(DELETE, "(id = $1 AND c) OR d = 2"),
}
TEXTS = sorted(WHOLE)


def tree(text: str) -> dict[str, Any]:
    statement: dict[str, Any]
    (statement,) = pgparse.parse(text)[0]["stmt"].values()
    return statement


def verb(text: str) -> str:
    return text.partition(" ")[0].lower()


@pytest.mark.parametrize("text", TEXTS)
def test_each_part_is_cut_as_it_was_written(text: str) -> None:
    assert cut(text, verb(text), tree(text)) == WHOLE[text]


@pytest.mark.parametrize(
    "sent",
    [
        UPDATE.replace("* 2", "* 3"),
        UPDATE.replace("id =", "di ="),
        UPDATE.replace(" AND", " OR"),
        f"{UPDATE} RETURNING a",
        f"{UPDATE}; {DELETE}",
        f"{UPDATE} -- all",
        UPDATE.replace("UPDATE", "UPDATE ONLY"),
        "no SQL",
        DELETE,
    ],
)
def test_another_text_than_the_one_that_was_judged_is_a_fault(sent: str) -> None:
    assert isinstance(cut(sent, "update", tree(UPDATE)), Fault)


def test_spelling_out_a_function_is_the_only_difference_that_may_be() -> None:
    text = "UPDATE t SET a = now() WHERE id = lower($1)"
    spelled = text.replace("now", "pg_catalog.now").replace("lower", "pg_catalog.lower")
    found = cut(spelled, "update", tree(text))
    assert found == Cuts(spelled, "id = pg_catalog.lower($1)", sets=("pg_catalog.now()",))
    assert isinstance(cut(text.replace("now", "public.now"), "update", tree(text)), Fault)


def test_a_comment_in_what_would_be_sent_is_a_fault() -> None:
    assert isinstance(cut(f"{DELETE} -- all", "delete", tree(DELETE)), Fault)


# ── Wrong tokens ────────────────────────────────────────────────────────────────────────────────


def _without(found: list[Token], at: int) -> list[Token]:
    return found[:at] + found[at + 1 :]


def _longer(found: list[Token], at: int) -> list[Token]:
    end = found[min(at + 1, len(found) - 1)].end
    return [*found[:at], replace(found[at], end=end), *found[at + 1 :]]


def _renamed(word: str) -> Callable[[list[Token], int], list[Token]]:
    return lambda found, at: [*found[:at], replace(found[at], text=word), *found[at + 1 :]]


def _deeper(found: list[Token], at: int) -> list[Token]:
    return [*found[:at], *(replace(one, depth=one.depth + 1) for one in found[at:])]


SLIPS = st.sampled_from(
    [_without, _longer, _deeper, *map(_renamed, ["where", "values", ",", "=", "(", ")", "x"])]
)


@settings(deadline=None, max_examples=600)
@given(st.sampled_from(TEXTS), SLIPS, st.integers(0, 30))
def test_whatever_the_tokens_say_a_piece_is_right_or_a_fault(
    text: str, slip: Callable[[list[Token], int], list[Token]], at: int
) -> None:
    found = sqltext.tokens(text.encode())
    assert isinstance(found, list)
    slipped = slip(found, at % len(found))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqltext, "tokens", lambda _source: slipped)
        told = cut(text, verb(text), tree(text))
    if isinstance(told, Cuts):
        assert told == WHOLE[text]
