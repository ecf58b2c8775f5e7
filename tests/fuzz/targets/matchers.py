"""Selectors, and the index over them: refused at a place, or read, printed and read the same."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import re2

from remediator.core.matching import Index
from remediator.core.selector import Matcher, Selector, parse_selector
from remediator.errors import ExpressionError
from tests.core.selector_table import ALERTS, MODERN, ROWS
from tests.fuzz.target import Target

LONGEST = 512
MOST = 4
"""Selectors of one input: they are separated by empty lines."""
WORDS = [
    *(b"{", b"}", b"=", b"!=", b"=~", b"!~", b'"', b"'", b"`", b",", b"\\", b"\\\\", b'\\"', b"\\n", b"\\t"),
    *(b"\\u00e9", b"\\x41", b"\\U0001F600", b"\\101", b"\n\n", b"|", b".*", b".+", b"[^a]", b"(?i)", b"\\d"),
    *(b"^", b"$", b"(", b")", b"a|b", b'{a="b"}', b'"my label"', "é".encode(), b"\t", b" ", b'=~"', b'=""'),
]


def target() -> Target:
    seeds = [one.text.encode() for one in ROWS]
    seeds += [b"\n\n".join(seeds[at : at + MOST]) for at in range(0, len(seeds), MOST)]
    return Target(check, [one for one in seeds if len(one) <= LONGEST], WORDS, LONGEST)


def check(data: bytes) -> bool:
    selectors, refusals = list[Selector](), list[tuple[ExpressionError, str]]()
    for text in data.decode("utf-8", "replace").split("\n\n")[:MOST]:
        try:
            selectors.append(parse_selector(text))
        except ExpressionError as error:
            refusals.append((error, text))
    for refusal, text in refusals:
        assert refusal.problem
        assert 0 <= refusal.offset <= len(text), (refusal.offset, text)
    alerts = [{}, *ALERTS.values(), *MODERN.values(), *(one for each in selectors for one in _near(each))]
    for selector in selectors:
        _reads_as_printed(selector)
        assert not selector.holds({})
        for labels in alerts:
            means = all(_holds(matcher, labels) for matcher in selector.matchers)
            assert selector.holds(labels) is means, (selector, labels)
            assert (not selector.noes(labels)) is means
    index = Index.of((number, [one]) for number, one in enumerate(selectors))
    for labels in alerts:
        expected = [number for number, one in enumerate(selectors) if one.holds(labels)]
        assert index.find(labels) == expected, (selectors, labels)
    return bool(selectors)


def _reads_as_printed(selector: Selector) -> None:
    assert parse_selector(str(selector)) == selector
    printed = str(Selector(selector.matchers))
    assert parse_selector(printed) == selector, printed


def _near(selector: Selector) -> list[dict[str, str]]:
    """Alerts that fit, and some that nearly do."""
    fits = {one.name: next(iter(one.value.split("|"))) for one in selector.matchers if one.op in ("=", "=~")}
    first = selector.matchers[0]
    return [
        fits,
        fits | {first.name: first.value},
        fits | {first.name: first.value + "x"},
        fits | {first.name: first.value.swapcase()},
        fits | {first.name: f"x{first.value}"},
        {name: value for name, value in fits.items() if name != first.name},
        fits | {one.name: "" for one in selector.matchers if one.op in ("!=", "!~")},
    ]


def _holds(matcher: Matcher, labels: Mapping[str, str]) -> bool:
    """As Alertmanager's pkg/labels/matcher.go says it, once more: anchored by the pattern itself."""
    found = labels.get(matcher.name, "")
    match matcher.op:
        case "=":
            return found == matcher.value
        case "!=":
            return found != matcher.value
    return (_whole(matcher.value).search(found) is not None) is (matcher.op == "=~")


@functools.lru_cache(1000)
def _whole(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(f"^(?:{pattern})$", options)
