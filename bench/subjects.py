"""What is measured: the real daemon, and the bare receiver, each as a process of its own."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.client import Aim
from tests.rig.processes import Child, Program, python_module, scratch, start

TOKEN = "token-of-the-bench"
_PATH = "/hooks/alertmanager"


@dataclass(frozen=True)
class Subject:
    """A receiver that runs."""

    child: Child

    @property
    def aim(self) -> Aim:
        return Aim(self.child.port, _PATH, TOKEN)

    def megabytes(self, line: str = "VmRSS") -> float:
        """Resident memory now, or at its highest (``VmHWM``)."""
        for text in Path(f"/proc/{self.child.pid}/status").read_text().splitlines():
            if text.startswith(line + ":"):
                return int(text.split()[1]) * 1024 / 1e6
        raise LookupError(line)


@dataclass(frozen=True)
class Daemon(Subject):
    """`remediator serve`."""

    store: Path

    def waiting(self) -> int:
        """Deliveries that were accepted and not yet decided on."""
        return self.count("waiting")

    def decided(self) -> int:
        """Deliveries that were decided on."""
        return self.count("inbox") - self.count("waiting")

    def count(self, rows: str) -> int:
        """How many rows there are: of a table, or ``table WHERE …``."""
        ((count,),) = self.rows(f"SELECT count(*) FROM {rows}")
        return int(count)

    def store_bytes(self) -> int:
        """Room that the store's rows and indices take."""
        (((pages,),), ((free,),), ((size,),)) = (
            self.rows(f"PRAGMA {name}") for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def rows(self, question: str) -> list[tuple[Any, ...]]:
        """Asked of the store's file, beside the daemon."""
        with closing(sqlite3.connect(f"{self.store.as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(question).fetchall()

    async def drained(self, within: float = 120.0) -> float:
        """Wait until everything accepted was decided on; the seconds that took."""
        began = time.perf_counter()
        while self.waiting():
            if time.perf_counter() > began + within:
                raise TimeoutError(f"{self.waiting()} deliveries still wait after {within:g} s")
            await asyncio.sleep(0.02)
        return time.perf_counter() - began


def program(
    folder: Path, policies: Sequence[str], peer: str = "http://127.0.0.1:9", store: str = ""
) -> Program:
    """How to start the daemon over these policies; steps go to ``peer``; ``store``: its URL."""
    (folder / "policies").mkdir(exist_ok=True)
    for number, text in enumerate(policies):
        (folder / "policies" / f"p{number:05}.yaml").write_text(text)

    def argv(port: int) -> list[str]:
        file = folder / "remediator.yaml"
        connection = {"kind": "http", "base_url": peer, "endpoints": {"POST /api/workers/*": "safe"}}
        settings = {
            "listen": f"127.0.0.1:{port}",
            "store": store or f"sqlite:///{folder}/state.db",
            "policies": str(folder / "policies"),
            "hooks": {"alertmanager": {"bearer": "${env:BENCH_TOKEN}"}},
            "connections": {"loyalty_api": connection},
            "targets": ["worker"],
            "people": {"amina": {}},
            "roles": {"oncall": ["amina"]},
        }
        file.write_text(json.dumps(settings))  # JSON is YAML
        return python_module("remediator", "serve", "--config", str(file))

    plain = dict.fromkeys(("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"), "")  # else it is weighed too
    return Program("remediator", argv, "/readyz", environment={"BENCH_TOKEN": TOKEN, **plain})


@contextmanager
def daemon(
    policies: Sequence[str] = (), peer: str = "http://127.0.0.1:9", store: str = ""
) -> Iterator[Daemon]:
    """A daemon over an empty store: a file of its own, or the one with this URL."""
    with scratch("bench") as folder, start(program(folder, policies, peer, store), folder) as child:
        yield Daemon(child, folder / "state.db")


def bare_program(folder: Path, peer: str = "") -> Program:
    """How to start the bare receiver."""

    def argv(port: int) -> list[str]:
        return python_module(
            "bench.bare", "--port", str(port), "--store", str(folder / "bare.db"), "--peer", peer
        )

    return Program("bare", argv, "/readyz")


@contextmanager
def bare(peer: str = "") -> Iterator[Subject]:
    """A bare receiver over an empty store."""
    with scratch("bare") as folder, start(bare_program(folder, peer), folder) as child:
        yield Subject(child)


_POLICY = """\
policy: {name}
summary: Worker restarts again and again
owner: loyalty-ops
severity: low
mode: act
match:
  - '{{alertname="{alertname}", severity=~"warning|critical"}}'
params:
  host: {{from: labels.host, type: string, pattern: '[a-z0-9-]{{1,64}}'}}
target: worker/${{host}}
bounds: {{cooldown: {cooldown}, per_target: 1000 in 1h, per_policy: 1000000 in 1h, at_once: 100000}}
{probe}\
decide:
  - do: [restart]
steps:
  restart:
    use: http.request
    via: loyalty_api
    with: {{method: POST, path: '/api/workers/${{host}}', body: {{host: '${{host}}'}}}}
{gate}\
"""
_PROBE = """\
diagnose:
  worker: {use: http.get, via: loyalty_api, with: {path: '/api/workers/${host}'}}
"""


def policy_name(number: int) -> str:
    return f"bench-{number}"


def policy(number: int, alertname: str, *, probe: bool = False) -> str:
    """One that acts at once, within generous bounds."""
    return _policy(number, alertname, probe=_PROBE if probe else "")


def gated(number: int, alertname: str, within: str) -> str:
    """One that asks the on-call first, and lets it be when nobody answers in time."""
    gate = f"    gate: {{votes: {{oncall: 1}}, within: {within}, late: deny}}\n"
    return _policy(number, alertname, gate=gate, cooldown="1d")


def _policy(number: int, alertname: str, *, probe: str = "", gate: str = "", cooldown: str = "0s") -> str:
    return _POLICY.format(
        name=policy_name(number), alertname=alertname, probe=probe, gate=gate, cooldown=cooldown
    )


def strangers(count: int) -> list[str]:
    """Policies that want none of the bench's alerts."""
    return [policy(number, f"Stranger{number}", probe=number % 2 == 0) for number in range(count)]
