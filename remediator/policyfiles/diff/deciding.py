"""What is read, and which steps are taken then: diagnose and decide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher

from remediator.core.catalog import Risk
from remediator.core.policy import Case, Policy, Probe
from remediator.policyfiles.diff import gates
from remediator.policyfiles.diff.calls import call
from remediator.policyfiles.diff.change import Change, Direction, spelled
from remediator.policyfiles.diff.judges import At, Table, arrow, elsewhere, fields, scale

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


PROBE: Table = {
    **call(Direction.ACTS),
    "expect": _expected,
    "optional": scale("optional", *(False, True)),
}


def diagnosed(at: At, old: Mapping[str, Probe], new: Mapping[str, Probe]) -> Iterator[Change]:
    """A probe that must succeed is a condition of acting; without it there is one less."""
    for name in sorted(old.keys() | new.keys()):
        if name in old and name in new:
            yield from fields(at.inside(f"diagnose.{name}"), old[name], new[name], PROBE)
            continue
        probe = old.get(name) or new[name]
        must = Direction.ACTS if probe.optional else Direction.TIGHTENED
        direction = must if name in new else must.reversed
        yield Change(
            at.where, f"probe {name} {'added' if name in new else 'removed'}: {probe.use}", direction
        )


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
        keeps = _keeps_away(old.decide, before, risks[0]) or _keeps_away(new.decide, number, risks[1])
        yield from _when(here, *both, guards=keeps or any(map(_asks_nobody, both)))
        yield from _steps(here, old.decide[before], new.decide[number], either)
    for number in gone:
        yield _case(at, old.decide, number, risks[0], removed=True)
    for number in came:
        yield _case(at, new.decide, number, risks[1], removed=False)
    yield from gates.asked(at, scenes)


def _paired(old: Sequence[Case], new: Sequence[Case]) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Which cases are the same one, by their numbers; which went, which came."""
    whens = [[str(case.when) for case in side] for side in (old, new)]
    alike = SequenceMatcher(None, whens[0], whens[1], autojunk=False)
    pairs: list[tuple[int, int]] = []
    gone: list[int] = []
    came: list[int] = []
    for _, start, end, first, last in alike.get_opcodes():
        both = min(end - start, last - first)
        pairs += zip(range(start, start + both), range(first, first + both), strict=True)
        gone += range(start + both, end)
        came += range(first + both, last)
    return pairs, gone, came


def _keeps_away(cases: Sequence[Case], number: int, risks: Risks) -> bool:
    """Where it holds, is nothing changed that a later case would change? It may say so to somebody."""
    quiet = [all(_safe(name, risks) for name in case.steps) for case in cases[number:]]
    return not cases[number].steps or (quiet[0] and not all(quiet))


def _asks_nobody(scene: gates.Scene) -> bool:
    """Is something done there that is not safe, with no other gate than its condition?"""
    return any(not _safe(one, scene.risks) and scene.need(one) is None for one in scene.case.steps)


def _when(at: At, old: gates.Scene, new: gates.Scene, *, guards: bool) -> Iterator[Change]:
    if old.case.when != new.case.when:
        words, detail = arrow("when", condition(old.case), condition(new.case))
        yield Change(at.where, words, Direction.UNCLEAR if guards else Direction.ACTS, detail)


def _case(at: At, cases: Sequence[Case], number: int, risks: Risks, *, removed: bool) -> Change:
    """A whole case. One that changes something, before others, may also keep a worse one away."""
    case = cases[number]
    if _keeps_away(cases, number, risks):
        added = Direction.TIGHTENED
    elif all(_safe(name, risks) for name in case.steps):
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


def _safe(name: str, risks: Risks) -> bool:
    return risks.get(name) is Risk.SAFE


def condition(case: Case) -> str:
    """When it holds."""
    return spelled(case.when) if case.when is not None else "(always)"


def doing(case: Case) -> str:
    """What is done then."""
    return f"{'try' if case.rungs else 'do'} {', '.join(case.steps) or 'nothing'}"
