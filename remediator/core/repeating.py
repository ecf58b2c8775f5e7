"""A repeated step: once its list is known, each item is a step of the run, of its own. Pure.

``for_each`` on ``retry`` makes ``retry[1]``, ``retry[2]`` … of it, in the order of the list. What each item
does, proves and takes back is the same code as for any step; here stands only what they are together.
The list itself is kept once, in `Run.lists`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

import msgspec

from remediator.core.canonical import canonical
from remediator.core.catalog import Risk
from remediator.core.counting import counted
from remediator.core.exact import revived, worth
from remediator.core.intention import Intention
from remediator.core.policy import Policy
from remediator.core.run import Outcome, Run, StepRun, StepState
from remediator.core.steps import base_of

MOST_TOLD = 5
"""Failed items that a reason tells one by one."""


def names_of(run: Run, base: str) -> list[str]:
    """The run's steps that a step of the policy is: its items in order, or the step itself."""
    found = run.lists.get(base)
    return [base] if found is None else [f"{base}[{number}]" for number in range(1, len(found) + 1)]


def items(run: Run, name: str) -> list[StepRun]:
    """A step with those that are items of the same list, in order; alone where it is not repeated."""
    return [run.steps[one] for one in names_of(run, base_of(name))]


def each_of(run: Run, name: str) -> dict[str, Any]:
    """What ``each`` is for a step; empty where it is not repeated."""
    base, bracket, number = name.partition("[")
    return {"each": revived(run.lists[base][int(number[:-1]) - 1])} if bracket else {}


def begun(run: Run, base: str) -> bool:
    """Was it started? From then on a repeated step keeps its list, whatever the figures become."""
    some = [run.steps[name] for name in names_of(run, base) if name in run.steps]
    refused = base in run.lists and any(one.state is StepState.REFUSED for one in some)
    return refused or any(one.attempt for one in some)


def failures(run: Run, name: str) -> list[StepRun]:
    """Of a step and the items beside it, those that could not start or did not work; none is on its way."""
    return [one for one in items(run, name) if has_failed(one)]


def has_failed(step: StepRun) -> bool:
    """It could not start or did not work; it is not on its way."""
    return bool(step.attempt or step.state is StepState.REFUSED) and not step.worked


def stopped(run: Run, policy: Policy, name: str) -> bool:
    """Have so many items of its list failed that no further one is begun?"""
    return len(failures(run, name)) >= (policy.step(name).stop_after or 1)


def passed(run: Run) -> int:
    """The cursor, once the step that it stands on is done with: beyond all items of its list."""
    base = base_of(run.plan[run.cursor])
    return next(
        (at for at in range(run.cursor, len(run.plan)) if base_of(run.plan[at]) != base), len(run.plan)
    )


def keeps_version(run: Run) -> bool:
    """Does it go on by the policy with which it began?

    Once it has acted; and amid a list of safe items: decided again, it would send anew what was sent.
    """
    base = base_of(run.step.name) if run.step is not None else ""
    amid = base in run.lists and begun(run, base)
    return run.acted or (amid and risk_of_all(run, base) is Risk.SAFE)


def risk_of_all(run: Run, name: str) -> Risk:
    """The highest risk among the items of one list: their gate is one. Asked once they are resolved."""
    resolved = [one.intention.risk for one in items(run, name) if one.intention is not None]
    return max(resolved, key=lambda risk: risk.rank)


def doubled(meant: Iterable[Intention]) -> tuple[Intention, Intention] | None:
    """The first two items of one list that are the very same act, or None.

    They are told apart by what would arrive, whatever else their items hold and however it is spelled.
    What is safe may be sent twice.
    """
    known: dict[tuple[str, str], Intention] = {}
    for one in meant:
        base = base_of(one.step)
        if one.risk is Risk.SAFE or base == one.step:
            continue
        call = canonical([one.call.operation, one.call.connection, worth(one.call.args)])
        first = known.setdefault((base, call), one)
        if first is not one:
            return first, one
    return None


def spread(run: Run, base: str, found: list[Any]) -> Run:
    """The run with a repeated step as the items of its list, in its place. ``found``: as `exact.kept`.

    Its items of an earlier list, of which none may have begun, give way.
    """
    listed = msgspec.structs.replace(run, lists={**run.lists, base: found})
    names, placed = names_of(listed, base), False
    steps: dict[str, StepRun] = {}
    for name, step in run.steps.items():
        if base_of(name) != base:
            steps[name] = step
        elif not placed:
            origin, placed = step if name == base else StepRun(base), True
            steps |= {one: msgspec.structs.replace(origin, name=one) for one in names}
    plan: list[str] = []
    for key, group in groupby(run.plan, base_of):
        plan += names if key == base else group
    behind = sum(base_of(name) == base for name in run.plan[: run.cursor])
    moved = len(names) - behind if behind else 0
    return msgspec.structs.replace(listed, steps=steps, plan=tuple(plan), cursor=run.cursor + moved)


def results(run: Run) -> Mapping[str, Any]:
    """What expressions see under ``steps``: a result, or one for each item, null where it was not done.

    A step is not there before it was done, nor is a list before it was begun, unless it is empty.
    """
    single = {
        name: {"result": revived(step.did)}
        for name, step in run.steps.items()
        if step.did is not None and base_of(name) == name
    }
    repeated = {
        base: {"results": [revived(step.did) for step in items(run, base)]}
        for base, found in run.lists.items()
        if not found or begun(run, base)
    }
    return single | repeated


def idle(run: Run) -> str:
    """Why a plan with no step left has nothing to do."""
    empty = [base for base, found in run.lists.items() if not found]
    return f"no items for {', '.join(empty)}"


def together(run: Run, name: str) -> tuple[Outcome, str]:
    """How a repeated step failed, by all its items."""
    every, failed = items(run, name), failures(run, name)
    certain = any(one.state in (StepState.REFUSED, StepState.UNKNOWN) for one in failed)
    told = [one.error if one.error.startswith(one.name) else f"{one.name}: {one.error}" for one in failed]
    left = sum(one.state is StepState.PLANNED for one in every)
    rest = f", {left} not begun" if left else ""
    reason = (
        f"{base_of(name)}: {len(failed)} of {counted(len(every), 'item')} did not work{rest}: {enough(told)}"
    )
    return (Outcome.FAILED if certain else Outcome.INEFFECTIVE), reason


def enough(told: list[str]) -> str:
    """The first few, and how many more there are."""
    more = len(told) - MOST_TOLD
    return "; ".join(told[:MOST_TOLD]) + (f"; … {more} more" if more > 0 else "")


def named(names: Iterable[str]) -> str:
    """Steps for people, items of one list as one: ``warn, retry (100 items)``."""
    told = []
    for base, group in groupby(names, base_of):
        found = list(group)
        told.append(found[0] if len(found) == 1 else f"{base} ({counted(len(found), 'item')})")
    return ", ".join(told)
