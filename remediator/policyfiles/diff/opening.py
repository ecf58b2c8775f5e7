"""What opens a run, and what of the alert may reach it: match, watch, params."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from remediator.core.fields import Pattern
from remediator.core.matching import Matcher, Selector, choices
from remediator.core.opening import Param, Watch
from remediator.policyfiles.diff.calls import call
from remediator.policyfiles.diff.change import Change, Direction, spelled
from remediator.policyfiles.diff.judges import (
    At,
    Table,
    acts,
    arrow,
    elsewhere,
    fields,
    neutral,
    subset,
    unclear,
)


def matched(at: At, old: Sequence[Selector] | None, new: Sequence[Selector] | None) -> Iterator[Change]:
    """More selectors, or fewer matchers in one, match more."""
    if old is None or new is None:
        yield Change(at.where, f"match {spelled(old)} → {spelled(new)}", Direction.UNCLEAR)
        return
    also = [one for one in new if not any(_within(one, other) for other in old)]
    gone = [one for one in old if not any(_within(one, other) for other in new)]
    told = [f"also matches {', '.join(map(str, also))}"] * bool(also)
    told += [f"no longer matches {', '.join(map(str, gone))}"] * bool(gone)
    if told:
        direction = Direction.LOOSENED if not gone else Direction.TIGHTENED
        yield Change(at.where, "; ".join(told), Direction.UNCLEAR if also and gone else direction)


def _within(narrow: Selector, wide: Selector) -> bool:
    """Does every alert of the one surely fit the other?"""
    return all(any(_implies(mine, theirs) for mine in narrow.matchers) for theirs in wide.matchers)


def _implies(one: Matcher, other: Matcher) -> bool:
    if one == other:
        return True
    mine, theirs = choices(one), choices(other)
    return one.name == other.name and bool(mine) and bool(theirs) and set(mine) <= set(theirs)


WATCH: Table = {
    **call(Direction.UNCLEAR),
    "every": neutral("every"),
    "cron": acts("cron"),
    "timezone": acts("timezone"),
    "key": unclear("key"),
}


def watched(at: At, old: Watch | None, new: Watch | None) -> Iterator[Change]:
    """A watch that opens runs by itself."""
    if old is not None and new is not None:
        yield from fields(at.inside("watch"), old, new, WATCH)
    else:
        words = "watch removed" if new is None else f"watch added: {spelled(new)}"
        yield Change(at.where, words, Direction.UNCLEAR)


# ── Params ──────────────────────────────────────────────────────────────────────────────────────


def _pattern(at: At, old: Pattern | None, new: Pattern | None) -> Iterator[Change]:
    words, detail = arrow("pattern", old, new)
    if old is None or new is None:
        direction = Direction.LOOSENED if new is None else Direction.TIGHTENED
    else:
        before, after = (set(choices(Matcher("value", "=~", one.text))) for one in (old, new))
        wider = bool(before) and before <= after
        narrower = bool(after) and after <= before
        direction = Direction.LOOSENED if wider else Direction.TIGHTENED if narrower else Direction.UNCLEAR
    yield Change(at.where, words, direction, detail)


def _values(at: At, old: Sequence[str], new: Sequence[str]) -> Iterator[Change]:
    yield Change(at.where, *subset("values", old, new))


def _default(at: At, old: Param, new: Param) -> Iterator[Change]:
    """`default: null` is a default, so the value alone does not tell."""
    before, after = spelled(old.default), spelled(new.default)
    if old.has_default and not new.has_default:
        yield Change(at.where, f"default removed (was {before})", Direction.TIGHTENED)
    elif new.has_default and not old.has_default:
        words = f"default added: {after}; a missing value no longer refuses the run"
        yield Change(at.where, words, Direction.LOOSENED)
    elif before != after:
        yield Change(at.where, f"default {before} → {after}", Direction.UNCLEAR)


PARAM: Table = {
    "from_": unclear("from"),
    "type": unclear("type"),
    "pattern": _pattern,
    "values": _values,
    "default": elsewhere,  # by `params`
}


def params(at: At, old: Mapping[str, Param], new: Mapping[str, Param]) -> Iterator[Change]:
    """What of the alert may reach an action. What is taken from the same place is compared."""
    places = {str(one.from_): name for name, one in reversed(list(old.items()))}
    known = {name: name if name in old else places.get(str(one.from_)) for name, one in new.items()}
    for name, was in sorted(known.items()):
        if was is None:
            yield Change(at.where, f"param {name} added: {spelled(new[name])}", Direction.ACTS)
            continue
        here = at.inside(f"params.{name}")
        if was != name:
            yield Change(here.where, f"takes what {was} took", Direction.ACTS)
        yield from fields(here, old[was], new[name], PARAM)
        yield from _default(here, old[was], new[name])
    for name in sorted(old.keys() - known.values()):
        yield Change(at.where, f"param {name} removed", Direction.ACTS)
