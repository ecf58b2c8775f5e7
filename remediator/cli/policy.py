"""``remediator policy lint``, ``preview`` and ``schema``: the policy tools at the command line."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from remediator.core.policy import Policy
from remediator.errors import RemediatorError
from remediator.policyfiles.loading import Loaded, load

FINE, PROBLEMS, COULD_NOT_RUN = 0, 1, 2


def add_commands(subparsers: Any) -> None:
    """Add ``policy`` with its commands; each sets ``run``, which takes the arguments and returns a status."""
    from remediator.cli import diff, explain, preview

    policy = subparsers.add_parser("policy", help="check policies before they run")
    commands = policy.add_subparsers(dest="policy_command", required=True, metavar="COMMAND")
    lint = commands.add_parser("lint", help="find everything that is wrong with policy files")
    lint.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="files and folders")
    lint.add_argument("--config", type=Path, default=Path("remediator.yaml"), help="the daemon's settings")
    lint.add_argument("--json", action="store_true", help="write the findings as JSON")
    lint.set_defaults(run=run_lint)
    preview.add_command(commands)
    explain.add_command(commands)
    diff.add_command(commands)
    schema = commands.add_parser("schema", help="print the JSON Schema of a policy, for editors")
    schema.set_defaults(run=run_schema)


def run_lint(args: argparse.Namespace) -> int:
    """0: fine, 1: there are errors, 2: the config could not be read."""
    from remediator.config_file import load as load_config
    from remediator.connectors import catalog, problems

    try:
        known = catalog(load_config(args.config, check=problems))
    except (RemediatorError, OSError) as error:
        print(error, file=sys.stderr)
        return COULD_NOT_RUN
    loaded = load(args.paths, known)
    print(_as_json(loaded) if args.json else _as_text(loaded))
    return PROBLEMS if loaded.errors else FINE


def run_schema(args: argparse.Namespace) -> int:
    """The schema, to standard output."""
    del args
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Policy.model_json_schema()}
    print(json.dumps(schema, indent=2, ensure_ascii=False))
    return FINE


def _as_text(loaded: Loaded) -> str:
    errors = len(loaded.errors)
    warnings = len(loaded.findings) - errors
    summary = f"{_count(len(loaded.policies), 'policy', 'policies')} without errors; "
    summary += f"{_count(errors, 'error')}, {_count(warnings, 'warning')}"
    return "\n".join([*map(str, loaded.findings), summary])


def _as_json(loaded: Loaded) -> str:
    told = {
        "findings": [finding.as_json() for finding in loaded.findings],
        "policies": [{"policy": one.policy.name, "version": one.version} for one in loaded.policies],
    }
    return json.dumps(told, indent=2, ensure_ascii=False)


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
