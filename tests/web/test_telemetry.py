"""Logs that stay one line each and keep secrets; metrics that tell what the store holds."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from remediator import telemetry
from remediator.errors import StoreError
from remediator.store import open_store
from remediator.telemetry import JsonLines, Metrics, PlainLines, TimedStore, configure_logging
from tests.store.samples import HandClock
from tests.web.scene import ENDED, fill, policies


def record(message: str = "event", **extra: Any) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "remediator.engine", "levelname": "INFO", "msg": message, **extra})
    made.created = 1_795_255_200.5
    return made


def test_a_line_is_json_with_its_fields() -> None:
    line = json.loads(JsonLines().format(record("run opened", run="r-1", target="worker/w-3", count=2)))
    assert line["time"] == "2026-11-21T10:00:00.500Z"
    assert (line["level"], line["logger"], line["event"]) == ("info", "remediator.engine", "run opened")
    assert (line["run"], line["target"], line["count"]) == ("r-1", "worker/w-3", 2)


HOSTILE = "a\nb\r\x1b[31m\u202e\u2028\x00\ud800é💥"


@pytest.mark.parametrize("lines", [JsonLines(), PlainLines()])
def test_whatever_a_label_holds_a_line_stays_a_line(lines: logging.Formatter) -> None:
    told = lines.format(record(HOSTILE, label=HOSTILE, labels={HOSTILE: [HOSTILE]}))
    assert len(told.splitlines()) == 1
    assert all(letter.isprintable() for letter in told)
    told.encode("utf-8")


def test_json_lines_are_ascii_for_any_locale() -> None:
    JsonLines().format(record(HOSTILE, label=HOSTILE)).encode("ascii")


@pytest.mark.parametrize(
    "fields",
    [
        {"authorization": "canary-value"},
        {"bot_token": "canary-value"},
        {"settings": {"password": "canary-value"}},
        {"problem": "Authorization: Bearer canary-value"},
        {"problem": "header Basic canary-value=="},
        {"url": "postgresql://me:canary-value@db/x"},
        {"slack": "xoxb-canary-value"},
        {"anything": "the plain canary-secret is known"},
    ],
)
@pytest.mark.parametrize("kind", [JsonLines, PlainLines])
def test_secrets_never_show(kind: type[JsonLines], fields: dict[str, Any]) -> None:
    told = kind(secrets=["canary-secret"]).format(record(**fields))
    assert "canary" not in told
    assert "(hidden)" in told


def test_a_field_is_bounded() -> None:
    assert len(JsonLines().format(record(label="x" * 1_000_000))) < 10_000


def test_a_traceback_is_a_field_of_its_line() -> None:
    with pytest.raises(ValueError, match="canary") as caught:
        int("Bearer canary-value")
    told = JsonLines().format(record(exc_info=(caught.type, caught.value, caught.tb)))
    assert len(told.splitlines()) == 1
    assert "canary" not in told
    assert "ValueError" in json.loads(told)["traceback"]


def test_for_a_person_a_line_is_short() -> None:
    told = PlainLines().format(record("run opened", run="r-1", levelname="WARNING"))
    assert told == "10:00:00 warning engine: run opened  run=r-1"


def test_logging_is_configured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        configure_logging("debug", json=False)
        configure_logging("warning")
        assert [type(one.formatter) for one in root.handlers] == [JsonLines]
        assert root.level == logging.WARNING
        with pytest.raises(ValueError, match="write debug, info, warning or error"):
            configure_logging("loud")
    finally:
        root.handlers[:] = before
        root.setLevel(level)


# ── Metrics ───────────────────────────────────────────────────────────────────────────────────────


def values(text: bytes) -> dict[str, float]:
    lines = (line for line in text.decode().splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def test_what_the_store_holds_is_counted_from_its_rows(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/a.db", HandClock())
    await store.open()
    await fill(store)
    found = values(await Metrics().scrape(store))
    await store.close()
    assert found["remediator_gates_open"] == 1
    assert found["remediator_holds"] == 1
    assert found["remediator_pages_open"] == 1
    assert found["remediator_refusals_standing"] == 2
    assert found["remediator_inbox_depth"] == 0
    assert found["remediator_store_up"] == 1
    assert found['remediator_runs_total{outcome="fixed",policy="stuck-worker"}'] == 1
    assert sum(value for name, value in found.items() if name.startswith("remediator_runs_total")) == len(
        ENDED
    )
    assert found['remediator_runs_open{policy="stuck-worker",stage="asking"}'] == 1
    assert not [name for name in found if 'stage="holding"' in name]


async def test_a_store_that_is_down_shows_and_leaves_no_old_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(f"sqlite:///{tmp_path}/a.db", HandClock())
    await store.open()
    metrics = Metrics()
    await metrics.scrape(store)

    async def broken(_work: Any) -> Any:
        raise StoreError("store", "disk I/O error")

    monkeypatch.setattr(store, "read", broken)
    found = values(await metrics.scrape(store))
    await store.close()
    assert found["remediator_store_up"] == 0
    assert "remediator_gates_open" not in found


def test_what_no_row_remembers_is_counted_here() -> None:
    metrics = Metrics()
    counts = {("alertmanager", "accepted"): 1, ("alertmanager", "alerts"): 3, ("alertmanager", "400"): 1}
    metrics.deliveries(lambda: counts)
    metrics.step("stuck-worker", "restart_worker", "unknown")
    metrics.commit(0.004)
    metrics.policies(policies())
    found = values(metrics.render())
    assert found['remediator_deliveries_total{result="accepted",source="alertmanager"}'] == 1
    assert found['remediator_alerts_total{source="alertmanager"}'] == 3
    assert found['remediator_steps_total{policy="stuck-worker",result="unknown",step="restart_worker"}'] == 1
    assert found['remediator_store_commit_seconds_bucket{le="0.005"}'] == 1
    assert found['remediator_policies{mode="act"}'] == 2
    assert any(name.startswith("remediator_build_info") for name in found)


async def test_a_timed_store_is_the_store_and_counts_its_commits(tmp_path: Path) -> None:
    metrics = Metrics()
    store = TimedStore(open_store(f"sqlite:///{tmp_path}/a.db", HandClock()), metrics)
    await store.open()
    await store.transact(lambda tx: tx.settle_delivery(1))
    assert await store.read(lambda tx: tx.inbox_depth()) == 0

    async def broken(_tx: Any) -> None:
        raise StoreError("store", "full")

    with pytest.raises(StoreError):
        await store.transact(broken)
    await store.close()
    found = values(metrics.render())
    assert found["remediator_store_commit_seconds_count"] == 1
    assert found["remediator_store_up"] == 0


def test_two_registries_do_not_meet() -> None:
    one, other = telemetry.Metrics(), telemetry.Metrics()
    one.step("p", "s", "done")
    assert "remediator_steps_total{" not in str(values(other.render()))
