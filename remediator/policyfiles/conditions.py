"""Checks of conditions: cases that are never reached, proofs that can never hold or that prove nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from remediator.core.expression import Expression, format_duration
from remediator.core.policy import EarlyProbe
from remediator.documents.reading import Place
from remediator.policyfiles.logic import Fact, constant, never
from remediator.policyfiles.uses import Look, Problem

COMPARED = 64
"""With so many cases before it a case is compared."""


def unreachable(look: Look) -> Iterator[Problem]:
    """P142: a case that never comes into force: one before it holds first, or it can never hold."""
    before: list[Expression] = []
    always = ""
    for number, case in enumerate(look.policy.decide):
        place: Place = ("decide", number)
        if always:
            yield Problem(place, "this case is never reached", always)
        elif case.when is None:
            always = "the case before it always holds"
        elif constant(case.when) is True:
            always = f"the case before it always holds: {case.when}"
        elif never(case.when):
            yield Problem((*place, "when"), f"this can never hold: {case.when}", "mend it, or take it out", 0)
        elif never(case.when, unless=before[-COMPARED:]):
            remedy = "put the narrower case first, or take it out"
            yield Problem((*place, "when"), "whenever this holds, a case before it holds", remedy, 0)
        if case.when is not None:
            before.append(case.when)


def never_holds(look: Look) -> Iterator[Problem]:
    """P155: a proof that can never hold, whatever is read."""
    for place, until, within, stays in _proofs(look):
        if constant(until) not in (None, True):
            yield Problem((*place, "until"), f"this is never true: {until}", "compare what verify read", 0)
        elif never(until, _given(look, place)):
            yield Problem((*place, "until"), f"this can never hold: {until}", "compare what verify read", 0)
        elif within is not None and stays > within:
            problem = f"for: {format_duration(stays)} is longer than within: {format_duration(within)},"
            remedy = "raise within: it holds for as long as for says, and within counts from the act"
            yield Problem((*place, "for"), f"{problem} so this is never proved", remedy, on_key=True)


def proves_nothing(look: Look) -> Iterator[Problem]:
    """P156: a proof that does not look at what was read for it."""
    for place, until, _, _ in _proofs(look):
        if constant(until) is True:
            problem = "this is always true, and proves nothing"
        elif until.paths and "verify" not in until.names:
            problem = "this does not look at verify, so what is read proves nothing"
        else:
            continue
        yield Problem((*place, "until"), problem, "compare what verify read, or write none: why", 0)


def _proofs(look: Look) -> Iterator[tuple[Place, Expression, timedelta | None, timedelta]]:
    """Each proof with its place, how long it is waited for (a hold's probe: for ever) and must stay true."""
    for name, step in look.policy.steps.items():
        place: Place = ("steps", name)
        if step.verify and step.verify.until:
            yield (*place, "verify"), step.verify.until, step.verify.within, step.verify.for_
        if step.undo and step.undo.verify and step.undo.verify.until:
            verify = step.undo.verify
            yield (*place, "undo", "verify"), step.undo.verify.until, verify.within, verify.for_
        for number, early in enumerate(step.undo.early if step.undo else ()):
            if isinstance(early, EarlyProbe):
                yield (*place, "undo", "early", number), early.until, None, early.for_


def _given(look: Look, place: Place) -> Iterator[Fact]:
    """What is so of every reading that a proof is asked about."""
    yield Fact("verify.ok", "==", value=True)
    use = next((one for one in look.uses if one.place == place), None)
    operation = look.operation(use) if use else None
    if operation and "count" in operation.reads:
        yield Fact("verify.count", ">=", 0)
