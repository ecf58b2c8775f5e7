"""Proof and undo: how a change is shown to have worked, and how it is taken back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from remediator.core.steps import EarlyProbe, Undo, Verify
from remediator.policyfiles.diff.calls import call
from remediator.policyfiles.diff.change import Change, Direction, spelled
from remediator.policyfiles.diff.judges import (
    At,
    Table,
    fields,
    less_is_looser,
    more_is_looser,
    neutral,
    part,
    subset,
    unclear,
)


def _looks(at: At, old: timedelta, new: timedelta) -> Iterator[Change]:
    """Seldom looks make little of how long it must hold; where nothing must, they find it later only."""
    yield from (more_is_looser if at.old.for_ or at.new.for_ else neutral)("every")(at, old, new)


VERIFY: Table = {
    **call(Direction.UNCLEAR),
    "until": unclear("until"),
    "within": more_is_looser("within"),
    "every": _looks,
    "for_": less_is_looser("for"),
    "none": neutral("none"),
}
EARLY: Table = {
    **call(Direction.UNCLEAR),
    "until": unclear("until"),
    "every": more_is_looser("every"),  # what is looked for seldom comes late
    "for_": more_is_looser("for"),
}
STILL: Table = {**call(Direction.UNCLEAR), "when": unclear("when")}


def proof(at: At, old: Verify | None, new: Verify | None) -> Iterator[Change]:
    """A verify that is gone, or says none, proves nothing."""
    if old is not None and new is not None and bool(old.use) is bool(new.use):
        yield from fields(at.inside("verify"), old, new, VERIFY)
    elif old is not None and old.use:
        why = f": {new.none}" if new is not None else ""
        yield Change(at.where, f"verify removed{why}", Direction.LOOSENED)
    elif new is not None and new.use:
        yield Change(at.where, f"verify added: {spelled(new.until)}", Direction.TIGHTENED)
    else:
        yield Change(at.where, f"verify {spelled(old)} → {spelled(new)}", Direction.NEUTRAL)


def undo(at: At, old: Undo | None, new: Undo | None) -> Iterator[Change]:
    """An undo that is gone, or says none, takes nothing back."""
    had, has = old is not None and old.none is None, new is not None and new.none is None
    if old is not None and new is not None and had is has:
        yield from fields(at.inside("undo"), old, new, UNDO)
    elif had:
        why = f": {new.none}" if new is not None else ""
        yield Change(at.where, f"undo removed{why}", Direction.LOOSENED)
    elif has:
        yield Change(at.where, f"undo added: {spelled(new)}", Direction.TIGHTENED)
    else:
        yield Change(at.where, f"undo {spelled(old)} → {spelled(new)}", Direction.NEUTRAL)


def _after(at: At, old: timedelta | None, new: timedelta | None) -> Iterator[Change]:
    later = new is None or (old is not None and new > old)
    direction = Direction.LOOSENED if later else Direction.TIGHTENED
    yield Change(at.where, f"after {spelled(old)} → {spelled(new)}", direction)


def _early(at: At, old: Sequence[Any], new: Sequence[Any]) -> Iterator[Change]:
    probes = [[one for one in side if isinstance(one, EarlyProbe)] for side in (old, new)]
    words = [[one for one in side if not isinstance(one, EarlyProbe)] for side in (old, new)]
    if len(probes[0]) == len(probes[1]) == 1:
        yield from fields(at.inside("early"), probes[0][0], probes[1][0], EARLY)
        old, new = words
    if list(old) != list(new):
        yield Change(at.where, *subset("early", old, new, Direction.TIGHTENED))


UNDO: Table = {
    **call(Direction.UNCLEAR),
    "how": unclear("how"),
    "after": _after,
    "early": _early,
    "still": part("still", STILL),
    "verify": proof,
    "none": neutral("none"),
}
