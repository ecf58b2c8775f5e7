"""One daemon, one alert, and SIGKILL at one exact point: at the n-th COMMIT, or at the n-th request.

A COMMIT is met before the store hears it, or after it has done it and before the daemon knows. On
PostgreSQL a proxy counts them, on SQLite the connection under the daemon (`dying`); requests are counted by
the service. Then the daemon is started again, and the judge of the storms looks.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random

import aiohttp

from tests.faults.checker import Heard, check, keep
from tests.faults.cluster import ASK_WITHIN, Cluster, Replica, config
from tests.faults.dying import ARMED
from tests.faults.lines import Line
from tests.faults.peer import Effect, Mood, running_peer
from tests.faults.people import People
from tests.faults.policies import AGREED, AWARDED, AWARDS, BLIND, HELD, KEYED, PROVED, policies
from tests.faults.storm import awards, look_at_awards, seen
from tests.rig.daemon import Daemon, alert, webhook
from tests.rig.patience import PATIENCE_S
from tests.rig.pgproxy import Cut, Proxy, proxy_to
from tests.rig.postgres import Server
from tests.rig.processes import free_port, scratch
from tests.rig.slack import FakeSlack
from tests.rig.webhook import Webhook, running_webhook

ACTS = (PROVED, BLIND, AGREED, HELD, KEYED, AWARDED)
STORES = ("sqlite", "postgres")
MOMENTS = ("before commit", "after commit", "request, and it is done", "request, and it is not")
THING = "struck"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Point:
    """Where it dies: at this moment of the n-th COMMIT or request that this kind of run brings about."""

    store: str
    act: str
    moment: str
    number: int

    def __str__(self) -> str:
        return f"{self.store}, {self.act}: {self.moment} {self.number}"


@dataclass(frozen=True)
class Came:
    """What came of it. ``reached``: it died there; else the run was over before."""

    reached: bool
    problems: list[str]


@dataclass
class Stage:
    """A daemon that will die."""

    point: Point
    cluster: Cluster
    people: People
    loyalty: Server
    database: str
    pager: Webhook

    @property
    def replica(self) -> Replica:
        """The only one."""
        return self.cluster.replicas[0]

    async def play(self) -> Came:
        """Fire, wait until it dies or is over, start it again, wait, look."""
        self._arm()
        awarded: set[str] = set()
        self.people.happened = seen(self.cluster.peer, awarded)
        self.people.paged = lambda run: run in self._notified()  # nobody settles what they were not told of
        looking = asyncio.create_task(look_at_awards(self.loyalty, self.database, awarded))
        working = asyncio.create_task(self.people.work())
        accepted = asyncio.create_task(self._deliver())
        try:
            await self._until_over(PATIENCE_S, or_dead=True)
            reached = not self.replica.lives
            if reached:
                self._disarm()
                await self.replica.start()
                await self._until_over(PATIENCE_S)
            await accepted
        finally:
            for one in (looking, working, accepted):
                one.cancel()
        return Came(reached, await self._look())

    def _arm(self) -> None:
        peer, number, moment = self.cluster.peer, self.point.number, self.point.moment
        (self.replica.daemon.folder / ARMED).touch()
        if not moment.startswith("request"):
            return

        def struck(_effect: Effect) -> None:
            if len(peer.heard) == number and self.replica.lives:
                peer.moods[THING] = Mood.KIND if moment.endswith("done") else Mood.CUTS
                self.replica.kill()

        peer.on_request = struck

    def _disarm(self) -> None:
        self.replica.daemon.module = "remediator"

    async def _deliver(self) -> None:
        body = webhook(alert(alertname=self.point.act, thing=THING))
        while True:
            status, _ = await self.cluster.ask(self.replica, "POST", "/hooks/alertmanager", body)
            if 200 <= status < 300:
                return
            await asyncio.sleep(0.2)

    async def _until_over(self, within: float, *, or_dead: bool = False) -> None:
        give_up = time.monotonic() + within
        while time.monotonic() < give_up and not (or_dead and not self.replica.lives):
            runs = await self.cluster.ask_any(self.people.rng, "GET", f"/api/v1/runs?target=thing/{THING}")
            if runs is not None and runs["runs"] and all(one["stage"] == "closed" for one in runs["runs"]):
                return
            await asyncio.sleep(0.1)

    def _notified(self) -> set[str]:
        return {one.body["run"] for one in self.pager.deliveries if one.body.get("run")}

    async def _look(self) -> list[str]:
        kept = await keep(self.cluster.store)
        fingerprint = str(alert(alertname=self.point.act, thing=THING)["fingerprint"])
        ledger = [*self.cluster.peer.ledger, *await awards(self.loyalty, self.database)]
        accepted = {fingerprint: (self.point.act, THING)}
        found = check(kept, Heard(ledger, accepted, self.people.approved, self._notified())).problems
        stages = [run.stage for run in kept.runs]
        if set(stages) != {"closed"}:
            found.append(f"21 it ended with runs {stages}")
        return [f"{self.point}: {problem}" for problem in found]


async def strike(point: Point, server: Server, loyalty: Server, slack: FakeSlack) -> Came:
    """One point, on a store of its own."""
    async with _staged(point, server, loyalty, slack) as stage:
        return await stage.play()


@asynccontextmanager
async def _staged(point: Point, server: Server, loyalty: Server, slack: FakeSlack) -> AsyncIterator[Stage]:
    name = f"struck_{next(_numbers)}"
    await _database(loyalty, f"{name}_awards", AWARDS)
    async with AsyncExitStack() as stack:
        peer = await stack.enter_async_context(running_peer(Random(1), troubled=0.0))
        pager = await stack.enter_async_context(running_webhook())
        daemon = Daemon(stack.enter_context(scratch("struck")), config(peer, slack, pager.url))
        daemon.environment["LOYALTY_DSN"] = loyalty.dsn(f"{name}_awards")
        daemon.start_within = PATIENCE_S
        for policy, text in policies().items():
            daemon.policy(policy, text)
        cluster = Cluster(server, peer, slack)
        cluster.session = await stack.enter_async_context(aiohttp.ClientSession(timeout=ASK_WITHIN))
        replica = Replica(0, daemon, Line(cluster.port), free_port())
        cluster.replicas.append(replica)
        people = People(cluster, Random(1), seen(peer, set()), willing=1.0)
        stage = Stage(point, cluster, people, loyalty, f"{name}_awards", pager)
        if point.store == "postgres":
            await _database(server, name, "SELECT 1")
            proxy = await stack.enter_async_context(proxy_to(server.child.port))
            cluster.address = f"{server.dsn(name)}?may_lose_data=yes"
            daemon.environment["STORE"] = f"{server.dsn(name, port=proxy.port)}?may_lose_data=yes"
            _count(proxy, stage)
        else:
            daemon.config["store"] = "sqlite:state.db"
            daemon.environment["STORE"] = "unused"
            cluster.address = f"sqlite:///{daemon.folder}/state.db"
            _count_inside(daemon, point)
        try:
            await replica.start()
            yield stage
        finally:
            if daemon.child is not None:
                await asyncio.to_thread(daemon.child.end)


async def _database(server: Server, name: str, tables: str) -> None:
    async with server.connected() as connection:
        await connection.execute(f"CREATE DATABASE {name}")
    async with server.connected(name) as connection:
        await connection.execute(tables)


def _count(proxy: Proxy, stage: Stage) -> None:
    """The proxy kills it around the n-th COMMIT after it was armed."""
    if stage.point.moment.startswith("request"):
        return
    commits = itertools.count(1)
    cut = Cut.BEFORE if stage.point.moment == MOMENTS[0] else Cut.AFTER

    def met() -> None:
        armed = (stage.replica.daemon.folder / ARMED).exists()
        proxy.cut = cut if armed and next(commits) == stage.point.number else Cut.NEVER

    proxy.met, proxy.broke = met, stage.replica.kill


def _count_inside(daemon: Daemon, point: Point) -> None:
    if not point.moment.startswith("request"):
        daemon.module = "tests.faults.dying"
        daemon.environment["DIES_AT"] = f"{point.moment.split()[0]}:{point.number}"
        daemon.environment["DIES_IN"] = str(daemon.folder)


def matrix() -> Iterator[tuple[str, str, str]]:
    """All kinds of points. A change of rows is no request of the service."""
    for store, act, moment in itertools.product(STORES, ACTS, MOMENTS):
        if not (act == AWARDED and moment.startswith("request")):
            yield store, act, moment


async def walk(
    at_once: int, server: Server, loyalty: Server, slack: FakeSlack
) -> AsyncIterator[tuple[Point, Came]]:
    """Every point of every kind, until the run is over before the next is reached."""
    kinds = matrix()
    came: asyncio.Queue[tuple[Point, Came]] = asyncio.Queue()

    async def work() -> None:
        for kind in kinds:
            for number in itertools.count(1):
                point = Point(*kind, number)
                found = await strike(point, server, loyalty, slack)
                came.put_nowait((point, found))
                if not found.reached:
                    break

    working = asyncio.gather(*(work() for _ in range(at_once)))
    while not working.done() or not came.empty():
        with contextlib.suppress(TimeoutError):
            yield await asyncio.wait_for(came.get(), 1)
    await working
