"""One transaction on PostgreSQL: every question and change that `remediator.ports.Tx` offers.

Changes wait, and go to the server in one statement; questions are answered by the look, by what is known
already, or by the server. See `remediator.store.postgres` for the round trips of a decision.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from remediator.core.canonical import canonical, digest, inert
from remediator.core.messages import Act, Effect, Entry
from remediator.core.run import Halt, Page
from remediator.ports import (
    SYSTEM,
    CardRef,
    Due,
    JournalEntry,
    KeptPolicy,
    Pending,
    Replica,
    Unreadable,
)
from remediator.store.doubts import Standing
from remediator.store.journal import START, link
from remediator.store.postgres_alerts import AlertQuestions, as_disposition
from remediator.store.postgres_pruning import PruneQuestions
from remediator.store.postgres_session import Row, dispositions_in
from remediator.store.postgres_writes import WATCH, plain
from remediator.store.sqlite_rows import (
    as_json,
    micros,
    micros_or_none,
    moment,
    moment_or_none,
    where_all,
)

DUE_RUNS = "SELECT id FROM runs WHERE wake_at <= $1 ORDER BY wake_at, id LIMIT $2"
DUE_AGAIN = """SELECT policy, fingerprint, doc, again_at FROM dispositions WHERE again_at <= $1
 ORDER BY again_at, policy, fingerprint LIMIT $2"""
DUE_PAGES = "SELECT id, doc FROM pages WHERE open AND next_at <= $1 ORDER BY next_at, id LIMIT $2"
PUT_OFF = {
    "dispositions": """UPDATE dispositions SET again_at = $1 WHERE again_at <= $2
 AND policy = $3 AND fingerprint = $4""",
    "pages": "UPDATE pages SET next_at = $1 WHERE next_at <= $2 AND id = $3",
}
NEXT_DUE = """SELECT least((SELECT min(wake_at) FROM runs WHERE wake_at IS NOT NULL),
 (SELECT min(again_at) FROM dispositions WHERE again_at IS NOT NULL),
 (SELECT min(next_at) FROM pages WHERE open AND next_at IS NOT NULL)) AS at"""
HOLDERS = """WITH RECURSIVE each (holder) AS (
  (SELECT holder FROM effects ORDER BY holder LIMIT 1)
  UNION ALL SELECT (SELECT holder FROM effects WHERE holder > each.holder ORDER BY holder LIMIT 1)
  FROM each WHERE each.holder IS NOT NULL)
SELECT holder, (SELECT until FROM replicas WHERE id = holder AND NOT gone) AS until
 FROM each WHERE holder <> $1 ORDER BY holder"""
TAKE_OVER = """WITH over AS (
  INSERT INTO replicas (id, host, policies, since, until, gone)
  SELECT $1, '', '', 0, 0, true WHERE $1 <> ''
  ON CONFLICT (id) DO UPDATE SET gone = true WHERE replicas.gone OR replicas.until = $3 RETURNING id)
UPDATE effects SET holder = $2 WHERE holder = $1 AND id = ANY ($4::bigint[])
 AND ($1 = '' OR EXISTS (SELECT FROM over)) RETURNING id, run, doc"""
REPLICAS = """SELECT id, host, policies, since, until - clock() AS left FROM replicas
 WHERE host <> '' AND ((NOT gone AND until - clock() BETWEEN 1 AND $1)
 OR EXISTS (SELECT FROM effects WHERE holder = replicas.id)) ORDER BY since, id"""
CLAIM_PAGE = "SELECT doc FROM pages WHERE id = $1 AND open AND next_at <= $2 FOR UPDATE SKIP LOCKED"
FIRST_CARD = """INSERT INTO cards (gate, channel, ts, digest, attached) VALUES ($1, $2, $3, $4, $5)
 ON CONFLICT DO NOTHING RETURNING gate"""
NEXT_CARD = """UPDATE cards SET channel = $2, ts = $3, digest = $4, attached = $5
 WHERE gate = $1 AND (channel, ts, digest, attached) = ($6, $7, $8, $9) RETURNING gate"""
CLAIM_FIRING = "INSERT INTO firings (watch, at) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING watch"
_EFFECT = "SELECT id, run, doc FROM effects"
_JOURNAL = "SELECT run, seq, at, kind, data, previous, hash FROM journal"

_FIRINGS_KEPT = timedelta(days=30)

_MOST_AHEAD = timedelta(minutes=1)
"""No lease is longer: one that ends later was written while the server's clock stood otherwise."""

_effect: msgspec.json.Decoder[Effect] = msgspec.json.Decoder(Effect)
_halt = msgspec.json.Decoder(Halt)
_page = msgspec.json.Decoder(Page)


class PostgresTx(AlertQuestions, PruneQuestions):
    """A `remediator.ports.Tx`."""

    __slots__ = ()

    def learn(self, row: Row) -> None:
        """What the look brought of the run that was asked for ahead; its row is locked."""
        if row["doc"] is None:
            return
        run, known = self._learn_run(row), self._known
        known.mine.add(run.id)
        known.heads[run.id] = (row["head_seq"] or 0, row["head_hash"] or START)
        with contextlib.suppress(msgspec.DecodeError):  # each is asked for by whoever needs it
            found = dispositions_in(row["dispositions"])
            if all(one.fingerprint in run.members for one in found):
                known.dispositions = {one: {} for one in run.members}
            for one in found if known.dispositions else ():
                known.dispositions[one.fingerprint][one.policy] = one

    # ── Journals ──────────────────────────────────────────────────────────────────────────────────

    async def journal(self, run_id: str, entries: Sequence[Entry]) -> None:
        self._may_write()
        if run_id == SYSTEM:
            for entry in entries:
                data = inert(entry.data)
                rest = canonical([self.now, entry.kind, digest(data)])[1:]
                self.writes.lines(entry.kind, json.dumps(data), rest)
            return
        if not entries:
            return
        head = self._known.heads.get(run_id) or await self._head(run_id)
        seq, previous = head
        for seq, entry in enumerate(entries, start=seq + 1):  # noqa: B020 - it goes on from the head
            line = link(previous, run_id, seq, self.now, entry)
            data = json.dumps(line.data)
            self._put("journal", "line", run_id, seq, line.kind, data, previous, line.hash)
            self._known.lines[run_id] = line
            previous = line.hash
        self._put("journal", "head", run_id, seq, previous, head[0])
        self._known.heads[run_id] = (seq, previous)

    async def _head(self, run_id: str) -> tuple[int, str]:
        row = await self._row((), "SELECT seq, hash FROM heads WHERE run = $1", plain(run_id))
        return (row["seq"], row["hash"]) if row is not None else (0, START)

    async def read_journal(self, run_id: str, *, after: int = 0, limit: int = 10_000) -> list[JournalEntry]:
        await self._settle_system()
        sql = f"{_JOURNAL} WHERE run = $1 AND seq > $2 ORDER BY seq LIMIT $3"
        return [_as_line(row) for row in await self._rows({"journal"}, sql, plain(run_id), after, limit)]

    async def journal_head(self, run_id: str) -> JournalEntry | None:
        if run_id in self._known.lines:
            return self._known.lines[run_id]
        await self._settle_system()
        sql = f"{_JOURNAL} WHERE run = $1 ORDER BY seq DESC LIMIT 1"
        row = await self._row({"journal"}, sql, plain(run_id))
        return _as_line(row) if row is not None else None

    async def journals(self) -> list[str]:
        await self._settle_system()
        return [row["run"] for row in await self._rows({"journal"}, "SELECT run FROM heads ORDER BY run")]

    async def _settle_system(self) -> None:
        if self.writes.system:
            await self.settle()

    # ── Effects ───────────────────────────────────────────────────────────────────────────────────

    async def put_effects(self, run_id: str, effects: Sequence[Effect]) -> list[Pending]:
        self._may_write()
        put = []
        for one in effects:
            number = await self._numbered(self._effects, "effect_numbers")
            self._put("effects", "effect", number, run_id, type(one).__name__, as_json(one))
            self.writes.bound = self.writes.bound or isinstance(one, Act)  # halts stop safe steps, too
            put.append(Pending(number, run_id, one))
        return put

    async def drop_effect(self, number: int) -> bool:
        ahead = self._looked.effect
        if ahead is not None and ahead[0] == number and "effects" not in self._changed | self.writes.tables:
            there = ahead[1]
        else:
            sql = "SELECT FROM effects WHERE id = $1"
            there = await self._row({"effects"}, sql, number) is not None
        if there:
            self._put("effects", "result", number)
        return there

    async def drop_repeatable(self, run_id: str) -> None:
        self._put("effects", "repeatable", run_id)

    async def pending(self) -> list[Pending]:
        rows = await self._rows({"effects"}, f"{_EFFECT} ORDER BY id")
        return self._unread.listed("effects", _as_pending, rows)

    # ── Replicas ──────────────────────────────────────────────────────────────────────────────────

    async def beat(self, replica: Replica, lasts: timedelta) -> None:
        since, until = micros(replica.since), micros(self.now + lasts)
        self._put("replicas", "beat", replica.id, replica.host, replica.policies, since, until)

    async def replicas(self) -> list[Replica]:
        most = _MOST_AHEAD // timedelta(microseconds=1)
        rows = await self._rows({"replicas", "effects"}, REPLICAS, most)
        return [
            Replica(
                id=row["id"],
                host=row["host"],
                policies=row["policies"],
                since=moment(row["since"]),
                until=self.now + timedelta(microseconds=min(row["left"], most)),
            )
            for row in rows
        ]

    async def holders(self) -> Mapping[str, datetime | None]:
        rows = await self._rows({"replicas", "effects"}, HOLDERS, self._looked.replica)
        return {row["holder"]: moment_or_none(row["until"]) for row in rows}

    async def take_over(self, replica: str, until: datetime | None) -> list[Pending]:
        me = self._looked.replica
        if replica == me:
            return []
        held = await self._rows({"effects"}, f"{_EFFECT} WHERE holder = $1", replica)
        read = self._unread.listed("effects", _as_pending, held)  # the others stay for whoever can read them
        mine = [one.id for one in read]  # what has come since is found with the next look
        rows = await self._done({"replicas", "effects"}, TAKE_OVER, replica, me, micros_or_none(until), mine)
        return sorted(map(_as_pending, rows), key=lambda one: one.id)

    async def held(self) -> list[Pending]:
        rows = await self._rows({"effects"}, f"{_EFFECT} WHERE holder = $1 ORDER BY id", self._looked.replica)
        return self._unread.listed("effects", _as_pending, rows)

    async def let_go(self) -> int:
        sql = "UPDATE effects SET holder = '' WHERE holder = $1 RETURNING id"
        self.news = True
        return len(await self._done({"effects"}, sql, self._looked.replica))

    async def current_set(self) -> str:
        if "sets" in self._changed | self.writes.tables:
            sql = "SELECT version FROM sets ORDER BY number DESC LIMIT 1"
            row = await self._row({"sets"}, sql)
            return row["version"] if row is not None else ""
        self._known.current_set = self._looked.current_set
        return self._looked.current_set

    async def announced(self) -> Mapping[str, str]:
        row = await self._row({"sets"}, "SELECT policies FROM sets ORDER BY number DESC LIMIT 1")
        found: dict[str, str] = json.loads(row["policies"]) if row is not None else {}
        return found

    async def announce_set(self, version: str, policies: Mapping[str, str]) -> None:
        self._put("sets", "set", version, json.dumps(dict(policies)))
        self.writes.keys.add("2halt!")  # whoever opens a run meanwhile shares it

    async def known_set(self, version: str) -> bool:
        row = await self._row({"sets"}, "SELECT FROM sets WHERE version = $1", version)
        return row is not None

    # ── Halts ─────────────────────────────────────────────────────────────────────────────────────

    async def put_halt(self, halt: Halt) -> None:
        self._put("halts", "halt", halt.id, halt.scope, micros(halt.at), as_json(halt))
        self.writes.keys.add("2halt!")

    async def lift_halt(self, halt_id: str, by: str) -> Halt | None:
        rows = await self._done(
            {"halts"},
            "UPDATE halts SET lifted_at = $1, lifted_by = $2 WHERE id = $3 AND lifted_at IS NULL "
            "RETURNING doc",
            micros(self.now),
            by,
            plain(halt_id),
        )
        return _halt.decode(rows[0]["doc"]) if rows else None

    async def halts(self) -> list[Halt]:
        rows = await self._rows({"halts"}, "SELECT doc FROM halts WHERE lifted_at IS NULL ORDER BY at, id")
        return [_halt.decode(row["doc"]) for row in rows]

    async def doubts(self) -> list[Halt]:
        found = self._looked.instant.doubts
        if not found:
            return []
        ids = [one.id for one in found]
        rows = await self._rows({"halts"}, "SELECT id FROM halts WHERE id = ANY ($1)", ids)
        told = {row["id"] for row in rows}
        return [one for one in found if one.id not in told]

    # ── Pages ─────────────────────────────────────────────────────────────────────────────────────

    async def put_page(self, page: Page) -> bool:
        self._may_write()
        if (
            await self._row({"pages"}, "SELECT FROM pages WHERE key = $1 AND open", plain(page.key))
            is not None
        ):
            return False
        self._put("pages", "page", page.id, *_page_columns(page))
        return True

    async def save_page(self, page: Page) -> None:
        self._put("pages", "saved-page", page.id, *_page_columns(page))

    async def claim_page(self, page_id: str, until: datetime) -> Page | None:
        row = await self._row({"pages"}, CLAIM_PAGE, plain(page_id), micros(self.now))
        if row is None:
            return None
        page = _page.decode(row["doc"])
        await self.save_page(msgspec.structs.replace(page, next_at=until))
        return page

    async def page(self, page_id: str) -> Page | None:
        sql = f"SELECT doc FROM pages WHERE id = $1{self._for_update}"  # noqa: S608 - fixed pieces
        row = await self._row({"pages"}, sql, plain(page_id))
        return _page.decode(row["doc"]) if row is not None else None

    async def pages(self, *, open_only: bool = True, run: str = "") -> list[Page]:
        where = ["open"] * open_only + ["run = $1"] * bool(run)
        sql = (
            f"WITH given AS (SELECT $1::text) SELECT id, doc FROM pages {where_all(where)} "  # noqa: S608 - fixed pieces
            f"ORDER BY opened_at, id{self._for_update if run else ''}"
        )
        return self._unread.listed("pages", _as_page, await self._rows({"pages"}, sql, plain(run)))

    # ── The rest ──────────────────────────────────────────────────────────────────────────────────

    async def due(self, limit: int) -> Due:
        until = (micros(self.now), limit)
        runs = await self._rows({"runs"}, DUE_RUNS, *until)
        again = await self._rows({"dispositions"}, DUE_AGAIN, *until)
        pages = await self._rows({"pages"}, DUE_PAGES, *until)
        dispositions, odd = self._unread.sorted_out("dispositions", as_disposition, again)
        readable, torn = self._unread.sorted_out("pages", _as_page, pages)
        return Due(tuple(row["id"] for row in runs), tuple(dispositions), tuple(readable), (*odd, *torn))

    async def put_off(self, rows: Sequence[Unreadable], since: datetime, until: datetime) -> None:
        for row in rows:
            if row.table in PUT_OFF:
                await self._done({row.table}, PUT_OFF[row.table], micros(until), micros(since), *row.key)

    async def next_due(self) -> datetime | None:
        ((at,),) = await self._rows({"runs", "dispositions", "pages"}, NEXT_DUE)
        return moment_or_none(at)

    async def claim_firing(self, watch: str, scheduled_at: datetime) -> bool:
        oldest = self.now - _FIRINGS_KEPT
        if scheduled_at < oldest:
            return False  # whether it was claimed is forgotten
        await self._done((), "DELETE FROM firings WHERE watch = $1 AND at < $2", watch, micros(oldest))
        return bool(await self._done((), CLAIM_FIRING, watch, micros(scheduled_at)))

    async def claim_newest_firing(self, watch: str, scheduled_at: datetime) -> bool:
        key = f"{WATCH}:{watch}"
        await self._done((), "SELECT take_locks($1, $2)", [key], not self._held)
        self._held.add(key)
        later = "SELECT 1 FROM firings WHERE watch = $1 AND at > $2 LIMIT 1"
        overtaken = await self._row((), later, watch, micros(scheduled_at))
        return overtaken is None and await self.claim_firing(watch, scheduled_at)

    async def newest_firing(self, watch: str) -> datetime | None:
        ((at,),) = await self._rows((), "SELECT max(at) FROM firings WHERE watch = $1", watch)
        return moment_or_none(at)

    async def keep_policy(self, policy: KeptPolicy) -> None:
        self._put("policies", "policy", policy.version, policy.name, policy.text, policy.file)
        self.writes.keys.add(f"3policy:{policy.name}")  # nobody forgets it while a run is opened

    async def kept_policy(self, version: str) -> KeptPolicy | None:
        sql = "SELECT version, name, text, file FROM policies WHERE version = $1"
        row = await self._row({"policies"}, sql, version)
        return KeptPolicy(*row) if row is not None else None

    async def card(self, gate: str) -> CardRef | None:
        sql = "SELECT gate, channel, ts, digest, attached FROM cards WHERE gate = $1"
        row = await self._row({"cards"}, sql, plain(gate))
        return CardRef(*row) if row is not None else None

    async def put_card(self, card: CardRef, old: CardRef | None) -> bool:
        new = (plain(card.gate), card.channel, card.ts, card.digest, card.attached)
        if old is None:
            return bool(await self._done({"cards"}, FIRST_CARD, *new))
        then = (old.channel, old.ts, old.digest, old.attached)
        return bool(await self._done({"cards"}, NEXT_CARD, *new, *then))

    async def keep_time(self) -> None:
        """So much has passed: it does not go back, not for another daemon either."""
        self._put("meta", "time")

    async def keep_standing(self, standing: Standing) -> None:
        """Where the server stands: daemons that start after a failover compare with it."""
        self._put("meta", "standing", int(standing.system), standing.timeline, standing.position)


def _page_columns(page: Page) -> tuple[object, ...]:
    opened_at, next_at = micros(page.opened_at), micros_or_none(page.next_at)
    return page.key, page.run, page.acked_at is None, opened_at, next_at, as_json(page)


def _as_page(row: Row) -> Page:
    return _page.decode(row["doc"])


def _as_pending(row: Row) -> Pending:
    return Pending(row["id"], row["run"], _effect.decode(row["doc"]))


def _as_line(row: Row) -> JournalEntry:
    return JournalEntry(
        run=row["run"],
        seq=row["seq"],
        at=moment(row["at"]),
        kind=row["kind"],
        data=json.loads(row["data"]),
        previous=row["previous"],
        hash=row["hash"],
    )
