"""What the policy tools say about a file: one finding, with its place and remedy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is wrong, or worth a look. Lines and columns count from 1."""

    file: str
    line: int
    col: int
    code: str
    severity: Severity
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}:{self.col}: {self.code} {self.message}"
        return f"{text}; {self.remedy}" if self.remedy else text

    def as_json(self) -> dict[str, Any]:
        """Its fields, for machines."""
        return asdict(self)


def nearest(word: object, known: Iterable[str]) -> str:
    """A remedy that names the nearest known word, else all of them."""
    words = sorted(known)
    near = get_close_matches(str(word), words, 1)
    if near:
        return f"did you mean {near[0]}?"
    return f"known: {', '.join(words)[:300]}" if words else "none is known"
