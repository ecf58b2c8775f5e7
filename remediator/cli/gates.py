"""``remediator gates list | approve | deny | ask``."""

from __future__ import annotations

import argparse
import json
from typing import Any

from remediator.cli.client import add_options, ask, quoted
from remediator.cli.table import changed, printed


def add_commands(subparsers: Any) -> None:
    """Add ``gates``."""
    gates = subparsers.add_parser("gates", help="what waits for people's approval")
    commands = gates.add_subparsers(dest="gates_command", required=True, metavar="COMMAND")
    listed = commands.add_parser("list", help="open gates: what exactly would be done, and who must agree")
    add_options(listed)
    listed.set_defaults(run=run_list)
    for word in ("approve", "deny"):
        vote = commands.add_parser(word, help=f"{word} a gate, as the person whose token you hold")
        vote.add_argument("id", help="as in `gates list`")
        vote.add_argument(
            "--reason", default="", required=word == "deny", help="for the journal and the card"
        )
        add_options(vote)
        vote.set_defaults(run=run_vote, vote=word)
    again = commands.add_parser("ask", help="have a gate that expired asked again, if its alert still fires")
    again.add_argument("id", help="of the gate that nobody answered in time")
    add_options(again)
    again.set_defaults(run=run_ask)


def run_list(args: argparse.Namespace) -> int:
    """Each gate with its steps, whole: nobody should approve what they have not read."""
    answer = ask(args, "GET", "/api/v1/gates")
    text = "\n\n".join(_told(gate) for gate in answer["gates"]) or "no gate is open"
    return printed(args, answer, text)


def run_vote(args: argparse.Namespace) -> int:
    """0 when the vote counted."""
    body = {"vote": args.vote, "reason": args.reason, "via": "cli"}
    answer = ask(args, "POST", f"/api/v1/gates/{quoted(args.id)}/votes", body)
    return printed(args, answer, answer["text"])


def run_ask(args: argparse.Namespace) -> int:
    """0 when people are asked again."""
    answer = ask(args, "POST", f"/api/v1/gates/{quoted(args.id)}/ask", {"via": "cli"})
    return printed(args, answer, answer["text"])


def _told(gate: dict[str, Any]) -> str:
    roles = ", ".join(f"{count} × {role}" for role, count in gate["missing"].items()) or "nobody any more"
    voted = ", ".join(f"{vote['by']} {'approved' if vote['approve'] else 'denied'}" for vote in gate["votes"])
    lines = [
        f"{gate['id']}  {gate['policy']} on {gate['target']}, until {gate['expires_at'][11:19]} UTC",
        *(line for step in gate["steps"] for line in _step(step)),
        f"    waits for: {roles}" + (f" ({voted})" if voted else ""),
        f"    evidence:  remediator runs show {gate['run']}",
        f"    remediator gates approve {gate['id']}",
    ]
    return "\n".join(lines)


def _step(step: dict[str, Any]) -> list[str]:
    """What it would do, how that is proved, and how it is taken back: what the card shows."""
    lines = [f"    {step['step']} ({step['risk']}): {step['summary']}"]
    if step["verify"]:
        lines.append(f"      proved by:  {step['verify']['operation']} {_json(step['verify']['args'])}")
    if step["undo"]:
        lines.append(f"      taken back: {_json(step['undo'])}")
    if step["picture"]:
        count = step["picture"]["count"]
        lines.append(f"      {f'would change {count}: ' if count else ''}{step['picture']['text']}")
        lines += [f"        {changed(row)}" for row in step["picture"]["rows"]]
    return lines


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
