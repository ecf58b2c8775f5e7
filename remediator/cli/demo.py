"""``remediator demo``: a small world, the real daemon and a few alerts, all on this machine."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any


def add_commands(subparsers: Any) -> None:
    """Add ``demo``."""
    demo = subparsers.add_parser(
        "demo",
        help="see it work: no account, no Slack, no Docker, no database server",
        description="Starts a loyalty API that goes wrong in several ways, the daemon that repairs it, and a "
        "sender of alerts; shows every decision as it is made. You approve the one that is destructive.",
    )
    demo.add_argument("--port", type=int, default=0, help="where the daemon listens (a free one by default)")
    demo.add_argument("--auto", action="store_true", help="approve by itself; exit 0 if all went as told")
    demo.set_defaults(run=run_demo)


def run_demo(args: argparse.Namespace) -> int:
    """0: every run ended as told."""
    from remediator.demo.show import show

    status: int = asyncio.run(show(port=args.port, auto=args.auto))
    return status
