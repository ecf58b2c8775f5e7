"""A connection against another, or its older self: what its endpoints cost, and how far SQL reaches."""

from __future__ import annotations

from collections.abc import Iterator

from remediator.core.catalog import Catalog, Connection, Kind, Operation, Risk
from remediator.core.risk import meeting, risk_of
from remediator.policyfiles.diff.change import Change, Direction
from remediator.policyfiles.diff.judges import At, more_is_looser, subset


def endpoints(at: At, old: Connection, new: Connection) -> Iterator[Change]:
    """What each path costs on both sides, under the whole of each table.

    The patterns themselves are tried, and where two of them meet: whatever path changes its risk is won
    by one pattern before and by one after, and costs what the place costs where these two meet.
    """
    own = _riskiest(at.after, new.kind)
    told: dict[str, tuple[Risk, Risk]] = {}
    written = {f"{method} {path}" for one in {*old.risks, *new.risks} for method, path in _met(one, one)}
    for place in sorted(written):
        yield from _endpoint(at, place, told, risks=_both(own, old, new, place))
    met = {
        (f"{method} {path}", one, other)
        for one in written
        for other in written
        for method, path in _met(one, other)
    }
    for place, *parents in sorted(met):
        risks = _both(own, old, new, place)
        if place not in told and all(told.get(one) != risks for one in parents):
            yield from _endpoint(at, place, told, risks)


def _met(one: str, other: str) -> Iterator[tuple[str, str]]:
    found = meeting(one, other)
    if found is not None:
        yield found


def _both(own: Operation, old: Connection, new: Connection, place: str) -> tuple[Risk, Risk]:
    method, _, path = place.partition(" ")
    return risk_of(own, old, method, path), risk_of(own, new, method, path)


def _endpoint(
    at: At, place: str, told: dict[str, tuple[Risk, Risk]], risks: tuple[Risk, Risk]
) -> Iterator[Change]:
    was, now = risks
    if was is not now:
        told[place] = risks
        direction = Direction.LOOSENED if now.rank < was.rank else Direction.TIGHTENED
        yield Change(at.where, f"{place} is {now}, was {was}", direction)


def _riskiest(catalog: Catalog, kind: str) -> Operation:
    """What a path is asked for that no pattern knows."""
    return max(
        (one for one in catalog.operations.values() if one.connector == kind),
        key=lambda one: one.risk.rank,
        default=Operation(kind, Kind.ACTION, "", {}, risk=Risk.DESTRUCTIVE),
    )


def reach(at: At, old: Connection, new: Connection) -> Iterator[Change]:
    """How far SQL may go, how much and how long, and whether a second execution is prevented."""
    for name in sorted(old.limits.keys() & new.limits.keys()):
        if old.limits[name] != new.limits[name]:
            yield from more_is_looser(name)(at, old.limits[name], new.limits[name])
    if old.fence is not new.fence:
        yield Change(at.where, f"fence {old.fence} → {new.fence}", Direction.UNCLEAR)
    for name, loosens in (
        ("tables", Direction.LOOSENED),
        ("hidden", Direction.TIGHTENED),
        ("functions", Direction.LOOSENED),
    ):
        before, after = sorted(getattr(old.reach, name)), sorted(getattr(new.reach, name))
        if before != after:
            yield Change(at.where, *subset(name, before, after, loosens))
