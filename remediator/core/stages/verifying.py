"""Did it work? The proof is read again and again until `until` has held long enough, or time is up."""

from __future__ import annotations

from datetime import timedelta

from remediator.core.calls import printable
from remediator.core.evidence import Proof, Reading
from remediator.core.failure import step_unproved, step_worked
from remediator.core.messages import Event, ProbeRead, TimePassed
from remediator.core.proving import Asked, enough, followed, holds
from remediator.core.run import Stage, StepState
from remediator.core.steps import Verify
from remediator.core.turn import Turn

PREFIX = "verify:"


def enter(turn: Turn) -> None:
    """The first reading at once, or when it may be trusted; the last at the end of `within` from then."""
    step, settle = turn.step, _settle(turn)
    first = turn.now + settle
    turn.change_step(step.name, proof_by=first + _verify(turn).within, proof_since=None, proof_next=None)
    if settle:
        turn.change_step(step.name, proof=None, proof_next=first)
        turn.note("settling", step=step.name, until=first.isoformat())
    else:
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


def _settle(turn: Turn) -> timedelta:
    """How long no look can tell whether it happened, where that is unknown."""
    intention = turn.step.intention
    if not turn.step.unknown or intention is None:
        return timedelta()
    operation = turn.facts.catalog.operations.get(intention.call.operation)
    return operation.settle or timedelta() if operation is not None else timedelta()


def _read(turn: Turn) -> None:
    intention = turn.step.intention
    assert intention is not None and intention.verify is not None
    turn.ask({PREFIX + turn.step.name: intention.verify})


def _judge(turn: Turn, reading: Reading) -> None:
    step, asked = turn.step, Asked.by(_verify(turn), f"{turn.run.policy}: steps.{turn.step.name}.verify")
    held, doubt = holds(turn.run, turn.policy, asked, step, reading, turn.now)
    so_far = Proof(step.proof, step.proof_since, step.proof_next, step.proof_by)
    proof = followed(so_far, asked, reading, turn.now, held=held)
    turn.change_step(step.name, proof=reading, proof_since=proof.since, proof_next=None)
    turn.note("proof", step=step.name, holds=held, value=reading.shown, error=reading.error or doubt)
    if enough(proof, asked):
        return _proved(turn)
    if step.proof_by is not None and turn.now >= step.proof_by:
        return _unproved(turn, doubt or reading.error)
    turn.change_step(step.name, proof_next=proof.next_at)
    return None


def _proved(turn: Turn) -> None:
    step = turn.step
    turn.change_step(step.name, state=StepState.VERIFIED, worked=True, unknown=False, error="")
    turn.note("verified", step=step.name, settles_unknown=step.unknown)
    turn.show_card()
    return step_worked(turn)


def _unproved(turn: Turn, doubt: str) -> None:
    verify, step = _verify(turn), turn.step
    text = verify.until.text if verify.until is not None else ""
    reason = f"{step.name} was not proved: '{text}' did not hold in time"
    if doubt:
        reason = f"{reason} ({printable(doubt)})"
    turn.show_card()
    return turn.enter(Stage.ASKING) if step.unknown else step_unproved(turn, reason)
