"""All stories of some files and folders: found, told, counted. What ``remediator policy test`` does."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from remediator.core.catalog import Catalog
from remediator.core.policyset import PolicySet
from remediator.documents import Finding, read_file
from remediator.policyfiles.loading import LoadedPolicy, load, policy_files
from remediator.policyfiles.testing.coverage import Coverage, percent
from remediator.policyfiles.testing.naming import Known
from remediator.policyfiles.testing.reading import Story, stories
from remediator.policyfiles.testing.scene import running
from remediator.policyfiles.testing.teller import Teller, Told

ENDINGS = (".test.yaml", ".test.yml")


@dataclass(frozen=True)
class Suite:
    """What there is to tell: the stories that are whole, and what is wrong with the others."""

    stories: tuple[Story, ...]
    policies: tuple[LoadedPolicy, ...]
    findings: tuple[Finding, ...]
    files: tuple[Path, ...]
    untold: int = 0  # stories in files that are wrong

    def about(self, words: str) -> Suite:
        """Only the stories that say all of these words, in their name or their policy's."""
        wanted = words.lower().split()
        chosen = (
            story
            for story in self.stories
            if all(word in f"{story.policy.policy.name} {story.name}".lower() for word in wanted)
        )
        return Suite(tuple(chosen), self.policies, self.findings, self.files, self.untold)


@dataclass
class Report:
    """How it went."""

    told: list[Told] = field(default_factory=list)
    took: list[float] = field(default_factory=list)  # seconds, beside each story
    coverage: dict[str, Coverage] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    untold: int = 0

    @property
    def failed(self) -> list[Told]:
        """The stories that went otherwise."""
        return [one for one in self.told if one.failures]

    @property
    def percent(self) -> float:
        """How much of all the policies some story reached."""
        return percent(self.coverage.values())


def find(paths: Sequence[Path], catalog: Catalog, people: frozenset[str]) -> Suite:
    """The stories of these files and folders, with the policies that are meant."""
    files = list(dict.fromkeys(file for path in paths for file in _test_files(path)))
    folders = _folders(list(paths), files)
    loaded = load(folders, catalog)
    policies = {one.policy.name: one for one in loaded.policies}
    told: list[Story] = []
    findings: list[Finding] = []
    untold = 0
    for file in files:
        some, wrong = stories(file, policies, lambda: _names(folders), Known(catalog, people))
        told += some
        findings += wrong
        untold += _written(file) if wrong else 0
    meant = tuple(one for one in loaded.policies if _is_meant(one, paths, told))
    return Suite(tuple(told), meant, tuple(sorted(findings)), tuple(files), untold)


def _is_meant(policy: LoadedPolicy, paths: Iterable[Path], told: Iterable[Story]) -> bool:
    """Is it asked what is reached of it? It is named, by itself or by its folder, or a story is about it."""
    file = Path(policy.file)
    named = any(file.is_relative_to(path) if path.is_dir() else file == path for path in paths)
    return named or any(story.policy is policy for story in told)


def _test_files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        if path.name.endswith(ENDINGS) or not path.exists():
            yield path
        else:  # a policy: the stories that lie beside it
            yield from (
                path.with_name(path.stem + end) for end in ENDINGS if path.with_name(path.stem + end).exists()
            )
        return
    for file in sorted(path.rglob("*.test.y*ml")):
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        if file.name.endswith(ENDINGS) and not hidden and (file.is_symlink() or file.is_file()):
            yield file


def _folders(paths: list[Path], files: list[Path]) -> list[Path]:
    """Where the policies are: in the folders that are named, and in those in which the tests lie."""
    folders = [path for path in paths if path.is_dir()]
    beside = {file.parent for file in files if not any(file.is_relative_to(one) for one in folders)}
    return [*folders, *(one for one in sorted(beside) if one.is_dir())]


def _names(paths: Iterable[Path]) -> set[str]:
    """Of policies that have errors, too: a test that names one is not mistaken about its name."""
    names: set[str] = set()
    for file in (file for path in paths for file in policy_files(path)):
        documents, _ = read_file(file)
        names |= {str(one.value.get("policy")) for one in documents if isinstance(one.value, dict)}
    return names


def _written(file: Path) -> int:
    """How many stories stand in a file that is wrong, as far as that can be told."""
    tests = [
        document.value.get("tests") for document in read_file(file)[0] if isinstance(document.value, dict)
    ]
    return sum(len(one) for one in tests if isinstance(one, list))


def run(suite: Suite, catalog: Catalog, then: Callable[[Told], None] = lambda _told: None) -> Report:
    """Tell them all. ``then``: called after each."""
    report = Report(findings=suite.findings, untold=suite.untold)
    sets: dict[str, PolicySet] = {}
    for policy in suite.policies:
        report.coverage[policy.policy.name] = Coverage.of(policy.policy, catalog)
    with _undisturbed():
        for story in suite.stories:
            began = time.perf_counter()
            name = story.policy.policy.name
            alone = sets.setdefault(name, running(story.policy, catalog))
            told = Teller(story, catalog, alone).tell()
            report.coverage[name].add(story.policy.policy, told.seen)
            report.told.append(told)
            report.took.append(time.perf_counter() - began)
            then(told)
    return report


@contextmanager
def _undisturbed() -> Iterator[None]:
    """What is loaded by now is no garbage, and the crashes of a story are nobody's worry."""
    log = logging.getLogger("remediator.engine")
    level = log.level
    log.setLevel(logging.CRITICAL)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        log.setLevel(level)


def stamps(paths: Iterable[Path]) -> dict[Path, int]:
    """When each YAML file of these was last changed, in nanoseconds."""
    files = (file for path in paths for file in (path.rglob("*.y*ml") if path.is_dir() else [path]))
    return {file: file.stat().st_mtime_ns for file in files if file.is_file()}
