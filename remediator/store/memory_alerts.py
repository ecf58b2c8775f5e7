"""The part of a transaction in memory about what came in: deliveries, alerts, what became of each."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable
from datetime import datetime
from operator import attrgetter

import msgspec

from remediator.core.alert import Delivery
from remediator.ports import AlertRow, Disposition, Received, Rejected
from remediator.store.memory_pruning import PruneChanges
from remediator.store.portions import together

_REJECTED_KEPT = 200


class AlertChanges(PruneChanges):
    """Deliveries and alerts, as `remediator.ports.Tx` has them."""

    __slots__ = ()

    def _number(self, table: str) -> int:
        """Never given twice, not after a rollback either."""
        self._tables.last[table] += 1
        return self._tables.last[table]

    # ── The inbox ─────────────────────────────────────────────────────────────────────────────────

    async def put_delivery(self, delivery: Delivery) -> int:
        number = self._number("inbox")
        self._changes.set(self._tables.inbox, number, delivery)
        self._changes.set(self._tables.unsettled, number, None)
        return number

    async def inbox(self, limit: int) -> list[Received]:
        oldest = heapq.nsmallest(limit, self._tables.unsettled)
        return [Received(number, self._tables.inbox[number]) for number in oldest]

    async def claim_inbox(self, limit: int, alerts: int, but: Collection[int] = ()) -> list[Received]:
        oldest = [one for one in await self.inbox(limit + len(but)) if one.id not in but]
        return together(oldest[:limit], alerts)

    async def inbox_depth(self) -> int:
        return len(self._tables.unsettled)

    async def settle_delivery(self, number: int) -> None:
        self._changes.drop(self._tables.unsettled, number)

    async def deliveries(self, *, after: int = 0, limit: int = 1000) -> list[Received]:
        inbox = self._tables.inbox
        return [
            Received(one, inbox[one]) for one in heapq.nsmallest(limit, (one for one in inbox if one > after))
        ]

    async def last_delivery(self) -> int:
        return max(self._tables.inbox, default=0)

    async def put_rejected(self, rejected: Rejected) -> None:
        number, kept = self._number("rejected"), self._tables.rejected
        self._changes.set(kept, number, msgspec.structs.replace(rejected, id=number))
        for old in [one for one in kept if one <= number - _REJECTED_KEPT]:
            self._changes.drop(kept, old)

    async def rejected(self) -> list[Rejected]:
        return sorted(self._tables.rejected.values(), key=lambda one: -one.id)

    # ── Alerts and dispositions ───────────────────────────────────────────────────────────────────

    async def alert(self, fingerprint: str) -> AlertRow | None:
        return self._tables.alerts.get(fingerprint)

    async def put_alert(self, row: AlertRow) -> None:
        self._changes.set(self._tables.alerts, row.alert.fingerprint, row)

    async def alerts(self, *, firing_only: bool, source: str = "", limit: int = 500) -> list[AlertRow]:
        found: Iterable[AlertRow] = self._tables.alerts.values()
        if firing_only:
            found = (row for row in found if row.alert.firing)
        if source:
            found = (row for row in found if row.alert.source == source)
        by_name = sorted(found, key=lambda row: row.alert.fingerprint)
        return sorted(by_name, key=lambda row: row.last_at, reverse=True)[:limit]

    async def disposition(self, policy: str, fingerprint: str) -> Disposition | None:
        return self._tables.dispositions.get((policy, fingerprint))

    async def put_disposition(self, disposition: Disposition) -> None:
        tables, changes, one = self._tables, self._changes, disposition
        key = one.policy, one.fingerprint
        old = tables.dispositions.get(key)
        if old is not None and old.waits_for:
            changes.drop(tables.waiting[old.waits_for], key)
        changes.set(tables.dispositions, key, one)
        changes.set(tables.decided[one.fingerprint], one.policy, None)
        changes.put(tables.again, key, one.again_at)
        if one.waits_for:
            changes.set(tables.waiting[one.waits_for], key, None)

    async def drop_dispositions(self, fingerprint: str) -> None:
        tables, changes = self._tables, self._changes
        for policy in list(tables.decided.get(fingerprint) or ()):
            key = policy, fingerprint
            waits_for = tables.dispositions[key].waits_for
            if waits_for:
                changes.drop(tables.waiting[waits_for], key)
            changes.drop(tables.again, key)
            changes.drop(tables.dispositions, key)
            changes.drop(tables.decided[fingerprint], policy)

    async def dispositions(self, *, fingerprint: str = "", refused_only: bool = False) -> list[Disposition]:
        kept = self._tables.dispositions
        found: Iterable[Disposition] = kept.values()
        if fingerprint:
            policies = self._tables.decided.get(fingerprint) or {}
            found = (kept[policy, fingerprint] for policy in policies)
        if refused_only:
            found = [one for one in found if one.kind == "refused"]
        return sorted(found, key=attrgetter("since", "policy", "fingerprint"))

    async def wake_waiting(self, waits_for: str) -> None:
        await self.wake_some(waits_for, len(self._tables.dispositions))

    async def wake_some(self, waits_for: str, limit: int) -> int:
        tables, changes = self._tables, self._changes
        woken = list(tables.waiting.get(waits_for) or ())[:limit]
        for key in woken:
            changes.drop(tables.waiting[waits_for], key)
            one = tables.dispositions[key]
            # Those who were woken before keep their place: in a storm the last must have their turn, too.
            if one.again_at is None or one.again_at > self.now:
                changes.set(tables.dispositions, key, msgspec.structs.replace(one, again_at=self.now))
                changes.set(tables.again, key, self.now)
        return len(woken)

    async def hearers(self, fingerprint: str) -> tuple[datetime | None, list[str]]:
        row = self._tables.alerts.get(fingerprint)
        runs = sorted(self._tables.members.get(fingerprint) or ())
        return row.received_at if row is not None else None, runs

    async def is_waited_for(self, waits_for: str) -> bool:
        waiting = self._tables.waiting.get(waits_for) or ()
        return any(self._tables.dispositions[key].again_at is None for key in waiting)
