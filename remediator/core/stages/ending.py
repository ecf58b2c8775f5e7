"""No step is left: hold what stands for a time, take back what must go, or close."""

from __future__ import annotations

from remediator.core.messages import Event
from remediator.core.run import Outcome, Run, Stage, StepState, Verdict
from remediator.core.turn import Turn


def hear(turn: Turn, event: Event) -> None:
    """Never waits, so it hears nothing."""


def enter(turn: Turn) -> None:
    """Left at once."""
    run = turn.run
    if run.undoing:
        turn.change(after_undo=Stage.ENDING)
        return turn.enter(Stage.UNDOING)
    if run.temporary:
        return turn.enter(Stage.HOLDING)
    verdict = run.verdict or _verdict(run)
    if verdict.outcome is Outcome.FIXED and not run.acted:
        turn.count("safe", str(run.case))
    return turn.close(verdict.outcome, verdict.reason)


def _verdict(run: Run) -> Verdict:
    """How the steps ended, the worst first. A rung that gave way to a better one is no failure."""
    steps = [run.steps[name] for name in run.plan]
    if run.rungs:
        worked = next((one for one in steps if one.worked), None)
        if worked is not None:
            return Verdict(Outcome.FIXED, f"{worked.name} {_word(worked.state)}")
        reason = "; ".join(one.error for one in steps if one.error) or "no rung helped"
        return Verdict(Outcome.INEFFECTIVE, reason)
    for one in steps:
        if one.state in (StepState.REFUSED, StepState.UNKNOWN):
            return Verdict(Outcome.FAILED, f"{one.name}: {one.error}")
    for one in steps:
        if not one.worked:
            return Verdict(Outcome.INEFFECTIVE, one.error)
    return Verdict(Outcome.FIXED, ", ".join(f"{one.name} {_word(one.state)}" for one in steps))


def _word(state: StepState) -> str:
    return {StepState.VERIFIED: "proved", StepState.DONE: "done", StepState.UNDONE: "undone"}.get(
        state, str(state)
    )
