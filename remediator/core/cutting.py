"""Text from outside, made short: a cut shows, so that people see that there was more.

And so that nothing of our secrets survives it: whoever hides them afterwards looks for the rest of one at
every seam.
"""

from __future__ import annotations

SEAM = "…"
"""Where something was cut off."""


def shortened(text: str, limit: int = 300) -> str:
    """Its beginning, in so many characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}{SEAM}"


def ending(text: str, limit: int = 300) -> str:
    """Its end, in so many characters."""
    return text if len(text) <= limit else f"{SEAM}{text[1 - limit :]}"


def broken_off(text: str) -> str:
    """What lacks its end, perhaps in the middle of a letter."""
    return text.rstrip("\N{REPLACEMENT CHARACTER}") + SEAM
