"""Whole runs: from the first POST to the last closing, each alert a run of one step on a target of its own.

Beside it, round by round, the store's bare transactions of the same shape: the rows that such a run leaves,
in three transactions for each, 16 at once, through the same `Store`; nothing is decided, nothing is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from bench.alerts import bodies, fingerprint
from bench.client import storm
from bench.figures import Bar, Figure
from bench.subjects import Daemon, daemon, policy, policy_name
from bench.wire import WANTED, peer
from remediator.clock import SystemClock
from remediator.core.alert import Delivery
from remediator.core.intention import Call
from remediator.core.messages import Act, Counted, Entry
from remediator.core.run import Member, Run, Stage
from remediator.errors import StoreError
from remediator.ports import (
    SYSTEM,
    Ahead,
    AlertRow,
    Disposition,
    JournalEntry,
    Pending,
    RunFilter,
    Scope,
    Store,
    Tx,
)
from remediator.store import open_store
from tests.rig.postgres import Server, running_postgres
from tests.rig.processes import scratch

T = TypeVar("T")

POLICIES = 20
AT_ONCE = 16
_WARM = 50
_WITHIN_S = 300.0
_HOUR = timedelta(hours=1)

Place = Callable[[], AbstractContextManager[str]]
"""A new store's URL."""


@dataclass(frozen=True)
class Left:
    """What one run left in the store, for the bare transactions to write again under other names."""

    delivery: Delivery
    row: AlertRow
    standing: Disposition
    run: Run
    opening: list[Entry]
    closing: list[Entry]
    opened: Entry  # in the system's journal
    closed: Entry


@dataclass(frozen=True)
class Round:
    """ours, bare: runs per second. work: milliseconds of a core for each run; ``server``: PostgreSQL's."""

    ours: float
    bare: float
    work: float
    server: float


def runs_sqlite(*, quick: bool) -> Iterator[Figure]:
    """Over a file of its own."""
    yield _measured("runs_sqlite", 250, _file, quick=quick)


def runs_postgres(*, quick: bool) -> Iterator[Figure]:
    """Over a PostgreSQL on this machine, with durable commits; one replica."""
    with running_postgres(durable=True) as server:
        yield _measured("runs_postgres", 150, lambda: _database(server), server.child.pid, quick=quick)


def _measured(name: str, limit: float, place: Place, server: int = 0, *, quick: bool) -> Figure:
    rounds, count = (1, 60) if quick else (3, 3_000)
    taken = [_round(place, count, server) for _ in range(rounds)]
    more = {
        "runs_each": count,
        "work_ms_per_run": [round(one.work, 2) for one in taken],
        "server_ms_per_run": [round(one.server, 2) for one in taken],
    }
    bar = Bar("runs/s", "at least", limit)
    return Figure(name, bar, [one.ours for one in taken], [one.bare for one in taken], more)


@contextmanager
def _file() -> Iterator[str]:
    with scratch("runs") as folder:
        yield f"sqlite:///{folder}/state.db"


@contextmanager
def _database(server: Server) -> Iterator[str]:
    yield server.dsn(asyncio.run(server.empty()))


# ── The daemon ────────────────────────────────────────────────────────────────────────────────────


def _round(place: Place, count: int, server: int) -> Round:
    with place() as url:
        ours, work, served, left = asyncio.run(_ours(url, count, server))
    with place() as url:
        bare = asyncio.run(_opened(url, lambda store: _bare(store, left, count)))
    return Round(ours, bare, work, served)


async def _ours(url: str, count: int, server: int) -> tuple[float, float, float, Left]:
    arrived: dict[int, float] = {}
    async with peer(arrived) as to:
        manager = daemon([policy(number, _wanted(number)) for number in range(POLICIES)], to, url)
        one = await asyncio.to_thread(manager.__enter__)
        try:
            await _closed(one, url, arrived, 0, min(_WARM, count))
            before = _worked([one.child.pid]), _worked(_children(server))
            took = await _closed(one, url, arrived, 2 * _WARM, count)
            work, served = _worked([one.child.pid]) - before[0], _worked(_children(server)) - before[1]
        finally:
            await asyncio.to_thread(manager.__exit__, None, None, None)
    left = await _opened(url, _what_is_left, reading=True)
    return count / took, work * 1000 / count, served * 1000 / count, left


async def _closed(one: Daemon, url: str, arrived: dict[int, float], first: int, count: int) -> float:
    """Post so many alerts as fast as they are taken; seconds until so many more runs have closed."""
    closed = await _opened(url, _count_closed, reading=True)

    async def all_closed(store: Store) -> None:
        while await _count_closed(store) < closed + count:
            await _waited(until)

    began = time.perf_counter()
    until = began + _WITHIN_S
    sent = len(arrived)
    load = await storm(
        one.aim,
        _posts(first),
        connections=AT_ONCE,
        seconds=_WITHIN_S,
        enough=lambda load: len(load.taken) >= count,
    )
    assert not load.others, load.others
    while len(arrived) < sent + count:
        await _waited(until)
    await _opened(url, all_closed, reading=True)
    return time.perf_counter() - began


def _wanted(number: int) -> str:
    return f"{WANTED}{number % POLICIES}"


def _posts(first: int) -> Iterator[tuple[range, bytes]]:
    """One alert each, of each policy in turn."""
    return (next(bodies(1, _wanted(number), number)) for number in itertools.count(first))


async def _waited(until: float) -> None:
    assert time.perf_counter() < until, "runs are open that should have closed"
    await asyncio.sleep(0.01)


async def _count_closed(store: Store) -> int:
    return sum(one.runs for one in await store.read(lambda tx: tx.policy_counts()))


async def _opened(url: str, work: Callable[[Store], Coroutine[Any, Any, T]], *, reading: bool = False) -> T:
    """With the store open: beside the daemon, only to read."""
    store = open_store(url, SystemClock())
    await (store.open_reading() if reading else store.open())
    try:
        return await work(store)
    finally:
        await store.close()


def _worked(processes: Sequence[int]) -> float:
    """Seconds of a core that they have taken so far."""
    found = 0
    for process in processes:
        with contextlib.suppress(FileNotFoundError):  # it has ended: one that kept house
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            found += int(fields[11]) + int(fields[12])
    return found / os.sysconf("SC_CLK_TCK")


def _children(process: int) -> list[int]:
    """Of a server: one process for each connection, and some that keep house. None of none."""
    if not process:
        return []
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(one) for one in text.split()]


# ── The bare transactions ─────────────────────────────────────────────────────────────────────────


async def _what_is_left(store: Store) -> Left:
    (run,) = await store.read(lambda tx: tx.runs(RunFilter(state="closed", limit=1)))
    one, name = run.alert.fingerprint, run.policy

    async def work(tx: Tx) -> Left:
        row, standing = await tx.alert(one), await tx.disposition(name, one)
        delivery = (await tx.deliveries(limit=1))[0].delivery
        lines = await tx.read_journal(run.id)
        opened, closed = (line for line in await tx.read_journal(SYSTEM) if line.data.get("run") == run.id)
        assert row is not None and standing is not None
        half = len(lines) // 2
        return Left(
            delivery,
            row,
            standing,
            run,
            _entries(lines[:half]),
            _entries(lines[half:]),
            *_entries([opened, closed]),
        )

    return await store.read(work)


def _entries(lines: Sequence[JournalEntry]) -> list[Entry]:
    return [Entry(line.kind, line.data) for line in lines]


async def _bare(store: Store, left: Left, count: int) -> float:
    """Runs per second."""
    store.write_as("d-bare")
    numbers = iter(range(_WARM + count))

    async def worker() -> None:
        for number in numbers:
            await _one(store, left, number)

    for _ in range(_WARM):
        await _one(store, left, next(numbers))
    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(worker())
    return count / (time.perf_counter() - began)


async def _one(store: Store, left: Left, number: int) -> None:
    """One run: kept, opened, closed. Whichever delivery is the oldest is taken, as the daemon does."""
    alert = replace(left.row.alert, fingerprint=fingerprint(number))
    await store.transact(lambda tx: tx.put_delivery(replace(left.delivery, alerts=(alert,))))
    begun = None
    while begun is None:
        with contextlib.suppress(StoreError):  # it met others too often; the daemon, too, tries again
            begun = await store.transact(lambda tx: _begin(tx, left))
    run, act = begun
    await store.transact(lambda tx: _end(tx, left, run, act), Ahead(run=run.id, effect=act.id))


async def _begin(tx: Tx, left: Left) -> tuple[Run, Pending] | None:
    claimed = await tx.claim_inbox(1, 100)
    if not claimed:
        return None
    (alert,) = claimed[0].delivery.alerts
    await tx.alert(alert.fingerprint)
    await tx.put_alert(replace(left.row, alert=alert))
    run = replace(
        left.run,
        id=f"r-{alert.fingerprint}",
        policy=policy_name(int(alert.fingerprint, 16) % POLICIES),
        target=f"worker/{alert.fingerprint}",
        alert=alert,
        members={alert.fingerprint: Member(firing=True, since=alert.starts_at)},
        stage=Stage.ACTING,
        closed_at=None,
        outcome=None,
    )
    scope = Scope(policy=run.policy, target=run.target, run=run.id, target_window=_HOUR, policy_window=_HOUR)
    await tx.seen(scope)
    await tx.put_disposition(
        replace(
            left.standing, policy=run.policy, fingerprint=alert.fingerprint, run=run.id, kind="run-opened"
        )
    )
    await tx.save_run(run, tx.now + _HOUR)
    await tx.journal(run.id, left.opening)
    await tx.journal(SYSTEM, [replace(left.opened, data=left.opened.data | {"run": run.id})])
    (act,) = await tx.put_effects(run.id, [_act(run, alert.fingerprint)])
    await tx.count(scope, Counted("safe", "0"))
    await tx.settle_delivery(claimed[0].id)
    return run, act


async def _end(tx: Tx, left: Left, run: Run, act: Pending) -> None:
    await tx.drop_effect(act.id)
    await tx.run(run.id)
    await tx.save_run(replace(run, stage=Stage.CLOSED, closed_at=tx.now, outcome=left.run.outcome), None)
    await tx.journal(run.id, left.closing)
    await tx.journal(SYSTEM, [replace(left.closed, data=left.closed.data | {"run": run.id})])
    (one,) = run.members
    await tx.put_disposition(replace(left.standing, policy=run.policy, fingerprint=one, run=run.id))


def _act(run: Run, host: str) -> Act:
    body = {"host": host}
    args = {"method": "POST", "path": f"/api/workers/{host}", "body": body}
    call = Call("http.request", "loyalty_api", args)
    return Act("restart", 1, call, f"{run.id}/restart", run.opened_at + _HOUR, policy=run.policy)
