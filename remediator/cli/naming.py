"""Commands that open the store themselves: how they are told which one it is."""

from __future__ import annotations

import argparse
from pathlib import Path

from remediator.errors import ConfigError


def names_store(command: argparse.ArgumentParser) -> None:
    """For commands that open the store themselves."""
    command.add_argument(
        "--config", type=Path, default=Path("remediator.yaml"), help="where the store is named"
    )
    command.add_argument("--store", help="the store itself, such as sqlite:state.db")
    command.add_argument("--json", action="store_true", help="print what is found as JSON")


def store_named(args: argparse.Namespace) -> tuple[str, Path]:
    """Its address, and the folder where a relative one starts. No other secret of the settings is needed."""
    if args.store:
        return args.store, Path()
    from remediator.config_file import load

    if not args.config.exists():
        raise ConfigError(str(args.config), "names no store", remedy="give --config or --store")
    config = load(args.config, blind=True, except_at=("store",))
    return config.store, args.config.resolve().parent
