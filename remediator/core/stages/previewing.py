"""Ask what the gated steps would change, so that people approve what they have seen.

For a later gate the probes are read again as well: the steps before it have moved the figures, and what
counts from now on is whether they move once more before people have agreed.
"""

from __future__ import annotations

from remediator.core.calls import previews
from remediator.core.evidence import Reading
from remediator.core.failure import stop_before
from remediator.core.gate import needed
from remediator.core.intention import Call
from remediator.core.messages import Event, Preview, Previewed, ProbeRead
from remediator.core.planning import as_read, probe_call, relisted, unexpected
from remediator.core.run import Stage
from remediator.core.stages.diagnosing import PREFIX as PROBE
from remediator.core.stages.preparing import MOST_VOIDS
from remediator.core.turn import Turn
from remediator.errors import EvaluationError

PREFIX = "preview:"


def enter(turn: Turn) -> None:
    """One preview for every step of the gate whose operation can show one."""
    gate = needed(turn.run, turn.policy)
    steps = [turn.run.steps[name] for name in gate.steps] if gate is not None else []
    wanted = {
        step.name: step.intention.call
        for step in steps
        if step.intention is not None and previews(step.intention.call, turn.facts.catalog)
    }
    try:
        turn.ask(_probes(turn) if turn.run.acted else {})
    except EvaluationError as error:
        return stop_before(turn, "expression", str(error))
    turn.change(pending=(*turn.run.pending, *(PREFIX + name for name in wanted)), pictures={}, seen={})
    for name, call in wanted.items():
        turn.want(Preview(turn.run.round, name, call))
    return None if turn.run.pending else _open(turn)


def hear(turn: Turn, event: Event) -> None:
    """When all pictures are there, open the gate."""
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
    return _arrived(turn, key)


def _shown(turn: Turn, event: Previewed) -> None:
    if event.picture is None:
        return stop_before(turn, "preview", f"{event.step}: {event.error}")
    turn.note("previewed", step=event.step, count=event.picture.count)
    turn.change(pictures={**turn.run.pictures, event.step: event.picture})
    return _arrived(turn, PREFIX + event.step)


def _arrived(turn: Turn, key: str) -> None:
    turn.change(pending=tuple(one for one in turn.run.pending if one != key))
    if not turn.run.pending:
        _open(turn)


def _open(turn: Turn) -> None:
    """Ask people, unless the lists are others than those beside which they would see the card."""
    gate = needed(turn.run, turn.policy)
    bases = dict.fromkeys(gate.lists) if gate is not None and turn.run.seen else {}
    try:
        moved = relisted(turn.run, turn.policy, bases, turn.facts)
    except EvaluationError as error:
        return stop_before(turn, "expression", str(error))
    if not moved:
        return turn.enter(Stage.WAITING)
    turn.note("relisted", steps=moved)
    turn.change(voids=turn.run.voids + 1)
    if turn.run.voids > MOST_VOIDS:
        return stop_before(turn, "fresh", f"the list of {', '.join(moved)} changes each time that it is read")
    return turn.enter(Stage.CHOOSING)
