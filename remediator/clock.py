"""The real time, and identities made of it. The one place that asks the operating system."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime

_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: nothing that looks like another


class SystemClock:
    """`ports.Clock`, for real."""

    def now(self) -> datetime:
        """Wall clock, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that only grow; on Linux they grow while the machine is suspended, too."""
        return time.monotonic() if _BOOT is None else time.clock_gettime(_BOOT)


_BOOT: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def new_id(prefix: str) -> str:
    """``r-1m8s2k0pq7xw4d``: 9 letters of milliseconds, then 5 of chance; sorts by time."""
    stamp = _spelled(time.time_ns() // 1_000_000, 9)
    return f"{prefix}-{stamp}{_spelled(secrets.randbits(25), 5)}"


def _spelled(number: int, length: int) -> str:
    letters = ""
    for _ in range(length):
        number, digit = divmod(number, 32)
        letters = _LETTERS[digit] + letters
    return letters
