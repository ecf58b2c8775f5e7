"""The people of a fault run: they vote, look at what is unknown, and let things go on after a failover.

They know only what is shown to them, and what they see at the service itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.faults.cluster import Cluster

LOOKS_S = 0.4
BOTH = ("amina", "bob")


@dataclass
class People:
    """At work until cancelled."""

    cluster: Cluster
    rng: Random
    happened: Callable[[str, str], bool | None]
    """``(thing, policy)`` → what they see at the service; None while it may still change."""
    willing: float = 0.8
    """How many gates of a hundred they approve, as a fraction."""
    approved: dict[str, set[str]] = field(default_factory=dict)
    """Run → who approved, and was told that it counts or got no answer."""
    refused: set[str] = field(default_factory=set)
    """Runs that they denied, or will not vote on."""
    settled: dict[str, str] = field(default_factory=dict)
    halts: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Halts that they saw: why, and since when."""
    resumed: dict[str, float] = field(default_factory=dict)
    patient: bool = False
    """Somebody compares first: nothing is resumed yet."""
    paged: Callable[[str], bool] = lambda _run: True
    """Do they know of this run? By default they come upon whatever asks, whether they were told or not."""
    _decided: set[str] = field(default_factory=set)

    async def work(self) -> None:
        """Look around, and do what is to be done."""
        while True:
            await self._vote()
            await self._settle()
            await self._resume()
            await asyncio.sleep(LOOKS_S)

    async def _get(self, path: str) -> dict[str, Any]:
        return await self.cluster.ask_any(self.rng, "GET", path) or {}

    async def _post(self, path: str, body: object, by: str) -> bool:
        return await self.cluster.ask_any(self.rng, "POST", path, body, by=by) is not None

    async def _vote(self) -> None:
        for gate in (await self._get("/api/v1/gates")).get("gates", ()):
            run, path = gate["run"], f"/api/v1/gates/{gate['id']}/votes"
            if run not in self._decided:
                self._decided.add(run)
                if self.rng.random() > self.willing:
                    self.refused.add(run)
                    if self.rng.random() < 0.6:
                        await self._post(path, {"vote": "deny", "reason": "not now"}, "amina")
            if run in self.refused:
                continue
            shown = gate["hash"][:16]
            for by in BOTH:
                if by not in {vote["by"] for vote in gate["votes"]}:
                    self.approved.setdefault(run, set()).add(by)
                    await self._post(path, {"vote": "approve", "hash": shown}, by)

    async def _settle(self) -> None:
        for run in (await self._get("/api/v1/runs?state=asking")).get("runs", ()):
            thing = run["target"].partition("/")[2]
            found = self.happened(thing, run["policy"])
            if found is None or not self.paged(run["id"]):
                continue
            verdict = "happened" if found else "not-happened"
            path = f"/api/v1/runs/{run['id']}/settle"
            if await self._post(path, {"verdict": verdict, "reason": "looked at it"}, "bob"):
                self.settled[run["id"]] = verdict

    async def _resume(self) -> None:
        for halt in (await self._get("/api/v1/halts")).get("halts", ()):
            self.halts.setdefault(halt["id"], (halt["reason"], time.time()))
            if not self.patient:
                path = f"/api/v1/halts/{halt['id']}"
                if await self.cluster.ask_any(self.rng, "DELETE", path, by="chen") is not None:
                    self.resumed[halt["id"]] = time.time()
