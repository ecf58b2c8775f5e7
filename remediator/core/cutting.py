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


def words(error: BaseException) -> str:
    """What went wrong, in one short text."""
    return shortened(str(error)) or type(error).__name__


def ending(text: str, limit: int = 300) -> str:
    """Its end, in so many characters."""
    return text if len(text) <= limit else f"{SEAM}{text[1 - limit :]}"


def apart(one: str, other: str, limit: int = 300) -> tuple[str, str]:
    """Two texts that differ, each in so many characters: of what they share the least is told."""
    pairs = enumerate(zip(one, other, strict=False))
    same = next((at for at, (this, that) in pairs if this != that), min(len(one), len(other)))
    if max(len(one), len(other)) <= limit or same < limit // 2:
        return shortened(one, limit), shortened(other, limit)
    begin = same - limit // 3
    return shortened(f"{SEAM}{one[begin:]}", limit), shortened(f"{SEAM}{other[begin:]}", limit)


def broken_off(text: str) -> str:
    """What lacks its end, perhaps in the middle of a letter."""
    return text.rstrip("\N{REPLACEMENT CHARACTER}") + SEAM
