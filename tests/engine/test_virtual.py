"""The engine in virtual time is the engine: the same stream leaves the same rows as in SQLite."""

from __future__ import annotations

import asyncio
import tempfile
from collections import deque
from collections.abc import Awaitable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediator.core.alert import Delivery
from remediator.core.evidence import Picture, Reading
from remediator.core.messages import (
    Act,
    Card,
    Done,
    Inquire,
    Inquired,
    Preview,
    Previewed,
    Probe,
    ProbeRead,
    Refused,
    Result,
    StepFinished,
    Unknown,
)
from remediator.core.policy import Policy
from remediator.core.policyset import PolicySet, Versioned
from remediator.engine.decisions import Decisions, Terms
from remediator.engine.desk import PeoplesDesk
from remediator.engine.driver import Driver
from remediator.engine.paging import Paging
from remediator.engine.recovery import Silence, recover
from remediator.engine.virtual import Virtual, VirtualClock, driven
from remediator.ports import Pending, Reloaded, RunFilter, Store, Tx
from remediator.store import open_store
from remediator.store.journal import verify
from remediator.store.memory import MemoryStore
from tests.core.campaign import CATALOG, change, policy, post, proof, undo, votes
from tests.engine.world import START, alert

T = TypeVar("T")

MINUTE = timedelta(minutes=1)
PAUSE = policy(
    {
        "pause": post(
            "/pause/${campaign}",
            gate=votes(oncall=1, within="5m"),
            verify=proof(within="2m", every="30s"),
            undo=undo(after="10m", early="unverified"),
            on_failure="undo_all",
        )
    },
    diagnose={"late": {"use": "sql.query", "via": "db", "with": {"sql": "SELECT 1"}}},
    decide=[{"when": "late.count == 0", "do": "nothing"}, {"do": ["pause"]}],
    bounds={"cooldown": "3m", "per_target": "2 in 1h", "at_once": 1, "deadline": "1h"},
)
CUT = policy({"cut": change()}, policy="cut-budget")


def decisions(policies: PolicySet, ids: dict[str, int]) -> Decisions:
    def new_id(prefix: str) -> str:
        ids[prefix] = ids.get(prefix, 0) + 1
        return f"{prefix}-{ids[prefix]}"

    return Decisions(lambda: policies, _read_old, new_id, Terms(MINUTE))


def _read_old(_kept: object) -> Policy:
    raise AssertionError("no policy changes here")


POLICIES = PolicySet.of((Versioned(one, f"{one.name}@v1") for one in (PAUSE, CUT)), CATALOG)


async def _no_reload() -> Reloaded:
    raise AssertionError


class World:
    """Answers every effect from a list that is used up, round and round."""

    def __init__(self, answers: list[int]) -> None:
        self._answers = deque(answers)

    def _next(self) -> int:
        self._answers.rotate(-1)
        return self._answers[0]

    def event(self, effect: object, now: datetime) -> Any:
        match effect:
            case Probe(round=number, key=key):
                answer = self._next()
                value = {"count": answer % 3, "value": float(answer % 2), "status": 200}
                return ProbeRead(number, key, Reading(now, ok=answer != 5, value=value))
            case Preview(round=number, step=step):
                return Previewed(number, step, Picture(1, "one row"))
            case Act(step=step, attempt=attempt, undo=undoing):
                return StepFinished(step, attempt, undoing, self._result())
            case Inquire(step=step, attempt=attempt, undo=undoing):
                return Inquired(step, attempt, undoing, self._result())
            case Card():
                return None
        raise AssertionError(effect)

    def _result(self) -> Result:
        results: list[Result] = [*[Done()] * 4, Refused("no"), Unknown("who knows")]
        return results[self._next() % 6]


class InVirtualTime:
    """The story as `Virtual` plays it."""

    def __init__(self, answers: list[int]) -> None:
        ids: dict[str, int] = {}
        clock, world = VirtualClock(START), World(answers)
        self.store = MemoryStore(clock)
        deciding = decisions(POLICIES, ids)

        def perform(pending: Pending) -> None:
            event = world.event(pending.effect, clock.at)
            if event is not None:
                self.play.tell(pending.run, event, pending.id)

        self.play = Virtual(self.store, clock, deciding, perform, deciding._new_id)
        self.desk = PeoplesDesk(self.store, self.play.driver, deciding._new_id, lambda: POLICIES, _no_reload)

    async def delivers(self, delivery: Delivery) -> None:
        self.play.deliver(delivery)

    async def passes(self, span: timedelta) -> None:
        self.play.until(self.play.clock.at + span)

    async def asks(self, wish: Awaitable[object]) -> None:
        self.play.do(wish)

    async def crashes(self) -> None:
        self.play.crash()


class OnDisk:
    """The same by awaiting: the driver over SQLite, deadlines met one after the other."""

    def __init__(self, store: Store, clock: VirtualClock, answers: list[int]) -> None:
        self.store, self.clock, self.world = store, clock, World(answers)
        deciding = decisions(POLICIES, {})
        self.driver = Driver(store, deciding, clock, lambda: None, _defect)
        self.driver.attach(self)
        self.paging = Paging(store, clock, _told, deciding._new_id)
        self.desk = PeoplesDesk(store, self.driver, deciding._new_id, lambda: POLICIES, _no_reload)
        self.wanted: deque[Pending] = deque()

    def start(self, pending: Pending) -> None:
        self.wanted.append(pending)

    async def asks(self, wish: Awaitable[object]) -> None:
        await wish
        while self.wanted:
            one = self.wanted.popleft()
            event = self.world.event(one.effect, self.clock.at)
            if event is not None:
                await self.driver.tell(one.run, event, one.id)

    async def delivers(self, delivery: Delivery) -> None:
        await self.asks(self.driver.commit(lambda tx: self.driver.decisions.hear(tx, delivery)))

    async def passes(self, span: timedelta) -> None:
        until = self.clock.at + span
        while (due := await self.store.read(lambda tx: tx.next_due())) is not None and due <= until:
            self.clock.at = max(self.clock.at, due)
            await self.asks(self.driver.meet_deadlines())
            await self.asks(self.paging.deliver_due())
        self.clock.at = until

    async def crashes(self) -> None:
        await self.asks(recover(self.store, self.driver, self, Silence(self.clock)))


async def _defect(key: str, text: str) -> None:
    raise AssertionError(f"{key}: {text}")


async def _told(page: Any) -> Any:
    return msgspec.structs.replace(page, next_at=None)


async def play(story: InVirtualTime | OnDisk, moves: list[tuple[Any, ...]]) -> None:
    starts = START
    for move in moves:
        match move:
            case ("alert", str(fingerprint), str(campaign), bool(firing)):
                starts += timedelta(seconds=1)
                one = alert(fingerprint, campaign=campaign, firing=firing, started=starts)
                await story.delivers(Delivery(source="alertmanager", alerts=(one,), received_at=START))
            case ("wait", int(seconds)):
                await story.passes(timedelta(seconds=seconds))
            case ("vote", bool(approve)):
                for run in reversed(await story.store.read(lambda tx: tx.runs(RunFilter(state="waiting")))):
                    assert run.gate is not None
                    await story.asks(story.desk.vote(run.gate.id, by="bob", approve=approve, via="api"))
            case ("halt", bool(on)):
                halts = await story.store.read(lambda tx: tx.halts())
                if on:
                    await story.asks(story.desk.halt(by="bob", scope="all", reason="incident"))
                for halt in halts if not on else []:
                    await story.asks(story.desk.resume(halt.id, by="bob"))
            case ("crash",):
                await story.crashes()


async def left(tx: Tx) -> dict[str, Any]:
    """Every row that the stream left."""
    journals = {name: await tx.read_journal(name) for name in await tx.journals()}
    assert [verify(lines) for lines in journals.values()] == [None] * len(journals)
    return {
        "runs": await tx.runs(RunFilter(limit=1000)),
        "dispositions": await tx.dispositions(),
        "alerts": await tx.alerts(firing_only=False),
        "pages": await tx.pages(open_only=False),
        "pending": [(one.run, one.effect) for one in await tx.pending()],
        "journals": {
            name: [(line.at, line.kind, line.hash) for line in lines] for name, lines in journals.items()
        },
        "next": await tx.next_due(),
    }


moves = st.lists(
    st.one_of(
        st.tuples(
            st.just("alert"),
            st.sampled_from(["f1", "f2", "f3"]),
            st.sampled_from(["c-1", "c-2"]),
            st.sampled_from([True, True, False]),
        ),
        st.tuples(st.just("wait"), st.sampled_from([1, 20, 60, 150, 400, 1200, 5000])),
        st.tuples(st.just("vote"), st.sampled_from([True, True, True, False])),
        st.tuples(st.just("halt"), st.booleans()),
        st.tuples(st.just("crash")),
    ),
    min_size=4,
    max_size=14,
)


@settings(max_examples=25, deadline=None)
@given(moves, st.lists(st.integers(0, 5), min_size=1, max_size=9))
def test_the_same_stream_leaves_the_same_rows_as_in_sqlite(
    moves: list[tuple[Any, ...]], answers: list[int]
) -> None:
    virtual = InVirtualTime(answers)
    driven(play(virtual, moves))

    async def on_disk() -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            clock = VirtualClock(START)
            store = open_store(f"sqlite:///{Path(folder) / 'state.db'}", clock)
            await store.open()
            try:
                await play(OnDisk(store, clock, answers), moves)
                return await store.read(left)
            finally:
                await store.close()

    assert virtual.store.look(left) == asyncio.run(on_disk())


def held(story: InVirtualTime) -> list[tuple[str, str]]:
    runs = story.store.look(lambda tx: tx.runs(RunFilter()))
    return [(run.policy, str(run.outcome or run.stage)) for run in reversed(runs)]


def test_a_story_of_a_day_is_told_at_once() -> None:
    """One, so that the property above is seen to reach something."""
    story = InVirtualTime([1])
    story.play.deliver(Delivery(source="x", alerts=(alert(),), received_at=START))
    assert held(story) == [("late-campaign", "waiting"), ("cut-budget", "waiting")]
    driven(play(story, [("vote", True), ("wait", 86_400)]))
    lines = story.store.look(lambda tx: tx.read_journal("r-1"))
    assert {"opened", "gate-opened", "started", "unverified", "undo-started"} <= {line.kind for line in lines}
    assert len(held(story)) > 10


def test_a_crash_between_the_intent_and_the_answer_is_unknown() -> None:
    story = InVirtualTime([1])
    perform = story.play.perform

    def until_an_act(pending: Pending) -> None:
        if isinstance(pending.effect, Act) and story.play.perform is not perform:
            story.play.perform = perform
            story.play.crash()
        else:
            perform(pending)

    story.play.perform = until_an_act
    story.play.deliver(Delivery(source="x", alerts=(alert(),), received_at=START))
    driven(play(story, [("vote", True)]))
    kinds = [line.kind for line in story.store.look(lambda tx: tx.read_journal("r-1"))]
    assert "unknown" in kinds


def test_whoever_waits_for_something_else_is_told_so() -> None:
    with pytest.raises(RuntimeError, match="nothing may wait"):
        driven(asyncio.sleep(0))
