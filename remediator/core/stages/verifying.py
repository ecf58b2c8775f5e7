"""Did it work? The proof is read again and again until `until` has held long enough, or time is up."""

from __future__ import annotations

from datetime import datetime

from remediator.core.failure import step_unproved
from remediator.core.messages import Event, ProbeRead, TimePassed
from remediator.core.planning import printable, proof_scope
from remediator.core.policy import Verify
from remediator.core.run import Reading, Stage, StepState
from remediator.core.turn import Turn
from remediator.errors import EvaluationError

PREFIX = "verify:"


def enter(turn: Turn) -> None:
    """The first reading at once; the last at the end of `within`."""
    step = turn.step
    turn.change_step(step.name, proof_by=turn.now + _verify(turn).within, proof_since=None, proof_next=None)
    _read(turn)


def hear(turn: Turn, event: Event) -> None:
    """A reading, or the time for the next one."""
    match event:
        case ProbeRead(round=number, key=key, reading=reading) if (
            number == turn.run.round and key in turn.run.pending
        ):
            turn.change(pending=())
            _judge(turn, reading)
        case TimePassed() if (
            not turn.run.pending and turn.step.proof_next and turn.now >= turn.step.proof_next
        ):
            _read(turn)


def _verify(turn: Turn) -> Verify:
    verify = turn.spec.verify
    assert verify is not None
    return verify


def _read(turn: Turn) -> None:
    intention = turn.step.intention
    assert intention is not None and intention.verify is not None
    turn.ask({PREFIX + turn.step.name: intention.verify})


def _judge(turn: Turn, reading: Reading) -> None:
    verify, step = _verify(turn), turn.step
    holds, doubt = _holds(turn, reading)
    since = (step.proof_since or reading.at) if holds else None
    turn.change_step(step.name, proof=reading, proof_since=since)
    turn.note("proof", step=step.name, holds=holds, value=reading.shown, error=reading.error or doubt)
    if since is not None and turn.now >= since + verify.for_:
        return _proved(turn)
    if step.proof_by is not None and turn.now >= step.proof_by:
        return _unproved(turn, doubt or reading.error)
    turn.change_step(step.name, proof_next=_next(turn, verify, since))
    return None


def _holds(turn: Turn, reading: Reading) -> tuple[bool, str]:
    """Whether `until` holds; an error means "not yet" and is told."""
    verify = _verify(turn)
    if not reading.ok or verify.until is None:
        return False, reading.error
    scope = proof_scope(turn.run, turn.policy, turn.now, turn.step.before, reading)
    try:
        value = verify.until.evaluate(scope, place=f"{turn.run.policy}: steps.{turn.step.name}.verify.until")
    except EvaluationError as error:
        return False, str(error)
    return value is True, ""


def _next(turn: Turn, verify: Verify, since: datetime | None) -> datetime:
    """The next reading: after `every`, sooner when `for` is over by then, never later than `within`."""
    at = turn.now + verify.every
    if since is not None:
        at = min(at, since + verify.for_)
    return min(at, turn.step.proof_by) if turn.step.proof_by is not None else at


def _proved(turn: Turn) -> None:
    step = turn.step
    turn.change_step(step.name, state=StepState.VERIFIED, worked=True, unknown=False, error="")
    turn.note("verified", step=step.name, settles_unknown=step.unknown)
    turn.show_card()
    if turn.run.rungs:
        return turn.enter(Stage.ENDING)
    turn.change(cursor=turn.run.cursor + 1)
    return turn.enter(Stage.CHOOSING)


def _unproved(turn: Turn, doubt: str) -> None:
    verify, step = _verify(turn), turn.step
    text = verify.until.text if verify.until is not None else ""
    reason = f"{step.name} was not proved: '{text}' did not hold in time"
    if doubt:
        reason = f"{reason} ({printable(doubt)})"
    turn.show_card()
    return turn.enter(Stage.ASKING) if step.unknown else step_unproved(turn, reason)
