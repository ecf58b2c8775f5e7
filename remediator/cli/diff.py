"""``remediator policy diff``: what a pull request changes, in words, and whether it loosens anything."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from remediator.cli.backtest import add_source, has_source, player, settings
from remediator.errors import RemediatorError

FINE, LOOSENED, COULD_NOT_RUN = 0, 1, 2
WHAT = """\
Compares the policies in the work tree, and the settings, with what stood at a git ref, by what they
mean: comments, order and layout do not count. Prints a comment for a pull request, what was loosened
first. A change whose direction cannot be computed, such as another pattern, counts as loosened.

With recorded alerts (--from-file and the like) both sets are played, and it says what would have been
otherwise.

Exit status: 0 nothing was loosened, or a note says why; 1 a bound, gate, proof or undo was loosened, or
what decides whether anything is done changed and cannot be shown to be tighter, and no
`allow-loosening: "why"` that this very change adds or rewrites stands in the policy (for the settings:
in remediator.yaml); 2 could not run. A note has ten letters or more, and other words than any
that stood at the base or at the merge base.
"""


def add_command(commands: Any) -> None:
    """Add ``diff`` to ``policy``."""
    diff = commands.add_parser(
        "diff",
        help="what changed since a git ref, in words, as a comment for a pull request",
        description=WHAT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    diff.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="files and folders of policies")
    diff.add_argument("--base", required=True, metavar="GITREF", help="what to compare with: origin/main")
    diff.add_argument("--config", type=Path, default=Path("remediator.yaml"), help="the daemon's settings")
    diff.add_argument("--json", action="store_true", help="print everything as JSON")
    diff.add_argument("--all", action="store_true", help="print all, even what is too long for a comment")
    add_source(diff, required=False)
    diff.set_defaults(run=run_diff)


def run_diff(args: argparse.Namespace) -> int:
    """0: nothing loosened without a note, 1: something was, 2: it could not be compared."""
    from remediator.policyfiles.diff import replayed, telling
    from remediator.policyfiles.diff.markdown import mark_of, markdown
    from remediator.policyfiles.diff.reading import Asked, compared

    played = None
    try:
        found = compared(Asked(args.base, tuple(args.paths), args.config))
        if has_source(args):
            played = replayed.replayed(found.base, found.head, player(args, settings(args)))
    except (RemediatorError, OSError) as error:
        print(error, file=sys.stderr)
        return COULD_NOT_RUN
    if args.json:
        told = {"base": found.commit, **telling.as_json(found.difference)}
        told["backtest"] = replayed.as_json(played) if played is not None else None
        print(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        mark = mark_of(*sorted(map(str, args.paths)), str(args.config))
        further = replayed.as_markdown(played) if played is not None else ""
        print(markdown(found.difference, further, whole=args.all, mark=mark), end="")
    return LOOSENED if found.difference.loosened else FINE
