"""The simulated world: what replicas act on, and the ledger of what reached it.

The ledger stands outside of everything that the engine keeps. An act may be refused, come late, be done
and its answer be lost, or hang; whoever sends may die or be frozen just before or just after. Probes
may fail, hang, or tell what was true a while ago.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from remediator.core.catalog import Fence
from remediator.core.evidence import Picture
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.errors import ConnectorError
from remediator.ports import Order

if TYPE_CHECKING:
    from tests.sim.replica import Process
    from tests.sim.simulation import Simulation


@dataclass(frozen=True)
class Sent:
    """One effect, as the world saw it. ``sent_at``: when whoever sent it let go of it."""

    at: float
    sent_at: float
    key: str  # <run>/<step>, or <run>/<step>/undo
    fence: Fence
    path: str
    by: str
    unfenced: str  # why it should not have been sent; "" when all was in order
    paused: bool  # the sender was frozen between its last check and the send

    @property
    def run(self) -> str:
        return self.key.partition("/")[0]

    @property
    def step(self) -> str:
        return self.key.split("/")[1]

    @property
    def undo(self) -> bool:
        return self.key.endswith("/undo")


@dataclass
class Campaign:
    """One thing that goes wrong and is mended."""

    troubles: int = 0  # alerts that have a reason to fire
    left: int = 50
    was: tuple[int, int] = (0, 50)  # what a probe that lags behind tells


@dataclass
class Transaction:
    """One in the database of the world."""

    sent: Sent
    result: dict[str, Any]
    state: str = "open"  # | committing | committed | aborted


@dataclass
class World:
    """All of it. ``healed``: called with a campaign whose trouble is over."""

    sim: Simulation
    ledger: list[Sent] = field(default_factory=list)
    requests: int = 0
    slow_until: float = 0.0  # so long its answers take seconds: acts queue up
    campaigns: defaultdict[str, Campaign] = field(default_factory=lambda: defaultdict(Campaign))
    read_at: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    transactions: dict[str, Transaction] = field(default_factory=dict)
    claims: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _known: set[str] = field(default_factory=set)  # keys that the keyed service remembers

    def happens(self, sent: Sent) -> None:
        """It reaches its end: this is the effect."""
        if sent.fence is Fence.KEY:
            if sent.key in self._known:
                return
            self._known.add(sent.key)
        self.ledger.append(sent)
        self.sim.note(sent.by, f"LEDGER {sent.key} {sent.path}")
        campaign = sent.path.split("/")[2] if sent.path.count("/") > 1 else ""
        if sent.step == "soft" and not sent.undo and self.sim.odds(0.4):
            self.claims[campaign].append(sent.at + self.sim.rng.uniform(1, 70))
        if not sent.undo and campaign in self.campaigns and self.sim.rng.random() < 0.7:
            self.heal(campaign)

    def heal(self, name: str) -> None:
        """All its troubles are over."""
        campaign = self.campaigns[name]
        campaign.was = (campaign.troubles, campaign.left)
        campaign.troubles = 0

    def claimed(self, name: str, at: float) -> float | None:
        """Since when what was softened last is as somebody wants it, who has changed it since."""
        softened = [one.at for one in self.ledger if one.path.startswith(f"/soft/{name}/") and one.at <= at]
        return min((one for one in self.claims[name] if max(softened, default=at) < one <= at), default=None)

    def holds(self, key: str) -> bool:
        """What a person finds who looks."""
        return any(sent.key == key for sent in self.ledger)


class Wire:
    """A process's connection to the world: a `remediator.ports.Connector`."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self.process = process
        self.sim = process.sim
        self.world = process.sim.world

    async def close(self) -> None:
        """Nothing is held."""

    async def _goes(self, what: str) -> None:
        await self.sim.loop.pause(self.sim.latency(0.005, 0.2))
        if self.process.replica.without_world > self.sim.loop.time():
            raise ConnectorError(self.name, f"{what}: no route to the world")

    async def read(self, call: Call, *, timeout: float) -> dict[str, Any]:
        await self._goes("read")
        if self.sim.odds(0.02):
            await self.sim.loop.pause(timeout * 2)
        if self.sim.odds(0.04):
            raise ConnectorError(self.name, "503")
        _, what, name = call.args["path"].split("/")
        if what == "claim":
            return {"value": int(self.world.claimed(name, self.sim.loop.time()) is not None)}
        campaign = self.world.campaigns[name]
        if self.sim.odds(0.02) and what == "budget":
            campaign.was, campaign.left = (campaign.troubles, campaign.left), self.sim.rng.randrange(5, 100)
        troubles, left = campaign.troubles, campaign.left
        if self.sim.odds(0.03):
            troubles, left = campaign.was
        if what == "budget":
            self.world.read_at[name].append(self.sim.loop.time())
        return {"value": min(1, troubles), "row": {"left": left}, "count": 1}

    async def preview(self, call: Call, *, timeout: float) -> Picture:
        await self._goes("preview")
        if self.sim.odds(0.04):
            raise ConnectorError(self.name, "cannot show it")
        name = call.args["args"][0] if call.args.get("args") else ""
        return Picture(
            1, f"one row of {name}", ({"key": {"id": name}, "before": {"n": 2}, "after": {"n": 1}},)
        )

    async def act(self, call: Call, *, order: Order, timeout: float) -> Result:
        sim = self.sim
        transacts = self.name == "ledger"
        frozen = sim.rng.choice((2.0, 9.5, 11.0, 13.0, 20.0)) if sim.odds(0.015) else 0.0
        if transacts:
            return await self._transact(call, order, timeout, frozen)
        if sim.odds(0.01):
            sim.crash(self.process, f"before sending {order.key}")
            await asyncio.sleep(0)
        self.world.requests += 1
        sent_at = sim.loop.time() + frozen
        fence = Fence.KEY if self.name == "keyed" else Fence.NONE
        sent = self._sent(order.key, call, fence, sent_at, paused=frozen > 0)
        if frozen:
            sim.note(self.process.name, f"FROZEN {frozen:g}s between its last check and sending {order.key}")
            sim.loop.freeze(self.process.life, frozen)
        if self.process.replica.without_world > sim.loop.time():
            return Refused("never sent: no route to the world")
        fate = sim.rng.random() if sim.troubled else 1.0
        if fate < 0.05:
            return Refused("409")
        if fate < 0.08:  # taken, and never done
            await self.sim.loop.pause(timeout * 2)
        wire = sim.latency(0.002, 0.1) + (sim.latency(12.0, 40.0) if fate < 0.11 else 0.0)
        sim.loop.later(frozen, self._leaves, sent, wire)
        if sim.odds(0.02):
            sim.crash(self.process, f"after sending {order.key}")
        if fate < 0.18:
            await self.sim.loop.pause(sim.latency(0.1, timeout))
            return Unknown("connection reset")
        if fate < 0.22:
            await self.sim.loop.pause(timeout * 2)
        slow = sim.latency(4.0, 9.0) if self.world.slow_until > sim.loop.time() else 0.0
        await self.sim.loop.pause(frozen + wire + slow + sim.latency(0.002, 0.1 if sim.odds(0.8) else 4.0))
        return Done({"status": 200, "id": f"T-{order.key}"})

    def _sent(self, key: str, call: Call, fence: Fence, at: float, *, paused: bool) -> Sent:
        path = call.args.get("path") or call.args.get("text")
        if path is None:
            path = f"/{call.args.get('sql', 'restore')}/{(call.args.get('args') or [''])[0]}"
        name = self.process.name
        fenced = paused or fence is Fence.TRANSACTION  # its mark tells whether it may become final
        unfenced = "" if fenced else self.process.may_not_send(key)
        return Sent(0.0, at, key, fence, path, name, unfenced, paused)

    def _leaves(self, sent: Sent, wire: float) -> None:
        """It is on its way, unless its sender was killed while it was frozen."""
        if not (sent.paused and self.process.killed):
            self.sim.loop.later(wire, self._arrives, sent)

    def _arrives(self, sent: Sent) -> None:
        self.world.happens(_at(sent, self.sim.loop.time()))

    # ── The database, whose transactions leave a mark ─────────────────────────────────────────────

    async def _transact(self, call: Call, order: Order, timeout: float, frozen: float) -> Result:
        sim, world = self.sim, self.world
        await self.sim.loop.pause(sim.latency(0.002, 0.05))
        if self.process.replica.without_world > sim.loop.time():
            return Refused("never sent: no route to the world")
        fate = sim.rng.random() if sim.troubled else 1.0
        if fate < 0.04:
            return Refused("another row than people saw")
        world.requests += 1
        xid = f"x{len(world.transactions) + 1}"
        sent = self._sent(order.key, call, Fence.TRANSACTION, sim.loop.time(), paused=False)
        result: dict[str, Any] = {"rows": 1, "restore": {"table": "t", "xid": xid, "rows": []}}
        transaction = world.transactions[xid] = Transaction(sent, result)
        self.process.open_transactions.append(transaction)
        sim.loop.later(15.0, self._abort, transaction)  # idle_in_transaction_session_timeout
        assert order.mark is not None
        problem = await order.mark({"xid": xid, "result": result})
        if problem:
            self._abort(transaction)
            return Refused(problem)
        if sim.odds(0.02):
            sim.crash(self.process, f"before the commit of {order.key}")
            await asyncio.sleep(0)
        if frozen:
            sim.note(self.process.name, f"FROZEN {frozen:g}s before the commit of {order.key}")
            sim.loop.freeze(self.process.life, frozen)
        sim.loop.later(frozen, self._commits, transaction)
        if sim.odds(0.03):
            sim.crash(self.process, f"after the commit of {order.key} was sent")
        if fate < 0.12:
            await self.sim.loop.pause(sim.latency(0.1, timeout))
            return Unknown("connection reset")
        await self.sim.loop.pause(frozen + 0.06)
        return Done(result) if transaction.state == "committed" else Unknown("connection reset")

    def _commits(self, transaction: Transaction) -> None:
        """COMMIT leaves this process, unless it was killed while it was frozen."""
        if transaction.state == "open" and not self.process.killed:
            transaction.state = "committing"
            self.sim.loop.later(self.sim.latency(0.002, 0.05), self._committed, transaction)

    def _committed(self, transaction: Transaction) -> None:
        transaction.state = "committed"
        self.world.happens(_at(transaction.sent, self.sim.loop.time()))

    def _abort(self, transaction: Transaction) -> None:
        if transaction.state == "open":
            transaction.state = "aborted"

    async def inquire(self, call: Call, mark: dict[str, Any], *, timeout: float) -> Result | None:
        await self._goes("inquire")
        if self.sim.odds(0.1):
            raise ConnectorError(self.name, "503")
        transaction = self.world.transactions[mark["xid"]]
        match transaction.state:
            case "committed":
                return Done(transaction.result)
            case "aborted":
                return Refused("it was rolled back")
            case _:
                return None


def _at(sent: Sent, at: float) -> Sent:
    return Sent(at, sent.sent_at, sent.key, sent.fence, sent.path, sent.by, sent.unfenced, sent.paused)
