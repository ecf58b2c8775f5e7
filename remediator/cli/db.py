"""``remediator db``: the store's tables, made and brought up to this program, and which version they have."""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import TYPE_CHECKING, Any

from remediator.cli.naming import names_store, store_named

if TYPE_CHECKING:
    from remediator.store.versions import Version


def add_commands(subparsers: Any) -> None:
    """Add ``db``."""
    db = subparsers.add_parser("db", help="the store's tables: their version, and bringing them up")
    commands = db.add_subparsers(dest="db_command", required=True, metavar="COMMAND")
    status = commands.add_parser(
        "status",
        help="which version the tables have",
        description="Say which version the store's tables have, and which this program writes. Exit status 1 "
        "if they differ.",
    )
    names_store(status)
    status.set_defaults(run=run_status)
    migrate = commands.add_parser(
        "migrate",
        help="make the tables, or bring them up to this program",
        description="Make the store's tables, or bring them up to this program, forward only, each step "
        "whole or not at all. On PostgreSQL daemons of the version before may go on meanwhile; `serve` does "
        "it by itself if its login owns the tables.",
    )
    names_store(migrate)
    migrate.add_argument(
        "--grant", metavar="ROLE", help="PostgreSQL: let this role do what a daemon does, and no more"
    )
    migrate.set_defaults(run=run_migrate)


def run_status(args: argparse.Namespace) -> int:
    """0 this program's, 1 another version."""
    from remediator.store.versions import status

    found = asyncio.run(status(*store_named(args)))
    said = f"version {found.version}" if found.version else "no tables"
    _print(args, found, f"{said}; this program writes version {found.program}")
    return 0 if found.version == found.program else 1


def run_migrate(args: argparse.Namespace) -> int:
    """0 once they are this program's."""
    from remediator.store.versions import migrate

    found = asyncio.run(migrate(*store_named(args), grant=args.grant or ""))
    _print(args, found, f"version {found.version}")
    return 0


def _print(args: argparse.Namespace, found: Version, said: str) -> None:
    if args.json:
        print(json.dumps({"store": found.place, "version": found.version, "program": found.program}))
    else:
        print(f"{found.place}: {said}")
