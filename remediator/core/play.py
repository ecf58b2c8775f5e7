"""The half of the loop that knows no world: what is news, what a result means, what a crash means.

The engine wraps this in stores and sockets; tests and simulations wrap the same in a virtual world,
so that no rule exists twice.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from remediator.core.admission import Opening, refusal
from remediator.core.alert import Alert
from remediator.core.decide import begin, decide, next_deadline
from remediator.core.messages import Act, Card, Effect, Event, Preview, Probe, StepFinished, Unknown

__all__ = [
    "News",
    "Opening",
    "begin",
    "decide",
    "in_order",
    "lost",
    "news",
    "next_deadline",
    "refusal",
    "repeatable",
]


class News(StrEnum):
    """What a delivered alert is, beside what is known of it."""

    FIRST = "first"  # never heard of, or a new trouble of a known alert
    REPEAT = "repeat"  # nothing new: a repeat, or an HA duplicate
    RESOLVED = "resolved"
    STALE = "stale"  # older than what is known
    DOUBTFUL = "doubtful"  # fires just after its end: a late duplicate, or flapping; decided later


def news(
    known: Alert | None, changed_at: datetime | None, heard: Alert, now: datetime, debounce: timedelta
) -> News:
    """Identity is (fingerprint, starts_at): an older start is an old message.

    An alert that fires again with the same start after its end may be a duplicate that was overtaken
    (two Alertmanagers), or Alertmanager lost sight of it for a while. It is taken as firing, so that
    nothing is forgotten, but when its end was heard only just now the decision waits.
    """
    if known is None:
        return News.FIRST if heard.firing else News.RESOLVED
    if heard.starts_at < known.starts_at:
        return News.STALE
    if heard.starts_at > known.starts_at:
        return News.FIRST if heard.firing else News.RESOLVED
    if heard.status == known.status:
        return News.REPEAT
    if not heard.firing:
        return News.RESOLVED
    just_ended = changed_at is not None and now < changed_at + debounce
    return News.DOUBTFUL if just_ended else News.FIRST


def repeatable(effect: Effect) -> bool:
    """May it be performed again when nobody knows whether it was? An act or an undo may not."""
    return not isinstance(effect, Act)


def lost(effect: Effect) -> Event | None:
    """What a crash between an effect and its result means. None: perform it again."""
    if isinstance(effect, Act):
        reason = "the daemon stopped before the answer was stored"
        return StepFinished(effect.step, effect.attempt, effect.undo, Unknown(reason))
    return None


def in_order(effects: tuple[Effect, ...]) -> list[Effect]:
    """Acts first, people last: a slow card must not delay what was agreed."""
    order = (Act, Probe, Preview, Card)
    return sorted(effects, key=lambda effect: order.index(type(effect)))
