"""What a run does when a step cannot be started, is not needed any more, was refused, or did not help."""

from __future__ import annotations

from remediator.core.run import Outcome, Refusal, Stage, StepState, Verdict
from remediator.core.turn import Turn


def stop_before(turn: Turn, bound: str, reason: str, refusal: Refusal | None = None) -> None:
    """The step at the cursor may not start. Nothing done yet: the run is refused. Otherwise it ends."""
    turn.change_step(turn.step.name, state=StepState.REFUSED, error=reason)
    if not turn.run.acted and not any(step.stands for step in turn.run.steps.values()):
        if refusal is not None:
            return turn.close(Outcome.REFUSED, str(refusal), refusal)
        return turn.refuse(bound, reason)
    turn.page("stopped", f"stopped before {turn.step.name}: {reason}")
    turn.change(verdict=Verdict(Outcome.FAILED, f"{bound}: {reason}"))
    return turn.enter(Stage.ENDING)


def alert_over(turn: Turn) -> None:
    """The alert resolved and nothing is on its way: no further step is started."""
    if turn.run.acted:
        return turn.close(Outcome.FIXED, "the alert resolved; no further step was needed")
    return turn.close(Outcome.RECOVERED, "the alert resolved before anything was started")


def step_failed(turn: Turn, outcome: Outcome, reason: str) -> None:
    """The step at the cursor was refused by the world or did not help.

    A rung gives way to the next one. Otherwise the step's ``on_failure`` says what follows.
    """
    further = turn.run.plan[turn.run.cursor + 1 :]
    if turn.run.rungs and any(name not in turn.facts.held for name in further):
        return _next(turn)
    if turn.spec.on_failure == "continue":
        return _next(turn)
    turn.page(f"failed:{turn.step.name}", reason)
    turn.change(verdict=Verdict(outcome, reason))
    if turn.spec.on_failure == "undo_all":
        owed = [name for name in turn.run.plan if turn.run.steps[name].owes_undo]
        _queue(turn, owed, Stage.ENDING)
    if turn.run.undoing:
        return turn.enter(Stage.UNDOING)
    return turn.enter(Stage.ENDING)


def step_unproved(turn: Turn, reason: str) -> None:
    """The step at the cursor was done and not proved. Undone first, where the policy says so."""
    name, undo = turn.step.name, turn.step.intention.undo if turn.step.intention else None
    turn.change_step(name, state=StepState.UNVERIFIED, error=reason)
    turn.note("unverified", step=name, reason=reason)
    takes_back = undo is not None and (turn.run.rungs or "unverified" in undo.early)
    if takes_back and turn.step.owes_undo:
        _queue(turn, [name], Stage.ENDING)
    step_failed(turn, Outcome.INEFFECTIVE, reason)
    if turn.run.undoing and turn.run.stage is not Stage.UNDOING:
        turn.change(after_undo=turn.run.stage)
        turn.enter(Stage.UNDOING)


def _next(turn: Turn) -> None:
    turn.change(cursor=turn.run.cursor + 1)
    turn.enter(Stage.CHOOSING)


def _queue(turn: Turn, names: list[str], after: Stage) -> None:
    """Latest change first."""
    queued = [name for name in reversed(names) if name not in turn.run.undoing]
    turn.change(undoing=(*turn.run.undoing, *queued), after_undo=after)
