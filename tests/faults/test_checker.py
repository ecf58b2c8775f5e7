"""The judge of the storm: an overrun bound is told by the order of commits, not by what their clocks read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from remediator.core.run import Run
from remediator.ports import JournalEntry
from tests.faults.checker import Heard, Kept, check
from tests.faults.policies import AT_ONCE, SCARCE
from tests.store.samples import NOON, a_run

HEARD = Heard([], {}, {}, {f"r{number}" for number in range(9)})


def judged(*happened: tuple[float, str, str]) -> list[str]:
    """Seconds, what, which run; in the order of the commits."""
    system = [_line("system", seq, *one) for seq, one in enumerate(happened, start=1)]
    runs = sorted({run for _, _, run in happened})
    kept = Kept([_run(run) for run in runs], {run: [] for run in runs}, system, set(), set(), 0, ())
    return [one for one in check(kept, HEARD).others if one.startswith("13")]


def _line(journal: str, seq: int, at: float, kind: str, run: str) -> JournalEntry:
    data: dict[str, Any] = {"run": run}
    return JournalEntry(
        run=journal, seq=seq, at=NOON + timedelta(seconds=at), kind=kind, data=data, previous="", hash=""
    )


def _run(name: str) -> Run:
    return a_run(name, policy=SCARCE, target=f"thing/{name}")


FULL = [(float(number), "run-opened", f"r{number}") for number in range(AT_ONCE)]


def test_room_that_was_made_before_the_commit_may_be_later_by_the_clock() -> None:
    assert judged(*FULL, (9.0, "run-closed", "r0"), (8.9, "run-opened", "r8")) == []


def test_one_too_many_is_told_whatever_the_clock_says() -> None:
    (told,) = judged(*FULL, (9.0, "run-opened", "r8"), (8.9, "run-closed", "r0"))
    assert f"{AT_ONCE + 1} runs of {SCARCE} at once: r8 was opened" in told
