"""Stories of daemons that share a store: who is gone, who was only frozen, whose policies are the newest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from remediator.core.alert import Delivery
from remediator.core.intention import Call
from remediator.core.messages import START_WITHIN, Act, Card, Done, Refused, Result, Seen, TimePassed
from remediator.core.policyset import PolicySet
from remediator.core.run import Halt, Page, Question, Run, Stage
from remediator.engine.driver import Driver
from remediator.engine.membership import BEAT_S, LOOK_S, MARGIN_S, Membership
from remediator.engine.paging import CLAIM, Paging, acknowledge
from remediator.engine.perform import Performer
from remediator.engine.recovery import LEASE
from remediator.errors import LeaseLost, StoreError
from remediator.ports import CardRef, Disposition, Order, Pending, Replica, RunFilter, Told, Tx
from remediator.store.memory import MemoryStore, MemoryTx
from tests.core.campaign import CATALOG, policy, post, votes
from tests.engine.world import START, Engine, HandClock, alert

PAUSE = policy({"pause": post("/pause/${campaign}")})
GATED = policy({"pause": post("/pause/${campaign}", gate=votes(oncall=1))})


@dataclass
class World:
    """What is sent, in its order; it answers when it is let go on."""

    sent: list[str] = field(default_factory=list)
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    connects: Callable[[], object] = lambda: None
    """What happens while the way to it is made."""

    async def act(self, call: Call, *, order: Order, timeout: float) -> Result:
        del timeout
        self.connects()
        if why := order.late():
            return Refused(f"never sent: {why}")
        self.sent.append(str(call.args["path"]))
        await self.answers.wait()
        return Done()


@dataclass
class Channel:
    """Where all replicas show cards. ``before``: what happens while one is on its way."""

    cards: dict[str, str] = field(default_factory=dict)  # ts → what it shows
    withdrawn: list[str] = field(default_factory=list)
    before: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    road: str = "slack"

    async def card(self, run: Run, ref: CardRef | None) -> CardRef | None:
        assert run.gate is not None
        shows = f"{run.gate.state} {len(run.gate.votes)}"
        if ref is not None and ref.digest == shows:
            return ref
        if self.before:
            await self.before.pop(0)()
        ts = ref.ts if ref is not None else f"{len(self.cards) + 1}"
        self.cards[ts] = shows
        return CardRef(run.gate.id, "C1", ts, shows)

    async def question(self, run: Run, question: Question, ref: CardRef | None) -> CardRef | None:
        del run, question
        return ref

    async def withdraw(self, ref: CardRef) -> None:
        self.withdrawn.append(ref.ts)

    async def page(self, page: Page, people: Sequence[str]) -> Told:
        raise AssertionError((page, people))


@dataclass
class Daemon:
    """One replica, but for its loops: each turn of them is asked for."""

    name: str
    store: MemoryStore
    clock: HandClock
    world: World
    channel: Channel = field(default_factory=Channel)
    acts_at_once: int = 4

    def __post_init__(self) -> None:
        self.engine = Engine(self.store, self.clock, PolicySet.of((), CATALOG))
        self.engine._new_id = self._new_id  # type: ignore[method-assign]
        self.engine.decisions._new_id = self._new_id
        self.driver = Driver(self.store, self.engine.decisions, self.clock, lambda: None, self._never)
        self.performer = Performer(
            self.store,
            self.clock,
            {"api": self.world},  # type: ignore[dict-item]
            [self.channel],
            catalog=lambda: CATALOG,
            at_once=(4, self.acts_at_once),
        )
        self.driver.attach(self.performer)
        self.member = Membership(
            self.store, self.clock, lambda: self.engine.policies, self._new_id, f"host:{self.name}"
        )
        self.member.attach(self.driver, self.performer)
        self.performer.attach(self.driver, self._never, lambda: self.member.lease)
        self.ids = 0

    def _new_id(self, prefix: str) -> str:
        self.ids = getattr(self, "ids", 0) + 1
        return f"{prefix}-{self.name}{self.ids}"

    async def _never(self, *words: str) -> None:
        raise AssertionError(words)

    async def hears(self, *alerts: Any) -> None:
        delivery = Delivery(source="alertmanager", alerts=alerts, received_at=self.clock.now())
        await self.store.transact(lambda tx: tx.put_delivery(delivery))
        await self.driver._drain_inbox()
        await settled()

    @property
    def stale(self) -> bool:
        return self.driver.stale

    def reads(self, version: str) -> None:
        """Its policies are these from now on."""
        self.engine.runs_with(PAUSE, version=version)

    async def run(self) -> Run:
        (run,) = await self.store.read(lambda tx: tx.runs(RunFilter()))
        return run

    async def replicas(self) -> list[Replica]:
        return await self.store.read(lambda tx: tx.replicas())


async def settled() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


@dataclass
class Pair:
    """Two replicas of one store, and one world."""

    a: Daemon
    b: Daemon
    clock: HandClock
    world: World
    channel: Channel

    def later(self, seconds: float) -> None:
        self.clock.at += timedelta(seconds=seconds)

    def runs_with(self, running: Any) -> None:
        for one in (self.a, self.b):
            one.engine.runs_with(running)


@pytest.fixture
async def pair() -> Pair:
    clock, world, channel = HandClock(), World(), Channel()
    first = MemoryStore(clock)
    second = first.beside()
    a, b = Daemon("a", first, clock, world, channel), Daemon("b", second, clock, world, channel)
    both = Pair(a, b, clock, world, channel)
    both.runs_with(PAUSE)
    await a.member.join()
    await b.member.join()
    return both


# ── Gone, or only frozen ──────────────────────────────────────────────────────────────────────────


async def test_what_a_dead_replica_was_doing_goes_on_within_fifteen_seconds(pair: Pair) -> None:
    await pair.b.member.look()
    await pair.a.hears(alert())
    assert pair.world.sent == ["/pause/c-1"]
    waited = 0.0
    while (await pair.b.run()).stage is Stage.ACTING:  # a is dead; b beats and looks
        pair.later(LOOK_S)
        waited += LOOK_S
        await pair.b.member.beat()
    assert waited <= LEASE.total_seconds() + 2 * LOOK_S < 15 - BEAT_S, "even where a beat was just missed"
    assert (await pair.b.run()).stage is Stage.ASKING
    assert pair.world.sent == ["/pause/c-1"], "never a silent second execution"


async def test_who_beats_in_time_keeps_what_it_does(pair: Pair) -> None:
    await pair.a.hears(alert())
    for _ in range(20):
        pair.later(BEAT_S)
        await pair.a.member.beat()
        await pair.b.member.beat()
    assert (await pair.b.run()).stage is Stage.ACTING
    pair.world.answers.set()
    await settled()
    assert (await pair.a.run()).outcome == "fixed"


async def test_what_was_begun_under_a_lease_that_is_over_is_never_sent(pair: Pair) -> None:
    pair.later(LEASE.total_seconds() - MARGIN_S)
    assert pair.a.member.problems() == ["this replica's lease is over: it sends nothing"]
    await pair.a.hears(alert())
    assert pair.world.sent == []
    assert "never sent: this replica's lease was over" in (await pair.a.run()).reason


async def test_what_takes_so_long_to_connect_that_the_lease_ends_is_never_sent(pair: Pair) -> None:
    pair.world.connects = lambda: pair.later(LEASE.total_seconds() - MARGIN_S)
    await pair.a.hears(alert())
    assert pair.world.sent == []
    assert "never sent: this replica's lease was over" in (await pair.a.run()).reason


async def test_its_own_clock_ends_a_lease_before_the_stores_does(pair: Pair) -> None:
    pair.later(LEASE.total_seconds() - MARGIN_S)
    assert not pair.a.member.lease.holds()
    assert [one.host for one in await pair.b.replicas()] == ["host:a", "host:b"], "nobody takes over yet"


async def test_who_was_taken_for_gone_begins_anew_and_its_late_answer_settles_the_question(
    pair: Pair,
) -> None:
    old = pair.a.member.id
    await pair.a.hears(alert())
    await pair.b.member.look()
    pair.later(LEASE.total_seconds())
    await pair.b.member.beat()
    assert (await pair.b.run()).stage is Stage.ASKING
    with pytest.raises(LeaseLost):
        await pair.a.store.transact(lambda tx: tx.put_effects("r", []))
    await pair.a.member.beat()
    assert pair.a.member.id != old
    assert pair.a.member.problems() == []
    pair.world.answers.set()
    await settled()
    run = await pair.a.run()
    assert (run.outcome, run.questions[0].late) == ("fixed", "its lost answer came after all: it was done")
    assert pair.world.sent == ["/pause/c-1"]


async def test_a_beat_that_cannot_be_kept_renews_nothing(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    async def down(*_args: object) -> None:
        raise StoreError("store", "no route")

    pair.later(5)
    with monkeypatch.context() as broken:
        broken.setattr(pair.a.store, "transact", down)
        with pytest.raises(StoreError):
            await pair.a.member.beat()
    pair.later(LEASE.total_seconds() - MARGIN_S - 5)
    assert not pair.a.member.lease.holds()


async def test_a_slow_beat_counts_from_when_it_was_sent(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    real = pair.a.store.transact

    async def slow(work: Callable[[Tx], Awaitable[Any]]) -> Any:
        done = await real(work)
        pair.later(LEASE.total_seconds())  # the answer hangs
        return done

    monkeypatch.setattr(pair.a.store, "transact", slow)
    await pair.a.member.renew()
    assert not pair.a.member.lease.holds()


async def test_a_replica_is_as_old_as_its_first_beat(pair: Pair) -> None:
    before = {one.id: one.since for one in await pair.b.replicas()}
    pair.later(BEAT_S)
    await pair.a.member.beat()
    assert {one.id: one.since for one in await pair.b.replicas()} == before


@pytest.mark.parametrize("who", ["beat", "look", "decision"])
async def test_a_lease_is_over_as_soon_as_its_loss_is_known(pair: Pair, who: str) -> None:
    """By its own count of seconds it would hold, as where another's runs faster."""
    lease = pair.a.member.lease
    await pair.a.hears(alert())
    seen = await pair.b.store.read(lambda tx: tx.holders())
    await pair.b.store.transact(lambda tx: tx.take_over(lost := pair.a.member.id, seen[lost]))
    assert lease.holds()
    match who:
        case "beat":
            await pair.a.member.renew()
            assert pair.a.member.lease.holds()
        case "look":
            await pair.b.member.leave()
            with pytest.raises(LeaseLost):
                await pair.a.member.look()
        case _:
            with pytest.raises(LeaseLost):
                await pair.a.driver.tell("r", TimePassed())
    assert not lease.holds()


async def test_whoever_beats_is_not_taken_over_whatever_the_stores_clock_shows(pair: Pair) -> None:
    """A time server may put it forward by half a minute: more than any lease, and nothing doubts it."""
    await pair.a.hears(alert())
    await pair.b.member.look()
    for _ in range(2):
        pair.later(BEAT_S)
        await pair.a.member.beat()
        pair.clock.off = timedelta(seconds=30)
        await pair.b.member.beat()
        await pair.b.member.beat()
    assert (await pair.b.run()).stage is Stage.ACTING
    assert pair.a.member.problems() == []


async def test_what_cannot_be_taken_over_holds_up_nothing_else(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left by a newer version, perhaps, whose effects this one cannot read."""
    pages: list[str] = []

    async def told(key: str, text: str) -> None:
        pages.append(f"{key} {text}")

    monkeypatch.setattr(pair.b.driver._setbacks, "on_bug", told)
    pair.a.store.write_as("c")  # it comes after a, by its name
    await pair.a.hears(alert())
    pair.a.store.write_as("a")
    await pair.a.store.transact(lambda tx: tx.put_effects("r1", [Card("g1")]))
    real = MemoryTx.take_over

    async def unreadable(self: MemoryTx, replica: str, until: datetime | None) -> list[Pending]:
        if replica == "a":
            raise msgspec.DecodeError("no such effect")
        return await real(self, replica, until)

    monkeypatch.setattr(MemoryTx, "take_over", unreadable)
    await pair.b.member.look()
    assert (await pair.b.run()).stage is Stage.ASKING
    (page,) = pages
    assert page.startswith("bug:holder:a what replica a has left cannot be taken over: DecodeError")


async def test_who_has_just_started_counts_a_whole_lease_before_it_takes_over(pair: Pair) -> None:
    """It was not there to hear the last beat; what was let go is taken at once."""
    await pair.a.hears(alert())
    pair.later(3600)
    await pair.b.member.begin()
    for _ in range(9):
        await pair.b.member.look()
        assert (await pair.b.run()).stage is Stage.ACTING
        pair.later(LOOK_S)
    await pair.b.member.look()
    assert (await pair.b.run()).stage is Stage.ASKING


async def test_an_answer_that_lay_here_while_this_replica_was_frozen_takes_nothing_from_who_has_beaten(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pair.a.hears(alert())
    await pair.b.member.look()
    real = pair.b.store.read

    async def frozen(work: Callable[[Tx], Awaitable[Any]]) -> Any:
        found = await real(work)
        pair.later(LEASE.total_seconds())
        await pair.a.member.renew()
        return found

    with monkeypatch.context() as freezing:
        freezing.setattr(pair.b.store, "read", frozen)
        await pair.b.member.look()
    await pair.b.member.look()
    assert (await pair.b.run()).stage is Stage.ACTING


async def test_who_leaves_hands_over_at_once(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    await pair.a.hears(alert())
    await pair.a.member.leave()
    assert not pair.a.member.lease.holds()
    await pair.b.member.look()
    assert (await pair.b.run()).stage is Stage.ASKING
    assert "(let go)" in {vars(line).get("replica") for line in caplog.records}
    pair.world.answers.set()
    await settled()


# ── A stop ────────────────────────────────────────────────────────────────────────────────────────


async def test_acts_that_wait_for_a_place_are_not_sent_any_more_when_it_stops() -> None:
    clock, world = HandClock(), World()
    one = Daemon("a", MemoryStore(clock), clock, world, acts_at_once=1)
    one.engine.runs_with(PAUSE)
    await one.member.join()
    await one.hears(alert("f1", campaign="c-1"), alert("f2", campaign="c-2"))
    assert world.sent == ["/pause/c-1"]
    stop = asyncio.create_task(one.performer.finish(7.0))
    await settled()
    runs = {run.target: run for run in await one.store.read(lambda tx: tx.runs(RunFilter()))}
    assert "never sent: the daemon stopped" in runs["campaign/c-2"].reason
    assert runs["campaign/c-1"].stage is Stage.ACTING, "what is on the wire may come home"
    world.answers.set()
    await stop
    runs = {run.target: run for run in await one.store.read(lambda tx: tx.runs(RunFilter()))}
    assert runs["campaign/c-1"].outcome == "fixed"
    assert world.sent == ["/pause/c-1"]


# ── A halt ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("scope", "undos", "sent"),
    [
        ("all", False, ["/pause/c-1", "/undo"]),
        ("all", True, ["/pause/c-1"]),
        ("target:campaign/c-2", True, ["/pause/c-1"]),
        ("target:campaign/c-1", True, ["/pause/c-1", "/pause/c-2", "/undo"]),
    ],
)
async def test_what_waits_for_a_place_hears_of_a_halt_that_was_committed_meanwhile(
    scope: str, undos: bool, sent: list[str]
) -> None:
    clock, world = HandClock(), World()
    one = Daemon("a", MemoryStore(clock), clock, world, acts_at_once=1)
    one.engine.runs_with(PAUSE)
    await one.member.join()
    await one.hears(alert("f1", campaign="c-1"), alert("f2", campaign="c-2"))
    runs = {run.target: run for run in await one.store.read(lambda tx: tx.runs(RunFilter()))}
    call, by = Call("http.request", "api", {"path": "/undo"}), clock.now() + START_WITHIN
    there = runs["campaign/c-2"]
    act = Act("pause", 1, call, "k", by, undo=True, policy=there.policy, target=there.target)
    one.performer.start(Pending(99, there.id, act))
    await settled()
    halt = Halt(id="h-1", scope=scope, reason="migration", by="ann", at=clock.now(), undos=undos)
    await one.store.transact(lambda tx: tx.put_halt(halt))
    world.answers.set()
    await settled()
    assert world.sent == sent
    if "/pause/c-2" not in sent:
        run = await one.store.read(lambda tx: tx.run(runs["campaign/c-2"].id))
        assert run is not None
        assert run.outcome == "failed", "certainly not done: nobody is asked"
        assert f"never sent: halted by ann ({scope}): migration" in run.reason


async def test_what_waits_for_a_place_is_not_sent_when_nobody_can_tell_whether_it_is_halted() -> None:
    clock, world = HandClock(), World()
    one = Daemon("a", MemoryStore(clock), clock, world, acts_at_once=1)
    one.engine.runs_with(PAUSE)
    await one.member.join()
    await one.hears(alert("f1", campaign="c-1"), alert("f2", campaign="c-2"))
    read = one.store.read

    async def fails(_work: object) -> None:
        raise StoreError("store", "no route")

    one.store.read = fails  # type: ignore[method-assign, assignment]
    world.answers.set()
    await settled()
    one.store.read = read  # type: ignore[method-assign]
    assert world.sent == ["/pause/c-1"]
    runs = {run.target: run for run in await one.store.read(lambda tx: tx.runs(RunFilter()))}
    assert "whether it is halted cannot be asked: no route" in runs["campaign/c-2"].reason


# ── Policies ──────────────────────────────────────────────────────────────────────────────────────


async def test_older_policies_open_nothing_and_leave_the_inbox_alone(pair: Pair) -> None:
    pair.b.reads("v2")
    await pair.b.member.beat()
    await pair.a.member.beat()
    assert pair.a.stale
    assert "other policies later" in pair.a.member.problems()[0]
    await pair.a.hears(alert())
    assert await pair.a.store.read(lambda tx: tx.runs(RunFilter())) == []
    assert await pair.a.store.read(lambda tx: tx.inbox_depth()) == 1
    pair.a.reads("v2")
    await pair.a.member.beat()
    assert (pair.a.stale, pair.a.member.problems()) == (False, [])


async def test_whoever_reads_older_policies_again_was_told_to(pair: Pair) -> None:
    """A revert: what was current is withdrawn at once, and the others wait until they have read it, too."""
    for one in (pair.a, pair.b):
        one.reads("v2")
        await one.member.beat()
    pair.b.reads("v1")
    await pair.b.member.renew()
    assert not pair.b.stale
    await pair.a.hears(alert())
    assert await pair.a.store.read(lambda tx: tx.runs(RunFilter())) == [], "before its own next beat, too"
    await pair.a.member.beat()
    assert pair.a.stale


async def test_a_run_goes_on_by_the_newest_policies_wherever_it_is_decided(pair: Pair) -> None:
    pair.b.reads("v2")
    await pair.b.member.beat()
    await pair.b.hears(alert())
    (run,) = await pair.b.store.read(lambda tx: tx.runs(RunFilter()))
    await pair.a.member.beat()
    assert pair.a.stale

    async def current(one: Any) -> str | None:
        async def work(tx: Any) -> Any:
            policy = one.engine.policies.by_name[run.policy].policy
            return (await one.engine.decisions._facts(tx, policy, Seen(now=tx.now))).current

        found: str | None = await one.store.transact(work)
        return found

    assert await current(pair.a) == await current(pair.b) == run.version


async def test_when_nobody_has_the_newest_any_more_older_ones_are_current_again(pair: Pair) -> None:
    pair.b.reads("v2")
    await pair.b.member.beat()
    await pair.a.member.beat()
    assert pair.a.member.problems()
    for _ in range(4):  # b is gone
        pair.later(BEAT_S)
        await pair.a.member.beat()
    assert not pair.a.stale
    assert await pair.a.store.read(lambda tx: tx.current_set()) == pair.a.engine.policies.version


async def test_two_sets_side_by_side_do_not_take_turns(pair: Pair) -> None:
    pair.b.reads("v2")
    for _ in range(6):
        pair.later(BEAT_S)
        await pair.b.member.beat()
        await pair.a.member.beat()
        assert (pair.a.stale, pair.b.stale) == (True, False)


async def test_a_rollback_that_all_have_read_is_current(pair: Pair) -> None:
    for one in (pair.a, pair.b):
        one.reads("v2")
        await one.member.beat()
    for one in (pair.a, pair.b):
        one.reads("v1")
        await one.member.beat()
    await pair.a.member.beat()
    assert (pair.a.stale, pair.b.stale) == (False, False)


# ── People ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_card_that_two_replicas_post_stands_once(pair: Pair) -> None:
    pair.runs_with(GATED)

    async def other_is_quicker() -> None:
        gate = f"{(await pair.b.run()).id}.1"
        assert await pair.b.performer._showing.show((await pair.b.run()).id, gate) == ""

    pair.channel.before.append(other_is_quicker)
    await pair.a.hears(alert())
    run = await pair.a.run()
    kept = await pair.a.store.read(lambda tx: tx.card(f"{run.id}.1"))
    assert kept is not None
    assert pair.channel.withdrawn == [ts for ts in pair.channel.cards if ts != kept.ts]
    assert len(pair.channel.withdrawn) == 1


async def test_an_older_state_does_not_stay_over_a_newer_one(pair: Pair) -> None:
    pair.runs_with(GATED)
    await pair.a.hears(alert())
    run = await pair.a.run()
    assert run.gate is not None
    gate = run.gate.id

    async def two_more_changes() -> None:
        """While a draws the first change, b commits and shows another."""
        await pair.b.store.transact(lambda tx: voided(tx, run.id, "denied"))
        assert await pair.b.performer._showing.show(run.id, gate) == ""

    pair.channel.before.append(two_more_changes)
    await pair.a.store.transact(lambda tx: voided(tx, run.id, "expired"))
    assert await pair.a.performer._showing.show(run.id, gate) == ""
    assert pair.channel.cards == {"1": "denied 0"}


async def voided(tx: Tx, run_id: str, state: str) -> None:
    run = await tx.run(run_id)
    assert run is not None
    assert run.gate is not None
    await tx.save_run(msgspec.structs.replace(run, gate=msgspec.structs.replace(run.gate, state=state)), None)


@dataclass
class Pages:
    """Two pagers over one store; the next word is a minute later."""

    pair: Pair
    told: list[str] = field(default_factory=list)
    dies: bool = False
    answers: asyncio.Event | None = None

    def of(self, one: Daemon) -> Paging:
        async def deliver(page: Page) -> Page:
            self.told.append(one.name)
            if self.dies:
                raise asyncio.CancelledError
            await asyncio.sleep(0)
            if self.answers is not None:
                await self.answers.wait()
            at = self.pair.clock.now() + timedelta(minutes=1)
            return msgspec.structs.replace(page, next_at=at, sent=(*page.sent, f"by {one.name}"))

        return Paging(one.store, one.clock, deliver, one._new_id)


async def test_a_page_is_told_by_one_replica(pair: Pair) -> None:
    pages = Pages(pair)
    a, b = pages.of(pair.a), pages.of(pair.b)
    await a.open("trouble", "look at this")
    await asyncio.gather(a.deliver_due(), b.deliver_due(), a.deliver_due(), b.deliver_due())
    assert len(pages.told) == 1
    pair.later(61)
    await asyncio.gather(a.deliver_due(), b.deliver_due())
    assert len(pages.told) == 2


async def test_when_it_dies_while_telling_another_tells(pair: Pair) -> None:
    pages = Pages(pair, dies=True)
    a, b = pages.of(pair.a), pages.of(pair.b)
    await a.open("trouble", "look at this")
    with pytest.raises(asyncio.CancelledError):
        await a.deliver_due()
    pages.dies = False
    await b.deliver_due()
    assert pages.told == ["a"], "it may still be telling"
    pair.later(CLAIM.total_seconds())
    await b.deliver_due()
    assert pages.told == ["a", "b"]


@pytest.mark.parametrize("acked", [False, True])
async def test_a_page_stays_with_whoever_tells_it_however_long_that_takes(pair: Pair, *, acked: bool) -> None:
    pages = Pages(pair, answers=asyncio.Event())
    a, b = pages.of(pair.a), pages.of(pair.b)
    await a.open("trouble", "look at this")
    telling = asyncio.create_task(a.deliver_due())
    await settled()
    for _ in range(5):  # Slack asks for patience, say
        pair.later(CLAIM.total_seconds() / 2)
        await a.deliver_due()
        await b.deliver_due()
    assert pages.told == ["a"]
    (page,) = await pair.b.store.read(lambda tx: tx.pages())
    if acked:
        await pair.b.store.transact(lambda tx: acknowledge(tx, page, "bob"))
        pair.later(CLAIM.total_seconds() / 2)
        await a.deliver_due()
    assert pages.answers is not None
    pages.answers.set()
    await telling
    (page,) = await pair.b.store.read(lambda tx: tx.pages(open_only=False))
    assert (page.sent, page.acked_by, page.next_at is None) == (("by a",), "bob" * acked, acked)
    assert a._in_hand == {}


async def test_a_refusal_that_outlasts_patience_is_paged_once_for_all_replicas(pair: Pair) -> None:
    windowed = policy({"pause": post("/pause/${campaign}")}, bounds={"per_policy": "1 in 24h", "at_once": 1})
    pair.runs_with(windowed)
    await pair.a.hears(alert("f1", campaign="c-1"), alert("f2", campaign="c-2"))
    pair.later(86_000)
    pages = Pages(pair)
    for one in (pair.a, pair.b):
        await pages.of(one).page_impatient(one.engine.policies)
    found = await pair.a.store.read(lambda tx: tx.pages())
    assert [page.key for page in found if page.key.startswith("refused:")] == ["refused:late-campaign:f2"]


async def test_a_refusal_that_somebody_has_read_about_meanwhile_is_not_paged_by_the_other(pair: Pair) -> None:
    await pair.a.hears(alert("f1"))
    pair.later(86_000)
    running = pair.a.engine.policies
    refused = Disposition(
        policy="late-campaign", fingerprint="f9", kind="refused", since=START, refused_since=START
    )
    await pair.a.store.transact(lambda tx: tx.put_disposition(refused))
    pages = Pages(pair)
    await pages.of(pair.a)._page_refusal(refused, running)
    (page,) = await pair.a.store.read(lambda tx: tx.pages())
    acked = msgspec.structs.replace(page, acked_by="bob", acked_at=START)
    await pair.a.store.transact(lambda tx: tx.save_page(acked))
    await pages.of(pair.b)._page_refusal(refused, running)  # it had looked before
    assert await pair.b.store.read(lambda tx: tx.pages()) == []


async def test_what_an_earlier_life_decided_is_not_begun_in_the_next(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer of its commit comes late: meanwhile it was taken over, and has begun anew."""
    real = pair.a.store.transact

    async def late(*asked: Any) -> Any:
        done = await real(*asked)
        if done is not None and getattr(done, "pending", None):
            await pair.b.member.look()
            pair.later(LEASE.total_seconds())
            await pair.b.member.beat()
            monkeypatch.undo()
            await pair.a.member.renew()
        return done

    monkeypatch.setattr(pair.a.store, "transact", late)
    await pair.a.hears(alert())
    assert pair.a.member.problems() == []
    assert pair.world.sent == []
    assert (await pair.b.run()).stage is Stage.ASKING


async def test_a_page_goes_on_from_what_the_others_have_told(pair: Pair) -> None:
    """It was listed long ago; since then another replica has told it, and it is due again."""
    pages = Pages(pair)
    a, b = pages.of(pair.a), pages.of(pair.b)
    await a.open("trouble", "look at this")
    await a.open("more", "and at this")
    real = a._deliver
    met: list[Page] = []

    async def slow(page: Page) -> Page:
        if not met:
            met.append(page)
            await b.deliver_due()
            pair.later(61)
        return await real(page)

    a._deliver = slow
    await a.deliver_due()
    found = await pair.a.store.read(lambda tx: tx.pages())
    assert [page.sent for page in found] == [("by a",), ("by b", "by a")]


async def test_an_act_that_waited_for_its_place_goes_by_the_lease_under_which_it_was_begun(
    pair: Pair,
) -> None:
    pair.a.performer._sending._places = asyncio.Semaphore(1)
    await pair.a.hears(alert("f1", campaign="c-1"), alert("f2", campaign="c-2"))
    assert pair.world.sent == ["/pause/c-1"]
    await pair.b.member.look()
    pair.later(LEASE.total_seconds())
    await pair.b.member.beat()
    await pair.a.member.beat()
    assert pair.a.member.problems() == [], "it has begun anew"
    pair.world.answers.set()
    await settled()
    assert pair.world.sent == ["/pause/c-1"]


async def test_what_nobody_performs_is_lost_only_once_it_is_too_late_to_begin_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer of its commit may still be on its way."""
    monkeypatch.setattr(pair.a.performer, "start", lambda _pending: None)
    await pair.a.hears(alert())
    waited = 0.0
    while (await pair.a.run()).stage is Stage.ACTING and waited < 60:
        pair.later(BEAT_S)
        waited += BEAT_S
        await pair.a.member.beat()
    assert START_WITHIN.total_seconds() < waited < 30
    assert pair.world.sent == []
