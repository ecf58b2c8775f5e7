"""Test files to stories: all that is wrong at once, each with its place.

A story that could not fail, or that expects what can never be, is an error here rather than a green line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from remediator.core.catalog import Catalog
from remediator.core.policy import Policy
from remediator.core.run import Outcome, Stage, StepState
from remediator.documents import Document, Finding, nearest, read_file
from remediator.documents.reading import Place
from remediator.policyfiles.loading import LoadedPolicy, model_findings, placed
from remediator.policyfiles.testing import shapes
from remediator.policyfiles.testing.models import (
    GIVEN,
    Expect,
    GateText,
    Line,
    RefusalText,
    Test,
    TestFile,
    listed,
    voters,
)
from remediator.policyfiles.uses import Problem

BOUNDS = frozenset(
    {"at_once", "breaker", "budget", "changed", "cooldown", "deadline", "debounce", "expression", "fresh"}
    | {"gate", "halt", "held", "observe", "params", "per_policy", "per_target", "policy", "preview", "probe"}
    | {"recheck", "target", "undo", "windows"}
)
"""What may refuse."""

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
        "relisted",
        "repeated",
        "resolved",
        "sent-again",
        "settled",
        "skipped",
    }
    | {
        "started",
        "stepped-down",
        "turned-away",
        "undo-failed",
        "undo-started",
        "undo-waits",
        "undone",
        "unknown",
        "unverified",
        "verified",
    }
    | {"vote", "vote-refused", "would"}
)
"""Lines of a journal after which a story may crash."""

CRASH = re.compile(r"now|after ([a-z-]+)(?: ([a-z][a-z0-9_]*))?")


@dataclass(frozen=True)
class Story:
    """One test, with the policy that it is about and the place where it stands."""

    test: Test
    file: TestFile
    document: Document
    place: Place
    policy: LoadedPolicy

    @property
    def name(self) -> str:
        """As people know it."""
        return self.test.name

    def written(self, *more: str | int) -> list[str]:
        """The keys of a map in it, in the order in which they are written."""
        value = self.document.value
        for part in (*self.place, *more):
            value = value[part]
        return list(value)

    def where(self, *more: str | int) -> str:
        """``file:line:col`` of a part of it."""
        at = self.document.position((*self.place, *more), key=True)
        return f"{self.document.file}:{at.line}:{at.col}"


@dataclass(frozen=True)
class Known:
    """What stories may name beside their policy: what the config has."""

    catalog: Catalog
    people: frozenset[str]


def stories(
    path: Path, policies: Mapping[str, LoadedPolicy], names: Callable[[], set[str]], known: Known
) -> tuple[list[Story], list[Finding]]:
    """The stories of a file, or what is wrong with it.

    policies: those that may run, by name; names: those of all that were found, whatever is wrong with them.
    """
    documents, findings = read_file(path)
    told: list[Story] = []
    for document in documents:
        try:
            file = TestFile.model_validate(document.value)
        except ValidationError as error:
            findings += model_findings(document, error, TestFile)
            continue
        problems = list(_nameless(file, policies, names))
        if not problems:
            policy = policies[file.policy]
            problems = list(_Check(policy.policy, known).file(file))
            told += [
                Story(test, file, document, ("tests", number), policy)
                for number, test in enumerate(file.tests)
            ]
        findings += [placed(document, "T001", "error", problem) for problem in problems]
    if not documents and not findings:
        findings.append(Finding(str(path), 1, 1, "P002", "error", "there is no story in this file"))
    return ([] if findings else told), findings


def _nameless(
    file: TestFile, policies: Mapping[str, LoadedPolicy], names: Callable[[], set[str]]
) -> Iterator[Problem]:
    if file.policy in policies:
        return
    there = names()
    if file.policy in there:
        yield Problem(("policy",), f"the policy {file.policy} has errors", "see: remediator policy lint")
    else:
        yield Problem(("policy",), f"there is no policy {file.policy!r} here", nearest(file.policy, there))


class _Check:
    """What a story may name, and what it must."""

    def __init__(self, policy: Policy, known: Known) -> None:
        self._policy = policy
        self._catalog = known.catalog
        self._people = known.people
        self._probes = shapes.probes(policy)
        undone = {f"{name}.undo" for name, step in policy.steps.items() if step.undo and not step.undo.none}
        self._acts = set(policy.steps) | undone

    def file(self, file: TestFile) -> Iterator[Problem]:
        yield from self._given(file.given, ("given",))
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
        if test.started_by is not None:
            yield from self._person(test.started_by, (*place, "started_by"))
        if test.expect is None and not any(line.expect for line in test.story):
            yield Problem(
                (*place, "name"), "this story expects nothing, so it cannot fail", "write expect: {…}"
            )
        yield from self._given(test.given, (*place, "given"))
        if test.expect is not None:
            yield from self._expect(test.expect, (*place, "expect"))
        last = None
        for number, line in enumerate(test.story):
            there: Place = (*place, "story", number)
            if line.at is not None and last is not None and line.at < last:
                yield Problem((*there, "at"), "time does not go back", "times are counted from the start")
            last = line.at if line.at is not None else last
            yield from self._line(line, there)

    def _line(self, line: Line, place: Place) -> Iterator[Problem]:
        if not line.model_fields_set:
            yield Problem(place, "nothing happens on this line", "take it out")
        yield from self._readings(line.reading, (*place, "reading"))
        yield from self._names(line.result, self._acts, "step", (*place, "result"))
        yield from self._names(line.preview, self._policy.steps, "step", (*place, "preview"))
        for name in line.preview:
            yield from self._previewed(name, (*place, "preview", name))
        for name, picture in line.preview.items():
            if picture.error and picture.model_fields_set != {"error"}:
                yield Problem(
                    (*place, "preview", name), "a preview that fails shows nothing", "keep error alone"
                )
        for crash in listed(line.crash):
            yield from self._crash(crash, (*place, "crash"))
        for key in ("approve", "deny"):
            for vote in voters(getattr(line, key)):
                if vote.counts:
                    yield from self._person(vote.by, (*place, key))
        if line.start is not None:
            yield from self._person(line.start.by, (*place, "start", "by"))
        if line.expect is not None:
            yield from self._expect(line.expect, (*place, "expect"))

    def _previewed(self, name: str, place: Place) -> Iterator[Problem]:
        """What is never previewed has no picture."""
        step = self._policy.steps.get(shapes.whole(name))
        operation = self._catalog.operations.get(step.use) if step is not None else None
        if operation is not None and not operation.previews:
            yield Problem(place, f"{operation.name} is never previewed", "leave it out", on_key=True)

    def _crash(self, text: str, place: Place) -> Iterator[Problem]:
        found = CRASH.fullmatch(text)
        if found is None:
            yield Problem(place, f"{text!r} is no moment to crash at", "write now, or: after started")
        elif found[1] and found[1] not in KINDS:
            yield Problem(place, f"no journal says {found[1]!r}", nearest(found[1], KINDS))
        elif found[2]:
            yield from self._names([found[2]], self._policy.steps, "step", place)

    def _person(self, name: str, place: Place) -> Iterator[Problem]:
        if name not in self._people:
            yield Problem(place, f"the config knows nobody called {name!r}", nearest(name, self._people))

    def _names(
        self, written: Iterable[str], known: Iterable[str], what: str, place: Place
    ) -> Iterator[Problem]:
        known = set(known)
        for number, name in enumerate(written):
            if shapes.whole(name) not in known:
                keyed = isinstance(written, Mapping)
                there = (*place, name) if keyed else (*place, number) if isinstance(written, list) else place
                yield Problem(there, f"the policy has no {what} {name!r}", nearest(name, known), on_key=keyed)

    def _given(self, given: Mapping[str, Any], place: Place) -> Iterator[Problem]:
        """Readings by the names of probes; what steps come to by STEP.result and STEP.preview."""
        readings = dict(given)
        for name, value in given.items():
            step, _, what = name.rpartition(".")
            if what not in GIVEN:
                continue
            del readings[name]
            known = self._acts if what == "result" else set(self._policy.steps)
            ends = {f"{one}.{what}" for one in known}
            if shapes.whole(name) not in ends:
                problem = f"the policy has no step {step!r}"
                yield Problem((*place, name), problem, nearest(name, ends), on_key=True)
            if what == "preview":
                yield from self._previewed(step, (*place, name))
            try:
                GIVEN[what].validate_python(value)
            except ValidationError:
                remedy = "write it as on a line of the story, such as refused or {refused: why}"
                yield Problem((*place, name), f"this is no {what}", remedy)
        yield from self._readings(readings, place)

    def _readings(self, readings: Mapping[str, Any], place: Place) -> Iterator[Problem]:
        yield from self._names(readings, self._probes, "probe", place)
        for name, value in readings.items():
            probe = self._probes.get(shapes.whole(name))
            names = shapes.reads(self._catalog, probe.use or "") if probe is not None else ()
            if not names:
                continue
            if not isinstance(value, dict):
                if "value" not in names or isinstance(value, list | str):
                    problem = f"this is not what {probe.use if probe else ''} reads"
                    yield Problem((*place, name), problem, f"write a map of {', '.join(names)}")
                continue
            if "series" in names:
                yield from self._numbers(value, (*place, name))
            if "status" in names and not isinstance(value.get("status", 200), int):
                yield Problem((*place, name, "status"), "a status is a number", "write it as 503")
            for key in value:
                if key not in {*names, "error", "ok"}:
                    problem = f"{probe.use if probe else ''} reads no {key!r}"
                    yield Problem((*place, name, key), problem, nearest(key, names), on_key=True)

    def _numbers(self, value: Mapping[str, Any], place: Place) -> Iterator[Problem]:
        """Prometheus' values are numbers, and NaN is none: its connector refuses it."""
        series = value.get("series")
        many = [(number, one) for number, one in enumerate(series)] if isinstance(series, list) else []
        read: list[tuple[Place, Any]] = [(("value",), value.get("value"))]
        read += [
            (("series", number, "value"), one.get("value")) for number, one in many if isinstance(one, dict)
        ]
        for there, one in read:
            if one is not None and (isinstance(one, bool) or not isinstance(one, int | float)):
                remedy = "write a number; what cannot be read is {error: why}"
                yield Problem((*place, *there), f"prometheus.query reads no {one!r}"[:80], remedy)

    # ── Expectations ──────────────────────────────────────────────────────────────────────────────

    def _expect(self, expect: Expect, place: Place) -> Iterator[Problem]:
        if not expect.model_fields_set - {"run"}:
            yield Problem(place, "this expects nothing", "say what should be so")
        steps = self._policy.steps
        yield from self._word(expect.outcome, {"open", *map(str, Outcome)}, (*place, "outcome"))
        yield from self._word(expect.stage, set(map(str, Stage)), (*place, "stage"))
        for key in ("started", "order", "would", "undone", "held", "args", "steps"):
            written = getattr(expect, key)
            if written is not None:
                many = [written] if isinstance(written, str) else written
                yield from self._names(many, steps, "step", (*place, key))
        for name, state in (expect.steps or {}).items():
            yield from self._word(state, self._states(name), (*place, "steps", name))
        for key in ("undone", "held"):
            yield from self._undoes(getattr(expect, key) or [], (*place, key))
        for name, args in (expect.args or {}).items():
            step = steps.get(shapes.whole(name))
            if step is None:
                continue
            if isinstance(args, dict):
                yield from self._arguments(args, set(step.with_), (*place, "args", name))
            elif "args" not in step.with_:
                problem = f"{name} has no args; write its arguments by name"
                yield Problem((*place, "args", name), problem, f"known: {', '.join(step.with_)}")
        if isinstance(expect.gate, GateText):
            yield from self._gate(expect.gate, (*place, "gate"))
        if isinstance(expect.case, int) and not 1 <= expect.case <= len(self._policy.decide):
            yield Problem(
                (*place, "case"), f"the policy has {len(self._policy.decide)} cases", "count from 1"
            )
        bound = expect.refused.bound if isinstance(expect.refused, RefusalText) else expect.refused
        yield from self._word(bound, BOUNDS | {"none"}, (*place, "refused"))

    def _states(self, name: str) -> set[str]:
        """How a step can stand: without a proof it is never proved, without an undo never undone."""
        states, step = set(map(str, StepState)), self._policy.steps.get(shapes.whole(name))
        if step is not None and f"{shapes.whole(name)}.verify" not in self._probes:
            states -= {"verified", "unverified"}
        if step is not None and f"{shapes.whole(name)}.undo" not in self._acts:
            states -= {"undone"}
        return states

    def _undoes(self, names: str | Iterable[str], place: Place) -> Iterator[Problem]:
        for name in [names] if isinstance(names, str) else names:
            whole = shapes.whole(name)
            if whole in self._policy.steps and f"{whole}.undo" not in self._acts:
                yield Problem(place, f"{name} has no undo: it can never be {place[-1]}", "leave it out")

    def _arguments(self, args: Mapping[str, Any], known: set[str], place: Place) -> Iterator[Problem]:
        for name in args:
            if name not in known:
                problem = f"the step has no argument {name!r}"
                yield Problem((*place, name), problem, nearest(name, known), on_key=True)

    def _gate(self, gate: GateText, place: Place) -> Iterator[Problem]:
        yield from self._names(gate.steps or [], self._policy.steps, "step", (*place, "steps"))
        for role in gate.votes or {}:
            if role not in self._catalog.roles:
                problem = f"the config has no role {role!r}"
                yield Problem(
                    (*place, "votes", role), problem, nearest(role, self._catalog.roles), on_key=True
                )

    def _word(self, word: str | None, known: set[str] | frozenset[str], place: Place) -> Iterator[Problem]:
        if word is not None and word not in known:
            yield Problem(place, f"{word!r} can never be", nearest(word, known))
