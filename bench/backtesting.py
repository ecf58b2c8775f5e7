"""A backtest of a million recorded deliveries over 200 policies: how long, and how much memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.alerts import _ALERT, _HEAD
from bench.figures import Bar, Figure
from tests.rig.processes import REPOSITORY, scratch

POLICIES = 200
TROUBLES = 20_000
PER_TROUBLE = 50
"""Deliveries: it fires, is repeated, has resolved."""
EVERY = timedelta(minutes=5)
"""Alertmanager's group_interval."""
HOSTS = 25
"""Things that one policy's alert may be about."""
START = datetime(2026, 11, 1, tzinfo=UTC)
WEEK = timedelta(days=7)


def backtesting(*, quick: bool) -> Iterator[Figure]:
    """Reading the file, deciding and summing up included; on one core."""
    share = 100 if quick else 1
    troubles = TROUBLES // share
    with scratch("bench") as folder:
        write(folder, troubles)
        seconds, walls, peaks, told = zip(*(_run(folder) for _ in range(1 if quick else 3)), strict=True)
        more = {
            "deliveries": told[0]["deliveries"],
            "troubles": told[0]["troubles"],
            "policies": POLICIES,
            "runs_found": len(told[0]["runs"]),
            "wall_s": [round(one, 1) for one in walls],
        }
        yield Figure("backtest", Bar("s", "at most", 60), seconds, [_decoding(folder)], more)
        yield Figure("backtest_rss", Bar("MB", "at most", 500), peaks, [], more)


def _run(folder: Path) -> tuple[float, float, float, dict[str, Any]]:
    """Seconds of one core and of the clock, the highest resident memory in MB, and the result.

    Others' work on the machine lengthens the clock's; a core's it lengthens, too, but less.
    """
    command = [sys.executable, "-m", "remediator", "policy", "backtest", "policies"]
    command += ["--from-file", "alerts.jsonl", "--json"]
    core = sorted(os.sched_getaffinity(0))[:1]
    began = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with (folder / "result.json").open("wb") as output:
        child = subprocess.Popen(
            command,
            cwd=folder,
            stdout=output,
            env=environment,
            preexec_fn=lambda: os.sched_setaffinity(0, core),  # noqa: PLW1509 - no thread runs here
        )
        _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    assert child.returncode == 0, child.returncode
    core_s = used.ru_utime + used.ru_stime
    return core_s, seconds, used.ru_maxrss / 1024, json.loads((folder / "result.json").read_bytes())


def _decoding(folder: Path) -> float:
    """The floor: decoding each line with the standard library, and nothing else."""
    began = time.perf_counter()
    with (folder / "alerts.jsonl").open("rb") as file:
        for line in file:
            json.loads(line)
    return time.perf_counter() - began


# ── The record ────────────────────────────────────────────────────────────────────────────────────


def write(folder: Path, troubles: int) -> None:
    """The settings, the policies and the record; always the same."""
    settings = {
        "policies": "policies",
        "targets": ["worker"],
        "people": {"bob": {}},
        "roles": {"oncall": ["bob"]},
        "escalations": {"default": [{"role": "oncall"}]},
        "connections": {"api": {"kind": "http", "base_url": "http://127.0.0.1:1"}},
    }
    (folder / "remediator.yaml").write_text(json.dumps(settings))
    (folder / "policies").mkdir()
    for number in range(POLICIES):
        (folder / "policies" / f"p-{number}.yaml").write_text(json.dumps(_policy(number)))
    with (folder / "alerts.jsonl").open("wb") as file:
        for line in _lines(troubles):
            file.write(line)


def _policy(number: int) -> dict[str, Any]:
    """Of ten: six read first, two act behind a gate, one only suggests, one only observes.

    Each tenth shares its alerts with its neighbour, and so its targets.
    """
    kind = number % 10
    restart = {
        "use": "http.request",
        "via": "api",
        "with": {"method": "POST", "path": "/restart/${host}"},
        "verify": {
            "use": "http.get",
            "via": "api",
            "with": {"path": "/${host}"},
            "until": "verify.status == 200",
        },
    }
    names = f"Alert{number}|Alert{number - 1}" if kind == 9 else f"Alert{number}"
    written: dict[str, Any] = {
        "policy": f"p-{number}",
        "summary": "A worker is stuck",
        "mode": {7: "suggest", 8: "observe"}.get(kind, "act"),
        "match": [f'{{alertname=~"{names}", severity=~"warning|critical"}}'],
        "params": {"host": {"from": "labels.host", "pattern": "w-[0-9a-f-]{1,40}"}},
        "target": "worker/${host}",
        "decide": [{"do": ["restart"]}],
        "steps": {"restart": restart},
    }
    if kind < 6:
        probe = {"use": "http.get", "via": "api", "with": {"path": "/queue/${host}"}}
        written |= {
            "diagnose": {"queue": probe},
            "decide": [{"when": "queue.json.depth > 10", "do": ["restart"]}, {"do": "nothing"}],
        }
    return written


def _lines(troubles: int) -> Iterator[bytes]:
    """In the order of time."""
    apart = WEEK / troubles
    events = sorted(
        (trouble * apart + number * EVERY, trouble, number)
        for trouble in range(troubles)
        for number in range(PER_TROUBLE)
    )
    for after, trouble, number in events:
        yield _line(START + after, START + trouble * apart, trouble, number)


_PIECES = (
    json.dumps(_ALERT, separators=(",", ":"))
    .replace(str(_ALERT["startsAt"]), "STARTS")
    .replace("0001-01-01T00:00:00Z", "ENDS")
    .replace('"firing"', '"STATUS"')
    .replace("restarted 7 times", "restarted VALUE times")
)
"""As an annotation with ``{{ $value }}`` has it: no repeat is the one before to the byte."""


def _line(at: datetime, began: datetime, trouble: int, number: int) -> bytes:
    over = number == PER_TROUBLE - 1
    policy, host = trouble % POLICIES, trouble // POLICIES % HOSTS
    alert = (
        _PIECES.replace("ALERTNAME", f"Alert{policy}")
        .replace("w-NUMBER", f"w-{policy}-{host}")
        .replace("NUMBER", f"{policy * HOSTS + host:016x}")
        .replace("VALUE", str(7 + number))
        .replace("STARTS", began.isoformat())
        .replace("ENDS", at.isoformat() if over else "0001-01-01T00:00:00Z")
        .replace("STATUS", "resolved" if over else "firing")
    )
    return b'{"at":"%b","body":%b%b]}}\n' % (at.isoformat().encode(), _HEAD, alert.encode())
