"""How many of something, in words: for journals, cards, pages and reports alike."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "", *, form: str = "") -> str:
    """``1 row``, ``2 rows``; ``many`` where it takes more than an s. form: as Python formats numbers."""
    return f"{number:{form}} {one if number == 1 else many or one + 's'}"
