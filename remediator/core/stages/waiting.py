"""A gate is open: people read the card and vote."""

from __future__ import annotations

import msgspec

from remediator.core import gate as gates
from remediator.core.catalog import Risk
from remediator.core.messages import Event, TimePassed, VoteCast
from remediator.core.repeating import named
from remediator.core.run import Gate, Outcome, Refusal, Run, Stage, Vote, gate_hash
from remediator.core.turn import Turn


def enter(turn: Turn) -> None:
    """Open the gate: from here on the arguments are frozen."""
    run = turn.run
    wanted = gates.needed(run, turn.policy)
    assert wanted is not None, "only steps that need a gate come here"
    resolved = (run.steps[name].intention for name in wanted.steps)
    intentions = tuple(one for one in resolved if one is not None)
    gate = Gate(
        id=f"{run.id}.{len(run.all_gates) + 1}",
        steps=wanted.steps,
        intentions=intentions,
        hash=gate_hash(intentions, run.pictures, gates.terms(run, wanted)),
        required=dict(wanted.votes),
        opened_at=turn.now,
        expires_at=turn.now + wanted.within,
        late=wanted.late,
        pictures=run.pictures,
    )
    turn.change(gate=gate, past_gates=run.all_gates)
    turn.note(
        "gate-opened",
        gate=gate.id,
        hash=gate.hash,
        steps=[
            {"step": one.step, "summary": one.summary, "call": msgspec.to_builtins(one.call)}
            for one in intentions
        ],
        pictures=msgspec.to_builtins(gate.pictures),
        votes=gate.required,
        expires_at=gate.expires_at.isoformat(),
    )
    turn.show_card()


def hear(turn: Turn, event: Event) -> None:
    """Count a vote, or notice that it is too late for any."""
    gate = turn.run.gate
    assert gate is not None
    match event:
        case VoteCast(vote=vote):
            _vote(turn, gate, vote)
        case TimePassed() if gates.expired(gate, turn.now):
            _expire(turn, gate)


def _vote(turn: Turn, gate: Gate, vote: Vote) -> None:
    roles = turn.facts.roles
    objection = gates.objection(turn.run, gate, vote, roles, turn.now)
    if objection:
        turn.refuse_vote(gate.id, vote, objection)
        return
    turn.note(
        "vote",
        gate=gate.id,
        by=vote.by,
        via=vote.via,
        approve=vote.approve,
        reason=vote.reason,
        hash=gate.hash,
    )
    # Its time is this decision's: the voter's own replica may have another clock.
    vote = msgspec.structs.replace(vote, at=turn.now)
    gate = turn.change_gate(votes=(*gate.votes, vote))
    if not vote.approve:
        note = f"denied by {vote.by}" + (f": {vote.reason}" if vote.reason else "")
        turn.change_gate(state="denied", note=note)
        turn.count("denied")
        turn.close(Outcome.DENIED, f"{note}{_but(turn.run)}", _asking_again(turn, note))
    elif gates.satisfied(gate.required, gates.approvers(gate), roles):
        people = ", ".join(gates.approvers(gate))
        turn.change_gate(state="approved", approved_at=turn.now, note=f"approved by {people}")
        turn.note("gate-approved", gate=gate.id, by=gates.approvers(gate), hash=gate.hash)
        turn.enter(Stage.PREPARING)
    turn.show_card()


def _expire(turn: Turn, gate: Gate) -> None:
    note = f"nobody answered in time (until {gate.expires_at:%H:%M:%S} UTC)"
    if gates.approvers(gate):
        note = f"not enough votes in time; approved only by {', '.join(gates.approvers(gate))}"
    turn.change_gate(state="expired", note=note)
    turn.note("gate-expired", gate=gate.id, late=gate.late)
    turn.count("denied", "expired")
    if gate.late == "page":
        so_far = _but(turn.run) or ". Nothing was done"
        turn.page(f"expired:{gate.id}", f"gate {gate.id} expired: {note}{so_far}")
    turn.close(Outcome.EXPIRED, f"{note}{_but(turn.run)}", _asking_again(turn, note))


def _but(run: Run) -> str:
    """What was done before this gate, and stands."""
    done = [
        name
        for name, step in run.steps.items()
        if step.stands and step.intention is not None and step.intention.risk is not Risk.SAFE
    ]
    return f"; done before, and standing: {named(done)}" if done else ""


def _asking_again(turn: Turn, note: str) -> Refusal:
    return Refusal("gate", note, again_at=turn.now + turn.policy.bounds.cooldown)
