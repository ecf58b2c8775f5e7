"""The PostgreSQL store's clock: the server's, as one daemon reads it. It never goes back, and never jumps.

Each transaction reads it anew. Where it was set back, this machine's monotonic clock goes on from what
was read last, until the server has caught up; a slight step back is waited out. After a jump it goes on
at the monotonic pace, in doubt, until a person has looked.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from remediator.ports import Clock
from remediator.store import doubts
from remediator.store.doubts import Doubt, Pace
from remediator.store.sqlite_rows import moment
from remediator.store.steady import Instant

_SLIGHT = timedelta(seconds=1)
_NONE = timedelta()


class ServerTime:
    """A `remediator.ports.Clock` that only advances."""

    def __init__(self, clock: Clock) -> None:
        """``clock``: of this machine; its wall clock is only believed until the server was asked."""
        self._clock = clock
        self._last = clock.now()
        self._monotonic = clock.monotonic()
        self._pace: Pace | None = None
        self._server = self._last
        self.doubt: Doubt | None = None

    def resume_in(self, doubt: Doubt | None) -> None:
        """Before the first reading: a doubt that stands. Time goes on from what was kept under it."""
        self.doubt = doubt

    @property
    def behind(self) -> bool:
        """Whether the server's clock is."""
        return self._last - self._server > _SLIGHT

    def read(self, server: int, high_water: int, asked: float | None = None) -> Instant:
        """The time now, by what the server says, and the latest that was kept: microseconds since 1970.

        ``asked``: when the question was sent, by this machine's monotonic clock. The answer may have lain
        here for long while this process was frozen.
        """
        wall, monotonic = moment(server), self._clock.monotonic()
        if self._pace is None:
            self._begin(wall, monotonic, moment(high_water))
        else:
            self._follow(self._pace, wall, monotonic, monotonic if asked is None else asked)
        self._server, self._monotonic = wall, monotonic
        return Instant(self._last, (self.doubt.halt,) if self.doubt is not None else ())

    def _begin(self, wall: datetime, monotonic: float, high_water: datetime) -> None:
        self._last = max(high_water, self.doubt.at if self.doubt is not None else wall)
        self._pace = Pace(wall, monotonic)
        if self.doubt is None and high_water - wall > doubts.JUMP:
            self.doubt = doubts.of_past(high_water - wall, self._last)

    def _follow(self, pace: Pace, wall: datetime, monotonic: float, asked: float) -> None:
        smooth = self._last + timedelta(seconds=max(0.0, monotonic - self._monotonic))
        jump = max(pace.jump(wall, monotonic), _NONE) or min(pace.jump(wall, asked), _NONE)
        if self.doubt is None and jump:
            self.doubt = doubts.of_clock(jump, smooth)
        self._pace = pace.later(wall, asked)
        if self.doubt is not None or self._last - wall > _SLIGHT:
            self._last = smooth
        else:
            self._last = max(self._last, wall)

    def now(self) -> datetime:
        """As well as it is known without asking."""
        return self._last + timedelta(seconds=max(0.0, self._clock.monotonic() - self._monotonic))

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return self._clock.monotonic()

    def settle(self) -> None:
        """A person has looked: the server's clock is right from now on, whatever it shows."""
        self._last, self._monotonic = self.now(), self._clock.monotonic()
        self.doubt, self._pace = None, Pace(self._server, self._monotonic)
