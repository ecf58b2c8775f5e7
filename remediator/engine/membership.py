"""This daemon as one of several that share a store: its lease, whose work it takes over, when it leaves.

A replica that stays silent for `LEASE` is taken for gone, and the others go on with what it was doing. It
may only have been frozen: so each effect carries the lease under which it was begun, nothing is sent
once that is over by this machine's own clock, and the store refuses what it still writes. Then it begins
anew, as another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from remediator.engine.driver import Driver, Performs
from remediator.engine.recovery import recover, take_over
from remediator.errors import LeaseLost, StoreError
from remediator.ports import Clock, Replica, Store, Tx

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=9)
BEAT_S = 2.5
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


class Membership:
    """Joins, beats, takes over, leaves. Where a store has one daemon only, its lease never ends."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        policies: Callable[[], str],
        new_id: Callable[[str], str],
        host: str,
    ) -> None:
        """``policies``: the version of the running set; ``host``: where it runs, for people."""
        self._store = store
        self._clock = clock
        self._policies = policies
        self._new_id = new_id
        self._host = host
        self._driver: Driver | None = None
        self._performer: Performs | None = None
        self.id = ""
        self.lease = Lease(clock, 0.0)

    def attach(self, driver: Driver, performer: Performs) -> None:
        """Who goes on with what is taken over."""
        self._driver, self._performer = driver, performer

    async def join(self) -> None:
        """As a new replica; whatever was left behind goes on."""
        assert self._driver is not None
        assert self._performer is not None
        await self._begin()
        await recover(self._store, self._driver, self._performer)

    async def run(self) -> None:
        """Until cancelled."""
        while self._store.shared:
            await asyncio.sleep(BEAT_S)
            try:
                await self.beat()
            except StoreError as error:
                log.warning("the lease could not be renewed", extra={"problem": str(error)})

    async def beat(self) -> None:
        """Renew the lease, and look whether somebody has gone. Raises StoreError."""
        assert self._driver is not None
        assert self._performer is not None
        try:
            await self._renew()
        except LeaseLost:
            log.warning("this replica was taken for gone, and begins anew", extra={"replica": self.id})
            self.lease.until = 0.0
            await self._begin()
        await take_over(self._store, self._driver, self._performer)

    async def leave(self) -> None:
        """What is left goes to the others at once. Raises StoreError."""
        self.lease.until = 0.0
        await self._store.transact(lambda tx: tx.let_go())

    async def _begin(self) -> None:
        self.id = self._new_id("d")
        self._store.write_as(self.id)
        self.lease = Lease(self._clock, 0.0)
        await self._renew()

    async def _renew(self) -> None:
        assert self._driver is not None
        began = self._clock.monotonic()
        self._driver.stale = await self._store.transact(self._beat)
        lasts = LEASE.total_seconds() - MARGIN_S if self._store.shared else float("inf")
        self.lease.until = began + lasts

    async def _beat(self, tx: Tx) -> bool:
        """One sign of life; returns whether its policies are older than those of others."""
        mine = self._policies()
        await tx.beat(Replica(id=self.id, host=self._host, policies=mine, since=tx.now, until=tx.now), LEASE)
        current = await tx.current_set()
        if current == mine or not self._store.shared:
            return False
        lives = (one for one in await tx.replicas() if one.id != self.id and one.until > tx.now)
        if await tx.known_set(mine) and any(one.policies == current for one in lives):
            return True
        await tx.announce_set(mine)  # newer than all, or nobody has the current ones any more
        return False
