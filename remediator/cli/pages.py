"""``remediator pages list | ack``."""

from __future__ import annotations

import argparse
from typing import Any

from remediator.cli.client import add_options, ask, quoted
from remediator.cli.table import printed, table


def add_commands(subparsers: Any) -> None:
    """Add ``pages``."""
    pages = subparsers.add_parser("pages", help="what people were told, and whether it reached them")
    commands = pages.add_subparsers(dest="pages_command", required=True, metavar="COMMAND")
    listed = commands.add_parser("list", help="pages that nobody has acknowledged")
    add_options(listed)
    listed.set_defaults(run=run_list)
    ack = commands.add_parser("ack", help="acknowledge a page: it escalates no further")
    ack.add_argument("id", help="as in `pages list`")
    add_options(ack)
    ack.set_defaults(run=run_ack)


def run_list(args: argparse.Namespace) -> int:
    """A table, or JSON."""
    answer = ask(args, "GET", "/api/v1/pages")
    rows = [[page["id"], page["opened_at"][:19], page["text"]] for page in answer["pages"]]
    return printed(args, answer, table(["PAGE", "OPENED (UTC)", "TEXT"], rows) if rows else "no page is open")


def run_ack(args: argparse.Namespace) -> int:
    """Say that it has reached you."""
    answer = ask(args, "POST", f"/api/v1/pages/{quoted(args.id)}/ack", {})
    return printed(args, answer, answer["text"])
