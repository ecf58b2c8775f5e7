"""How much processor time a thousand stories take: the shipped ones, and holds of hours among them."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path

from bench.figures import Bar, Figure
from remediator.config_file import load
from remediator.connectors import catalog, problems
from remediator.policyfiles.testing.running import find, run
from tests.policyfiles.testing.stage import HEAD, PAUSE, story
from tests.rig.processes import REPOSITORY

TELL = Bar("s", "at most", 10.0)
ONE_HOLD_IN = 50
"""Of so many stories one holds for two hours, and reads all the while whether it may end: 240 times."""

PROBE = "{use: prometheus.query, via: prometheus, with: {query: late}, until: verify.value < 0.5, for: 5m}"
HOLDS = PAUSE.replace("      after: 12h\n", f"      after: 2h\n      early:\n        - {PROBE}\n")
HELD = HEAD.replace("tests:", "  pause.early: 0.9\ntests:") + story("""
    - {approve: bob, expect: {started: pause}}
    - {at: 1m, resolves: all}
    - {at: 3h, expect: {undone: pause, outcome: fixed}}
""")


def stories(*, quick: bool) -> Iterator[Figure]:
    """Reading and telling so many of them, each a run or several; and how many runs that was."""
    config = REPOSITORY / "examples" / "remediator.yaml"
    settings = load(config, check=functools.partial(problems, blind=True), blind=True)
    known, people = catalog(settings, blind=True), frozenset(settings.people)
    count, taken, runs = 100 if quick else 1000, list[float](), 0
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "holds.yaml").write_text(HOLDS)
        (Path(folder) / "holds.test.yaml").write_text(HELD)
        for _ in range(1 if quick else 3):
            began = time.process_time()
            suite = find([REPOSITORY / "policies", Path(folder)], known, people)
            (held,) = (one for one in suite.stories if one.policy.policy.name == "pause-campaign")
            shipped = cycle(one for one in suite.stories if one is not held)
            told = [next(shipped) if number % ONE_HOLD_IN else held for number in range(count)]
            report = run(replace(suite, stories=tuple(told)), known)
            taken.append(time.process_time() - began)
            assert not report.failed
            runs = sum(len(one.seen.runs) for one in report.told)
    more = {"stories": count, "runs_of_policies": runs, "holds_of_two_hours": count // ONE_HOLD_IN}
    yield Figure("stories", TELL, runs=taken, baseline=[], more=more)
