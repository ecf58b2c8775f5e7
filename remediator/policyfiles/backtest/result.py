"""What a backtest found: every run that would have been, and what these come to for each policy.

A value: reports show it, `compare` sets two of them side by side. Its JSON is stable; fields are only added.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

import msgspec

from remediator.core.counting import counted
from remediator.core.steps import base_of

HOUR = timedelta(hours=1)
MOST_EXAMPLES = 5
MOST_LATE = 0.01
"""The share of a record that may be out of order before a result is in doubt."""


class StepSeen(msgspec.Struct, frozen=True):
    """A step that would have been started."""

    step: str
    at: datetime
    risk: str


class RunSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A run that would have been opened. ``closed_at`` is null where it outlives the records."""

    policy: str
    target: str
    mode: str
    alert: str  # the opener's alertname
    opened_at: datetime
    closed_at: datetime | None = None
    outcome: str | None = None
    reason: str = ""
    asks: tuple[str, ...] = ()  # probes that no record answers: what follows is not known
    steps: tuple[StepSeen, ...] = ()
    undone: tuple[str, ...] = ()
    gates: int = 0  # how often people would have been asked
    pages: int = 0
    held_from: datetime | None = None  # since when only temporary changes stood

    @property
    def told(self) -> str:
        """How it ended, in a word: its outcome, ``would-ask`` or ``open``."""
        if self.asks:
            return "would-ask"
        return self.outcome or ("holding" if self.held_from else "open")

    def until(self, end: datetime) -> datetime:
        """When it was over, as far as the records go. Holding, it is in nobody's way."""
        return self.held_from or self.closed_at or end


class Overlap(msgspec.Struct, frozen=True):
    """Runs of this policy that were open on a target while another policy's run was."""

    policy: str  # the other one
    runs: int
    targets: tuple[str, ...]  # some of them


class PolicySeen(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy would have done."""

    policy: str
    mode: str
    troubles: int = 0  # alerts that began to fire, and that it matches
    runs: int = 0
    outcomes: dict[str, int] = {}  # as `RunSeen.told`
    stopped: dict[str, int] = {}  # bound → how often it began to stand in an alert's way
    asks: dict[str, int] = {}  # probe → runs whose answer is not known
    steps: dict[str, int] = {}  # step → how often it would have been started, each item for itself
    gates: int = 0
    pages: int = 0
    at_once: int = 0  # most runs open at one moment
    acts_per_hour: int = 0  # most steps that are not safe, in any hour
    answered: int = 0  # readings that the records answered ...
    unknown: int = 0  # ... and that they did not
    overlaps: tuple[Overlap, ...] = ()

    @property
    def acts(self) -> int:
        """Steps that would have been started, safe ones too."""
        return sum(self.steps.values())


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A backtest, whole."""

    source: str  # where the alerts came from, for people
    since: datetime
    until: datetime
    people: str  # approve | silent
    deliveries: int
    alerts: int  # in all deliveries, repeats included
    troubles: int  # alerts that began to fire
    policies: tuple[PolicySeen, ...]  # by name
    runs: tuple[RunSeen, ...]  # in the order in which they were opened
    skipped: int = 0  # records that could not be read
    late: int = 0  # records that came out of the order of time, by more than a minute
    disorder: str = ""  # the same in words, with the first of them
    unresolved: int = 0  # alerts that still fire where the record ends
    assumptions: tuple[str, ...] = ()

    @property
    def doubtful(self) -> bool:
        """Was any of the record left out, or much of it out of order?"""
        return bool(self.skipped) or self.late > self.deliveries * MOST_LATE

    @property
    def known(self) -> float | None:
        """The share of readings that records answered; None where none was asked for."""
        answered = sum(one.answered for one in self.policies)
        asked = answered + sum(one.unknown for one in self.policies)
        return answered / asked if asked else None


# ── From runs to sums ─────────────────────────────────────────────────────────────────────────────


def summed(policy: PolicySeen, runs: Iterable[RunSeen], until: datetime) -> PolicySeen:
    """The policy with what its own runs come to; overlaps are added by `overlapping`."""
    mine = list(runs)
    steps = [step for run in mine for step in run.steps]
    return msgspec.structs.replace(
        policy,
        runs=len(mine),
        outcomes=_counted(run.told for run in mine),
        asks=_counted(probe for run in mine for probe in run.asks),
        steps=_counted(base_of(step.step) for step in steps),
        gates=sum(run.gates for run in mine),
        pages=policy.pages + sum(run.pages for run in mine),
        at_once=_most_at_once(mine, until),
        acts_per_hour=_most_per_hour(step.at for step in steps if step.risk != "safe"),
    )


def overlapping(runs: Iterable[RunSeen], until: datetime) -> dict[str, tuple[Overlap, ...]]:
    """Policy → the others whose runs were open on its targets at the same time."""
    found: dict[tuple[str, str], set[int]] = defaultdict(set)
    where: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for target, together in _by_target(runs).items():
        for one, other in _meeting(together, until):
            for mine, theirs in ((one, other), (other, one)):
                pair = (mine.policy, theirs.policy)
                found[pair].add(id(mine))
                where[pair].setdefault(target)
    told: dict[str, list[Overlap]] = defaultdict(list)
    for (mine_, theirs_), met in sorted(found.items()):
        targets = tuple(where[mine_, theirs_])[:MOST_EXAMPLES]
        told[mine_].append(Overlap(theirs_, len(met), targets))
    return {policy: tuple(overlaps) for policy, overlaps in told.items()}


def _by_target(runs: Iterable[RunSeen]) -> dict[str, list[RunSeen]]:
    found: dict[str, list[RunSeen]] = defaultdict(list)
    for run in runs:
        found[run.target].append(run)
    return found


def _meeting(runs: list[RunSeen], until: datetime) -> Iterator[tuple[RunSeen, RunSeen]]:
    """Pairs of different policies' runs that were open at the same time."""
    still: list[RunSeen] = []
    for run in sorted(runs, key=lambda run: run.opened_at):
        still = [one for one in still if one.until(until) > run.opened_at]
        yield from ((one, run) for one in still if one.policy != run.policy)
        still.append(run)


def _most_at_once(runs: list[RunSeen], until: datetime) -> int:
    changes = [(run.opened_at, 1) for run in runs] + [(run.until(until), -1) for run in runs]
    most = now = 0
    for _, change in sorted(changes):  # at one moment the end comes first
        now += change
        most = max(most, now)
    return most


def _most_per_hour(times: Iterable[datetime]) -> int:
    window: deque[datetime] = deque()
    most = 0
    for at in sorted(times):
        window.append(at)
        while window[0] <= at - HOUR:
            window.popleft()
        most = max(most, len(window))
    return most


def _counted(words: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(words).items(), key=lambda item: (-item[1], item[0])))


# ── Two of them ───────────────────────────────────────────────────────────────────────────────────


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What a change of policies would have meant for one of them, over the same alerts.

    ``before`` is null for a policy that was added, ``after`` for one that was removed.
    """

    policy: str
    before: PolicySeen | None
    after: PolicySeen | None

    @property
    def same(self) -> bool:
        """Would nothing have been different?"""
        return self.before == self.after

    @property
    def told(self) -> str:
        """In words, for a reviewer: ``would have run 14 times instead of 3; 2 overlap with …``."""
        none = PolicySeen(policy=self.policy, mode="")
        old, new = self.before or none, self.after or none
        parts = [f"would have run {_times(new.runs)}" + _instead(old.runs, new.runs)]
        if new.acts != old.acts:
            parts.append(f"{counted(new.acts, 'step')} started" + _instead(old.acts, new.acts))
        if new.gates != old.gates:
            parts.append(f"people asked {_times(new.gates)}" + _instead(old.gates, new.gates))
        if new.pages != old.pages:
            parts.append(f"{counted(new.pages, 'page')}" + _instead(old.pages, new.pages))
        parts += [f"{one.runs} overlap with {one.policy}" for one in new.overlaps]
        if new.asks:
            parts.append(f"in {counted(sum(new.asks.values()), 'case')} a probe's answer is not known")
        return "; ".join(parts)


def compare(before: Result, after: Result) -> tuple[Difference, ...]:
    """Policy by policy, by name; those for which nothing would have been different are left out."""
    old = {one.policy: one for one in before.policies}
    new = {one.policy: one for one in after.policies}
    found = (
        Difference(policy=name, before=old.get(name), after=new.get(name))
        for name in sorted(old.keys() | new.keys())
    )
    return tuple(one for one in found if not one.same)


def _instead(old: int, new: int) -> str:
    return f" instead of {old}" if old != new else " as before"


def _times(number: int) -> str:
    return {0: "never", 1: "once"}.get(number, f"{number} times")
