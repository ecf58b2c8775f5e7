"""An outcome is unknown and nothing can prove it: a person is paged and decides."""

from __future__ import annotations

from remediator.core.catalog import Catalog
from remediator.core.failure import step_failed, step_worked
from remediator.core.messages import Event, Facts, Settled
from remediator.core.run import Outcome, Question, Run, Stage, StepState, Verdict
from remediator.core.turn import Turn

ANYBODY = "oncall"
"""Whom pages reach where the settings have no chain."""


def enter(turn: Turn) -> None:
    """Page. The target stays locked until somebody has looked."""
    step = turn.step
    what = step.intention.summary if step.intention is not None else step.name
    number = len(turn.run.questions) + 1
    question = Question(id=f"{turn.run.id}.q{number}", step=step.name, asked_at=turn.now)
    turn.change(questions=(*turn.run.questions, question))
    turn.note("asking", step=step.name, reason=step.error, question=question.id)
    text = (
        f"it is unknown whether {step.name} happened ({step.error}). Look, then say so: "
        f"remediator runs settle {question.id} happened | not-happened | handled. What was sent: {what}"
    )
    turn.page(f"unknown:{step.name}", text)
    turn.show_card()


def hear(turn: Turn, event: Event) -> None:
    """A person's word settles it, if they may."""
    question = turn.run.question
    if not isinstance(event, Settled) or question is None:
        return None
    if no := objection(turn.run, event, turn.facts):
        return turn.refuse_word(question, event.by, event.via, no)
    name, told = turn.step.name, {"by": event.by, "verdict": event.verdict, "reason": event.reason}
    turn.change_question(question.id, at=turn.now, via=event.via, **told)
    turn.note("settled", step=name, question=question.id, via=event.via, **told)
    match event.verdict:
        case "happened":
            turn.change_step(name, state=StepState.DONE, worked=True, unknown=False)
            return step_worked(turn)
        case "not-happened":
            turn.change_step(name, state=StepState.REFUSED, unknown=False)
            return _did_not_happen(turn, name, event.by)
        case "handled":
            turn.change(verdict=Verdict(Outcome.HANDED_OVER, f"taken by {event.by}"))
            return turn.enter(Stage.ENDING)


def _did_not_happen(turn: Turn, name: str, by: str) -> None:
    """Whoever is paged about failures and has just found this one knows it: nobody wakes them for it."""
    told = f"{name} did not happen, says {by}"
    step_failed(turn, Outcome.FAILED, told)
    if _holds_one(by, _paged(turn.policy.page.chain, turn.facts.catalog), turn.facts):
        turn.heard(told, by)


def too_late(turn: Turn, event: Settled) -> None:
    """Somebody's word on what is settled, or was never asked."""
    asked = _meant(turn.run, event.question)
    if asked is not None:
        turn.refuse_word(asked, event.by, event.via, objection(turn.run, event, turn.facts))


def objection(run: Run, word: Settled, facts: Facts) -> str:
    """Why this word does not count, or "" when it does.

    Whoever names only the run may have looked at what it had asked before, if it has asked before.
    """
    meant = _meant(run, word.question)
    if meant is None:
        return "there is no such question" if word.question else f"the run is {run.stage}; nothing is unknown"
    if not word.question and run.question is not None and len(run.questions) > 1:
        return f"it was asked more than once: say what became of {run.question.step} as {run.question.id}"
    if meant is not run.question:
        return f"it is settled: {meant.late or f'{meant.by} said {meant.verdict}'}"
    roles = may_settle(run, facts.policy.page.chain, facts.catalog)
    if not _holds_one(word.by, roles, facts):
        return f"{word.by} has none of the roles {', '.join(sorted(roles))}"
    return ""


def _meant(run: Run, question: str) -> Question | None:
    """The question of this id, or without one the last."""
    if not question:
        return run.questions[-1] if run.questions else None
    return next((one for one in run.questions if one.id == question), None)


def may_settle(run: Run, chain: str, catalog: Catalog) -> frozenset[str]:
    """The roles whose people may say what became of it: who is paged, and whom its gates ask."""
    return _paged(chain, catalog).union(*(gate.required for gate in run.all_gates))


def _paged(chain: str, catalog: Catalog) -> frozenset[str]:
    """The roles on a chain's rungs."""
    return frozenset(catalog.escalations.get(chain) or catalog.escalations.get("default") or {ANYBODY})


def _holds_one(person: str, roles: frozenset[str], facts: Facts) -> bool:
    return any(person in facts.roles.get(role, frozenset()) for role in roles)
