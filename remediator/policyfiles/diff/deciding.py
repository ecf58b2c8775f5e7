"""What is read, and which steps are taken then: diagnose and decide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from typing import Any

from remediator.core.catalog import Catalog, Risk
from remediator.core.policy import Case, Policy, Probe
from remediator.policyfiles.checks.safety import step_risks
from remediator.policyfiles.checks.uses import Look
from remediator.policyfiles.diff import gates
from remediator.policyfiles.diff.alike import alike, key
from remediator.policyfiles.diff.calls import call
from remediator.policyfiles.diff.change import Change, Direction, spelled
from remediator.policyfiles.diff.conditions import narrower, wider
from remediator.policyfiles.diff.judges import At, Judge, Table, arrow, elsewhere, fields, scale

# ── Diagnose ────────────────────────────────────────────────────────────────────────────────────


def _expected(at: At, old: str | None, new: str | None) -> Iterator[Change]:
    strict = (None, "any rows", "one row")
    words, _ = arrow("expect", old, new)
    if "no rows" in (old, new) and None not in (old, new):
        direction = Direction.UNCLEAR
    elif new is None or (new in strict and old in strict and strict.index(new) < strict.index(old)):
        direction = Direction.LOOSENED
    else:
        direction = Direction.TIGHTENED
    yield Change(at.where, words, direction)


def _deciding(judge: Judge) -> Judge:
    """Something else is asked before anything is done: whether it says yes more often, nobody can compute."""

    def judged(at: At, old: Any, new: Any) -> Iterator[Change]:
        for one in judge(at, old, new):
            unclear = one.direction is Direction.UNCLEAR
            yield replace(one, words=f"what decides changed: {one.words}") if unclear else one

    return judged


PROBE: Table = {
    **{name: _deciding(judge) for name, judge in call(Direction.UNCLEAR).items()},
    "expect": _expected,
    "optional": scale("optional", *(False, True)),
}
IDLE: Table = {**PROBE, **call(Direction.ACTS)}
"""Of a probe that nothing waits for which is not safe."""


def diagnosed(at: At, old: Mapping[str, Probe], new: Mapping[str, Probe]) -> Iterator[Change]:
    """A probe that must succeed is a condition of acting; without it there is one less."""
    for name in sorted(old.keys() | new.keys()):
        if name in old and name in new:
            table = PROBE if _decides(at, name) else IDLE
            yield from fields(at.inside(f"diagnose.{name}"), old[name], new[name], table)
            continue
        probe = old.get(name) or new[name]
        must = Direction.ACTS if probe.optional else Direction.TIGHTENED
        direction = must if name in new else must.reversed
        yield Change(
            at.where, f"probe {name} {'added' if name in new else 'removed'}: {probe.use}", direction
        )


def _decides(at: At, name: str) -> bool:
    """Does anything that is not safe depend on this probe, before or now?"""
    return any(map(_leans, ((at.old, at.before), (at.new, at.after)), (name, name)))


def _leans(side: tuple[Policy, Catalog], name: str) -> bool:
    """One that has to succeed is a condition of all that is done; another one only where it is named."""
    look = Look(*side)
    risks = step_risks(look)
    risky = {step for case in look.policy.decide for step in case.steps if not _safe(step, risks)}
    named = (seen.place for seen in look.expressions if name in seen.expression.names)
    heard = any(place[0] != "steps" or place[1] in risky for place in named)
    return bool(risky) and (heard or not look.policy.diagnose[name].optional)


# ── Decide ──────────────────────────────────────────────────────────────────────────────────────


CASE: Table = {
    "when": elsewhere,  # by `_when`, which knows what comes after it
    "do": elsewhere,  # both by `_steps`
    "try_": elsewhere,
    "gate": gates.written,
}


Risks = Mapping[str, Risk]


def decided(at: At, old: Policy, new: Policy, risks: tuple[Risks, Risks]) -> Iterator[Change]:
    """The decision table, case by case; cases are known by their condition, else by their place."""
    pairs, gone, came = _paired(old.decide, new.decide)
    either = {**risks[0], **risks[1]}
    scenes = [
        (gates.Scene(old, old.decide[one], risks[0]), gates.Scene(new, new.decide[other], risks[1]))
        for one, other in pairs
    ]
    for (before, number), both in zip(pairs, scenes, strict=True):
        here = at.inside(f"decide, case {number + 1}")
        yield from fields(here, old.decide[before], new.decide[number], CASE)
        if not alike(both[0].case.when, both[1].case.when):
            yield _when(here, *both, direction=_moved(both, (before, number)))
        yield from _steps(here, old.decide[before], new.decide[number], either)
        yield from _order(here, *both)
    for number in gone:
        yield _case(at, old.decide, number, risks[0], removed=True)
    for number in came:
        yield _case(at, new.decide, number, risks[1], removed=False)
    yield from gates.asked(at, scenes)


def _paired(old: Sequence[Case], new: Sequence[Case]) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Which cases are the same one, by their numbers; which went, which came."""
    whens = [[key(case.when) for case in side] for side in (old, new)]
    matched = SequenceMatcher(None, whens[0], whens[1], autojunk=False)
    pairs: list[tuple[int, int]] = []
    gone: list[int] = []
    came: list[int] = []
    for _, start, end, first, last in matched.get_opcodes():
        both = min(end - start, last - first)
        pairs += zip(range(start, start + both), range(first, first + both), strict=True)
        gone += range(start + both, end)
        came += range(first + both, last)
    return pairs, gone, came


def _keeps_away(cases: Sequence[Case], number: int, risks: Risks) -> bool:
    """Where it holds, is nothing changed that a later case would change? It may say so to somebody."""
    quiet = [_quiet(case, risks) for case in cases[number:]]
    return not cases[number].steps or (quiet[0] and not all(quiet))


def _when(at: At, old: gates.Scene, new: gates.Scene, direction: Direction) -> Change:
    words, detail = arrow("when", condition(old.case), condition(new.case))
    return Change(at.where, words, direction, detail)


def _moved(scenes: tuple[gates.Scene, gates.Scene], numbers: tuple[int, int]) -> Direction:
    """What another condition means: of a case that keeps others away, of one that acts, of one that tells."""
    sides = [(one.policy.decide, at, one.risks) for one, at in zip(scenes, numbers, strict=True)]
    keeps = any(_keeps_away(*side) for side in sides)
    quiet = all(_quiet(one.case, one.risks) for one in scenes)
    if quiet and not keeps:
        return Direction.ACTS
    later = any(not _quiet(case, risks) for cases, at, risks in sides for case in cases[at + 1 :])
    if not quiet and (keeps or later):
        return Direction.UNCLEAR  # what it does not take goes to another one that acts
    old, new = (one.case.when for one in scenes)
    less = wider if keeps else narrower
    tighter, looser = less(old, new), less(new, old)
    if tighter and looser:
        return Direction.NEUTRAL
    return Direction.LOOSENED if looser else Direction.TIGHTENED if tighter else Direction.UNCLEAR


def _case(at: At, cases: Sequence[Case], number: int, risks: Risks, *, removed: bool) -> Change:
    """A whole case. One that changes something, before others, may also keep a worse one away."""
    case = cases[number]
    if _keeps_away(cases, number, risks):
        added = Direction.TIGHTENED
    elif _quiet(case, risks):
        added = Direction.ACTS
    else:
        added = Direction.LOOSENED if number == len(cases) - 1 else Direction.UNCLEAR
    what = f"{'removed' if removed else 'added'}: when {condition(case)}, {doing(case)}"
    return Change(
        at.inside("decide").where, f"case {number + 1} {what}", added.reversed if removed else added
    )


def _steps(at: At, old: Case, new: Case, risks: Risks) -> Iterator[Change]:
    for name in new.steps:
        if name not in old.steps:
            direction = Direction.ACTS if _safe(name, risks) else Direction.LOOSENED
            yield Change(at.where, f"step {name} added", direction)
    for name in old.steps:
        if name not in new.steps:
            direction = Direction.ACTS if _safe(name, risks) else Direction.TIGHTENED
            yield Change(at.where, f"step {name} removed", direction)
    kept = [[name for name in one.steps if name in other.steps] for one, other in ((old, new), (new, old))]
    if kept[0] != kept[1]:
        words = f"steps in another order: {', '.join(old.steps)} → {', '.join(new.steps)}"
        yield Change(at.where, words, Direction.ACTS)
    if old.steps and new.steps and old.rungs is not new.rungs:
        yield Change(at.where, f"{doing(old)} → {doing(new)}", Direction.UNCLEAR)


def _order(at: At, old: gates.Scene, new: gates.Scene) -> Iterator[Change]:
    """What comes before an act may keep it away: by failing, and as a rung by working."""
    risks = {**old.risks, **new.risks}
    for name in new.case.steps:
        if name not in old.case.steps or _safe(name, risks):
            continue
        was, now = earlier(old, name), earlier(new, name)
        lost, gained = [one for one in was if one not in now], [one for one in now if one not in was]
        told = [f"no longer comes after {', '.join(lost)}"] * bool(lost)
        told += [f"comes after {', '.join(gained)} now"] * bool(gained)
        if told:
            one = Direction.LOOSENED if lost else Direction.TIGHTENED
            direction = Direction.UNCLEAR if lost and gained else one
            yield Change(at.where, f"{name} {' and '.join(told)}", direction)


def earlier(scene: gates.Scene, name: str) -> list[str]:
    """The steps that stand before it, of a ``do`` those after whose failure nothing is done."""
    ahead = scene.case.steps[: scene.case.steps.index(name)]
    steps = scene.policy.steps
    return [one for one in ahead if scene.case.rungs or steps[one].on_failure != "continue"]


def _quiet(case: Case, risks: Risks) -> bool:
    """Does it change nothing?"""
    return all(_safe(name, risks) for name in case.steps)


def _safe(name: str, risks: Risks) -> bool:
    return risks.get(name) is Risk.SAFE


def condition(case: Case) -> str:
    """When it holds."""
    return spelled(case.when) if case.when is not None else "(always)"


def doing(case: Case) -> str:
    """What is done then."""
    return f"{'try' if case.rungs else 'do'} {', '.join(case.steps) or 'nothing'}"
