"""What is over is forgotten, some rows at a time; each deletion is a line of the system journal.

A run goes with its journal, pages and cards. The system journal, which is never pruned, keeps the last hashes
of that journal, so that an audit tells a run that was pruned from one that somebody deleted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from remediator.core.bounds import look_back
from remediator.core.messages import Entry
from remediator.core.policyset import PolicySet
from remediator.ports import SYSTEM, JournalEntry, Prunable, Store, Tx

log = logging.getLogger(__name__)

BATCH = 200
"""Rows that go in one transaction."""
RUNS = 20
"""Runs that do, with everything about them."""
BREATH_S = 0.02
"""Between two transactions: others have their turn."""
SLOT = timedelta(minutes=10)
"""Of several replicas one prunes, each time anew."""


@dataclass(frozen=True)
class Keeps:
    """How long what is kept; None: for ever."""

    deliveries: timedelta | None
    alerts: timedelta | None
    runs: timedelta | None
    counters: timedelta | None


class Retention:
    """Forgets what is over."""

    def __init__(
        self,
        store: Store,
        keeps: Keeps,
        policies: Callable[[], PolicySet],
        sound: Callable[[Sequence[JournalEntry]], str | None],
        archive: Callable[[Sequence[JournalEntry]], None] | None,
        tell: Callable[[str, str], Awaitable[None]],
    ) -> None:
        """sound: what is wrong with a journal; archive: where one is kept before it goes, may raise OSError.

        tell: ``(key, text)`` pages somebody.
        """
        self._store = store
        self._keeps = keeps
        self._policies = policies
        self._sound = sound
        self._archive = archive
        self._tell = tell
        self._unsound: set[str] = set()

    async def prune(self) -> None:
        """Everything that is old enough now, unless another replica is at it. Raises StoreError."""
        now = self._store.clock.now()
        slot = datetime.fromtimestamp(
            now.timestamp() // SLOT.total_seconds() * SLOT.total_seconds(), now.tzinfo
        )
        if not await self._store.transact(lambda tx: tx.claim_firing(":retention", slot)):
            return
        for what, age in self.ages().items():
            if age is not None:
                await self._forget(what, now - age)
        if self._keeps.runs is not None:
            await self._forget_runs(now - self._keeps.runs)

    def ages(self) -> Mapping[Prunable, timedelta | None]:
        """How old each must be. What was counted stays for as long as any bound looks back."""
        keeps, running = self._keeps, self._policies()
        budgets = running.catalog.budgets
        needed = (look_back(one.policy, budgets) for one in running.by_name.values())
        counters = max([keeps.counters, *needed]) if keeps.counters is not None else None
        return {
            "deliveries": keeps.deliveries,
            "alerts": keeps.alerts,
            "counters": counters,
            "pages": keeps.runs,
        }

    async def _forget(self, what: Prunable, before: datetime) -> None:
        async def work(tx: Tx) -> int:
            rows = await tx.prune(what, before, BATCH)
            if rows:
                noted = {"what": what, "rows": rows, "before": before.isoformat()}
                await tx.journal(SYSTEM, [Entry("pruned", noted)])
            return rows

        rows = BATCH
        while rows == BATCH:
            rows = await self._store.transact(work)
            await asyncio.sleep(BREATH_S)

    # ── Runs ──────────────────────────────────────────────────────────────────────────────────────

    async def _forget_runs(self, before: datetime) -> None:
        while True:
            limit = RUNS + len(self._unsound)
            found = await self._store.read(lambda tx, limit=limit: tx.ended_runs(before, limit))  # type: ignore[misc]
            journals = {run: await self._journal(run) for run in found if run not in self._unsound}
            whole = {run: lines for run, lines in journals.items() if await self._is_sound(run, lines)}
            if not journals or not await self._archived([line for lines in whole.values() for line in lines]):
                return
            await self._store.transact(lambda tx, gone=whole: _drop(tx, gone))  # type: ignore[misc]
            await asyncio.sleep(BREATH_S)

    async def _journal(self, run: str) -> list[JournalEntry]:
        return await self._store.read(lambda tx: tx.read_journal(run, limit=1_000_000))

    async def _is_sound(self, run: str, lines: Sequence[JournalEntry]) -> bool:
        """A journal that does not verify is evidence: it stays, and a person hears of it."""
        problem = self._sound(lines) if lines else f"{run}: its journal is gone"
        if problem is None:
            return True
        self._unsound.add(run)
        remedy = "see: remediator audit verify. It is kept, however old it gets"
        await self._tell(f"journal:{run}", f"a journal does not verify: {problem}; {remedy}")
        return False

    async def _archived(self, lines: Sequence[JournalEntry]) -> bool:
        if self._archive is None or not lines:
            return True
        try:
            await asyncio.to_thread(self._archive, lines)
        except OSError as error:
            problem = f"{error.strerror or error}: {error.filename or 'the archive of journals'}"
            log.warning("journals cannot be archived, so they stay", extra={"problem": problem})
            text = f"journals cannot be archived, so no run is pruned: {problem}. See `retention.archive`"
            await self._tell("archive", text)
            return False
        return True


async def _drop(tx: Tx, journals: Mapping[str, Sequence[JournalEntry]]) -> None:
    """Those that are still as they were read. Their last hashes are kept, from the line that closed them."""
    gone: list[dict[str, Any]] = []
    for run, lines in journals.items():
        head = await tx.journal_head(run)
        if head is not None and head.hash == lines[-1].hash and await tx.drop_run(run):
            gone.append({"run": run, "entries": head.seq, "tail": _tail(lines)})
    if gone:
        await tx.journal(SYSTEM, [Entry("pruned", {"what": "runs", "runs": gone})])


def _tail(lines: Sequence[JournalEntry]) -> list[str]:
    closing = max((one.seq for one in lines if one.kind == "closed"), default=len(lines))
    return [one.hash for one in lines[closing - 1 :]]
