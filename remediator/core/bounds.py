"""The limits: may this policy act on this target now? Each bound is one dataclass.

Asked when an alert would open a run, and again inside the transaction that starts a run's first
change; halts, the target and the windows at every start. A "no" is a `Refusal` with its reason and
when, or after what, the alert is considered again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, Self

import msgspec

from remediator.core.durations import Rate
from remediator.core.expression import format_duration
from remediator.core.messages import Facts, Seen
from remediator.core.policy import Policy
from remediator.core.run import Refusal
from remediator.core.windows import HORIZON


class Ask(msgspec.Struct, frozen=True):
    """Who would act on what, what was seen, and which budgets the policies share."""

    policy: Policy
    target: str
    seen: Seen
    budgets: Mapping[str, Rate] = {}

    @classmethod
    def of(cls, target: str, facts: Facts) -> Self:
        """May the policy of these facts act on this target?"""
        return cls(facts.policy, target, facts, facts.catalog.budgets)


class Bound(Protocol):
    """One limit."""

    def refusal(self, ask: Ask) -> Refusal | None:
        """None means yes."""
        ...


@dataclass(frozen=True)
class NotHalted:
    """No kill switch covers it."""

    def refusal(self, ask: Ask) -> Refusal | None:
        """The oldest halt that covers it says why."""
        if not ask.seen.halts:
            return None
        halt = ask.seen.halts[0]
        return Refusal("halt", f"halted by {halt.by} ({halt.scope}): {halt.reason}", waits_for="halt")


@dataclass(frozen=True)
class TargetFree:
    """No other run acts on the target, whatever its policy."""

    def refusal(self, ask: Ask) -> Refusal | None:
        """Waits until the target is free."""
        if ask.seen.holder is None:
            return None
        reason = f"run {ask.seen.holder} is acting on {ask.target}"
        return Refusal("target", reason, waits_for=f"target:{ask.target}")


@dataclass(frozen=True)
class AtOnce:
    """So many open runs of the policy at once; holding ones are not counted."""

    def refusal(self, ask: Ask) -> Refusal | None:
        """Waits until one of them has closed or holds."""
        limit, used = ask.policy.bounds.at_once, ask.seen.use.open_runs
        if used < limit:
            return None
        return Refusal("at_once", f"{used} of {limit} runs are open", waits_for=f"policy:{ask.policy.policy}")


@dataclass(frozen=True)
class InWindows:
    """The hours of the week in which anything may start at all."""

    def refusal(self, ask: Ask) -> Refusal | None:
        """Again at the moment at which they open."""
        windows, now = ask.policy.bounds.windows, ask.seen.now
        opens = windows.opens(now) if windows is not None else now
        if windows is None or opens == now:
            return None
        if opens is None:
            reason = f"{windows.told(now)}, and that will not change in the next {format_duration(HORIZON)}"
            return Refusal("windows", reason, again_at=now + HORIZON)
        return Refusal("windows", f"{windows.told(now)}; next at {_moment(opens)}", again_at=opens)


@dataclass(frozen=True)
class Cooldown:
    """Per target, from the last act; a denial counts likewise."""

    def refusal(self, ask: Ask) -> Refusal | None:
        """Again when the cooldown is over."""
        use, cooldown = ask.seen.use, ask.policy.bounds.cooldown
        for last, what in ((use.last_act, "acted on"), (use.last_denial, "denied or expired")):
            if last is not None and ask.seen.now < last + cooldown:
                ago = _rounded(ask.seen.now - last)
                reason = f"{ask.target} was {what} {ago} ago; cooldown {format_duration(cooldown)}"
                return Refusal("cooldown", reason, again_at=last + cooldown)
        return None


@dataclass(frozen=True)
class PerTarget:
    """Acts on one target in a window."""

    def refusal(self, ask: Ask) -> Refusal | None:
        """Again when the oldest act leaves the window."""
        rate, acts = ask.policy.bounds.per_target, ask.seen.use.target_acts
        return _over(rate, acts, ask.seen.now, "per_target", f"on {ask.target}")


@dataclass(frozen=True)
class PerPolicy:
    """Acts of one policy in a window."""

    def refusal(self, ask: Ask) -> Refusal | None:
        """Again when the oldest act leaves the window."""
        rate, acts = ask.policy.bounds.per_policy, ask.seen.use.policy_acts
        return _over(rate, acts, ask.seen.now, "per_policy", f"by {ask.policy.policy}")


@dataclass(frozen=True)
class Budget:
    """Acts of all policies that share a budget, in a window."""

    def refusal(self, ask: Ask) -> Refusal | None:
        """Again when the oldest act leaves the window."""
        name, now = ask.policy.bounds.budget, ask.seen.now
        if name is None:
            return None
        rate, spent = ask.budgets.get(name), ask.seen.use.budget_acts
        if rate is None:
            reason = f"the settings have no budget {name} any more"
            return Refusal("budget", reason, again_at=now + ask.policy.pause)
        no = _over(rate, [one.at for one in spent], now, "budget", f"of budget {name}")
        if no is None:
            return None
        by = Counter(one.policy for one in spent if one.at > now - rate.per)
        shares = ", ".join(f"{policy} {runs}" for policy, runs in by.most_common()) or "nobody"
        return msgspec.structs.replace(no, reason=f"{no.reason}, by {shares}")


RATES: tuple[Bound, ...] = (Cooldown(), PerTarget(), PerPolicy(), Budget())
BOUNDS: tuple[Bound, ...] = (NotHalted(), TargetFree(), AtOnce(), InWindows(), *RATES)
"""Every bound, in the order in which they are asked and told."""


def to_open(ask: Ask) -> Refusal | None:
    """May a run be opened?"""
    return _first(BOUNDS, ask)


def to_observe(ask: Ask) -> Refusal | None:
    """May an observing run be opened? It takes no lock and needs none."""
    return _first((AtOnce(), InWindows(), *RATES), ask)


def to_change(ask: Ask) -> Refusal | None:
    """May a run make its first change? Asked in the transaction that commits the intent."""
    return _first(BOUNDS, ask)


def to_go_on(ask: Ask) -> Refusal | None:
    """May a run that has already acted start its next step? May a step that is safe?"""
    return _first((NotHalted(), TargetFree(), InWindows()), ask)


def _first(bounds: Sequence[Bound], ask: Ask) -> Refusal | None:
    return next((no for bound in bounds if (no := bound.refusal(ask))), None)


def _over(rate: Rate, acts: Sequence[datetime], now: datetime, bound: str, whose: str) -> Refusal | None:
    inside = sorted((at for at in acts if at > now - rate.per), reverse=True)
    if len(inside) < rate.limit:
        return None
    reason = f"{len(inside)} of {rate.limit} runs {whose} in {format_duration(rate.per)}"
    last = inside[rate.limit - 1] if rate.limit else now  # a limit of none at all never ends
    return Refusal(bound, reason, again_at=last + rate.per)


def _moment(at: datetime) -> str:
    return f"{at:%a %Y-%m-%d %H:%M:%S} UTC".replace(":00 UTC", " UTC")


def _rounded(duration: timedelta) -> str:
    return format_duration(timedelta(seconds=max(0, round(duration.total_seconds()))))


def look_back(policy: Policy, budgets: Mapping[str, Rate]) -> timedelta:
    """For how long what was counted can matter to this policy."""
    limits, budget = policy.bounds, budgets.get(policy.bounds.budget or "")
    return max(
        limits.cooldown,
        limits.per_target.per,
        limits.per_policy.per,
        budget.per if budget is not None else timedelta(),
        limits.breaker.memory if limits.breaker is not None else timedelta(),
    )
