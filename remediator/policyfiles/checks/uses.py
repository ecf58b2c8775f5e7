"""Everything that a policy uses, with its place: operations and expressions. Asked by the checks.

What each place may see is written down here, as POLICY-LANGUAGE says it: data of an alert reaches an
operation only through params.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from remediator.core.catalog import BUILT_IN, Catalog, Connection, Kind, Operation
from remediator.core.expression import Expression, Template
from remediator.core.policy import Policy
from remediator.core.steps import EarlyProbe, Gate, Undo, Verify
from remediator.documents.finding import Severity
from remediator.documents.reading import Place

FROM_ALERT = frozenset({"labels", "annotations"})


@dataclass(frozen=True)
class Problem:
    """A finding before it gets its line. ``offset``: characters into the text that stands there."""

    place: Place
    message: str
    remedy: str = ""
    offset: int | None = None
    on_key: bool = False


@dataclass(frozen=True)
class Check:
    """One rule: its stable code, its weight, and what it looks for."""

    code: str
    severity: Severity
    look: Callable[[Look], Iterator[Problem]]


@dataclass(frozen=True)
class Use:
    """One operation with its arguments. ``wants``: a probe or an action."""

    place: Place
    operation: str
    connection: str
    arguments: Mapping[str, Any]
    wants: Kind
    sees: frozenset[str]
    written_via: bool


@dataclass(frozen=True)
class Seen:
    """One expression and the names that it may use."""

    place: Place
    expression: Expression
    sees: frozenset[str]
    shift: int = 0  # where it starts in the text that stands there


@dataclass(frozen=True)
class Look:
    """A policy beside the catalogue that it must fit."""

    policy: Policy
    catalog: Catalog
    uses: tuple[Use, ...] = field(init=False)
    expressions: tuple[Seen, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "uses", tuple(_uses(self.policy)))
        object.__setattr__(self, "expressions", tuple(_expressions(self)))

    def operation(self, use: Use) -> Operation | None:
        """Its spec, when the catalogue has it."""
        return self.catalog.operations.get(use.operation)

    def connection(self, use: Use) -> Connection | None:
        """Its connection, when the catalogue has it."""
        return self.catalog.connections.get(use.connection)

    def gates(self) -> Iterator[tuple[Place, Gate]]:
        """Every gate that is written."""
        for number, case in enumerate(self.policy.decide):
            if case.gate:
                yield ("decide", number, "gate"), case.gate
        for name, step in self.policy.steps.items():
            if step.gate:
                yield ("steps", name, "gate"), step.gate


# ── Operations ──────────────────────────────────────────────────────────────────────────────────


def _uses(policy: Policy) -> Iterator[Use]:
    params = frozenset(policy.params)
    operations = params | frozenset(policy.diagnose) | {"steps", "target", "now"}
    if policy.watch:
        yield _use(("watch",), policy.watch, Kind.PROBE, frozenset({"now"}))
    for name, probe in policy.diagnose.items():
        yield _use(("diagnose", name), probe, Kind.PROBE, params | {"target", "now"})
    for name, step in policy.steps.items():
        place: Place = ("steps", name)
        sees = operations | {"each"} if step.for_each else operations
        yield _use(place, step, Kind.ACTION, sees)
        if step.verify and step.verify.use:
            yield _use((*place, "verify"), step.verify, Kind.PROBE, sees)
        if step.undo:
            yield from _undo_uses((*place, "undo"), step.undo, step.via, sees)


def _undo_uses(place: Place, undo: Undo, via: str | None, sees: frozenset[str]) -> Iterator[Use]:
    if undo.use:
        yield _use(place, undo, Kind.ACTION, sees, via)
    if undo.verify and undo.verify.use:
        yield _use((*place, "verify"), undo.verify, Kind.PROBE, sees)
    if undo.still:
        yield _use((*place, "still"), undo.still, Kind.PROBE, sees)
    for number, early in enumerate(undo.early):
        if isinstance(early, EarlyProbe):
            yield _use((*place, "early", number), early, Kind.PROBE, sees)


def _use(place: Place, call: Any, wants: Kind, sees: frozenset[str], via: str | None = None) -> Use:
    """``via``: the connection of the step that an undo belongs to."""
    operation: str = call.use
    connection = call.via or via or BUILT_IN.get(operation.partition(".")[0], "")
    return Use(place, operation, connection, call.with_, wants, sees, call.via is not None)


def templates(value: Any, place: Place) -> Iterator[tuple[Place, Template]]:
    """Every template inside an argument."""
    match value:
        case Template():
            yield place, value
        case dict():
            for key, item in value.items():
                yield from templates(item, (*place, key))
        case list():
            for number, item in enumerate(value):
                yield from templates(item, (*place, number))


# ── Expressions ─────────────────────────────────────────────────────────────────────────────────


def _expressions(look: Look) -> Iterator[Seen]:
    policy = look.policy
    params = frozenset(policy.params)
    people = params | frozenset(policy.diagnose) | FROM_ALERT | {"alert", "steps", "target", "now"}
    for name, param in policy.params.items():
        yield Seen(("params", name, "from"), param.from_, FROM_ALERT)
    yield from _of_template(("target",), policy.target, params)
    for number, case in enumerate(policy.decide):
        if case.when:
            yield Seen(("decide", number, "when"), case.when, people)
    for use in look.uses:
        for place, template in templates(dict(use.arguments), (*use.place, "with")):
            yield from _of_template(place, template, use.sees)
    for name, step in policy.steps.items():
        place = ("steps", name)
        if step.for_each:
            yield from _of_template((*place, "for_each"), step.for_each, people - FROM_ALERT - {"alert"})
        judging = people | {"each"} if step.for_each else people
        yield from _proofs(place, step.verify, judging | {"before"})
        if step.undo:
            own = {"before"} if step.verify and step.verify.use else set()  # what the step's proof read first
            proved = judging | own
            yield from _proofs((*place, "undo"), step.undo.verify, proved)
            if step.undo.still:
                yield Seen((*place, "undo", "still", "when"), step.undo.still.when, proved | {"verify"})
            for number, early in enumerate(step.undo.early):
                if isinstance(early, EarlyProbe):
                    where = (*place, "undo", "early", number, "until")
                    yield Seen(where, early.until, proved | {"verify"})


def _proofs(place: Place, verify: Verify | None, sees: frozenset[str]) -> Iterator[Seen]:
    if verify and verify.until:
        yield Seen((*place, "verify", "until"), verify.until, sees | {"verify"})


def _of_template(place: Place, template: Template, sees: frozenset[str]) -> Iterator[Seen]:
    for expression, start in zip(template.expressions, template.starts, strict=True):
        yield Seen(place, expression, sees, start)
