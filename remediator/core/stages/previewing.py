"""Ask what the gated steps would change, so that people approve what they have seen."""

from __future__ import annotations

from remediator.core.failure import stop_before
from remediator.core.gate import needed
from remediator.core.messages import Event, Preview, Previewed
from remediator.core.planning import previews
from remediator.core.run import Stage
from remediator.core.turn import Turn

PREFIX = "preview:"


def enter(turn: Turn) -> None:
    """One preview for every step of the gate whose operation can show one."""
    gate = needed(turn.run, turn.policy)
    steps = [turn.run.steps[name] for name in gate.steps] if gate is not None else []
    wanted = {
        step.name: step.intention.call
        for step in steps
        if step.intention is not None and previews(step.intention.call, turn.facts.catalog)
    }
    turn.change(round=turn.run.round + 1, pending=tuple(PREFIX + name for name in wanted), pictures={})
    for name, call in wanted.items():
        turn.want(Preview(turn.run.round, name, call))


def hear(turn: Turn, event: Event) -> None:
    """When all pictures are there, open the gate."""
    if not isinstance(event, Previewed) or event.round != turn.run.round:
        return None
    if PREFIX + event.step not in turn.run.pending:
        return None
    if event.picture is None:
        return stop_before(turn, "preview", f"{event.step}: {event.error}")
    turn.note("previewed", step=event.step, count=event.picture.count)
    turn.change(
        pictures={**turn.run.pictures, event.step: event.picture},
        pending=tuple(key for key in turn.run.pending if key != PREFIX + event.step),
    )
    return None if turn.run.pending else turn.enter(Stage.WAITING)
