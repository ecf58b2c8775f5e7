"""The command line. One module per group of commands; each is thin and imports what it needs late."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from remediator.errors import RemediatorError

FINE, PROBLEMS, COULD_NOT_RUN = 0, 1, 2

EPILOG = """\
Exit status: 0 fine, 1 found problems, 2 could not run.

Commands that talk to a running daemon find it by --url or REMEDIATOR_URL (by default the address in
remediator.yaml) and show who you are with the token in REMEDIATOR_TOKEN.
"""


def parser() -> argparse.ArgumentParser:
    """All commands."""
    from remediator.cli import audit, db, demo, examples, gates, halts, pages, policy, runs, serve

    top = argparse.ArgumentParser(
        prog="remediator",
        description="Lets alerts fix production safely: policies, bounds, approvals, proof, undo.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"remediator {_version()}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for group in (serve, demo, policy, runs, gates, halts, pages, audit, db):
        group.add_commands(commands)
    examples.teach(top)
    return top


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("remediator")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    args = parser().parse_args(argv)
    try:
        status = args.run(args)
    except RemediatorError as error:
        print(error, file=sys.stderr)
        return COULD_NOT_RUN
    except BrokenPipeError:
        return FINE
    except KeyboardInterrupt:
        return 130
    return int(status)
