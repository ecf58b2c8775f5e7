"""Everything that reviewers want to know: what loading finds, and what shows only across files.

Called by `policy lint`. The daemon loads without it: a missing test stops nobody at night.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from remediator.core.catalog import Catalog
from remediator.documents.finding import Finding
from remediator.documents.reading import read_file
from remediator.policyfiles.checks.uses import Problem
from remediator.policyfiles.lint.across import across
from remediator.policyfiles.loading import Loaded, is_stories, load, placed, policy_files
from remediator.policyfiles.testing.running import find

UNTESTED = "P170"


def lint(
    paths: Iterable[Path],
    catalog: Catalog,
    settings: Path | None = None,
    people: frozenset[str] = frozenset(),
) -> Loaded:
    """The policies of these files and folders, with every finding. Asks nothing of any network.

    settings: the config, which is no policy where it lies in one of the folders. A file of stories that is
    named itself is judged as such; people: whom its stories may name.
    """
    paths = list(paths)
    other = os.path.realpath(settings) if settings else ""
    files = [
        file
        for path in paths
        for file in policy_files(path)
        if not is_stories(file) and (file == path or os.path.realpath(file) != other)
    ]
    loaded = load(files, catalog)
    told = find([path for path in paths if is_stories(path)], catalog, people).findings
    findings = {*loaded.findings, *_across(loaded, catalog), *_untested(loaded), *told}
    return replace(loaded, findings=tuple(sorted(findings)))


def _across(loaded: Loaded, catalog: Catalog) -> Iterator[Finding]:
    for number, check, problem in across([one.policy for one in loaded.policies], catalog):
        yield placed(loaded.policies[number].document, check.code, check.severity, problem)


def _untested(loaded: Loaded) -> Iterator[Finding]:
    """P170: a policy that no test beside it names; and test files that cannot be read."""
    tested: dict[Path, set[str]] = {}
    for one in loaded.policies:
        folder = Path(one.file).parent
        if folder not in tested:
            tested[folder] = set()
            for file in sorted((*folder.glob("*.test.yaml"), *folder.glob("*.test.yml"))):
                names, findings = _tested(file)
                tested[folder] |= names
                yield from findings
        if one.policy.name not in tested[folder]:
            remedy = "write a story in a *.test.yaml beside it"
            problem = Problem(("policy",), f"no test names {one.policy.name}", remedy)
            yield placed(one.document, UNTESTED, "warning", problem)


def _tested(file: Path) -> tuple[set[str], list[Finding]]:
    """The policies that a test file has stories of."""
    documents, findings = read_file(file)
    values = [one.value for one in documents if isinstance(one.value, dict)]
    return {str(one.get("policy")) for one in values if one.get("tests")}, findings
