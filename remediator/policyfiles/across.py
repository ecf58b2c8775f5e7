"""Checks across policies: two that want one alert and act on one target. Called by linting, over all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from remediator.core.catalog import Catalog, Kind, Risk
from remediator.core.expression import Template
from remediator.core.policy import Policy
from remediator.core.sql.change import Change
from remediator.documents.finding import Severity
from remediator.policyfiles.overlap import meeting
from remediator.policyfiles.safety import step_risks
from remediator.policyfiles.statements import changes
from remediator.policyfiles.uses import Look, Problem, Use

TOLD = 3
"""Of so many others a finding tells the names."""


@dataclass(frozen=True)
class _Acting:
    """A policy with what it may change."""

    policy: Policy
    look: Look
    acts: tuple[Use, ...]  # those that are not safe


@dataclass(frozen=True)
class CrossCheck:
    """A rule over two policies that may act on one target for one alert."""

    code: str
    severity: Severity
    says: Callable[[_Acting, _Acting], str]


def opposite(one: _Acting, other: _Acting) -> str:
    """P171: two policies that may want one alert, and act on one target in opposite ways."""
    for mine in one.acts:
        for others in other.acts:
            if told := _opposed(one.look, mine, other.look, others):
                return told
    return ""


def together(one: _Acting, other: _Acting) -> str:
    """P172: two policies that may want one alert and act on one target, in ways that are not opposite."""
    return "" if opposite(one, other) else "one waits for the other, and then decides on what it left"


CROSS_CHECKS = (
    CrossCheck("P171", "warning", opposite),
    CrossCheck("P172", "warning", together),
)


def across(policies: Sequence[Policy], catalog: Catalog) -> Iterator[tuple[int, CrossCheck, Problem]]:
    """What is wrong between policies: the number of the later one, the check, the problem."""
    by_kind: dict[str, list[int]] = {}
    for number, policy in enumerate(policies):
        by_kind.setdefault(policy.kind, []).append(number)
    for numbers in by_kind.values():
        if len(numbers) > 1:
            yield from _among(numbers, policies, catalog)


def _among(
    numbers: Sequence[int], policies: Sequence[Policy], catalog: Catalog
) -> Iterator[tuple[int, CrossCheck, Problem]]:
    acting: dict[int, _Acting] = {}
    told: dict[tuple[int, str], list[str]] = {}
    for first, second in meeting([policies[number] for number in numbers]):
        pair = [numbers[first], numbers[second]]
        for number in pair:
            if number not in acting:
                acting[number] = _acting(policies[number], catalog)
        one, other = (acting[number] for number in pair)
        if one.acts and other.acts and _same_target(one.policy, other.policy):
            for check in CROSS_CHECKS:
                if reason := check.says(one, other):
                    told.setdefault((pair[1], check.code), []).append(f"{one.policy.name}: {reason}")
    for (number, code), others in sorted(told.items()):
        check = next(one for one in CROSS_CHECKS if one.code == code)
        more = f"; and {len(others) - TOLD} more" if len(others) > TOLD else ""
        problem = f"may want the same alert, and act on the same target, as {'; '.join(others[:TOLD])}{more}"
        remedy = "make the selectors exclude each other, or make one policy of them"
        yield number, check, Problem(("match",), problem, remedy, on_key=True)


def _acting(policy: Policy, catalog: Catalog) -> _Acting:
    look = Look(policy, catalog)
    risks = step_risks(look)
    used = {name for case in policy.decide for name in case.steps}
    acts = tuple(
        use
        for use in look.uses
        if use.wants is Kind.ACTION
        and len(use.place) == 2
        and use.place[1] in used
        and risks.get(str(use.place[1])) is not Risk.SAFE
    )
    return _Acting(policy, look, acts if policy.mode != "observe" else ())


def _same_target(one: Policy, other: Policy) -> bool:
    """May both name one target? Texts are compared up to the first expression, and from the last one."""
    mine, others = (_pieces(policy.target) for policy in (one, other))
    if len(mine) == len(others) == 1:
        return mine == others
    return _alike(mine[0], others[0], str.startswith) and _alike(mine[-1], others[-1], str.endswith)


def _pieces(target: Template) -> list[str]:
    return [piece if isinstance(piece, str) else "" for piece in target.pieces]


def _alike(one: str, other: str, fits: Callable[[str, str], bool]) -> bool:
    return fits(one, other) or fits(other, one)


# ── Opposite ways ───────────────────────────────────────────────────────────────────────────────


def _opposed(one: Look, mine: Use, other: Look, others: Use) -> str:
    """How these two acts are opposite; empty when they are not, as far as words tell."""
    names = f"{others.place[1]} against {mine.place[1]}"
    if mine.connection == others.connection:
        methods = {str(use.arguments.get("method", "")) for use in (mine, others)}
        paths = [_words(str(use.arguments.get("path", ""))) for use in (mine, others)]
        if all(paths) and (_opposite(*paths) or (paths[0] == paths[1] and _undoes(methods))):
            return f"{names}: {' and '.join(_call(use) for use in (mine, others))}"
        for first in changes(one, mine):
            for second in changes(other, others):
                if told := _contrary((first, mine), (second, others)):
                    return f"{names}: {told}"
    if _opposite(*(_words(str(use.place[1])) for use in (mine, others))):
        return f"{names}"
    return ""


def _call(use: Use) -> str:
    return f"{use.arguments.get('method', '')} {use.arguments.get('path', '')}".strip()


def _undoes(methods: Iterable[str]) -> bool:
    return set(methods) in ({"POST", "DELETE"}, {"PUT", "DELETE"})


def _words(text: str) -> list[str]:
    """The words of a name or path; what an expression puts there counts as one word."""
    return re.findall(r"[a-z]+|\*", re.sub(r"\$\{[^}]*\}", "*", text).lower())


def _opposite(one: Sequence[str], other: Sequence[str]) -> bool:
    """Do they differ in one word, and is it its opposite?"""
    if len(one) != len(other):
        return False
    different = [pair for pair in zip(one, other, strict=True) if pair[0] != pair[1]]
    return len(different) == 1 and different[0] in _PAIRS


_PAIRS = frozenset(
    pair
    for text in """
    activate/deactivate add/remove allow/deny allow/block attach/detach block/unblock close/open
    cordon/uncordon create/delete decrease/increase disable/enable down/up drain/undrain
    freeze/unfreeze freeze/thaw grant/revoke halve/double lock/unlock lower/raise mute/unmute
    off/on pause/resume pause/unpause pause/start start/stop suspend/resume suspend/unsuspend
    """.split()  # noqa: SIM905 -- a list of pairs
    for pair in (tuple(text.split("/")), tuple(text.split("/")[::-1]))
)


def _contrary(mine: tuple[Change, Use], others: tuple[Change, Use]) -> str:
    """Do they set one column of one table to different values, or add and delete its rows?"""
    one, other = mine[0], others[0]
    if one.table != other.table:
        return ""
    if {one.verb, other.verb} == {"insert", "delete"}:
        return f"one inserts into {one.table}, one deletes from it"
    values = _set(*mine)
    for column, value in _set(*others).items():
        if values.get(column, value) != value:
            return f"both set {one.table}.{column}, to different values"
    return ""


def _set(change: Change, use: Use) -> dict[str, str]:
    """Column → what it is set to, with the arguments in place of $1, $2 …; times are left out."""
    args = use.arguments.get("args", [])

    def argument(found: re.Match[str]) -> str:
        number = int(found[1]) - 1
        return str(args[number]) if isinstance(args, list) and number < len(args) else found[0]

    return {
        one.column: re.sub(r"\$(\d+)", argument, one.text)
        for one in change.sets
        if not one.varies and change.verb == "update"
    }
