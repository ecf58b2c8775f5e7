"""Ask what the gated steps would change, so that people approve what they have seen.

For a later gate the probes are read again before that: the steps before it, or somebody else, have moved
the figures. What people are asked is made of what they see there, and what counts from now on is whether
it moves once more before they have agreed. A later rung that nobody is asked about is made of it too.
"""

from __future__ import annotations

from remediator.core.calls import previews
from remediator.core.evidence import Reading, differences
from remediator.core.failure import stop_before
from remediator.core.gate import needed
from remediator.core.intention import Call
from remediator.core.messages import Event, Preview, Previewed, ProbeRead
from remediator.core.planning import as_read, as_seen, choose_case, probe_call, unexpected
from remediator.core.repeating import enough
from remediator.core.run import Stage
from remediator.core.stages import choosing
from remediator.core.stages.diagnosing import PREFIX as PROBE
from remediator.core.stages.preparing import OTHER_CASE
from remediator.core.steps import base_of
from remediator.core.turn import Turn
from remediator.errors import EvaluationError

PREFIX = "preview:"


def enter(turn: Turn) -> None:
    """Once something was done, read again first. Then what the steps would change."""
    try:
        turn.ask(_probes(turn) if turn.run.acted else {})
    except EvaluationError as error:
        return stop_before(turn, "expression", str(error))
    return None if turn.run.pending else _preview(turn)


def hear(turn: Turn, event: Event) -> None:
    """When all readings are there, resolve anew; when all pictures are, open the gate."""
    match event:
        case ProbeRead(round=turn.run.round, key=key, reading=reading) if key in turn.run.pending:
            return _read(turn, key, reading)
        case Previewed(round=turn.run.round, step=name) if PREFIX + name in turn.run.pending:
            return _shown(turn, event)
        case _:
            return None


def _probes(turn: Turn) -> dict[str, Call]:
    return {
        PROBE + name: probe_call(
            turn.run, turn.policy, turn.facts, probe, f"{turn.run.policy}: diagnose.{name}"
        )
        for name, probe in turn.policy.diagnose.items()
    }


def _read(turn: Turn, key: str, reading: Reading) -> None:
    name = key.removeprefix(PROBE)
    probe, read = turn.policy.diagnose[name], as_read(turn.policy, turn.facts.catalog, name, reading)
    turn.note("reading", probe=name, ok=reading.ok, value=reading.shown, error=reading.error)
    problem = unexpected(probe, read)
    if problem and not probe.optional:
        return stop_before(turn, "probe", f"{name}: {problem}")
    turn.change(seen={**turn.run.seen, name: read})
    _arrived(turn, key)
    return None if turn.run.pending else _made_anew(turn)


def _shown(turn: Turn, event: Previewed) -> None:
    if event.picture is None:
        return stop_before(turn, "preview", f"{event.step}: {event.error}")
    turn.note("previewed", step=event.step, count=event.picture.count)
    turn.change(pictures={**turn.run.pictures, event.step: event.picture})
    _arrived(turn, PREFIX + event.step)
    return None if turn.run.pending else turn.enter(Stage.WAITING)


def _arrived(turn: Turn, key: str) -> None:
    turn.change(pending=tuple(one for one in turn.run.pending if one != key))


def _made_anew(turn: Turn) -> None:
    """What is to come, by what was read just now.

    The steps of a ``do`` may move the figures out of their case. A rung is another remedy for the trouble
    that the first did not end: where the table would now choose another case, it is that of another trouble.
    """
    base = base_of(turn.step.name)
    try:
        if turn.run.rungs and choose_case(turn.policy, as_seen(turn.run), turn.now) != turn.run.case:
            return stop_before(turn, "fresh", f"{OTHER_CASE}: {_moved(turn)}")
        wanted = choosing.resolve(turn)
    except EvaluationError as error:
        return stop_before(turn, "expression", str(error))
    if wanted is not None:
        return _preview(turn)
    turn.go_on_by(turn.run.evidence)
    return choosing.ungated(turn) if choosing.stands_at(turn, base) else turn.enter(Stage.CHOOSING)


def _moved(turn: Turn) -> str:
    return enough(differences(turn.run.readings, turn.run.evidence)) or "none of them moved, but time passed"


def _preview(turn: Turn) -> None:
    """One preview for every step of the gate whose operation can show one."""
    gate = needed(turn.run, turn.policy)
    steps = [turn.run.steps[name] for name in gate.steps] if gate is not None else []
    wanted = {
        step.name: step.intention.call
        for step in steps
        if step.intention is not None and previews(step.intention.call, turn.facts.catalog)
    }
    turn.change(pending=tuple(PREFIX + name for name in wanted), pictures={})
    for name, call in wanted.items():
        turn.want(Preview(turn.run.round, name, call))
    return None if wanted else turn.enter(Stage.WAITING)
