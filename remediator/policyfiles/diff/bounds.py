"""Limits: how often, how much at once, when, and what steps a policy down."""

from __future__ import annotations

from collections.abc import Iterator

from remediator.core.durations import Rate
from remediator.core.opening import Windows
from remediator.policyfiles.diff.change import Change, Direction, spelled
from remediator.policyfiles.diff.judges import (
    At,
    Judge,
    Table,
    less_is_looser,
    members,
    more_is_looser,
    part,
    scale,
)


def rate(name: str) -> Judge:
    """``3 in 24h``: more, or in a shorter time, is looser."""

    def judge(at: At, old: Rate, new: Rate) -> Iterator[Change]:
        looser = new.limit > old.limit or new.per < old.per
        tighter = new.limit < old.limit or new.per > old.per
        direction = Direction.LOOSENED if looser else Direction.TIGHTENED
        yield Change(
            at.where, f"{name} {old} → {new}", Direction.UNCLEAR if looser and tighter else direction
        )

    return judge


def _budget(at: At, old: str | None, new: str | None) -> Iterator[Change]:
    direction = Direction.LOOSENED if new is None else Direction.TIGHTENED
    both = old is not None and new is not None
    yield Change(
        at.where, f"budget {spelled(old)} → {spelled(new)}", Direction.UNCLEAR if both else direction
    )


def _windows(at: At, old: Windows | None, new: Windows | None) -> Iterator[Change]:
    if old is not None and new is not None and (old.not_ is None) is not (new.not_ is None):
        yield Change(at.where, f"windows {spelled(old)} → {spelled(new)}", Direction.UNCLEAR)
    else:
        yield from part("windows", WINDOWS)(at, old, new)


WINDOWS: Table = {"not_": members("not", Direction.TIGHTENED), "only": members("only")}
BREAKER: Table = {
    "failures": more_is_looser("failures"),
    "within": less_is_looser("within"),
    "mode": scale("mode", "observe", "suggest"),
    "for_": less_is_looser("for"),
}
BOUNDS: Table = {
    "cooldown": less_is_looser("cooldown"),
    "per_target": rate("per_target"),
    "per_policy": rate("per_policy"),
    "at_once": more_is_looser("at_once"),
    "deadline": more_is_looser("deadline"),
    "budget": _budget,
    "breaker": part("breaker", BREAKER),
    "windows": _windows,
}
