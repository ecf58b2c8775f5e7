"""What is known of values before any is read: their kinds, their bounds, what a selector says of a label.

Asked by the checks of conditions. A reading that an expression looks into is one that came, so what a probe
refuses is not among its values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from remediator.core.catalog import Operation
from remediator.core.opening import Param
from remediator.core.policy import Policy
from remediator.core.selector import Selector
from remediator.documents.reading import Place
from remediator.policyfiles.checks.logic import Fact
from remediator.policyfiles.checks.uses import Look, Use

SCALARS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "command.read": {"exit": ("number",), "out": ("str",)},
        "disk.usage": {"used_pct": ("number",), "free_bytes": ("number",)},
        "http.get": {"status": ("number",), "text": ("str",)},
        "mysql.query": {"count": ("number",)},
        "postgres.query": {"count": ("number",)},
        "prometheus.query": {"value": ("number", "NoneType")},
        "tls.expiry": {"not_after": ("str",), "issuer": ("str",), "subject": ("str",)},
    }
)
"""The fields of a reading that are one plain value each, and their kinds."""

_PARAMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "string": ("str",),
        "uuid": ("str",),
        "enum": ("str",),
        "int": ("number",),
        "number": ("number",),
        "bool": ("bool",),
        "duration": (),  # compared with duration("5m"), never with a plain value
        "time": (),
    }
)


def of_case(look: Look) -> Iterator[Fact]:
    """What is so wherever a case is judged."""
    yield from _of_policy(look.policy)
    for use in look.uses:
        if use.place[0] == "diagnose":
            name = str(use.place[1])
            yield from _of_reading(look, use, name, optional=look.policy.diagnose[name].optional)


def of_proof(look: Look, place: Place) -> Iterator[Fact]:
    """What is so of every reading that a proof is asked about."""
    yield from of_case(look)
    yield Fact("verify.ok", "==", value=True)
    for use in look.uses:
        if use.place == place:
            yield from _of_reading(look, use, "verify", optional=False)


def expected_status(use: Use) -> int | None:
    """The one status that this http.get takes for an answer; None: any 2xx, or what an expression says."""
    written = use.arguments.get("expect_status")
    return written if isinstance(written, int) else None


def _of_reading(look: Look, use: Use, name: str, *, optional: bool) -> Iterator[Fact]:
    operation = look.operation(use)
    for field, kinds in SCALARS.get(operation.name if operation else "", {}).items():
        yield Fact(f"{name}.{field}", "of", (*kinds, "NoneType") if optional else kinds)
    yield Fact(f"{name}.ok", "of", ("bool",))
    if not optional:
        yield Fact(name, "of", ("map",))
    if operation is not None and not optional:
        yield from _bounds(operation, use, name)


def _bounds(operation: Operation, use: Use, name: str) -> Iterator[Fact]:
    if operation.name in ("mysql.query", "postgres.query"):
        yield Fact(f"{name}.count", ">=", 0)
    if operation.name == "http.get":
        expected = expected_status(use)
        if expected is not None:
            yield Fact(f"{name}.status", "==", expected)
        elif "expect_status" not in use.arguments:
            yield Fact(f"{name}.status", ">=", 200)
            yield Fact(f"{name}.status", "<", 300)


def _of_policy(policy: Policy) -> Iterator[Fact]:
    for name, param in policy.params.items():
        yield from _of_param(name, param)
    if policy.watch is None and policy.match:
        for label in {one.name for selector in policy.match for one in selector.matchers}:
            values = [_only(selector, label) for selector in policy.match]
            if None not in values:
                yield Fact(f"labels.{label}", "in", frozenset(values))


def _of_param(name: str, param: Param) -> Iterator[Fact]:
    yield Fact(name, "of", _PARAMS[param.type])
    if param.type == "enum" and param.values:
        yield Fact(name, "in", frozenset(param.values))


def _only(selector: Selector, label: str) -> str | None:
    """The one value that a selector wants of a label."""
    return next((one.value for one in selector.matchers if one.name == label and one.op == "="), None)
