"""What runs come to: sums, overlaps, and two backtests side by side."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from remediator.policyfiles.backtest.result import (
    Overlap,
    PolicySeen,
    Result,
    RunSeen,
    StepSeen,
    compare,
    overlapping,
    summed,
)

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
END = NOON + timedelta(days=1)


def ran(start: float, end: float | None, policy: str = "a", **other: Any) -> RunSeen:
    fields: dict[str, Any] = {
        "policy": policy,
        "target": "worker/w-1",
        "mode": "act",
        "alert": "Stuck",
        "opened_at": NOON + start * MINUTE,
        "closed_at": NOON + end * MINUTE if end is not None else None,
        "outcome": "fixed" if end is not None else None,
    }
    return RunSeen(**fields | other)


def steps(*minutes: float, risk: str = "disruptive") -> tuple[StepSeen, ...]:
    return tuple(StepSeen("restart", NOON + one * MINUTE, risk) for one in minutes)


def total(*runs: RunSeen) -> PolicySeen:
    return summed(PolicySeen(policy="a", mode="act"), runs, END)


def result(*policies: PolicySeen) -> Result:
    return Result(
        source="test",
        since=NOON,
        until=END,
        people="approve",
        deliveries=0,
        alerts=0,
        troubles=0,
        policies=policies,
        runs=(),
    )


def test_runs_are_counted_by_how_they_ended() -> None:
    runs = (ran(0, 1), ran(2, 3), ran(4, None), ran(5, 9, asks=("queue",), outcome="recovered"))
    found = total(*runs)
    assert found.runs == 4
    assert found.outcomes == {"fixed": 2, "open": 1, "would-ask": 1}
    assert found.asks == {"queue": 1}


def test_the_most_at_once_counts_no_run_whose_end_is_anothers_beginning() -> None:
    assert total(ran(0, 5), ran(5, 9)).at_once == 1
    assert total(ran(0, 6), ran(5, 9), ran(8, 12)).at_once == 2
    assert total(ran(0, None), ran(500, None)).at_once == 2
    assert total(ran(0, 600, held_from=NOON + 5 * MINUTE), ran(6, 9)).at_once == 1, "a hold is not open"


def test_the_peak_is_of_any_hour_and_of_what_is_not_safe() -> None:
    runs = (ran(0, 1, steps=steps(0, 30, 59)), ran(60, 61, steps=steps(60, 61)))
    assert total(*runs).acts_per_hour == 4  # 30, 59, 60, 61: the hour that began at 0 is over at 60
    assert total(ran(0, 1, steps=steps(0, 1, risk="safe"))).acts_per_hour == 0


def test_overlaps_are_of_two_policies_on_one_target_at_one_time() -> None:
    runs = [
        ran(0, 10, "a"),
        ran(5, 15, "b"),
        ran(6, 7, "b"),
        ran(12, 14, "a"),
        ran(5, 15, "c", target="worker/w-2"),
        ran(15, 20, "c"),
    ]
    assert overlapping(runs, END) == {
        "a": (Overlap("b", 2, ("worker/w-1",)),),
        "b": (Overlap("a", 2, ("worker/w-1",)),),
    }


def test_a_difference_is_told_in_words_and_sameness_not_at_all() -> None:
    old, same = PolicySeen(policy="a", mode="act", runs=3), PolicySeen(policy="s", mode="act", runs=1)
    new = msgspec.structs.replace(
        old, runs=14, steps={"restart": 2}, overlaps=(Overlap("b", 2, ("worker/w-1",)),), pages=1
    )
    (found,) = compare(result(old, same), result(new, same))
    assert found.told == (
        "would have run 14 times instead of 3; 2 steps started instead of 0; 1 page instead of 0; "
        "2 overlap with b"
    )


def test_a_policy_that_was_added_or_removed_is_beside_nothing() -> None:
    one = PolicySeen(policy="a", mode="act", runs=1)
    (added,) = compare(result(), result(one))
    assert (added.before, added.told) == (None, "would have run once instead of 0")
    (gone,) = compare(result(one), result())
    assert (gone.after, gone.told) == (None, "would have run never instead of 1")


def test_a_result_survives_json() -> None:
    whole = msgspec.structs.replace(
        result(total(ran(0, 1, steps=steps(0)))), runs=(ran(0, 1, steps=steps(0)),)
    )
    assert msgspec.json.decode(msgspec.json.encode(whole), type=Result) == whole
