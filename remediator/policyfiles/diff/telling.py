"""A difference in plain lines, for logs, journals and chats, and as JSON. What needs eyes first."""

from __future__ import annotations

from typing import Any

from remediator.policyfiles.diff.change import Direction
from remediator.policyfiles.diff.compare import Difference, PolicyChange

MARKS = {
    Direction.LOOSENED: "LOOSENED",
    Direction.UNCLEAR: "UNCLEAR",
    Direction.ACTS: "acts otherwise",
    Direction.TIGHTENED: "tightened",
    Direction.NEUTRAL: "no change for safety",
}
"""Direction → its word in front of a line."""


def summary(difference: Difference) -> str:
    """All in one line."""
    counts = []
    for kind in ("added", "removed", "renamed", "changed"):
        number = sum(one.kind == kind for one in difference.policies)
        counts += [f"{number} {kind}"] * bool(number)
    told = f"policies: {', '.join(counts)}" if counts else "no change in the meaning of any policy"
    if difference.settings is not None:
        told += "; the settings changed"
    loosened = sum(one.worst.needs_note for one in difference.all)
    unexplained = sum(one.unexplained for one in difference.all)
    if loosened:
        told += f"; {loosened} looser or unclear, {unexplained or 'none'} without a fresh note"
    return told


def lines(difference: Difference) -> list[str]:
    """Each change in a line, the loosened ones first, whatever the policy."""
    found = [
        (change.direction, f"{MARKS[change.direction]}: {one.name}: {change}")
        for one in difference.all
        for change in one.changes
    ]
    notes = [f"note of {one.name}: {one.note}" for one in difference.all if one.fresh]
    unread = [f"not compared: {file}: {why}" for file, why in sorted(difference.unreadable.items())]
    unread += [f"not compared: {why}" for why in difference.untold]
    return [line for _, line in sorted(found, key=lambda one: one[0])] + notes + unread


def as_json(difference: Difference) -> dict[str, Any]:
    """For machines; fields are only added."""
    return {
        "summary": summary(difference),
        "loosened": difference.loosened,
        "policies": [_policy(one) for one in difference.policies],
        "settings": _policy(difference.settings) if difference.settings is not None else None,
        "unreadable": dict(difference.unreadable),
        "untold": list(difference.untold),
    }


def _policy(one: PolicyChange) -> dict[str, Any]:
    return {
        "policy": one.name,
        "kind": one.kind,
        "file": one.file,
        "was": one.was or None,
        "direction": one.worst.word,
        "note": one.note or None,
        "note_is_fresh": one.fresh,
        "unexplained": one.unexplained,
        "changes": [
            {
                "where": change.where,
                "words": change.words,
                "direction": change.direction.word,
                "detail": change.detail,
            }
            for change in one.changes
        ],
    }
