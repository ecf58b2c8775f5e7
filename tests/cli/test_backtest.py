"""``policy backtest`` at a terminal: each source, each report, and what is told when a record is bad."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from remediator.cli import backtest, main
from remediator.connectors.prometheus import PrometheusSettings
from remediator.core.alert import Alert, Delivery
from remediator.core.messages import Entry
from remediator.core.run import Outcome, Run, Stage
from remediator.policyfiles.backtest import alerts_metric
from remediator.policyfiles.backtest.result import Result
from remediator.policyfiles.backtest.sources import Span, WebhookFile, as_line
from remediator.ports import KeptPolicy, Tx
from remediator.store import open_store
from tests.store.samples import HandClock

POLICY = """\
policy: restart-worker
summary: A worker is stuck
mode: act
match: ['{alertname="Stuck"}']
params: {worker: {from: labels.worker, pattern: '[a-z0-9-]{1,20}'}}
target: worker/${worker}
diagnose: {queue: {use: http.get, via: api, with: {path: '/queue/${worker}'}}}
decide:
  - when: queue.json.depth > 10
    do: [restart]
  - do: nothing
steps:
  restart:
    use: http.request
    via: api
    with: {method: POST, path: '/restart/${worker}'}
    verify: {use: http.get, via: api, with: {path: '/${worker}'}, until: verify.status == 200}
"""
CONFIG = """\
targets: [worker]
roles: {oncall: [bob]}
people: {bob: {}}
escalations: {default: [{role: oncall}]}
connections: {api: {kind: http, base_url: 'http://127.0.0.1:1'}}
"""
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LABELS = {"alertname": "Stuck", "worker": "w-1"}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout; commands run in it."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "restart-worker.yaml").write_text(POLICY)
    (tmp_path / "remediator.yaml").write_text(CONFIG)
    (tmp_path / "alerts.jsonl").write_text("\n".join((line(0), line(30), line(60, over=True))))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def line(minute: float, *, over: bool = False) -> str:
    at = NOON + minute * MINUTE
    alert: dict[str, Any] = {
        "labels": LABELS,
        "status": "resolved" if over else "firing",
        "startsAt": NOON.isoformat(),
        "fingerprint": "f1",
    }
    return as_line(at, {"alerts": [alert | ({"endsAt": at.isoformat()} if over else {})]})


def played(*words: str) -> int:
    return main(["policy", "backtest", "policies", *words])


def test_a_file_is_played_and_the_report_says_what_is_not_known(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert played("--from-file", "alerts.jsonl") == 0
    said = capsys.readouterr()
    assert (
        "1 trouble in 3 deliveries, 2026-11-21 12:00 to 2026-11-21 13:00 UTC, from alerts.jsonl" in said.out
    )
    assert "restart-worker: would ask, and no record answers: queue (1)" in said.out
    assert "- Probes are answered by what was recorded" in said.out
    assert said.err == ""


def test_the_json_is_the_result(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert played("--from-file", "alerts.jsonl", "--json") == 0
    result = msgspec.json.decode(capsys.readouterr().out, type=Result)
    (run,) = result.runs
    assert (run.target, run.asks, run.opened_at, run.told) == ("worker/w-1", ("queue",), NOON, "would-ask")
    assert result.policies[0].unknown == 1


def test_markdown_and_a_page(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert played("--from-file", "alerts.jsonl", "--markdown", "--html", "report.html") == 0
    assert "| `restart-worker` | act | 1 | 1 | would-ask 1 |" in capsys.readouterr().out.replace("\\-", "-")
    page = (desk / "report.html").read_text()
    assert "<svg" in page
    assert "worker/w-1" in page


def test_bad_lines_are_told_with_their_place_and_the_rest_is_played(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = (desk / "alerts.jsonl").read_text()
    (desk / "alerts.jsonl").write_text("oops\n" * 30 + good)
    assert played("--from-file", "alerts.jsonl", "--json") == 1
    said = capsys.readouterr()
    assert said.err.splitlines()[0].startswith("alerts.jsonl:1: ")
    assert said.err.splitlines()[-1] == "… 10 more"
    assert json.loads(said.out)["skipped"] == 30


def test_a_record_with_the_newest_first_is_told_and_in_doubt(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (desk / "alerts.jsonl").read_text().splitlines()
    (desk / "alerts.jsonl").write_text("\n".join(reversed(lines)))
    assert played("--from-file", "alerts.jsonl") == 1
    said = capsys.readouterr()
    told = "2 lines are older than what came before by more than a minute, the first is line 2"
    assert f"Out of order: {told}" in said.out
    assert f"alerts.jsonl: {told}" in said.err
    assert played("--from-file", "alerts.jsonl", "--json") == 1
    assert json.loads(capsys.readouterr().out)["late"] == 2


def test_a_few_lines_out_of_order_are_told_and_no_more(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [line(n / 10) for n in range(200)]
    (desk / "alerts.jsonl").write_text("\n".join([*lines, line(0), *lines[-2:]]))
    assert played("--from-file", "alerts.jsonl") == 0
    assert "alerts.jsonl: 1 line is older" in capsys.readouterr().err


def test_what_the_record_cuts_off_is_said(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (desk / "alerts.jsonl").write_text("\n".join((line(0), line(30))))
    assert played("--from-file", "alerts.jsonl", "--since", "2026-11-21T12:10Z", "--markdown") == 0
    said = capsys.readouterr().out
    assert "1 alert was never resolved in the record: runs after their last delivery are guesses" in said
    assert "What came before \\-\\-since is not heard" in said or "What came before --since is not" in said
    assert played("--from-file", "alerts.jsonl") == 0
    assert "--since" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--from-file", "none.jsonl"), "none.jsonl: cannot be read: No such file or directory; name a file"),
        (("--from-file", "policies"), "policies: cannot be read: Is a directory"),
        (("--from-file", "empty.jsonl"), "none of its lines is a webhook with an alert in it"),
        (("--from-file", "alerts.jsonl", "--until", "2999-01-01T00:00Z"), "--until: 2999-01-01 lies ahead"),
        (("--from-file", "remediator.yaml"), "none of its lines is a webhook"),
        (("--from-store",), "does not exist"),
        (("--from-prometheus", "nonsense"), "--from-prometheus"),
        (("--from-prometheus", "http://127.0.0.1:1"), "cannot be reached"),
        (("--from-file", "alerts.jsonl", "--since", "2026-11-22T00:00Z", "--until", "7d"), "is not before"),
    ],
)
def test_what_cannot_be_played_says_why(
    desk: Path, words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (desk / "empty.jsonl").write_text('{"alerts": []}\n{"alerts": [{"labels": {"worker": 3}}]}\n')
    assert played(*words) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("step", ["500ms", "0s", "x"])
def test_a_step_is_of_whole_seconds(desk: Path, step: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        played("--from-prometheus", "http://127.0.0.1:1", "--step", step)
    assert "--step" in capsys.readouterr().err


# ── Secrets ───────────────────────────────────────────────────────────────────────────────────────


def keeps_secrets(desk: Path) -> None:
    config = CONFIG.replace(
        "connections: {api: {kind: http, base_url: 'http://127.0.0.1:1'}}\n",
        """\
connections:
  api: {kind: http, base_url: 'http://127.0.0.1:1'}
  other: {kind: http, base_url: 'http://127.0.0.1:2', headers: {Authorization: '${env:NOBODY_SET_THIS}'}}
  main: {kind: prometheus, url: 'http://127.0.0.1:1/a', headers: {Authorization: '${env:NOR_THIS}'}}
  far: {kind: prometheus, url: '${env:FAR_URL}', headers: {Authorization: '${env:FAR_TOKEN}'}}
store: '${env:STORE}'
""",
    )
    (desk / "remediator.yaml").write_text(config)


def test_a_record_in_a_store_needs_no_secret_but_the_stores(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(remembers(desk, 50))
    keeps_secrets(desk)
    assert played("--from-file", "alerts.jsonl") == 0
    capsys.readouterr()
    assert played("--from-store", *SPAN) == 2
    assert "store: the environment variable STORE is not there" in capsys.readouterr().err
    monkeypatch.setenv("STORE", "sqlite:remediator.db")
    assert played("--from-store", *SPAN, "--json") == 0
    assert json.loads(capsys.readouterr().out)["deliveries"] == 1


def test_a_prometheus_needs_no_secret_but_its_own(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keeps_secrets(desk)
    asked: list[PrometheusSettings] = []

    def source(found: PrometheusSettings, span: Span, *_rest: object) -> WebhookFile:
        asked.append(found)
        return WebhookFile(desk / "alerts.jsonl", span)

    monkeypatch.setattr(alerts_metric, "AlertsMetric", source)
    assert played("--from-prometheus", "http://127.0.0.1:1/other", *SPAN) == 0
    assert asked[-1].headers == {}
    assert played("--from-prometheus", "http://127.0.0.1:1/a", *SPAN) == 2
    assert "NOR_THIS is not there" in capsys.readouterr().err
    monkeypatch.setenv("NOR_THIS", "Bearer one")
    assert played("--from-prometheus", "http://127.0.0.1:1/a/", *SPAN) == 0
    assert asked[-1].headers["Authorization"].get_secret_value() == "Bearer one"
    monkeypatch.setenv("FAR_URL", "http://far.example:9090")
    monkeypatch.setenv("FAR_TOKEN", "Bearer two")
    assert played("--from-prometheus", "http://far.example:9090", *SPAN) == 0
    assert asked[-1].headers["Authorization"].get_secret_value() == "Bearer two"


@pytest.mark.parametrize("when", ["yesterday", "0s", "2026-11-22T00:00"])
def test_a_time_that_is_none_is_refused(desk: Path, when: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        played("--from-store", "--since", when)
    assert "--since" in capsys.readouterr().err


# ── The store: its deliveries, and what its probes have read ──────────────────────────────────────


async def remembers(desk: Path, depth: int, *, changed: bool = False) -> None:
    """A daemon had the alert, and read the queue: the run and its journal are there."""
    clock = HandClock(NOON)
    store = open_store("sqlite:remediator.db", clock, desk)
    await store.open()
    alert = Alert(fingerprint="f1", status="firing", labels=LABELS, starts_at=NOON)
    run = Run(
        id="r-1",
        policy="restart-worker",
        version="v1",
        mode="act",
        target="worker/w-1",
        opened_at=NOON,
        alert=alert,
        members={},
        params={"worker": "w-1"},
        stage=Stage.CLOSED,
        outcome=Outcome.DENIED,
        closed_at=NOON,
    )
    reading = {"probe": "queue", "ok": True, "value": {"status": 200, "json": {"depth": depth}}, "error": ""}
    text = POLICY.replace("/queue/", "/other/") if changed else POLICY

    async def work(tx: Tx) -> None:
        delivery = Delivery(source="alertmanager", alerts=(alert,), received_at=NOON)
        await tx.settle_delivery(await tx.put_delivery(delivery))
        await tx.keep_policy(KeptPolicy("v1", "restart-worker", text, "policies/restart-worker.yaml"))
        await tx.save_run(run, None)
        await tx.journal("r-1", [Entry("opened", {}), Entry("reading", reading)])

    await store.transact(work)
    await store.close()


SPAN = ("--since", "2026-11-21T11:00Z", "--until", "2026-11-21T13:00Z")


@pytest.mark.parametrize(
    ("depth", "changed", "outcome"),
    [(50, False, "fixed"), (3, False, "nothing-to-do"), (50, True, "would-ask")],
)
def test_probes_are_answered_from_the_stores_journals_unless_they_ask_something_else_now(
    desk: Path, depth: int, changed: bool, outcome: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(remembers(desk, depth, changed=changed))
    assert played("--from-store", *SPAN, "--json") == 0
    result = msgspec.json.decode(capsys.readouterr().out, type=Result)
    first = result.runs[0]
    assert (first.told, [step.step for step in first.steps]) == (
        outcome,
        ["restart"] if outcome == "fixed" else [],
    )
    if first.told == "fixed":
        assert (first.gates, first.closed_at) == (1, NOON + 2 * MINUTE)
    assert result.until == NOON + 60 * MINUTE
    assert first.asks == (() if outcome != "would-ask" else ("queue",))


def test_silent_people_let_the_gate_expire(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(remembers(desk, 50))
    assert played("--from-store", *SPAN, "--people", "silent", "--json") == 0
    result = msgspec.json.decode(capsys.readouterr().out, type=Result)
    assert (result.runs[0].told, result.runs[0].pages, result.runs[0].steps) == ("expired", 1, ())


# ── How far it is ─────────────────────────────────────────────────────────────────────────────────


def test_a_terminal_shows_a_bar_and_a_pipe_a_line_now_and_then(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk / "alerts.jsonl").write_text("\n".join(line(n / 1000) for n in range(5000)))
    monkeypatch.setattr(backtest._Progress, "LINE_EVERY_S", 0.0)
    monkeypatch.setattr("remediator.policyfiles.backtest.replay.PAGE", 1000)
    assert played("--from-file", "alerts.jsonl") == 0
    assert "backtest: " in capsys.readouterr().err
    assert played("--from-file", "alerts.jsonl", "--quiet") == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert played("--from-file", "alerts.jsonl") == 0
    shown = capsys.readouterr().err
    assert "1,000 deliveries" in shown
    assert "░" in shown or "█" in shown
    assert shown.endswith("\r\x1b[K")
