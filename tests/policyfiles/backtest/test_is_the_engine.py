"""A backtest finds exactly the runs that the engine opens, given the same alerts.

The other side is the driver over SQLite, deadline by deadline, in a world that answers alike; that world
is written here once more, and shares nothing with the replay's.
"""

from __future__ import annotations

import asyncio
import heapq
import os
import tempfile
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remediator.core.alert import Alert, Delivery
from remediator.core.catalog import Risk
from remediator.core.evidence import Picture, Reading
from remediator.core.messages import (
    Act,
    Card,
    Counted,
    Done,
    Preview,
    Previewed,
    Probe,
    ProbeRead,
    StepFinished,
    VoteCast,
)
from remediator.core.policy import Policy
from remediator.core.policyset import PolicySet, Versioned
from remediator.core.run import Page, Run, Vote
from remediator.engine.decisions import Decisions, Terms
from remediator.engine.driver import Driver
from remediator.engine.virtual import Virtual, VirtualClock
from remediator.policyfiles.backtest import book, replay
from remediator.policyfiles.backtest.book import Book
from remediator.policyfiles.backtest.readings import Readings
from remediator.policyfiles.backtest.replay import Given, backtest
from remediator.policyfiles.backtest.result import RunSeen
from remediator.policyfiles.backtest.sources import Order, Problems
from remediator.ports import NOTHING, Ahead, Disposition, Pending, RunFilter, Scope, Store, Tx
from remediator.store import open_store
from remediator.store.memory_runs import RunChanges
from tests.core.campaign import CATALOG, ROLES, budget_probe, change, policy, post, proof, undo, votes
from tests.engine.world import START

pytestmark = pytest.mark.no_cover

EXAMPLES = 20 if os.environ.get("CI") == "true" else 30
MINUTE = timedelta(minutes=1)
DEBOUNCE = MINUTE

ROWS = [{"id": "r-1"}, {"id": "r-2"}]

Recorded = dict[tuple[str, str], list[tuple[datetime, float]]]
"""(policy, target) → when its probe was read, and what."""

Told = tuple[str, str, str, str, str, tuple[tuple[str, datetime], ...], int, int]
"""Policy, target, opened, closed, outcome, steps with their starts, gates, pages."""

Found = tuple[list[Told], dict[tuple[str, str], int]]
"""Every run, and how often each bound of a policy began to stand in an alert's way."""


# ── The engine over SQLite ────────────────────────────────────────────────────────────────────────


class Daemon:
    """The driver over a real store; effects are answered, deadlines met, people vote after two minutes."""

    def __init__(
        self, store: Store, clock: VirtualClock, policies: PolicySet, recorded: Recorded, people: str
    ):
        self.store, self.clock, self.policies = store, clock, policies
        self.stopped: Counter[tuple[str, str]] = Counter()
        self.pages: Counter[str] = Counter()
        self.unanswered: set[str] = set()
        self.recorded, self.people = recorded, people
        numbers = count(1)
        terms = Terms(DEBOUNCE)
        self.decisions = Decisions(lambda: policies, _no_old, lambda one: f"{one}-{next(numbers):09}", terms)
        watched: Any = WatchedStore(store, self)
        self.driver = Driver(watched, self.decisions, clock, lambda: None, _defect)
        self.driver.attach(self)
        self.wanted: deque[Pending] = deque()
        self.agenda: list[tuple[datetime, int, str, str]] = []
        self.turns = count()
        self.known: dict[str, float] = {}
        self.changed: dict[str, datetime] = {}
        self.gates: set[str] = set()

    def start(self, pending: Pending) -> None:
        self.wanted.append(pending)

    async def does(self, work: Awaitable[object]) -> None:
        await work
        while self.wanted:
            await self.answers(self.wanted.popleft())

    async def until(self, at: datetime) -> None:
        while True:
            due = await self.store.read(lambda tx: tx.next_due())
            times = [one for one in (due, self.agenda[0][0] if self.agenda else None) if one is not None]
            if not times or min(times) > at:
                break
            self.clock.at = max(self.clock.at, min(times))
            while self.agenda and self.agenda[0][0] <= self.clock.at:
                _, _, run, gate = heapq.heappop(self.agenda)
                await self.approves(run, gate)
            await self.does(self.driver.meet_deadlines())
            await self.store.transact(_hears_pages)
        self.clock.at = max(self.clock.at, at)

    async def hears(self, delivery: Delivery) -> None:
        await self.until(delivery.received_at)
        await self.does(self.driver.commit(lambda tx: self.decisions.hear(tx, delivery)))

    async def answers(self, pending: Pending) -> None:
        match pending.effect:
            case Probe(round=number, key=key):
                value = await self.reads(pending.run, key)
                if value is not None:
                    event = ProbeRead(number, key, Reading(self.clock.at, ok=True, value=value))
                    await self.driver.tell(pending.run, event, pending.id)
            case Preview(round=number, step=step):
                await self.driver.tell(pending.run, Previewed(number, step, Picture(0, "unseen")), pending.id)
            case Act(step=step, attempt=attempt, undo=undoing, call=call):
                if call.args.get("path") != "/safe/x":
                    self.changed[(await self.run(pending.run)).target] = self.clock.at
                result = Done({"restore": {"table": "t", "rows": []}})
                await self.driver.tell(pending.run, StepFinished(step, attempt, undoing, result), pending.id)
            case Card(gate=gate) if gate not in self.gates:
                self.gates.add(gate)
                if self.people == "approve":
                    at = self.clock.at + 2 * MINUTE
                    heapq.heappush(self.agenda, (at, next(self.turns), pending.run, gate))
            case _:
                pass

    async def reads(self, run_id: str, key: str) -> dict[str, Any] | None:
        if not key.startswith("diagnose:"):
            return {"value": 0}
        run = await self.run(run_id)
        row = await self.store.read(lambda tx: tx.alert(run.alert.fingerprint))
        assert row is not None
        changed = self.changed.get(run.target)
        if changed is None or changed < row.changed_at:
            near = [
                (abs(at - self.clock.at), at, value)
                for at, value in self.recorded.get((run.policy, run.target), ())
                if abs(at - self.clock.at) <= 5 * MINUTE
            ]
            if near:
                self.known[run_id] = min(near)[2]
        left = self.known.get(run_id)
        if left is None:
            self.unanswered.add(run_id)
        return None if left is None else {"row": {"left": left}, "rows": ROWS, "count": 1}

    async def run(self, run_id: str) -> Run:
        found = await self.store.read(lambda tx: tx.run(run_id))
        assert found is not None
        return found

    async def approves(self, run_id: str, gate_id: str) -> None:
        """Who holds a role says yes, in order, until it is enough."""
        first = (await self.run(run_id)).gate
        for role in first.required if first is not None else ():
            for person in sorted(ROLES[role]):
                gate = (await self.run(run_id)).gate
                if gate is None or gate.id != gate_id or gate.state != "open":
                    return
                vote = Vote(person, approve=True, at=self.clock.at, via="api", hash=gate.hash)
                await self.does(self.driver.tell(run_id, VoteCast(gate_id, vote)))


class WatchedStore:
    """A store whose deciding transactions are looked at: which refusals and pages they write."""

    def __init__(self, store: Store, daemon: Daemon) -> None:
        self.store, self.daemon = store, daemon
        self.read, self.unread = store.read, store.unread

    async def transact(self, work: Callable[[Any], Awaitable[Any]], ahead: Ahead = NOTHING) -> Any:
        return await self.store.transact(lambda tx: work(WatchedTx(tx, self.daemon)), ahead)


class WatchedTx:
    def __init__(self, tx: Tx, daemon: Daemon) -> None:
        self.tx, self.daemon = tx, daemon

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tx, name)

    async def put_disposition(self, one: Disposition) -> None:
        await self.tx.put_disposition(one)
        if one.kind == "refused" and one.since == self.daemon.clock.at:
            self.daemon.stopped[one.policy, one.bound] += 1

    async def put_page(self, page: Page) -> bool:
        put = await self.tx.put_page(page)
        self.daemon.pages[page.run] += put and page.run not in self.daemon.unanswered
        return put


def _no_old(_kept: object) -> Policy:
    raise AssertionError("no policy changes here")


async def _defect(key: str, text: str) -> None:
    raise AssertionError(f"{key}: {text}")


async def _hears_pages(tx: Tx) -> None:
    """Somebody has heard of every page: it is due no more."""
    for page in (await tx.due(1000)).pages:
        await tx.save_page(msgspec.structs.replace(page, next_at=None))


# ── Two stories ───────────────────────────────────────────────────────────────────────────────────


@dataclass
class Story:
    policies: list[Policy]
    stream: list[Delivery]
    recorded: Recorded
    people: str = "approve"

    @property
    def running(self) -> PolicySet:
        return PolicySet.of((Versioned(one, f"{one.name}@v1") for one in self.policies), CATALOG)

    @property
    def end(self) -> datetime:
        return self.stream[-1].received_at + 200 * MINUTE


@dataclass
class Stream:
    story: Story
    name: str = "a story"
    assumes: tuple[str, ...] = ()
    done: float = 0.0
    problems: Problems = field(default_factory=Problems)
    order: Order = field(default_factory=Order)

    def deliveries(self) -> Iterator[Delivery]:
        yield from self.story.stream


def replayed(story: Story) -> Found:
    readings = Readings()
    for (name, target), when in story.recorded.items():
        for at, left in when:
            value = {"row": {"left": left}, "rows": ROWS, "count": 1}
            readings.add((name, target, "budget"), Reading(at, ok=True, value=value))
    people: Any = story.people
    found = backtest(Stream(story), Given(story.running, readings, people, DEBOUNCE, until=story.end))
    runs = sorted(
        (
            one.policy,
            one.target,
            str(one.opened_at),
            str(one.closed_at),
            str(one.outcome),
            tuple(sorted((step.step, step.at) for step in one.steps)),
            one.gates,
            one.pages,
        )
        for one in found.runs
    )
    return runs, {(one.policy, bound): n for one in found.policies for bound, n in one.stopped.items()}


def lived(story: Story) -> Found:
    async def live() -> tuple[list[Run], Daemon]:
        with tempfile.TemporaryDirectory() as folder:
            clock = VirtualClock(story.stream[0].received_at)
            store = open_store(f"sqlite:///{Path(folder) / 'state.db'}", clock)
            await store.open()
            try:
                daemon = Daemon(store, clock, story.running, story.recorded, story.people)
                for delivery in story.stream:
                    await daemon.hears(delivery)
                await daemon.until(story.end)
                return await store.read(lambda tx: tx.runs(RunFilter(limit=10_000))), daemon
            finally:
                await store.close()

    found, daemon = asyncio.run(live())
    runs = sorted(
        (
            run.policy,
            run.target,
            str(run.opened_at),
            str(run.closed_at),
            str(run.outcome),
            tuple(sorted((one.name, one.started_at) for one in run.steps.values() if one.started_at)),
            len(run.all_gates),
            daemon.pages[run.id],
        )
        for run in found
    )
    return runs, dict(daemon.stopped)


# ── Random stories ────────────────────────────────────────────────────────────────────────────────

NAMES = ("Late", "Stuck")
CAMPAIGNS = ("c-1", "c-2")
MATCHES = (
    ['{alertname="Late"}'],
    ['{alertname=~"Late|Stuck", campaign!="c-2"}'],
    ['{alertname!="Late", campaign=~"c-.*"}', '{alertname="Late", campaign="c-2"}'],
    ['{campaign=~".+"}'],
)
STEPS: tuple[dict[str, Any], ...] = (
    {"pause": post("/pause/${campaign}")},
    {"pause": post("/pause/${campaign}", gate=votes(oncall=1, within="10m"), verify=proof(**{"for": "1m"}))},
    {"pause": post("/pause/${campaign}", verify=proof(), undo=undo(after="10m", early="resolved"))},
    {"cut": change(gate=votes(oncall=1, finance=1, within="10m"))},
    {
        "tell": post("/safe/x", gate=None),
        "pause": post("/p", gate=votes(oncall=1, within="1m"), verify={"none": "nobody knows"}),
    },
    {"tell": post("/safe/x", gate=None)},
    {"tell": post("/safe/x", gate=None), "cancel": post("/c/${steps.tell.result.json.id}")},
    {"every": post("/p/${each.id}", for_each="${budget.rows}", at_most=5, undo=undo(after="40m"))},
)
"""The last one acts on each row that its probe read. The one before it fails: nobody has answered so."""
BREAKERS: tuple[dict[str, Any], ...] = tuple(
    {"breaker": {"failures": failures, "within": "1h", "mode": mode, "for": lasts}}
    for failures, mode, lasts in ((1, "observe", "40m"), (2, "suggest", "2h"))
)


@st.composite
def a_policy(draw: st.DrawFn, number: int) -> Policy:
    steps = draw(st.sampled_from(STEPS))
    rest: dict[str, Any] = {
        "policy": f"p-{number}",
        "mode": draw(st.sampled_from(["act", "act", "act", "suggest", "observe"])),
        "match": draw(st.sampled_from(MATCHES)),
        "recheck": draw(st.sampled_from(["1m", "5m", "20m"])),
        "bounds": {
            "cooldown": draw(st.sampled_from(["0s", "7m", "30m"])),
            "per_target": draw(st.sampled_from(["1 in 1h", "3 in 2h"])),
            "per_policy": draw(st.sampled_from(["2 in 30m", "9 in 24h"])),
            "at_once": draw(st.sampled_from([1, 2])),
            "deadline": draw(st.sampled_from(["25m", "6h"])),
            **draw(
                st.sampled_from([{}, {}, {"budget": "pauses"}, {"windows": {"not": ["10:20-10:50 UTC"]}}])
            ),
            **draw(st.sampled_from([{}, *BREAKERS])),
        },
    }
    takes = draw(st.sampled_from(["do", "do", "try"] if len(steps) > 1 else ["do"]))
    rest["decide"] = [{takes: list(steps)}]
    if "every" in steps or draw(st.booleans()):
        rest["diagnose"] = budget_probe()
        rest["decide"] = [{"when": "budget.row.left > 5.0", "do": "nothing"}, *rest["decide"]]
    if draw(st.booleans()):
        rest["params"] = {"campaign": {"from": "annotations.campaign", "pattern": "[a-z0-9-]{1,20}"}}
    return policy(steps, **rest)


@st.composite
def a_stream(draw: st.DrawFn) -> list[Delivery]:
    """Alerts that fire, are repeated, resolve, flap, and come late."""
    at, stream = START, list[Delivery]()
    began: dict[str, datetime] = {}
    for _ in range(draw(st.integers(2, 12))):
        at += timedelta(seconds=draw(st.sampled_from([0, 3, 31, 67, 149, 307, 911, 2003])))
        alerts = []
        for _ in range(draw(st.sampled_from([1, 1, 2, 3]))):
            name, campaign = draw(st.sampled_from(NAMES)), draw(st.sampled_from(CAMPAIGNS))
            fingerprint = f"{name}-{campaign}"
            how = draw(st.sampled_from(["fires", "fires", "again", "ends", "late"]))
            if how == "again" or fingerprint not in began:
                began[fingerprint] = at
            starts_at = began[fingerprint] - (30 * MINUTE if how == "late" else timedelta())
            over = how in ("ends", "late")
            says = draw(st.sampled_from([campaign] * 6 + ["c 3"]))
            told = draw(st.sampled_from([campaign] * 4 + ["c-1", "c-2"]))
            alerts.append(
                Alert(
                    fingerprint=fingerprint,
                    status="resolved" if over else "firing",
                    labels={"alertname": name, "campaign": says},
                    annotations={"campaign": told, "value": str(len(stream))},
                    starts_at=starts_at,
                    ends_at=(at if how == "ends" else starts_at + MINUTE) if over else None,
                )
            )
        stream.append(Delivery(source="x", alerts=tuple(alerts), received_at=at))
    return stream


@st.composite
def stories(draw: st.DrawFn) -> Story:
    policies = [draw(a_policy(number)) for number in range(draw(st.integers(1, 3)))]
    minutes = st.lists(st.tuples(st.integers(0, 120), st.sampled_from([1.0, 9.0])), max_size=8)
    recorded: Recorded = {
        (one.name, f"campaign/{campaign}"): [
            (START + n * MINUTE, left) for n, left in dict(draw(minutes)).items()
        ]
        for one in policies
        for campaign in CAMPAIGNS
    }
    return Story(
        policies, draw(a_stream()), recorded, draw(st.sampled_from(["approve", "approve", "silent"]))
    )


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stories())
def test_a_backtest_finds_the_runs_that_the_engine_opens(story: Story) -> None:
    assert replayed(story) == lived(story)


def test_an_undo_that_is_made_of_what_the_act_answered_is_taken_to_work() -> None:
    """The world of the other side answers no such thing, so this is not compared."""
    made = undo("/resume/${steps.pause.result.json.id}", after="10m")
    held = policy({"pause": post("/pause/x", undo=made)}, match=MATCHES[0], bounds={"cooldown": "6h"})
    story = Story([held], flapping().stream, {})
    found = backtest(Stream(story), Given(story.running, until=story.end))
    assert [(one.outcome, one.undone, one.pages) for one in found.runs[:1]] == [("fixed", ("pause",), 0)]
    assert found.runs[0].held_from == START


# ── The property can fail ─────────────────────────────────────────────────────────────────────────


def flapping() -> Story:
    """An alert that fires for half an hour, is repeated, ends, and fires again; two runs at least."""

    def one(minute: float, firing: bool, began: float) -> Delivery:
        about = {"alertname": "Late", "campaign": "c-1"}
        starts_at, at = START + began * MINUTE, START + minute * MINUTE
        status: Any = "firing" if firing else "resolved"
        alert = Alert(
            fingerprint="f", status=status, labels=about, starts_at=starts_at, ends_at=None if firing else at
        )
        return Delivery(source="x", alerts=(alert,), received_at=at)

    stream = [one(0, True, 0), one(5, True, 0), one(30, True, 0), one(31, False, 0), one(50, True, 50)]
    pauses = policy(STEPS[1], match=MATCHES[0], bounds={"cooldown": "7m", "per_target": "9 in 24h"})
    return Story([pauses], stream, {})


def test_the_story_has_what_a_bug_could_miss() -> None:
    story = flapping()
    found = replayed(story)
    assert found == lived(story)
    assert len(found[0]) >= 5
    assert {one[4] for one in found[0]} == {"fixed"}
    assert sum(found[1].values()) > 0


def renamed() -> Story:
    """A repeat brings other labels: what is decided later is about these."""
    story = flapping()
    first, again, *rest = story.stream
    (alert,) = again.alerts
    other = msgspec.structs.replace(alert, labels={**alert.labels, "campaign": "c-2"})
    story.stream = [first, msgspec.structs.replace(again, alerts=(other,)), *rest]
    return story


def misread() -> Story:
    """It is refused for what it says, until a repeat says something that can be read."""
    story = renamed()
    first, again, *rest = story.stream
    (alert,) = first.alerts
    other = msgspec.structs.replace(alert, labels={**alert.labels, "campaign": "c 3"})
    story.stream = [msgspec.structs.replace(first, alerts=(other,)), again, *rest]
    return story


def readdressed() -> Story:
    """A repeat speaks of another campaign while people think about the first; its figure is for people."""
    story = flapping()
    asks = policy(
        STEPS[1],
        match=MATCHES[0],
        params={"campaign": {"from": "annotations.campaign", "pattern": "[a-z0-9-]{1,20}"}},
    )
    (alert,) = story.stream[0].alerts

    def says(after: float, campaign: str) -> Delivery:
        said = {"campaign": campaign, "value": f"{after}"}
        other = msgspec.structs.replace(alert, annotations=said)
        return Delivery(source="x", alerts=(other,), received_at=START + after * MINUTE)

    return Story([asks], [says(0, "c-1"), says(0.5, "c-1"), says(1, "c-2"), says(5, "c-2")], {})


def telling() -> Story:
    """A safe step after each reading: what is on record later is believed, since nothing was changed."""
    told = policy(
        {"tell": post("/safe/x", gate=None)},
        match=MATCHES[0],
        diagnose=budget_probe(),
        decide=[{"when": "budget.row.left > 5.0", "do": "nothing"}, {"do": ["tell"]}],
        recheck="20m",
        bounds={"cooldown": "0s", "per_target": "9 in 24h"},
    )
    readings = [(START + minute * MINUTE, left) for minute, left in ((0, 1.0), (20, 9.0), (40, 1.0))]
    return Story([told], flapping().stream[:2], {("late-campaign", "campaign/c-1"): readings})


def failing() -> Story:
    """Each run fails, a person is told, and the breaker steps the policy down to observing."""
    steps = STEPS[-2]
    breaks = policy(
        steps,
        match=MATCHES[0],
        recheck="5m",
        decide=[{"do": list(steps)}],
        bounds={"cooldown": "0s", "per_target": "9 in 24h", **BREAKERS[1]},
    )
    return Story([breaks], flapping().stream[:2], {})


def test_the_other_stories_have_what_a_bug_could_miss() -> None:
    told, failed = replayed(telling()), replayed(failing())
    assert told == lived(telling())
    assert [one[4] for one in told[0]][:3] == ["fixed", "nothing-to-do", "fixed"]
    assert failed == lived(failing())
    assert replayed(renamed()) == lived(renamed())
    assert replayed(misread()) == lived(misread())
    assert replayed(readdressed()) == lived(readdressed())
    assert [(one[1], one[4]) for one in replayed(readdressed())[0]][:2] == [
        ("campaign/c-1", "refused"),
        ("campaign/c-2", "fixed"),
    ]
    assert str(START + 5 * MINUTE) in {one[2] for one in replayed(misread())[0]}
    assert sum(one[7] for one in failed[0]) > 0, failed
    assert {"failed"} < {one[4] for one in failed[0]}, failed


def no_deadlines(self: Virtual, at: datetime) -> None:
    self.clock.at = max(self.clock.at, at)


TRUE_COUNT = RunChanges.count


async def forgets_failures(self: RunChanges, scope: Scope, counted: Counted) -> None:
    if counted.kind != "failed":
        await TRUE_COUNT(self, scope, counted)


def asks_twice(run: Run) -> RunSeen:
    seen = TRUE_SEEN(run)
    return msgspec.structs.replace(seen, gates=2 * seen.gates)


TRUE_SEEN = book._seen

BUGS: dict[str, tuple[Any, str, Any]] = {
    "a safe step changes its target": (replay, "call_risk", lambda *_: Risk.DISRUPTIVE),
    "nobody counts refusals": (Book, "stood", lambda *_: None),
    "gates are counted twice": (book, "_seen", asks_twice),
    "a repeat is not kept": (Book, "hear_again", lambda *_: None),
    "nobody is paged": (Book, "paged", lambda *_: None),
    "failures are forgotten": (RunChanges, "count", forgets_failures),
    "no deadline is met: nothing is rechecked": (Virtual, "until", no_deadlines),
    "whatever was heard before is a repeat": (
        replay._Replay,
        "_repeats",
        lambda self, delivery: all(self._book.heard(one.fingerprint) for one in delivery.alerts),
    ),
    "a refusal for what was said stands for ever": (book, "misread", lambda _: False),
    "runs are deaf to other words": (replay._Replay, "_runs_hear", lambda *_: False),
    "people think for three minutes": (replay, "THINKING", 3 * MINUTE),
    "an act is answered twice as if it were two": (replay, "assuming", lambda policies: policies),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_in_the_replay_is_caught(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, planted = BUGS[bug]
    stories = [flapping(), renamed(), misread(), readdressed(), telling(), failing()]
    true = [lived(story) for story in stories]
    monkeypatch.setattr(where, name, planted)
    assert [replayed(story) for story in stories] != true
