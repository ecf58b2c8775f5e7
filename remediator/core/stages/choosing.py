"""Which step is next, and do people have to agree first? Left within the same decision."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from remediator.core import bounds
from remediator.core.calls import call_risk, previews
from remediator.core.catalog import Risk
from remediator.core.exact import same
from remediator.core.expression import format_duration
from remediator.core.failure import alert_over, deadline_over, stop_before, time_box_over
from remediator.core.gate import Need, covers, need, needed
from remediator.core.messages import Event
from remediator.core.planning import as_seen, highest, intentions, made_of, spread_out
from remediator.core.repeating import (
    begun,
    items,
    keeps_version,
    named,
    names_of,
    passed,
    risk_of_all,
    stopped,
)
from remediator.core.run import Outcome, Refusal, Run, Stage, StepState
from remediator.core.stages import holding
from remediator.core.steps import base_of
from remediator.core.turn import Turn
from remediator.errors import EvaluationError


def hear(turn: Turn, event: Event) -> None:
    """Never waits, so it hears nothing."""


def enter(turn: Turn) -> None:
    """Find the next step; open a gate for it, or prepare it."""
    run = turn.run
    if run.step is None:
        return turn.enter(Stage.ENDING)
    if turn.now >= run.opened_at + turn.policy.bounds.deadline:
        return deadline_over(turn)
    if turn.recovered:
        return alert_over(turn)
    if over := holding.due(turn):
        return time_box_over(turn, over)
    if not keeps_version(run) and turn.facts.current != run.version:
        return turn.decide_again(turn.facts.outdated)
    if turn.lowered:
        return turn.decide_again(turn.lowered)
    if run.cursor == 0 and _stops_at_once(turn):
        return None
    while turn.run.step is not None and (beyond := _beyond(turn)):
        turn.change(cursor=beyond)
    if turn.run.step is None:
        return turn.enter(Stage.ENDING)
    if any(covers(gate, turn.step.name) for gate in run.all_gates):
        return turn.enter(Stage.PREPARING)
    turn.change(seen={})
    return _intend(turn)


def _beyond(turn: Turn) -> int:
    """Where to go on, if the step at the cursor is to be passed over; else 0."""
    run, step = turn.run, turn.step
    if step.attempt:
        return run.cursor + 1  # started before the figures changed: nothing is done twice
    if stopped(run, turn.policy, step.name):
        return passed(run)
    if not run.rungs or base_of(step.name) not in turn.facts.held_steps:
        return 0
    turn.change_step(step.name, state=StepState.REFUSED, error="another run holds it")
    turn.note("skipped", step=step.name, reason="another run holds it")
    return run.cursor + 1


def _stops_at_once(turn: Turn) -> bool:
    """What is known to be refused later is refused before anybody is bothered."""
    run = turn.run
    held = [name for name in run.plan if base_of(name) in turn.facts.held_steps]
    if held and not (run.rungs and len(held) < len(run.plan)):
        turn.refuse("held", f"{named(held)} is being held by another run")
        return True
    return _played_before(turn)


def _played_before(turn: Turn) -> bool:
    """A case of which safe steps worked, and nothing else was done, is not repeated within the cooldown.

    Bounds count only acts that are not safe; without this, a message or a retrigger that helps for a
    moment would be sent at every recheck.
    """
    played = turn.facts.use.safe_plays.get(str(turn.run.case))
    cooldown = turn.policy.bounds.cooldown
    if played is None or turn.now >= played + cooldown:
        return False
    done = f"this case was played at {played:%H:%M:%S} UTC with safe steps"
    reason = f"{done}; cooldown {format_duration(cooldown)}"
    turn.close(Outcome.NOTHING_TO_DO, reason, Refusal("cooldown", reason, again_at=played + cooldown))
    return True


def _intend(turn: Turn) -> None:
    """Resolve the step; find out whether people are asked about it, or what it is made of is read again."""
    base, unresolved = base_of(turn.step.name), turn.run
    wanted, problem = None, ""
    try:
        wanted = resolve(turn)
    except EvaluationError as error:
        problem = str(error)
    if (problem or not stands_at(turn, base)) and _may_be_read_anew(unresolved, turn):
        turn.run = unresolved
        return _look(turn)
    if problem:
        return stop_before(turn, "expression", problem)
    if not stands_at(turn, base):
        return enter(turn)  # its list is empty
    if wanted is None and not is_later_rung(turn):
        return ungated(turn)
    return _look(turn, wanted.steps if wanted is not None else ())


def _look(turn: Turn, steps: Iterable[str] = ()) -> None:
    """At what people are to see of these steps, and once something was done at the figures again."""
    ask = bounds.Ask.of(turn.run.target, turn.facts)
    no = bounds.to_go_on(ask) if turn.run.acted else bounds.to_change(ask)
    if no is not None and turn.run.acted:
        return stop_before(turn, no.bound, no.reason)
    if no is not None:
        return turn.close(Outcome.REFUSED, str(no), no)
    calls = [one.call for name in steps if (one := turn.run.steps[name].intention) is not None]
    shows = any(previews(call, turn.facts.catalog) for call in calls)
    return turn.enter(Stage.PREVIEWING if shows or turn.run.acted else Stage.WAITING)


def resolve(turn: Turn) -> Need | None:
    """The step and all that share its gate, by what was read last; a repeated one as its items.

    The gate that they need. Raises EvaluationError. The cursor stands behind a list that is empty.
    """
    policy, base = turn.policy, base_of(turn.step.name)
    _spread(turn, base)
    if not stands_at(turn, base):
        return None
    goes_on = begun(turn.run, base)
    _resolve(turn, [turn.step.name] if goes_on else names_of(turn.run, base))
    wanted = needed(turn.run, policy)
    if wanted is None:
        return None
    for other in dict.fromkeys(base_of(name) for name in wanted.steps if base_of(name) != base):
        _spread(turn, other)
        wanted = needed(turn.run, policy)
        assert wanted is not None
    _resolve(turn, [name for name in wanted.steps if goes_on or base_of(name) != base])
    return wanted


def stands_at(turn: Turn, base: str) -> bool:
    """Is the cursor on this step of the policy?"""
    return turn.run.step is not None and base_of(turn.run.step.name) == base


def is_later_rung(turn: Turn) -> bool:
    """Is it another remedy than the one that was tried, made of figures, and begun without asking anybody?

    The steps of a ``do`` are one remedy, and the figures of the decision are theirs: they move them.
    """
    run, base = turn.run, base_of(turn.step.name)
    if not (run.acted and run.rungs) or begun(run, base) or risk_of_all(run, base) is Risk.SAFE:
        return False
    return not made_of(turn.spec).isdisjoint(turn.policy.diagnose)


def _may_be_read_anew(run: Run, turn: Turn) -> bool:
    """Is the step at the cursor, which has no items or cannot be made yet, perhaps made of other figures?

    Those of the decision are older than what was done since. What counts is what is read for this step, where
    people may be asked about it, or where it is a later rung that figures are a part of.
    """
    policy, catalog = turn.policy, turn.facts.catalog
    if run.step is None or run.case is None or not (run.acted and policy.diagnose):
        return False
    base = base_of(run.step.name)
    step, case = policy.step(base), policy.decide[run.case]
    worst = highest(step, catalog)
    risks = [risk for risk in Risk if risk.rank <= worst.rank]
    asked = any(need(policy, case, base, risk, run.mode) is not None for risk in risks)
    rung = bool(run.rungs) and worst is not Risk.SAFE and not made_of(step).isdisjoint(policy.diagnose)
    return not begun(run, base) and (asked or rung)


def _spread(turn: Turn, base: str) -> None:
    known = turn.run.lists.get(base)
    turn.run = spread_out(turn.run, turn.policy, base, turn.facts)
    if base in turn.run.lists and not same(turn.run.lists[base], known):
        turn.note("repeated", step=base, items=len(turn.run.lists[base]))


def _resolve(turn: Turn, names: list[str]) -> None:
    steps = turn.run.steps
    fresh = {
        one.step: msgspec.structs.replace(steps[one.step], intention=one)
        for one in intentions(as_seen(turn.run), turn.policy, names, turn.facts)
    }
    turn.change(steps={**steps, **fresh})


def ungated(turn: Turn) -> None:
    """Nobody is asked about the step at the cursor."""
    if risk_of_all(turn.run, turn.step.name) is Risk.DESTRUCTIVE and not _waived(turn):
        return stop_before(turn, "gate", f"{_destructive(turn)} is destructive and has no gate")
    return turn.enter(Stage.PREPARING)


def _destructive(turn: Turn) -> str:
    """The step, or what takes it back where that alone is."""
    base, catalog = base_of(turn.step.name), turn.facts.catalog
    acts = [one.intention.call for one in items(turn.run, base) if one.intention is not None]
    own = any(call_risk(one, catalog) is Risk.DESTRUCTIVE for one in acts)
    return base if own else f"the undo of {base}"


def _waived(turn: Turn) -> bool:
    assert turn.run.case is not None
    gates = (turn.policy.decide[turn.run.case].gate, turn.spec.gate)
    return any(gate is not None and gate.waived for gate in gates)
