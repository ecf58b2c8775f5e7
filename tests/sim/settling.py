"""A minute after the last fault: does everything move, or wait for somebody who was told?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from remediator.core.run import Run, Stage
from remediator.ports import Disposition, RunFilter
from tests.sim.moments import moment, seconds

if TYPE_CHECKING:
    from tests.sim.simulation import Simulation

STUCK_S = 30.0
"""A run that has not moved for so long, and waits for nobody, will never move."""
UNDO_LATE_S = 60.0
"""How late an undo may be before somebody must be told."""


def unsettled(sim: Simulation) -> list[str]:
    """What is stuck, or forgotten; a line each."""
    return [*_stuck_runs(sim), *_forgotten(sim)]


def _stuck_runs(sim: Simulation) -> Iterator[str]:
    now = sim.loop.time()
    told = {page.key for page in sim.store._tables.pages.values() if page.id in sim.people.told}
    for run in sim.store.look(lambda tx: tx.runs(RunFilter(state="open", limit=10_000))):
        moved = seconds(sim.store._tables.journal[run.id][-1].at)
        match run.stage:
            case Stage.WAITING if run.gate is not None and run.gate.id in sim.people.cards:
                continue
            case Stage.ASKING if any(key.startswith(f"{run.id}:unknown:") for key in told):
                continue
            case Stage.UNDOING if now < _due(run) + UNDO_LATE_S or _told_of_undo(run, told):
                continue  # it waits for its target, perhaps
            case _ if now - moved < STUCK_S:
                continue
        yield f"21 {run.id} is {run.stage} since {moved:.1f} s, and nobody was told ({run.policy})"


def _told_of_undo(run: Run, told: set[str]) -> bool:
    """Has somebody heard that it is late, or went wrong?"""
    return any(key.startswith((f"{run.id}:undo-late:", f"{run.id}:undo:")) for key in told)


def _due(run: Run) -> float:
    """When the undo that is first of its queue should have been done."""
    at = run.steps[run.undoing[0]].undo_at if run.undoing else None
    return seconds(at) if at is not None else 0.0


def _forgotten(sim: Simulation) -> Iterator[str]:
    """An alert that fires ends in a run, or in a refusal that says when it is considered again."""
    tables, now = sim.store._tables, sim.loop.time()
    for episode in sim.current.values():
        since = sim.accepted.get((episode.fingerprint, episode.began))
        if not episode.firing or since is None or now - since < 15.0:
            continue
        standing = tables.dispositions.get((episode.policy, episode.fingerprint))
        if standing is None:
            yield f"2 {episode.fingerprint} fires, and nothing was decided about it"
        elif not episode.note.isprintable() and standing.bound == "params":
            continue  # refused for what it says, until it says something else
        elif not _goes_on(sim, standing):
            yield f"2 {episode.fingerprint} fires, and is forgotten: {standing.kind} {standing.reason}"


def _goes_on(sim: Simulation, standing: Disposition) -> bool:
    tables = sim.store._tables
    kept = tables.runs.get(standing.run)
    if standing.kind in ("run-opened", "joined") and kept is not None:
        return kept.stage is not Stage.CLOSED
    if standing.again_at is not None and standing.again_at > moment(sim.loop.time() - 8):
        return True
    what, _, name = standing.waits_for.partition(":")
    match what:
        case "target":
            return name in tables.locks
        case "policy":
            return bool(tables.open_of.get((name, False)))
        case "halt":
            return bool(tables.halts)
    return False
