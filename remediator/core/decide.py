"""The heart: what does a run do about an event? One pure function over a table of stages.

    decide(run, event, facts)  →  new run + journal entries + effects

What every stage hears alike (alerts, deadlines of the run itself, a changed policy) is answered
here; the rest belongs to the stage. A stage that enters another lets it begin in the same decision.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from types import ModuleType

import msgspec

from remediator.core import admission, late, overdue
from remediator.core.failure import alert_over, deadline_over, time_box_over
from remediator.core.gate import not_open
from remediator.core.messages import (
    AlertHeard,
    CameLate,
    Decision,
    Event,
    Facts,
    PolicyChanged,
    Settled,
    TimePassed,
    VoteCast,
)
from remediator.core.repeating import keeps_version
from remediator.core.run import Member, Run, Stage
from remediator.core.stages import (
    acting,
    asking,
    choosing,
    diagnosing,
    ending,
    holding,
    preparing,
    previewing,
    starting,
    undoing,
    verifying,
    waiting,
)
from remediator.core.stages.preparing import MOST_VOIDS
from remediator.core.turn import Turn

STAGES: Mapping[Stage, ModuleType] = {
    Stage.DIAGNOSING: diagnosing,
    Stage.CHOOSING: choosing,
    Stage.PREVIEWING: previewing,
    Stage.WAITING: waiting,
    Stage.PREPARING: preparing,
    Stage.STARTING: starting,
    Stage.ACTING: acting,
    Stage.VERIFYING: verifying,
    Stage.ENDING: ending,
    Stage.HOLDING: holding,
    Stage.UNDOING: undoing,
    Stage.ASKING: asking,
}

UNTOUCHED = (Stage.DIAGNOSING, Stage.PREVIEWING, Stage.WAITING, Stage.PREPARING)
"""Stages in which nothing is on its way to the world."""


def decide(run: Run, event: Event, facts: Facts) -> Decision:
    """What follows from an event. A closed run hears nothing any more, but an answer that was lost."""
    turn = Turn(run, facts)
    if run.stage is Stage.CLOSED:
        if isinstance(event, CameLate):
            late.hear(turn, event)
        return turn.decision()
    if not _common(turn, event):
        STAGES[run.stage].hear(turn, event)
    _settle(turn, run.stage)
    if isinstance(event, TimePassed):
        overdue.tell(turn, undoing.waits_for(turn))
    return turn.decision()


def begin(opening: admission.Opening, facts: Facts) -> Decision:
    """A new run, with its first effects."""
    run = admission.new_run(opening, facts)
    turn = Turn(run, facts)
    turn.note("opened", **admission.described(run, facts))
    diagnosing.enter(turn)
    _settle(turn, Stage.DIAGNOSING)
    return turn.decision()


def _settle(turn: Turn, stage: Stage) -> None:
    """Let each stage that was entered begin, until one waits."""
    for _ in range(100):
        if turn.run.stage is stage or turn.run.stage is Stage.CLOSED:
            return
        stage = turn.run.stage
        if not _is_about_other(turn, (*UNTOUCHED, Stage.CHOOSING, Stage.STARTING)):
            STAGES[stage].enter(turn)
    raise AssertionError(f"run {turn.run.id} does not come to rest at {turn.run.stage}")


def _common(turn: Turn, event: Event) -> bool:
    """What every stage answers alike. True when the stage itself need not hear it."""
    match event:
        case AlertHeard():
            turn.change(reworded=admission.reworded(turn.run, turn.policy, event.alert))
            _alert(turn, event)
            return _is_about_other(turn, UNTOUCHED)
        case PolicyChanged():
            if turn.facts.current != turn.run.version and _depends_on_policy(turn.run):
                turn.decide_again(turn.facts.outdated)
            return True
        case VoteCast(gate=gate, vote=vote) if reason := not_open(turn.run, gate):
            turn.refuse_vote(gate, vote, reason)
            return True
        case CameLate():
            late.hear(turn, event)
            return True
        case Settled() if turn.run.question is None:
            asking.too_late(turn, event)
            return True
        case TimePassed() if turn.run.stage in UNTOUCHED:
            return _time(turn)
        case _:
            return False


def _depends_on_policy(run: Run) -> bool:
    """Not touched yet, or people are being asked: a run that has acted keeps its version for the rest."""
    return run.stage in UNTOUCHED and (not keeps_version(run) or run.stage is Stage.WAITING)


def _is_about_other(turn: Turn, stages: Collection[Stage]) -> bool:
    """Does its alert say something else now, before it has changed anything? Then it is decided on anew.

    Words that change with each repeat would let nobody answer: a person is told, and there is a pause.
    """
    run = turn.run
    if not run.reworded or run.stage not in stages or keeps_version(run):
        return False
    times = run.rewordings + 1
    turn.change(rewordings=times)
    if times <= MOST_VOIDS:
        turn.decide_again(run.reworded)
        return True
    restless = f"{run.reworded}, {times} times in a row before anything could be done"
    if times == MOST_VOIDS + 1 and not run.observes:
        turn.page("restless", f"{restless}; nothing was done")
    turn.decide_again(restless, turn.policy.pause)
    return True


def _alert(turn: Turn, event: AlertHeard) -> None:
    """Keep who fires. All resolved starts the debounce; one that fires again ends it.

    A run that a person started goes on to its own end, whatever becomes of alerts that joined it.
    """
    run, alert = turn.run, event.alert
    known = run.members.get(alert.fingerprint)
    if known is not None and known.firing == alert.firing:
        return
    members = {**run.members, alert.fingerprint: Member(alert.firing, event.at)}
    over = not run.starter and not any(member.firing for member in members.values())
    turn.change(members=members, resolved_at=turn.now if over else None)
    kind = "joined" if known is None else ("firing" if alert.firing else "resolved")
    turn.note(kind, fingerprint=alert.fingerprint, labels=alert.labels, all_resolved=over)


def _time(turn: Turn) -> bool:
    """Is it over before anything further was begun?"""
    if turn.recovered:
        alert_over(turn)
        return True
    if turn.now >= turn.run.opened_at + turn.policy.bounds.deadline:
        deadline_over(turn)
        return True
    if over := holding.due(turn):
        time_box_over(turn, over)
        return True
    return False


def with_gate(run: Run, gate_id: str) -> Run:
    """The run as the card of one of its gates shows it."""
    gate = next((one for one in run.all_gates if one.id == gate_id), run.gate)
    return msgspec.structs.replace(run, gate=gate)


def next_deadline(run: Run, facts: Facts) -> datetime | None:
    """When the run must hear `TimePassed` next."""
    times: list[datetime | None] = []
    step = run.step
    settled = run.resolved_at + facts.debounce if run.resolved_at is not None else None
    if run.stage in UNTOUCHED:
        times += [settled, run.opened_at + facts.policy.bounds.deadline]
        times += [holding.undo_time(run, name, settled) for name in run.temporary]
    times.append(overdue.next_late(run))
    match run.stage:
        case Stage.WAITING if run.gate is not None:
            times.append(run.gate.expires_at)
        case Stage.VERIFYING if step is not None and not run.pending:
            times.append(step.proof_next)
        case Stage.HOLDING:
            times += [holding.undo_time(run, name, settled) for name in run.temporary]
            times += [holding.next_look(run)] if not run.pending else []
        case Stage.UNDOING if undoing.proves(run):
            times += [undoing.next_look(run)] if not run.pending else []
        case Stage.UNDOING:
            times.append(run.wait_until)
    return min((at for at in times if at is not None), default=None)
