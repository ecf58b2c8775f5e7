"""Our OpenAPI document at its word: schemathesis asks a real daemon what it describes, well and badly.

No answer is a 5xx, none has a status, a type or a shape that is not described, what is valid is taken, what
is not is refused, and whoever has no token hears 401 wherever one is asked for. The daemon listens where it
must take others for able to reach it, and so asks for a token to read as well.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.fuzz.outcome import Outcome
from tests.fuzz.running import SPARE_S, outside_of_coverage
from tests.rig.daemon import Daemon, alert, daemon, settings, token_of, webhook
from tests.rig.processes import scratch

NAME = "api"
EXAMPLES = 50
"""Of each operation, in one turn."""
WHO = "amina"
PAUSE: dict[str, Any] = {
    "policy": "pause-campaign",
    "summary": "A campaign spends too fast",
    "mode": "act",
    "match": ['{alertname="CampaignSpendsTooFast"}'],
    "params": {"campaign_id": {"from": "labels.campaign_id", "pattern": "[a-z0-9-]{1,64}"}},
    "target": "campaign/${campaign_id}",
    "bounds": {"per_target": "500 in 1h", "at_once": 100},
    "decide": [{"do": ["pause"]}],
    "steps": {
        "pause": {
            "use": "http.request",
            "via": "loyalty_api",
            "with": {"method": "POST", "path": "/api/campaigns/${campaign_id}/pause"},
            "gate": {"votes": {"ops_marketing": 1}, "within": "1h", "late": "page"},
            "verify": {
                "use": "http.get",
                "via": "loyalty_api",
                "with": {"path": "/api/campaigns/${campaign_id}"},
                "until": "verify.status == 200",
            },
            "undo": {"none": "people decide when it goes on"},
        }
    },
    "page": {"chain": "default"},
}
"""Runs of it wait for votes; where one gets them, nobody listens, and the run pages."""
LOOK = {name: value for name, value in PAUSE.items() if name not in ("params", "match")} | {
    "policy": "pause-all",
    "match": ['{alertname="EverythingIsSlow"}'],
    "target": "service/all",
    "steps": {
        "pause": PAUSE["steps"]["pause"] | {"with": {"method": "POST", "path": "/api/campaigns/all/pause"}}
    },
}
LOOK["steps"]["pause"]["verify"] = PAUSE["steps"]["pause"]["verify"] | {
    "with": {"path": "/api/campaigns/all"}
}
POLICIES = {"pause-campaign": PAUSE, "pause-all": LOOK}

SETTINGS = """
continue-on-failure = true
request-timeout = 5.0
max-stream-events = 1
warnings = false

[auth.openapi.token]
bearer = "{token}"

[dictionaries.runs]
values = {runs}

[dictionaries.gates]
values = {gates}

[dictionaries.fingerprints]
values = {fingerprints}

[dictionaries.policies]
values = {policies}

[[operations]]
include-name = "POST /api/v1/runs"
parameters = {{ "body.policy" = {{ dictionary = "policies", probability = 0.6 }} }}

[[operations]]
include-path-regex = "/runs/.id."
parameters = {{ "path.id" = {{ dictionary = "runs", probability = 0.6 }} }}

[[operations]]
include-path-regex = "/gates/.id."
parameters = {{ "path.id" = {{ dictionary = "gates", probability = 0.6 }} }}

[[operations]]
include-path-regex = "/alerts/.fingerprint."
parameters = {{ "path.fingerprint" = {{ dictionary = "fingerprints", probability = 0.6 }} }}

# What no schema can say: `before` is the id of a run that there is, a halt names a policy or a target
# and not both, a run has the params of its policy. Each has a test of its own.
[[operations]]
include-name = ["GET /api/v1/runs", "POST /api/v1/halts", "POST /api/v1/runs"]
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 404, 409]
"""


@dataclass(frozen=True)
class Known:
    """What there is to ask about."""

    runs: list[str]
    gates: list[str]
    fingerprints: list[str]
    document: str


@contextmanager
def asked() -> Iterator[tuple[Daemon, Known]]:
    """A daemon with runs that wait for votes."""
    policies = {name: json.dumps(policy) for name, policy in POLICIES.items()}
    with daemon(settings(world="http://127.0.0.1:9"), policies, host="127.0.0.2") as one:
        yield one, asyncio.run(_filled(one))


async def _filled(one: Daemon) -> Known:
    alerts = [alert(alertname="CampaignSpendsTooFast", campaign_id=f"c-{number}") for number in range(12)]
    assert await one.webhook(webhook(*alerts)) == 200
    headers = {"Authorization": f"Bearer {token_of(WHO)}"}
    async with aiohttp.ClientSession(one.url, headers=headers) as session, asyncio.timeout(10):
        while True:
            async with session.get("/api/v1/gates") as answer:
                gates = (await answer.json())["gates"]
            if len(gates) == len(alerts):
                break
            await asyncio.sleep(0.05)
        async with session.get("/api/v1/openapi.json") as answer:
            document = await answer.text()
    runs, ids = [gate["run"] for gate in gates], [gate["id"] for gate in gates]
    return Known(runs, ids, [one["fingerprint"] for one in alerts], document)


PHASES = ("coverage", "fuzzing", "stateful")
"""Every border of every schema; chance; and operations that go on with what others gave."""


def run(*, seconds: float | None, examples: int, seed: int, phases: tuple[str, ...] = PHASES) -> Outcome:
    """So many examples of each operation; with ``seconds``, again and again for so long."""
    with scratch("api") as folder, asked() as (one, known):
        (folder / "openapi.json").write_text(known.document)
        (folder / "schemathesis.toml").write_text(_settings(known))
        options = ["--checks", "all", "--max-examples", str(examples), "--seed", str(seed)]
        options += [
            "--phases",
            ",".join(phases),
            "--report",
            "json",
            "--report-json-path",
            str(folder / "report.json"),
        ]
        options += ["--max-time", str(round(seconds))] if seconds is not None else []
        command = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"]
        command += ["--no-color", "--config-file", str(folder / "schemathesis.toml")]
        command += ["run", str(folder / "openapi.json"), "--url", one.url, *options]
        done = subprocess.run(
            command,
            cwd=folder,
            env=outside_of_coverage(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=(seconds or 0) + SPARE_S,
            check=False,
        )
        return _outcome(done, folder / "report.json", seed)


def _settings(known: Known) -> str:
    names = {name: json.dumps(some) for name, some in vars(known).items() if name != "document"}
    return SETTINGS.format(token=token_of(WHO), policies=json.dumps(list(POLICIES)), **names)


def _outcome(done: subprocess.CompletedProcess[str], report: Path, seed: int) -> Outcome:
    told = json.loads(report.read_text()) if report.exists() else {}
    if not told.get("complete") or not told["operations"]:
        return Outcome(
            NAME, "schemathesis", 0, 0, 0.0, f"{done.stdout[-6000:]}\n---- it did not come to its end"
        )
    cases, operations = told["test_cases"], told["operations"]
    taken = sum(phase["accepted"] for each in told["valid_rates"].values() for phase in each.values())
    problem = ""
    if done.returncode or operations["tested"] != operations["total"]:
        problem = f"{done.stdout[-6000:]}\n---- again:   python -m tests.fuzz {NAME} --seed {seed}"
    return Outcome(NAME, "schemathesis", cases["generated"], taken, told["running_time"], problem)
