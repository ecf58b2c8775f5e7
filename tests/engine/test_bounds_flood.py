"""A flood of alerts for policies that share a budget: what was started keeps every bound, counted anew.

The real engine in virtual time; acts succeed, fail, are slow or never answered. Nothing of the bounds is
asked here: what was sent is written down and counted with a pencil.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from remediator.core.alert import Delivery
from remediator.core.durations import Rate
from remediator.core.messages import Act, Done, Refused, StepFinished
from remediator.core.policy import Policy
from remediator.core.policyset import PolicySet, Versioned
from remediator.core.run import Outcome, Run, StepState
from remediator.engine.decisions import Decisions, Terms
from remediator.engine.virtual import Virtual, VirtualClock
from remediator.ports import Disposition, Pending, RunFilter
from remediator.store.memory import MemoryStore
from tests.core.campaign import CATALOG, policy, post, undo
from tests.engine.world import START, alert

pytestmark = pytest.mark.no_cover

SEEDS = 6 if os.environ.get("CI") == "true" else 4
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
SHARED = replace(CATALOG, budgets={"pauses": Rate(3, HOUR)})
LUNCH = "12:00-13:30 Europe/Berlin"


def one_of(name: str, **bounds: object) -> Policy:
    generous = {"cooldown": "0s", "per_target": "99 in 1h", "per_policy": "99 in 1h", "at_once": 9}
    steps = {"pause": post("/p", undo=undo(after="20m")), "cut": post("/c")}
    target = f"campaign/{name}-${{campaign}}"
    return policy(steps, policy=name, target=target, recheck="1m", bounds=generous | bounds)


POLICIES = (
    one_of("shy", budget="pauses", windows={"not": [LUNCH]}),
    one_of("bold", budget="pauses"),
    one_of("clumsy", breaker={"failures": 2, "within": "30m", "mode": "suggest", "for": "20m"}),
)


@dataclass
class Flood:
    """A day of trouble, from one seed."""

    seed: int
    started: list[tuple[datetime, Run, str]] = field(default_factory=list)
    undone: list[datetime] = field(default_factory=list)
    noes: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        clock = VirtualClock(START)
        store = MemoryStore(clock)
        ids = iter(range(1, 1_000_000))
        versions = PolicySet.of((Versioned(one, f"{one.name}@1") for one in POLICIES), SHARED)

        def new_id(prefix: str) -> str:
            return f"{prefix}-{next(ids)}"

        decisions = Decisions(lambda: versions, _no_old, new_id, Terms(MINUTE))
        self.play = Virtual(store, clock, decisions, self.perform, new_id)
        self.play.do(store.open())

    def perform(self, pending: Pending) -> None:
        """Write down what is sent; answer as chance has it."""
        act, now = pending.effect, self.play.clock.at
        if not isinstance(act, Act):
            return
        if act.undo:
            self.undone.append(now)
        else:
            run = self.play.do(self.play.store.read(lambda tx: tx.run(pending.run)))
            assert run is not None
            self.started.append((now, run, act.step))
        result = Done() if act.undo or self.chance.random() < 0.6 else Refused("409")
        answer = StepFinished(act.step, act.attempt, act.undo, result)
        delay = MINUTE * self.chance.choice((0, 0, 1, 7))
        self.play.later(delay, lambda: self.play.tell(pending.run, answer, pending.id))

    def run(self) -> list[Run]:
        """Twelve hours, an alert every few minutes on one of four campaigns. All runs, in the end."""
        for _ in range(150):
            number = self.chance.randrange(4)
            firing, now = self.chance.random() < 0.7, self.play.clock.at
            one = alert(f"f{number}", campaign=f"c-{number}", firing=firing, started=now)
            self.play.deliver(Delivery(source="flood", alerts=(one,), received_at=self.play.clock.at))
            self.noes |= {one.bound for one in self.standing()}
            self.play.until(self.play.clock.at + MINUTE * self.chance.randrange(10))
        return self.play.do(self.play.store.read(lambda tx: tx.runs(RunFilter(limit=10_000))))

    def standing(self) -> list[Disposition]:
        return self.play.do(self.play.store.read(lambda tx: tx.dispositions(refused_only=True)))

    def first_starts(self, *names: str) -> list[tuple[datetime, Run]]:
        """When runs of these policies started to act."""
        seen: dict[str, tuple[datetime, Run]] = {}
        for at, run, _ in self.started:
            if run.policy in names:
                seen.setdefault(run.id, (at, run))
        return list(seen.values())


def _no_old(_kept: object) -> Policy:
    raise AssertionError("no policy changes here")


def at_lunch(at: datetime) -> bool:
    wall = at.astimezone(ZoneInfo("Europe/Berlin"))
    return 12 * 60 <= wall.hour * 60 + wall.minute < 13 * 60 + 30


def failures(runs: list[Run], name: str, before: datetime) -> Iterator[datetime]:
    """When they failed: a run that holds what it did before has failed long before it closes."""
    for run in runs:
        refused = [one.finished_at for one in run.steps.values() if one.state is StepState.REFUSED]
        if run.policy == name and run.outcome in (Outcome.FAILED, Outcome.INEFFECTIVE):
            at = max((one for one in refused if one is not None), default=run.closed_at)
            assert at is not None
            if at < before:
                yield at


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_act_passes_a_budget_a_window_or_a_breaker(seed: int) -> None:
    flood = Flood(seed)
    runs = flood.run()
    taken = [at for at, _ in flood.first_starts("shy", "bold")]
    assert max(sum(at <= other < at + HOUR for other in taken) for at in taken) == 3
    assert {run.policy for _, run in flood.first_starts("shy", "bold")} == {"shy", "bold"}
    assert not [at for at, run, _ in flood.started if run.policy == "shy" and at_lunch(at)]
    assert [at for at, run, _ in flood.started if run.policy == "bold" and at_lunch(at)]
    assert any(at_lunch(at) for at in flood.undone), "no window stops an undo"
    for at, run in flood.first_starts("clumsy"):
        before = list(failures(runs, "clumsy", at))
        for last in before:
            together = [one for one in before if last - 30 * MINUTE < one <= last]
            assert len(together) < 2 or at >= last + 20 * MINUTE, f"{run.id} acts by itself at {at}"
    assert {"budget", "windows"} <= flood.noes
    assert any(run.down_until is not None for run in runs), "the breaker has never tripped"
