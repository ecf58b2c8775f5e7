"""Durations and rates as people write them: ``30s``, ``24h5m``, ``3 in 24h``. Used by all who read them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

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


@dataclass(frozen=True)
class Rate:
    """``3 in 24h``: at most ``limit`` within any ``per``."""

    limit: int
    per: timedelta

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        found = re.fullmatch(r"(\d{1,9}) in (\S+)", text)
        if not found:
            raise ValueError(f"{text!r} is not a rate; write 3 in 24h")
        per = parse_duration(found[2])
        if per < timedelta():
            raise ValueError(f"{found[2]} is negative")
        if not per:
            raise ValueError(f"{text!r} counts over no time at all")
        return cls(int(found[1]), per)

    def __str__(self) -> str:
        return f"{self.limit} in {format_duration(self.per)}"
