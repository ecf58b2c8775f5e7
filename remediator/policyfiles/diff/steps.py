"""Steps: what they do, to how many, and what a failure leads to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf

from remediator.core.catalog import Catalog, Risk
from remediator.core.policy import Policy
from remediator.core.steps import AtMost, Step
from remediator.policyfiles.checks.safety import step_risks
from remediator.policyfiles.checks.uses import Look
from remediator.policyfiles.diff import gates
from remediator.policyfiles.diff.calls import act, call
from remediator.policyfiles.diff.change import Change, Direction, spelled
from remediator.policyfiles.diff.judges import At, Judge, Table, arrow, fields, more_is_looser
from remediator.policyfiles.diff.proofs import proof, undo

Rows = int | AtMost | None


def _range(rows: Rows) -> tuple[float, float]:
    if rows is None:
        return 0, inf
    return (0, rows.at_most) if isinstance(rows, AtMost) else (rows, rows)


def _rows(at: At, old: Rows, new: Rows) -> Iterator[Change]:
    (low, high), (least, most) = _range(old), _range(new)
    exact = low == high, least == most
    if all(exact):
        direction = Direction.LOOSENED if most > high else Direction.TIGHTENED
    elif any(exact) and None not in (old, new):
        direction = Direction.UNCLEAR
    elif least <= low and most >= high:
        direction = Direction.LOOSENED
    elif least >= low and most <= high:
        direction = Direction.TIGHTENED
    else:
        direction = Direction.UNCLEAR
    words = [
        f"at most {one.at_most}" if isinstance(one, AtMost) else spelled(one) if one else "any number"
        for one in (old, new)
    ]
    yield Change(at.where, f"rows {words[0]} → {words[1]}", direction)


def _on_failure(at: At, old: str, new: str) -> Iterator[Change]:
    direction = Direction.LOOSENED if new == "continue" else Direction.TIGHTENED
    both = "continue" not in (old, new)
    yield Change(at.where, f"on_failure {old} → {new}", Direction.UNCLEAR if both else direction)


def _for_each(otherwise: Direction) -> Judge:
    """Another list is another act for each item of it."""

    def judge(at: At, old: object, new: object) -> Iterator[Change]:
        words, detail = arrow("for_each", old, new)
        one = Direction.TIGHTENED if new is None else otherwise
        yield Change(at.where, words, Direction.LOOSENED if old is None else one, detail)

    return judge


def _at_most(at: At, old: int | None, new: int | None) -> Iterator[Change]:
    if at.old.for_each is not None and at.new.for_each is not None:  # else told by for_each
        yield from more_is_looser("at_most")(at, old, new)


def _stop_after(at: At, old: int | None, new: int | None) -> Iterator[Change]:
    before, after = old or 1, new or 1  # not written: at the first
    if at.old.for_each is not None and at.new.for_each is not None and before != after:
        yield from more_is_looser("stop_after")(at, before, after)


STEP: Table = {
    **act(),
    "rows": _rows,
    "gate": gates.written,
    "verify": proof,
    "undo": undo,
    "on_failure": _on_failure,
    "for_each": _for_each(Direction.UNCLEAR),
    "at_most": _at_most,
    "stop_after": _stop_after,
}
SAFE: Table = {**STEP, **call(Direction.ACTS), "for_each": _for_each(Direction.ACTS)}
"""Of a step that was safe and is."""
ANSWERS: Table = {**STEP, **call(Direction.UNCLEAR)}
"""Of one on whose answer depends what a step does that is not safe."""


def steps(
    at: At,
    old: Mapping[str, Step],
    new: Mapping[str, Step],
    risks: tuple[Mapping[str, Risk], Mapping[str, Risk]],
) -> Iterator[Change]:
    """The steps by name. An operation that nobody knows is taken for a destructive one."""
    before, after = risks
    for name in [*new, *(name for name in old if name not in new)]:
        if name in old and name in new:
            here = at.inside(f"steps.{name}")
            yield from step(here, (old[name], new[name]), (before.get(name), after.get(name)))
            continue
        one, risk = (new[name], after.get(name)) if name in new else (old[name], before.get(name))
        added = Direction.ACTS if risk is Risk.SAFE else Direction.LOOSENED
        how = f"{'new' if name in new else 'removed'} {risk or 'unknown'} step {name}"
        on = f" on {one.via}" if one.via else ""
        yield Change(at.where, f"{how}: {one.use}{on}", added if name in new else added.reversed)


def step(at: At, pair: tuple[Step, Step], risks: tuple[Risk | None, Risk | None]) -> Iterator[Change]:
    """One step against another, or its older self; its gate is judged with the cases that name it."""
    table = STEP
    if set(risks) == {Risk.SAFE}:
        name = at.where.rpartition(".")[2]
        table = ANSWERS if _is_heard(name, at.old, at.before) or _is_heard(name, at.new, at.after) else SAFE
    yield from fields(at, *pair, table)
    yield from _risk(at, *pair, risks)


def _is_heard(name: str, policy: Policy, catalog: Catalog) -> bool:
    """Does a step that is not safe look at what this one comes to?"""
    look = Look(policy, catalog)
    risks = step_risks(look)
    return any(
        seen.place[0] == "steps"
        and risks.get(str(seen.place[1])) is not Risk.SAFE
        and any(path.root == "steps" and path.keys[:1] == (name,) for path in seen.expression.paths)
        for seen in look.expressions
    )


def _risk(at: At, old: Step, new: Step, risks: tuple[Risk | None, Risk | None]) -> Iterator[Change]:
    """A step that costs less asks less by itself and counts less in the bounds: never a tightening."""
    was, now = risks
    if was is None or now is None or was is now:
        return
    asked = (old.use, old.with_) == (new.use, new.with_)
    if now.rank < was.rank:
        direction = Direction.LOOSENED if asked else Direction.UNCLEAR
    else:
        direction = Direction.TIGHTENED if asked and old.via == new.via else Direction.LOOSENED
    yield Change(at.where, f"is {now} now, was {was}", direction)
