"""First stop of a run: read the probes, then find the case of the decision table that holds."""

from __future__ import annotations

from remediator.core import bounds
from remediator.core.catalog import Risk
from remediator.core.intention import Intention
from remediator.core.messages import Event, ProbeRead
from remediator.core.planning import as_read, choose_case, intentions, probe_call, spread_out, unexpected
from remediator.core.repeating import idle, named, names_of
from remediator.core.run import Outcome, Refusal, Stage, StepRun
from remediator.core.steps import base_of
from remediator.core.turn import Turn
from remediator.errors import EvaluationError

PREFIX = "diagnose:"


def enter(turn: Turn) -> None:
    """Send all probes of the policy, together. Of an earlier decision only what was started is kept."""
    run = turn.run
    kept = {base_of(name) for name, step in run.steps.items() if step.attempt}
    steps = {name: step for name, step in run.steps.items() if base_of(name) in kept}
    lists = {base: found for base, found in run.lists.items() if base in kept}
    turn.change(fresh={}, case=None, plan=(), cursor=0, steps=steps, lists=lists)
    turn.go_on_by({})
    try:
        calls = {
            PREFIX + name: probe_call(
                turn.run, turn.policy, turn.facts, probe, f"{turn.run.policy}: diagnose.{name}"
            )
            for name, probe in turn.policy.diagnose.items()
        }
    except EvaluationError as error:
        return turn.refuse("expression", str(error))
    if calls:
        turn.ask(calls)
        return None
    return _decide(turn)


def hear(turn: Turn, event: Event) -> None:
    """Collect readings; when the last is there, decide."""
    if not isinstance(event, ProbeRead) or event.round != turn.run.round or event.key not in turn.run.pending:
        return
    name = event.key.removeprefix(PREFIX)
    turn.change(
        readings={**turn.run.readings, name: as_read(turn.policy, turn.facts.catalog, name, event.reading)},
        pending=tuple(key for key in turn.run.pending if key != event.key),
    )
    turn.note(
        "reading", probe=name, ok=event.reading.ok, value=event.reading.shown, error=event.reading.error
    )
    if not turn.run.pending:
        _decide(turn)


def _decide(turn: Turn) -> None:
    for name, probe in turn.policy.diagnose.items():
        problem = unexpected(probe, turn.run.readings[name])
        if problem and not probe.optional:
            return turn.refuse("probe", f"{name}: {problem}")
    try:
        number = choose_case(turn.policy, turn.run, turn.now)
    except EvaluationError as error:
        return turn.refuse("expression", str(error))
    if number is None:
        return turn.close(Outcome.NOTHING_TO_DO, "no case of the decision table holds")
    case = turn.policy.decide[number]
    turn.note("decided", case=number, steps=list(case.steps), rungs=case.rungs)
    if not case.steps:
        return turn.close(Outcome.NOTHING_TO_DO, f"case {number + 1} says: do nothing")
    plan = tuple(name for base in case.steps for name in names_of(turn.run, base))
    steps = {name: turn.run.steps.get(name, StepRun(name)) for name in plan}
    turn.change(case=number, plan=plan, rungs=case.rungs, cursor=0, steps={**turn.run.steps, **steps})
    return _observe(turn) if turn.run.observes else turn.enter(Stage.CHOOSING)


def _observe(turn: Turn) -> None:
    """Mode observe ends here: say what would be done, count it apart, touch nothing."""
    would: list[Intention] = []
    for base in turn.run.plan:
        try:
            turn.run = spread_out(turn.run, turn.policy, base, turn.facts)
            resolved = intentions(turn.run, turn.policy, names_of(turn.run, base), turn.facts)
        except EvaluationError as error:
            turn.note("would", step=base, error=str(error))
            continue
        if base in turn.run.lists:
            turn.note("repeated", step=base, items=len(resolved))
        for one in resolved:
            turn.note("would", step=one.step, summary=one.summary, risk=str(one.risk))
        would += resolved
    if not turn.run.plan:
        return turn.close(Outcome.NOTHING_TO_DO, idle(turn.run))
    no = bounds.to_observe(bounds.Ask.of(turn.run.target, turn.facts))
    if no is None and any(intention.risk is not Risk.SAFE for intention in would):
        turn.count("act")
    reason = f"would do: {named(turn.run.plan)}"
    return turn.close(Outcome.OBSERVED, reason if no is None else f"{reason}; but {no}", _pause(turn, no))


def _pause(turn: Turn, no: Refusal | None) -> Refusal:
    again_at = (no.again_at if no else None) or turn.now + turn.policy.pause
    return Refusal("observe", "mode observe only says what it would do", again_at)
