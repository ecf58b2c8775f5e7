"""The SQLite store's clock: never goes back, not over a restart either.

The larger of the wall clock and the high-water mark that each commit leaves in the file; in between
it advances with the monotonic clock.
"""

from __future__ import annotations

import threading
from datetime import datetime

from remediator.ports import Clock
from remediator.store.sqlite_rows import micros, moment


class HighWater:
    """A clock that only advances. Both threads of the store read it."""

    def __init__(self, clock: Clock, high_water: int = 0) -> None:
        """``high_water``: the latest time that was committed before, microseconds."""
        self._clock = clock
        self._lock = threading.Lock()
        self._monotonic = clock.monotonic()
        self.high_water = high_water

    def read(self) -> datetime:
        """The time now."""
        with self._lock:
            wall = micros(self._clock.now())
            monotonic = self._clock.monotonic()
            passed = max(0, int((monotonic - self._monotonic) * 1_000_000))
            self.high_water = max(wall, self.high_water + passed)
            self._monotonic = monotonic
            return moment(self.high_water)
