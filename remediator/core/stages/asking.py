"""An outcome is unknown and nothing can prove it: a person is paged and decides."""

from __future__ import annotations

from remediator.core.failure import step_failed, step_worked
from remediator.core.messages import Event, Settled
from remediator.core.run import Outcome, Stage, StepState, Verdict
from remediator.core.turn import Turn


def enter(turn: Turn) -> None:
    """Page. The target stays locked until somebody has looked."""
    step = turn.step
    what = step.intention.summary if step.intention is not None else step.name
    turn.note("asking", step=step.name, reason=step.error)
    text = (
        f"it is unknown whether {step.name} happened ({step.error}). Look, then say so: "
        f"remediator runs settle {turn.run.id} happened | not-happened | handled. What was sent: {what}"
    )
    turn.page(f"unknown:{step.name}", text)
    turn.show_card()


def hear(turn: Turn, event: Event) -> None:
    """A person's word settles it."""
    if not isinstance(event, Settled):
        return None
    name = turn.step.name
    turn.note("settled", step=name, by=event.by, verdict=event.verdict, reason=event.reason)
    match event.verdict:
        case "happened":
            turn.change_step(name, state=StepState.DONE, worked=True, unknown=False)
            return step_worked(turn)
        case "not-happened":
            turn.change_step(name, state=StepState.REFUSED, unknown=False)
            return step_failed(turn, Outcome.FAILED, f"{name} did not happen, says {event.by}")
        case "handled":
            turn.change(verdict=Verdict(Outcome.HANDED_OVER, f"taken by {event.by}"))
            return turn.enter(Stage.ENDING)
