"""Undos that come too late, because something else has to end first: a person must know, once for each.

Nothing is cut short for them: an act is not interrupted, a proof is read to its end.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import groupby

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
    Stage.UNDOING: "another undo is on its way",
}
"""Stages in which an undo may have to wait, and for what. In all others it is done when it is due."""


def late(run: Run, now: datetime) -> list[str]:
    """Temporary changes that stand a minute too long, and that nobody was told of."""
    return [name for name in _owed(run) if (at := _told_at(run, name)) is not None and now >= at]


def next_late(run: Run) -> datetime | None:
    """When somebody must be told next."""
    if run.stage not in WAITS:
        return None
    return min((at for name in _owed(run) if (at := _told_at(run, name)) is not None), default=None)


def tell(turn: Turn, why: str) -> None:
    """Page about those that are late; items of one list together."""
    for base, group in groupby(late(turn.run, turn.now), base_of):
        names = list(group)
        for name in names:
            turn.change_step(name, undo_late=True)
        turn.page(f"undo-late:{base}", f"the undo of {named(names)} is overdue: {why}")


def _owed(run: Run) -> list[str]:
    """What is still to be taken back; also what was tried in vain, and is tried again."""
    waiting = run.undoing[:1] if run.wait_until is not None else ()
    return [*run.temporary, *(name for name in waiting if run.steps[name].undo_started)]


def _told_at(run: Run, name: str) -> datetime | None:
    step = run.steps[name]
    return None if step.undo_at is None or step.undo_late else step.undo_at + GRACE
