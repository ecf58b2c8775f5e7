"""The bench itself works, and some figures that no other load on the machine can spoil."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from bench.figures import Bar, Figure, percentile
from tests.rig.processes import REPOSITORY

pytestmark = pytest.mark.no_cover


def bench(*options: str, within: float = 220) -> tuple[int, list[dict[str, Any]], str]:
    """Exit status, the figures, and what was said beside them."""
    command = [sys.executable, "-m", "bench", *options]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=within, check=False
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.mark.e2e
def test_what_was_answered_200_survives_a_kill() -> None:
    status, (lost,), said = bench("--quick", "lost")
    assert (status, lost["value"], lost["ok"]) == (0, 0, True), said
    assert lost["accepted"][0] >= 1000
    assert lost["limit"] == "at most 0"


def test_ten_thousand_policies_cost_no_more_than_a_look_into_an_index() -> None:
    _, (match,), said = bench("--quick", "match")
    assert match["ratio"] < 0.05, said  # beside asking each policy: true on any machine, however busy
    assert match["policies"] == 10_000


def test_a_thousand_policies_are_linted_in_seconds() -> None:
    _, (lint,), said = bench("--quick", "lint")
    assert lint["policies"] == 200
    assert 1 < lint["ratio"] < 60, (
        said
    )  # twice what it is beside the parser alone: true on any machine, however busy


@pytest.mark.e2e
def test_a_backtest_plays_the_same_record_in_little_room() -> None:
    _, (seconds, rss), said = bench("--quick", "backtest")
    assert (rss["ok"], seconds["deliveries"], seconds["troubles"]) == (True, 10_000, 200), said
    assert seconds["runs_found"] == 420
    assert seconds["value"] < 20, "a hundredth of the promise, with everything that starting costs"


@pytest.mark.e2e
def test_a_thousand_gates_wait_in_little_room_without_a_stir() -> None:
    _, figures, said = bench("--quick", "gate")
    rss, store, idle, expiry = figures
    assert [one["name"] for one in figures] == ["gate_rss", "gate_store", "gate_idle", "gate_expiry"]
    assert (rss["ok"], store["ok"]) == (True, True), (rss, store, said)
    assert idle["commits_per_s"][0] <= idle["commits_per_s_baseline"][0] + 1, idle
    assert expiry["value"] > 0


@pytest.mark.real
@pytest.mark.needs("postgresql")
def test_a_probe_is_measured_beside_a_bare_fetch() -> None:
    _, figures, said = bench("--quick", "probe_postgres")
    assert [one["name"] for one in figures] == ["probe_postgres", "probe_postgres_join"]
    for one in figures:
        assert one["probe_p50"] == pytest.approx(one["value"] + one["baseline"], rel=0.01), said
        assert 0 < one["value"] < 30, "ten times the limit: not even a busy machine excuses that"


def test_a_hundred_stories_are_told_in_a_moment() -> None:
    _, (told,), said = bench("--quick", "stories")
    assert (told["name"], told["stories"]) == ("stories", 100)
    assert told["runs_of_policies"] >= 100, said
    assert told["value"] < 10, "ten times what they may take: not even a busy machine excuses that"


def test_a_figure_that_misses_its_limit_says_so() -> None:
    late = Figure("late", Bar("ms", "at most", 10), runs=[9, 12, 11], baseline=[1, 2, 3])
    told = json.loads(late.line(others_busy=0.5))
    assert (told["value"], told["ok"], told["ratio"]) == (11, False, 5.5)
    assert not Figure("few", Bar("POST/s", "at least", 10), runs=[9], baseline=[]).ok


def test_nothing_that_never_arrived_counts_as_quick() -> None:
    assert percentile([1.0] * 98 + [float("inf")] * 2, 0.99) == float("inf")
    assert percentile([], 0.5) == float("inf")


def test_an_unknown_name_is_refused() -> None:
    status, figures, said = bench("acept_1")
    assert (status, figures) == (2, [])
    assert "there is no acept_1" in said


@pytest.mark.e2e
def test_runs_are_measured_beside_their_bare_transactions() -> None:
    _, (one,), said = bench("--quick", "runs_sqlite")
    assert (one["name"], one["runs_each"]) == ("runs_sqlite", 60)
    assert one["ratio"] > 0, said
    assert one["value"] > 10, "a twentieth of the promise: not even a busy machine excuses that"


@pytest.mark.real
@pytest.mark.e2e
@pytest.mark.needs("postgresql")
def test_runs_on_postgresql_are_measured_beside_their_bare_transactions() -> None:
    _, (one,), said = bench("--quick", "runs_postgres")
    assert (one["name"], one["server_ms_per_run"][0] > 0) == ("runs_postgres", True), said
    assert one["value"] > 3, "a fiftieth of the promise: not even a busy machine excuses that"


def test_questions_are_measured_beside_few_and_many_open_runs() -> None:
    one, said = _claims("claims_sqlite")
    assert (one["open_runs"], one["lines"]) == ([100, 1000], [5000, 50000]), said
    assert {"claim_inbox", "due", "next_due", "claim_run", "seen", "holders", "decision"} <= set(
        one["ratios"]
    )
    assert one["value"] < 5, "ten times as many: no question reads them all, not even on a busy machine"


@pytest.mark.real
@pytest.mark.needs("postgresql")
def test_questions_on_postgresql_are_measured_beside_few_and_many_open_runs() -> None:
    one, said = _claims("claims_postgres")
    assert one["open_runs"] == [100, 1000], said
    assert one["value"] < 5, "ten times as many: no question reads them all, not even on a busy machine"


def _claims(name: str) -> tuple[dict[str, Any], str]:
    """Measured again where it is out of all reason: a question that reads them all is so each time."""
    _, (one,), said = bench("--quick", name)
    again = 2
    while one["value"] >= 5 and again:
        _, (one,), said = bench("--quick", name)
        again -= 1
    return one, said
