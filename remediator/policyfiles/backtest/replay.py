"""Recorded alerts played to the real engine in virtual time; what it would have done is kept as a result.

No rule stands here. What the record cannot tell is assumed, and said to be (`ASSUMPTIONS`): probes are
answered from recorded readings or not at all, people approve or are silent, and an act does what it should.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Literal

import msgspec

from remediator.core import play
from remediator.core.alert import Alert, Delivery
from remediator.core.calls import call_risk
from remediator.core.catalog import Risk
from remediator.core.evidence import Picture, Reading
from remediator.core.messages import (
    Act,
    Card,
    Done,
    Inquire,
    Preview,
    Previewed,
    Probe,
    ProbeRead,
    StepFinished,
    VoteCast,
)
from remediator.core.play import News
from remediator.core.policyset import PolicySet
from remediator.core.run import Run, Vote
from remediator.core.stages.diagnosing import PREFIX as DIAGNOSE
from remediator.core.stages.holding import PREFIX as EARLY
from remediator.engine.decisions import Decisions, Terms
from remediator.engine.virtual import Virtual, VirtualClock
from remediator.policyfiles.backtest.assumed import ASSUMPTIONS, SINCE, assuming, did
from remediator.policyfiles.backtest.book import Book
from remediator.policyfiles.backtest.readings import Readings
from remediator.policyfiles.backtest.result import PolicySeen, Result, RunSeen, overlapping, summed
from remediator.policyfiles.backtest.sources import Source
from remediator.policyfiles.loading import parse_text
from remediator.ports import AlertRow, Pending

THINKING = timedelta(minutes=2)
"""How long people are taken to need for an approval."""

CHORES = timedelta(minutes=5)
"""How often refusals that outlast their patience are looked for; the daemon looks more often."""

PAGE = 20_000
"""Alerts that are read, then heard, together: a processor is quicker at either than in turns at both."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNSEEN = Picture(0, "what it would change is not known in a backtest")


@dataclass(frozen=True)
class Given:
    """What a backtest is given beside the alerts."""

    policies: PolicySet
    readings: Readings = field(default_factory=Readings)
    people: Literal["approve", "silent"] = "approve"
    debounce: timedelta = timedelta(minutes=1)
    since: datetime | None = None  # where the report begins; the first delivery by default
    until: datetime | None = None  # where it ends; the last delivery by default


@dataclass(frozen=True)
class Progress:
    """How far a backtest is."""

    done: float  # 0 to 1, by the source
    deliveries: int
    at: datetime


def backtest(source: Source, given: Given, tell: Callable[[Progress], None] = lambda _: None) -> Result:
    """Play all of it. Raises what the source raises."""
    replay: _Replay | None = None
    for page in _pages(source.deliveries()):
        if replay is None:
            replay = _Replay(given, page[0].received_at)
        for delivery in page:
            replay.hear(delivery)
        tell(Progress(source.done, replay.deliveries, page[-1].received_at))
    if replay is None:
        return _nothing(source, given)
    return replay.result(source)


def _pages(deliveries: Iterable[Delivery]) -> Iterator[list[Delivery]]:
    page: list[Delivery] = []
    alerts = 0
    for delivery in deliveries:
        page.append(delivery)
        alerts += len(delivery.alerts)
        if alerts >= PAGE:
            yield page
            page, alerts = [], 0
    if page:
        yield page


class _Replay:
    """The engine over a store in memory, and a world that answers as the record says."""

    def __init__(self, given: Given, start: datetime) -> None:
        self._given = given
        self._policies = assuming(given.policies)
        self._clock = VirtualClock(start)
        self._book = Book(self._clock)
        self._annotated = {
            name
            for name, one in self._policies.by_name.items()
            if any("annotations" in param.from_.names for param in one.policy.params.values())
        }
        numbers = count(1)

        def new_id(prefix: str) -> str:
            return f"{prefix}-{next(numbers):09}"  # sorts as it counts

        decisions = Decisions(
            lambda: self._policies,
            lambda kept: parse_text(kept.text, kept.file),
            new_id,
            Terms(given.debounce),
        )
        self._virtual = Virtual(self._book, self._clock, decisions, self._perform, new_id)
        self._began = start
        self._chores_at = start
        self._quiet_until = _EPOCH  # nothing is due before then
        self._acted: dict[str, datetime] = {}  # target → when a step last changed it
        self._asked: set[str] = set()  # gates that people know of
        self._given_to: dict[str, dict[str, Reading]] = {}  # run → what its probes were answered
        self.deliveries = self.alerts = self.troubles = 0
        self._matched: Counter[str] = Counter()

    # ── Alerts ────────────────────────────────────────────────────────────────────────────────────

    def hear(self, delivery: Delivery) -> None:
        """A delivery, at its own time."""
        self.deliveries += 1
        self.alerts += len(delivery.alerts)
        self._pass(delivery.received_at)
        if self._repeats(delivery):
            return
        for alert in {one.fingerprint: one for one in delivery.alerts}.values():
            self._count(alert)
        self._virtual.deliver(delivery)
        self._quiet_until = _EPOCH

    def _pass(self, at: datetime) -> None:
        """Let time pass. Most deliveries change no deadline, and till the next one there is nothing to do."""
        if at < self._quiet_until:
            self._clock.at = at
            return
        self._virtual.until(at)
        self._chores()
        due = self._virtual.next_moment()
        self._quiet_until = self._chores_at if due is None else min(due, self._chores_at)

    def _repeats(self, delivery: Delivery) -> bool:
        """Is nothing new in it? Then it is heard here: of a repeat the alert itself is all that is kept."""
        heard: list[tuple[AlertRow, Alert]] = []
        for alert in delivery.alerts:
            row = self._book.heard(alert.fingerprint)
            if row is None or self._is_news(row, alert):
                return False
            heard.append((row, alert))
        for row, alert in heard:
            self._book.hear_again(row, alert)
        return True

    def _is_news(self, row: AlertRow, alert: Alert) -> bool:
        what = self._news(row, alert)
        reworded = what is News.REWORDED and alert.fingerprint not in self._book.misread
        return not (what is News.REPEAT or (reworded and not self._runs_hear(alert)))

    def _runs_hear(self, alert: Alert) -> bool:
        """Is a run that it has opened about something else? Seldom: most annotations are for people."""
        return any(
            (run.policy in self._annotated or alert.labels != run.alert.labels)
            and play.reworded(run, self._policies.by_name[run.policy].policy, alert) != run.reworded
            for run in self._book.opened(alert.fingerprint)
        )

    def _news(self, row: AlertRow | None, alert: Alert) -> News:
        if row is None:
            return play.news(None, None, alert, self._clock.at, self._given.debounce)
        return play.news(row.alert, row.changed_at, alert, self._clock.at, self._given.debounce)

    def _count(self, alert: Alert) -> None:
        if self._news(self._book.heard(alert.fingerprint), alert) is News.FIRST:
            self.troubles += 1
            self._matched.update(one.policy.name for one in self._policies.matching(alert))

    def _chores(self) -> None:
        if self._clock.at >= self._chores_at:
            self._chores_at = self._clock.at + CHORES
            if self._book.refused:
                self._book.refused = False
                self._virtual.page_impatient(self._policies)

    # ── The world ─────────────────────────────────────────────────────────────────────────────────

    def _perform(self, pending: Pending) -> None:
        effect = pending.effect
        match effect:
            case Probe():
                self._probe(pending, effect)
            case Preview(round=number, step=step):
                self._virtual.tell(pending.run, Previewed(number, step, _UNSEEN), pending.id)
            case Act():
                self._act(pending, effect)
            case Card(gate=gate):
                self._card(pending.run, gate)
            case Inquire():
                raise AssertionError("no answer is ever lost in a backtest")

    def _act(self, pending: Pending, act: Act) -> None:
        run = self._book.run(pending.run)
        if run is not None and call_risk(act.call, self._policies.catalog) is not Risk.SAFE:
            self._acted[run.target] = self._clock.at
        done = StepFinished(act.step, act.attempt, act.undo, Done(did(act.call)))
        self._virtual.tell(pending.run, done, pending.id)

    def _probe(self, pending: Pending, probe: Probe) -> None:
        """Diagnoses from the record; what belongs to an act is taken to show what it should."""
        now = self._clock.at
        if probe.key.startswith(EARLY):
            return
        if not probe.key.startswith(DIAGNOSE):
            reading = Reading(now, ok=True)
            self._virtual.tell(pending.run, ProbeRead(probe.round, probe.key, reading), pending.id)
            return
        run, name = self._book.run(pending.run), probe.key.removeprefix(DIAGNOSE)
        if run is None:
            return
        reading_then = self._answer(run, name)
        if reading_then is None:
            self._book.would_ask(run, name)
            return
        self._given_to.setdefault(run.id, {})[name] = reading_then
        read_now = msgspec.structs.replace(reading_then, at=now)
        self._virtual.tell(pending.run, ProbeRead(probe.round, probe.key, read_now), pending.id)

    def _answer(self, run: Run, name: str) -> Reading | None:
        """Of the record as long as nothing was changed in this trouble; then only what the run knows."""
        before = self._given_to.get(run.id, {}).get(name)
        found = None
        if self._untouched(run):
            found = self._given.readings.near((run.policy, run.target, name), self._clock.at)
        if before is None:
            self._book.asked(run, known=found is not None)
        return found or before

    def _untouched(self, run: Run) -> bool:
        """Has nothing that is only assumed changed the target since the alert began to fire?"""
        acted, row = self._acted.get(run.target), self._book.heard(run.alert.fingerprint)
        return acted is None or (row is not None and acted < row.changed_at)

    def _card(self, run_id: str, gate: str) -> None:
        if gate not in self._asked:
            self._asked.add(gate)
            if self._given.people == "approve":
                self._virtual.later(THINKING, lambda: self._approve(run_id, gate))

    def _approve(self, run_id: str, gate_id: str) -> None:
        """Everybody who may says yes, one after the other, until it is enough."""
        run = self._book.run(run_id)
        gate = run.gate if run is not None else None
        if gate is None or gate.id != gate_id:
            return
        roles = self._policies.catalog.roles_at(self._clock.at)
        for person in _voters(roles.get(role, frozenset()) for role in gate.required):
            vote = Vote(person, approve=True, at=self._clock.at, via="api", hash=gate.hash)
            self._virtual.tell(run_id, VoteCast(gate_id, vote))
            run = self._book.run(run_id)
            if run is None or run.gate is None or run.gate.id != gate_id or run.gate.state != "open":
                return

    # ── The end ───────────────────────────────────────────────────────────────────────────────────

    def result(self, source: Source) -> Result:
        """What came of it, up to the end of the record."""
        until = max(self._given.until or self._clock.at, self._clock.at)
        self._virtual.until(until)
        self._chores()
        runs = self._book.seen()
        by_policy: defaultdict[str, list[RunSeen]] = defaultdict(list)
        for run in runs:
            by_policy[run.policy].append(run)
        overlaps = overlapping(runs, until)
        policies = []
        for name, versioned in sorted(self._policies.by_name.items()):
            noted = self._book.notes[name]
            one = PolicySeen(
                policy=name,
                mode=versioned.policy.mode,
                troubles=self._matched[name],
                stopped=dict(noted.stopped.most_common()),
                pages=noted.pages,
                answered=noted.answered,
                unknown=noted.unknown,
                overlaps=overlaps.get(name, ()),
            )
            policies.append(summed(one, by_policy[name], until))
        return Result(
            source=source.name,
            since=self._given.since or self._began,
            until=until,
            people=self._given.people,
            deliveries=self.deliveries,
            alerts=self.alerts,
            troubles=self.troubles,
            policies=tuple(policies),
            runs=runs,
            skipped=source.problems.count,
            late=source.order.late,
            disorder=source.order.told,
            unresolved=self._book.firing,
            assumptions=(*ASSUMPTIONS[self._given.people], *_cut(self._given), *source.assumes),
        )


def _voters(roles: Iterable[frozenset[str]]) -> list[str]:
    return list(dict.fromkeys(person for people in roles for person in sorted(people)))


def _cut(given: Given) -> tuple[str, ...]:
    """What is said where the record is read from a moment on."""
    return (SINCE,) if given.since is not None else ()


def _nothing(source: Source, given: Given) -> Result:
    """The record is empty where it counts."""
    now = given.until or given.since or _EPOCH
    return Result(
        source=source.name,
        since=given.since or now,
        until=now,
        people=given.people,
        deliveries=0,
        alerts=0,
        troubles=0,
        policies=tuple(
            PolicySeen(policy=name, mode=one.policy.mode)
            for name, one in sorted(given.policies.by_name.items())
        ),
        runs=(),
        skipped=source.problems.count,
        assumptions=(*ASSUMPTIONS[given.people], *_cut(given), *source.assumes),
    )
