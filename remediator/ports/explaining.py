"""Why policies do, or do not, act on an alert: what `explain` answers, and every door shows."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from remediator.core.alert import Alert

Says = Literal[
    "run-opened",  # a run of this alert's own is under way
    "joined",  # another alert's run deals with it
    "holding",  # its run has changed something for a time; decided again at `again_at`
    "closed",  # its run is over; decided again at `again_at`
    "would-open",  # nothing says no: a run would be opened
    "would-join",  # it would join the run that is open on the target
    "refused",  # `bound` says no, for `reason`
    "unasked",  # it matches; bounds were not asked, since there is no store
    "resolved",  # it matches, but fires no more
    "not-matched",
]


class Misfit(msgspec.Struct, frozen=True):
    """A matcher of a policy's nearest selector that does not hold."""

    label: str
    matcher: str  # as written: env=~"prod|staging"
    found: str | None  # the label's value; null where the alert has no such label


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What one policy says to an alert."""

    policy: str
    mode: str
    file: str = ""
    says: Says
    bound: str = ""  # who said no: params | halt | target | at_once | cooldown | …
    reason: str = ""
    selector: str = ""  # not matched: the line that lacks least ...
    misfits: tuple[Misfit, ...] = ()  # ... and what it lacks
    target: str = ""
    params: dict[str, Any] = {}
    run: str = ""
    since: datetime | None = None  # since when it stands so
    again_at: datetime | None = None  # considered again then
    waits_for: str = ""  # or after this: target:… | policy:… | halt
    now: str = ""  # where a refusal stands: what the bounds would say if they were asked this moment


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What every policy says: those that act first, then those that say no, the nearest first."""

    alert: Alert
    at: datetime
    stored: bool  # was the store asked? Without it nothing is known of bounds, halts and other runs
    policies: tuple[Said, ...]
