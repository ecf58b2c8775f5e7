"""``remediator policy …``: the policy tools at the command line."""

from __future__ import annotations

import argparse
from typing import Any

FINE, PROBLEMS, COULD_NOT_RUN = 0, 1, 2


def add_commands(subparsers: Any) -> None:
    """Add ``policy`` with its commands; each sets ``run``, which takes the arguments and returns a status."""
    from remediator.cli import backtest, diff, explain, lint, policy_test, preview

    policy = subparsers.add_parser("policy", help="check, test and compare policies before they run")
    commands = policy.add_subparsers(dest="policy_command", required=True, metavar="COMMAND")
    lint.add_command(commands)
    preview.add_command(commands)
    explain.add_command(commands)
    backtest.add_command(commands)
    diff.add_command(commands)
    policy_test.add_command(commands)
    schema = commands.add_parser(
        "schema",
        help="print the JSON Schema of a policy, for editors",
        description="Prints the JSON Schema of a policy, or of a file of stories. Keep it beside the "
        "policies (remediator policy schema > policy.schema.json) and begin each of them with "
        "# yaml-language-server: $schema=policy.schema.json",
    )
    schema.add_argument("--tests", action="store_true", help="of *.test.yaml instead")
    schema.set_defaults(run=run_schema)


def run_schema(args: argparse.Namespace) -> int:
    """The schema, to standard output."""
    from remediator.policyfiles.schema import POLICY, TESTS, shipped

    print(shipped(TESTS if args.tests else POLICY), end="")
    return FINE
