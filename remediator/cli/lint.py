"""``remediator policy lint``: everything that is wrong with policy files, at once; and what a code means."""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path
from typing import Any

from remediator.errors import RemediatorError

FINE, PROBLEMS, COULD_NOT_RUN = 0, 1, 2


def add_command(commands: Any) -> None:
    """Add ``lint`` to ``policy``."""
    lint = commands.add_parser(
        "lint",
        help="find everything that is wrong with policy files",
        description="Reads policies and the names in the config: connections, roles, kinds of targets. It "
        "connects to nothing and needs no secrets: a ${env:…} that is not set is no problem here. Each "
        "finding has its place, its code and a remedy. Exit status: 0 fine, 1 there are errors (with "
        "--strict: or warnings), 2 could not run.",
    )
    lint.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="files and folders")
    lint.add_argument("--config", type=Path, default=Path("remediator.yaml"), help="the daemon's settings")
    lint.add_argument("--strict", action="store_true", help="warnings are problems too; notes are not")
    lint.add_argument(
        "--format",
        choices=("text", "json", "sarif", "github"),
        default="text",
        help="for people, programs, code scanning, or as annotations of a pull request",
    )
    lint.add_argument("--json", action="store_const", const="json", dest="format", help="--format json")
    lint.add_argument("--explain", metavar="CODE", help="print what a code means, with examples, and end")
    lint.set_defaults(run=run_lint)


def run_lint(args: argparse.Namespace) -> int:
    """0: fine, 1: there are errors, 2: the config could not be read."""
    from remediator.policyfiles.lint.codes import page

    if args.explain:
        print(page(args.explain), end="")
        return FINE
    if not args.paths:
        print("no PATH; name files or folders of policies, or a code with --explain", file=sys.stderr)
        return COULD_NOT_RUN
    return _linted(args)


def _linted(args: argparse.Namespace) -> int:
    from remediator.config_file import load as load_config
    from remediator.connectors import catalog, problems
    from remediator.policyfiles.lint.linting import lint
    from remediator.policyfiles.lint.reports import FORMATS
    from remediator.policyfiles.loading import policy_files

    try:
        check = functools.partial(problems, blind=True)
        config = load_config(args.config, check=check, blind=True)
        known = catalog(config, blind=True)
    except (RemediatorError, OSError) as error:
        print(error, file=sys.stderr)
        return COULD_NOT_RUN
    if not any(True for path in args.paths for _ in policy_files(path)):
        print(f"no policies in {', '.join(map(str, args.paths))}", file=sys.stderr)
        return COULD_NOT_RUN
    loaded = lint(args.paths, known, args.config, frozenset(config.people))
    print(FORMATS[args.format](loaded))
    counted = any(finding.severity != "note" for finding in loaded.findings)
    return PROBLEMS if loaded.errors or (args.strict and counted) else FINE
