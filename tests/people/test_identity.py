"""API tokens: the config knows their hashes only."""

from __future__ import annotations

from hashlib import sha256

from remediator.config import Person
from remediator.people.identity import person_of

TOKEN = "bobs-very-own-api-token"


def known(token: str) -> Person:
    return Person(token_sha256=sha256(token.encode()).hexdigest())


def test_a_token_names_its_person() -> None:
    assert person_of(TOKEN, {"amina": known("amina-has-another-one"), "bob": known(TOKEN)}) == "bob"


def test_any_other_token_names_nobody() -> None:
    people = {"amina": Person(), "bob": known(TOKEN)}
    for token in ("", " ", TOKEN[:-1], TOKEN.upper(), f"{TOKEN}\n", "-" * 64, "\ud800" * 20, "é" * 20):
        assert person_of(token, people) is None
    assert person_of(TOKEN, {}) is None


def test_a_short_token_names_nobody_even_if_the_config_has_its_hash() -> None:
    assert person_of("", {"bob": known("")}) is None
    assert person_of("secret", {"bob": known("secret")}) is None


def test_a_token_that_two_people_share_names_nobody() -> None:
    assert person_of(TOKEN, {"amina": known(TOKEN), "bob": known(TOKEN)}) is None
