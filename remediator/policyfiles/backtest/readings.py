"""What probes answered in life, so that a backtest need not ask the world: the store's journals.

A reading belongs to a policy, a target and a probe, and only to the question as it was then: where the
probe reads something else now, nothing is known.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from remediator.core.evidence import Reading
from remediator.core.exact import kept
from remediator.core.policy import Policy
from remediator.core.policyset import PolicySet
from remediator.core.run import Run
from remediator.errors import PolicyError
from remediator.policyfiles.backtest.sources import Asks, Span
from remediator.policyfiles.loading import parse_text
from remediator.ports import JournalEntry, RunFilter

NEAR = timedelta(minutes=5)
"""How far from the moment of asking a reading may lie to be its answer."""

_PAGE = 200
_DAY = timedelta(days=1)

Question = tuple[str, str, str]
"""Policy, target, probe."""


class Readings:
    """Recorded answers, by question and time."""

    def __init__(self) -> None:
        self._times: dict[Question, list[datetime]] = defaultdict(list)
        self._answers: dict[tuple[Question, datetime], Reading] = {}

    def __len__(self) -> int:
        return len(self._answers)

    def add(self, question: Question, reading: Reading) -> None:
        """One more answer; its time is ``reading.at``."""
        if (question, reading.at) not in self._answers:
            insort(self._times[question], reading.at)
        self._answers[question, reading.at] = reading

    def near(self, question: Question, at: datetime) -> Reading | None:
        """The answer that lies nearest in time, the earlier of two; None where none is near enough."""
        times = self._times.get(question) or ()
        place = bisect_left(times, at)
        found = min(times[max(0, place - 1) : place + 1], key=lambda one: abs(one - at), default=None)
        if found is None or abs(found - at) > NEAR:
            return None
        return self._answers[question, found]


def recorded(ask: Asks, policies: PolicySet, span: Span) -> Readings:
    """All that the store's journals hold of the probes of these policies."""
    found = Readings()

    @cache
    def then(version: str) -> Policy | None:
        """The policy as it was."""
        text = ask(lambda tx: tx.kept_policy(version))
        try:
            return parse_text(text.text, text.file) if text is not None else None
        except PolicyError:
            return None

    def runs(before: str) -> list[Run]:
        return ask(lambda tx: tx.runs(RunFilter(before=before, limit=_PAGE)))

    def journal(name: str) -> list[JournalEntry]:
        return ask(lambda tx: tx.read_journal(name))

    before = ""
    while page := runs(before):
        for run in page:
            current = policies.by_name.get(run.policy)
            was = then(run.version) if current is not None else None
            if current is not None and was is not None:
                same = {
                    name for name, probe in current.policy.diagnose.items() if was.diagnose.get(name) == probe
                }
                _note(found, run, same, journal(run.id))
        before = page[-1].id
        if span.since is not None and page[-1].opened_at < span.since - _DAY:
            break
    return found


def _note(found: Readings, run: Run, probes: set[str], entries: list[JournalEntry]) -> None:
    for entry in entries:
        if entry.kind == "started":
            return  # from here on the run itself has changed what there is to read
        if entry.kind == "reading" and entry.data.get("probe") in probes:
            found.add((run.policy, run.target, entry.data["probe"]), _reading(entry.at, entry.data))


def _reading(at: datetime, data: dict[str, Any]) -> Reading:
    return Reading(at=at, ok=bool(data["ok"]), value=kept(data["value"]), error=str(data.get("error", "")))
