"""An operation against its older self: what it is, on which connection, and with what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from remediator.connectors.http import statuses
from remediator.policyfiles.diff.allowed import bounds_more
from remediator.policyfiles.diff.change import Change, Direction, spelled, text_difference
from remediator.policyfiles.diff.connections import reach
from remediator.policyfiles.diff.judges import LONG, At, Judge, always, arrow

DONE = "ok"
"""The argument of `http.request` that says what counts as done."""


def arguments(
    at: At, old: Mapping[str, Any], new: Mapping[str, Any], otherwise: Direction
) -> Iterator[Change]:
    """The changes of an operation's ``with``, one per parameter."""
    whose = at.where.rpartition(".")[2]
    for name in sorted(old.keys() | new.keys()):
        direction = _done(old, new) if name == DONE else otherwise
        if name not in old:
            yield Change(at.where, f"with.{name} added: {spelled(new[name])[:LONG]}", direction)
        elif name not in new:
            yield Change(at.where, f"with.{name} removed (was {spelled(old[name])[:LONG]})", direction)
        elif old[name] != new[name] and name == "sql":
            detail = text_difference(spelled(old[name]), spelled(new[name]))
            yield Change(at.where, f"SQL of {whose} changed", direction, detail)
        elif old[name] != new[name]:
            words, detail = arrow(f"with.{name}", old[name], new[name])
            yield Change(at.where, words, direction, detail)


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
        yield from arguments(at, old, new, direction)

    return {"use": always(direction, "use"), "via": via, "with_": with_}
