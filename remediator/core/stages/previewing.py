"""Ask what the gated steps would change, so that people approve what they have seen."""

from __future__ import annotations

from remediator.core.failure import stop_before
from remediator.core.messages import Event, Preview, Previewed
from remediator.core.run import Stage, StepState
from remediator.core.turn import Turn

PREFIX = "preview:"


def enter(turn: Turn) -> None:
    """One preview for every resolved step whose operation can show one."""
    operations = turn.facts.catalog.operations
    wanted = {
        name: step.intention.call
        for name, step in turn.run.steps.items()
        if step.state is StepState.PLANNED
        and step.intention is not None
        and operations[step.intention.call.operation].previews
    }
    turn.change(round=turn.run.round + 1, pending=tuple(PREFIX + name for name in wanted), pictures={})
    for name, call in wanted.items():
        turn.want(Preview(turn.run.round, name, call))


def hear(turn: Turn, event: Event) -> None:
    """When all pictures are there, open the gate."""
    if not isinstance(event, Previewed) or event.round != turn.run.round:
        return None
    if event.picture is None:
        return stop_before(turn, "preview", f"{event.step}: {event.error}")
    turn.note("previewed", step=event.step, count=event.picture.count)
    turn.change(
        pictures={**turn.run.pictures, event.step: event.picture},
        pending=tuple(key for key in turn.run.pending if key != PREFIX + event.step),
    )
    return None if turn.run.pending else turn.enter(Stage.WAITING)
