"""What the packs ask Prometheus, asked by promtool of series at its default scrape interval, a minute.

What proves a step must hold once the trouble is over, also where nothing has ever failed; and it must not
hold while it goes on.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.packs.room import POLICIES
from tests.rig.components import program

pytestmark = [pytest.mark.real, pytest.mark.needs("promtool"), pytest.mark.timeout(60)]

TIMEOUTS = "linkist_db_timeouts_total"
HEALTHY = 'probe_success{job="linkist-health",service="app"}'
LOGINS = 'linkist_login_failures_total{job="linkist",instance="app-1",user_id="u"}'
SCRAPED = 'up{job="linkist",instance="app-1"}'

PROOFS: list[tuple[str, str, str, dict[str, str], float | None]] = [
    ("linkist-nfc", "uploads", "restart", {'linkist_uploads_total{status="done"}': "0+60x40"}, 0.0),
    (
        "linkist-nfc", "uploads", "restart",
        {'linkist_uploads_total{status="done"}': "0+30x40",
         'linkist_uploads_total{status="failed"}': "0+30x40"}, 0.5,
    ),
    ("linkist-nfc", "uploads", "restart", {'linkist_uploads_total{status="done"}': "60x40"}, None),
    ("linkist-nfc", "processing", "restart", {'linkist_files_total{status="done"}': "0+60x40"}, 0.0),
    ("linkist-nfc", "processing", "restart", {'linkist_files_total{status="done"}': "60x40"}, None),
    ("linkist-nfc", "database-timeouts", "end_leaked", {TIMEOUTS: "0+60x40", HEALTHY: "1x40"}, 300.0),
    ("linkist-nfc", "database-timeouts", "restart", {TIMEOUTS: "0+60x40", HEALTHY: "1x40"}, 300.0),
    ("linkist-nfc", "database-timeouts", "restart", {TIMEOUTS: "0+60x10 600x30", HEALTHY: "1x40"}, 0.0),
    ("linkist-nfc", "database-timeouts", "restart", {HEALTHY: "1x40"}, 0.0),
    (
        "linkist-nfc", "database-timeouts", "restart",
        {TIMEOUTS: "0 _x4 300 _x4 600 _x4 900 _x4 1200", HEALTHY: "1x40"}, None,
    ),
    ("linkist-nfc", "database-timeouts", "restart", {TIMEOUTS: "600x40", HEALTHY: "0x40"}, 1000.0),
]  # fmt: skip
"""Pack, policy, step, the series, and what its proof reads after twenty minutes and a half."""

UPLOADS = 'probe_success{job="linkist-health",service="upload-service"}'
FIRES = 'ALERTS{alertstate="firing",alertname="LinkistX",component="%s"}'
DONE, FAILED = 'linkist_uploads_total{status="done"}', 'linkist_uploads_total{status="failed"}'

ENDS: list[tuple[str, dict[str, str], float]] = [
    ("app", {HEALTHY: "1x40"}, 1.0),
    ("app", {HEALTHY: "1x40", FIRES % "upload-service": "1x40"}, 1.0),
    ("app", {HEALTHY: "1x40", FIRES % "app": "1x40"}, 0.0),
    ("app", {HEALTHY: "0x40"}, 0.0),
    ("app", {HEALTHY: "0x24 stale"}, 0.0),
    ("upload-service", {UPLOADS: "1x40", DONE: "0+60x40"}, 1.0),
    ("upload-service", {UPLOADS: "1x40", DONE: "50x40", FAILED: "0+4x10 40x30"}, 0.0),
    ("upload-service", {UPLOADS: "1x40"}, 0.0),
    ("processing-service", {UPLOADS.replace("upload", "processing"): "1x40", DONE: "0+60x40"}, 0.0),
]
"""A component, the series, and whether the page shows it as working after twenty minutes and a half."""

FIRED: list[tuple[str, str, dict[str, str], bool]] = [
    ("linkist-nfc", "LinkistLoginsSuspicious", {LOGINS: "_x18 1000x12", SCRAPED: "1x40"}, True),
    ("linkist-nfc", "LinkistLoginsSuspicious", {LOGINS: "0+10x40", SCRAPED: "1x40"}, True),
    ("linkist-nfc", "LinkistLoginsSuspicious", {LOGINS: "1000x40", SCRAPED: "1x40"}, False),
    ("linkist-nfc", "LinkistLoginsSuspicious", {LOGINS: "_x18 1000x12", SCRAPED: "_x18 1x12"}, False),
    ("iamenu", "IamenuNotificationsNotSent", {"iamenu_notifications_waiting": "300x40"}, True),
    (
        "iamenu", "IamenuNotificationsNotSent",
        {"iamenu_notifications_waiting": "300x40", "iamenu_notifications_sent_total": "7x40"}, True,
    ),
    (
        "iamenu", "IamenuNotificationsNotSent",
        {"iamenu_notifications_waiting": "300x40", "iamenu_notifications_sent_total": "0+9x40"}, False,
    ),
    ("finaegis", "FinaegisReconciliationDiscrepancy", {}, True),  # what told of it has gone
    (
        "finaegis", "FinaegisReconciliationDiscrepancy",
        {"finaegis_reconciliation_timestamp_seconds": "0 stale"}, False,
    ),
    (
        "iamenu", "IamenuNotificationsFailed",
        {"iamenu_notifications_failed_total": "0+9x40"}, True,
    ),
]  # fmt: skip
"""Pack, alert, the series, and whether it fires after twenty minutes and a half."""


BACKUP = "linkist_backup_completed_timestamp_seconds"
TIERS = 'loyalty_worker_last_success_timestamp_seconds{worker="tier-evaluation"}'
FIGURES = "iamenu_analytics_updated_timestamp_seconds"

GONE: list[tuple[str, str, dict[str, str], str, bool]] = [
    ("linkist-nfc", "LinkistBackupOverdue", {BACKUP: "0x60 stale"}, "25h", False),
    ("linkist-nfc", "LinkistBackupOverdue", {BACKUP: "0x60 stale"}, "27h", True),
    ("linkist-nfc", "LinkistBackupOverdue", {BACKUP: "0x60 stale"}, "96h", True),
    (
        "linkist-nfc", "LinkistBackupOverdue",
        {BACKUP: "0x60 stale", BACKUP + '{pod="b"}': "_x90 5400x9"}, "27h", False,
    ),
    ("linkist-nfc", "LinkistBackupOverdue", {}, "10m", True),
    ("molam-loyalty", "LoyaltyTierEvaluatorFailed", {TIERS: "0x30 stale"}, "50m", False),
    ("molam-loyalty", "LoyaltyTierEvaluatorFailed", {TIERS: "0x30 stale"}, "65m", True),
    ("molam-loyalty", "LoyaltyTierEvaluatorFailed", {TIERS: "0x30 stale"}, "72h", True),
    ("iamenu", "IamenuAnalyticsStale", {FIGURES: "0 stale"}, "4m", False),
    ("iamenu", "IamenuAnalyticsStale", {FIGURES: "0 stale"}, "10m", True),
    ("iamenu", "IamenuAnalyticsStale", {FIGURES: "0 stale"}, "72h", True),
]  # fmt: skip
"""Pack, alert, the series of a process that is gone, when it is asked, and whether it fires."""


@pytest.mark.parametrize(("system", "policy", "step", "series", "read"), PROOFS)
def test_what_a_proof_reads(
    system: str, policy: str, step: str, series: dict[str, str], read: float | None, tmp_path: Path
) -> None:
    written = yaml.safe_load((POLICIES / system / f"{policy}.yaml").read_text())
    query = written["steps"][step]["verify"]["with"]["query"]
    samples = [] if read is None else [{"labels": "{}", "value": read}]
    asked = {"expr": query, "eval_time": "20m30s", "exp_samples": samples}
    _told(tmp_path, series, {"promql_expr_test": [asked]})


@pytest.mark.parametrize(("component", "series", "read"), ENDS)
def test_silence_does_not_end_an_outage_that_the_status_page_shows(
    component: str, series: dict[str, str], read: float, tmp_path: Path
) -> None:
    written = yaml.safe_load((POLICIES / "linkist-nfc" / "status-page.yaml").read_text())
    (early,) = (one for one in written["steps"]["show"]["undo"]["early"] if one != "unverified")
    assert early["until"] == "verify.value == 1.0"
    query = early["with"]["query"].replace("${component}", component)
    asked = {"expr": query, "eval_time": "20m30s", "exp_samples": [{"labels": "{}", "value": read}]}
    _told(tmp_path, series, {"promql_expr_test": [asked]})


@pytest.mark.parametrize(("system", "alert", "series", "fires"), FIRED)
def test_whether_an_alert_fires(
    system: str, alert: str, series: dict[str, str], fires: bool, tmp_path: Path
) -> None:
    _fires(system, alert, series, "20m30s", fires, tmp_path)


@pytest.mark.parametrize(("system", "alert", "series", "at", "fires"), GONE)
def test_a_job_that_did_not_run_is_told_also_where_its_figure_is_gone(
    system: str, alert: str, series: dict[str, str], at: str, fires: bool, tmp_path: Path
) -> None:
    _fires(system, alert, series, at, fires, tmp_path)


def _fires(system: str, alert: str, series: Mapping[str, str], at: str, fires: bool, folder: Path) -> None:
    groups = yaml.safe_load((POLICIES / system / "alerts.yaml").read_text())["groups"]
    (rule,) = (one for group in groups for one in group["rules"] if one["alert"] == alert)
    asked = {"expr": f"count({rule['expr']}) > bool 0 or vector(0)", "eval_time": at}
    samples = [{"labels": "{}", "value": int(fires)}]
    _told(folder, series, {"promql_expr_test": [asked | {"exp_samples": samples}]})


def _told(folder: Path, series: Mapping[str, str], asked: Mapping[str, Any]) -> None:
    given = [{"series": name, "values": values} for name, values in series.items()]
    tests = folder / "tests.yaml"
    tests.write_text(json.dumps({"tests": [{"interval": "1m", "input_series": given, **asked}]}))
    told = subprocess.run(
        [program("promtool"), "test", "rules", str(tests)], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
