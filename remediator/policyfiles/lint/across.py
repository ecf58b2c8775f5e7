"""Checks across policies: two that want one alert and act on one target. Called by linting, over all."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from remediator.core.catalog import Catalog
from remediator.core.expression import Template
from remediator.core.policy import Policy
from remediator.documents.finding import Severity
from remediator.policyfiles.checks.uses import Problem
from remediator.policyfiles.lint.opposites import Act, acts, opposed
from remediator.policyfiles.lint.overlap import Meetings

TOLD = 3
"""Of so many others a finding tells the names."""

COMPARED = 30
"""With so many of those before it that it may meet a policy is compared: a thousand on one alert are odd."""


@dataclass(frozen=True)
class CrossCheck:
    """A rule over two policies: its stable code, its weight, and what it finds."""

    code: str
    severity: Severity
    title: str


OPPOSITE = CrossCheck(
    "P171", "warning", "two policies that may want one alert, and act on one target in opposite ways"
)
TOGETHER = CrossCheck(
    "P172", "warning", "two policies that may want one alert and act on one target, each in its own way"
)
CROSS_CHECKS = (OPPOSITE, TOGETHER)


def across(policies: Sequence[Policy], catalog: Catalog) -> Iterator[tuple[int, CrossCheck, Problem]]:
    """What is wrong between policies: the number of the later one, the check, the problem."""
    by_kind: dict[str, list[int]] = {}
    for number, policy in enumerate(policies):
        by_kind.setdefault(policy.kind, []).append(number)
    for numbers in by_kind.values():
        yield from _among(numbers, policies, catalog)


def _among(
    numbers: Sequence[int], policies: Sequence[Policy], catalog: Catalog
) -> Iterator[tuple[int, CrossCheck, Problem]]:
    own = [policies[number] for number in numbers]
    acting = functools.cache(lambda number: acts(own[number], catalog))
    meetings = Meetings(own)
    for number, policy in enumerate(own):
        near = (one for one in meetings.before(number) if _same_target(policy, own[one]))
        others = [(own[one].name, acting(one)) for one in itertools.islice(near, COMPARED) if acting(one)]
        if others and acting(number):
            yield from ((numbers[number], *told) for told in _told(acting(number), others))


def _told(
    mine: Sequence[Act], others: Sequence[tuple[str, Sequence[Act]]]
) -> Iterator[tuple[CrossCheck, Problem]]:
    told: dict[CrossCheck, list[str]] = {check: [] for check in CROSS_CHECKS}
    for name, theirs in others:
        how = next(filter(None, itertools.starmap(opposed, itertools.product(mine, theirs))), "")
        if how:
            told[OPPOSITE].append(f"{name} ({how})")
        else:
            told[TOGETHER].append(name)
    for check, names in told.items():
        if names:
            more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
            way = "in the opposite way, as" if check is OPPOSITE else "in another way, as"
            problem = f"may want the same alert, and act on the same target {way} "
            remedy = "make the selectors exclude each other, or make one policy of them"
            yield check, Problem(("match",), problem + ", ".join(names[:TOLD]) + more, remedy, on_key=True)


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
