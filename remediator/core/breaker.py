"""Failures step a policy down: how much may it do by itself now? Asked when a run opens, starts and closes.

It only ever lowers: a policy that is written to observe observes.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from remediator.core.expression import format_duration
from remediator.core.messages import Seen
from remediator.core.policy import Policy

MODES = ("observe", "suggest", "act")
"""What a policy may do by itself: the less, the earlier."""


class StepDown(msgspec.Struct, frozen=True):
    """A lower mode than the policy is written in, for a time."""

    mode: str
    until: datetime
    why: str


def stepped_down(policy: Policy, failures: Iterable[datetime], now: datetime) -> StepDown | None:
    """The step down that holds now: counted from the latest failure that completed the number."""
    breaker = policy.bounds.breaker
    if breaker is None or not lower(breaker.mode, policy.mode):
        return None
    newest = sorted(failures, reverse=True)
    for last, first in zip(newest, newest[breaker.failures - 1 :], strict=False):
        if first > last - breaker.within and now < last + breaker.for_:
            within = format_duration(breaker.within)
            why = f"{breaker.failures} of its runs failed or did not help within {within}"
            return StepDown(breaker.mode, last + breaker.for_, why)
    return None


def mode_now(policy: Policy, seen: Seen) -> str:
    """How much the policy may do by itself at this moment."""
    down = stepped_down(policy, seen.use.failures, seen.now)
    return down.mode if down is not None else policy.mode


def lower(one: str, other: str) -> bool:
    """May a policy do less in this mode than in the other?"""
    return MODES.index(one) < MODES.index(other)
