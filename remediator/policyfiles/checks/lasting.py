"""Checks of what stays: changes that look temporary, holds that the act itself would end, undos of nothing.

A step is judged by the words of its name, of its path and of its SQL. Words can mislead: all of these are
warnings, and ``undo: {none: "why it is meant to stay"}`` answers the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from remediator.core.catalog import Risk
from remediator.core.expression import format_duration
from remediator.core.policy import Policy
from remediator.core.steps import EarlyProbe, Step, Verify
from remediator.documents import Place
from remediator.policyfiles.checks.safety import step_risks
from remediator.policyfiles.checks.uses import Look, Problem
from remediator.policyfiles.checks.wording import LASTS_A_WHILE, STOPS, SWITCH, switched_off, words

_CALLS = frozenset({"method", "path", "sql"})
"""Arguments whose words say what a step does; texts for people are not asked."""


def _first(wanted: re.Pattern[str], name: str, step: Step) -> str:
    """The first such word of a step's name, path or SQL; empty when there is none."""
    said = [name, *(str(value) for key, value in step.with_.items() if key in _CALLS)]
    found = next((word for text in said for word in words(text) if wanted.fullmatch(word)), "")
    return found or switched_off(said) or _switched_off(step.with_.get("body"))


def _switched_off(body: object) -> str:
    """The first switch of a body that is set to false; empty when there is none."""
    if not isinstance(body, dict):
        return ""
    ours = (str(name) for name, value in body.items() if value is False and SWITCH.fullmatch(str(name)))
    return next(ours, "") or next(filter(None, map(_switched_off, body.values())), "")


def stays(look: Look) -> Iterator[Problem]:
    """P162: a change that looks temporary, and that nothing takes back."""
    risks = step_risks(look)
    for name, step in look.policy.steps.items():
        word = _first(LASTS_A_WHILE, name, step)
        if step.undo is None and word and risks.get(name, Risk.SAFE) is not Risk.SAFE:
            problem = f"{name} looks temporary ({word!r}) and has no undo"
            remedy = 'write undo, or undo: {none: "why it is meant to stay"}'
            yield Problem(("steps", name), problem, remedy, on_key=True)


def masked(look: Look) -> Iterator[Problem]:
    """P163: an undo as soon as the alert resolves, of a step that stops what the alert may measure."""
    for name, step in look.policy.steps.items():
        undo = step.undo
        if undo is None or "resolved" not in undo.early:
            continue
        word = _first(STOPS, name, step)
        if word:
            problem = f"{name} may itself end the alert ({word!r}), and its undo comes when the alert ends"
            remedy = "wait for the time box, or for a probe that reads the cause, without resolved"
            yield Problem(("steps", name, "undo", "early"), problem, remedy, on_key=True)


def undoes_nothing(look: Look) -> Iterator[Problem]:
    """P164: on_failure: undo_all, where no step so far has anything to undo."""
    for name, step in look.policy.steps.items():
        if step.on_failure == "undo_all" and not any(_undone_with(look.policy, name)):
            problem = f"when {name} fails there is nothing to undo"
            yield Problem(
                ("steps", name, "on_failure"), problem, "write undo, or on_failure: page", on_key=True
            )


def unrestorable(look: Look) -> Iterator[Problem]:
    """P165: how: restore, where what the operation changed cannot be restored."""
    for name, step in look.policy.steps.items():
        operation = look.catalog.operations.get(step.use)
        if step.undo and step.undo.how and operation is not None and not operation.restores:
            problem = f"what {step.use} changes cannot be restored"
            remedy = "write an explicit undo: use, via, with"
            yield Problem(("steps", name, "undo", "how"), problem, remedy)


def looks_seldom(look: Look) -> Iterator[Problem]:
    """P168: a proof, or a probe that ends a hold, that looks too seldom to find anything in time."""
    for name, step in look.policy.steps.items():
        undo = step.undo
        for place, proof in (("verify",), step.verify), (("undo", "verify"), undo.verify if undo else None):
            if proof is not None and proof.use:
                yield from _seldom(("steps", name, *place), proof, ("within", proof.within))
        for number, early in enumerate(undo.early if undo else ()):
            if isinstance(early, EarlyProbe) and undo is not None:
                yield from _seldom(("steps", name, "undo", "early", number), early, ("after", undo.after))


def _seldom(place: Place, probe: Verify | EarlyProbe, end: tuple[str, timedelta | None]) -> Iterator[Problem]:
    for key, span in (("for", probe.for_), end):
        if span and probe.every >= span:
            problem = f"it looks every {format_duration(probe.every)}, and {key} is {format_duration(span)}"
            yield Problem(place, problem, "look more often: every: 30s", on_key=True)


def _undone_with(policy: Policy, name: str) -> Iterator[bool]:
    """Has a step an undo: this one, or one that some case takes before it?"""
    for case in policy.decide:
        if name in case.steps:
            for one in case.steps[: case.steps.index(name) + 1]:
                undo = policy.steps[one].undo if one in policy.steps else None
                yield undo is not None and undo.none is None
