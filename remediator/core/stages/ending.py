"""No step is left: hold what stands for a time, take back what must go, or close."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from remediator.core.failure import failed_so_far, played
from remediator.core.messages import Event
from remediator.core.repeating import enough, idle, named
from remediator.core.run import Outcome, Run, Stage, StepRun, StepState, Verdict
from remediator.core.steps import base_of
from remediator.core.turn import Turn


def hear(turn: Turn, event: Event) -> None:
    """Never waits, so it hears nothing."""


def enter(turn: Turn) -> None:
    """Left at once."""
    run = turn.run
    if run.undoing:
        turn.change(after_undo=Stage.ENDING)
        return turn.enter(Stage.UNDOING)
    verdict = run.verdict or _verdict(run)
    if run.temporary:
        turn.fail(verdict)  # a hold may last for days: its policy is stepped down now
        return turn.enter(Stage.HOLDING)
    if run.verdict is None:
        played(turn)
    return turn.close(verdict.outcome, verdict.reason)


def _verdict(run: Run) -> Verdict:
    """How the steps ended, the worst first. A rung that gave way to a better one is no failure."""
    if not run.plan:
        return Verdict(Outcome.NOTHING_TO_DO, idle(run))
    steps = [run.steps[name] for name in run.plan]
    if run.rungs:
        rungs = [list(group) for _, group in groupby(steps, lambda one: base_of(one.name))]
        worked = next((rung for rung in rungs if all(one.worked for one in rung)), None)
        if worked is not None:
            return Verdict(Outcome.FIXED, _well(worked))
        reason = enough([one.error for one in steps if one.error]) or "no rung helped"
        return Verdict(Outcome.INEFFECTIVE, reason)
    return failed_so_far(run) or Verdict(Outcome.FIXED, _well(steps))


def _well(steps: Sequence[StepRun]) -> str:
    """``pause proved, retry (12 items) done``."""
    alike = groupby(steps, lambda one: (base_of(one.name), _word(one.state)))
    return ", ".join(f"{named(one.name for one in group)} {word}" for (_, word), group in alike)


def _word(state: StepState) -> str:
    return {StepState.VERIFIED: "proved", StepState.DONE: "done", StepState.UNDONE: "undone"}.get(
        state, str(state)
    )
