"""The note ``allow-loosening``: who writes one says something, and something that was not said before."""

from __future__ import annotations

SHORTEST = 10
"""Letters and digits that a note has at least."""


def said(note: str | None) -> str:
    """What of a note counts: its letters and digits. Another dot or blank is no other note."""
    return "".join(filter(str.isalnum, note or "")).casefold()


def is_fresh(note: str | None, old: frozenset[str]) -> bool:
    """Does it say something, which none of the ``old`` ones (as `said`) does?"""
    return len(said(note)) >= SHORTEST and said(note) not in old
