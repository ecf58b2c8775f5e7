"""What the daemon asks again and again, beside few open runs and beside very many: it must not matter.

Few: 1,000 runs wait at gates. Many: 100,000 do, all of one policy, and the journals have 5 million lines. One
run is opened by the real decisions; its rows are written again under other names, as many times.
"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from statistics import median
from typing import Any

import asyncpg

from bench.figures import Bar, Figure
from remediator.clock import SystemClock
from remediator.core.alert import Alert, Delivery
from remediator.core.policyset import PolicySet, Versioned
from remediator.engine.decisions import Decisions, Terms
from remediator.ports import Scope, Store, Tx
from remediator.store import open_store
from tests.core.campaign import CATALOG, policy, post, votes
from tests.engine.world import alert
from tests.rig.postgres import running_postgres
from tests.rig.processes import scratch

BAR = Bar("times", "at most", 2)
LINES = 50
"""Of each run's journal."""
DUE = 64
"""Runs whose time has come."""

_HOUR = timedelta(hours=1)
_GATED = policy(
    {"pause": post("/pause/${campaign}", gate=votes(oncall=1, within="7d"))},
    bounds={"at_once": 1_000_000, "per_policy": "1000000 in 1h"},
)
_EACH = "WITH RECURSIVE each (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM each WHERE n < {count})"
_NAMED = """{left}replace(replace(replace({doc}, '"r-1', '"r-x' || n), 'c-1', 'x-' || n), '"f1"',
 '"f-x' || n || '"'){right}"""
_FILL = (
    f"""INSERT INTO runs (id, policy, target, version, shadow, stage, open, locks, wake_at, opened_at, doc)
 {_EACH} SELECT 'r-x' || n, policy, 'campaign/x-' || n, version, shadow, stage, open, locks,
 CASE WHEN n <= {DUE} THEN n ELSE wake_at + n END, opened_at + n, {_NAMED}
 FROM runs CROSS JOIN each WHERE id = 'r-1'""",
    f"INSERT INTO members {_EACH} SELECT 'f-x' || n, 'r-x' || n FROM each",
    f"""INSERT INTO alerts (fingerprint, firing, source, last_at, doc)
 {_EACH} SELECT 'f-x' || n, firing, source, last_at + n, {_NAMED}
 FROM alerts CROSS JOIN each WHERE fingerprint = 'f1'""",
    f"""INSERT INTO dispositions (policy, fingerprint, kind, since, again_at, waits_for, doc)
 {_EACH} SELECT policy, 'f-x' || n, kind, since + n, again_at, waits_for, {_NAMED}
 FROM dispositions CROSS JOIN each WHERE fingerprint = 'f1'""",
    f"""INSERT INTO heads {_EACH} SELECT 'r-x' || n, {LINES}, hash
 FROM heads CROSS JOIN each WHERE run = 'r-1'""",
    f"""INSERT INTO journal (run, seq, at, kind, data, previous, hash)
 {_EACH}, lines (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM lines WHERE seq < {LINES})
 SELECT 'r-x' || n, lines.seq, at + n, kind, data, previous, hash FROM each CROSS JOIN lines CROSS JOIN
 (SELECT * FROM journal WHERE run = 'r-1' ORDER BY length(data) DESC LIMIT 1) AS line""",
)


def _decisions() -> Decisions:
    running = PolicySet.of([Versioned(_GATED, "v1")], CATALOG)
    ids = itertools.count(1)
    return Decisions(
        lambda: running,
        _GATED.__class__.model_validate,
        lambda kind: f"{kind}-{next(ids)}",
        Terms(timedelta(minutes=1)),
    )


@dataclass
class Side:
    """A store with so many open runs. took: seconds, of each question, newest round last."""

    url: str
    runs: int
    store: Store = field(init=False)
    took: dict[str, list[float]] = field(default_factory=dict)
    decisions: Decisions = field(default_factory=_decisions)

    def median(self, what: str) -> float:
        return median(self.took[what])


def claims_sqlite(*, quick: bool) -> Iterator[Figure]:
    """In two files."""
    with scratch("claims") as folder:
        sides = [Side(f"sqlite:///{folder}/{runs}.db", runs) for runs in _sizes(quick=quick)]
        yield asyncio.run(_measured("claims_sqlite", sides, quick=quick))


def claims_postgres(*, quick: bool) -> Iterator[Figure]:
    """In two databases of one server."""
    with running_postgres() as server:
        urls = (f"{server.dsn(asyncio.run(server.empty()))}?may_lose_data=yes" for _ in range(2))
        sides = [Side(url, runs) for url, runs in zip(urls, _sizes(quick=quick), strict=True)]
        yield asyncio.run(_measured("claims_postgres", sides, quick=quick))


def _sizes(*, quick: bool) -> tuple[int, int]:
    return (100, 1_000) if quick else (1_000, 100_000)


async def _measured(name: str, sides: list[Side], *, quick: bool) -> Figure:
    rounds, turns = (1, 20) if quick else (5, 100)
    async with AsyncExitStack() as until_done:
        for one in sides:
            await _filled(one)
            one.store = open_store(one.url, SystemClock())
            await one.store.open()
            one.store.write_as("d-bench")
            until_done.push_async_callback(one.store.close)
        for one in sides:
            await _round(one, 10)  # warm up
        ratios: dict[str, list[float]] = {}
        for _ in range(rounds):
            for one in sides:
                one.took.clear()
            for _ in range(turns // 10):  # in turns, so that whatever else the machine does meets both
                for one in sides:
                    await _round(one, 10)
            few, many = sides
            for what in few.took:
                ratios.setdefault(what, []).append(many.median(what) / few.median(what))
    worst = max(ratios, key=lambda what: median(ratios[what]))
    more: dict[str, Any] = {
        "worst": worst,
        "ratios": {what: round(median(found), 2) for what, found in ratios.items()},
        "open_runs": [one.runs for one in sides],
        "lines": [one.runs * LINES for one in sides],
        "ms": {what: [round(one.median(what) * 1000, 3) for one in sides] for what in ratios},
    }
    return Figure(name, BAR, ratios[worst], [], more)


# ── The questions ─────────────────────────────────────────────────────────────────────────────────

_numbers = itertools.count(1)


async def _round(one: Side, turns: int) -> None:
    for _ in range(turns):
        number = next(_numbers)
        some = number * 7919 % one.runs + 1
        asked: dict[str, Callable[[Tx], Awaitable[object]]] = {
            "claim_inbox": lambda tx: tx.claim_inbox(64, 100),
            "due": lambda tx: tx.due(64),
            "next_due": lambda tx: tx.next_due(),
            "claim_run": partial(_claim, number % DUE + 1),
            "open_run": partial(_open_run, some),
            "runs_of_alert": partial(_runs_of_alert, some),
            "seen": partial(_seen, some),
            "holders": lambda tx: tx.holders(),
        }
        for what, question in asked.items():
            took = await one.store.transact(partial(_timed, question))
            one.took.setdefault(what, []).append(took)
        await one.store.transact(partial(_heard, alert(f"n{number}", campaign=f"n-{number}")))
        began = time.perf_counter()
        done = await one.store.transact(partial(_decided, one.decisions))
        one.took.setdefault("decision", []).append(time.perf_counter() - began)
        assert len(done.runs) == 1, "a run was not opened"


async def _heard(one: Alert, tx: Tx) -> None:
    await tx.put_delivery(Delivery(source="alertmanager", alerts=(one,), received_at=tx.now))


async def _timed(question: Callable[[Tx], Awaitable[object]], tx: Tx) -> float:
    """Without what the transaction itself takes."""
    began = time.perf_counter()
    await question(tx)
    return time.perf_counter() - began


async def _claim(number: int, tx: Tx) -> None:
    assert await tx.claim_run(f"r-x{number}") is not None


async def _open_run(number: int, tx: Tx) -> None:
    assert await tx.open_run(_GATED.name, f"campaign/x-{number}") is not None


async def _runs_of_alert(number: int, tx: Tx) -> None:
    assert len(await tx.runs_of_alert(f"f-x{number}")) == 1


async def _seen(number: int, tx: Tx) -> None:
    scope = Scope(
        policy=_GATED.name,
        target=f"campaign/x-{number}",
        run=f"r-x{number}",
        target_window=_HOUR,
        policy_window=_HOUR,
    )
    await tx.seen(scope)


async def _decided(decisions: Decisions, tx: Tx) -> Any:
    (received,) = await tx.claim_inbox(64, 100)
    return await decisions.admit(tx, received)


# ── Filling ───────────────────────────────────────────────────────────────────────────────────────


async def _filled(one: Side) -> None:
    """One run by the decisions, and as many copies."""
    store = open_store(one.url, SystemClock())
    await store.open()
    await store.transact(partial(_heard, alert()))
    done = await store.transact(partial(_decided, one.decisions))
    assert done.runs == ["r-1"]
    await store.close()
    if one.url.startswith("sqlite"):
        await asyncio.to_thread(_fill_file, one)
    else:
        await _fill_database(one)


def _fill_file(one: Side) -> None:
    with closing(sqlite3.connect(one.url.removeprefix("sqlite://"))) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        for sql in _FILL:
            connection.execute(
                sql.format(count=one.runs, doc="CAST(doc AS TEXT)", left="CAST(", right=" AS BLOB)")
            )
        connection.commit()


async def _fill_database(one: Side) -> None:
    connection = await asyncpg.connect(
        one.url.partition("?")[0], server_settings={"search_path": "remediator"}
    )
    try:
        for sql in _FILL:
            await connection.execute(sql.format(count=one.runs, doc="doc", left="", right=""), timeout=1800)
        await connection.execute("VACUUM ANALYZE")  # as its own housekeeping would
    finally:
        await connection.close()
