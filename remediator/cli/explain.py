"""``remediator policy explain``: why did, or didn't, it act on an alert?"""

from __future__ import annotations

import argparse
import asyncio
import functools
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remediator.cli.table import printed, table
from remediator.errors import IntakeError, RemediatorError, StoreError

if TYPE_CHECKING:
    from remediator.core.alert import Alert
    from remediator.core.policyset import PolicySet
    from remediator.ports import Explanation, Said, Store

FINE, PROBLEMS, COULD_NOT_RUN = 0, 1, 2
_SECOND = timedelta(seconds=1)


def add_command(commands: Any) -> None:
    """Add ``explain`` to ``policy``."""
    explain = commands.add_parser(
        "explain",
        help="why did, or didn't, it act on an alert? What every policy says, the first no with its values",
        description="Shows, policy by policy, the first thing that says no to an alert: a matcher, a param, "
        "a bound, a lock, a halt, what stands from before; and when it is considered again. Beside a running "
        "daemon it reads the store; without a store it tells what can be told without. It changes nothing. "
        "Exit status: 0 fine, 2 could not run.",
    )
    explain.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="policies; by default the config's folder"
    )
    which = explain.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--alert", metavar="FILE", help="a webhook's body, one alert, or labels, as JSON or YAML; - for input"
    )
    which.add_argument("--fingerprint", metavar="F", help="an alert that the store has heard of")
    explain.add_argument("--config", type=Path, default=Path("remediator.yaml"), help="the daemon's settings")
    explain.add_argument("--json", action="store_true", help="print everything as JSON")
    explain.set_defaults(run=run_explain)


def run_explain(args: argparse.Namespace) -> int:
    """0 whatever the policies say; 1 when some of them are broken; 2 when none could be asked."""
    import msgspec

    from remediator import connectors
    from remediator.clock import SystemClock
    from remediator.config_file import load as load_config
    from remediator.policyfiles.loading import load
    from remediator.store import open_store

    folder = args.config.resolve().parent
    try:
        check = functools.partial(connectors.problems, blind=True)  # it connects to nothing
        config = load_config(args.config, check=check, blind=True)
        catalog = connectors.catalog(config, blind=True)
        loaded = load(args.paths or [folder / config.policies], catalog)
        for wrong in loaded.errors:
            print(wrong, file=sys.stderr)
        policies = loaded.sound(catalog)
        clock = SystemClock()
        alerts = _alerts(args.alert, clock.now()) if args.alert is not None else None
        store = open_store(config.store, clock, folder)
        found = asyncio.run(_explained(store, policies, alerts or args.fingerprint, clock.now()))
    except (RemediatorError, OSError) as error:
        print(error, file=sys.stderr)
        return COULD_NOT_RUN
    told = msgspec.to_builtins(found)
    printed(args, told if len(told) > 1 else told[0], "\n\n".join(map(_told, found)))
    return PROBLEMS if loaded.errors else FINE


def _alerts(file: str, now: datetime) -> list[Alert]:
    from remediator.policyfiles.alertfile import alerts

    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        remedy = "name a file with a webhook's body, one alert, or labels"
        raise IntakeError(f"--alert {file}", f"cannot be read: {error.strerror}", remedy=remedy) from error
    return alerts(data, "standard input" if file == "-" else file, now)


async def _explained(
    store: Store, policies: PolicySet, wanted: list[Alert] | str, now: datetime
) -> list[Explanation]:
    """Of the alerts, or of the stored one with this fingerprint."""
    from remediator.engine.explain import explain, explain_alone

    try:
        await store.open_reading()
    except StoreError as error:
        if isinstance(wanted, str):
            raise
        print(f"bounds, halts and other runs were not asked: {error}", file=sys.stderr)
        return [explain_alone(policies, alert, now) for alert in wanted]
    try:
        alerts = [await _heard(store, wanted)] if isinstance(wanted, str) else wanted
        return [
            await store.read(functools.partial(explain, policies=policies, alert=alert)) for alert in alerts
        ]
    finally:
        await store.close()


async def _heard(store: Store, fingerprint: str) -> Alert:
    row = await store.read(lambda tx: tx.alert(fingerprint))
    if row is None:
        remedy = "/api/v1/alerts lists those that were"
        raise StoreError("--fingerprint", f"no alert {fingerprint} was heard of", remedy=remedy)
    return row.alert


# ── In words ──────────────────────────────────────────────────────────────────────────────────────


def _told(found: Explanation) -> str:
    from remediator.web.lettering import plain
    from remediator.web.wording import SAYS

    alert = found.alert
    labels = ", ".join(f"{name}={value}" for name, value in alert.labels.items())
    head = f"{plain(alert.name)} ({alert.status}, fingerprint {plain(alert.fingerprint)})"
    rows = [
        [
            plain(one.policy),
            SAYS[one.says].word,
            plain(one.target or "–"),
            plain(_why(one)),
            _again(one, found.at),
        ]
        for one in found.policies
    ]
    header = ["POLICY", "SAYS", "TARGET", "WHY", "CONSIDERED AGAIN"]
    lines = [head, plain(labels), "", table(header, rows) if rows else "there are no policies"]
    if not found.stored:
        lines += ["", "There is no store: bounds, halts and other runs were not asked."]
    return "\n".join(lines)


def _why(one: Said) -> str:
    bound = f"{one.bound}: " if one.bound and one.says in ("refused", "closed", "holding") else ""
    now = f" (asked now: {one.now})" if one.now else ""
    return f"{bound}{one.reason}{now}" or "nothing says no"


def _again(one: Said, now: datetime) -> str:
    from remediator.core.expression import format_duration
    from remediator.web.lettering import plain

    if one.again_at is not None:
        left = one.again_at - now
        return f"in {format_duration(left - left % _SECOND)}" if left > _SECOND else "now"
    if one.waits_for:
        return f"after {plain(one.waits_for.replace(':', ' ', 1))}"
    return "when the alert changes" if one.says == "refused" else "–"
