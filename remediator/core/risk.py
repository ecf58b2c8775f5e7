"""How much may this step cost? A pure function of the operation and of what its connection says.

Asked by policyfiles (is a gate needed?) and by planning (the same, with the real path). Only the
config can lower a risk, never a policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from remediator.core.catalog import Connection, Operation, Risk

COMMAND = "COMMAND"
"""Stands for the method where a connection's endpoints are the commands that it declares."""

Segment = str | Callable[[str], bool]
"""Of a path: what stands there; or, while that is not known, whether a certain text may come to."""


def worst(risks: Iterable[Risk]) -> Risk:
    """The highest of some risks."""
    return max(risks, key=lambda risk: risk.rank)


def risk_of(operation: Operation, connection: Connection, method: str, path: str) -> Risk:
    """The risk of this operation here.

    method, path: of an HTTP request, the path without its query; empty for other operations.
    The connection's patterns look like ``POST /api/workers/*``: a ``*`` is exactly one segment that is
    not empty, or any method. A slash at the end and percent-encoding make no other endpoint: many a
    service takes ``/data/%61/`` for ``/data/a``. The most specific pattern wins, on ties the highest
    risk; without a match the operation's own risk stands.
    """
    if not connection.risks:
        return operation.risk
    return risk_at_most(operation, connection, method, segments(path.partition("?")[0]))[0]


def risk_at_most(
    operation: Operation, connection: Connection, method: str, path: Sequence[Segment]
) -> tuple[Risk, str]:
    """The highest risk that a path may come to have, and the pattern that says so.

    The pattern is empty where it is the operation's own risk.
    """
    possible = [pattern for pattern in connection.risks if _fits(pattern, method, path, _may_be)]
    certain = [_weight(pattern) for pattern in possible if _fits(pattern, method, path, _is)]
    least = max(certain, default=(0, 0))
    found = [(connection.risks[one], one) for one in possible if _weight(one) >= least]
    if not certain:
        found.append((operation.risk, ""))
    return max(found, key=lambda one: one[0].rank)


def segments(path: str) -> list[str]:
    """A path's segments, each in one spelling, without the slash at its end. No ``*`` is left in them."""
    return [quote(unquote_to_bytes(one), safe="!$&'()+,;=:@~") for one in path.removesuffix("/").split("/")]


def meeting(one: str, other: str) -> tuple[str, str] | None:
    """The method and path that fit both patterns and as little else as can be; None: nothing does.

    A ``*`` in it stands for whatever no pattern spells out.
    """
    (method, path), (other_method, other_path) = _split(one), _split(other)
    pairs = [(method, other_method), *zip(path, other_path, strict=False)]
    if len(path) != len(other_path) or any(a != b and "*" not in (a, b) for a, b in pairs):
        return None
    both, *parts = (b if a == "*" else a for a, b in pairs)
    return both, "/".join(parts)


def _fits(pattern: str, method: str, path: Sequence[Segment], agrees: Callable[[str, Segment], bool]) -> bool:
    wanted, wanted_path = _split(pattern)
    if wanted not in ("*", method.upper()) or len(wanted_path) != len(path):
        return False
    return all(map(agrees, wanted_path, path))


def _is(wanted: str, got: Segment) -> bool:
    """Certainly. What is not known yet is never empty, and never a way up."""
    if wanted == "*":
        return got not in ("", ".", "..")
    return wanted == got


def _may_be(wanted: str, got: Segment) -> bool:
    return got(wanted) if callable(got) and wanted != "*" else _is(wanted, got)


def _weight(pattern: str) -> tuple[int, int]:
    """Literal segments first, then a literal method."""
    method, path = _split(pattern)
    return sum(segment != "*" for segment in path), int(method != "*")


@lru_cache(maxsize=4096)
def _split(pattern: str) -> tuple[str, tuple[str, ...]]:
    """Of a pattern in the config; there are few, and each is held against each path."""
    method, _, path = pattern.strip().partition(" ")
    parts = path.strip().removesuffix("/").split("/")
    return method.upper(), tuple(part if part == "*" else segments(part)[0] for part in parts)
