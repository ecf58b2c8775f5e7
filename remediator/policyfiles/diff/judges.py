"""How the fields of a model are judged: one table per model, one judge per field.

A table names every field of its model, so that a new key of the language cannot be forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from remediator.core.catalog import Catalog
from remediator.policyfiles.diff.alike import alike
from remediator.policyfiles.diff.change import Change, Direction, spelled, text_difference

LONG = 80
"""Characters from which a text's change is shown as a difference rather than as `old → new`."""


@dataclass(frozen=True)
class At:
    """The place that is judged. ``old``, ``new``: the two models whose field it is, each in its catalogue."""

    where: str
    old: Any
    new: Any
    before: Catalog
    after: Catalog

    def inside(self, name: str) -> At:
        """A place within this one."""
        return replace(self, where=f"{self.where}.{name}" if self.where else name)


Judge = Callable[[At, Any, Any], Iterator[Change]]
"""Of a field whose two values differ: what that means."""
Table = Mapping[str, Judge]


def fields(at: At, old: BaseModel, new: BaseModel, table: Table) -> Iterator[Change]:
    """The changes between two models of one kind."""
    here = replace(at, old=old, new=new)
    for name, judge in table.items():
        before, after = getattr(old, name), getattr(new, name)
        if not alike(before, after):
            yield from judge(here, before, after)


def elsewhere(at: At, old: object, new: object) -> Iterator[Change]:
    """For a field that is judged together with others: by whom, the module's own words say."""
    del at, old, new
    yield from ()


def arrow(name: str, old: Any, new: Any) -> tuple[str, str]:
    """``name old → new`` in words, and a difference of texts where these would be long."""
    before, after = spelled(old), spelled(new)
    if max(len(before), len(after)) > LONG or "\n" in before + after:
        return f"{name} changed", text_difference(before, after)
    return f"{name} {before} → {after}", ""


def always(direction: Direction, name: str) -> Judge:
    """Any change has this direction."""

    def judge(at: At, old: Any, new: Any) -> Iterator[Change]:
        words, detail = arrow(name, old, new)
        yield Change(at.where, words, direction, detail)

    return judge


def neutral(name: str) -> Judge:
    """No change of it touches safety."""
    return always(Direction.NEUTRAL, name)


def unclear(name: str) -> Judge:
    """Touches safety, and which way cannot be computed."""
    return always(Direction.UNCLEAR, name)


def acts(name: str) -> Judge:
    """Does something else, or at another time."""
    return always(Direction.ACTS, name)


def more_is_looser(name: str, by: Callable[[Any], Any] = lambda value: value) -> Judge:
    """A limit. None: there is no limit. ``by``: what is compared, where that is not what is written."""
    return _ordered(name, lambda old, new: old is not None and (new is None or by(new) > by(old)))


def less_is_looser(name: str, by: Callable[[Any], Any] = lambda value: value) -> Judge:
    """A demand. None: nothing is demanded. ``by``: likewise."""
    return _ordered(name, lambda old, new: old is not None and (new is None or by(new) < by(old)))


def _ordered(name: str, loosens: Callable[[Any, Any], bool]) -> Judge:
    def judge(at: At, old: Any, new: Any) -> Iterator[Change]:
        direction = Direction.LOOSENED if loosens(old, new) else Direction.TIGHTENED
        words, detail = arrow(name, old, new)
        yield Change(at.where, words, direction, detail)

    return judge


def scale(name: str, *steps: Any) -> Judge:
    """Values in order, the last the loosest."""

    def judge(at: At, old: Any, new: Any) -> Iterator[Change]:
        looser = steps.index(new) > steps.index(old)
        words, _ = arrow(name, old, new)
        yield Change(at.where, words, Direction.LOOSENED if looser else Direction.TIGHTENED)

    return judge


def part(name: str, table: Table, *, added: Direction = Direction.TIGHTENED) -> Judge:
    """Something with fields of its own, which may be absent. By default a safeguard."""

    def judge(at: At, old: BaseModel | None, new: BaseModel | None) -> Iterator[Change]:
        if old is not None and new is not None:
            yield from fields(at.inside(name), old, new, table)
        elif old is not None:
            yield Change(at.where, f"{name} removed (was {spelled(old)})", added.reversed)
        else:
            yield Change(at.where, f"{name} added: {spelled(new)}", added)

    return judge


def each(table: Table) -> Judge:
    """A model by its table."""

    def judge(at: At, old: BaseModel, new: BaseModel) -> Iterator[Change]:
        yield from fields(at, old, new, table)

    return judge


def named(
    under: str,
    what: str,
    changed: Judge,
    *,
    added: Direction = Direction.NEUTRAL,
) -> Judge:
    """A map of things by name: each that is on both sides is judged by ``changed``."""

    def judge(at: At, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
        for name in sorted(old.keys() | new.keys()):
            if name not in old:
                yield Change(at.where, f"{what} {name} added", added)
            elif name not in new:
                yield Change(at.where, f"{what} {name} removed", added.reversed)
            elif not alike(old[name], new[name]):
                yield from changed(at.inside(f"{under}.{name}"), old[name], new[name])

    return judge


def told(name: str, direction: Direction, *, gone: Direction | None = None) -> Judge:
    """That it changed, and never its value. ``gone``: the direction of its removal."""

    def judge(at: At, old: object, new: object) -> Iterator[Change]:
        if gone is None or (old is not None and new is not None):
            yield Change(at.where, f"{name} changed", direction)
        else:
            added = old is None
            yield Change(
                at.where, f"{name} {'added' if added else 'removed'}", gone.reversed if added else gone
            )

    return judge


def subset(
    name: str, old: Sequence[Any], new: Sequence[Any], loosens: Direction = Direction.LOOSENED
) -> tuple[str, Direction]:
    """What a list gained and lost. ``loosens``: the direction of gaining; with both it is unclear."""
    before, after = list(map(spelled, old)), list(map(spelled, new))
    gained = [one for one in after if one not in before]
    lost = [one for one in before if one not in after]
    told = [f"gained {', '.join(gained)}"] * bool(gained) + [f"lost {', '.join(lost)}"] * bool(lost)
    words = f"{name} {' and '.join(told)}" if told else f"{name} in another order"
    if gained and lost:
        return words, Direction.UNCLEAR
    if not told:
        return words, Direction.NEUTRAL
    return words, loosens if gained else loosens.reversed


def members(name: str, loosens: Direction = Direction.LOOSENED) -> Judge:
    """A set of things, written as a list."""

    def judge(at: At, old: Sequence[Any] | None, new: Sequence[Any] | None) -> Iterator[Change]:
        words, direction = subset(name, old or (), new or (), loosens)
        yield Change(at.where, words, direction)

    return judge
