"""What is told of a whole run of stories: for people, for programs, and as JUnit XML."""

from __future__ import annotations

import json
import re
from xml.sax.saxutils import escape, quoteattr

from remediator.core.counting import counted
from remediator.policyfiles.testing.coverage import KINDS, Coverage
from remediator.policyfiles.testing.running import Report
from remediator.policyfiles.testing.teller import Told
from remediator.policyfiles.testing.telling import failed

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML cannot hold."""


def as_text(report: Report) -> str:
    """Findings, failures, what was not reached, and the sum."""
    parts = [*map(str, report.findings), *(failed(one) for one in report.failed), coverage_table(report)]
    return "\n\n".join(part for part in (*parts, summary(report)) if part)


def summary(report: Report) -> str:
    """One line."""
    wrong = len(report.failed)
    told = f"{counted(len(report.told), 'story', 'stories')}, {wrong} failed"
    problems = f", {counted(len(report.findings), 'problem')} in test files" if report.findings else ""
    untold = f"; {_untold(report)}" if report.findings else ""
    reached = f"; {report.percent:.0f} % of what policies can do was reached" if report.coverage else ""
    return f"{told}{problems}{untold}{reached}; {sum(report.took):.1f} s"


def _untold(report: Report) -> str:
    """What the problems cost: no story of such a file is told, and so nothing can be said of coverage."""
    stories, were = counted(report.untold, "story", "stories"), "was" if report.untold == 1 else "were"
    return f"{stories} of these files {were} not told, and what is reached was not counted"


def coverage_table(report: Report) -> str:
    """Per policy, how much was reached; and by name, what was not."""
    if not report.coverage:
        return ""
    width = max(len("policy"), *map(len, report.coverage))
    head = f"{'policy':<{width}}  " + "".join(f"{kind:>8}" for kind in KINDS) + "  not reached"
    return "\n".join([head, *(_row(one, width) for one in report.coverage.values())])


def _row(one: Coverage, width: int) -> str:
    counts = "".join(
        f"{reached}/{there}".rjust(8) if there else "–".rjust(8) for reached, there in _counts(one)
    )
    missing = "; ".join(
        ", ".join(names) if kind == "cases" else f"{kind.removesuffix('s')} {', '.join(names)}"
        for kind, names in one.missing.items()
    )
    idle = f"never asked, as its cases ask: gate {', '.join(one.idle)}" if one.idle else ""
    return f"{one.policy:<{width}}  {counts}  {'; '.join(filter(None, (missing, idle)))}".rstrip()


def _counts(one: Coverage) -> list[tuple[int, int]]:
    return [one.counts(kind) for kind in KINDS]


def as_json(report: Report) -> str:
    """The same for programs."""
    told = {
        "stories": [
            _story(one) | {"seconds": round(took, 6)}
            for one, took in zip(report.told, report.took, strict=True)
        ],
        "findings": [finding.as_json() for finding in report.findings],
        "coverage": {
            name: {"percent": round(one.percent, 1), "missing": one.missing, "idle": list(one.idle)}
            for name, one in report.coverage.items()
        },
        "failed": len(report.failed),
        "untold": report.untold,
        "percent": round(report.percent, 1) if report.coverage else None,
    }
    return json.dumps(told, indent=2, ensure_ascii=False)


def _story(told: Told) -> dict[str, object]:
    failures = [
        {"where": one.where, "what": one.what, "expected": one.expected, "actual": one.actual}
        for one in told.failures
    ]
    return {
        "policy": told.story.policy.policy.name,
        "name": told.story.name,
        "where": told.story.where("name"),
        "ok": not told.failures,
        "failures": failures,
    }


def as_junit(report: Report) -> str:
    """JUnit XML, one test case for each story; a test file that is wrong is an error."""
    cases = [_case(one, took) for one, took in zip(report.told, report.took, strict=True)]
    for finding in report.findings:
        name, text = _attribute(f"{finding.file}:{finding.line}"), _attribute(str(finding))
        cases.append(f'  <testcase classname="test files" name={name}><error message={text}/></testcase>')
    totals = f'tests="{len(cases)}" failures="{len(report.failed)}" errors="{len(report.findings)}"'
    head = f'<testsuite name="remediator policy test" {totals} time="{sum(report.took):.3f}">'
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', head, *cases, "</testsuite>", ""])


def _case(told: Told, took: float) -> str:
    about = f"classname={_attribute(told.story.policy.policy.name)} name={_attribute(told.story.name)}"
    head = f'  <testcase {about} time="{took:.3f}"'
    if not told.failures:
        return f"{head}/>"
    first = told.failures[0]
    message = _attribute(f"{first.what}: expected {first.expected}, is {first.actual}")
    return f"{head}><failure message={message}>{escape(_printable(failed(told)))}</failure></testcase>"


def _attribute(text: str) -> str:
    return quoteattr(_printable(text))


def _printable(text: str) -> str:
    return _UNPRINTABLE.sub("�", text)
