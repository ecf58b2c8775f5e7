"""A change is taken back: with the target locked again, once, and a person told if it goes wrong.

Where the policy says under which condition (``still``), that is read just before it is sent. What only the
end of the alert has made due is held on should the alert fire again before it is sent.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from remediator.core.calls import printable
from remediator.core.catalog import Fence
from remediator.core.evidence import Proof, Reading
from remediator.core.exact import shown
from remediator.core.intention import Call
from remediator.core.messages import (
    Done,
    Event,
    Inquired,
    Marked,
    ProbeRead,
    Refused,
    Result,
    StepFinished,
    TimePassed,
    Unknown,
)
from remediator.core.planning import still_call, undo_call, undo_proof_call
from remediator.core.proving import condition, enough, followed, holds, proof_of_undo, read_as
from remediator.core.run import Outcome, Run, Stage, StepRun, StepState, Verdict
from remediator.core.stages import holding
from remediator.core.stages.acting import KEY_KNOWN, MOST_ATTEMPTS
from remediator.core.steps import base_of
from remediator.core.turn import Turn
from remediator.errors import EvaluationError

PREFIX = "undo-verify:"
STILL = "still:"
PAUSE = timedelta(seconds=5)
PATIENCE = timedelta(minutes=1)
"""How long an undo is tried again that was refused, for certain, or that nothing says may be sent still."""


def enter(turn: Turn) -> None:
    """Undo the first step of the queue that can be undone, or wait until the target is free."""
    holding.stands_on(turn)
    _fall_due(turn)
    while turn.run.undoing:
        if reason := _obstacle(turn):  # patience with it begins anew after that
            turn.change_step(turn.run.undoing[0], undo_still=None, undo_refused_at=None)
            return _wait(turn, reason)
        if _begin(turn):
            return None
    return turn.enter(turn.run.after_undo)


def hear(turn: Turn, event: Event) -> None:
    """The answer of the undo that is on the wire, what proves it, or time to try the target again."""
    if proves(turn.run):
        return _hear_proof(turn, event)
    if turn.run.pending:
        return _hear_still(turn, event)
    match event:
        case TimePassed() if turn.run.wait_until is not None and turn.now >= turn.run.wait_until:
            enter(turn)
        case StepFinished() | Marked() | Inquired() if event.undo and turn.run.undoing:
            step = turn.run.steps[turn.run.undoing[0]]
            if (event.step, event.attempt) == (step.name, step.undo_attempt):
                _heard(turn, step, event)
    return None


def _heard(turn: Turn, step: StepRun, event: StepFinished | Marked | Inquired) -> None:
    match event:
        case Marked(mark=mark):
            given_up = turn.run.wait_until is not None or step.undo_unknown
            if step.undo_mark is None and not given_up and not _obstacle(turn):
                turn.change_step(step.name, undo_mark=mark)
                turn.note("marked", step=step.name, undo=True, attempt=step.undo_attempt, mark=mark)
        case Inquired() if not step.undo_unknown:
            return
        case StepFinished() if step.undo_unknown:
            return
        case Inquired(result=Unknown(reason=reason)):
            _gone_wrong(turn, step.name, f"its outcome is unknown: {reason}")
        case Inquired(result=result):
            became = "final" if isinstance(result, Done) else "nothing"
            turn.note("found-out", step=step.name, undo=True, became=became)
            _finished(turn, step, result)
        case StepFinished(result=result):
            _finished(turn, step, result)


def _fall_due(turn: Turn) -> None:
    """What is taken back early is due before its time box; what has held is so by the end of its alert."""
    early = {
        name: msgspec.structs.replace(step, undo_at=turn.now, undo_early=turn.run.held)
        for name in turn.run.undoing
        if (step := turn.run.steps[name]).undo_at is None or step.undo_at > turn.now
    }
    if early:
        turn.change(steps={**turn.run.steps, **early})


def waits_for(turn: Turn) -> str:
    """What keeps an undo from being done that is due, beside the stage of the run; or ""."""
    run = turn.run
    if proves(run):
        return "another undo is being proved"
    if run.stage is Stage.UNDOING and run.pending:
        return f"whether that of {run.undoing[0]} may be sent still is being read"
    if run.stage is Stage.UNDOING and run.wait_until is None:
        return f"that of {run.undoing[0]} was sent, and has no answer yet"
    return _obstacle(turn) or (
        "it could not be sent, and is tried again" if run.wait_until is not None else ""
    )


def _obstacle(turn: Turn) -> str:
    """Why no undo may be sent now, or ""."""
    if any(halt.undos for halt in turn.facts.halts):
        return "undos are halted"
    return f"run {turn.facts.holder} is acting on the target" if turn.facts.holder else ""


def _wait(turn: Turn, reason: str) -> None:
    """The target stays locked meanwhile, unless it is another run that is waited for."""
    if turn.run.wait_until is None:  # told once for each time that it has to wait
        turn.note("undo-waits", step=turn.run.undoing[0], reason=reason)
    _pause(turn)


def _pause(turn: Turn) -> None:
    turn.change(wait_until=turn.now + PAUSE, yields=turn.facts.holder is not None)


def _begin(turn: Turn) -> bool:
    """Send it, or read first whether it may be. Whether something is on its way."""
    name = turn.run.undoing[0]
    turn.change(wait_until=None, yields=False)
    try:
        still = still_call(turn.run, turn.policy, name, turn.facts)
    except EvaluationError as error:
        _tell_wrong(turn, name, str(error))
        return False
    if still is None:
        return _send(turn, name)
    turn.ask({STILL + name: still})
    return True


def _send(turn: Turn, name: str) -> bool:
    """Whether it could be made, and is on its way. Under one key the very same is sent again."""
    step = turn.run.steps[name]
    if _is_lost(step) and not _may_repeat(turn, step):
        _tell_wrong(turn, name, "its outcome is unknown, and it may not be sent again by now")
        return False
    lost = step.undo_call if _is_lost(step) else None
    try:
        call = lost or _call(turn, name)
    except EvaluationError as error:
        _tell_wrong(turn, name, str(error))
        return False
    attempt = step.undo_attempt + 1
    turn.change_step(
        name,
        undo_started=True,
        undo_attempt=attempt,
        undo_call=call,
        undo_sent_at=step.undo_sent_at or turn.now,
        undo_resent=lost is not None,
        undo_mark=None,
        undo_unknown=False,
    )
    if attempt == 1:
        turn.note("undo-started", step=name, call={"operation": call.operation, "args": call.shown})
    else:
        why = "the service honours the key" if lost else "it did not happen, for certain"
        turn.note("sent-again", step=name, undo=True, attempt=attempt, why=why)
    turn.act(name, call, attempt=attempt, undo=True)
    turn.show_card()
    return True


def _call(turn: Turn, name: str) -> Call:
    intention = turn.run.steps[name].intention
    assert intention is not None and intention.undo is not None
    return intention.undo.call or undo_call(turn.run, turn.policy, name, turn.facts)


def _finished(turn: Turn, step: StepRun, result: Result) -> None:
    transacts = _fence(step) is Fence.TRANSACTION
    match result:
        case Done(result=answer, left=left) if left:
            turn.note("undone", step=step.name, answer=shown(answer), left=left)
            _left_alone(turn, step.name, "is not whole", left)
        case Done(result=answer):
            turn.change_step(step.name, state=StepState.UNDONE, undo_mark=None, undo_unknown=False)
            turn.note("undone", step=step.name, answer=shown(answer))
            _prove(turn, step.name)
        case Refused(reason=reason, unsent=True):
            _not_sent(turn, step, reason)
        case Refused(reason=reason) if transacts:
            _again_or_never(turn, step, reason)
        case Unknown(reason=reason) if transacts and step.undo_mark is None:
            _again_or_never(turn, step, f"it never came to be committed ({reason})")
        case Unknown(reason=reason) if transacts and step.undo_mark is not None:
            turn.note("unknown", step=step.name, undo=True, attempt=step.undo_attempt, reason=reason)
            turn.change_step(step.name, undo_unknown=True)
            turn.inquire(step.name, step.undo_mark, undo=True)
        case Refused(reason=reason) if not step.undo_resent:
            _gone_wrong(turn, step.name, f"refused: {reason}")
        case Refused(reason=reason) | Unknown(reason=reason):
            _unknown(turn, step, reason)


def _fence(step: StepRun) -> Fence:
    undo = step.intention.undo if step.intention is not None else None
    return undo.fence if undo is not None else Fence.NONE


def _not_sent(turn: Turn, step: StepRun, reason: str) -> None:
    """No place was free, or undos were halted meanwhile: it is not begun. What was lost before still is."""
    if step.undo_resent:
        turn.change_step(step.name, undo_unknown=True)
    else:
        turn.change_step(step.name, undo_started=False, undo_sent_at=None, undo_call=None)
    _wait(turn, reason)


def _again_or_never(turn: Turn, step: StepRun, reason: str) -> None:
    """It did not happen, for certain: tried again for a minute, then a person hears."""
    first = step.undo_refused_at or turn.now
    turn.change_step(step.name, undo_refused_at=first, undo_started=False)
    if turn.now + PAUSE >= first + PATIENCE:
        return _gone_wrong(turn, step.name, f"refused: {reason}")
    return _wait(turn, reason)


def _left_alone(turn: Turn, name: str, how: str, why: str) -> None:
    """Somebody changed it since: what they did is theirs, and they must know."""
    turn.change_step(name, undo_started=True, undo_error=why)
    _page(turn, name, f"{how}: {why}")
    reason = f"the undo of {name} {how}: {why}"
    turn.change(verdict=Verdict(Outcome.FAILED, reason), after_undo=Stage.ENDING)
    _on(turn)


def _is_lost(step: StepRun) -> bool:
    """Sent under a key, and nobody knows whether it happened: it is sent again if it may be still."""
    return step.undo_unknown and _fence(step) is Fence.KEY


def _may_repeat(turn: Turn, step: StepRun) -> bool:
    """Under one key a second sending is no second effect, while the service still knows the key."""
    young = step.undo_sent_at is not None and turn.now < step.undo_sent_at + KEY_KNOWN
    return young and _fence(step) is Fence.KEY and step.undo_attempt < MOST_ATTEMPTS


def _unknown(turn: Turn, step: StepRun, reason: str) -> None:
    """Had it never left, a second sending would write over whatever somebody has done since the first."""
    turn.note("unknown", step=step.name, undo=True, attempt=step.undo_attempt, reason=reason)
    if not _may_repeat(turn, step):
        return _gone_wrong(turn, step.name, f"its outcome is unknown: {reason}")
    turn.change_step(step.name, undo_unknown=True)
    return enter(turn)


def _gone_wrong(turn: Turn, name: str, reason: str) -> None:
    _tell_wrong(turn, name, reason)
    enter(turn)


def _tell_wrong(turn: Turn, name: str, reason: str) -> None:
    """Never tried twice: what stands is shown, and a person decides. The next one of the queue comes."""
    turn.change_step(name, undo_started=True, undo_error=reason)
    turn.note("undo-failed", step=name, reason=reason)
    _page(turn, name, f"went wrong: {reason}. The change may still stand")
    turn.change(
        verdict=Verdict(Outcome.FAILED, f"the undo of {name} went wrong: {reason}"), after_undo=Stage.ENDING
    )
    _pass(turn)


# ── May it be sent still? ───────────────────────────────────────────────────────────────────────


def _hear_still(turn: Turn, event: Event) -> None:
    match event:
        case ProbeRead(round=turn.run.round, key=key, reading=reading) if key in turn.run.pending:
            name = turn.run.undoing[0]
            turn.change(pending=())
            if holding.stands_on(turn) or turn.run.undoing[:1] != (name,):
                return enter(turn)
            judge = _may_be_sent if key.startswith(STILL) else _is_undone
            judge(turn, name, reading)
    return None


def _may_be_sent(turn: Turn, name: str, reading: Reading) -> None:
    """Sent by the very decision that hears that it may be; whatever comes between has it read anew."""
    step, asked = turn.run.steps[name], condition(turn.policy, name)
    held, doubt = holds(turn.run, turn.policy, asked, step, reading, turn.now)
    error = reading.error or doubt or _too_old(turn, reading)
    turn.note("still", step=name, holds=held, value=reading.shown, error=error)
    if error:
        return _unread(turn, step, reading, error)
    turn.change_step(name, undo_still=Proof(reading))
    if not held:
        return _look(turn, name)
    if reason := _obstacle(turn):
        return _wait(turn, reason)
    return None if _send(turn, name) else enter(turn)


def _look(turn: Turn, name: str) -> None:
    """Whoever has changed it may have taken it back: the undo's own proof tells, where there is one."""
    undo = turn.policy.step(name).undo
    if undo is None or undo.proof is None:
        return _theirs(turn, name)
    try:
        turn.ask({PREFIX + name: undo_proof_call(turn.run, turn.policy, name, turn.facts)})
    except EvaluationError:
        _theirs(turn, name)


def _is_undone(turn: Turn, name: str, reading: Reading) -> None:
    step, asked = turn.run.steps[name], proof_of_undo(turn.policy, name)
    held, doubt = holds(turn.run, turn.policy, asked, step, reading, turn.now)
    error = reading.error or doubt
    turn.note("proof", step=name, undo=True, holds=held, value=reading.shown, error=error)
    if not held:
        return _theirs(turn, name)
    if _is_lost(step):
        turn.note("found-out", step=name, undo=True, became="final")
        return _finished(turn, step, Done())
    turn.change_step(name, undo_started=True, state=StepState.UNDONE)
    turn.note("undo-needless", step=name, reason="somebody has taken it back")
    return _on(turn)


def _theirs(turn: Turn, name: str) -> None:
    step, asked = turn.run.steps[name], condition(turn.policy, name)
    assert step.undo_still is not None and step.undo_still.reading is not None
    seen = read_as(turn.run, turn.policy, asked, step, step.undo_still.reading, turn.now)
    why = printable(f"'{asked.until.text}' does not hold any more ({seen})", 600)
    if _is_lost(step):
        return _gone_wrong(turn, name, f"its outcome is unknown: either it happened or somebody came: {why}")
    return _left_alone(turn, name, "was left alone", why)


def _too_old(turn: Turn, reading: Reading) -> str:
    fresh = reading.at > turn.now - turn.facts.freshness
    return "" if fresh else "what was read is too old by now"


def _unread(turn: Turn, step: StepRun, reading: Reading, error: str) -> None:
    """Never sent without knowing. Read again for a while; then a person hears."""
    since = step.undo_still.failing if step.undo_still is not None else None
    since = since or turn.now
    turn.change_step(step.name, undo_still=Proof(reading, failing=since))
    reason = f"whether it may be sent still cannot be told: {printable(error)}"
    if turn.now + PAUSE >= since + PATIENCE:
        so_far = "Its outcome is unknown" if _is_lost(step) else "It was not sent"
        return _gone_wrong(turn, step.name, f"{reason}. {so_far}")
    return _wait(turn, reason) if since == turn.now else _pause(turn)


# ── The proof of an undo ────────────────────────────────────────────────────────────────────────


def proves(run: Run) -> bool:
    """Was the first undo of the queue done, and is it being proved?"""
    return (
        run.stage is Stage.UNDOING and bool(run.undoing) and run.steps[run.undoing[0]].undo_proof is not None
    )


def next_look(run: Run) -> datetime | None:
    """When the proof is read next."""
    proof = run.steps[run.undoing[0]].undo_proof
    return proof.next_at if proof is not None else None


def _prove(turn: Turn, name: str) -> None:
    undo = turn.policy.step(name).undo
    proof = undo.proof if undo is not None else None
    if proof is None:
        return _on(turn)
    turn.change_step(name, undo_proof=Proof(by=turn.now + proof.within))
    return _read(turn, name)


def _read(turn: Turn, name: str) -> None:
    try:
        turn.ask({PREFIX + name: undo_proof_call(turn.run, turn.policy, name, turn.facts)})
    except EvaluationError as error:
        _unproved(turn, name, str(error))


def _hear_proof(turn: Turn, event: Event) -> None:
    name = turn.run.undoing[0]
    match event:
        case ProbeRead(round=turn.run.round, key=key, reading=reading) if key in turn.run.pending:
            turn.change(pending=())
            _judge(turn, name, reading)
        case TimePassed() if not turn.run.pending and turn.now >= (next_look(turn.run) or turn.now):
            _read(turn, name)


def _judge(turn: Turn, name: str, reading: Reading) -> None:
    """``before``: what the step's own proof read just before the act."""
    step, asked = turn.run.steps[name], proof_of_undo(turn.policy, name)
    assert step.undo_proof is not None
    held, doubt = holds(turn.run, turn.policy, asked, step, reading, turn.now)
    proof = followed(step.undo_proof, asked, reading, turn.now, held=held)
    turn.change_step(name, undo_proof=proof)
    error = reading.error or doubt
    turn.note("proof", step=name, undo=True, holds=held, value=reading.shown, error=error)
    if enough(proof, asked):
        turn.note("verified", step=name, undo=True)
        return _on(turn)
    if proof.by is not None and turn.now >= proof.by:
        told = f" ({printable(error)})" if error else ""
        return _unproved(turn, name, f"'{asked.until.text}' did not hold in time{told}")
    return None


def _unproved(turn: Turn, name: str, reason: str) -> None:
    """It was done, and is not done again; whether it helped, a person must see."""
    turn.note("unverified", step=name, undo=True, reason=reason)
    turn.change_step(name, undo_error=f"not proved: {reason}")
    _page(turn, name, f"was done, but not proved: {reason}")
    turn.change(
        verdict=Verdict(Outcome.FAILED, f"the undo of {name} was not proved: {reason}"),
        after_undo=Stage.ENDING,
    )
    _on(turn)


def _page(turn: Turn, name: str, what: str) -> None:
    """Items of one list share a page: more of them may follow."""
    more = "; see its page for the other items" if base_of(name) != name else ""
    turn.page(f"undo:{base_of(name)}", f"the undo of {name} {what}{more}")


def _on(turn: Turn) -> None:
    _pass(turn)
    enter(turn)


def _pass(turn: Turn) -> None:
    turn.change(undoing=turn.run.undoing[1:])
    turn.show_card()
