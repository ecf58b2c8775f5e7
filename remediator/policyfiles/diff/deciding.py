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


def _when(at: At, old: object, new: object) -> Iterator[Change]:
    before, after = (one if one is not None else "(always)" for one in (old, new))
    words, detail = arrow("when", before, after)
    acts = at.old.steps and at.new.steps  # a case that does nothing keeps the later ones away
    yield Change(at.where, words, Direction.ACTS if acts else Direction.UNCLEAR, detail)


CASE: Table = {
    "when": _when,
    "do": elsewhere,  # both by `_steps`
    "try_": elsewhere,
    "gate": gates.written,
}


Risks = Mapping[str, Risk]


def decided(at: At, old: Policy, new: Policy, risks: tuple[Risks, Risks]) -> Iterator[Change]:
    """The decision table, case by case; cases are known by their condition, else by their place."""
    pairs, gone, came = _paired(old.decide, new.decide)
    either = {**risks[0], **risks[1]}
    for before, number in pairs:
        here = at.inside(f"decide, case {number + 1}")
        yield from fields(here, old.decide[before], new.decide[number], CASE)
        yield from _steps(here, old.decide[before], new.decide[number], either)
    for number in gone:
        yield _case(at, old.decide, number, either, removed=True)
    for number in came:
        yield _case(at, new.decide, number, either, removed=False)
    yield from gates.asked(
        at,
        [
            (gates.Scene(old, old.decide[one], risks[0]), gates.Scene(new, new.decide[other], risks[1]))
            for one, other in pairs
        ],
    )


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


def _case(at: At, cases: Sequence[Case], number: int, risks: Risks, *, removed: bool) -> Change:
    """A whole case. One that changes something, before others, may also keep a worse one away."""
    case = cases[number]
    if not case.steps:
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
