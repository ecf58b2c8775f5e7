"""Whether the PostgreSQL server is still the one that it was, asked on new connections and at each beat.

A failover breaks every connection; so does a restore. What the new ones find is compared with what this
daemon saw last, and with what the database itself kept, which tells daemons that were started after it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from remediator.store.doubts import Doubt, Standing, of_failover

STANDING = """SELECT system_identifier::text AS system,
 ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::int AS timeline,
 (pg_current_wal_flush_lsn() - '0/0')::bigint AS position FROM pg_control_system()"""
"""Any login may ask it, on a primary. What was flushed never goes back, not by a power cut either."""

KEPT = """SELECT (SELECT value::text FROM meta WHERE key = 'system') AS system,
 (SELECT value FROM meta WHERE key = 'timeline') AS timeline,
 (SELECT value FROM meta WHERE key = 'position') AS position"""
"""Where it stood when a daemon last wrote that down."""


def standing_in(row: Any) -> Standing | None:
    """A row of `STANDING` or `KEPT`; None where nothing was kept."""
    return Standing(row["system"], row["timeline"], row["position"]) if row["system"] else None


class Watch:
    """What this daemon knows of the server's standing."""

    def __init__(self) -> None:
        self.last: Standing | None = None
        self.doubt: Doubt | None = None

    async def ask(self, connection: Any, at: datetime) -> None:
        """Look at the server behind this connection."""
        before = self.last
        if before is None:
            (kept,) = await connection.fetch(KEPT)
            before = standing_in(kept)
        (row,) = await connection.fetch(STANDING)
        now = standing_in(row)
        assert now is not None
        self.hear(before, now, at)

    def hear(self, before: Standing | None, now: Standing, at: datetime) -> None:
        """``before``: `last` as it was when the server was asked, or else what the database had kept.

        Several may ask at once, and hear in another order than they were answered.
        """
        if before is not None and self.doubt is None:
            self.doubt = of_failover(before, now, at)
        if self.last is None or self.doubt is not None or now.position > self.last.position:
            self.last = now

    def settle(self) -> None:
        """A person has looked: this server is the one from now on."""
        self.doubt = None
