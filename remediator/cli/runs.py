"""``remediator runs list | show | start | settle``."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from remediator.cli.client import add_options, ask, at, given_params, quoted
from remediator.cli.table import printed, table

if TYPE_CHECKING:
    from remediator.web.timeline import Told

REST_S = 5.0
"""How long `start` watches for what the run waits for: its probes take a moment."""


def add_commands(subparsers: Any) -> None:
    """Add ``runs``."""
    runs = subparsers.add_parser("runs", help="what is being done, and what was done")
    commands = runs.add_subparsers(dest="runs_command", required=True, metavar="COMMAND")
    listed = commands.add_parser("list", help="runs, newest first")
    listed.add_argument("--state", default="", help="open, holding, closed, or a stage")
    listed.add_argument("--policy", default="", help="only this policy's")
    listed.add_argument("--target", default="", help="only on this target")
    add_options(listed)
    listed.set_defaults(run=run_list)
    show = commands.add_parser("show", help="one run with its timeline")
    show.add_argument("id", help="as in `runs list`")
    add_options(show)
    show.set_defaults(run=run_show)
    start = commands.add_parser(
        "start",
        help="start a run by hand, where no alert does",
        description="The run is opened as for an alert: the same bounds, gates and proofs. Whoever starts it "
        "may not approve it, and no alert ends it.",
    )
    start.add_argument("policy", help="a running policy's name")
    start.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a param of the policy; once for each",
    )
    add_options(start)
    start.set_defaults(run=run_start)
    settle = commands.add_parser(
        "settle",
        help="say what became of a step whose outcome is unknown",
        description="happened: go on as if it had been answered. not-happened: the step failed. "
        "handled: you take the run from here.",
    )
    settle.add_argument(
        "id", help="the question, as the page about it says; or a run that has asked only one"
    )
    verdicts = ("happened", "not-happened", "handled")
    settle.add_argument("verdict", choices=verdicts, metavar="VERDICT", help=", ".join(verdicts))
    settle.add_argument("--reason", default="", help="what you saw")
    add_options(settle)
    settle.set_defaults(run=run_settle)


def run_list(args: argparse.Namespace) -> int:
    """A table, or JSON."""
    wanted = {"state": args.state, "policy": args.policy, "target": args.target}
    query = urlencode({name: value for name, value in wanted.items() if value})
    answer = ask(args, "GET", f"/api/v1/runs?{query}")
    rows = [
        [
            run["id"],
            run["policy"],
            run["target"],
            run["outcome"] or run["stage"],
            run["opened_at"][:19],
            run["reason"],
        ]
        for run in answer["runs"]
    ]
    header = ["RUN", "POLICY", "TARGET", "STATE", "OPENED (UTC)", "WHY"]
    return printed(args, answer, table(header, rows) if rows else "no runs")


def run_show(args: argparse.Namespace) -> int:
    """The run, then its journal line by line."""
    run = ask(args, "GET", f"/api/v1/runs/{quoted(args.id)}")
    journal = ask(args, "GET", f"/api/v1/runs/{quoted(args.id)}/journal")
    state = run["outcome"] or run["stage"]
    down = f", stepped down until {run['down_until']}" if run.get("down_until") else ""
    lines = [
        f"{run['id']}  {run['policy']} on {run['target']}  ({run['mode']}{down})",
        f"{state}" + (f": {run['reason']}" if run["reason"] else ""),
        "",
        *(f"{line.entry.at:%H:%M:%S}  {line.hash}  {line.sentence}" for line in _told(journal["entries"])),
    ]
    return printed(args, {"run": run, "journal": journal["entries"]}, "\n".join(lines))


def run_start(args: argparse.Namespace) -> int:
    """The run, where to see it, and what it waits for."""
    body = {"policy": args.policy, "params": given_params(args.param)}
    answer = ask(args, "POST", "/api/v1/runs", body)
    run = _at_rest(args, answer["data"]["run"])
    lines = [answer["text"], at(args, answer["data"]["page"]), _waits(run)]
    return printed(args, answer, "\n".join(lines))


def _at_rest(args: argparse.Namespace, number: str) -> dict[str, Any]:
    """The run once it waits for somebody or something, or as it is after a while."""
    give_up = time.monotonic() + REST_S
    while True:
        run: dict[str, Any] = ask(args, "GET", f"/api/v1/runs/{quoted(number)}")
        if run["stage"] not in ("diagnosing", "previewing", "preparing") or time.monotonic() > give_up:
            return run
        time.sleep(0.1)


def _waits(run: dict[str, Any]) -> str:
    """What a run that was just started stands at, in a line."""
    if run["outcome"] is not None:
        return f"{run['outcome']}: {run['reason']}"
    gate = run["gate"]
    if run["stage"] == "waiting" and gate is not None:
        roles = " and ".join(f"{count} of {role}" for role, count in gate["required"].items())
        until = f"{gate['expires_at'][11:19]} UTC"
        return f"it waits for {roles} until {until}, but not for you: remediator gates approve {gate['id']}"
    return f"it is {run['stage']}; see remediator runs show {run['id']}"


def run_settle(args: argparse.Namespace) -> int:
    """A person's word on an unknown outcome."""
    run, asks, _ = args.id.partition(".q")
    question = args.id if asks else ""
    body = {"verdict": args.verdict, "reason": args.reason, "via": "cli", "question": question}
    answer = ask(args, "POST", f"/api/v1/runs/{quoted(run)}/settle", body)
    return printed(args, answer, answer["text"])


def _told(entries: list[dict[str, Any]]) -> list[Told]:
    """The journal in words, as on the run's page; the data itself comes with --json."""
    import msgspec

    from remediator.ports import JournalEntry
    from remediator.web.timeline import told

    return [told(entry) for entry in msgspec.convert(entries, list[JournalEntry])]
