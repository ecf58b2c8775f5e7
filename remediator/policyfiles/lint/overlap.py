"""Which policies may want the same alert? Asked by the checks across policies.

Two selectors are strangers when some label can satisfy only one of them. Where that cannot be told (two
patterns on one label, different labels), they may meet: better a warning too many.
"""

from __future__ import annotations

import functools
import itertools
import operator
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from remediator.core.policy import Policy
from remediator.core.selector import Matcher, Selector

_CHOICE = re.compile(r"[\w :/@-]+(?:\|[\w :/@-]+)*")


class Meetings:
    """All selectors of a set, as bits: those that name a label's values, and those that have one of them.

    A label is a few operations on one long number, however many policies share its value: so only those
    that no named value tells apart are compared.
    """

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._selectors = [
            (number, one) for number, policy in enumerate(policies) for one in policy.selectors
        ]
        self._first = [0, *itertools.accumulate(len(policy.selectors) for policy in policies)]
        self._naming: dict[str, int] = defaultdict(int)
        self._having: dict[tuple[str, str], int] = defaultdict(int)
        for at, (_, selector) in enumerate(self._selectors):
            for label, values in _values(selector).items():
                self._naming[label] |= 1 << at
                for value in values:
                    self._having[label, value] |= 1 << at

    def before(self, number: int) -> Iterator[int]:
        """The numbers of the policies before this one that may want an alert that it wants, each once."""
        told: set[int] = set()
        first, end = self._first[number : number + 2]
        for _, selector in self._selectors[first:end]:
            for other, its in self._near(selector, first):
                if other not in told and may_meet(selector, its):
                    told.add(other)
                    yield other

    def _near(self, selector: Selector, until: int) -> Iterator[tuple[int, Selector]]:
        near = (1 << until) - 1
        for label, values in _values(selector).items():
            having = functools.reduce(operator.or_, (self._having[label, value] for value in values))
            near &= having | ~self._naming[label]
        while near:
            lowest = near & -near
            yield self._selectors[lowest.bit_length() - 1]
            near ^= lowest


def may_meet(one: Selector, other: Selector) -> bool:
    """May there be labels for which both hold?"""
    mine, others = _values(one), _values(other)
    for label in mine.keys() | others.keys():
        values = mine.get(label, others.get(label, frozenset()))
        asked = [matcher for matcher in (*one.matchers, *other.matchers) if matcher.name == label]
        if not any(all(matcher.holds({label: value}) for matcher in asked) for value in values):
            return False
    return not (_present(one) & _absent(other) or _present(other) & _absent(one))


@functools.lru_cache(maxsize=4096)
def _values(selector: Selector) -> Mapping[str, frozenset[str]]:
    """Label → all values that it may have, where the selector names them."""
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
