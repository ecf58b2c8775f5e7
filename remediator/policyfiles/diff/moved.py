"""Steps under another name: a new name must not wash off a gate, a proof or an undo."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from remediator.core.catalog import Risk
from remediator.core.expression import Expression, Template
from remediator.core.policy import Case, Policy
from remediator.core.steps import Step
from remediator.policyfiles.diff.change import spelled

Names = Mapping[str, str]
"""A step's name before → its name now."""


def what(step: Step) -> tuple[str, ...]:
    """What a step does: its operation with its endpoint or SQL. How params are named does not count."""
    if "sql" in step.with_:
        return step.use, " ".join(_shape(step.with_["sql"]).lower().split())
    if "path" in step.with_:
        method, path = (_shape(step.with_.get(name, "")) for name in ("method", "path"))
        return step.use, method.upper(), path.partition("?")[0]
    return step.use, spelled(step.with_)


def _shape(value: object) -> str:
    if not isinstance(value, Template):
        return spelled(value)
    return "".join("*" if isinstance(piece, Expression) else str(piece) for piece in value.pieces)


def renamed(old: Policy, new: Policy, risks: Mapping[str, Risk]) -> Names:
    """Which steps of the old policy go on under another name; ``risks``: of the new one's.

    A new step does what one did that is gone; for a safe one the same operation is enough. Other new
    steps need a note anyhow.
    """
    gone = {name: step for name, step in old.steps.items() if name not in new.steps}
    came = {name: step for name, step in new.steps.items() if name not in old.steps}
    safe = {name: step for name, step in came.items() if risks.get(name) is Risk.SAFE}
    found: dict[str, str] = {}
    found |= _paired(gone, came, what)
    left = {name: step for name, step in gone.items() if name not in found}
    free = {name: step for name, step in safe.items() if name not in found.values()}
    return found | _paired(left, free, lambda step: step.use)


def _paired(
    gone: Mapping[str, Step], came: Mapping[str, Step], of: Callable[[Step], object]
) -> dict[str, str]:
    found: dict[str, str] = {}
    for now, step in came.items():
        alike = (was for was, other in gone.items() if was not in found and of(other) == of(step))
        was = next(alike, None)
        if was is not None:
            found[was] = now
    return found


def with_names(policy: Policy, names: Names) -> Policy:
    """The policy with its steps named so, in its cases as well."""
    if not names:
        return policy
    steps = {names.get(name, name): step for name, step in policy.steps.items()}
    return policy.model_copy(
        update={"steps": steps, "decide": tuple(_case(case, names) for case in policy.decide)}
    )


def _case(case: Case, names: Names) -> Case:
    called = tuple(names.get(name, name) for name in case.steps)
    return case.model_copy(update={"try_" if case.rungs else "do": called}) if called else case
