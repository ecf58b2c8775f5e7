"""``remediator policy test``: the stories beside the policies, told by the real core in virtual time."""

from __future__ import annotations

import argparse
import functools
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remediator.errors import RemediatorError

if TYPE_CHECKING:
    from remediator.core.catalog import Catalog
    from remediator.policyfiles.testing.running import Report

FINE, PROBLEMS, COULD_NOT_RUN = 0, 1, 2
POLL_S = 0.5
MANY = 200
"""From so many stories on, people see how far it has come."""


def add_command(commands: Any) -> None:
    """Add ``test`` to ``policy``."""
    test = commands.add_parser(
        "test",
        help="tell the stories in *.test.yaml, and say where they go otherwise",
        description="Plays the stories of *.test.yaml files by the daemon's own core, in virtual time. It "
        "connects to nothing and needs no secrets. It needs the settings: what these alone refuse, such as a "
        "number above a ceiling, is refused in a story. A story that fails is told with what was "
        "expected, what is, and what happened when. Exit status: 0 fine, 1 a story failed or a test file "
        "is wrong, 2 could not run. How to write stories: docs/testing-policies.md.",
    )
    test.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="folders, test files, or policies")
    test.add_argument("--config", type=Path, default=Path("remediator.yaml"), help="the daemon's settings")
    test.add_argument(
        "-k", dest="words", default="", metavar="WORDS", help="only stories that say these words"
    )
    test.add_argument("--watch", action="store_true", help="tell them again whenever a file changes")
    test.add_argument("--json", action="store_true", help="for programs")
    test.add_argument("--junit", type=Path, metavar="FILE", help="also write JUnit XML there")
    test.add_argument(
        "--cover-all", action="store_true", help="fail unless every case, step, gate and undo is reached"
    )
    test.add_argument(
        "--fail-under",
        type=_percent,
        default=0.0,
        metavar="PERCENT",
        help="fail when less than this is reached",
    )
    test.set_defaults(run=run_test)


def _percent(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text} is no percentage; write 0 to 100")
    return number


def run_test(args: argparse.Namespace) -> int:
    """0: every story went as it says; 1: not so; 2: nothing could be told."""
    try:
        status = _watched(args) if args.watch else _once(args)
    except KeyboardInterrupt:
        return FINE
    except BrokenPipeError:  # whoever read along has heard enough
        raise
    except (RemediatorError, OSError) as error:
        print(error, file=sys.stderr)
        return COULD_NOT_RUN
    return status


def _watched(args: argparse.Namespace) -> int:
    """Until somebody stops it. What is broken for a moment is told, and mended by the next change."""
    while True:
        try:
            _once(args)
        except (RemediatorError, OSError) as error:
            print(error, file=sys.stderr)
        _wait_for_change(args)


def _once(args: argparse.Namespace) -> int:
    from remediator.policyfiles.testing import reports, running

    if args.words and (args.cover_all or args.fail_under):
        print("-k leaves stories out, so what is reached is not known; leave it out, too", file=sys.stderr)
        return COULD_NOT_RUN
    missing = [path for path in args.paths if not path.exists()]
    if missing:
        print(f"{missing[0]}: does not exist; name folders, test files or policies", file=sys.stderr)
        return COULD_NOT_RUN
    catalog, people = _known(args.config)
    suite = running.find(args.paths, catalog, people)
    chosen = suite.about(args.words)
    if not chosen.stories and not suite.findings:
        print(_nothing_to_tell(args, len(suite.stories)), file=sys.stderr)
        return COULD_NOT_RUN
    progress = _Progress(len(chosen.stories))
    report = running.run(chosen, catalog, lambda _told: progress.step())
    progress.end()
    if args.words or suite.findings:  # what the other stories reach is not known
        report.coverage.clear()
    if args.junit is not None:
        _written(args.junit, reports.as_junit(report))
    print(reports.as_json(report) if args.json else reports.as_text(report))
    return PROBLEMS if report.failed or report.findings or _lacking(report, args) else FINE


def _written(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        problem, remedy = f"cannot be written: {error.strerror}", "name a file in a folder that is there"
        raise RemediatorError(str(path), problem, remedy=remedy) from error


def _nothing_to_tell(args: argparse.Namespace, stories: int) -> str:
    there = ", ".join(map(str, args.paths))
    if stories:
        return f"none of {stories} stories in {there} says {args.words!r}; -k takes words of their names"
    return f"no stories in {there}; write some in NAME.test.yaml"


def _lacking(report: Report, args: argparse.Namespace) -> bool:
    wanted = 100.0 if args.cover_all else args.fail_under
    if report.percent >= wanted:
        return False
    print(f"{report.percent:.1f} % was reached, and {wanted:g} % is wanted", file=sys.stderr)
    return True


def _known(config: Path) -> tuple[Catalog, frozenset[str]]:
    from remediator.config_file import load as load_config
    from remediator.connectors import catalog, problems

    settings = load_config(config, check=functools.partial(problems, blind=True), blind=True)
    return catalog(settings, blind=True), frozenset(settings.people)


def _wait_for_change(args: argparse.Namespace) -> None:
    from remediator.policyfiles.testing.running import stamps

    paths = [*args.paths, args.config]
    before = stamps(paths)
    print("waiting for a change …", file=sys.stderr)
    while stamps(paths) == before:
        time.sleep(POLL_S)


class _Progress:
    """A line on the terminal that is gone in the end."""

    def __init__(self, stories: int) -> None:
        self._all = stories
        self._told = 0
        self._shows = stories >= MANY and sys.stderr.isatty()

    def step(self) -> None:
        self._told += 1
        if self._shows and self._told % 50 == 0:
            print(f"\r{self._told} of {self._all} stories", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._shows:
            print("\r" + " " * 40 + "\r", end="", file=sys.stderr, flush=True)
