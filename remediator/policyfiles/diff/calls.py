"""An operation against its older self: what it is, on which connection, and with what."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from remediator.connectors.http import statuses
from remediator.core.catalog import Escape, Holds, Param
from remediator.core.durations import parse_duration
from remediator.policyfiles.diff.alike import alike_as
from remediator.policyfiles.diff.allowed import bounds_more
from remediator.policyfiles.diff.change import Change, Direction, spelled, text_difference
from remediator.policyfiles.diff.connections import reach
from remediator.policyfiles.diff.judges import LONG, At, Judge, always, arrow

DONE = "ok"
"""The argument of `http.request` that says what counts as done."""


def arguments(
    at: At, old: Mapping[str, Any], new: Mapping[str, Any], otherwise: Callable[[str], Direction]
) -> Iterator[Change]:
    """The changes of an operation's ``with``, one per parameter. Another layout of it is none."""
    whose = at.where.rpartition(".")[2]
    known = _params(at)
    for name in sorted(old.keys() | new.keys()):
        if alike_as(known.get(name), old.get(name), new.get(name)):
            continue
        direction = _done(old, new) if name == DONE else otherwise(name)
        if name not in old:
            yield Change(at.where, f"with.{name} added: {spelled(new[name])[:LONG]}", direction)
        elif name not in new:
            yield Change(at.where, f"with.{name} removed (was {spelled(old[name])[:LONG]})", direction)
        elif name == "sql":
            detail = text_difference(spelled(old[name]), spelled(new[name]))
            yield Change(at.where, f"SQL of {whose} changed", direction, detail)
        else:
            words, detail = arrow(f"with.{name}", old[name], new[name])
            yield Change(at.where, words, direction, detail)


def _params(at: At) -> Mapping[str, Param]:
    """Those of the operation, where it is the same one."""
    spec = at.after.operations.get(at.new.use) if at.old.use == at.new.use else None
    return spec.params if spec is not None else {}


def _done(old: Mapping[str, Any], new: Mapping[str, Any]) -> Direction:
    """More statuses that count as done: what failed before is taken for a success."""
    try:
        before, after = (statuses(side.get(DONE)) for side in (old, new))
    except ValueError:
        return Direction.UNCLEAR
    if before == after:
        return Direction.NEUTRAL
    narrower, wider = after < before, before < after
    return Direction.LOOSENED if wider else Direction.TIGHTENED if narrower else Direction.UNCLEAR


def call(direction: Direction) -> dict[str, Judge]:
    """The judges of an operation."""

    def via(at: At, old: str | None, new: str | None) -> Iterator[Change]:
        """Another name may stand for a connection that holds less: it is compared with the former one."""
        yield from always(direction, "via")(at, old, new)
        before, after = at.before.connections.get(old or ""), at.after.connections.get(new or "")
        if before is not None and after is not None:
            yield from reach(at.inside(f"via {new}"), before, after)
            if before.digest != after.digest and bounds_more(after.kind):
                yield Change(at.where, f"{new} may allow other things than {old} did", Direction.UNCLEAR)

    def with_(at: At, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
        yield from arguments(at, old, new, lambda _: direction)

    return {"use": always(direction, "use"), "via": via, "with_": with_}


def act() -> dict[str, Judge]:
    """The judges of what a step does that is not safe: where, and with what, may be all that bounds it."""

    def with_(at: At, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
        known = _params(at)
        yield from arguments(at, old, new, lambda name: _held(known.get(name), old.get(name), new.get(name)))

    return {**call(Direction.UNCLEAR), "with_": with_}


def _held(param: Param | None, old: Any, new: Any) -> Direction:
    """What another argument means, by what its operation says of it."""
    if param is not None and param.escape is Escape.TEXT:
        return Direction.ACTS  # for people's eyes
    if param is None or param.holds is None:
        return Direction.UNCLEAR
    if param.holds is Holds.THERE:
        return _there(old, new)
    if old is None or new is None:
        return Direction.TIGHTENED if old is None else Direction.LOOSENED
    try:
        before, after = (parse_duration(spelled(one)) for one in (old, new))
    except ValueError:
        return Direction.UNCLEAR
    if before == after:
        return Direction.NEUTRAL
    less = after < before
    return Direction.LOOSENED if less is (param.holds is Holds.LONGER) else Direction.TIGHTENED


def _there(old: Any, new: Any) -> Direction:
    before, after = (_parts(one) for one in (old, new))
    if all(after.get(key) == one for key, one in before.items()):
        return Direction.TIGHTENED
    if all(before.get(key) == one for key, one in after.items()):
        return Direction.LOOSENED
    return Direction.UNCLEAR


def _parts(value: Any) -> Mapping[str, Any]:
    """A map as it is; what is none, as the one thing that is there, or is not."""
    if isinstance(value, Mapping):
        return value
    return {} if value is None else {"": value}
