"""``remediator serve``: the daemon."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

from remediator.errors import RemediatorError


def add_commands(subparsers: Any) -> None:
    """Add ``serve``."""
    serve = subparsers.add_parser(
        "serve",
        help="run the daemon",
        description="Run the daemon until SIGTERM. SIGHUP reads the policies again, all or nothing.",
    )
    serve.add_argument("--config", type=Path, default=Path("remediator.yaml"), help="the settings")
    serve.add_argument("--log", choices=("debug", "info", "warning"), default="info", help="how much to log")
    serve.add_argument("--log-text", action="store_true", help="logs for people's eyes, rather than JSON")
    serve.set_defaults(run=run_serve)


def run_serve(args: argparse.Namespace) -> int:
    """0 after a graceful stop, 2 when it cannot start: every error at once, none acted upon."""
    from remediator import app, connectors
    from remediator.config_file import load
    from remediator.telemetry import configure_logging

    secrets: set[str] = set()
    try:
        config = load(args.config, secrets=secrets, check=connectors.problems)
        configure_logging(args.log, json=not args.log_text, secrets=secrets)
        daemon = app.App(config, args.config.resolve().parent, secrets=secrets)
        asyncio.run(app.serve(daemon, _told))
    except RemediatorError as error:
        return _refused(error)
    except ExceptionGroup as group:
        refused, rest = group.split(RemediatorError)
        if rest is not None or refused is None:
            raise
        return _refused(_first(refused))
    return 0


def _told(daemon: Any) -> None:
    print(f"remediator listens on {daemon.address} with {len(daemon.shelf().by_name)} policies", flush=True)
    for warning in daemon.warnings():
        print(f"warning: {warning}", file=sys.stderr, flush=True)


def _first(group: ExceptionGroup[Any]) -> RemediatorError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


def _refused(error: RemediatorError) -> int:
    print(f"{error}\nremediator did not start", file=sys.stderr)
    return 2
