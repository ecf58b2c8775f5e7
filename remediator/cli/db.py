"""``remediator db``: the store's tables, made and brought up to this program, and which version they have."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from remediator.errors import ConfigError


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
    _named(status)
    status.add_argument("--json", action="store_true", help="print it as JSON")
    status.set_defaults(run=run_status)
    migrate = commands.add_parser(
        "migrate",
        help="make the tables, or bring them up to this program",
        description="Make the store's tables, or bring them up to this program, forward only, each step "
        "whole or not at all. On PostgreSQL daemons of the version before may go on meanwhile; `serve` does "
        "it by itself if its login owns the tables.",
    )
    _named(migrate)
    migrate.add_argument(
        "--grant", metavar="ROLE", help="PostgreSQL: let this role do what a daemon does, and no more"
    )
    migrate.set_defaults(run=run_migrate)


def _named(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config", type=Path, default=Path("remediator.yaml"), help="where the store is named"
    )
    command.add_argument("--store", help="the store itself, such as sqlite:state.db")


def run_status(args: argparse.Namespace) -> int:
    """0 this program's, 1 another version."""
    from remediator.store.versions import status

    found = asyncio.run(status(*_store(args)))
    if args.json:
        print(json.dumps({"store": found.place, "version": found.version, "program": found.program}))
    else:
        said = f"version {found.version}" if found.version else "no tables"
        print(f"{found.place}: {said}; this program writes version {found.program}")
    return 0 if found.version == found.program else 1


def run_migrate(args: argparse.Namespace) -> int:
    """0 once they are this program's."""
    from remediator.store.versions import migrate

    found = asyncio.run(migrate(*_store(args), grant=args.grant or ""))
    print(f"{found.place}: version {found.version}")
    return 0


def _store(args: argparse.Namespace) -> tuple[str, Path]:
    if args.store:
        return args.store, Path()
    from remediator import connectors
    from remediator.config_file import load

    if not args.config.exists():
        raise ConfigError(str(args.config), "names no store", remedy="give --config or --store")
    config = load(args.config, check=connectors.problems)
    return config.store, args.config.resolve().parent
