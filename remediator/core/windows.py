"""Windows of the week, ``Fri 16:00-20:00 Africa/Dakar``: are we in one, and when is it over? Read by fields.

A window is meant as the clocks of its zone show it. Twice a year they jump or go back: what they jump
over is left out, and in the hour that they show twice a window is read so that less is allowed. One that
forbids begins at the first showing of its start and is over at the last showing of its end; one that
allows is the other way round, so that every moment in it shows a time of the window, and only once.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import Self
from zoneinfo import ZoneInfo

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
EXAMPLE = "Fri 16:00-20:00 Africa/Dakar"
HORIZON = timedelta(weeks=5)
"""How far ahead an opening is looked for: one that a change of clocks leaves out comes again in a week."""

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_WHOLE_DAY = (timedelta(), _DAY)
_HOURS = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)")
_ZONE = re.compile(r"[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")
"""Not ``localtime``, ``posix/…`` and ``right/…``: they mean another thing on each machine."""


@dataclass(frozen=True)
class Window:
    """``[DAYS] [HH:MM-HH:MM] ZONE``. ``begins``, ``ends``: from midnight; a day later if it runs over it."""

    days: frozenset[int]  # 0 is Monday; the day on which it begins
    begins: timedelta
    ends: timedelta
    zone: str
    text: str = field(compare=False)  # as written

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        words = text.split()
        zone = words.pop() if words and _is_zone(words[-1]) else ""
        hours = words.pop() if words and _HOURS.fullmatch(words[-1]) else ""
        if not zone:
            raise ValueError(f"{text!r} says no time zone; write {EXAMPLE}")
        if len(words) > 1 or not (hours or words):
            raise ValueError(f"{text!r} is not a window; write {EXAMPLE}, Sat,Sun UTC or 22:00-06:00 UTC")
        _located(zone)
        days = _days(words[0]) if words else frozenset(range(len(DAYS)))
        return cls(days, *(_span(hours) if hours else _WHOLE_DAY), zone, text)

    def __str__(self) -> str:
        return self.text

    def spans(
        self, since: datetime, until: datetime, *, forbids: bool
    ) -> Iterator[tuple[datetime, datetime]]:
        """When it lasts, oldest first, wherever that touches this: from when, and until just before when."""
        zone = _located(self.zone)
        day = since.astimezone(zone).date() - 2 * _DAY  # over midnight, and across a day that was skipped
        last = until.astimezone(zone).date() + _DAY
        while day <= last:
            if day.weekday() in self.days:
                midnight = datetime.combine(day, time())
                begin = _moment(zone, midnight + self.begins, again=not forbids)
                end = _moment(zone, midnight + self.ends, again=forbids)
                if begin < end and end > since and begin <= until:
                    yield begin, end
            day += _DAY


def forbidding(windows: Sequence[Window], now: datetime) -> list[Window]:
    """Those of the windows, which forbid, that now lies in."""
    return [window for window in windows if any(window.spans(now, now, forbids=True))]


def out_of(windows: Sequence[Window], now: datetime) -> datetime | None:
    """The next moment, now included, that lies in none of these, which forbid. None: not for weeks."""
    at = now
    while at < now + HORIZON:
        ends = [end for window in windows for _, end in window.spans(at, at, forbids=True)]
        if not ends:
            return at
        at = max(ends)
    return None


def into(windows: Sequence[Window], now: datetime) -> datetime | None:
    """The next moment, now included, that lies in one of these, which allow. None: not for weeks."""
    nearest = (next(window.spans(now, now + HORIZON, forbids=False), None) for window in windows)
    return min((max(span[0], now) for span in nearest if span is not None), default=None)


# ── Reading them ────────────────────────────────────────────────────────────────────────────────


def _is_zone(word: str) -> bool:
    """Might it be meant as a zone: anything that is neither hours nor days."""
    return not _HOURS.fullmatch(word) and not all(part in DAYS for part in re.split(r"[,-]", word))


@lru_cache(maxsize=1000)
def _located(zone: str) -> ZoneInfo:
    """Raises ValueError."""
    try:
        if _ZONE.fullmatch(zone):
            return ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, OSError):  # a folder of zones is no zone
        pass
    known = filter(_ZONE.fullmatch, zoneinfo.available_timezones())
    near = get_close_matches(zone, known, 1)
    remedy = f"did you mean {near[0]}?" if near else f"write one as in {EXAMPLE}"
    raise ValueError(f"{zone!r} is not a time zone; {remedy}")


def _days(text: str) -> frozenset[int]:
    """``Sat,Sun`` and ``Mon-Fri`` and both mixed; a range may run over the weekend: ``Fri-Mon``."""
    days: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        ends = (first, last if dash else first)
        unknown = next((one for one in ends if one not in DAYS), None)
        if unknown is not None:
            raise ValueError(f"{unknown!r} is not a day; write {', '.join(DAYS)}, or Mon-Fri")
        begin, end = map(DAYS.index, ends)
        days |= {(begin + offset) % len(DAYS) for offset in range((end - begin) % len(DAYS) + 1)}
    return frozenset(days)


def _span(hours: str) -> tuple[timedelta, timedelta]:
    found = _HOURS.fullmatch(hours)
    assert found is not None
    from_hour, from_minute, to_hour, to_minute = map(int, found.groups())
    begins = timedelta(hours=from_hour, minutes=from_minute)
    ends = timedelta(hours=to_hour, minutes=to_minute)
    if max(from_minute, to_minute) > 59 or begins >= _DAY or ends > _DAY:
        raise ValueError(f"{hours} are no hours of a day; write 00:00 to 24:00")
    if begins == ends:
        raise ValueError(f"{hours} is no time at all; leave the hours out to mean the whole day")
    return begins, ends if ends > begins else ends + _DAY


# ── Clocks that jump ────────────────────────────────────────────────────────────────────────────


def _moment(zone: ZoneInfo, shown: datetime, *, again: bool) -> datetime:
    """When the zone's clock shows this; the second time if ``again`` and it does so twice.

    What it jumps over, it shows at the jump.
    """
    at, other = (shown.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (again, not again))
    if at.astimezone(zone).replace(tzinfo=None) == shown:
        return at
    before, after = sorted((at, other))
    while after - before > _SECOND:
        middle = before + (after - before) // (2 * _SECOND) * _SECOND
        if middle.astimezone(zone).replace(tzinfo=None) < shown:
            before = middle
        else:
            after = middle
    return after
