"""How much may this step cost? A pure function of the operation and of what its connection says.

Asked by policyfiles (is a gate needed?) and by planning (the same, with the real path). Only the
config can lower a risk, never a policy.
"""

from __future__ import annotations

from remediator.core.catalog import Connection, Operation, Risk


def risk_of(operation: Operation, connection: Connection, method: str, path: str) -> Risk:
    """The risk of this operation here.

    method, path: of an HTTP request, the path without its query; empty for other operations.
    The connection's patterns look like ``POST /api/workers/*``: a ``*`` is exactly one segment that is
    not empty, or any method. The most specific pattern wins, on ties the highest risk; without a match
    the operation's own risk stands.
    """
    fitting = [
        (_weight(pattern), risk.rank, risk)
        for pattern, risk in connection.risks.items()
        if _fits(pattern, method, path)
    ]
    return max(fitting, key=lambda one: one[:2])[2] if fitting else operation.risk


def meeting(one: str, other: str) -> tuple[str, str] | None:
    """The method and path that fit both patterns and as little else as can be; None: nothing does.

    A ``*`` in it stands for whatever no pattern spells out.
    """
    (method, path), (other_method, other_path) = _split(one), _split(other)
    pairs = [(method, other_method), *zip(path, other_path, strict=False)]
    if len(path) != len(other_path) or any(a != b and "*" not in (a, b) for a, b in pairs):
        return None
    both, *segments = (b if a == "*" else a for a, b in pairs)
    return both, "/".join(segments)


def _fits(pattern: str, method: str, path: str) -> bool:
    wanted, wanted_path = _split(pattern)
    segments = path.partition("?")[0].split("/")
    if wanted not in ("*", method.upper()) or len(wanted_path) != len(segments):
        return False
    return all(
        (want == "*" and got not in ("", ".", "..")) or want == got
        for want, got in zip(wanted_path, segments, strict=True)
    )


def _weight(pattern: str) -> tuple[int, int]:
    """Literal segments first, then a literal method."""
    method, segments = _split(pattern)
    return sum(segment != "*" for segment in segments), int(method != "*")


def _split(pattern: str) -> tuple[str, list[str]]:
    method, _, path = pattern.strip().partition(" ")
    return method.upper(), path.strip().split("/")
