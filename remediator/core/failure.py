"""What a run does when a step cannot be started, was refused, or did not help."""

from __future__ import annotations

from remediator.core.run import Outcome, Refusal, Run, Stage, StepState, Verdict
from remediator.core.turn import Turn


def stop_before(turn: Turn, bound: str, reason: str, refusal: Refusal | None = None) -> None:
    """The step at the cursor may not start. Nothing done yet: the run is refused. Otherwise it ends."""
    turn.change_step(turn.step.name, state=StepState.REFUSED, error=reason)
    if not any(step.stands for step in turn.run.steps.values()):
        if refusal is not None:
            return turn.close(Outcome.REFUSED, str(refusal), refusal)
        return turn.refuse(bound, reason)
    turn.page("stopped", f"stopped before {turn.step.name}: {reason}")
    turn.change(verdict=Verdict(Outcome.FAILED, f"{bound}: {reason}"))
    return turn.enter(Stage.ENDING)


def step_failed(turn: Turn, outcome: Outcome, reason: str) -> None:
    """The step at the cursor was refused by the world or did not help.

    A rung gives way to the next one. Otherwise the step's ``on_failure`` says what follows.
    """
    if turn.run.rungs and turn.run.cursor + 1 < len(turn.run.plan):
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


def owed_undos(run: Run) -> list[str]:
    """Steps whose change stands only for a time, in the order in which they were done."""
    return [name for name in run.plan if run.steps[name].owes_undo and _is_held(run, name)]


def _is_held(run: Run, name: str) -> bool:
    intention = run.steps[name].intention
    undo = intention.undo if intention is not None else None
    return undo is not None and (undo.after_s is not None or "resolved" in undo.early)
