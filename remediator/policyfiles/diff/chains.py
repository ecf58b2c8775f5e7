"""Escalation chains: who is paged, and how long after a page opened. Later is looser."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from remediator.core.catalog import Chain
from remediator.policyfiles.diff.change import Change, Direction
from remediator.policyfiles.diff.judges import At, arrow


def reached(old: Chain, new: Chain) -> Direction:
    """Is somebody reached later, or not at all; or sooner?"""
    later, sooner = _later(old, new), _later(new, old)
    if later and sooner:
        return Direction.UNCLEAR
    return Direction.LOOSENED if later else Direction.TIGHTENED if sooner else Direction.NEUTRAL


def _later(old: Chain, new: Chain) -> bool:
    return any(new.get(role, timedelta.max) > after for role, after in old.items())


def chain(at: At, old: str, new: str) -> Iterator[Change]:
    """Another chain of the settings, each as its own side has it."""
    words, _ = arrow("chain", old, new)
    if old in at.before.escalations and new in at.after.escalations:
        yield Change(at.where, words, reached(at.before.escalations[old], at.after.escalations[new]))
    else:
        yield Change(at.where, words, Direction.UNCLEAR)
