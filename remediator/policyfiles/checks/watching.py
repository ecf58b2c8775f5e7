"""Checks of watches: does one ever look, and has what it reads the names that it is asked for?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from remediator.core.opening import Watch
from remediator.engine.schedule import trigger_of
from remediator.policyfiles.checks.uses import Look, Problem

_A_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_A_LIFE_LATER = datetime(2126, 1, 1, tzinfo=UTC)
"""A 29 February that is a Monday comes every 40 years at worst; the search for what never comes is long."""
_REMEDY = "write minute, hour, day, month and weekday, such as 30 4 * * mon-fri"


def never_fires(look: Look) -> Iterator[Problem]:
    """P139: a watch whose clock cannot be read, or never strikes: cron and timezone."""
    watch = look.policy.watch
    if watch is None or watch.cron is None:
        return
    if problem := _wrong(watch.model_copy(update={"timezone": None})):
        yield Problem(("watch", "cron"), f"{watch.cron!r} {problem}", _REMEDY)
    elif _wrong(watch):
        problem = f"there is no time zone {watch.timezone!r}"
        yield Problem(("watch", "timezone"), problem, "write one such as Africa/Dakar")


def _wrong(watch: Watch) -> str:
    """Why a schedule never looks; "" where it does."""
    try:
        trigger = trigger_of(watch)
    except (ValueError, LookupError, OSError) as error:
        return f"is no cron line: {str(error).rpartition(': ')[2]}"
    trigger.end_date = _A_LIFE_LATER
    return "" if trigger.get_next_fire_time(None, _A_DAY) else "never comes: there is no such day"
