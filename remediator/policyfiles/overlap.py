"""Which policies may want the same alert? Asked by the checks across policies; never quadratic in practice.

Two selectors are strangers when some label can satisfy only one of them. Where that cannot be told (two
patterns on one label, different labels), they may meet: better a warning too many.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from remediator.core.policy import Policy
from remediator.core.selector import Matcher, Selector

FEW = 8
"""So many selectors are simply compared, each with each."""

_CHOICE = re.compile(r"[\w :/@-]+(?:\|[\w :/@-]+)*")


def meeting(policies: Sequence[Policy]) -> Iterator[tuple[int, int]]:
    """The numbers of every two policies that may want one alert, the smaller first, in order."""
    wanted = [
        _Wanted(number, selector, _values(selector))
        for number, policy in enumerate(policies)
        for selector in policy.selectors
    ]
    yield from sorted(set(_pairs(wanted, frozenset())))


def may_meet(one: Selector, other: Selector) -> bool:
    """May there be labels for which both hold?"""
    mine, others = _values(one), _values(other)
    for label in mine.keys() | others.keys():
        values = mine.get(label, others.get(label, frozenset()))
        asked = [matcher for matcher in (*one.matchers, *other.matchers) if matcher.name == label]
        if not any(all(matcher.holds({label: value}) for matcher in asked) for value in values):
            return False
    return not (_present(one) & _absent(other) or _present(other) & _absent(one))


@dataclass(frozen=True)
class _Wanted:
    policy: int
    selector: Selector
    values: Mapping[str, frozenset[str]]  # label → all values that it may have


def _values(selector: Selector) -> Mapping[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for matcher in selector.matchers:
        if matcher.op == "=":
            found[matcher.name] = frozenset({matcher.value})
        elif matcher.op == "=~" and _CHOICE.fullmatch(matcher.value):
            found.setdefault(matcher.name, frozenset(matcher.value.split("|")))
    return found


def _present(selector: Selector) -> set[str]:
    """Labels that must be there."""
    return {matcher.name for matcher in selector.matchers if not matcher.holds({})}


def _absent(selector: Selector) -> set[str]:
    return {matcher.name for matcher in selector.matchers if _demands_absence(matcher)}


def _demands_absence(matcher: Matcher) -> bool:
    return (matcher.op, matcher.value) in (("=", ""), ("=~", ""), ("!~", ".+"))


def _pairs(wanted: Sequence[_Wanted], done: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Sorted into heaps by the values of the label that most of them name; only a heap is compared."""
    labels = [label for one in wanted for label in one.values if label not in done]
    if len(wanted) <= FEW or not labels:
        yield from _compared(itertools.combinations(wanted, 2))
        return
    label = max(sorted(set(labels)), key=labels.count)
    heaps: dict[str, list[_Wanted]] = {}
    rest: list[_Wanted] = []
    for one in wanted:
        for value in one.values.get(label, ()):
            heaps.setdefault(value, []).append(one)
        if label not in one.values:
            rest.append(one)
    for heap in heaps.values():
        yield from _pairs(heap, done | {label})
    yield from _pairs(rest, done | {label})
    named = [one for one in wanted if label in one.values]
    yield from _compared(itertools.product(rest, named))


def _compared(pairs: Iterator[tuple[_Wanted, _Wanted]]) -> Iterator[tuple[int, int]]:
    for one, other in pairs:
        if one.policy != other.policy and may_meet(one.selector, other.selector):
            yield min(one.policy, other.policy), max(one.policy, other.policy)
