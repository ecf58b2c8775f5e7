"""Do two acts work against each other? Judged by their words, methods, paths and SQL. Asked by across."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from remediator.core.catalog import Catalog, Kind, Risk
from remediator.core.policy import Policy
from remediator.core.sql.change import Change
from remediator.policyfiles.checks.safety import step_risks
from remediator.policyfiles.checks.statements import changes
from remediator.policyfiles.checks.uses import Look, Use
from remediator.policyfiles.checks.wording import words

_PAIRS = frozenset(
    pair
    for text in """
    activate/deactivate add/remove allow/deny allow/block attach/detach block/unblock close/open
    cordon/uncordon create/delete decrease/increase disable/enable down/up drain/undrain
    freeze/unfreeze freeze/thaw grant/revoke halve/double lock/unlock lower/raise mute/unmute
    off/on pause/resume pause/unpause pause/start start/stop suspend/resume suspend/unsuspend
    """.split()
    for pair in (tuple(text.split("/")), tuple(text.split("/")[::-1]))
)


@dataclass(frozen=True)
class Act:
    """What a step does that is not safe. Words: of its name and of its path, an expression counts as one.

    written: column → what it is set to, in SQL; times are left out.
    """

    step: str
    connection: str
    words: Sequence[str]
    method: str
    path: str
    path_words: Sequence[str]
    table: str
    verb: str
    written: Mapping[str, str]


def acts(policy: Policy, catalog: Catalog) -> tuple[Act, ...]:
    """All that a policy may do that is not safe; nothing where it only observes."""
    if policy.mode == "observe":
        return ()
    look = Look(policy, catalog)
    risks = step_risks(look)
    used = {name for case in policy.decide for name in case.steps}
    steps = (use for use in look.uses if use.wants is Kind.ACTION and len(use.place) == 2)
    return tuple(
        _act(look, use)
        for use in steps
        if use.place[1] in used and risks.get(str(use.place[1])) is not Risk.SAFE
    )


def _act(look: Look, use: Use) -> Act:
    step = str(use.place[1])
    method, path = (str(use.arguments.get(name, "")) for name in ("method", "path"))
    change = next(changes(look, use), None)
    table, verb = (change.table, change.verb) if change else ("", "")
    written = dict(_written(change, use)) if change else {}
    return Act(step, use.connection, words(step), method, path, words(path), table, verb, written)


def _written(change: Change, use: Use) -> Iterator[tuple[str, str]]:
    """Columns with their values: the arguments in place of $1 and so on."""
    args = use.arguments.get("args", [])

    def argument(found: re.Match[str]) -> str:
        number = int(found[1]) - 1
        return str(args[number]) if isinstance(args, list) and number < len(args) else found[0]

    for one in change.sets if change.verb == "update" else ():
        if not one.varies:
            yield one.column, re.sub(r"\$(\d+)", argument, one.text)


def opposed(one: Act, other: Act) -> str:
    """How they work against each other; empty when they do not, as far as words tell."""
    names = f"{one.step} against {other.step}"
    if one.connection == other.connection and (how := _contrary(one, other)):
        return f"{names}: {how}"
    return names if _opposite(one.words, other.words) else ""


def _contrary(one: Act, other: Act) -> str:
    same_path = one.path_words and one.path_words == other.path_words
    taken_back = {one.method, other.method} in ({"POST", "DELETE"}, {"PUT", "DELETE"})
    if _opposite(one.path_words, other.path_words) or (same_path and taken_back):
        return f"{one.method} {one.path} and {other.method} {other.path}"
    if not one.table or one.table != other.table:
        return ""
    if {one.verb, other.verb} == {"insert", "delete"}:
        return f"one inserts into {one.table}, one deletes from it"
    for column, value in one.written.items():
        if other.written.get(column, value) != value:
            return f"both set {one.table}.{column}, to different values"
    return ""


def _opposite(one: Sequence[str], other: Sequence[str]) -> bool:
    """Do they differ in one word, and is it its opposite?"""
    if len(one) != len(other):
        return False
    different = [pair for pair in zip(one, other, strict=True) if pair[0] != pair[1]]
    return len(different) == 1 and different[0] in _PAIRS
