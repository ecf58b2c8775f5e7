"""Which step is next, and do people have to agree first? Left within the same decision."""

from __future__ import annotations

from remediator.core import bounds
from remediator.core.catalog import Risk
from remediator.core.expression import format_duration
from remediator.core.failure import stop_before
from remediator.core.gate import covers, needed
from remediator.core.messages import Event
from remediator.core.planning import intend, previews
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
    if turn.lowered:
        return turn.decide_again(turn.lowered)
    if run.cursor == 0 and not run.all_gates and _stops_at_once(turn):
        return None
    if turn.step.attempt:
        return _skip(turn)  # started before the figures changed: nothing is done twice
    if run.rungs and turn.step.name in turn.facts.held:
        turn.change_step(turn.step.name, state=StepState.REFUSED, error="another run holds it")
        turn.note("skipped", step=turn.step.name, reason="another run holds it")
        return _skip(turn)
    if any(covers(gate, turn.step.name) for gate in run.all_gates):
        return turn.enter(Stage.PREPARING)
    return _intend(turn)


def _skip(turn: Turn) -> None:
    turn.change(cursor=turn.run.cursor + 1)
    enter(turn)


def _stops_at_once(turn: Turn) -> bool:
    """What is known to be refused later is refused before anybody is bothered."""
    run = turn.run
    held = [name for name in run.plan if name in turn.facts.held]
    if held and not (run.rungs and len(held) < len(run.plan)):
        turn.refuse("held", f"{', '.join(held)} is being held by another run")
        return True
    return _played_before(turn)


def _played_before(turn: Turn) -> bool:
    """A case that ended well with safe steps alone is not repeated within the cooldown.

    Bounds count only acts that are not safe; without this, a message or a retrigger that helps for a
    moment would be sent at every recheck.
    """
    played = turn.facts.use.safe_plays.get(str(turn.run.case))
    cooldown = turn.policy.bounds.cooldown
    if played is None or turn.now >= played + cooldown:
        return False
    done = f"this case was played at {played:%H:%M:%S} UTC"
    reason = f"{done} and ended well with safe steps; cooldown {format_duration(cooldown)}"
    turn.close(Outcome.NOTHING_TO_DO, reason, Refusal("cooldown", reason, again_at=played + cooldown))
    return True


def _intend(turn: Turn) -> None:
    """Resolve the step; with it all the steps that share its gate."""
    run, policy, catalog = turn.run, turn.policy, turn.facts.catalog
    try:
        intention = intend(run, policy, turn.step.name, turn.facts)
        turn.change_step(intention.step, intention=intention)
        wanted = needed(turn.run, policy)
        together = [intend(run, policy, name, turn.facts) for name in wanted.steps] if wanted else []
    except EvaluationError as error:
        return stop_before(turn, "expression", str(error))
    if wanted is None:
        return _ungated(turn, intention)
    for one in together:
        turn.change_step(one.step, intention=one)
    no = None if run.acted else bounds.to_change(bounds.Ask.of(run.target, turn.facts))
    if no is not None:
        return turn.close(Outcome.REFUSED, str(no), no)
    shows = any(previews(one.call, catalog) for one in together)
    return turn.enter(Stage.PREVIEWING if shows or turn.run.acted else Stage.WAITING)


def _ungated(turn: Turn, intention: Intention) -> None:
    if intention.risk is Risk.DESTRUCTIVE and not _waived(turn):
        return stop_before(turn, "gate", f"{intention.step} is destructive and has no gate")
    return turn.enter(Stage.PREPARING)


def _waived(turn: Turn) -> bool:
    assert turn.run.case is not None
    gates = (turn.policy.decide[turn.run.case].gate, turn.spec.gate)
    return any(gate is not None and gate.waived for gate in gates)
