"""Five stories that every policy of a pack has, known by what happens in them, not by their names.

A story counts only for what it played: the runs that closed, the refusals, the pages, and what was sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping

from remediator.core.policy import Policy
from remediator.core.run import Outcome
from remediator.policyfiles.testing.seen import Seen
from remediator.policyfiles.testing.teller import Told

Counts = Callable[[Told], bool]

BOUNDS = {"cooldown", "per_target", "per_policy", "at_once", "budget", "windows"}
_TAME = re.compile(r"[A-Za-z0-9][\w .:@,+-]*", re.ASCII)


def wanted(policy: Policy) -> Mapping[str, Counts]:
    """What each story is, in words, and how it is known."""
    verified = [step for step in policy.steps.values() if step.verify is not None and not step.verify.none]
    return {
        "it recovers by itself, and nothing is done": _recovers,
        **({"a verification fails: undone, or paged": _fails} if verified else {}),
        "the target is busy": _busy,
        "a bound refuses": _bounded,
        "hostile labels are refused with the reason": _hostile if policy.params else _inert,
    }


def missing(policy: Policy, told: list[Told]) -> list[str]:
    """The stories that nobody tells of it."""
    return [words for words, counts in wanted(policy).items() if not any(map(counts, told))]


def _recovers(told: Told) -> bool:
    quiet = {Outcome.NOTHING_TO_DO, Outcome.RECOVERED}
    first = told.seen.runs[:1]
    return bool(first) and first[0].outcome in quiet and not _acts(told)


def _acts(told: Told) -> list[str]:
    """The steps that were started and that are no mere word to people."""
    words = {name for name, step in told.story.policy.policy.steps.items() if step.use == "slack.message"}
    started = (str(entry["step"]) for entry in _entries(told.seen, "started"))
    return [step for step in started if step.partition("[")[0] not in words]


def _fails(told: Told) -> bool:
    for run in told.seen.runs:
        kinds = [entry.kind for entry in told.seen.journals[run.id]]
        if "unverified" in kinds:
            paged = any(page.run == run.id for page in told.seen.pages)
            return paged or "undone" in kinds[kinds.index("unverified") :]
    return False


def _busy(told: Told) -> bool:
    return "target" in _refusals(told.seen)


def _bounded(told: Told) -> bool:
    again = any("cooldown" in run.reason for run in told.seen.runs if run.outcome == Outcome.NOTHING_TO_DO)
    return again or bool(BOUNDS & _refusals(told.seen))


def _hostile(told: Told) -> bool:
    return "params" in _refusals(told.seen) and bool(list(_wild(told)))


def _inert(told: Told) -> bool:
    """A policy that takes nothing of its alerts: what is hostile in them reaches nothing that is sent."""
    sent = json.dumps(list(_entries(told.seen, "started")), default=str)
    return any(json.dumps(one)[1:-1] not in sent for one in _wild(told)) and bool(told.seen.runs)


def _wild(told: Told) -> Iterator[str]:
    """What the story's alert, or whoever starts it, says that is no plain word."""
    test = told.story.test
    alert = test.alert
    given = [*(alert.labels.values() if alert else ()), *(alert.annotations.values() if alert else ())]
    for one in [*given, *map(str, test.params.values())]:
        if not _TAME.fullmatch(one) or ".." in one:
            yield one


def _refusals(seen: Seen) -> set[str]:
    """The bounds that said no, to an alert or to a run that was open."""
    closed = {run.reason.partition(":")[0] for run in seen.runs if run.outcome == Outcome.REFUSED}
    return {str(one.data["bound"]) for one in seen.told if one.what == "refused"} | closed


def _entries(seen: Seen, kind: str) -> Iterator[Mapping[str, object]]:
    for journal in seen.journals.values():
        yield from (entry.data for entry in journal if entry.kind == kind)
