"""First stop of an alert: which policies want it? Called by the engine for every alert of a storm.

Ten thousand policies must cost about what ten do, so each selector waits under one (label, value) pair
that an alert must have for it to hold: the pair that the fewest selectors share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from remediator.core.selector import Matcher, Selector, parse_selector

__all__ = ["Index", "Matcher", "Selector", "choices", "nearest", "parse_selector"]

K = TypeVar("K")
_Pair = tuple[str, str]


class Index(Generic[K]):
    """Finds the keys of which any selector holds. Built once per set of policies; frozen after."""

    def __init__(self) -> None:
        self._keys: list[K] = []
        self._under: dict[str, dict[str, list[tuple[int, Selector]]]] = {}  # label → value → selectors
        self._anywhere: list[tuple[int, Selector]] = []  # selectors that no pair stands for

    @classmethod
    def of(cls, entries: Iterable[tuple[K, Sequence[Selector]]]) -> Index[K]:
        """An index over keys with their selectors, of which any may hold."""
        index: Index[K] = cls()
        wanted: list[tuple[int, Selector, list[list[_Pair]]]] = []
        for number, (key, selectors) in enumerate(entries):
            index._keys.append(key)
            wanted += [(number, one, list(_demands(one))) for one in selectors]
        shared = Counter(pair for *_, demands in wanted for demand in demands for pair in demand)
        for number, selector, demands in wanted:
            rarest = min(demands, key=lambda demand: sum(shared[pair] for pair in demand), default=[])
            for label, value in rarest:
                index._under.setdefault(label, {}).setdefault(value, []).append((number, selector))
            if not rarest:
                index._anywhere.append((number, selector))
        return index

    def find(self, labels: Mapping[str, str]) -> list[K]:
        """The keys that want these labels, in the order they were put in, each once."""
        found = {number for number, selector in self._anywhere if selector.holds(labels)}
        for label in self._under.keys() & labels.keys():
            for number, selector in self._under[label].get(labels[label], ()):
                if number not in found and selector.holds(labels):
                    found.add(number)
        return [self._keys[number] for number in sorted(found)]


def nearest(
    selectors: Sequence[Selector], labels: Mapping[str, str]
) -> tuple[Selector, tuple[Matcher, ...]] | None:
    """Of selectors of which any may hold, the one that lacks least, and what it lacks; the first of equals.

    For people who ask why not. None where there are no selectors.
    """
    lacking = [(one, one.noes(labels)) for one in selectors]
    return min(lacking, key=lambda found: len(found[1]), default=None)


def _demands(selector: Selector) -> Iterable[list[_Pair]]:
    """For each matcher that names its values: the pairs of which an alert must have one."""
    for matcher in selector.matchers:
        if values := choices(matcher):
            yield [(matcher.name, value) for value in values]


def choices(matcher: Matcher) -> tuple[str, ...]:
    """The only values that it takes, where it names them; empty where it may take others."""
    if matcher.op == "=" and matcher.value:
        return (matcher.value,)
    if matcher.op == "=~":
        return matcher.choices
    return ()
