"""Which letters hide, and how they are spelled out. For cards, pages and journals alike.

What a person approves must be what they see: what has no shape of its own (control characters,
bidirectional overrides, zero-width letters) and look-alikes inside a Latin word are spelled as code
points.
"""

from __future__ import annotations

import re
import unicodedata

_UNSEEN_KINDS = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
_UNSEEN_LETTERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_WORD = re.compile(r"\w+")


def plainly(text: str, *, lines: bool = False) -> str:
    r"""The text with everything that hides spelled as ``\u202e``; line breaks too, unless ``lines``."""
    if text.isascii() and text.isprintable():
        return text
    disguised = look_alikes(text)
    return "".join(
        code_point(letter)
        if place in disguised or (unseen(letter) and not (lines and letter == "\n"))
        else letter
        for place, letter in enumerate(text)
    )


def unseen(letter: str) -> bool:
    """Has it no shape of its own?"""
    if letter.isascii():
        return not letter.isprintable()
    return unicodedata.category(letter) in _UNSEEN_KINDS or letter in _UNSEEN_LETTERS


def look_alikes(text: str) -> set[int]:
    r"""Places of letters of another alphabet inside a word that has Latin letters (``p\u0430ypal``)."""
    found: set[int] = set()
    for word in _WORD.finditer(text):
        letters = word.group()
        if letters.isascii() or not any(one.isascii() and one.isalpha() for one in letters):
            continue
        for place, one in enumerate(letters, start=word.start()):
            if not one.isascii() and one.isalpha() and not unicodedata.name(one, "").startswith("LATIN "):
                found.add(place)
    return found


def code_point(letter: str) -> str:
    r"""``\u202e``."""
    code = ord(letter)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
