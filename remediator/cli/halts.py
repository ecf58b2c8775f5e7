"""``remediator halt`` and ``remediator resume``: the kill switch."""

from __future__ import annotations

import argparse
from typing import Any

from remediator.cli.client import add_options, ask, quoted
from remediator.cli.table import printed


def add_commands(subparsers: Any) -> None:
    """Add ``halt`` and ``resume``."""
    halt = subparsers.add_parser(
        "halt",
        help="stop every start, at once and everywhere",
        description="Without --policy or --target nothing starts anywhere. Undos of what is held still run "
        "on time, unless --undos halts them too; then a person is paged for each that is overdue.",
    )
    what = halt.add_mutually_exclusive_group()
    what.add_argument("--policy", help="only this policy")
    what.add_argument("--target", help="only this target, kind/id")
    halt.add_argument("--undos", action="store_true", help="halt undos as well")
    halt.add_argument("--reason", required=True, help="others will ask")
    add_options(halt)
    halt.set_defaults(run=run_halt)
    resume = subparsers.add_parser("resume", help="lift a halt")
    resume.add_argument("id", nargs="?", help="as `halt` printed it; without it, the halts in force")
    add_options(resume)
    resume.set_defaults(run=run_resume)


def run_halt(args: argparse.Namespace) -> int:
    """Throw it."""
    body: dict[str, Any] = {"reason": args.reason, "undos": args.undos}
    body |= {name: value for name in ("policy", "target") if (value := getattr(args, name))}
    answer = ask(args, "POST", "/api/v1/halts", body)
    return printed(args, answer, answer["text"])


def run_resume(args: argparse.Namespace) -> int:
    """Lift one, or list those in force."""
    if args.id is None:
        answer = ask(args, "GET", "/api/v1/halts")
        lines = [f"{one['id']}  {one['scope']}  by {one['by']}: {one['reason']}" for one in answer["halts"]]
        return printed(args, answer, "\n".join(lines) or "no halt is in force")
    answer = ask(args, "DELETE", f"/api/v1/halts/{quoted(args.id)}")
    return printed(args, answer, answer["text"])
