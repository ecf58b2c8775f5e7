"""What is wrong with a test file that is well formed: names that do not exist, stories that cannot fail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from remediator.core.policy import Policy
from remediator.documents import nearest
from remediator.documents.reading import Place
from remediator.policyfiles.checks.uses import Problem
from remediator.policyfiles.testing.expecting import Expectations
from remediator.policyfiles.testing.givens import Givens, pictured
from remediator.policyfiles.testing.models import HaltText, Line, Test, TestFile, listed, voters
from remediator.policyfiles.testing.naming import Known, Names, blanks, named

KINDS = frozenset(
    {"asking", "before", "closed", "decided", "early", "finished", "firing", "found-out", "fresh"}
    | {
        "gate-approved",
        "gate-expired",
        "gate-opened",
        "gate-void",
        "holding",
        "inquiring",
        "joined",
        "marked",
    }
    | {
        "opened",
        "paged",
        "previewed",
        "proof",
        "reading",
        "repeated",
        "resolved",
        "sent-again",
        "settled",
        "skipped",
    }
    | {
        "started",
        "stepped-down",
        "still",
        "turned-away",
        "undo-failed",
        "undo-needless",
        "undo-put-off",
        "undo-started",
        "undo-waits",
        "undone",
        "unknown",
        "unverified",
        "verified",
    }
    | {"late-result", "settle-refused", "settling", "vote", "vote-refused", "would"}
)
"""Lines of a journal after which a story may crash."""

CRASH = re.compile(r"now|after ([a-z-]+)(?: ([a-z][a-z0-9_]*(?:\[[0-9]+\])?))?")
SCOPES = re.compile(r"all|policy|target|policy:.+|target:.+")
LONGEST = timedelta(days=400)
"""How long a story may last."""
YEARS = range(1990, 2101)
"""In which a story may begin: before and behind it there is time enough."""


class Check:
    """What a story may name, and what it must."""

    def __init__(self, policy: Policy, known: Known) -> None:
        self._names = Names(policy, known)
        self._givens = Givens(self._names)
        self._expected = Expectations(self._names)

    def file(self, file: TestFile) -> Iterator[Problem]:
        """All that is wrong with it."""
        yield from blanks(file, ())
        yield from self._givens.given(file.given, ("given",))
        yield from _begins(file.starts, ("starts",))
        names: set[str] = set()
        for number, test in enumerate(file.tests):
            place: Place = ("tests", number)
            if test.name in names:
                yield Problem((*place, "name"), "another story has this name", "give each its own")
            names.add(test.name)
            yield from self._test(test, place)

    def _test(self, test: Test, place: Place) -> Iterator[Problem]:
        openers = [test.alert, test.started_by, *(line.fires or line.start for line in test.story)]
        if (test.alert and test.started_by) or not any(openers):
            remedy = "write one of them, or fires: or start: on a line of the story"
            yield Problem(place, "a story begins with either alert or started_by", remedy)
        if test.alert is not None and test.params:
            yield Problem(
                (*place, "params"), "an alert brings its own params", "put them into its labels", on_key=True
            )
        if test.starts is not None:
            yield from _begins(test.starts, (*place, "starts"))
        if test.started_by is not None:
            yield from self._names.person(test.started_by, (*place, "started_by"))
        if test.expect is None and not any(line.expect for line in test.story):
            yield Problem(
                (*place, "name"), "this story expects nothing, so it cannot fail", "write expect: {…}"
            )
        yield from self._givens.given(test.given, (*place, "given"))
        if test.expect is not None:
            yield from self._expected.expect(test.expect, (*place, "expect"))
        last = None
        for number, line in enumerate(test.story):
            there: Place = (*place, "story", number)
            if line.at is not None and last is not None and line.at < last:
                yield Problem((*there, "at"), "time does not go back", "times are counted from the start")
            if line.at is not None and line.at > LONGEST:
                yield Problem((*there, "at"), "this is too long for a story", "end it within 400 days")
            last = line.at if line.at is not None else last
            yield from self._line(line, there)

    def _line(self, line: Line, place: Place) -> Iterator[Problem]:
        if not line.model_fields_set:
            yield Problem(place, "nothing happens on this line", "take it out")
        for key in ("reading", "result", "preview", "crash", "policy_changes", "approve", "deny"):
            if key in line.model_fields_set and not getattr(line, key):
                yield Problem(
                    (*place, key), "nothing happens by this", "say what does, or take it out", on_key=True
                )
        yield from self._givens.readings(line.reading, (*place, "reading"))
        yield from named(line.result, self._names.acts, "step", (*place, "result"))
        yield from self._names.steps(line.preview, (*place, "preview"))
        for name in line.preview:
            yield from self._givens.previewed(name, (*place, "preview", name))
        for name, picture in line.preview.items():
            yield from pictured(picture, (*place, "preview", name))
        for crash in listed(line.crash):
            yield from self._crash(crash, (*place, "crash"))
        for key in ("approve", "deny"):
            for vote in voters(getattr(line, key)):
                if vote.counts:
                    yield from self._names.person(vote.by, (*place, key))
        scope = line.halt.scope if isinstance(line.halt, HaltText) else line.halt
        if scope is not None and not SCOPES.fullmatch(scope):
            remedy = "write all, policy, target, policy:NAME or target:KIND/ID"
            yield Problem((*place, "halt"), f"{scope!r} is nothing that can be halted", remedy)
        if line.start is not None:
            yield from self._names.person(line.start.by, (*place, "start", "by"))
        if line.expect is not None:
            yield from self._expected.expect(line.expect, (*place, "expect"))

    def _crash(self, text: str, place: Place) -> Iterator[Problem]:
        found = CRASH.fullmatch(text)
        if found is None:
            yield Problem(place, f"{text!r} is no moment to crash at", "write now, or: after started")
        elif found[1] and found[1] not in KINDS:
            yield Problem(place, f"no journal says {found[1]!r}", nearest(found[1], KINDS))
        elif found[2]:
            yield from self._names.steps([found[2]], place)


def _begins(at: datetime, place: Place) -> Iterator[Problem]:
    if at.year not in YEARS:
        yield Problem(place, f"no story begins in the year {at.year}", "write 2026-03-02T09:00:00Z")
