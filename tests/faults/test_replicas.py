"""Three real daemons: one leaves, the others go on at once; a schedule fires once; a failover is doubted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from statistics import median

import pytest
import pytest_asyncio

from tests.faults.checker import keep
from tests.faults.cluster import DATABASE, Cluster, Replica
from tests.faults.people import People
from tests.faults.policies import AWARDED, PROVED, WATCHED, watching
from tests.faults.storm import awards, prepared
from tests.rig.daemon import alert, webhook
from tests.rig.postgres import Server, running_postgres
from tests.rig.room import until
from tests.rig.slack import FakeSlack
from tests.rig.webhook import Webhook

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.real,
    pytest.mark.needs("postgresql"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.no_cover,
]

RNG = Random(7)


@dataclass
class Play:
    cluster: Cluster
    people: People
    pager: Webhook
    loyalty: Server
    database: str

    async def fire(self, policy: str, thing: str, status: str = "firing") -> None:
        body = webhook(alert(status, alertname=policy, thing=thing))
        assert await self.cluster.ask_any(RNG, "POST", "/hooks/alertmanager", body) is not None

    async def outcome(self, thing: str) -> str | None:
        runs = (await keep(self.cluster.store)).runs
        return next((run.outcome for run in runs if run.target == f"thing/{thing}"), None)

    async def fixed(self, thing: str) -> bool:
        return await self.outcome(thing) == "fixed"

    async def holder(self, thing: str) -> Replica | None:
        """The replica that is performing something for this thing."""
        async with self.cluster.server.connected(DATABASE) as db:
            host = await db.fetchval(
                "SELECT host FROM remediator.effects e JOIN remediator.replicas r ON r.id = e.holder"
                " JOIN remediator.runs u ON u.id = e.run WHERE u.target = $1",
                f"thing/{thing}",
            )
        pid = int(host.rpartition(":")[2]) if host else 0
        return next((one for one in self.cluster.replicas if one.pid == pid), None)

    async def awarded(self, thing: str) -> int:
        return sum(one.thing == thing for one in await awards(self.loyalty, self.database))


@pytest.fixture(scope="module")
def mortal() -> Iterator[Server]:
    with running_postgres() as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def play(mortal: Server, server: Server, one_slack: FakeSlack) -> AsyncIterator[Play]:
    async with prepared(mortal, server, one_slack, 7, troubled=0.0, texts=watching()) as made:
        cluster, people, pager, database = made
        yield Play(cluster, people, pager, server, database)


async def test_whoever_is_told_to_stop_hands_over_at_once(play: Play) -> None:
    """What it was waiting for goes on with another, long before its lease would have been over."""
    peer = play.cluster.peer
    peer.mute.add("left")
    await play.fire(PROVED, "left")
    await until(lambda: _later(peer.reads["left"]), "nobody looked at it")
    leaving = await play.holder("left")
    assert leaving is not None
    began = time.monotonic()
    stopping = asyncio.create_task(asyncio.to_thread(leaving.end))
    await until(lambda: _later(peer.reads["left"] > 1), "nobody went on with it")
    took = time.monotonic() - began
    assert await stopping == 0
    assert time.monotonic() - began < 10
    assert took < 7
    await until(lambda: play.fixed("left"), "it was not fixed")
    assert peer.times("left") == 1
    await leaving.start()


async def test_a_schedule_fires_once_over_all_of_them_whoever_is_killed(play: Play) -> None:
    peer = play.cluster.peer
    peer.rows.append({"thing": "found"})
    await until(lambda: play.fixed("found"), "nobody acted on what was found")
    began, before = time.monotonic(), peer.reads["troubles"]
    play.cluster.replicas[0].kill()
    await until(lambda: _later(peer.reads["troubles"] >= before + 5), "nobody asks any more")
    fired, seconds = peer.reads["troubles"] - before, time.monotonic() - began
    assert fired <= seconds + 2
    async with play.cluster.server.connected(DATABASE) as db:
        rows = await db.fetch("SELECT at FROM remediator.firings WHERE watch = $1 ORDER BY at", WATCHED)
    slots = [row["at"] // 1_000_000 for row in rows]
    assert peer.reads["troubles"] <= len(slots)
    apart = [later - earlier for earlier, later in pairwise(slots[-6:])]
    assert median(apart) == 1, "each second, unless the machine stood still for a moment"
    assert peer.times("found") == 1
    await play.cluster.replicas[0].start()


async def test_after_a_failover_that_lost_the_newest_nothing_starts_until_a_person_has_compared(
    play: Play,
) -> None:
    cluster, people = play.cluster, play.people
    standby = await cluster.standby()
    await cluster.fall_behind(standby)
    await play.fire(AWARDED, "lost")  # the standby will never have heard of it
    await until(lambda: play.awarded("lost"), "it was not awarded")
    people.patient = True
    working = asyncio.create_task(people.work())
    try:
        await cluster.promote(standby)
        await until(lambda: _later(any("failover" in one for one in people.halts)), "no doubt")
        await play.pager.wait_for(lambda one: "promoted" in one.body["text"])
        await play.fire(AWARDED, "lost")  # Alertmanager says it again
        await play.fire(PROVED, "next")
        await asyncio.sleep(3.0)
        assert (await play.awarded("lost"), cluster.peer.times("next")) == (1, 0)

        await play.fire(AWARDED, "lost", "resolved")  # who compared has found it done
        people.patient = False
        await until(lambda: play.fixed("next"), "it was not fixed after all")
    finally:
        working.cancel()
    assert (await play.awarded("lost"), cluster.peer.times("next")) == (1, 1)
    assert (await keep(cluster.store)).broken == ()


async def _later(value: object) -> object:
    return value
