"""Test files to stories: all that is wrong at once, each with its place.

A story that could not fail, or that expects what can never be, is an error here rather than a green line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from remediator.documents import Document, Finding, nearest, read_file
from remediator.documents.reading import Place
from remediator.policyfiles.checks.uses import Problem
from remediator.policyfiles.loading import LoadedPolicy, model_findings, placed
from remediator.policyfiles.testing.checking import Check
from remediator.policyfiles.testing.models import Test, TestFile
from remediator.policyfiles.testing.naming import Known


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
            problems = list(Check(policy.policy, known).file(file))
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
