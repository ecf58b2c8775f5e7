"""A run that no alert opens: what a person gives instead of one. Asked by the engine, never by `decide`.

Starting a run and rehearsing a policy begin alike: params as a person writes them, the target that they
lead to (or that leads back to them), and an alert that stands where texts and expressions look for one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from remediator.core.alert import Alert
from remediator.core.policy import Policy
from remediator.core.run import Refusal

SOURCE = "person:"
"""Prefix of ``Run.opened_by``, and of the source of the alert that stands for a person."""


def stand_in(policy: Policy, person: str, fingerprint: str, now: datetime) -> Alert:
    """What `labels`, `annotations` and `alert` mean where there is no alert."""
    return Alert(
        fingerprint=fingerprint,
        status="firing",
        labels={"alertname": policy.name},
        annotations={"summary": f"started by hand by {person}"},
        starts_at=now,
        source=f"{SOURCE}{person}",
    )


def never_over(policy: Policy) -> Refusal | None:
    """Why no person may start it: a change that only the end of an alert takes back would stand for ever."""
    for name, step in policy.steps.items():
        undo = step.undo if policy.mode != "observe" else None
        if undo is not None and undo.after is None and "resolved" in undo.early and not undo.probes:
            reason = f"{name} is taken back only when an alert resolves, and this run would have none"
            return Refusal("undo", f"{reason}; give its undo a time box (after)")
    return None


def traced(policy: Policy, target: str, given: Mapping[str, object]) -> dict[str, str] | Refusal:
    """The params that a target leads back to, beside those that are given.

    That works for a template of plain text and single params (``campaign/${campaign_id}``) which can be
    read in one way only.
    """
    pieces = policy.target.pieces
    names = [piece.text for piece in pieces if not isinstance(piece, str)]
    if any(name not in policy.params for name in names):
        return _cannot(policy, given, f"its target, {policy.target.text}, cannot be read backwards")
    eager, lazy = (_pattern(pieces, every) for every in (".+", ".+?"))
    found, again = re.fullmatch(eager, target, re.DOTALL), re.fullmatch(lazy, target, re.DOTALL)
    if found is None or again is None:
        return Refusal("target", f"{target} is not what {policy.name} acts on: {policy.target.text}")
    if found.groups() != again.groups():
        return _cannot(policy, given, f"{target} can be read as {policy.target.text} in several ways")
    traces = dict(zip(dict.fromkeys(names), found.groups(), strict=True))
    return {name: text for name, text in traces.items() if name not in given}


def _pattern(pieces: tuple[object, ...], every: str) -> str:
    """A regular expression with one group for each param; a param's second place must repeat the first."""
    numbers: dict[str, int] = {}
    pattern = ""
    for piece in pieces:
        if isinstance(piece, str):
            pattern += re.escape(piece)
            continue
        name = str(piece)
        pattern += f"(?:\\{numbers[name]})" if name in numbers else f"({every})"
        numbers.setdefault(name, len(numbers) + 1)
    return pattern


def _cannot(policy: Policy, given: Mapping[str, object], problem: str) -> Refusal:
    wanted = [name for name, param in policy.params.items() if name not in given and not param.has_default]
    return Refusal("target", f"{problem}; give {' and '.join(f'--param {name}=…' for name in wanted)}")
