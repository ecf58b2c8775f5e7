"""One change in words, with its direction. Made by the judges of each subject, shown by the reports."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import Any

from pydantic import BaseModel, SecretStr

from remediator.core.expression import Expression, Template, format_duration

MOST_DETAIL = 40
"""Lines of one text's difference that are shown."""


class Direction(IntEnum):
    """What a change means for safety. The order is that of reports: what needs eyes first.

    UNCLEAR: a safety property changed and which way cannot be computed, such as a pattern: it counts
    as loosened. ACTS: what is done, or when, is another; no bound, gate, proof or undo is.
    """

    LOOSENED = 0
    UNCLEAR = 1
    ACTS = 2
    TIGHTENED = 3
    NEUTRAL = 4

    @property
    def needs_note(self) -> bool:
        """Must the policy say why this is right?"""
        return self <= Direction.UNCLEAR

    @property
    def word(self) -> str:
        """For people and JSON."""
        return ("loosened", "unclear", "acts-otherwise", "tightened", "neutral")[self]

    @property
    def reversed(self) -> Direction:
        """The direction of the change that takes this one back."""
        turned = {Direction.LOOSENED: Direction.TIGHTENED, Direction.TIGHTENED: Direction.LOOSENED}
        return turned.get(self, self)


@dataclass(frozen=True)
class Change:
    """One change. ``where``: in the policy, such as ``steps.halve``; ``detail``: a text's difference."""

    where: str
    words: str
    direction: Direction
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.words}" if self.where else self.words


def spelled(value: Any) -> str:
    """A value of a policy as its author would write it; secrets never."""
    match value:
        case None:
            return "none"
        case SecretStr():
            return "(secret)"
        case timedelta():
            return format_duration(value)
        case Expression() | Template():
            return value.text
        case str():
            return value
        case bool() | int() | float() | BaseModel() | Mapping() | list() | tuple() | frozenset():
            plain = _plain(value)
            return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
    return str(value)


def _plain(value: Any) -> Any:
    match value:
        case BaseModel():
            return _plain({name.rstrip("_"): getattr(value, name) for name in sorted(value.model_fields_set)})
        case Mapping():
            return {str(key): _plain(one) for key, one in value.items()}
        case frozenset():
            return sorted(map(_plain, value))
        case list() | tuple():
            return [_plain(one) for one in value]
        case bool() | int() | float() | None:
            return value
    return spelled(value)


def text_difference(old: str, new: str) -> str:
    """The lines that differ, as ``diff -u`` shows them, without its head."""
    lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=2))[2:]
    shown = [line for line in lines if not line.startswith("@@")]
    left = len(shown) - MOST_DETAIL
    return "\n".join([*shown[:MOST_DETAIL], *([f"… {left} more lines"] if left > 0 else [])])
