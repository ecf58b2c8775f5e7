"""The part of an SQLite transaction that forgets what is over, some rows at a time, the oldest first."""

from __future__ import annotations

from datetime import datetime

from remediator.ports import Prunable
from remediator.store.sqlite_rows import Statements, micros

# Numbers are given in the order of time, so the oldest are looked at, and nothing else.
_COUNTERS = """
DELETE FROM acts WHERE id IN (
  SELECT id FROM (SELECT id, at FROM acts ORDER BY id LIMIT :limit) WHERE at < :before)
"""

_ALERTS = """
DELETE FROM alerts WHERE fingerprint IN (
  SELECT fingerprint FROM alerts WHERE last_at < :before AND firing = 0
    AND NOT EXISTS (SELECT 1 FROM members WHERE members.fingerprint = alerts.fingerprint)
  ORDER BY last_at LIMIT :limit)
"""

_PAGES = """
DELETE FROM pages WHERE id IN (
  SELECT id FROM pages WHERE open = 0 AND run = '' AND opened_at < :before ORDER BY opened_at LIMIT :limit)
"""

_SETTLED = """
SELECT id, CASE WHEN json_valid(doc) THEN CAST(doc ->> '$.received_at' AS BLOB) END FROM inbox
WHERE id > ? AND NOT EXISTS (SELECT 1 FROM waiting WHERE waiting.id = inbox.id) ORDER BY id LIMIT ?
"""

_ENDED = """
SELECT id FROM runs WHERE stage = 'closed' AND closed_at < ?
  AND NOT EXISTS (SELECT 1 FROM effects WHERE run = runs.id)
  AND NOT EXISTS (SELECT 1 FROM pages WHERE run = runs.id AND open = 1)
ORDER BY closed_at, id LIMIT ?
"""

_ENDED_SO = """
INSERT INTO pruned (policy, outcome, runs) VALUES (?, ?, 1)
ON CONFLICT (policy, outcome) DO UPDATE SET runs = runs + 1
"""


class PruneStatements(Statements):
    """Forgetting, as `remediator.ports.Tx` has it."""

    __slots__ = ()

    async def prune(self, what: Prunable, before: datetime, limit: int) -> int:
        if what == "deliveries":
            return self._prune_deliveries(before, limit)
        sql = {"alerts": _ALERTS, "counters": _COUNTERS, "pages": _PAGES}[what]
        return self._execute(sql, {"before": micros(before), "limit": limit}).rowcount

    def _prune_deliveries(self, before: datetime, limit: int) -> int:
        old, looked_at = list[int](), 0
        while len(old) < limit:  # past what cannot be read, until nothing old is found
            rows = self._rows(_SETTLED, (looked_at, limit))
            came = [(number, _moment(text)) for number, text in rows]
            found = [number for number, at in came if at is not None and at < before]
            if not found:
                break
            old, looked_at = [*old, *found][:limit], rows[-1][0]
        for number in old:
            self._execute("DELETE FROM inbox WHERE id = ?", (number,))
        return len(old)

    async def ended_runs(self, before: datetime, limit: int) -> list[str]:
        return [run for (run,) in self._rows(_ENDED, (micros(before), limit))]

    async def drop_run(self, run_id: str) -> bool:
        gone = "DELETE FROM runs WHERE id = ? AND stage = 'closed' RETURNING policy, outcome, version"
        row = self._row(gone, (run_id,))
        if row is None:
            return False
        policy, outcome, version = row
        self._execute(_ENDED_SO, (policy, outcome or ""))
        self._execute("DELETE FROM journal WHERE run = ?", (run_id,))
        self._execute("DELETE FROM heads WHERE run = ?", (run_id,))
        self._execute("DELETE FROM pages WHERE run = ?", (run_id,))
        self._execute("DELETE FROM cards WHERE gate > ? AND gate < ?", (f"{run_id}.", f"{run_id}/"))
        unused = (
            "DELETE FROM policies WHERE version = ?1 AND NOT EXISTS (SELECT 1 FROM runs WHERE version = ?1)"
        )
        self._execute(unused, (version,))
        return True


def _moment(text: bytes | None) -> datetime | None:
    """None where a damaged row says no time: it stays, and keeps no other from being forgotten."""
    try:
        at = datetime.fromisoformat((text or b"").decode())
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
