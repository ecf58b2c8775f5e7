"""The world was told. Its answer is done, refused or unknown, and each means something else."""

from __future__ import annotations

from datetime import timedelta

from remediator.core.catalog import Fence, Risk
from remediator.core.exact import shown
from remediator.core.failure import step_failed, step_worked
from remediator.core.messages import Done, Event, Inquired, Marked, Refused, Result, StepFinished, Unknown
from remediator.core.run import Outcome, Stage, StepRun, StepState
from remediator.core.turn import Turn

MOST_ATTEMPTS = 3
"""Sends of one idempotent request under one key before its outcome counts as unknown."""
KEY_KNOWN = timedelta(minutes=10)
"""How long after the start a service is trusted to remember a key; services keep them for hours."""


def enter(turn: Turn) -> None:
    """Nothing to do but wait: the act went out with the intent."""


def hear(turn: Turn, event: Event) -> None:
    """What the attempt that is on the wire has to say."""
    if not isinstance(event, StepFinished | Marked | Inquired) or event.undo or turn.run.step is None:
        return None
    if (event.step, event.attempt) != (turn.step.name, turn.step.attempt):
        return None
    match event:
        case Marked(mark=mark):
            return _mark(turn, mark)
        case Inquired(result=result):
            return _told(turn, result) if turn.step.unknown else None
        case StepFinished() if turn.step.unknown:
            return None  # its mark is being asked about
        case StepFinished(result=Done(result=answer)):
            return _done(turn, answer)
        case StepFinished(result=Refused(reason=reason)) if turn.step.attempt == 1:
            return _refused(turn, reason)
        case StepFinished(result=Refused(reason=reason) | Unknown(reason=reason)):
            # A refusal of a later sending says nothing about the first, whose answer was lost.
            return _unknown(turn, reason)


def settle(turn: Turn, result: Result) -> None:
    """An unknown outcome is known after all. What is being proved goes on to be."""
    match result:
        case Done(result=answer) if turn.run.stage is Stage.VERIFYING:
            known = {"state": StepState.DONE, "finished_at": turn.now, "result": answer}
            turn.change_step(turn.step.name, **known, unknown=False, error="")
            turn.show_card()
        case Done(result=answer):
            _done(turn, answer)
        case Refused(reason=reason):
            _refused(turn, reason)


def _mark(turn: Turn, mark: dict[str, object]) -> None:
    """What is about to become final, kept first. Not kept: the act may not become final any more."""
    step = turn.step
    if step.state is StepState.STARTED and step.mark is None and not turn.facts.halts:
        turn.change_step(step.name, mark=mark)
        turn.note("marked", step=step.name, attempt=step.attempt, mark=mark)


def _told(turn: Turn, result: Result) -> None:
    """The mark has told. What it cannot tell stays unknown: a proof or a person decides."""
    match result:
        case Done(result=answer):
            turn.note("found-out", step=turn.step.name, became="final")
            return _done(turn, answer)
        case Refused(reason=reason):
            turn.note("found-out", step=turn.step.name, became="nothing", reason=reason)
            return _refused(turn, reason)
        case Unknown(reason=reason):
            return _stays_unknown(turn, reason)


def _refused(turn: Turn, reason: str) -> None:
    name = turn.step.name
    turn.change_step(name, state=StepState.REFUSED, finished_at=turn.now, error=reason, unknown=False)
    turn.note("finished", step=name, result="refused", reason=reason)
    turn.show_card()
    return step_failed(turn, Outcome.FAILED, f"{name} was refused: {reason}")


def _done(turn: Turn, result: dict[str, object]) -> None:
    name = turn.step.name
    turn.change_step(
        name, mark=None, state=StepState.DONE, finished_at=turn.now, result=result, unknown=False, error=""
    )
    turn.note("finished", step=name, result="done", answer=shown(result))
    turn.show_card()
    return _pass_on(turn)


def _pass_on(turn: Turn) -> None:
    """A step that was done goes on to its proof, or to the next one."""
    if turn.step.intention is not None and turn.step.intention.verify is not None:
        return turn.enter(Stage.VERIFYING)
    turn.change_step(turn.step.name, worked=True)
    return step_worked(turn)


def _may_repeat(turn: Turn, step: StepRun) -> bool:
    """Under one key a second sending is no second effect, while the service still knows the key."""
    keyed = step.intention is not None and step.intention.fence is Fence.KEY
    young = step.started_at is not None and turn.now < step.started_at + KEY_KNOWN
    return keyed and young and step.attempt < MOST_ATTEMPTS and not turn.facts.halts


def _unknown(turn: Turn, reason: str) -> None:
    step, intention = turn.step, turn.step.intention
    assert intention is not None
    turn.note("unknown", step=step.name, attempt=step.attempt, reason=reason)
    if intention.fence is Fence.TRANSACTION:
        return _by_its_mark(turn, reason)
    if _may_repeat(turn, step):
        turn.change_step(step.name, attempt=step.attempt + 1)
        turn.note("sent-again", step=step.name, attempt=step.attempt + 1, why="the service honours the key")
        return turn.act(step.name, intention.call, attempt=step.attempt + 1)
    return _stays_unknown(turn, reason)


def _by_its_mark(turn: Turn, reason: str) -> None:
    """The mark was committed before anything could become final: without one nothing has, for certain."""
    step = turn.step
    if step.mark is None:
        return _refused(turn, f"nothing was changed, it never came to be committed ({reason})")
    turn.change_step(step.name, state=StepState.UNKNOWN, unknown=True, error=reason)
    turn.show_card()
    return turn.inquire(step.name, step.mark)


def _stays_unknown(turn: Turn, reason: str) -> None:
    step, intention = turn.step, turn.step.intention
    assert intention is not None
    turn.change_step(step.name, state=StepState.UNKNOWN, unknown=True, error=reason)
    turn.show_card()
    if intention.verify is not None:
        return turn.enter(Stage.VERIFYING)
    if intention.risk is Risk.SAFE:
        return step_failed(turn, Outcome.FAILED, f"{step.name} may or may not have happened: {reason}")
    return turn.enter(Stage.ASKING)
