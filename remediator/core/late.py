"""An answer comes after its act was given up for lost: the replica that had sent it was only frozen.

It settles what is still open, as if it had come in time: "done" is the world's own word, and so is "not done"
about the first and only sending. Whatever was decided meanwhile stands; a person who was told otherwise
hears of it.
"""

from __future__ import annotations

from remediator.core.catalog import Risk
from remediator.core.messages import CameLate, Done, Refused
from remediator.core.run import Stage, StepRun, StepState
from remediator.core.stages import acting
from remediator.core.turn import Turn


def hear(turn: Turn, event: CameLate) -> None:
    """Also of a run that has closed: then it is only told."""
    step = turn.run.steps.get(event.step)
    if step is None or not (said := _news(step, event)):
        return
    settles = _waits(turn, step, event)
    what = f"the undo of {step.name}" if event.undo else step.name
    turn.note(
        "late-result", step=step.name, attempt=event.attempt, undo=event.undo, said=said, settles=settles
    )
    if not settles:
        if _surprises(turn, step, event):
            turn.page(f"late:{what}", f"the lost answer about {what} came after all: {said}. Look again")
        return
    question = turn.run.question
    if question is not None:
        turn.change_question(question.id, late=f"its lost answer came after all: {said}", at=turn.now)
    acting.settle(turn, event.result)


def _news(step: StepRun, event: CameLate) -> str:
    """What it says that the run does not know, or ""."""
    sent = step.undo_attempt if event.undo else step.attempt
    match event.result:
        case Done(left=left) if event.undo:
            return "" if left or step.state is StepState.UNDONE else "it was done"
        case Done():
            return "" if step.stands or step.state is StepState.UNDONE else "it was done"
        case Refused(reason=reason) if event.attempt == sent == 1:
            believed = step.stands if not event.undo else step.state is StepState.UNDONE
            return f"it was not done, for certain: {reason}" if step.unknown or believed else ""
    return ""


def _waits(turn: Turn, step: StepRun, event: CameLate) -> bool:
    """Does the run still ask what became of it? Under one key, what one sending says is true of all."""
    here = turn.run.stage in (Stage.ASKING, Stage.VERIFYING) and turn.run.step is step
    return here and step.unknown and not event.undo


def _surprises(turn: Turn, step: StepRun, event: CameLate) -> bool:
    """Was something else believed, of what matters? What is sent again will tell by itself."""
    safe = step.intention is None or step.intention.risk is Risk.SAFE
    return not safe and (event.undo or turn.run.stage is not Stage.ACTING or turn.run.step is not step)
