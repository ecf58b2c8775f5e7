"""One transaction on SQLite: every question and change that `remediator.ports.Tx` offers, as SQL.

Driven by the threads of `remediator.store.sqlite`. Nothing here ever suspends: the methods are
coroutines only because the same work runs on stores where they are round trips.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from remediator.core.alert import Delivery
from remediator.core.messages import Effect, Entry
from remediator.core.run import Halt, Page
from remediator.ports import (
    AlertRow,
    CardRef,
    Disposition,
    Due,
    JournalEntry,
    KeptPolicy,
    Pending,
    Received,
    Rejected,
    Replica,
    Unreadable,
)
from remediator.store.journal import START, link
from remediator.store.portions import received, together
from remediator.store.sqlite_pruning import PruneStatements
from remediator.store.sqlite_rows import (
    Row,
    as_json,
    micros,
    micros_or_none,
    moment,
    moment_or_none,
    where_all,
)
from remediator.store.sqlite_runs import RunStatements
from remediator.store.unread import Docs, own

_FIRINGS_KEPT = timedelta(days=30)
_REJECTED_KEPT = 200

_alert_row = Docs(msgspec.json.Decoder(AlertRow))
_disposition = Docs(msgspec.json.Decoder(Disposition))
_effect: Docs[Effect] = Docs(msgspec.json.Decoder(Effect))
_halt = Docs(msgspec.json.Decoder(Halt))
_page = Docs(msgspec.json.Decoder(Page))

_JOURNAL = "SELECT run, seq, at, kind, data, previous, hash FROM journal"
_DISPOSITION = "SELECT policy, fingerprint, doc, again_at FROM dispositions"
_PUT_OFF = {
    "dispositions": (
        "UPDATE dispositions SET again_at = ? WHERE again_at <= ? AND policy = ? AND fingerprint = ?"
    ),
    "pages": "UPDATE pages SET next_at = ? WHERE next_at <= ? AND id = ?",
}
_EFFECT = "SELECT id, run, doc FROM effects"


class SqliteTx(RunStatements, PruneStatements):
    """A `remediator.ports.Tx`."""

    __slots__ = ()

    # ── The inbox ─────────────────────────────────────────────────────────────────────────────────

    async def put_delivery(self, delivery: Delivery) -> int:
        number = self._execute("INSERT INTO inbox (doc) VALUES (?)", (as_json(delivery),)).lastrowid or 0
        self._execute("INSERT INTO waiting (id) VALUES (?)", (number,))
        return number

    async def inbox(self, limit: int) -> list[Received]:
        rows = self._rows(
            "SELECT id, doc FROM waiting CROSS JOIN inbox USING (id) ORDER BY id LIMIT ?", (limit,)
        )
        return [received(number, doc) for number, doc in rows]

    async def claim_inbox(self, limit: int, alerts: int, but: Collection[int] = ()) -> list[Received]:
        oldest = [one for one in await self.inbox(limit + len(but)) if one.id not in but]
        return together(oldest[:limit], alerts)

    async def inbox_depth(self) -> int:
        return int(self._rows("SELECT count(*) FROM waiting")[0][0])

    async def settle_delivery(self, number: int) -> None:
        self._execute("DELETE FROM waiting WHERE id = ?", (number,))

    async def deliveries(self, *, after: int = 0, limit: int = 1000) -> list[Received]:
        rows = self._rows("SELECT id, doc FROM inbox WHERE id > ? ORDER BY id LIMIT ?", (after, limit))
        return [received(number, doc) for number, doc in rows]

    async def last_delivery(self) -> int:
        return int(self._rows("SELECT coalesce(max(id), 0) FROM inbox")[0][0])

    async def put_rejected(self, rejected: Rejected) -> None:
        cursor = self._execute(
            "INSERT INTO rejected (at, source, problem, body) VALUES (?, ?, ?, ?)",
            (micros(rejected.at), rejected.source, rejected.problem, rejected.body),
        )
        self._execute("DELETE FROM rejected WHERE id <= ?", ((cursor.lastrowid or 0) - _REJECTED_KEPT,))

    async def rejected(self) -> list[Rejected]:
        rows = self._rows("SELECT at, source, problem, body, id FROM rejected ORDER BY id DESC")
        return [Rejected(moment(at), *rest) for at, *rest in rows]

    # ── Alerts and dispositions ───────────────────────────────────────────────────────────────────

    async def alert(self, fingerprint: str) -> AlertRow | None:
        row = self._row("SELECT doc FROM alerts WHERE fingerprint = ?", (fingerprint,))
        return _alert_row.decode(row[0]) if row else None

    async def put_alert(self, row: AlertRow) -> None:
        alert = row.alert
        self._execute(
            "INSERT INTO alerts (fingerprint, firing, source, last_at, doc) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (fingerprint) DO UPDATE SET firing = excluded.firing, source = excluded.source, "
            "last_at = excluded.last_at, doc = excluded.doc",
            (alert.fingerprint, alert.firing, alert.source, micros(row.last_at), as_json(row)),
        )

    async def alerts(self, *, firing_only: bool, source: str = "", limit: int = 500) -> list[AlertRow]:
        where = ["firing = 1"] * firing_only + ["source = :source"] * bool(source)
        rows = self._rows(
            f"SELECT fingerprint, doc FROM alerts {where_all(where)} "  # noqa: S608 - fixed pieces
            "ORDER BY last_at DESC, fingerprint LIMIT :limit",
            {"source": source, "limit": limit},
        )
        return self._unread.listed("alerts", lambda row: _alert_row.decode(row[1]), rows)

    async def disposition(self, policy: str, fingerprint: str) -> Disposition | None:
        row = self._row(_DISPOSITION + " WHERE policy = ? AND fingerprint = ?", (policy, fingerprint))
        return _as_disposition(row) if row else None

    async def put_disposition(self, disposition: Disposition) -> None:
        one = disposition
        self._execute(
            "INSERT OR REPLACE INTO dispositions "
            "(policy, fingerprint, kind, since, again_at, waits_for, doc) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                one.policy,
                one.fingerprint,
                one.kind,
                micros(one.since),
                micros_or_none(one.again_at),
                one.waits_for,
                as_json(one),
            ),
        )

    async def drop_dispositions(self, fingerprint: str) -> None:
        self._execute("DELETE FROM dispositions WHERE fingerprint = ?", (fingerprint,))

    async def dispositions(self, *, fingerprint: str = "", refused_only: bool = False) -> list[Disposition]:
        where = ["fingerprint = :fingerprint"] * bool(fingerprint) + ["kind = 'refused'"] * refused_only
        rows = self._rows(
            f"{_DISPOSITION} {where_all(where)} ORDER BY since, policy, fingerprint",
            {"fingerprint": fingerprint},
        )
        return self._unread.listed("dispositions", _as_disposition, rows)

    async def wake_waiting(self, waits_for: str) -> None:
        if not waits_for:
            return
        # Those who were woken before keep their place: in a storm the last must have their turn, too.
        self._execute(
            "UPDATE dispositions SET again_at = :now WHERE waits_for = :waits_for AND waits_for <> '' "
            "AND (again_at IS NULL OR again_at > :now)",
            {"now": micros(self.now), "waits_for": waits_for},
        )

    async def wake_some(self, waits_for: str, limit: int) -> int:
        woken = (
            "UPDATE dispositions SET again_at = ? WHERE rowid IN (SELECT rowid FROM dispositions "
            "WHERE waits_for = ? AND waits_for <> '' AND (again_at IS NULL OR again_at > ?) LIMIT ?)"
        )
        now = micros(self.now)
        return self._execute(woken, (now, waits_for, now, limit)).rowcount

    async def hearers(self, fingerprint: str) -> tuple[datetime | None, list[str]]:
        row = await self.alert(fingerprint)
        found = self._rows("SELECT run FROM members WHERE fingerprint = ? ORDER BY run", (fingerprint,))
        return row.received_at if row is not None else None, [run for (run,) in found]

    async def is_waited_for(self, waits_for: str) -> bool:
        sql = (
            "SELECT 1 FROM dispositions WHERE waits_for = ? AND waits_for <> '' AND again_at IS NULL LIMIT 1"
        )
        return self._row(sql, (waits_for,)) is not None

    # ── Journals ──────────────────────────────────────────────────────────────────────────────────

    async def journal(self, run_id: str, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        head = self._row("SELECT seq, hash FROM heads WHERE run = ?", (run_id,))
        seq, previous = head or (0, START)
        for seq, entry in enumerate(entries, start=seq + 1):  # noqa: B020 - it goes on from the head
            line = link(previous, run_id, seq, self.now, entry)
            self._execute(
                "INSERT INTO journal (run, seq, at, kind, data, previous, hash) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (run_id, seq, micros(line.at), line.kind, json.dumps(line.data), previous, line.hash),
                breach=f"the journal of {run_id} has lines after its head: it was tampered with",
            )
            previous = line.hash
        self._execute(
            "INSERT INTO heads (run, seq, hash) VALUES (?, ?, ?) "
            "ON CONFLICT (run) DO UPDATE SET seq = excluded.seq, hash = excluded.hash",
            (run_id, seq, previous),
        )

    async def read_journal(self, run_id: str, *, after: int = 0, limit: int = 10_000) -> list[JournalEntry]:
        rows = self._rows(
            f"{_JOURNAL} WHERE run = ? AND seq > ? ORDER BY seq LIMIT ?", (run_id, after, limit)
        )
        return [_as_line(row) for row in rows]

    async def journal_head(self, run_id: str) -> JournalEntry | None:
        row = self._row(f"{_JOURNAL} WHERE run = ? ORDER BY seq DESC LIMIT 1", (run_id,))
        return _as_line(row) if row else None

    async def journals(self) -> list[str]:
        return [name for (name,) in self._rows("SELECT run FROM heads ORDER BY run")]

    # ── Effects ───────────────────────────────────────────────────────────────────────────────────

    async def put_effects(self, run_id: str, effects: Sequence[Effect]) -> list[Pending]:
        sql = "INSERT INTO effects (run, kind, doc, holder) VALUES (?, ?, ?, ?)"
        rows = [(run_id, type(one).__name__, as_json(one), self._replica) for one in effects]
        return [
            Pending(self._execute(sql, row).lastrowid or 0, run_id, one)
            for row, one in zip(rows, effects, strict=True)
        ]

    async def drop_effect(self, number: int) -> bool:
        return self._execute("DELETE FROM effects WHERE id = ?", (number,)).rowcount > 0

    async def drop_repeatable(self, run_id: str) -> None:
        self._execute("DELETE FROM effects WHERE run = ? AND kind IN ('Probe', 'Preview')", (run_id,))

    async def pending(self) -> list[Pending]:
        return self._unread.listed("effects", _as_pending, self._rows(f"{_EFFECT} ORDER BY id"))

    # ── Replicas: the file belongs to one daemon, so whoever else held something is gone ──────────

    async def beat(self, replica: Replica, lasts: timedelta) -> None:
        pass

    async def replicas(self) -> list[Replica]:
        return []

    async def holders(self) -> Mapping[str, datetime | None]:
        rows = self._rows(
            "SELECT DISTINCT holder FROM effects WHERE holder <> ? ORDER BY holder", (self._replica,)
        )
        return {holder: None for (holder,) in rows}

    async def take_over(self, replica: str, until: datetime | None) -> list[Pending]:  # noqa: ARG002 - as above
        rows = self._rows(f"{_EFFECT} WHERE holder = ? AND holder <> ? ORDER BY id", (replica, self._replica))
        taken = self._unread.listed("effects", _as_pending, rows)
        for one in taken:  # what cannot be read stays where it is
            self._execute("UPDATE effects SET holder = ? WHERE id = ?", (self._replica, one.id))
        return taken

    async def held(self) -> list[Pending]:
        rows = self._rows(f"{_EFFECT} WHERE holder = ? ORDER BY id", (self._replica,))
        return self._unread.listed("effects", _as_pending, rows)

    async def let_go(self) -> int:
        return self._execute("UPDATE effects SET holder = '' WHERE holder = ?", (self._replica,)).rowcount

    async def current_set(self) -> str:
        return ""

    async def announced(self) -> Mapping[str, str]:
        return {}

    async def announce_set(self, version: str, policies: Mapping[str, str]) -> None:
        pass

    async def known_set(self, version: str) -> bool:  # noqa: ARG002 - nobody else could have announced one
        return False

    # ── Halts ─────────────────────────────────────────────────────────────────────────────────────

    async def put_halt(self, halt: Halt) -> None:
        self._execute(
            "INSERT OR REPLACE INTO halts (id, scope, at, doc) VALUES (?, ?, ?, ?)",
            (halt.id, halt.scope, micros(halt.at), as_json(halt)),
        )

    async def lift_halt(self, halt_id: str, by: str) -> Halt | None:
        row = self._row(
            "UPDATE halts SET lifted_at = ?, lifted_by = ? WHERE id = ? AND lifted_at IS NULL RETURNING doc",
            (micros(self.now), by, halt_id),
        )
        return _halt.decode(row[0]) if row else None

    async def halts(self) -> list[Halt]:
        rows = self._rows("SELECT doc FROM halts WHERE lifted_at IS NULL ORDER BY at, id")
        return [_halt.decode(doc) for (doc,) in rows]

    async def doubts(self) -> list[Halt]:
        put = "SELECT 1 FROM halts WHERE id = ?"
        return [halt for halt in self._doubts if not self._row(put, (halt.id,))]

    # ── Pages ─────────────────────────────────────────────────────────────────────────────────────

    async def put_page(self, page: Page) -> bool:
        if self._row("SELECT 1 FROM pages WHERE key = ? AND open = 1", (page.key,)):
            return False
        self._execute(
            "INSERT INTO pages (id, key, run, open, opened_at, next_at, doc) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (page.id, *_page_columns(page)),
            breach=f"{page.id}: there is a page with this id",
        )
        return True

    async def save_page(self, page: Page) -> None:
        self._execute(
            "INSERT INTO pages (id, key, run, open, opened_at, next_at, doc) VALUES (?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET key = excluded.key, run = excluded.run, open = excluded.open, "
            "opened_at = excluded.opened_at, next_at = excluded.next_at, doc = excluded.doc",
            (page.id, *_page_columns(page)),
            breach=f"{page.id}: another page is open for {page.key}",
        )

    async def claim_page(self, page_id: str, until: datetime) -> Page | None:
        page = await self.page(page_id)
        if page is None or page.acked_at is not None or page.next_at is None or page.next_at > self.now:
            return None
        await self.save_page(msgspec.structs.replace(page, next_at=until))
        return page

    async def page(self, page_id: str) -> Page | None:
        row = self._row("SELECT doc FROM pages WHERE id = ?", (page_id,))
        return _page.decode(row[0]) if row else None

    async def pages(self, *, open_only: bool = True, run: str = "") -> list[Page]:
        where = ["open = 1"] * open_only + ["run = :run"] * bool(run)
        sql = f"SELECT id, doc FROM pages {where_all(where)} ORDER BY opened_at, id"  # noqa: S608 - fixed pieces
        return self._unread.listed("pages", _as_page, self._rows(sql, {"run": run}))

    # ── The rest ──────────────────────────────────────────────────────────────────────────────────

    async def due(self, limit: int) -> Due:
        until = (micros(self.now), limit)
        runs = self._rows("SELECT id FROM runs WHERE wake_at <= ? ORDER BY wake_at, id LIMIT ?", until)
        again = self._rows(
            _DISPOSITION + " WHERE again_at <= ? ORDER BY again_at, policy, fingerprint LIMIT ?", until
        )
        pages = self._rows(
            "SELECT id, doc FROM pages WHERE open = 1 AND next_at <= ? ORDER BY next_at, id LIMIT ?", until
        )
        dispositions, odd = self._unread.sorted_out("dispositions", _as_disposition, again)
        readable, torn = self._unread.sorted_out("pages", _as_page, pages)
        return Due(tuple(run for (run,) in runs), tuple(dispositions), tuple(readable), (*odd, *torn))

    async def put_off(self, rows: Sequence[Unreadable], since: datetime, until: datetime) -> None:
        for row in rows:
            if row.table in _PUT_OFF:
                self._execute(_PUT_OFF[row.table], (micros(until), micros(since), *row.key))

    async def next_due(self) -> datetime | None:
        (earliest,) = self._rows(
            "SELECT (SELECT min(wake_at) FROM runs WHERE wake_at IS NOT NULL), "
            "(SELECT min(again_at) FROM dispositions WHERE again_at IS NOT NULL), "
            "(SELECT min(next_at) FROM pages WHERE open = 1 AND next_at IS NOT NULL)"
        )
        return moment_or_none(min((at for at in earliest if at is not None), default=None))

    async def claim_firing(self, watch: str, scheduled_at: datetime) -> bool:
        oldest = self.now - _FIRINGS_KEPT
        if scheduled_at < oldest:
            return False  # whether it was claimed is forgotten
        self._execute("DELETE FROM firings WHERE watch = ? AND at < ?", (watch, micros(oldest)))
        claim = "INSERT OR IGNORE INTO firings (watch, at) VALUES (?, ?)"
        return self._execute(claim, (watch, micros(scheduled_at))).rowcount > 0

    async def claim_newest_firing(self, watch: str, scheduled_at: datetime) -> bool:
        later = "SELECT 1 FROM firings WHERE watch = ? AND at > ? LIMIT 1"
        overtaken = self._row(later, (watch, micros(scheduled_at)))
        return overtaken is None and await self.claim_firing(watch, scheduled_at)

    async def newest_firing(self, watch: str) -> datetime | None:
        (newest,) = self._rows("SELECT max(at) FROM firings WHERE watch = ?", (watch,))
        return moment_or_none(newest[0])

    async def keep_policy(self, policy: KeptPolicy) -> None:
        self._execute(
            "INSERT OR REPLACE INTO policies (version, name, text, file) VALUES (?, ?, ?, ?)",
            (policy.version, policy.name, policy.text, policy.file),
        )

    async def kept_policy(self, version: str) -> KeptPolicy | None:
        row = self._row("SELECT version, name, text, file FROM policies WHERE version = ?", (version,))
        return KeptPolicy(*row) if row else None

    async def card(self, gate: str) -> CardRef | None:
        row = self._row("SELECT gate, channel, ts, digest, attached FROM cards WHERE gate = ?", (gate,))
        return CardRef(*row) if row else None

    async def put_card(self, card: CardRef, old: CardRef | None) -> bool:
        if await self.card(card.gate) != old:
            return False
        self._execute(
            "INSERT OR REPLACE INTO cards (gate, channel, ts, digest, attached) VALUES (?, ?, ?, ?, ?)",
            (card.gate, card.channel, card.ts, card.digest, card.attached),
        )
        return True


def _page_columns(page: Page) -> Row:
    return (
        page.key,
        page.run,
        page.acked_at is None,
        micros(page.opened_at),
        micros_or_none(page.next_at),
        as_json(page),
    )


def _as_page(row: Row) -> Page:
    _, doc = row
    return _page.decode(doc)


def _as_pending(row: Row) -> Pending:
    number, run, doc = row
    return Pending(number, run, _effect.decode(doc))


def _as_disposition(row: Row) -> Disposition:
    policy, fingerprint, doc, again_at = row
    found = _disposition.decode(doc)
    own(found, policy, fingerprint)
    return msgspec.structs.replace(found, again_at=moment_or_none(again_at))


def _as_line(row: Row) -> JournalEntry:
    run, seq, at, kind, data, previous, hash_ = row
    return JournalEntry(
        run=run, seq=seq, at=moment(at), kind=kind, data=json.loads(data), previous=previous, hash=hash_
    )
