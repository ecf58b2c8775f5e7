"""``remediator audit verify``: is the record whole? Reads the store itself; no daemon is needed."""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

from remediator.cli.naming import names_store, store_named


def add_commands(subparsers: Any) -> None:
    """Add ``audit``."""
    audit = subparsers.add_parser("audit", help="verify the journals")
    commands = audit.add_subparsers(dest="audit_command", required=True, metavar="COMMAND")
    verify = commands.add_parser(
        "verify",
        help="follow every journal link by link",
        description="Follow every journal link by link and compare the runs' with the system's. Keep the "
        "head that it prints somewhere else: given back with --head it shows whether the tail was cut.",
    )
    names_store(verify)
    verify.add_argument("--head", type=_head, metavar="SEQ:HASH", help="a head that was kept before")
    verify.set_defaults(run=run_verify)


def run_verify(args: argparse.Namespace) -> int:
    """0 whole, 1 something is wrong."""
    return asyncio.run(_verify(args))


async def _verify(args: argparse.Namespace) -> int:
    from remediator.clock import SystemClock
    from remediator.store import open_store
    from remediator.store.audit import audit

    url, folder = store_named(args)
    store = open_store(url, SystemClock(), folder)
    await store.open_reading()
    try:
        found = await audit(store, args.head)
    finally:
        await store.close()
    if args.json:
        print(
            json.dumps({"problems": found.problems, "head": found.head, "entries": found.entries}, indent=2)
        )
    else:
        for problem in found.problems:
            print(problem)
        verdict = f"{len(found.problems)} problems" if found.problems else "whole"
        print(f"{found.journals} journals, {found.entries} entries: {verdict}\nhead {found.head}")
    return 1 if found.problems else 0


def _head(text: str) -> tuple[int, str]:
    seq, colon, digest = text.partition(":")
    if not (colon and seq.isdigit() and len(digest) in (0, 64)):
        raise argparse.ArgumentTypeError("write SEQ:HASH as `audit verify` prints it")
    return int(seq), digest
