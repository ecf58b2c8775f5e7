"""What a run does when a step cannot be started, is not needed any more, was refused, or did not help.

Of a repeated step each item may fail by itself; what its ``on_failure`` says follows once, when no
further item is to come.
"""

from __future__ import annotations

from remediator.core.repeating import failures, has_failed, items, named, passed, stopped, together
from remediator.core.run import Outcome, Refusal, Run, Stage, StepState, Verdict
from remediator.core.steps import base_of
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


def not_readable(turn: Turn, reason: str) -> None:
    """What has to be read before the step at the cursor cannot be: it is not started.

    An item of a list gives way to the next one, as one that the world refused; but a run that has done
    nothing, and now begins nothing, is refused.
    """
    turn.change_step(turn.step.name, state=StepState.REFUSED, error=reason)
    untouched = not turn.run.acted and not any(step.stands for step in turn.run.steps.values())
    goes_on = _has_further(turn) and not stopped(turn.run, turn.policy, turn.step.name)
    if turn.spec.for_each is None or (untouched and not goes_on):
        return stop_before(turn, "probe", reason)
    return step_failed(turn, Outcome.FAILED, reason)


def alert_over(turn: Turn) -> None:
    """The alert resolved and nothing is on its way: no further step is started."""
    if turn.run.acted:
        return _no_further(turn, Outcome.FIXED, "the alert resolved; no further step was needed")
    return _no_further(turn, Outcome.RECOVERED, "the alert resolved before anything was started")


def deadline_over(turn: Turn) -> None:
    """Its time is up and nothing is on its way: no further step is started."""
    turn.page("deadline", "its deadline has passed; no further step is started")
    return _no_further(turn, Outcome.EXPIRED, "the run's deadline has passed")


def _no_further(turn: Turn, outcome: Outcome, reason: str) -> None:
    """An end in the middle of a plan. What failed before it counts; but a rung that did is no failure."""
    run = turn.run
    failed = failed_so_far(run) if any(one.attempt for one in run.planned) and not run.rungs else None
    if failed is not None or outcome is Outcome.EXPIRED:
        played(turn)  # what is only recovered was no whole play
    if failed is None:
        return turn.close(outcome, reason)
    told = f"{failed.reason}; {reason}"
    if failures(run, turn.step.name):
        return _failed(turn, failed.outcome, told)
    return turn.close(failed.outcome, told)


def failed_so_far(run: Run) -> Verdict | None:
    """How the steps of its plan failed, the worst first; of a repeated one all items. None: none did."""
    failed = [one for one in run.planned if has_failed(one)]
    certain = [one for one in failed if one.state in (StepState.REFUSED, StepState.UNKNOWN)]
    if not failed:
        return None
    worst = (certain or failed)[0]
    if base_of(worst.name) in run.lists:
        return Verdict(*together(run, worst.name))
    if certain:
        return Verdict(Outcome.FAILED, f"{worst.name}: {worst.error}")
    return Verdict(Outcome.INEFFECTIVE, worst.error)


def time_box_over(turn: Turn, names: list[str]) -> None:
    """A temporary change of an earlier step must go, before the later ones have begun."""
    further = turn.run.step.name if turn.run.step is not None else "what was to follow"
    reason = f"the time of {named(names)} is over; {further} was not done"
    turn.void_gates(reason)
    turn.page(f"time-box:{names[0]}", reason)
    return _no_further(turn, Outcome.EXPIRED, reason)


def step_worked(turn: Turn) -> None:
    """The step at the cursor did what it should. Its next item, or what comes after it."""
    if _has_further(turn):
        return _next(turn)
    if failures(turn.run, turn.step.name):
        return _all_failed(turn, *together(turn.run, turn.step.name))
    if turn.run.rungs:
        return turn.enter(Stage.ENDING)
    return _next(turn)


def step_failed(turn: Turn, outcome: Outcome, reason: str) -> None:
    """The step at the cursor was refused by the world or did not help. Its next item, or its end."""
    if _has_further(turn) and not stopped(turn.run, turn.policy, turn.step.name):
        return _next(turn)
    if turn.spec.for_each is not None:
        outcome, reason = together(turn.run, turn.step.name)
    return _all_failed(turn, outcome, reason)


def _all_failed(turn: Turn, outcome: Outcome, reason: str) -> None:
    """A rung gives way to the next one, as a whole. Otherwise the step's ``on_failure`` says what follows."""
    run, name = turn.run, turn.step.name
    further = run.plan[passed(run) :]
    if run.rungs:
        _queue(turn, [one.name for one in items(run, name) if one.owes_undo])
    if run.rungs and any(base_of(one) not in turn.facts.held_steps for one in further):
        return _on(turn)
    if turn.spec.on_failure == "continue":
        return _on(turn)
    played(turn)
    return _failed(turn, outcome, reason)


def _failed(turn: Turn, outcome: Outcome, reason: str) -> None:
    """The step at the cursor failed, and nothing follows but what its ``on_failure`` says."""
    run = turn.run
    if turn.spec.on_failure != "continue":
        turn.page(f"failed:{base_of(turn.step.name)}", reason)
    turn.change(verdict=Verdict(outcome, reason))
    if turn.spec.on_failure == "undo_all":
        _queue(turn, [one for one in run.plan if run.steps[one].owes_undo])
    return _then(turn, Stage.ENDING)


def played(turn: Turn) -> None:
    """Safe steps that worked are not done again within the cooldown, whatever became of those beside them."""
    if not turn.run.acted and any(one.worked for one in turn.run.planned):
        turn.count("safe", str(turn.run.case))


def step_unproved(turn: Turn, reason: str) -> None:
    """The step at the cursor was done and not proved. Undone first, where the policy says so."""
    name, undo = turn.step.name, turn.step.intention.undo if turn.step.intention else None
    turn.change_step(name, state=StepState.UNVERIFIED, error=reason)
    turn.note("unverified", step=name, reason=reason)
    takes_back = undo is not None and (turn.run.rungs or "unverified" in undo.early)
    if takes_back and turn.step.owes_undo:
        _queue(turn, [name])
    step_failed(turn, Outcome.INEFFECTIVE, reason)


def _has_further(turn: Turn) -> bool:
    """Is another item of the same list to come?"""
    return passed(turn.run) > turn.run.cursor + 1


def _next(turn: Turn) -> None:
    turn.change(cursor=turn.run.cursor + 1)
    _then(turn, Stage.CHOOSING)


def _on(turn: Turn) -> None:
    turn.change(cursor=passed(turn.run))
    _then(turn, Stage.CHOOSING)


def _then(turn: Turn, stage: Stage) -> None:
    """There, once what is to be taken back was taken back."""
    if not turn.run.undoing:
        return turn.enter(stage)
    turn.change(after_undo=stage)
    return turn.enter(Stage.UNDOING)


def _queue(turn: Turn, names: list[str]) -> None:
    """Latest change first."""
    queued = [name for name in reversed(names) if name not in turn.run.undoing]
    turn.change(undoing=(*turn.run.undoing, *queued))
