"""Two hosts with a network between them. One loses its database, and nothing else: the service it reaches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random

import aiohttp
import pytest
import pytest_asyncio

from tests.faults.checker import keep
from tests.faults.cluster import DATABASE
from tests.faults.hosts import Host, NotAllowedError, another_host
from tests.faults.peer import Peer, running_peer
from tests.faults.policies import PROVED, policies
from tests.rig.daemon import HOOK_TOKEN, Daemon, alert, settings, webhook
from tests.rig.postgres import Server, running_postgres
from tests.rig.processes import scratch
from tests.rig.room import until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.real,
    pytest.mark.needs("postgresql", "ip"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.no_cover,
]

ASK = aiohttp.ClientTimeout(total=20)


@dataclass
class Play:
    host: Host
    peer: Peer
    far: Daemon
    near: Daemon
    store: str

    async def fires(self, at: Daemon, thing: str) -> int:
        """The status of a webhook."""
        headers = {"Authorization": f"Bearer {HOOK_TOKEN}"}
        body = webhook(alert(alertname=PROVED, thing=thing))
        async with (
            aiohttp.ClientSession(timeout=ASK) as session,
            session.post(at.hook, json=body, headers=headers) as answer,
        ):
            return answer.status

    async def ready(self, at: Daemon, *, no: bool = False) -> bool:
        """Whether it says so; ``no``: whether it says that it is not."""
        async with aiohttp.ClientSession(timeout=ASK) as session, session.get(f"{at.url}/readyz") as answer:
            return (answer.status == 200) is not no

    async def fixed(self, thing: str) -> bool:
        runs = (await keep(self.store)).runs
        return [run.outcome for run in runs if run.target == f"thing/{thing}"] == ["fixed"]


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with ExitStack() as stack:
        try:
            one = stack.enter_context(another_host())
        except NotAllowedError as error:
            pytest.skip(f"nobody may make hosts here (test_storm.py cuts lines all the same): {error}")
        yield one


@pytest.fixture(scope="module")
def database(host: Host) -> Iterator[Server]:
    with running_postgres(also=host.database.here) as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def play(host: Host, database: Server) -> AsyncIterator[Play]:
    async with database.connected() as connection:
        await connection.execute(f"CREATE DATABASE {DATABASE}")
    store = f"{database.dsn(DATABASE)}?may_lose_data=yes"
    async with running_peer(Random(7), troubled=0.0, host=host.world.here) as peer:
        given = settings(world=peer.url, targets=["thing"], store="${env:STORE}")
        given["connections"] = {"service": {"kind": "http", "base_url": peer.url, "timeout": "60s"}}
        with scratch("far") as there, scratch("near") as here:
            far = Daemon(there, given, host=host.world.there, by=host.by)
            near = Daemon(here, given)
            for one, address in ((far, host.database.here), (near, "127.0.0.1")):
                one.environment["STORE"] = store.replace("127.0.0.1", address)
                one.policy(PROVED, policies()[PROVED])
            try:
                await asyncio.to_thread(far.start)
                yield Play(host, peer, far, near, store)
            finally:
                for one in (far, near):
                    if one.child is not None:
                        one.child.end()
                        print(f"---- it said ----\n{one.child.said()[-8000:]}")


async def test_whoever_cannot_reach_the_database_does_nothing_more_and_another_goes_on(play: Play) -> None:
    """It was reading when its cable was cut, and gets its answer when another has long done the work.

    Once the cable is mended, it works again by itself.
    """
    peer, far, near = play.peer, play.far, play.near
    peer.mute.add("torn")
    assert await play.fires(far, "torn") == 200
    await until(lambda: _later(peer.reads["torn"]), "nobody looked at it")
    await asyncio.to_thread(near.start)
    cut = time.monotonic()
    play.host.database.cut()

    await until(lambda: _later(peer.reads["torn"] > 1), "nobody went on with it")
    assert time.monotonic() - cut < 15
    await until(lambda: play.fixed("torn"), "it was not fixed")
    await until(lambda: play.ready(far, no=True), "it calls itself ready")
    assert await play.fires(far, "unheard") == 503
    peer.speak()  # the far one hears at last what it had asked
    assert await play.fires(near, "after") == 200
    await until(lambda: play.fixed("after"), "the other does not work")
    assert (peer.times("torn"), peer.times("after")) == (1, 1)

    play.host.database.mend()
    await until(lambda: play.ready(far), "it does not come back")
    assert await play.fires(far, "unheard") == 200
    await until(lambda: play.fixed("unheard"), "it is not done")
    assert (peer.times("unheard"), peer.times("torn")) == (1, 1)
    assert (await keep(play.store)).broken == ()


async def _later(value: object) -> object:
    return value
