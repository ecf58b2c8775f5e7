"""How much processor time a thousand stories take: the shipped ones, told again and again."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice

from bench.figures import Bar, Figure
from remediator.config_file import load
from remediator.connectors import catalog, problems
from remediator.policyfiles.testing.running import find, run
from tests.rig.processes import REPOSITORY

TELL = Bar("s", "at most", 10.0)


def stories(*, quick: bool) -> Iterator[Figure]:
    """Reading and telling so many of them, each a run or several; and how many runs that was."""
    config = REPOSITORY / "examples" / "remediator.yaml"
    settings = load(config, check=functools.partial(problems, blind=True), blind=True)
    known, people = catalog(settings, blind=True), frozenset(settings.people)
    count, taken, runs = 100 if quick else 1000, list[float](), 0
    for _ in range(1 if quick else 3):
        began = time.process_time()
        suite = find([REPOSITORY / "policies"], known, people)
        report = run(replace(suite, stories=tuple(islice(cycle(suite.stories), count))), known)
        taken.append(time.process_time() - began)
        assert not report.failed
        runs = sum(len(one.seen.runs) for one in report.told)
    yield Figure("stories", TELL, runs=taken, baseline=[], more={"stories": count, "runs_of_policies": runs})
