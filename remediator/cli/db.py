"""``remediator db``: the store's tables, made and brought up to this program, and which version they have."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remediator.errors import ConfigError

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


def names_store(command: argparse.ArgumentParser) -> None:
    """For commands that open the store themselves."""
    command.add_argument(
        "--config", type=Path, default=Path("remediator.yaml"), help="where the store is named"
    )
    command.add_argument("--store", help="the store itself, such as sqlite:state.db")
    command.add_argument("--json", action="store_true", help="print what is found as JSON")


def run_status(args: argparse.Namespace) -> int:
    """0 this program's, 1 another version."""
    from remediator.store.versions import status

    found = asyncio.run(status(*named_store(args)))
    said = f"version {found.version}" if found.version else "no tables"
    _print(args, found, f"{said}; this program writes version {found.program}")
    return 0 if found.version == found.program else 1


def run_migrate(args: argparse.Namespace) -> int:
    """0 once they are this program's."""
    from remediator.store.versions import migrate

    found = asyncio.run(migrate(*named_store(args), grant=args.grant or ""))
    _print(args, found, f"version {found.version}")
    return 0


def _print(args: argparse.Namespace, found: Version, said: str) -> None:
    if args.json:
        print(json.dumps({"store": found.place, "version": found.version, "program": found.program}))
    else:
        print(f"{found.place}: {said}")


def named_store(args: argparse.Namespace) -> tuple[str, Path]:
    """Its address, and the folder where a relative one starts. No other secret of the settings is needed."""
    if args.store:
        return args.store, Path()
    from remediator.config_file import load

    if not args.config.exists():
        raise ConfigError(str(args.config), "names no store", remedy="give --config or --store")
    config = load(args.config, blind=True, except_at=("store",))
    return config.store, args.config.resolve().parent
