"""Checks of conditions: cases that are never reached, proofs that can never hold or that prove nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from remediator.core.expression import Expression, format_duration
from remediator.core.steps import EarlyProbe
from remediator.documents.reading import Place
from remediator.policyfiles.checks.known import expected_status, of_case, of_proof
from remediator.policyfiles.checks.logic import Fact, always, compared, constant, never
from remediator.policyfiles.checks.uses import Look, Problem, Use

COMPARED = 64
"""With so many cases before it a case is compared."""


def unreachable(look: Look) -> Iterator[Problem]:
    """P142: a case that never comes into force: one before it holds first, or it can never hold."""
    before: list[Expression] = []
    given = tuple(of_case(look))
    always = ""
    for number, case in enumerate(look.policy.decide):
        place: Place = ("decide", number)
        if always:
            yield Problem(place, "this case is never reached", always)
        elif case.when is None:
            always = "the case before it always holds"
        elif constant(case.when) is True:
            always = f"the case before it always holds: {case.when}"
        elif never(case.when, given):
            remedy = _other_status(look, case.when, given) or "mend it, or take it out"
            yield Problem((*place, "when"), f"this can never hold: {case.when}", remedy, 0)
        elif never(case.when, given, unless=before[-COMPARED:]):
            remedy = "put the narrower case first, or take it out"
            yield Problem((*place, "when"), "whenever this holds, a case before it holds", remedy, 0)
        if case.when is not None:
            before.append(case.when)


def never_holds(look: Look) -> Iterator[Problem]:
    """P155: a proof that can never hold, whatever is read."""
    for (*reading, key), until, within, stays in _proofs(look):
        place = tuple(reading)
        if constant(until) not in (None, True):
            yield Problem((*place, key), f"this is never true: {until}", "compare what verify read", 0)
        elif never(until, given := tuple(of_proof(look, place))):
            remedy = _other_status(look, until, given, place) or "compare what verify read"
            yield Problem((*place, key), f"this can never hold: {until}", remedy, 0)
        elif within is not None and stays > within:
            problem = f"for: {format_duration(stays)} is longer than within: {format_duration(within)},"
            remedy = "raise within: it holds for as long as for says, and within counts from the act"
            yield Problem((*place, "for"), f"{problem} so this is never proved", remedy, on_key=True)


def proves_nothing(look: Look) -> Iterator[Problem]:
    """P156: a proof that does not look at what was read for it."""
    for place, until, _, _ in _proofs(look):
        if constant(until) is True or always(until, _whatever_is_read(look, place[:-1])):
            problem = "this is always true, and proves nothing"
        elif until.paths and "verify" not in until.names:
            problem = "this does not look at verify, so what is read proves nothing"
        else:
            continue
        remedy = "compare what verify read" if place[-1] == "when" else _OR_NONE
        yield Problem(place, problem, remedy, 0)


_OR_NONE = "compare what verify read, or write none: why"


def _whatever_is_read(look: Look, place: Place) -> Iterator[Fact]:
    """What is so of every reading, but not that there is one: that alone may be the proof."""
    return (fact for fact in of_proof(look, place) if not fact.path.endswith((".ok", ".status")))


def _proofs(look: Look) -> Iterator[tuple[Place, Expression, timedelta | None, timedelta]]:
    """Each with its place, how long it is waited for (a hold's probe: for ever) and must stay true."""
    for name, step in look.policy.steps.items():
        place: Place = ("steps", name)
        if step.verify and step.verify.until:
            yield (*place, "verify", "until"), step.verify.until, step.verify.within, step.verify.for_
        if step.undo and step.undo.verify and step.undo.verify.until:
            verify = step.undo.verify
            yield (*place, "undo", "verify", "until"), step.undo.verify.until, verify.within, verify.for_
        if step.undo and step.undo.still:
            yield (*place, "undo", "still", "when"), step.undo.still.when, None, timedelta()
        for number, early in enumerate(step.undo.early if step.undo else ()):
            if isinstance(early, EarlyProbe):
                yield (*place, "undo", "early", number, "until"), early.until, None, early.for_


# ── Statuses ────────────────────────────────────────────────────────────────────────────────────


def only_success(look: Look) -> Iterator[Problem]:
    """P157: a case that asks which status an http.get read, where any but 2xx refuses the run."""
    for number, case in enumerate(look.policy.decide):
        for use in _any_success(look):
            path = f"{use.place[1]}.status"
            facts = compared(case.when) if case.when else ()
            if any(fact.path == path and fact.op in ("==", "!=") and _is_success(fact) for fact in facts):
                problem = f"{path} tells one 2xx from another only: any other status refuses the run"
                yield Problem(("decide", number, "when"), problem, _STATUS, 0)


_STATUS = "ask what the answer says; or write optional: true on the probe, and ask whether it is ok"


def _any_success(look: Look) -> list[Use]:
    """The readings before a decision that any 2xx answers."""
    return [
        use
        for use in look.uses
        if use.operation == "http.get"
        and use.place[0] == "diagnose"
        and "expect_status" not in use.arguments
        and not look.policy.diagnose[str(use.place[1])].optional
    ]


def _is_success(fact: Fact) -> bool:
    return isinstance(fact.value, int) and 200 <= fact.value < 300


def _other_status(look: Look, condition: Expression, given: Iterable[Fact], place: Place = ()) -> str:
    """A remedy, where it cannot hold only because the probe takes that status for no answer."""
    if never(condition, (fact for fact in given if fact.op == "of" or not fact.path.endswith(".status"))):
        return ""
    for path in condition.paths:
        where = place if path.root == "verify" else ("diagnose", path.root)
        use = next((one for one in look.uses if one.place == where), None)
        if use and use.operation == "http.get" and path.keys[:1] == ("status",):
            expected = expected_status(use)
            wanted = "2xx" if expected is None else str(expected)
            return f"only {wanted} counts as an answer; write the one that is meant under with: expect_status"
    return ""
