"""One fault run: a stream of alerts, and everything is hurt by lot; then calm, and the reckoning.

Same seed, same plan; what the machine makes of it is never quite the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from random import Random
from types import MappingProxyType
from typing import Any

from tests.faults.checker import Heard, Verdict, check, keep
from tests.faults.cluster import Cluster, Replica, cluster, config, said
from tests.faults.peer import Effect, Peer, running_peer
from tests.faults.people import People
from tests.faults.policies import AWARDED, AWARDS, KINDS, policies
from tests.rig.daemon import alert, webhook
from tests.rig.postgres import Server
from tests.rig.slack import FakeSlack
from tests.rig.webhook import Webhook, running_webhook

CALM_S = 60.0
"""Faults over: within this, every run is closed or waits for a person who was told."""


@dataclass(frozen=True)
class Plan:
    """What is to happen. Times in seconds."""

    seed: int
    lasts: float = 25.0
    alerts_a_second: float = 3.0
    kills: int = 20
    freezes: int = 1
    frozen: tuple[float, float] = (10.0, 12.0)
    restarts: int = 1
    promotions: int = 1
    cuts: int = 2
    stops: int = 1
    """SIGTERMs."""


@dataclass
class Report:
    """What happened, and what was found."""

    seed: int
    seconds: float = 0.0
    alerts: int = 0
    runs: int = 0
    steps: int = 0
    effects: int = 0
    kills: int = 0
    freezes: int = 0
    cuts: int = 0
    stops: int = 0
    restarts: int = 0
    promotions: int = 0
    settled: int = 0
    doubles: int = 0
    losses: int = 0
    unresolved: int = 0
    others: int = 0
    problems: list[str] = field(default_factory=list)

    @classmethod
    def columns(cls) -> tuple[str, ...]:
        """The names of the numbers."""
        return tuple(one.name for one in fields(cls) if one.name not in ("problems", "seed"))


@dataclass
class Storm:
    """It, while it blows."""

    plan: Plan
    cluster: Cluster
    people: People
    pager: Webhook
    loyalty: Server
    database: str
    rng: Random
    counts: Counter[str] = field(default_factory=Counter)
    accepted: dict[str, tuple[str, str]] = field(default_factory=dict)
    _names: int = 0
    _sending: set[asyncio.Task[None]] = field(default_factory=set)

    async def blow(self) -> None:
        """All of it; then calm."""
        work = asyncio.create_task(self.people.work())
        try:
            async with asyncio.timeout(self.plan.lasts * 4 + 60), asyncio.TaskGroup() as tasks:
                tasks.create_task(self._alerts())
                tasks.create_task(self._faults())
                tasks.create_task(self._database_faults())
            async with asyncio.timeout(30):
                await asyncio.gather(*self._sending)
            await self._calm()
        finally:
            for one in self._sending:
                one.cancel()
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work

    # ── Alerts ────────────────────────────────────────────────────────────────────────────────────

    async def _alerts(self) -> None:
        over = time.monotonic() + self.plan.lasts
        while time.monotonic() < over:
            task = asyncio.create_task(self._deliver(self._troubles()))
            self._sending.add(task)
            await asyncio.sleep(self.rng.expovariate(self.plan.alerts_a_second / 1.5))

    def _troubles(self) -> list[dict[str, Any]]:
        found = []
        for _ in range(self.rng.choice((1, 1, 2))):
            self._names += 1
            kind = self.rng.choice(KINDS)
            found.append(alert(alertname=kind, thing=f"s{self.plan.seed}-{self._names}"))
        return found

    async def _deliver(self, troubles: list[dict[str, Any]]) -> None:
        """As Alertmanager does: until somebody answers 2xx. Some have two Alertmanagers."""
        twice = self.rng.random() < 0.15
        while True:
            replica = self.rng.choice(self.cluster.replicas)
            status, _ = await self.cluster.ask(replica, "POST", "/hooks/alertmanager", webhook(*troubles))
            if 200 <= status < 300:
                for one in troubles:
                    labels = one["labels"]
                    self.accepted[one["fingerprint"]] = labels["alertname"], labels["thing"]
                if not twice:
                    return
                twice = False
            await asyncio.sleep(self.rng.uniform(0.2, 1.0))

    # ── Faults ────────────────────────────────────────────────────────────────────────────────────

    async def _faults(self) -> None:
        """Of daemons and their lines, in an order of chance, spread over the time."""
        plan = self.plan
        todo: list[Callable[[Replica], Coroutine[Any, Any, None]]] = [
            *[self._kill] * plan.kills,
            *[self._freeze] * plan.freezes,
            *[self._cut] * plan.cuts,
            *[self._stop] * plan.stops,
        ]
        self.rng.shuffle(todo)
        pause, began = plan.lasts / max(1, len(todo)), time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number, fault in enumerate(todo):
                due = began + (number + self.rng.random()) * pause
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                tasks.create_task(fault(await self._somebody()))

    async def _somebody(self) -> Replica:
        """A replica that lives and is left in peace so far; the others may all be down."""
        while True:
            whole = [one for one in self.cluster.replicas if one.lives and not one.frozen and not one.busy]
            if whole:
                chosen = self.rng.choice(whole)
                chosen.busy = True
                return chosen
            await asyncio.sleep(0.05)

    async def _kill(self, replica: Replica) -> None:
        replica.kill()
        self.counts["kills"] += 1
        await replica.start()

    async def _stop(self, replica: Replica) -> None:
        await asyncio.to_thread(replica.end)
        self.counts["stops"] += 1
        await replica.start()

    async def _freeze(self, replica: Replica) -> None:
        replica.freeze()
        self.counts["freezes"] += 1
        await asyncio.sleep(self.rng.uniform(*self.plan.frozen))
        replica.thaw()

    async def _cut(self, replica: Replica) -> None:
        """Off from the database: broken, or swallowed."""
        replica.line.cut() if self.rng.random() < 0.5 else replica.line.silence()
        self.counts["cuts"] += 1
        await asyncio.sleep(self.rng.uniform(1.0, 8.0))
        replica.line.mend()
        replica.busy = False

    async def _database_faults(self) -> None:
        plan = self.plan
        todo = [*["restarts"] * plan.restarts, *["promotions"] * plan.promotions]
        for number, fault in enumerate(todo):
            standby = await self.cluster.standby() if fault == "promotions" else None
            if number == 0:
                await asyncio.sleep(plan.lasts * 0.3)
            if standby is None:
                await self.cluster.crash_database(self.rng.uniform(0.2, 2.0))
            else:
                await self.cluster.promote(standby)
            self.counts[fault] += 1
            await asyncio.sleep(plan.lasts / (len(todo) + 1))

    # ── Afterwards ────────────────────────────────────────────────────────────────────────────────

    async def _calm(self) -> None:
        over = time.monotonic() + CALM_S
        while time.monotonic() < over:
            if await self._quiet():
                return
            await asyncio.sleep(0.5)

    async def _quiet(self) -> bool:
        open_runs = await self.cluster.ask_any(self.rng, "GET", "/api/v1/runs?state=open")
        holding = await self.cluster.ask_any(self.rng, "GET", "/api/v1/runs?state=holding")
        status = await self.cluster.ask_any(self.rng, "GET", "/api/v1/halts")
        if open_runs is None or holding is None or status is None:
            return False
        if open_runs["runs"] or holding["runs"] or status["halts"]:
            return False
        kept = await keep(self.cluster.store)
        return not kept.waiting and set(self.accepted) <= kept.decided

    async def reckon(self) -> tuple[Report, Verdict]:
        """What came of it."""
        kept = await keep(self.cluster.store)
        ledger = [*self.cluster.peer.ledger, *await awards(self.loyalty, self.database)]
        told = " ".join(json.dumps(one, ensure_ascii=False) for one in await self.cluster.slack.messages())
        notified = {one.body["run"] for one in self.pager.deliveries if one.body.get("run")}
        notified |= {run.id for run in kept.runs if run.id in told}
        halted = [
            (_at(since + 1.0), _at(self.people.resumed.get(halt, time.time())))
            for halt, (_, since) in self.people.halts.items()
        ]
        heard = Heard(ledger, self.accepted, self.people.approved, notified, halted)
        verdict = check(kept, heard)
        report = Report(
            self.plan.seed,
            alerts=len(self.accepted),
            runs=len(kept.runs),
            steps=kept.steps,
            effects=len(ledger),
            settled=len(self.people.settled),
            doubles=len(verdict.doubles),
            losses=len(verdict.losses),
            unresolved=len(verdict.unresolved),
            others=len(verdict.others),
            problems=verdict.problems,
            **self.counts,
        )
        return report, verdict


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


async def awards(server: Server, database: str) -> list[Effect]:
    """The ledger of what was done to the loyalty database."""
    async with server.connected(database) as db:
        rows = await db.fetch("SELECT extract(epoch FROM at)::float8 AS at, thing FROM awards")
    return [Effect(row["at"], row["thing"], "pause", "") for row in rows]


@asynccontextmanager
async def prepared(
    server: Server,
    loyalty: Server,
    slack: FakeSlack,
    seed: int,
    *,
    troubled: float = 0.3,
    texts: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[tuple[Cluster, People, Webhook, str]]:
    """A cluster, its people, their pager, and the name of the loyalty database.

    troubled: how rude the service is; texts: further policies.
    """
    database = f"awards_{seed}"
    async with loyalty.connected() as connection:
        await connection.execute(f"CREATE DATABASE {database}")
    async with loyalty.connected(database) as connection:
        await connection.execute(AWARDS)
    async with running_peer(Random(seed), troubled=troubled) as peer, running_webhook() as pager:
        given = config(peer, slack, pager.url)
        dsn = loyalty.dsn(database)
        every = {**policies(), **texts}
        async with cluster(server, given, every, peer, slack, loyalty=dsn) as one:
            awarded: set[str] = set()
            people = People(one, Random(seed + 1), seen(peer, awarded))
            looking = asyncio.create_task(look_at_awards(loyalty, database, awarded))
            try:
                yield one, people, pager, database
            finally:
                looking.cancel()


def seen(peer: Peer, awarded: set[str]) -> Callable[[str, str], bool | None]:
    """What people see when they look at a thing."""

    def happened(thing: str, policy: str) -> bool | None:
        if policy == AWARDED:
            return thing in awarded
        return None if peer.at_work(thing) else peer.times(thing, "pause") > 0

    return happened


async def look_at_awards(server: Server, database: str, awarded: set[str]) -> None:
    """Keep up with what was awarded."""
    while True:
        awarded |= {one.thing for one in await awards(server, database)}
        await asyncio.sleep(1.0)


async def storm(plan: Plan, server: Server, loyalty: Server, slack: FakeSlack) -> Report:
    """Play one. ``server``: of its own, it is crashed and left behind; ``loyalty``: is left in peace."""
    began = time.monotonic()
    async with prepared(server, loyalty, slack, plan.seed) as (one, people, pager, database):
        blowing = Storm(plan, one, people, pager, loyalty, database, Random(plan.seed))
        await blowing.blow()
        report, _ = await blowing.reckon()
        report.seconds = round(time.monotonic() - began, 1)
        if report.problems:
            print(said(one.replicas))
    return report
