"""The last check, inside the transaction that commits the intent. Left within the same decision.

Everything that could have changed since people agreed is asked once more here: halts, bounds, the
target, the policy and its mode, who holds which role, and whether the alert still fires.
"""

from __future__ import annotations

from datetime import timedelta

from remediator.core import bounds, gate
from remediator.core.calls import offered
from remediator.core.catalog import Risk
from remediator.core.failure import alert_over, stop_before
from remediator.core.intention import Intention
from remediator.core.messages import Event
from remediator.core.planning import risk_now
from remediator.core.repeating import keeps_version
from remediator.core.run import Gate, Refusal, Stage, StepState, gate_hash
from remediator.core.turn import Turn
from remediator.errors import EvaluationError


def hear(turn: Turn, event: Event) -> None:
    """Never waits, so it hears nothing."""


def enter(turn: Turn) -> None:
    """Start the step at the cursor, or say why not."""
    run, intention = turn.run, turn.step.intention
    assert intention is not None
    agreed = gate.opens_with(run, intention.step)
    asked = agreed or not run.acted
    if run.resolved_at is not None and (asked or run.rungs):
        waits = keeps_version(run) and not turn.recovered
        return turn.enter(Stage.PREPARING) if waits else alert_over(turn)
    if (agreed or not keeps_version(run)) and turn.facts.current != run.version:
        return turn.decide_again(turn.facts.outdated)
    if turn.lowered:
        return turn.decide_again(turn.lowered)
    no = _bound(turn, intention)
    if no is not None:
        return stop_before(turn, no.bound, no.reason, no)
    wrong = _unapproved(turn, intention)
    if wrong:
        return stop_before(turn, "gate", wrong)
    return _start(turn, intention)


def _bound(turn: Turn, intention: Intention) -> Refusal | None:
    ask = bounds.Ask.of(turn.run.target, turn.facts)
    if turn.run.acted or intention.risk is Risk.SAFE:
        return bounds.to_go_on(ask)
    return bounds.to_change(ask)


def _unapproved(turn: Turn, intention: Intention) -> str:
    """Why the approvals do not carry this step, or "" when they do or none are needed."""
    run, catalog = turn.run, turn.facts.catalog
    if not offered(intention.call, catalog):
        return f"the connection {intention.call.connection} is not there any more"
    try:
        riskier = risk_now(turn.policy, intention, catalog).rank > intention.risk.rank
    except EvaluationError as error:
        return str(error)
    if riskier:
        return f"{intention.step} is riskier now than when it was planned"
    wanted = gate.needed(run, turn.policy)
    if wanted is None:
        return ""
    given = next((one for one in run.all_gates if gate.covers(one, intention.step)), None)
    if given is None:
        return f"{intention.step} needs a gate and has none"
    return _does_not_hold(turn, given, wanted, intention)


def _does_not_hold(turn: Turn, given: Gate, wanted: gate.Need, intention: Intention) -> str:
    if intention not in given.intentions:
        return "the step is not the one that was approved"
    if gate_hash(given.intentions, given.pictures, gate.terms(turn.run, wanted)) != given.hash:
        return "the plan is not the one that was approved"
    if any(not vote.approve or not gate.is_for(vote, given) for vote in given.votes):
        return "somebody denied it, or voted on another plan"
    if not gate.satisfied(given.required, gate.approvers(given), turn.facts.roles):
        return "those who approved no longer hold the roles that are required"
    return ""


def _start(turn: Turn, intention: Intention) -> None:
    name, attempt = intention.step, turn.step.attempt + 1
    changes = intention.risk is not Risk.SAFE
    after_s = intention.undo.after_s if intention.undo is not None else None
    turn.change_step(
        name,
        state=StepState.STARTED,
        attempt=attempt,
        started_at=turn.now,
        undo_at=turn.now + timedelta(seconds=after_s) if after_s is not None else None,
    )
    if changes:
        turn.count("act")  # each of them: a cooldown runs from the last
        turn.change(acted=True)
    turn.note("started", step=name, attempt=attempt, risk=str(intention.risk), intention=intention.identity())
    turn.act(name, intention.call, attempt=attempt)
    turn.show_card()
    turn.enter(Stage.ACTING)
