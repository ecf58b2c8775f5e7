"""A replica as `remediator.app` wires one, over a store, a world and people that can be cut off.

Each start of it is a `Process` with everything of its own; what it shares with others is rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from remediator.config import Config
from remediator.core.alert import Delivery
from remediator.core.messages import Act
from remediator.core.policyset import PolicySet
from remediator.engine.decisions import Decisions, Terms
from remediator.engine.desk import PeoplesDesk
from remediator.engine.driver import Driver
from remediator.engine.membership import Membership
from remediator.engine.paging import Paging
from remediator.engine.perform import Performer
from remediator.errors import StoreError
from remediator.people.pages import Pager
from remediator.ports import NOTHING, Ahead, Clock, Reloaded, Tx, Unreadable
from remediator.store.memory import MemoryStore
from remediator.store.postgres_time import ServerTime
from remediator.store.sqlite_rows import micros
from tests.core.campaign import START
from tests.sim.loop import Life
from tests.sim.policies import CATALOG, as_set, read_kept
from tests.sim.world import Transaction, Wire

if TYPE_CHECKING:
    from tests.sim.simulation import Simulation

T = TypeVar("T")

DEBOUNCE = timedelta(seconds=10)
CONFIG = Config.model_validate(
    {
        "people": {name: {} for name in ("amina", "bob", "carl", "dora")},
        "roles": {"oncall": ["bob", "carl"], "lead": ["amina"], "finance": ["amina", "dora"]},
        "escalations": {"default": [{"role": "oncall", "after": "0s"}]},
    }
)


class LocalClock:
    """A machine's own: off by some seconds, sometimes by hours."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim
        self.off = timedelta()

    def now(self) -> datetime:
        return START + timedelta(seconds=self._sim.loop.time()) + self.off

    def monotonic(self) -> float:
        return self._sim.loop.time()


class Line:
    """The store, at the other end of a network: a `remediator.ports.Store`."""

    shared = True

    def __init__(self, process: Process, inner: MemoryStore) -> None:
        self._process = process
        self._sim = process.sim
        self._inner = inner
        self._time = ServerTime(process.replica.clock)
        self._read_at = -1.0

    @property
    def clock(self) -> Clock:
        return self._time

    def follow(self, woken: Callable[[], None]) -> None:
        """Nobody is ever woken: looking every second must do."""

    def unread(self) -> list[Unreadable]:
        return self._inner.unread()

    def _reads_time(self) -> None:
        """A transaction brings the server's time along; that of the last half second will do, too."""
        at = self._sim.loop.time()
        if at >= self._read_at + 0.5:
            self._read_at = at
            now = micros(self._inner.clock.now())
            self._time.read(now, now)

    async def open(self) -> None:
        """It is open."""

    async def open_reading(self) -> None:
        """It is open."""

    async def close(self) -> None:
        """Nothing is held."""

    def write_as(self, replica: str) -> None:
        self._inner.write_as(replica)

    async def _travels(self) -> None:
        sim, process = self._sim, self._process
        if process.life.dead:
            raise asyncio.CancelledError
        await sim.loop.pause(sim.latency(0.0005, 0.01))
        if process.life.dead:
            raise asyncio.CancelledError
        if process.replica.without_store > sim.loop.time():
            await sim.loop.pause(min(2.0, process.replica.without_store - sim.loop.time()))
            raise StoreError("store", "it cannot be reached")

    async def transact(self, work: Callable[[Tx], Awaitable[T]], ahead: Ahead = NOTHING) -> T:
        sim, process = self._sim, self._process
        await self._travels()
        sim.calls += 1
        planned = sim.planned.get(sim.calls, "")
        if planned == "crash before" or sim.odds(0.003):
            sim.crash(process, "before a commit")
            await asyncio.sleep(0)
        if planned == "refused" or sim.store_down > sim.loop.time() or sim.odds(0.004):
            raise StoreError("store", "it takes no commit")
        if sim.odds(0.02):
            self._rolled_back(work)
        writes_as = self._inner._replica
        value = self._inner.do(work)
        sim.committed(writes_as)
        self._reads_time()
        if planned == "crash after" or sim.odds(0.003):
            sim.crash(process, "after a commit")
            await asyncio.sleep(0)
        if planned == "lost" or sim.odds(0.002):
            sim.note(process.name, "the answer of a commit is lost")
            raise StoreError("store", "the answer of a commit was lost")
        await self._travels()
        return value

    def _rolled_back(self, work: Callable[[Tx], Awaitable[T]]) -> None:
        """A conflict at the last moment: all was in vain, and the work is run again."""

        async def in_vain(tx: Tx) -> None:
            await work(tx)
            raise StoreError("store", "conflict")

        try:
            self._inner.do(in_vain)
        except StoreError:
            return

    async def read(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        await self._travels()
        self._reads_time()
        return self._inner.look(work)


class Process:
    """One life of a replica, wired as the daemon is."""

    def __init__(self, replica: Replica, life: Life) -> None:
        self.replica = replica
        self.sim = replica.sim
        self.life = life
        self.name = life.name
        self.open_transactions: list[Transaction] = []
        self.joined = False
        self.killed = False
        sim = self.sim
        self.policies = as_set(replica.reloads)
        self.line = Line(self, sim.store.beside())
        clock = self.line.clock
        slack = sim.people.road(self)
        self.paging = Paging(self.line, clock, Pager([slack], CONFIG, clock).deliver, sim.new_id)
        decisions = Decisions(self.running_set, read_kept, sim.new_id, Terms(DEBOUNCE))
        self.driver = Driver(self.line, decisions, clock, self.paging.poke, self._bug)
        wires = {name: Wire(name, self) for name in ("db", "api", "keyed", "slack", "ledger")}
        self.performer = Performer(self.line, clock, wires, [slack], catalog=lambda: CATALOG, at_once=(32, 2))
        self.driver.attach(self.performer)
        self.membership = Membership(self.line, clock, lambda: self.policies, sim.new_id, replica.name)
        self.membership.attach(self.driver, self.performer)
        self.performer.attach(self.driver, self._page_about, lambda: self.membership.lease)
        self.desk = PeoplesDesk(self.line, self.driver, sim.new_id, self.running_set, self._no_reload)
        self._stop = asyncio.Event()

    def running_set(self) -> PolicySet:
        return self.policies

    async def _bug(self, key: str, text: str) -> None:
        if self.sim.damaged and "ValidationError" in text:  # that a row cannot be read is no defect
            await self.paging.open(key, text)
        else:
            self.sim.defects.append(f"{self.name}: {key}: {text}")

    async def _page_about(self, run: str, about: str, problem: str) -> None:
        if about == "defect":
            self.sim.defects.append(f"{self.name}: {run}: {problem}")
        await self.paging.open(f"{about}:{run}", problem, run=run)

    async def _no_reload(self) -> Reloaded:
        raise AssertionError("nobody reloads through the desk here")

    def may_not_send(self, key: str) -> str:
        """Why this act may not leave from here at this moment, as the rows say; or ""."""
        tables, me = self.sim.store._tables, self.membership.id
        for number, one in tables.effects.items():
            if isinstance(one.effect, Act) and one.effect.key == key:
                return "" if tables.holders[number] == me else "another has taken it over"
        return "nobody is to do it any more"

    async def live(self) -> None:
        """As `App.running`."""
        try:
            async with asyncio.TaskGroup() as tasks:
                loops = [
                    tasks.create_task(self.driver.run(), name="driver"),
                    tasks.create_task(self.paging.run(), name="paging"),
                ]
                await self.membership.join()
                member = tasks.create_task(self.membership.run(), name="membership")
                self.joined = True
                await self._stop.wait()
                self.joined = False
                for loop in loops:
                    loop.cancel()
                await self.performer.finish(7.0)
                member.cancel()
                await self.membership.leave()
        except* StoreError as error:
            self.sim.note(self.name, f"stops: {error.exceptions[0]}")
        self.replica.stopped(self)

    def stop(self) -> None:
        """SIGTERM."""
        self._stop.set()

    async def reload(self) -> None:
        """Another set of policies was read; told to all runs until that succeeds, as `Shelf.tell`."""
        self.policies = as_set(self.replica.reloads)
        while True:
            try:
                return await self.driver.policies_changed()
            except StoreError:
                await self.sim.loop.pause(2.0)

    async def hook(self, delivery: Delivery) -> None:
        """A webhook: answered 2xx once this returns. Raises StoreError for 503."""
        await self.line.transact(lambda tx: tx.put_delivery(delivery))
        self.driver.accepted()


class Replica:
    """A place in which one process after the other lives."""

    def __init__(self, sim: Simulation, name: str) -> None:
        self.sim = sim
        self.name = name
        self.clock = LocalClock(sim)
        self.reloads = 0
        self.without_store = 0.0  # until when it is cut off
        self.without_world = 0.0
        self.process: Process | None = None
        self._lives = 0

    def start(self) -> None:
        """A new process, unless one lives."""
        if self.process is not None:
            return
        self._lives += 1
        life = Life(f"{self.name}.{self._lives}")
        self.process = Process(self, life)
        self.sim.note(life.name, "starts")
        self.sim.loop.spawn(self.process.live(), life)

    def stopped(self, process: Process) -> None:
        """It ended by itself, or as it was asked to."""
        if self.process is process:
            self.process = None
            self.sim.loop.end(process.life)
            self.sim.later(self.sim.latency(0.5, 5.0), self.start)

    def crash(self, why: str) -> None:
        """SIGKILL."""
        process = self.process
        if process is None:
            return
        self.process = None
        process.killed = True
        self.sim.note(process.name, f"CRASH {why}")
        for transaction in process.open_transactions:  # its connections break
            self.sim.later(self.sim.latency(0.01, 1.0), _abort, transaction)
        self.sim.loop.end(process.life)
        self.sim.later(self.sim.latency(0.5, 9.0), self.start)


def _abort(transaction: Transaction) -> None:
    if transaction.state == "open":
        transaction.state = "aborted"
