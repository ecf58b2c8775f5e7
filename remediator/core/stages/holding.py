"""A temporary change stands. Nobody is kept off the target; the undo waits for its time.

What may end the hold early is read meanwhile, again and again.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from remediator.core.calls import printable
from remediator.core.evidence import Proof, Reading
from remediator.core.intention import Call
from remediator.core.messages import Event, ProbeRead, TimePassed
from remediator.core.planning import early_call, written
from remediator.core.proving import Asked, enough, followed, holds
from remediator.core.repeating import named
from remediator.core.run import Run, Stage, StepRun
from remediator.core.steps import base_of
from remediator.core.turn import Turn
from remediator.errors import EvaluationError

PREFIX = "early:"
PAUSE = timedelta(seconds=30)
"""How long a reading that cannot even be asked for is left alone."""
BORNE = timedelta(hours=1)
"""How long readings may fail before a person is paged."""


def enter(turn: Turn) -> None:
    """Say until when; later only what is left: a list may be taken back item by item."""
    owed = {name: turn.run.steps[name].undo_at for name in turn.run.temporary}
    if turn.run.held:
        turn.note("holding", left=named(owed))
    else:
        turn.note("holding", until={name: at.isoformat() if at else "resolved" for name, at in owed.items()})
    turn.show_card()
    hear(turn, TimePassed())


def hear(turn: Turn, event: Event) -> None:
    """Time boxes that are over, early undos when the alert has stayed resolved, and what is read for them."""
    match event:
        case ProbeRead(round=number, key=key, reading=reading) if (
            number == turn.run.round and key in turn.run.pending
        ):
            turn.change(pending=tuple(one for one in turn.run.pending if one != key))
            _judge(turn, key, reading)
        case TimePassed():
            pass
        case _:
            return
    names = due(turn)
    if names:
        turn.change(undoing=tuple(reversed(names)), after_undo=Stage.ENDING, held=True)
        turn.enter(Stage.UNDOING)
    elif not turn.run.pending:
        _look(turn)


def due(turn: Turn) -> list[str]:
    """Steps whose undo is due now, and with them those that have written over what they wrote."""
    run, found, cells = turn.run, list[str](), set[object]()
    for name in run.temporary:
        if _is_due(turn, name) or (found and not cells.isdisjoint(written(run.steps[name]))):
            found.append(name)
            cells |= written(run.steps[name])
    return found


def stands_on(turn: Turn) -> bool:
    """The alert fires again before an undo was sent that nothing but its end had made due: it is put off.

    Whether any is; the queue keeps what is on its way, and what is due all the same.
    """
    run, settled = turn.run, resolved_for(turn)
    steps = [run.steps[name] for name in run.undoing]
    early = {one.name: _boxed(one) for one in steps if one.undo_early and not one.undo_started}
    if not early or (settled is not None and turn.now >= settled):
        return False
    turn.change(steps={**run.steps, **early})
    begun = [one.name for one in steps if one.undo_started]
    turn.change(undoing=(*begun, *reversed(due(turn))))
    again = [name for name in early if name not in turn.run.undoing]
    if again:
        turn.change(wait_until=None, yields=False)
        turn.note("undo-put-off", left=named(again), reason="the alert fires again")
    return bool(again)


def _boxed(step: StepRun) -> StepRun:
    """With the end of its time box again."""
    assert step.intention is not None and step.intention.undo is not None and step.started_at is not None
    after = step.intention.undo.after_s
    end = step.started_at + timedelta(seconds=after) if after is not None else None
    return msgspec.structs.replace(
        step, undo_at=end, undo_early=False, undo_late=False, undo_still=None, undo_refused_at=None
    )


def _is_due(turn: Turn, name: str) -> bool:
    at = undo_time(turn.run, name, resolved_for(turn))
    return at is not None and turn.now >= at


def resolved_for(turn: Turn) -> datetime | None:
    """When "resolved" will have stood long enough, or None while the alert fires."""
    resolved_at = turn.run.resolved_at
    return None if resolved_at is None else resolved_at + turn.facts.debounce


def undo_time(run: Run, name: str, settled: datetime | None) -> datetime | None:
    """When a held step is to be undone: its time box, or earlier once the alert is over."""
    step = run.steps[name]
    assert step.intention is not None and step.intention.undo is not None
    times = [step.undo_at]
    if "resolved" in step.intention.undo.early:
        times.append(settled)
    return min((at for at in times if at is not None), default=None)


# ── What may end it early ───────────────────────────────────────────────────────────────────────


def next_look(run: Run) -> datetime | None:
    """When something that may end the hold is read next."""
    times = [one.next_at for name in run.temporary for one in run.steps[name].early if one.next_at]
    return min(times, default=None)


def _look(turn: Turn) -> None:
    """Read what it is time for."""
    calls: dict[str, Call] = {}
    for name in turn.run.temporary:
        for number, proof in enumerate(_proofs(turn.run, name)):
            if proof.next_at is not None and turn.now < proof.next_at:
                continue
            try:
                call = early_call(turn.run, turn.policy, name, number, turn.facts)
            except EvaluationError as error:
                _unread(turn, name, number, str(error), at_once=True)
            else:
                calls[f"{PREFIX}{name}:{number}"] = call
    if calls:
        turn.ask(calls)


def _unread(turn: Turn, name: str, number: int, error: str, *, at_once: bool) -> None:
    """It could not be read. A while is borne; then a person must know that the hold will not end early."""
    proof = _proofs(turn.run, name)[number]
    since = proof.failing or turn.now
    told = proof.told or at_once or turn.now >= since + BORNE
    if told and not proof.told:
        base = base_of(name)
        turn.page(f"early:{base}", f"what may end the hold of {name} cannot be read: {printable(error)}")
    paused = turn.now + PAUSE if at_once else proof.next_at
    _keep(turn, name, number, msgspec.structs.replace(proof, next_at=paused, failing=since, told=told))


def _proofs(run: Run, name: str) -> tuple[Proof, ...]:
    step = run.steps[name]
    assert step.intention is not None and step.intention.undo is not None
    return step.early or (Proof(),) * len(step.intention.undo.probes)


def _keep(turn: Turn, name: str, number: int, proof: Proof) -> None:
    proofs = list(_proofs(turn.run, name))
    proofs[number] = proof
    turn.change_step(name, early=tuple(proofs))


def _judge(turn: Turn, key: str, reading: Reading) -> None:
    """Written down only when it has changed: a hold may last for days."""
    name, _, text = key.removeprefix(PREFIX).rpartition(":")
    step, undo, number = turn.run.steps[name], turn.policy.step(name).undo, int(text)
    assert undo is not None
    probe, before = undo.probes[number], _proofs(turn.run, name)[number]
    asked = Asked.by(probe, f"{turn.run.policy}: steps.{name}.undo.early[{number}]")
    held, doubt = holds(turn.run, turn.policy, asked, step, reading, turn.now)
    proof = followed(before, asked, reading, turn.now, held=held)
    error = reading.error or doubt
    if error:
        proof = msgspec.structs.replace(proof, failing=before.failing, told=before.told)
    _keep(turn, name, number, proof)
    if error:
        _unread(turn, name, number, error, at_once=False)
    ends = enough(proof, asked)
    if before.reading is None or ends or (held, reading.ok) != (before.since is not None, before.reading.ok):
        turn.note("early", step=name, holds=held, ends=ends, until=asked.until.text, error=error)
    if ends:
        turn.change_step(name, undo_at=turn.now)
