"""Read what must be fresh before the act: the probes again, the previews again, and `before`.

The last only where a proof compares with it. What is down cannot be read, and a step that brings it up
again, proved by its being up, must be able to start.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from remediator.core.catalog import Risk
from remediator.core.evidence import Picture, Reading
from remediator.core.exact import same
from remediator.core.failure import not_readable, stop_before
from remediator.core.gate import covers, needed, opens_with, same_plan
from remediator.core.intention import Call
from remediator.core.messages import AlertHeard, Event, Preview, Previewed, ProbeRead
from remediator.core.planning import again, as_read, choose_case, probe_call, unexpected
from remediator.core.repeating import keeps_version
from remediator.core.run import Gate, Run, Stage
from remediator.core.stages import diagnosing
from remediator.core.stages.choosing import is_later_rung
from remediator.core.turn import Turn
from remediator.errors import EvaluationError

BEFORE = "before:"
PREVIEW = "preview:"
MOST_VOIDS = 3
OTHER_CASE = "the figures now lead to another case of the decision table"


def enter(turn: Turn) -> None:
    """Send what has to be read. With nothing to read, start."""
    run, step = turn.run, turn.step
    assert step.intention is not None
    turn.change(fresh={}, pictures={})
    if _just_over(turn):
        return None
    stale = _must_be_fresh(turn) and not _fresh(turn)
    calls: dict[str, Call] = {}
    try:
        if stale:
            for name, probe in turn.policy.diagnose.items():
                place = f"{run.policy}: diagnose.{name}"
                calls[diagnosing.PREFIX + name] = probe_call(run, turn.policy, turn.facts, probe, place)
    except EvaluationError as error:
        return stop_before(turn, "expression", str(error))
    if step.intention.verify is not None and turn.spec.compares:
        calls[BEFORE + step.name] = step.intention.verify
    turn.ask(calls)
    if stale:
        _preview_again(turn)
    return None if turn.run.pending else _compare(turn)


def hear(turn: Turn, event: Event) -> None:
    """Collect; when the last is there, compare with what was approved, and start."""
    match event:
        case AlertHeard() if not turn.run.pending and turn.run.resolved_at is None:
            return enter(turn)  # it was just over, and fires again
        case ProbeRead(round=number, key=key, reading=reading) if (
            number == turn.run.round and key in turn.run.pending
        ):
            _arrived(turn, key)
            if key.startswith(BEFORE):
                return _before(turn, reading)
            name = key.removeprefix(diagnosing.PREFIX)
            read = as_read(turn.policy, turn.facts.catalog, name, reading)
            turn.change(fresh={**turn.run.fresh, name: read})
        case Previewed(round=number, step=name, picture=picture) if (
            number == turn.run.round and PREVIEW + name in turn.run.pending
        ):
            _arrived(turn, PREVIEW + name)
            if picture is None:  # what people saw is not there any more; decided anew, it may be another case
                return _void(turn, f"{name}: {event.error}")
            turn.change(pictures={**turn.run.pictures, name: picture})
        case _:
            return None
    return None if turn.run.pending else _compare(turn)


def _before(turn: Turn, reading: Reading) -> None:
    turn.note("before", step=turn.step.name, ok=reading.ok, value=reading.shown, error=reading.error)
    if not reading.ok:
        return not_readable(turn, f"the reading before {turn.step.name} failed: {reading.error}")
    turn.change_step(turn.step.name, before=reading)
    return None if turn.run.pending else _compare(turn)


def _arrived(turn: Turn, key: str) -> None:
    turn.change(pending=tuple(one for one in turn.run.pending if one != key))


def _just_over(turn: Turn) -> bool:
    """What is begun only while its alerts fire waits until their end counts, or they fire again."""
    run = turn.run
    asked = run.rungs or not run.acted or opens_with(run, turn.step.name)
    return keeps_version(run) and asked and run.resolved_at is not None and not turn.recovered


def _must_be_fresh(turn: Turn) -> bool:
    """The run's first change, every step that people have just agreed to, and another remedy made of figures.

    Later steps under the same gate, or under none, are not asked: the first may have moved the figures.
    """
    run, intention = turn.run, turn.step.intention
    if not run.acted:
        return intention is not None and intention.risk is not Risk.SAFE
    return opens_with(run, turn.step.name) or (_gate(run) is None and is_later_rung(turn))


def _fresh(turn: Turn) -> bool:
    if _gate(turn.run) is not None:
        return False  # a person took time to think
    return _young(turn, turn.run.readings)


def _young(turn: Turn, readings: Mapping[str, Reading]) -> bool:
    limit = turn.now - turn.facts.freshness
    return all(reading.at > limit for reading in readings.values())


def _gate(run: Run) -> Gate | None:
    step = run.step
    return next((one for one in run.all_gates if step is not None and covers(one, step.name)), None)


def _preview_again(turn: Turn) -> None:
    gate = _gate(turn.run)
    previewed = [one for one in gate.intentions if one.step in gate.pictures] if gate is not None else []
    turn.change(pending=(*turn.run.pending, *(PREVIEW + one.step for one in previewed)))
    for one in previewed:
        turn.want(Preview(turn.run.round, one.step, one.call))


def _compare(turn: Turn) -> None:
    """The same case, the same plan, the same rows; otherwise what was approved is void."""
    if not _must_be_fresh(turn):
        return turn.enter(Stage.STARTING)
    renewed = msgspec.structs.replace(turn.run, readings={**turn.run.readings, **turn.run.fresh})
    old = not _young(turn, renewed.readings)
    if old and not turn.run.fresh:
        return enter(turn)  # they were young when this began, and `before` took its time
    change = "what was read is too old by now" if old else _difference(turn, renewed)
    if turn.run.fresh or turn.run.pictures or change:
        readings = {name: reading.shown for name, reading in turn.run.fresh.items()}
        turn.note("fresh", same=not change, change=change, readings=readings)
    if change:
        return _void(turn, change)
    turn.go_on_by(renewed.readings)
    return turn.enter(Stage.STARTING)


def _difference(turn: Turn, renewed: Run) -> str:
    """What is other than when people saw it, or when it was decided."""
    seen = msgspec.structs.replace(turn.run, readings=turn.run.evidence)
    for name, probe in turn.policy.diagnose.items():
        problem = unexpected(probe, renewed.readings[name])
        if problem and not probe.optional:
            return f"{name}: {problem}"
    try:
        before = choose_case(turn.policy, seen, turn.now) if turn.run.seen else turn.run.case
        if choose_case(turn.policy, renewed, turn.now) != before:
            return OTHER_CASE
        gate = _gate(turn.run)
        approved = gate.intentions if gate is not None else (turn.step.intention,)
        # Both resolved now: `${now}` in an argument means the time at which it was shown, and may not
        # tell a difference.
        names = [one.step for one in approved if one is not None] + _empty(turn, gate)
        new = again(renewed, turn.policy, names, turn.facts, anew=True)
        unread = not (turn.run.fresh or turn.run.seen or turn.run.lists)  # from the same follows the same
        old = new if unread else again(seen, turn.policy, names, turn.facts, anew=False)
        if not same_plan(old, new):
            return "the figures that the step is made of have changed"
    except EvaluationError as error:
        return str(error)
    return _other_rows(gate.pictures if gate is not None else {}, turn.run.pictures)


def _empty(turn: Turn, gate: Gate | None) -> list[str]:
    """Repeated steps under a gate that had no items when it was approved."""
    wanted = needed(turn.run, turn.policy) if gate is not None else None
    return [base for base, found in wanted.lists.items() if not found] if wanted is not None else []


def _other_rows(shown: dict[str, Picture], now: dict[str, Picture]) -> str:
    for name, picture in shown.items():
        if not _alike(now.get(name), picture):
            return f"{name} would now change other rows or other values"
    return ""


def _alike(one: Picture | None, other: Picture) -> bool:
    return one is not None and same(msgspec.to_builtins(one), msgspec.to_builtins(other))


def _void(turn: Turn, change: str) -> None:
    """Decided anew; once something was done, only this step is: the table was about the figures before it."""
    voids = turn.run.voids + 1
    turn.void_gates(change)
    turn.change(voids=voids)
    if voids <= MOST_VOIDS:
        return turn.enter(Stage.CHOOSING if turn.run.acted else Stage.DIAGNOSING)
    restless = f"the figures changed {voids} times between decision and act"
    if turn.run.acted:
        return stop_before(turn, "fresh", f"{restless}: {change}")
    turn.page("restless", f"{restless}; nothing was done")
    return turn.refuse("fresh", change)
