"""``remediator policy …``: the policy tools at the command line."""

from __future__ import annotations

import argparse
import json
from typing import Any

from remediator.core.policy import Policy

FINE, PROBLEMS, COULD_NOT_RUN = 0, 1, 2


def add_commands(subparsers: Any) -> None:
    """Add ``policy`` with its commands; each sets ``run``, which takes the arguments and returns a status."""
    from remediator.cli import diff, explain, lint, policy_test, preview

    policy = subparsers.add_parser("policy", help="check policies before they run")
    commands = policy.add_subparsers(dest="policy_command", required=True, metavar="COMMAND")
    lint.add_command(commands)
    preview.add_command(commands)
    explain.add_command(commands)
    diff.add_command(commands)
    policy_test.add_command(commands)
    schema = commands.add_parser("schema", help="print the JSON Schema of a policy, for editors")
    schema.set_defaults(run=run_schema)


def run_schema(args: argparse.Namespace) -> int:
    """The schema, to standard output."""
    del args
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Policy.model_json_schema()}
    print(json.dumps(schema, indent=2, ensure_ascii=False))
    return FINE
