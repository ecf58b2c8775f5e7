"""Undos that come too late, whatever they wait for: a person must know, once for each.

Nothing is cut short for them: an act is not interrupted, a proof is read to its end, and an undo that was
sent is waited for.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from remediator.core.repeating import named
from remediator.core.run import Run, Stage
from remediator.core.steps import base_of
from remediator.core.turn import Turn

GRACE = timedelta(minutes=1)
"""How late an undo may be before a person is paged."""

WAITS = {
    Stage.ACTING: "another step is on its way",
    Stage.VERIFYING: "another step is being proved",
    Stage.ASKING: "the outcome of another step is unknown, and a person has to settle it",
}
"""Stages in which no undo is sent, and why. In all others it is sent when it is due."""
LATE_IN = (*WAITS, Stage.UNDOING)
"""Stages in which an undo may come too late."""


def next_late(run: Run) -> datetime | None:
    """When somebody must be told next."""
    if run.stage not in LATE_IN:
        return None
    return min((at + GRACE for name in _untold(run) if (at := run.steps[name].undo_at)), default=None)


def tell(turn: Turn, why: str) -> None:
    """Page about those that are late. Of a list all that are due, at once: each would be late in its turn.

    why: what keeps them, if it is not the stage.
    """
    if turn.run.stage not in LATE_IN:
        return
    due = [name for name in _untold(turn.run) if _is_due(turn, name)]
    for base in dict.fromkeys(base_of(name) for name in due if _is_due(turn, name, GRACE)):
        names = [name for name in due if base_of(name) == base]
        for name in names:
            turn.change_step(name, undo_late=True)
        turn.page(
            f"undo-late:{base}", f"the undo of {named(names)} is overdue: {why or WAITS[turn.run.stage]}"
        )


def _untold(run: Run) -> list[str]:
    """What stands and is to be taken back, be it on its way to be; nobody was told of it yet."""
    queue = set(run.undoing)
    owed = [name for name, step in run.steps.items() if (step.to_go if name in queue else step.temporary)]
    return [name for name in owed if not run.steps[name].undo_late]


def _is_due(turn: Turn, name: str, grace: timedelta = timedelta()) -> bool:
    at = turn.run.steps[name].undo_at
    return at is not None and turn.now >= at + grace
