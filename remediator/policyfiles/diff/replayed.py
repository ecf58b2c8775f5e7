"""What a change would have meant for recorded alerts: both sets are played, and set side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from remediator.core.counting import counted
from remediator.core.policyset import PolicySet, Versioned
from remediator.policyfiles.backtest.reports import troubles
from remediator.policyfiles.backtest.result import Difference, Result, compare
from remediator.policyfiles.diff.compare import Side
from remediator.policyfiles.diff.markdown import inert

Play = Callable[[PolicySet], Result]
"""Plays the recorded alerts to a set of policies."""
MOST_POLICIES = 50
"""Policies that are listed in a comment."""


@dataclass(frozen=True)
class Replayed:
    """Both results, and what differs between them for each policy."""

    before: Result
    after: Result

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Policy by policy; those for which nothing would have been different are left out."""
        return compare(self.before, self.after)


def replayed(base: Side, head: Side, play: Play) -> Replayed:
    """Play the same alerts to both."""
    return Replayed(play(_set(base)), play(_set(head)))


def _set(side: Side) -> PolicySet:
    """As the engine runs it. Versions matter within one replay alone."""
    versioned = [Versioned(one.policy, name, file=one.file) for name, one in side.policies.items()]
    return PolicySet.of(versioned, side.catalog)


def as_json(found: Replayed) -> dict[str, Any]:
    """For machines; fields are only added."""
    return {
        "troubles": found.after.troubles,
        "deliveries": found.after.deliveries,
        "known": found.after.known,
        "skipped": found.after.skipped,
        "disorder": found.after.disorder,
        "policies": [{"policy": one.policy, "words": one.told} for one in found.differences],
    }


def as_markdown(found: Replayed) -> str:
    """A section of the pull request's comment; nothing in it is followed as markup."""
    after = found.after
    span = f"{after.since:%Y-%m-%d %H:%M} to {after.until:%Y-%m-%d %H:%M} UTC"
    began = counted(after.troubles, "trouble", form=",")
    played = f"{began} in {counted(after.deliveries, 'delivery', 'deliveries', form=',')}, {span}"
    lines = [
        "#### Against recorded alerts",
        "",
        f"{played}, from <code>{inert(after.source)}</code>.{_known(after)}",
        "",
    ]
    doubts = [inert(one) for one in troubles(after)]
    lines += [" ".join(doubts), ""] if doubts else []
    differences = found.differences
    lines += [f"- <code>{inert(one.policy)}</code> {inert(one.told)}" for one in differences[:MOST_POLICIES]]
    if not differences:
        lines.append("Nothing would have been different.")
    if len(differences) > MOST_POLICIES:
        lines.append(f"- and {len(differences) - MOST_POLICIES} more policies")
    return "\n".join(lines)


def _known(result: Result) -> str:
    if result.known is None:
        return ""
    return f" Of what probes would have read, {result.known:.0%} is on record."
