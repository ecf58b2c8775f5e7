"""Durations as people write them: ``30s``, ``5m``, ``24h5m``, ``7d``. Used by expressions and config."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}  # milliseconds
_DURATION = re.compile(
    "-?(?:(?P<d>[0-9]+)d)?(?:(?P<h>[0-9]+)h)?(?:(?P<m>[0-9]+)m)?(?:(?P<s>[0-9]+)s)?(?:(?P<ms>[0-9]+)ms)?"
)


def parse_duration(text: str) -> timedelta:
    """``30s``, ``5m``, ``2h``, ``7d``, ``24h5m``; raises ValueError."""
    found = _DURATION.fullmatch(text) if len(text) <= 40 else None
    if found is None or not any(found.groups()):
        raise ValueError(f"{text[:40]!r} is not a duration; write 30s, 5m, 2h, 7d or 24h5m")
    total = sum(int(amount) * _UNITS[unit] for unit, amount in found.groupdict().items() if amount)
    try:
        span = timedelta(milliseconds=total)
    except OverflowError as error:
        raise ValueError(f"{text} is too long") from error
    return -span if text.startswith("-") else span


def format_duration(span: timedelta) -> str:
    """The shortest text that `parse_duration` reads back, to the millisecond: ``24h5m``, ``0s``."""
    rest = abs(span) // timedelta(milliseconds=1)
    words = []
    for unit, size_of in _UNITS.items():
        if unit == "d" and rest % size_of:
            continue  # 24h5m is clearer than 1d5m
        amount, rest = divmod(rest, size_of)
        if amount:
            words.append(f"{amount}{unit}")
    return ("-" if span < timedelta() and words else "") + ("".join(words) or "0s")
