"""Findings for their readers: people, programs, code scanning (SARIF 2.1.0) and GitHub's annotations."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from remediator.core.counting import counted
from remediator.core.letters import plainly
from remediator.documents.finding import Finding
from remediator.policyfiles.lint.codes import CODES, page
from remediator.policyfiles.loading import Loaded


def as_text(loaded: Loaded) -> str:
    """A line for each finding, with everything that hides spelled out; and a summary."""
    return "\n".join([*(plainly(str(finding)) for finding in loaded.findings), _summary(loaded)])


def as_json(loaded: Loaded) -> str:
    """Findings, and policies without errors. No versions: they depend on settings that lint cannot see."""
    told = {
        "findings": [finding.as_json() for finding in loaded.findings],
        "policies": [{"policy": one.policy.name, "file": one.file} for one in loaded.policies],
    }
    return _dumped(told)


def as_github(loaded: Loaded) -> str:
    """Workflow commands: GitHub shows each at its line of the pull request."""
    return "\n".join([*map(_command, loaded.findings), _summary(loaded)])


def as_sarif(loaded: Loaded) -> str:
    """SARIF 2.1.0, as GitHub's code scanning and editors read it; every rule with its page."""
    said = sorted({finding.code for finding in loaded.findings})
    driver = {"name": "remediator policy lint", "rules": [_rule(code) for code in said]}
    results = [_result(finding, said.index(finding.code)) for finding in loaded.findings]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return _dumped({"$schema": schema, "version": "2.1.0", "runs": [run]})


FORMATS: Mapping[str, Callable[[Loaded], str]] = MappingProxyType(
    {"text": as_text, "json": as_json, "sarif": as_sarif, "github": as_github}
)


def _summary(loaded: Loaded) -> str:
    errors = len(loaded.errors)
    notes = sum(finding.severity == "note" for finding in loaded.findings)
    warnings = len(loaded.findings) - errors - notes
    summary = f"{counted(len(loaded.policies), 'policy', 'policies')} without errors; "
    summary += f"{counted(errors, 'error')}, {counted(warnings, 'warning')}"
    return summary + (f", {counted(notes, 'note')}" if notes else "")


def _dumped(told: Any) -> str:
    """As JSON that any stream can carry: half a character (a surrogate) becomes JSON's own escape of it."""
    return json.dumps(told, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


# ── GitHub ──────────────────────────────────────────────────────────────────────────────────────


def _command(finding: Finding) -> str:
    """``::error file=…,line=…::message``, escaped as GitHub's own toolkit does."""
    where = {"file": finding.file, "line": finding.line, "col": finding.col, "title": finding.code}
    told = ",".join(f"{key}={_property(str(value))}" for key, value in where.items())
    level = "notice" if finding.severity == "note" else finding.severity
    return plainly(f"::{level} {told}::{_data(_words(finding))}")


def _words(finding: Finding) -> str:
    return f"{finding.message}; {finding.remedy}" if finding.remedy else finding.message


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


# ── SARIF ───────────────────────────────────────────────────────────────────────────────────────


def _rule(code: str) -> dict[str, Any]:
    one = CODES[code]
    return {
        "id": code,
        "shortDescription": {"text": one.title},
        "help": {"text": one.title, "markdown": page(code)},
        "defaultConfiguration": {"level": one.severity},
    }


def _result(finding: Finding, rule: int) -> dict[str, Any]:
    place = {
        "artifactLocation": {"uri": _uri(finding.file)},
        "region": {"startLine": finding.line, "startColumn": finding.col},
    }
    return {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": finding.severity,
        "message": {"text": _words(finding)},
        "locations": [{"physicalLocation": place}],
    }


def _uri(file: str) -> str:
    """Relative to the working directory where it lies below it: so code scanning finds it."""
    path = Path(file)
    if path.is_absolute():
        here = Path.cwd()
        return quote(os.fsencode(path.relative_to(here))) if path.is_relative_to(here) else path.as_uri()
    return quote(os.fsencode(path))
