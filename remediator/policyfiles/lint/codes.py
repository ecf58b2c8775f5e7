"""Every code that the policy tools may say, with its weight, its meaning in a line, and its page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType

from remediator.documents.finding import Severity, nearest
from remediator.errors import PolicyError
from remediator.policyfiles.checks.table import CHECKS
from remediator.policyfiles.lint.across import CROSS_CHECKS
from remediator.policyfiles.lint.linting import UNTESTED


@dataclass(frozen=True)
class Code:
    """One code; it never changes its meaning."""

    code: str
    severity: Severity
    title: str


_OF_FILES: Mapping[str, str] = MappingProxyType(
    {
        "P001": "a file that cannot be read: its bytes, its size, its rights",
        "P002": "a file that is not YAML, or holds no policy",
        "P003": "an anchor, an alias, a tag or a merge key",
        "P004": "a key that is there twice",
        "P005": "maps and lists that are nested too deeply",
        "P006": "a key that is not a text, or a number out of bounds",
        "P010": "an unknown key",
        "P011": "a missing key",
        "P012": "a value of the wrong kind or form",
        "P013": "an expression, template or selector that does not parse",
        "P014": "a name that may not be used: reserved, or of the wrong form",
        "P015": "a policy's name that is taken",
    }
)


def _said(code: str, doc: str | None) -> str:
    """What a check says of itself in its first line, without its code."""
    return (doc or "").partition("\n")[0].removeprefix(f"{code}: ").rstrip(".")


CODES: Mapping[str, Code] = MappingProxyType(
    {
        one.code: one
        for one in (
            *(Code(code, "error", title) for code, title in _OF_FILES.items()),
            *(Code(one.code, one.severity, _said(one.code, one.look.__doc__)) for one in CHECKS),
            Code(UNTESTED, "warning", "a policy that no test names"),
            *(Code(one.code, one.severity, one.title) for one in CROSS_CHECKS),
            Code("T001", "error", "a story that could not fail, or that expects what can never be"),
        )
    }
)


def page(code: str) -> str:
    """The page of a code, in Markdown. Raises PolicyError where there is none."""
    known = CODES.get(code.upper())
    if known is None:
        raise PolicyError("--explain", f"there is no code {code!r}", remedy=nearest(code.upper(), CODES))
    return files("remediator.policyfiles.lint").joinpath("pages", f"{known.code}.md").read_text("utf-8")


def index() -> str:
    """The table of all codes, in Markdown: docs/lint/README.md."""
    pages = "../../remediator/policyfiles/lint/pages"
    rows = [
        f"| [{one.code}]({pages}/{one.code}.md) | {one.severity} | {one.title} |"
        for one in sorted(CODES.values(), key=lambda one: one.code)
    ]
    return "\n".join([_BEFORE, *rows, ""])


_BEFORE = """\
# What the policy tools say

`remediator policy lint` names a code with each finding. A code never changes its meaning. Each page tells
what it means, with a bad example, a good twin, and why it matters; `remediator policy lint --explain P150`
prints it.

| code | weight | what it finds |
|---|---|---|"""
