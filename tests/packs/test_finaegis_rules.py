"""What the queries and rules of finaegis say of series that are missing, twice there, or of other pods."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.packs.room import POLICIES
from tests.rig.components import program

pytestmark = [pytest.mark.real, pytest.mark.needs("promtool")]

PACK = POLICIES / "finaegis"
APP = {"namespace": "finaegis", "container": "app"}


def query(policy: str, *way: str) -> str:
    """A query of a policy, by the keys that lead to it."""
    here: Any = yaml.safe_load((PACK / f"{policy}.yaml").read_text())
    for key in (*way, "with", "query"):
        here = here[key]
    return str(here)


def series(name: str, values: str, **labels: str) -> dict[str, str]:
    listed = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return {"series": f"{name}{{{listed}}}", "values": values}


def used(pod: str, working: int, cgroup: str) -> dict[str, str]:
    return series("container_memory_working_set_bytes", f"{working}x80", **APP, pod=pod, id=cgroup)


def limit(pod: str) -> dict[str, str]:
    name = "kube_pod_container_resource_limits"
    return series(name, "1000x80", **APP, pod=pod, resource="memory")


def answered(status: str) -> dict[str, str]:
    return series("http_requests_total", "0+100x80", job="finaegis", status=status)


def slow(bound: str, values: str) -> dict[str, str]:
    return series("http_request_duration_seconds_bucket", values, job="finaegis", le=bound)


FAST = [slow("0.1", "0+100x80"), slow("+Inf", "0+100x80")]
TARDY = [slow("0.1", "0x80"), slow("4", "0+100x80"), slow("+Inf", "0+100x80")]
ERRORS = query("bad-release", "diagnose", "errors")
GOOD = query("bad-release", "steps", "roll_back", "verify")
MEMORY = {
    query("memory-pressure", "diagnose", "used"),
    query("memory-pressure", "steps", "clear_caches", "verify"),
    query("memory-pressure", "steps", "more_memory", "verify"),
}
TWICE = [used("finaegis-app-1", 500, "/old"), used("finaegis-app-1", 950, "/new"), limit("finaegis-app-1")]
HORIZON = [used("finaegis-horizon-1", 990, "/h"), limit("finaegis-horizon-1")]
FIRING = (
    {
        "exp_labels": {"severity": "high", "metric": "memory", "level": "critical"},
        "exp_annotations": {
            "policies": "finaegis-memory-pressure",
            "summary": "A pod uses 95% of its memory",
        },
    },
)


def test_the_queries_hold_for_series_that_are_missing_or_twice_there(tmp_path: Path) -> None:
    fine, wrong = answered("200"), answered("503")
    cases = [
        case("a release that is slow without one error", [fine, *TARDY], {ERRORS: 0, GOOD: 1}),
        case("a rollback that leaves no error series", [fine, *FAST], {ERRORS: 0, GOOD: 0}),
        case("half of the answers are errors", [fine, wrong, *FAST], {ERRORS: 0.5, GOOD: 1}),
        case("a platform that answers nobody is not proved good", FAST, {ERRORS: None, GOOD: None}),
        case("a container that was just restarted", [*TWICE, *HORIZON], dict.fromkeys(MEMORY, 0.95), FIRING),
        case("another pod's container of that name", HORIZON, dict.fromkeys(MEMORY)),
    ]
    given = {"rule_files": [str(PACK / "alerts.yaml")], "evaluation_interval": "15s", "tests": cases}
    path = tmp_path / "rules.test.yaml"
    path.write_text(yaml.safe_dump(given))
    asked = [program("promtool"), "test", "rules", str(path)]
    told = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


def case(
    name: str, given: list[dict[str, str]], values: dict[str, float | None], firing: tuple[Any, ...] = ()
) -> dict[str, Any]:
    """After fifteen minutes: what each query says, None for nothing; and how the memory rule fires."""
    queries = [
        {
            "expr": expr,
            "eval_time": "15m",
            "exp_samples": [] if value is None else [{"labels": "{}", "value": value}],
        }
        for expr, value in values.items()
    ]
    rule = {"eval_time": "15m", "alertname": "FinaegisMemoryCritical", "exp_alerts": list(firing)}
    return {
        "name": name,
        "interval": "15s",
        "input_series": given,
        "promql_expr_test": queries,
        "alert_rule_test": [rule],
    }
