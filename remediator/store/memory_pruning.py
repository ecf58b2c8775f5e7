"""The part of a transaction in memory that forgets what is over."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from remediator.core.run import Stage
from remediator.ports import Prunable
from remediator.store.memory_kept import Tables
from remediator.store.memory_runs import RunChanges


class PruneChanges(RunChanges):
    """Forgetting, as `remediator.ports.Tx` has it."""

    __slots__ = ()

    _tables: Tables

    async def prune(self, what: Prunable, before: datetime, limit: int) -> int:
        tables = self._tables
        match what:
            case "deliveries":
                settled = (one for one in tables.inbox if one not in tables.unsettled)
                old = [one for one in sorted(settled) if tables.inbox[one].received_at < before]
                return self._drop(tables.inbox, old[:limit])
            case "alerts":
                over = (
                    row for row in tables.alerts.values() if not row.alert.firing and row.last_at < before
                )
                names = [row.alert.fingerprint for row in sorted(over, key=lambda row: row.last_at)]
                return self._drop(
                    tables.alerts, [name for name in names if not tables.members.get(name)][:limit]
                )
            case "pages":
                pages = tables.pages.values()
                read = [
                    one.id
                    for one in pages
                    if one.acked_at is not None and not one.run and one.opened_at < before
                ]
                return self._drop(tables.pages, read[:limit])
            case "counters":
                return self._forget_counters(before)

    def _drop(self, table: dict[Any, Any], keys: Iterable[Any]) -> int:
        return sum(self._changes.drop(table, key) for key in keys)

    def _forget_counters(self, before: datetime) -> int:
        """All of them at once: nobody waits for a lock here."""
        tables, forgotten = self._tables, 0
        counted: tuple[dict[Any, list[Any]], ...] = (
            tables.acts_on, tables.acts_of, tables.spent, tables.failures, tables.denials
        )  # fmt: skip
        for table in counted:
            for key, rows in list(table.items()):
                young = [row for row in rows if row[0] >= before]
                if len(young) < len(rows):
                    self._changes.set(table, key, young)
                    forgotten += len(rows) - len(young)
        for place, plays in tables.plays.items():
            for what, last in list(plays.items()):
                late = tuple(one for one in last if one[1] >= before)
                if len(late) < len(last):
                    self._changes.put(tables.plays[place], what, late or None)
                    forgotten += len(last) - len(late)
        return forgotten

    async def ended_runs(self, before: datetime, limit: int) -> list[str]:
        tables = self._tables
        busy = {tables.pages[one].run for one in tables.open_pages.values()}
        busy |= {one.run for one in tables.effects.values()}
        closed = (one for one in tables.runs.values() if one.stage is Stage.CLOSED and one.id not in busy)
        ended = [(run.closed_at, run.id) for run in map(self._whole, closed) if run.closed_at is not None]
        return [run_id for at, run_id in sorted(ended) if at < before][:limit]

    async def drop_run(self, run_id: str) -> bool:
        tables, changes = self._tables, self._changes
        kept = tables.runs.get(run_id)
        if kept is None or kept.stage is not Stage.CLOSED:
            return False
        version = self._whole(kept).version
        changes.drop(tables.runs, run_id)
        ended = kept.policy, kept.outcome
        changes.set(tables.pruned, ended, tables.pruned.get(ended, 0) + 1)
        changes.drop(tables.journal, run_id)
        changes.drop(tables.heads, run_id)
        self._drop(tables.pages, [one.id for one in tables.pages.values() if one.run == run_id])
        self._drop(tables.cards, [gate for gate in tables.cards if gate.startswith(f"{run_id}.")])
        if all(self._whole(one).version != version for one in tables.runs.values()):
            changes.drop(tables.policies, version)
        return True
