"""SIGKILL while alerts are taken: whatever was answered 200 must be in the store afterwards.

The kill ends the process, not the machine: that a commit survives a power cut is SQLite's promise
(synchronous=FULL), and cannot be shown here.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from bench.alerts import bodies, fingerprint
from bench.client import Aim, Load, storm
from bench.figures import Bar, Figure
from bench.subjects import TOKEN, bare_program, program, strangers
from remediator.clock import SystemClock
from remediator.ports import Tx
from remediator.store import open_store
from tests.rig.processes import scratch, start

ACCEPTED = 1_000
"""So many must have been answered 200 when the kill comes; more are under way then."""

_HOOK = "/hooks/alertmanager"


def lost(*, quick: bool) -> Iterator[Figure]:
    """Alerts answered 200 that are gone after kill -9 and a restart."""
    kills = 1 if quick else 5
    ours = [_killed(of_bare=False) for _ in range(kills)]
    floor = [_killed(of_bare=True) for _ in range(kills)]
    more = {
        "kills": kills,
        "accepted": [accepted for accepted, _ in ours],
        "accepted_baseline": [accepted for accepted, _ in floor],
    }
    # All kills together, not the median of them: one lost alert is one too many.
    gone, gone_of_bare = (float(sum(gone for _, gone in found)) for found in (ours, floor))
    yield Figure("lost", Bar("alerts", "at most", 0), [gone], [gone_of_bare], more)


def _killed(*, of_bare: bool) -> tuple[int, int]:
    """How many were accepted, and how many of them are gone."""
    with scratch("bench") as folder:
        what = bare_program(folder) if of_bare else program(folder, strangers(1))
        child = start(what, folder)
        try:
            taken = asyncio.run(_until_killed(Aim(child.port, _HOOK, TOKEN), child.kill))
        finally:
            child.end()
        with start(what, folder) as again:  # it recovers what was under way
            again.end()
        kept = _kept_by_bare(folder / "bare.db") if of_bare else asyncio.run(_kept(folder / "state.db"))
    accepted = {fingerprint(number) for numbers in taken for number in numbers}
    return len(accepted), len(accepted - kept)


async def _until_killed(aim: Aim, kill: Callable[[], None]) -> list[range]:
    """Post; kill after `ACCEPTED` answers with more under way; what was answered, to the last byte."""

    def enough(load: Load) -> bool:
        if len(load.taken) == ACCEPTED and not killed:
            killed.append(True)
            kill()
        return False

    killed: list[bool] = []
    load = await storm(aim, bodies(1), connections=32, seconds=60, enough=enough)
    return load.taken


async def _kept(path: Path) -> set[str]:
    """Fingerprints of the alerts in the store, decided on or still in the inbox."""

    async def work(tx: Tx) -> set[str]:
        decided = {row.alert.fingerprint for row in await tx.alerts(firing_only=False, limit=1_000_000)}
        waiting = {alert.fingerprint for one in await tx.inbox(1_000_000) for alert in one.delivery.alerts}
        return decided | waiting

    store = open_store(f"sqlite:///{path}", SystemClock())
    await store.open_reading()
    try:
        return await store.read(work)
    finally:
        await store.close()


def _kept_by_bare(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT body FROM inbox").fetchall()
    return {alert["fingerprint"] for (body,) in rows for alert in json.loads(body)["alerts"]}
