"""What failures do to a policy: stepped down from the one that is too many, for a time, and never up."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediator.core.admission import refusal
from remediator.core.breaker import lower, mode_now, stepped_down
from remediator.core.messages import Seen, Use
from remediator.core.planning import Address
from remediator.core.policy import Policy
from remediator.core.run import Halt
from tests.core.campaign import CATALOG, START, TARGET, policy, post

EXAMPLES = 600 if os.environ.get("CI") == "true" else 300
MINUTE = timedelta(minutes=1)


def broken(written: str = "act", **breaker: Any) -> Policy:
    terms = {"failures": 3, "within": "1h", "mode": "suggest", "for": "30m"} | breaker
    return policy({"pause": post("/p")}, mode=written, bounds={"breaker": terms})


def mode(at: float, *failures: float, **terms: Any) -> str:
    """The mode so many minutes after the start, with failures at these minutes."""
    use = Use(failures=tuple(START + MINUTE * one for one in failures))
    return mode_now(broken(**terms), Seen(now=START + MINUTE * at, use=use))


@pytest.mark.parametrize(
    ("failures", "down"),
    [
        ((), False),
        ((1, 2), False),
        ((1, 2, 3), True),
        ((3, 1, 2), True),  # in any order
        ((-57, 1, 3), False),  # an hour and no less apart
        ((-56.9, 1, 3), True),
        ((1, 2, 3, 4, 5), True),
    ],
)
def test_so_many_failures_within_so_long_step_the_policy_down(
    failures: tuple[float, ...], *, down: bool
) -> None:
    assert mode(10, *failures) == ("suggest" if down else "act")


def test_it_lasts_from_the_failure_that_was_too_many_to_the_very_moment() -> None:
    assert [mode(at, 1, 2, 3) for at in (3, 32.99, 33)] == ["suggest", "suggest", "act"]
    told = stepped_down(broken(), [START, START + MINUTE, START + 2 * MINUTE], START + 2 * MINUTE)
    assert told is not None
    assert (told.mode, told.until) == ("suggest", START + 32 * MINUTE)
    assert told.why == "3 of its runs failed or did not help within 1h"


def test_one_more_failure_meanwhile_makes_it_last_longer() -> None:
    assert [mode(at, 1, 2, 3, 20) for at in (33, 49.99, 50)] == ["suggest", "suggest", "act"]


def test_one_failure_after_it_is_enough_while_the_others_are_not_forgotten() -> None:
    assert mode(45, 1, 2, 3) == "act"
    assert mode(45, 1, 2, 3, 45) == "suggest"
    assert mode(65, 1, 2, 3, 65) == "act"


@pytest.mark.parametrize(
    ("written", "breaker", "then"),
    [
        ("act", "suggest", "suggest"),
        ("act", "observe", "observe"),
        ("suggest", "suggest", "suggest"),
        ("suggest", "observe", "observe"),
        ("observe", "suggest", "observe"),
        ("observe", "observe", "observe"),
    ],
)
def test_it_never_steps_up(written: str, breaker: str, then: str) -> None:
    one, use = broken(written, mode=breaker), Use(failures=(START,) * 3)
    assert mode_now(one, Seen(now=START, use=use)) == then
    assert (stepped_down(one, use.failures, START) is None) is (written == then)


def test_without_a_breaker_failures_change_nothing() -> None:
    assert mode_now(policy({"pause": post("/p")}), Seen(now=START, use=Use(failures=(START,) * 99))) == "act"


def by_hand(failures: Sequence[int], limit: int, within: int, lasts: int, now: int) -> bool:
    """Is it down, counted failure by failure?"""
    for last in failures:
        together = [one for one in failures if last - within < one <= last]
        if len(together) >= limit and last <= now < last + lasts:
            return True
    return False


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.lists(st.integers(-200, 0), max_size=12),
    st.integers(1, 4),
    st.integers(1, 100),
    st.integers(1, 100),
    st.integers(0, 100),
)
def test_it_is_down_exactly_when_somebody_counting_by_hand_says_so(
    failures: list[int], limit: int, within: int, lasts: int, now: int
) -> None:
    terms: dict[str, Any] = {"failures": limit, "within": f"{within}m", "for": f"{lasts}m"}
    found = mode(now, *failures, **terms)
    assert (found == "suggest") is by_hand(failures, limit, within, lasts, now)
    memory = broken(**terms).bounds.breaker
    assert memory is not None
    recent = [one for one in failures if MINUTE * one > MINUTE * now - memory.memory]
    assert mode(now, *recent, **terms) == found, "what a store leaves out changes nothing"


def test_modes_are_ordered_by_what_they_do_alone() -> None:
    assert lower("observe", "suggest") and lower("suggest", "act")
    assert not lower("act", "act")


def test_a_policy_that_only_observes_for_a_time_asks_for_no_lock() -> None:
    """What it would do, it says in spite of a halt, and beside a run that acts on the target."""
    halt = Halt(id="h", scope="all", reason="stop", by="amina", at=START)
    use = Use(failures=(START,) * 3)
    seen = Seen(now=START, use=use, halts=(halt,), holder="r9")
    assert refusal(broken(mode="observe"), CATALOG, Address(TARGET, {}), seen) is None
    no = refusal(broken(mode="suggest"), CATALOG, Address(TARGET, {}), seen)
    assert no is not None
    assert no.bound == "halt"
