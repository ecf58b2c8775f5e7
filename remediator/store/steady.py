"""The clock of a store that shares its machine: never goes back, not over a restart either, and never jumps.

It is the larger of the wall clock and the high-water mark that each commit leaves behind; in between it
advances with the monotonic clock. When the wall clock jumps it goes on at its pace, in doubt, until a
person has looked: also if the daemon is started again meanwhile.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import msgspec

from remediator.core.run import Halt
from remediator.ports import Clock
from remediator.store import doubts
from remediator.store.doubts import Doubt, Pace


class Instant(msgspec.Struct, frozen=True):
    """What a transaction begins with. ``doubts``: what the store itself stops everything for."""

    now: datetime
    doubts: tuple[Halt, ...] = ()


class Steady:
    """A `remediator.ports.Clock` that only advances. All threads of a store read it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._now = clock.now()
        self._monotonic = clock.monotonic()
        self._pace = Pace(self._now, self._monotonic)
        self.doubt: Doubt | None = None

    def resume_from(self, high_water: datetime, doubt: Doubt | None = None) -> None:
        """The latest time that was committed before. A clock that is behind it is wrong, or it was.

        ``doubt``: under which it was committed, and which stands: then the wall clock says nothing.
        """
        with self._lock:
            wall = self._clock.now()
            self._now = max(high_water, doubt.at if doubt is not None else wall)
            self._begin(wall)
            if doubt is None and high_water - wall > doubts.JUMP:
                doubt = doubts.of_past(high_water - wall, self._now)
            self.doubt = doubt

    def now(self) -> datetime:
        """The time now."""
        with self._lock:
            wall, monotonic = self._clock.now(), self._clock.monotonic()
            smooth = self._now + timedelta(seconds=max(0.0, monotonic - self._monotonic))
            jump = self._pace.jump(wall, monotonic)
            if self.doubt is None and jump:
                self.doubt = doubts.of_clock(jump, smooth)
            self._pace = self._pace.later(wall, monotonic)
            self._now = smooth if self.doubt is not None else max(wall, smooth)
            self._monotonic = monotonic
            return self._now

    def instant(self) -> Instant:
        """The same, with the doubt that it stands under."""
        now, doubt = self.now(), self.doubt
        return Instant(now, (doubt.halt,) if doubt is not None else ())

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return self._clock.monotonic()

    def follow(self) -> None:
        """A person has looked: the wall clock is right from now on, whatever it shows."""
        self.now()
        with self._lock:
            self.doubt = None
            self._begin(self._clock.now())

    def _begin(self, wall: datetime) -> None:
        self._monotonic = self._clock.monotonic()
        self._pace = Pace(wall, self._monotonic)
