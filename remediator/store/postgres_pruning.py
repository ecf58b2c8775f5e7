"""The part of a PostgreSQL transaction that forgets what is over, some rows at a time, the oldest first."""

from __future__ import annotations

from datetime import datetime

from remediator.ports import Prunable
from remediator.store.postgres_session import Session
from remediator.store.postgres_writes import plain
from remediator.store.sqlite_rows import micros

# Numbers are given roughly in the order of time, so the oldest are looked at, and nothing else. Of deliveries
# some more: a daemon that takes few goes on with a block of low numbers for weeks.
_PRUNE = {
    "deliveries": """DELETE FROM inbox WHERE id IN (SELECT id FROM (SELECT id, received_at FROM inbox
 WHERE NOT EXISTS (SELECT FROM waiting WHERE waiting.id = inbox.id) ORDER BY id LIMIT 10 * $2::bigint)
 AS oldest WHERE received_at < $1 ORDER BY id LIMIT $2) RETURNING id""",
    "counters": """DELETE FROM acts WHERE id IN (
 SELECT id FROM (SELECT id, at FROM acts ORDER BY id LIMIT $2) AS oldest WHERE at < $1) RETURNING id""",
    "alerts": """DELETE FROM alerts WHERE NOT firing AND last_at < $1 AND fingerprint IN (
 SELECT fingerprint FROM alerts WHERE last_at < $1 AND NOT firing
 AND NOT EXISTS (SELECT FROM members WHERE members.fingerprint = alerts.fingerprint)
 ORDER BY last_at LIMIT $2) RETURNING fingerprint""",
    "pages": """DELETE FROM pages WHERE id IN (SELECT id FROM pages WHERE NOT open AND run = ''
 AND opened_at < $1 ORDER BY opened_at LIMIT $2) RETURNING id""",
}
_TABLES = {"deliveries": "inbox", "counters": "acts", "alerts": "alerts", "pages": "pages"}

_ENDED = """SELECT id FROM runs WHERE stage = 'closed' AND closed_at < $1
 AND NOT EXISTS (SELECT FROM effects WHERE run = runs.id)
 AND NOT EXISTS (SELECT FROM pages WHERE run = runs.id AND open) ORDER BY closed_at, id LIMIT $2"""


class PruneQuestions(Session):
    """Forgetting, as `remediator.ports.Tx` has it."""

    __slots__ = ()

    async def prune(self, what: Prunable, before: datetime, limit: int) -> int:
        return len(await self._done({_TABLES[what], "runs"}, _PRUNE[what], micros(before), limit))

    async def ended_runs(self, before: datetime, limit: int) -> list[str]:
        rows = await self._rows({"runs", "effects", "pages"}, _ENDED, micros(before), limit)
        return [row["id"] for row in rows]

    async def drop_run(self, run_id: str) -> bool:
        tables = {"runs", "journal", "pages", "cards", "policies"}
        (row,) = await self._done(tables, "SELECT drop_run($1) AS dropped", plain(run_id))
        dropped: bool = row["dropped"]
        if dropped:
            self._known.runs.pop(run_id, None)
            self._known.heads.pop(run_id, None)
            self._known.lines.pop(run_id, None)
        return dropped
