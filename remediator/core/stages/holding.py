"""A temporary change stands. Nobody is kept off the target; the undo waits for its time."""

from __future__ import annotations

from datetime import datetime

from remediator.core.messages import Event, TimePassed
from remediator.core.planning import rewrites
from remediator.core.run import Run, Stage
from remediator.core.turn import Turn


def enter(turn: Turn) -> None:
    """Say until when."""
    owed = {name: turn.run.steps[name].undo_at for name in turn.run.temporary}
    turn.note("holding", until={name: at.isoformat() if at else "resolved" for name, at in owed.items()})
    turn.show_card()
    if due(turn):
        hear(turn, TimePassed())


def hear(turn: Turn, event: Event) -> None:
    """Time boxes that are over, and early undos when the alert has stayed resolved."""
    if not isinstance(event, TimePassed):
        return
    names = due(turn)
    if names:
        turn.change(undoing=tuple(reversed(names)), after_undo=Stage.ENDING)
        turn.enter(Stage.UNDOING)


def due(turn: Turn) -> list[str]:
    """Steps whose undo is due now, and with them those that have written over what they wrote."""
    run, found = turn.run, list[str]()
    for name in run.temporary:
        over = any(rewrites(run.steps[name], run.steps[earlier]) for earlier in found)
        if over or _is_due(turn, name):
            found.append(name)
    return found


def _is_due(turn: Turn, name: str) -> bool:
    at = undo_time(turn.run, name, resolved_for(turn))
    return at is not None and turn.now >= at


def resolved_for(turn: Turn) -> datetime | None:
    """When "resolved" will have stood long enough, or None while the alert fires."""
    resolved_at = turn.run.resolved_at
    return None if resolved_at is None else resolved_at + turn.facts.debounce


def undo_time(run: Run, name: str, settled: datetime | None) -> datetime | None:
    """When a held step is to be undone: its time box, or earlier once the alert is over."""
    step = run.steps[name]
    assert step.intention is not None and step.intention.undo is not None
    times = [step.undo_at]
    if "resolved" in step.intention.undo.early:
        times.append(settled)
    return min((at for at in times if at is not None), default=None)
