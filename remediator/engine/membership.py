"""This daemon as one of several that share a store: its lease, whose work it takes over, when it leaves.

A replica that stays silent for `LEASE`, as another counts its seconds, is taken for gone, and the others
go on with what it was doing. It may only have been frozen: so each effect carries the lease under which it
was begun, nothing is sent once that is over by this machine's own count, and the store refuses what it
still writes. Then it begins anew, as another. No clock that shows a time of day has a part in this.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from remediator.core.messages import START_WITHIN
from remediator.core.policyset import PolicySet
from remediator.engine.driver import Driver, Performs
from remediator.engine.recovery import LEASE, Silence, go_on, recover, take_over
from remediator.errors import LeaseLost, StoreError
from remediator.ports import Clock, Replica, Store, Tx

log = logging.getLogger(__name__)

BEAT_S = 2.5
LOOK_S = 1.0
"""How often it looks whether somebody has gone, or has let go of something."""
LOST_S = START_WITHIN.total_seconds() + 1.0
"""After which an effect that nobody performs is taken for lost: should it come now, it is too late to act."""
MARGIN_S = 1.5
"""So much earlier it stops sending: what was sent must have left before others take over."""


@dataclass(eq=False)
class Lease:
    """Under which something is begun."""

    clock: Clock
    until: float  # monotonic seconds

    def holds(self) -> bool:
        """Whether anything may still be sent under it. Asked immediately before."""
        return self.clock.monotonic() < self.until


class Remembers(Performs, Protocol):
    """What it asks of the performer."""

    def knows(self, number: int) -> bool:
        """Was it handed this effect, and is not through with it?"""
        ...


class Membership:
    """Joins, beats, takes over, leaves. Where a store has one daemon only, its lease never ends."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        policies: Callable[[], PolicySet],
        new_id: Callable[[str], str],
        host: str,
    ) -> None:
        """``policies``: the running set; ``host``: where it runs, for people."""
        self._store = store
        self._clock = clock
        self._policies = policies
        self._new_id = new_id
        self._host = host
        self._driver: Driver | None = None
        self._performer: Remembers | None = None
        self.id = ""
        self._since: datetime | None = None  # by the store's clock
        self.lease = Lease(clock, 0.0)
        self._ran = ""  # the version of the policies when it beat last
        self._renewing = asyncio.Lock()
        self._silence = Silence(clock)
        self._behind = False  # it decides again since a moment ago: what others heard may be undecided
        self._unknown: dict[int, float] = {}  # effects held here that the performer does not know: since when

    def attach(self, driver: Driver, performer: Remembers) -> None:
        """Who goes on with what is taken over."""
        self._driver, self._performer = driver, performer
        driver.life = lambda: self.lease
        driver.lost = self.lost

    def lost(self) -> None:
        """Others have taken over: nothing more is sent under this lease."""
        self.lease.until = 0.0

    async def join(self) -> None:
        """As a new replica; whatever was left behind goes on."""
        await self.begin()
        await self.recover()

    async def recover(self) -> None:
        """Go on with what was left behind: long work perhaps, so `run` should renew the lease meanwhile."""
        assert self._driver is not None
        assert self._performer is not None
        await recover(self._store, self._driver, self._performer, self._silence)

    async def run(self) -> None:
        """Until cancelled. The beat waits for nothing else: taking over may be long work."""
        if self._store.shared:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._every(BEAT_S, self.renew), name="beat")
                tasks.create_task(self._every(LOOK_S, self.look), name="look")

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except StoreError as error:
                log.warning("this replica cannot reach the store as one", extra={"problem": str(error)})
            except Exception as error:  # noqa: BLE001 - told and logged: without a beat others take over
                assert self._driver is not None
                await self._driver.stumbled(work.__name__, error)

    async def beat(self) -> None:
        """Renew the lease, and look whether somebody has gone. Raises StoreError."""
        await self.renew()
        await self.look()

    async def renew(self) -> None:
        """One sign of life; whoever was taken for gone begins anew. Raises StoreError."""
        async with self._renewing:
            try:
                await self._renew()
            except LeaseLost:
                log.warning("this replica was taken for gone, and begins anew", extra={"replica": self.id})
                self.lost()
                await self.begin()

    async def look(self) -> None:
        """Go on with what the others have left. Raises StoreError."""
        assert self._driver is not None
        assert self._performer is not None
        try:
            await take_over(self._store, self._driver, self._performer, self._silence)
            await self._find_lost()
            if self._behind:
                await self._catch_up()
        except LeaseLost:
            self.lost()
            raise

    async def _catch_up(self) -> None:
        """Long work perhaps: it may fall behind once more meanwhile, and then does all of it once more."""
        assert self._driver is not None
        self._behind = False
        try:
            await self._driver.policies_changed()
        except BaseException:
            self._behind = True
            raise

    async def _find_lost(self) -> None:
        """Effects that are held here and that nobody performs: the answer of their commit was lost.

        Only those that were so for longer than an act may take to be sent: should they be handed on after
        all, nothing is sent any more.
        """
        assert self._driver is not None
        assert self._performer is not None
        held = await self._store.read(lambda tx: tx.held())
        now, performer = self._clock.monotonic(), self._performer
        lost = {one.id: one for one in held if not performer.knows(one.id)}
        self._unknown = {number: self._unknown.get(number, now) for number in lost}
        old = [lost[number] for number, since in self._unknown.items() if now - since > LOST_S]
        self._unknown |= {one.id: now for one in old}  # whoever cannot be told of it now is told later
        await go_on(self._driver, performer, old)

    def problems(self) -> list[str]:
        """Why this replica is of no use now; empty when it is."""
        found = [] if self.lease.holds() else ["this replica's lease is over: it sends nothing"]
        if self._driver is not None and self._driver.stale:
            found.append(
                "other replicas read other policies later: this one opens no run until it has read them"
            )
        return found

    async def leave(self) -> None:
        """What is left goes to the others at once. Raises StoreError."""
        self.lost()
        await self._store.transact(lambda tx: tx.let_go())

    async def begin(self) -> None:
        """Under a new name and lease. Raises StoreError."""
        self.id, self._since = self._new_id("d"), None
        self._store.write_as(self.id)
        self.lease = Lease(self._clock, 0.0)
        await self._renew()

    async def _renew(self) -> None:
        assert self._driver is not None
        began, policies = self._clock.monotonic(), self._policies()
        stale, again = await self._store.transact(lambda tx: self._beat(tx, policies))
        self._behind = self._behind or again or (self._driver.stale and not stale)
        self._ran = policies.version
        if stale and not self._driver.stale:
            log.warning("other replicas read other policies later", extra={"replica": self.id})
        self._driver.stale = stale
        lasts = LEASE.total_seconds() - MARGIN_S if self._store.shared else float("inf")
        self.lease.until = began + lasts

    async def _beat(self, tx: Tx, policies: PolicySet) -> tuple[bool, bool]:
        """One sign of life; whether others read other policies later, and whether older ones count again.

        Whoever reads others while it runs was told to: they are current from then on, older ones too.
        Whoever starts with older ones may only have been forgotten.
        """
        mine, since = policies.version, self._since or tx.now
        self._since = since
        await tx.beat(Replica(id=self.id, host=self._host, policies=mine, since=since, until=tx.now), LEASE)
        current = await tx.current_set()
        if current == mine or not self._store.shared:
            return False, False
        read_now, known = self._ran not in ("", mine), await tx.known_set(mine)
        if not read_now and known:
            lives = (one for one in await tx.replicas() if one.id != self.id and one.until > tx.now)
            if any(one.policies == current for one in lives):
                return True, False
        await tx.announce_set(mine, {name: one.version for name, one in policies.by_name.items()})
        return False, known and self._ran == mine
