"""The words of names, paths and SQL, and what they tell of a step: a guess, for warnings only."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\*")

_STOPS = """
    block cordon deactivat disabl drain evict freez frozen halt halv isolat mut paus quarantin reject
    off shed shut shutdown silenc stop suspend throttl
"""
_LASTS_A_WHILE = f"{_STOPS} boost degrad maintenance temporar"


def words(text: str) -> tuple[str, ...]:
    """In small letters; ``pauseCampaign`` are two, and whatever an expression puts there is ``*``."""
    plain = re.sub(r"\$\{[^}]*\}", "*", text)
    return tuple(word.lower() for word in _WORD.findall(plain))


def _beginning(stems: str) -> re.Pattern[str]:
    return re.compile(rf"({'|'.join(stems.split())})(e|d|s|es|ed|ped|ing|ping|ding|ation|y|ily)?")


SWITCH = re.compile(r"(is_?)?(enabled|active|on)", re.IGNORECASE)
"""A name whose false means that something is off."""


def switched_off(texts: Iterable[str]) -> str:
    """The first switch that a SET of SQL turns off: ``enabled = false``; empty when there is none."""
    wanted = re.compile(rf"\bset\b.*?\b({SWITCH.pattern})\s*=\s*false\b", re.IGNORECASE | re.DOTALL)
    found = map(wanted.search, texts)
    return next((one[1] for one in found if one), "")


STOPS = _beginning(_STOPS)
"""Words for what takes traffic away: an alert about that traffic may end by itself."""

LASTS_A_WHILE = _beginning(_LASTS_A_WHILE)
"""Words for what is seldom meant to stay."""
