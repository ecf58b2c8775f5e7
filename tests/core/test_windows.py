"""Windows of the week, in zones whose clocks jump: read as written, and never wider than the clock shows."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediator.core.fields import _WINDOW_SCHEMA
from remediator.core.windows import DAYS, HORIZON, Window, forbidding, into, out_of

EXAMPLES = 600 if os.environ.get("CI") == "true" else 300
MICROSECOND = timedelta(microseconds=1)

ZONES = (
    "UTC",
    "Africa/Dakar",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "Australia/Lord_Howe",  # half an hour
    "Africa/Cairo",  # at midnight
    "Asia/Kathmandu",
    "Africa/Casablanca",  # around Ramadan
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def forbidden(text: str, at: str) -> bool:
    return bool(forbidding([Window.parse(text)], utc(at)))


# ── As written ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("written", "inside", "outside"),
    [  # 2026-03-04 is a Wednesday
        (
            "Wed 16:00-20:00 Africa/Dakar",
            ["03-04 16:00", "03-04 19:59:59"],
            ["03-04 15:59:59", "03-04 20:00"],
        ),
        ("Mon-Fri 09:00-17:00 Europe/Berlin", ["03-04 08:00", "03-06 15:59"], ["03-04 07:59", "03-07 10:00"]),
        ("Sat,Sun UTC", ["03-07 00:00", "03-08 23:59:59"], ["03-06 23:59:59", "03-09 00:00"]),
        ("Mon,Wed-Thu UTC", ["03-02 00:00", "03-05 12:00"], ["03-03 12:00", "03-06 00:00"]),
        ("Sun Africa/Dakar", ["03-08 12:00"], ["03-07 12:00"]),
        ("Sun Pacific/Auckland", ["03-07 11:00", "03-08 10:59"], ["03-07 10:59", "03-08 11:00"]),
        ("22:00-06:00 UTC", ["03-04 23:00", "03-05 05:59"], ["03-05 06:00", "03-04 21:59"]),
        ("Fri 22:00-06:00 UTC", ["03-06 22:00", "03-07 05:59"], ["03-06 05:59", "03-07 22:00"]),
        ("Sun-Mon 20:00-24:00 UTC", ["03-08 23:59", "03-09 20:00"], ["03-09 00:00", "03-10 20:00"]),
        ("  Sat   10:00-11:00   UTC ", ["03-07 10:30"], ["03-08 10:30"]),
    ],
)
def test_a_window_is_what_it_says(written: str, inside: list[str], outside: list[str]) -> None:
    assert re.search(_WINDOW_SCHEMA["pattern"], written), "an editor takes it, too"
    assert [at for at in inside if not forbidden(written, f"2026-{at}")] == []
    assert [at for at in outside if forbidden(written, f"2026-{at}")] == []


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("Fri 16:00-20:00", "'Fri 16:00-20:00' says no time zone; write Fri 16:00-20:00 Africa/Dakar"),
        ("Mon-Fri", "'Mon-Fri' says no time zone"),
        ("", "'' says no time zone"),
        ("Fri Africa/Dakr", "'Africa/Dakr' is not a time zone; did you mean Africa/Dakar?"),
        ("Fri localtime", "'localtime' is not a time zone"),
        ("Fri right/UTC", "'right/UTC' is not a time zone"),
        ("Fri ../../etc/passwd", "is not a time zone"),
        ("Fri Africa", "'Africa' is not a time zone"),
        ("UTC", "'UTC' is not a window; write Fri 16:00-20:00 Africa/Dakar, Sat,Sun UTC or"),
        ("Fri 16:00 UTC", "is not a window"),
        ("Fri 9:00-17:00 UTC", "is not a window"),
        ("Sat, Sun UTC", "is not a window"),
        ("friday 09:00-10:00 UTC", "'friday' is not a day; write Mon, Tue"),
        ("Mon-Fry UTC", "'Fry' is not a day"),
        ("Mon-Wed-Fri UTC", "'Wed-Fri' is not a day"),
        ("16:00-16:00 UTC", "16:00-16:00 is no time at all; leave the hours out to mean the whole day"),
        ("24:00-25:00 UTC", "24:00-25:00 are no hours of a day"),
        ("10:00-11:60 UTC", "10:00-11:60 are no hours of a day"),
    ],
)
def test_what_is_no_window_is_refused_with_a_remedy(written: str, told: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are compared
        Window.parse(written)
    assert told in str(caught.value)


# ── Clocks that jump ──────────────────────────────────────────────────────────────────────────────

NIGHT = "2026-03-29"  # in Berlin, 02:00 to 03:00 is skipped: the jump is at 01:00 UTC
LONG_NIGHT = "2026-10-25"  # in Berlin, 02:00 to 03:00 comes twice: from 00:00 UTC, and from 01:00 UTC


def lasts(window: str, day: str, *, forbids: bool = True) -> list[tuple[str, str]]:
    """The spans of this day in Berlin, as hours of UTC."""
    noon = utc(f"{day} 12:00")
    spans = Window.parse(f"{window} Europe/Berlin").spans(noon - timedelta(hours=12), noon, forbids=forbids)
    return [(f"{begin:%H:%M}", f"{end:%H:%M}") for begin, end in spans]


@pytest.mark.parametrize("forbids", [True, False])
@pytest.mark.parametrize(
    ("window", "spans"),
    [
        ("Sun 01:30-02:30", [("00:30", "01:00")]),  # ends with the jump
        ("Sun 02:30-04:00", [("01:00", "02:00")]),  # begins with it
        ("Sun 02:15-02:45", []),  # is never shown
        ("Sun 01:00-04:00", [("00:00", "02:00")]),
    ],
)
def test_what_the_clock_jumps_over_is_left_out(
    window: str, spans: list[tuple[str, str]], *, forbids: bool
) -> None:
    assert lasts(window, NIGHT, forbids=forbids) == spans


@pytest.mark.parametrize(
    ("window", "forbids", "allows"),
    [
        ("Sun 01:30-02:30", [("23:30", "01:30")], [("23:30", "00:30")]),
        ("Sun 02:30-04:00", [("00:30", "03:00")], [("01:30", "03:00")]),
        ("Sun 02:15-02:45", [("00:15", "01:45")], []),
        ("Sun 01:00-04:00", [("23:00", "03:00")], [("23:00", "03:00")]),
    ],
)
def test_in_the_hour_that_comes_twice_less_is_allowed(
    window: str, forbids: list[tuple[str, str]], allows: list[tuple[str, str]]
) -> None:
    assert lasts(window, LONG_NIGHT) == forbids
    assert lasts(window, LONG_NIGHT, forbids=False) == allows


def test_a_midnight_that_is_skipped_begins_the_day_at_the_jump() -> None:
    """In Cairo the clocks jump from Friday 00:00 to 01:00, at 22:00 UTC on Thursday."""
    assert not forbidden("Fri Africa/Cairo", "2026-04-23 21:59:59")
    assert forbidden("Fri Africa/Cairo", "2026-04-23 22:00")
    assert forbidden("Thu 23:00-24:00 Africa/Cairo", "2026-04-23 21:59:59")
    assert not forbidden("Thu 23:00-24:00 Africa/Cairo", "2026-04-23 22:00")


def test_a_day_that_a_country_skipped_has_no_windows() -> None:
    """Samoa went from Thursday, 29 December 2011, to Saturday, the 31st."""
    friday = [Window.parse("Fri Pacific/Apia")]
    assert into(friday, utc("2011-12-28 00:00")) == utc("2012-01-05 10:00")
    assert out_of(friday, utc("2011-12-30 10:00")) == utc("2011-12-30 10:00")


def test_an_opening_that_one_night_leaves_out_comes_a_week_later() -> None:
    night = [Window.parse("Sun 02:15-02:45 Europe/Berlin")]
    assert into(night, utc("2026-03-28 12:00")) == utc("2026-04-05 00:15")


# ── Any windows, any moment ───────────────────────────────────────────────────────────────────────


@st.composite
def windows(draw: st.DrawFn) -> Window:
    days = draw(st.lists(st.sampled_from(DAYS), unique=True, max_size=4))
    begin, end = draw(st.tuples(st.integers(0, 95), st.integers(0, 96)).filter(lambda two: two[0] != two[1]))
    hours = f"{begin // 4:02d}:{begin % 4 * 15:02d}-{end // 4:02d}:{end % 4 * 15:02d}"
    zone = draw(st.sampled_from(ZONES))
    with_hours = not days or draw(st.booleans())
    return Window.parse(" ".join([*[",".join(days)] * bool(days), *[hours] * with_hours, zone]))


MOMENTS = st.one_of(
    st.integers(0, 365 * 24 * 60).map(lambda minutes: utc("2026-01-01") + timedelta(minutes=minutes)),
    # around the jumps of Berlin, New York, Cairo and Lord Howe
    st.tuples(
        st.sampled_from(["03-29", "10-25", "03-08", "11-01", "04-23", "10-29", "04-04", "10-03"]),
        st.integers(-36 * 60, 36 * 60),
    ).map(lambda two: utc(f"2026-{two[0]}") + timedelta(minutes=two[1])),
)


def shows(window: Window, at: datetime) -> bool:
    """Does the clock on the wall show a time of the window? Told without the module's arithmetic."""
    wall = at.astimezone(ZoneInfo(window.zone))
    minute, begin, end = (
        wall.hour * 60 + wall.minute,
        *(int(one.total_seconds()) // 60 for one in (window.begins, window.ends)),
    )
    today = wall.weekday() in window.days and begin <= minute < end
    yesterday = (wall.weekday() - 1) % 7 in window.days and minute + 24 * 60 < end
    return today or yesterday


def steady(window: Window, at: datetime) -> bool:
    """No change of clocks is near."""
    zone = ZoneInfo(window.zone)
    around = [at + timedelta(hours=hours) for hours in (-30, 0, 30)]
    return len({one.astimezone(zone).utcoffset() for one in around}) == 1


@settings(max_examples=EXAMPLES, deadline=None)
@given(windows(), MOMENTS)
def test_a_window_forbids_whenever_the_clock_shows_it_and_allows_at_no_other_time(
    window: Window, at: datetime
) -> None:
    forbids, allows = out_of([window], at) != at, into([window], at) == at
    assert forbids or not shows(window, at)
    assert shows(window, at) or not allows
    if steady(window, at):
        assert forbids is allows is shows(window, at)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(windows(), min_size=1, max_size=3), MOMENTS, st.integers(1, 10**6))
def test_the_next_opening_is_exact_and_nothing_opens_before(
    some: list[Window], at: datetime, part: int
) -> None:
    for opens in (out_of, into):
        found = opens(some, at)
        if found is None or found == at:
            continue
        assert at < found <= at + HORIZON + timedelta(days=8)
        assert opens(some, found) == found, "it opens at that moment"
        assert opens(some, found - MICROSECOND) == found, "and not just before"
        between = at + (found - at) * part / 10**6
        assert opens(some, between) == found


def test_what_covers_the_whole_week_never_opens() -> None:
    always = [Window.parse("Mon-Fri Europe/Berlin"), Window.parse("Fri-Mon Europe/Berlin")]
    assert out_of(always, utc("2026-03-04 10:00")) is None
    assert out_of([Window.parse("00:00-24:00 UTC")], utc("2026-03-04 10:00")) is None
