"""The part of a PostgreSQL transaction about what came in: deliveries, alerts, what became of each."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable
from datetime import datetime

import msgspec

from remediator.core.alert import Delivery
from remediator.ports import AlertRow, Disposition, Received, Rejected
from remediator.store.portions import received, together
from remediator.store.postgres_runs import RunQuestions
from remediator.store.postgres_session import Numbers, Row, dispositions_in
from remediator.store.postgres_writes import alert_keys, plain
from remediator.store.sqlite_rows import as_json, micros, micros_or_none, moment_or_none, where_all
from remediator.store.unread import own

_WAITING = "SELECT id, doc FROM waiting JOIN inbox USING (id)"
_INBOX = f"{_WAITING} ORDER BY waiting.id"
_OTHERS = f"{_WAITING} WHERE id <> ALL($3::bigint[]) ORDER BY waiting.id"
CLAIM_INBOX = f"""{_OTHERS} LIMIT (SELECT greatest(1, count(*) FILTER (WHERE alerts <= $2)) FROM (SELECT
 sum(length(doc) - length(replace(doc, '"fingerprint":', '"fingerprint"'))) OVER (ORDER BY id) AS alerts
 FROM ({_OTHERS} LIMIT $1) AS oldest) AS counted) FOR UPDATE OF waiting SKIP LOCKED"""  # noqa: S608 - fixed pieces
"""No more are locked than hold so many alerts: what is locked for nothing, others would overtake."""

WAKE_SOME = """UPDATE dispositions SET again_at = $2 WHERE (policy, fingerprint) IN (
 SELECT policy, fingerprint FROM dispositions WHERE waits_for = $1 AND waits_for <> ''
 AND (again_at IS NULL OR again_at > $2) LIMIT $3) RETURNING policy"""
WAITED_FOR = """SELECT FROM dispositions
 WHERE waits_for = $1 AND waits_for <> '' AND again_at IS NULL LIMIT 1"""
_ALERT = "SELECT doc FROM alerts WHERE fingerprint = $1"
_DISPOSITION = "SELECT policy, fingerprint, doc, again_at FROM dispositions"

_rejected = msgspec.json.Decoder(Rejected)
_alert_row = msgspec.json.Decoder(AlertRow)
_disposition = msgspec.json.Decoder(Disposition)


class AlertQuestions(RunQuestions):
    """Deliveries and alerts, as `remediator.ports.Tx` has them."""

    __slots__ = ()

    async def _numbered(self, numbers: Numbers, sequence: str) -> int:
        number = numbers.next()
        while number is None:
            ((first,),) = await self._done((), f"SELECT nextval('{sequence}')")
            numbers.add(first)
            number = numbers.next()
        return number

    # ── The inbox ─────────────────────────────────────────────────────────────────────────────────

    async def put_delivery(self, delivery: Delivery) -> int:
        self._may_write()
        number = await self._numbered(self._deliveries, "delivery_numbers")
        self._put("inbox", "delivery", number, as_json(delivery), micros(delivery.received_at))
        self.news = True
        return number

    async def inbox(self, limit: int) -> list[Received]:
        rows = await self._rows({"inbox"}, f"{_INBOX} LIMIT $1", limit)
        return [received(row["id"], row["doc"]) for row in rows]

    async def claim_inbox(self, limit: int, alerts: int, but: Collection[int] = ()) -> list[Received]:
        rows = await self._done({"inbox"}, CLAIM_INBOX, limit, alerts, list(but))
        few = together((received(row["id"], row["doc"]) for row in rows), alerts)
        await self._hear(alert.fingerprint for one in few for alert in one.delivery.alerts)
        return few

    async def inbox_depth(self) -> int:
        ((depth,),) = await self._rows({"inbox"}, "SELECT count(*) FROM waiting")
        return int(depth)

    async def settle_delivery(self, number: int) -> None:
        self._put("inbox", "settled", number)

    async def deliveries(self, *, after: int = 0, limit: int = 1000) -> list[Received]:
        sql = "SELECT id, doc FROM inbox WHERE id > $1 ORDER BY id LIMIT $2"
        rows = await self._rows({"inbox"}, sql, after, limit)
        return [received(row["id"], row["doc"]) for row in rows]

    async def last_delivery(self) -> int:
        ((last,),) = await self._rows({"inbox"}, "SELECT coalesce(max(id), 0) FROM inbox")
        return int(last)

    async def put_rejected(self, rejected: Rejected) -> None:
        self._put("rejected", "rejected", as_json(rejected))

    async def rejected(self) -> list[Rejected]:
        rows = await self._rows({"rejected"}, "SELECT id, doc FROM rejected ORDER BY id DESC")
        return [msgspec.structs.replace(_rejected.decode(row["doc"]), id=row["id"]) for row in rows]

    # ── Alerts and dispositions ───────────────────────────────────────────────────────────────────

    async def _hear(self, fingerprints: Iterable[str]) -> None:
        """Whoever decides on an alert has it alone: read in one question, with its runs and refusals.

        What of that cannot be read is nobody's trouble but theirs who ask for it by name.
        """
        known = self._known
        wanted = sorted({one for one in fingerprints if one not in known.alerts})
        if not wanted:
            return
        keys = sorted(alert_keys(wanted, self._held))
        wait = not self._held or not keys or keys[0] > max(self._held)
        self._held.update(keys)
        if self._looked.apart:
            await self._done((), "SELECT take_locks($1, $2)", keys, wait)
            for fingerprint in wanted:
                found = await self._row({"alerts"}, _ALERT, plain(fingerprint))
                known.alerts[fingerprint] = _known_of(found["doc"] if found is not None else None)
            return
        tables = {"alerts", "runs", "dispositions"}
        sql = "SELECT * FROM hear($1, $2, $3)"
        rows = await self._rows(tables, sql, keys, wait, [plain(one) for one in wanted])
        for fingerprint, row in zip(wanted, rows, strict=True):
            known.alerts[fingerprint] = _known_of(row["alert"])
            with contextlib.suppress(msgspec.DecodeError):
                known.runs_of[fingerprint] = [run.id for run in self._learn_runs(row["runs"])]
            with contextlib.suppress(msgspec.DecodeError):
                found = dispositions_in(row["dispositions"])
                known.dispositions[fingerprint] = {one.policy: one for one in found}

    async def alert(self, fingerprint: str) -> AlertRow | None:
        if self._looked.writes:
            await self._hear([fingerprint])
            row = self._known.alerts[fingerprint]
            if isinstance(row, msgspec.DecodeError):
                raise row
            return row
        found = await self._row((), _ALERT, plain(fingerprint))
        return _alert_row.decode(found["doc"]) if found is not None else None

    async def put_alert(self, row: AlertRow) -> None:
        alert = row.alert
        self._put(
            "alerts",
            "alert",
            alert.fingerprint,
            alert.firing,
            alert.source,
            micros(row.last_at),
            as_json(row),
        )
        if alert.fingerprint in self._known.alerts:
            self._known.alerts[alert.fingerprint] = row

    async def alerts(self, *, firing_only: bool, source: str = "", limit: int = 500) -> list[AlertRow]:
        where = ["firing"] * firing_only + ["source = $1"] * bool(source)
        rows = await self._rows(
            {"alerts"},
            "WITH given AS (SELECT $1::text) "  # noqa: S608 - fixed pieces
            f"SELECT fingerprint, doc FROM alerts {where_all(where)} "
            "ORDER BY last_at DESC, fingerprint LIMIT $2",
            plain(source),
            limit,
        )
        return self._unread.listed("alerts", lambda row: _alert_row.decode(row["doc"]), rows)

    async def disposition(self, policy: str, fingerprint: str) -> Disposition | None:
        if fingerprint in self._known.dispositions:
            return self._known.dispositions[fingerprint].get(policy)
        sql = f"{_DISPOSITION} WHERE policy = $1 AND fingerprint = $2{self._for_update}"
        row = await self._row({"dispositions"}, sql, plain(policy), plain(fingerprint))
        return as_disposition(row) if row is not None else None

    async def put_disposition(self, disposition: Disposition) -> None:
        one = disposition
        self._put(
            "dispositions", "disposition", one.policy, one.fingerprint, one.kind, micros(one.since),
            micros_or_none(one.again_at), one.waits_for, as_json(one),
        )  # fmt: skip
        if one.fingerprint in self._known.dispositions:
            self._known.dispositions[one.fingerprint][one.policy] = one
        if one.waits_for:
            self._waits(one.waits_for, woken=False)

    async def drop_dispositions(self, fingerprint: str) -> None:
        self._put("dispositions", "resolved", fingerprint)
        self._known.dispositions[fingerprint] = {}

    async def dispositions(self, *, fingerprint: str = "", refused_only: bool = False) -> list[Disposition]:
        where = ["fingerprint = $1"] * bool(fingerprint) + ["kind = 'refused'"] * refused_only
        rows = await self._rows(
            {"dispositions"},
            f"WITH given AS (SELECT $1::text) {_DISPOSITION} {where_all(where)} "
            "ORDER BY since, policy, fingerprint",
            plain(fingerprint),
        )
        return self._unread.listed("dispositions", as_disposition, rows)

    async def wake_some(self, waits_for: str, limit: int) -> int:
        key = self._waits(waits_for, woken=True)
        await self._done((), "SELECT take_locks($1, true)", [key])  # whoever begins to wait is seen, or sees
        self._held.add(key)
        woken = await self._done({"dispositions"}, WAKE_SOME, plain(waits_for), micros(self.now), limit)
        self._known.dispositions.clear()
        self.news = self.news or bool(woken)
        return len(woken)

    async def hearers(self, fingerprint: str) -> tuple[datetime | None, list[str]]:
        row = await self._row({"alerts"}, _ALERT, plain(fingerprint))
        sql = "SELECT run FROM members WHERE fingerprint = $1 ORDER BY run"
        runs = [one["run"] for one in await self._rows({"runs"}, sql, plain(fingerprint))]
        return _alert_row.decode(row["doc"]).received_at if row is not None else None, runs

    async def is_waited_for(self, waits_for: str) -> bool:
        return bool(await self._rows({"dispositions"}, WAITED_FOR, plain(waits_for)))

    async def wake_waiting(self, waits_for: str) -> None:
        if not waits_for:
            return
        self._put("dispositions", "wake", waits_for)
        self._waits(waits_for, woken=True)
        self.news = True
        for known in self._known.dispositions.values():
            for policy, one in known.items():
                if one.waits_for == waits_for and (one.again_at is None or one.again_at > self.now):
                    known[policy] = msgspec.structs.replace(one, again_at=self.now)


def _known_of(doc: str | None) -> AlertRow | msgspec.DecodeError | None:
    """What is known of an alert, or why it cannot be read."""
    try:
        return _alert_row.decode(doc) if doc else None
    except msgspec.DecodeError as error:
        return error


def as_disposition(row: Row) -> Disposition:
    """A row with its key and ``doc``; ``again_at`` has a column of its own."""
    found = _disposition.decode(row["doc"])
    own(found, row["policy"], row["fingerprint"])
    return msgspec.structs.replace(found, again_at=moment_or_none(row["again_at"]))
