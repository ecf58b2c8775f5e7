"""Which step is next, and do people have to agree first? Left within the same decision."""

from __future__ import annotations

from remediator.core import bounds
from remediator.core.catalog import Risk
from remediator.core.expression import format_duration
from remediator.core.failure import stop_before
from remediator.core.gate import covers, need
from remediator.core.messages import Event
from remediator.core.planning import intend
from remediator.core.run import Intention, Outcome, Refusal, Stage, StepState
from remediator.core.turn import Turn
from remediator.errors import EvaluationError


def hear(turn: Turn, event: Event) -> None:
    """Never waits, so it hears nothing."""


def enter(turn: Turn) -> None:
    """Find the next step; open a gate for it, or prepare it."""
    run = turn.run
    if run.step is None:
        return turn.enter(Stage.ENDING)
    if not run.acted and turn.facts.current != run.version:
        return turn.decide_again("the policy has changed since this run was opened")
    if run.cursor == 0 and not run.all_gates and _stops_at_once(turn):
        return None
    if run.rungs and turn.step.name in turn.facts.held:
        turn.change_step(turn.step.name, state=StepState.REFUSED, error="another run holds it")
        turn.note("skipped", step=turn.step.name, reason="another run holds it")
        turn.change(cursor=run.cursor + 1)
        return enter(turn)
    if any(covers(gate, turn.step.name) for gate in run.all_gates):
        return turn.enter(Stage.PREPARING)
    return _intend(turn)


def _stops_at_once(turn: Turn) -> bool:
    """What is known to be refused later is refused before anybody is bothered."""
    run = turn.run
    held = [name for name in run.plan if name in turn.facts.held]
    if held and not run.rungs:
        turn.refuse("held", f"{', '.join(held)} is being held by another run")
        return True
    return _all_safe(turn) and _played_before(turn)


def _all_safe(turn: Turn) -> bool:
    try:
        plan = [intend(turn.run, turn.policy, name, turn.facts) for name in turn.run.plan]
    except EvaluationError:
        return False  # it needs what an earlier step returns; if it is simply wrong, `_intend` says so
    return all(intention.risk is Risk.SAFE for intention in plan)


def _played_before(turn: Turn) -> bool:
    """A case of safe steps is not repeated within the cooldown: nobody wants it every recheck."""
    played = turn.facts.use.safe_plays.get(str(turn.run.case))
    cooldown = turn.policy.bounds.cooldown
    if played is None or turn.now >= played + cooldown:
        return False
    reason = f"{', '.join(turn.run.plan)} was done at {played:%H:%M:%S}; cooldown {format_duration(cooldown)}"
    turn.close(Outcome.NOTHING_TO_DO, reason, Refusal("cooldown", reason, again_at=played + cooldown))
    return True


def _intend(turn: Turn) -> None:
    """Resolve the step; with it all the steps that share its gate."""
    run, policy = turn.run, turn.policy
    assert run.case is not None
    try:
        intention = intend(run, policy, turn.step.name, turn.facts)
        wanted = need(policy, policy.decide[run.case], turn.step.name, intention.risk, run.mode)
        together = wanted.steps if wanted is not None else (turn.step.name,)
        intentions = {name: intend(run, policy, name, turn.facts) for name in together}
    except EvaluationError as error:
        return stop_before(turn, "expression", str(error))
    for name, one in intentions.items():
        turn.change_step(name, intention=one)
    if wanted is None:
        return _ungated(turn, intention)
    ask = bounds.Ask(policy, run.target, turn.facts)
    no = None if run.acted else bounds.to_change(ask)
    if no is not None:
        return turn.close(Outcome.REFUSED, str(no), no)
    previews = any(turn.facts.catalog.operations[one.call.operation].previews for one in intentions.values())
    return turn.enter(Stage.PREVIEWING if previews else Stage.WAITING)


def _ungated(turn: Turn, intention: Intention) -> None:
    if intention.risk is Risk.DESTRUCTIVE and not _waived(turn):
        return stop_before(turn, "gate", f"{intention.step} is destructive and has no gate")
    return turn.enter(Stage.PREPARING)


def _waived(turn: Turn) -> bool:
    assert turn.run.case is not None
    gates = (turn.policy.decide[turn.run.case].gate, turn.spec.gate)
    return any(gate is not None and gate.waived for gate in gates)
