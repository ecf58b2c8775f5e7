"""The half of the loop that knows no world: what is news, what a result means, what a crash means.

The engine wraps this in stores and sockets; tests and simulations wrap the same in a virtual world,
so that no rule exists twice.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from remediator.core.admission import Opening, refusal, reworded
from remediator.core.alert import Alert
from remediator.core.breaker import mode_now, stepped_down
from remediator.core.decide import begin, decide, next_deadline
from remediator.core.messages import Act, Card, Effect, Event, Inquire, Preview, Probe, StepFinished, Unknown

__all__ = [
    "News",
    "Opening",
    "begin",
    "decide",
    "in_order",
    "lost",
    "mode_now",
    "news",
    "next_deadline",
    "refusal",
    "repeatable",
    "reworded",
    "stepped_down",
]


class News(StrEnum):
    """What a delivered alert is, beside what is known of it."""

    FIRST = "first"  # never heard of, or a new trouble of a known alert
    REPEAT = "repeat"  # nothing new: a repeat, or an HA duplicate
    REWORDED = "reworded"  # it fires as before, and says something else
    RESOLVED = "resolved"
    STALE = "stale"  # older than what is known
    DOUBTFUL = "doubtful"  # fires just after its end: a late duplicate, or flapping; decided later


def news(
    known: Alert | None,
    changed_at: datetime | None,
    heard: Alert,
    now: datetime,
    debounce: timedelta,
    *,
    overtaken: datetime | None = None,
) -> News:
    """What a delivery tells beside what is known. Status counts first; starts only settle the order.

    changed_at: when the status that is known was first heard, or a later start with it. overtaken: when
    this one was received, if what is known was received later: replicas drain side by side.

    Alertmanager keeps the earliest start when it merges alerts (two Prometheus, or two of its own), so
    a start may go back, and a skewed clock may put it into the future: neither may hide an end or a
    trouble. Only an end that was over before the known trouble began is an old message.

    What was overtaken is an old message, whatever it says: what was received last counts. Unless that is
    itself the end of an older trouble than this.

    An alert that fires just after its end, and began no later, may be a late duplicate. It is taken as
    firing, so that nothing is forgotten, but the decision waits.
    """
    if known is None or changed_at is None:
        return News.FIRST if heard.firing else News.RESOLVED
    if heard.status == known.status:
        return News.STALE if overtaken else _repeated(known, heard)
    if not heard.firing:
        return News.STALE if overtaken or _over_before(heard, known, changed_at) else News.RESOLVED
    if overtaken and not _over_before(known, heard, overtaken):
        return News.STALE
    just_ended = now < changed_at + debounce and heard.starts_at <= known.starts_at
    return News.DOUBTFUL if just_ended else News.FIRST


def _over_before(end: Alert, trouble: Alert, at: datetime) -> bool:
    """Is it the end of an older trouble than this, which was heard of at that time?"""
    began = min(trouble.starts_at, at)
    return end.starts_at < trouble.starts_at and end.ends_at is not None and end.ends_at < began


def _repeated(known: Alert, heard: Alert) -> News:
    same = heard.annotations == known.annotations and heard.labels == known.labels
    return News.REPEAT if same or not heard.firing else News.REWORDED


def repeatable(effect: Effect) -> bool:
    """May it be performed again when nobody knows whether it was? An act or an undo may not."""
    return not isinstance(effect, Act)


LOST = "its answer was not stored: the daemon that was to send it stopped, or could not reach the store"
"""All that is known of an act whose effect is still there and that nobody performs."""


def lost(effect: Effect) -> Event | None:
    """What it means that no result of an effect was stored. None: perform it again."""
    if isinstance(effect, Act):
        return StepFinished(effect.step, effect.attempt, effect.undo, Unknown(LOST))
    return None


def in_order(effects: tuple[Effect, ...]) -> list[Effect]:
    """Acts first, people last: a slow card must not delay what was agreed."""
    return sorted(effects, key=lambda effect: _ORDER[type(effect)])


_ORDER: dict[type, int] = {kind: place for place, kind in enumerate((Act, Inquire, Probe, Preview, Card))}
