"""Several real daemons on one PostgreSQL, each behind a line of its own, and the hands that hurt them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from tests.faults.lines import Line, line
from tests.faults.peer import KEY, Peer
from tests.rig.daemon import HOOK_TOKEN, Daemon, settings, token_of
from tests.rig.patience import PATIENCE_S
from tests.rig.postgres import Server, standby_of
from tests.rig.processes import DidNotStartError, free_port, scratch
from tests.rig.slack import FakeSlack

ASK_WITHIN = aiohttp.ClientTimeout(total=6.0)
DATABASE = "remediator_faults"


@dataclass
class Replica:
    """One daemon, started again whenever it has ended: as Kubernetes would."""

    number: int
    daemon: Daemon
    line: Line
    port: int
    frozen: bool = False
    busy: bool = False
    """Something is being done to it."""

    @property
    def url(self) -> str:
        """Also while it is down."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def lives(self) -> bool:
        """Its process does."""
        return self.daemon.child is not None and self.daemon.child.process.poll() is None

    @property
    def pid(self) -> int:
        """Of its process, or of the last."""
        return self.daemon.child.pid if self.daemon.child is not None else 0

    async def start(self) -> None:
        """Until it is ready; tried again while its database is away."""
        while True:
            try:
                await asyncio.to_thread(self.daemon.start, self.port)
            except DidNotStartError:
                await asyncio.sleep(0.5)
            else:
                self.busy = False
                return

    def kill(self) -> None:
        """SIGKILL; it stays down until it is started."""
        assert self.daemon.child is not None
        self.daemon.child.kill()

    def end(self) -> int:
        """SIGTERM, and wait; the exit status."""
        assert self.daemon.child is not None
        return self.daemon.child.end(within=15)

    def freeze(self) -> None:
        """SIGSTOP."""
        assert self.daemon.child is not None
        self.frozen = True
        self.daemon.child.freeze()

    def thaw(self) -> None:
        """SIGCONT."""
        assert self.daemon.child is not None
        self.daemon.child.thaw()
        self.frozen = self.busy = False


@dataclass
class Cluster:
    """What a fault run plays on."""

    server: Server
    peer: Peer
    slack: FakeSlack
    replicas: list[Replica] = field(default_factory=list)
    address: str = ""
    """Of the store, where it is not `DATABASE` of the server."""
    session: aiohttp.ClientSession = field(init=False)
    _stack: ExitStack = field(default_factory=ExitStack)

    @property
    def store(self) -> str:
        """The store, as the checker opens it: not through any line."""
        return self.address or f"{self.server.dsn(DATABASE)}?may_lose_data=yes"

    def port(self) -> int:
        """Of the primary, as of now."""
        return self.server.child.port

    # ── What operators and people do ──────────────────────────────────────────────────────────────

    async def ask(
        self, replica: Replica, method: str, path: str, body: object = None, *, by: str = ""
    ) -> tuple[int, Any]:
        """Status and answer; 0 when there was none."""
        headers = {"Accept": "application/json"}
        token = HOOK_TOKEN if path.startswith("/hooks") else token_of(by) if by else ""
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        url = replica.url + path
        try:
            async with self.session.request(method, url, json=body, headers=headers) as answer:
                return answer.status, await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return 0, None

    async def ask_any(self, rng: Random, method: str, path: str, body: object = None, *, by: str = "") -> Any:
        """The answer of the first of them that gives one below 500, or None."""
        for replica in rng.sample(self.replicas, len(self.replicas)):
            if replica.lives and not replica.frozen:
                status, told = await self.ask(replica, method, path, body, by=by)
                if 0 < status < 500:
                    return told if status == 200 else None
        return None

    # ── What is done to the database ──────────────────────────────────────────────────────────────

    async def crash_database(self, down_s: float) -> None:
        """``immediate`` stop, and start again."""
        await asyncio.to_thread(self.server.crash)
        await asyncio.sleep(down_s)
        await asyncio.to_thread(self.server.start_again)

    async def standby(self) -> Server:
        """A new standby of the primary, which from now on confirms nothing that the standby has not got."""
        one = await asyncio.to_thread(self._stack.enter_context, standby_of(self.server))
        await _sql(self.server, "ALTER SYSTEM SET synchronous_standby_names = '*'")
        await _sql(self.server, "SELECT pg_reload_conf()")
        await _until(self.server, "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
        return one

    async def fall_behind(self, standby: Server) -> None:
        """From now on the standby gets nothing, and the primary does not wait for it."""
        await _sql(self.server, "ALTER SYSTEM RESET synchronous_standby_names")
        await _sql(self.server, "SELECT pg_reload_conf()")
        await _sql(standby, "ALTER SYSTEM SET primary_conninfo = ''")
        await _sql(standby, "SELECT pg_reload_conf()")
        await _until(standby, "SELECT count(*) = 0 FROM pg_stat_wal_receiver")

    async def promote(self, standby: Server) -> None:
        """The primary dies, and all lines lead to the standby."""
        await asyncio.to_thread(self.server.crash)
        await _sql(standby, "SELECT pg_promote()")
        self.server = standby
        for one in self.replicas:
            one.line.cut()
            one.line.mend()


def config(peer: Peer, slack: FakeSlack, pager: str) -> dict[str, Any]:
    """The settings of each daemon."""
    one = settings(world=peer.url, slack=slack, targets=["thing"], page_webhook={"url": pager})
    service = {"kind": "http", "base_url": peer.url, "timeout": "3s"}
    one["store"] = "${env:STORE}"
    one["connections"] = {
        "service": service,
        "keyed": {**service, "idempotency_header": KEY},
        "loyalty_db": {"kind": "postgres", "dsn": "${env:LOYALTY_DSN}", "tables": ["awards"]},
    }
    return one


@asynccontextmanager
async def cluster(
    server: Server,
    given: Mapping[str, Any],
    texts: Mapping[str, str],
    peer: Peer,
    slack: FakeSlack,
    *,
    loyalty: str,
    count: int = 3,
) -> AsyncIterator[Cluster]:
    """So many daemons with these settings and policies, started; ended at the end."""
    async with server.connected() as connection:
        await connection.execute(f"CREATE DATABASE {DATABASE}")
    one = Cluster(server, peer, slack)
    async with AsyncExitStack() as stack:
        stack.enter_context(one._stack)
        one.session = await stack.enter_async_context(aiohttp.ClientSession(timeout=ASK_WITHIN))
        for number in range(count):
            way = await stack.enter_async_context(line(one.port))
            folder = stack.enter_context(scratch(f"replica{number}"))
            store = f"{server.dsn(DATABASE, port=way.port)}?may_lose_data=yes"
            daemon = Daemon(folder, dict(given), environment={"STORE": store, "LOYALTY_DSN": loyalty})
            daemon.start_within = PATIENCE_S
            for name, text in texts.items():
                daemon.policy(name, text)
            one.replicas.append(Replica(number, daemon, way, free_port()))
        try:
            await one.replicas[0].start()  # makes the tables
            await asyncio.gather(*(replica.start() for replica in one.replicas[1:]))
            yield one
        finally:
            for replica in one.replicas:
                if replica.daemon.child is not None:
                    await asyncio.to_thread(replica.daemon.child.end)


async def _sql(server: Server, statement: str) -> None:
    async with server.connected() as connection:
        await connection.execute(statement)


async def _until(server: Server, question: str) -> None:
    async with asyncio.timeout(20), server.connected() as connection:
        while True:
            if await connection.fetchval(question):
                return
            await asyncio.sleep(0.05)


def said(replicas: list[Replica], last: int = 3000) -> str:
    """What they printed last."""
    told = []
    for one in replicas:
        with contextlib.suppress(FileNotFoundError):
            text = Path(one.daemon.folder / "remediator.log").read_text(errors="replace")
            told.append(f"---- replica {one.number} ----\n{text[-last:]}")
    return "\n".join(told)
