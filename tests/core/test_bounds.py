"""The limits, asked before each start: never more of them in any window than allowed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediator.core import bounds
from remediator.core.durations import Rate
from remediator.core.messages import Seen, Spent, Use
from remediator.core.run import Halt, Refusal
from tests.core.campaign import START, TARGET, policy, post

EXAMPLES = 1_000 if os.environ.get("CI") == "true" else 500


BUDGETS = {"pauses": Rate(3, timedelta(hours=1))}


def ask(seen: Seen, **limits: Any) -> bounds.Ask:
    generous = {"cooldown": "0s", "per_target": "1000 in 24h", "per_policy": "1000 in 24h", "at_once": 100}
    return bounds.Ask(policy({"pause": post("/p")}, bounds=generous | limits), TARGET, seen, BUDGETS)


def minutes(*numbers: float) -> tuple[datetime, ...]:
    return tuple(START - timedelta(minutes=number) for number in numbers)


def refusal(use: Use, **limits: Any) -> Refusal | None:
    return bounds.to_change(ask(Seen(now=START, use=use), **limits))


# ── One by one ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("ago", "refused"), [(0, True), (29.99, True), (30, False), (31, False)])
def test_the_cooldown_is_over_at_its_very_end(ago: float, refused: bool) -> None:
    (at,) = minutes(ago)
    for use in (Use(last_act=at), Use(last_denial=at)):
        no = refusal(use, cooldown="30m")
        assert (no is not None) is refused
        assert no is None or no.again_at == at + timedelta(minutes=30)


def test_the_cooldown_says_what_it_runs_from() -> None:
    no = refusal(Use(last_denial=minutes(10)[0]), cooldown="30m")
    assert str(no) == "cooldown: campaign/c-1 was denied or expired 10m ago; cooldown 30m"


@pytest.mark.parametrize("field", ["target_acts", "policy_acts"])
@pytest.mark.parametrize(
    ("ago", "again_in"), [((1, 2, 59), 1), ((59.5, 3, 40), 0.5), ((1, 2, 60), None), ((1, 2), None)]
)
def test_a_rate_looks_at_its_window_in_any_order(field: str, ago: Any, again_in: float | None) -> None:
    bound = {"target_acts": "per_target", "policy_acts": "per_policy"}[field]
    use: dict[str, Any] = {field: minutes(*ago)}
    no = refusal(Use(**use), **{bound: "3 in 1h"})
    if again_in is None:
        assert no is None
    else:
        assert no is not None
        assert (no.bound, no.again_at) == (bound, START + timedelta(minutes=again_in))


def test_a_limit_that_was_lowered_is_met_again_only_when_enough_acts_have_left() -> None:
    no = refusal(Use(target_acts=minutes(1, 2, 3, 4, 5)), per_target="2 in 1h")
    assert no is not None
    assert no.again_at == START + timedelta(minutes=58)


def test_a_limit_of_none_at_all_always_refuses() -> None:
    no = refusal(Use(), per_target="0 in 1h")
    assert no is not None
    assert no.again_at == START + timedelta(hours=1)


@pytest.mark.parametrize(("used", "refused"), [(0, False), (1, False), (2, True), (3, True)])
def test_at_once(used: int, refused: bool) -> None:
    no = refusal(Use(open_runs=used), at_once=2)
    assert (no is not None) is refused
    assert no is None or no.waits_for == "policy:late-campaign"


def test_the_first_bound_that_says_no_is_told_and_halts_come_first() -> None:
    halt = Halt(id="h", scope="policy:late-campaign", reason="deploy", by="amina", at=START)
    use = Use(last_act=START, open_runs=100)
    everything = Seen(now=START, use=use, halts=(halt,), holder="r9")
    no = bounds.to_open(ask(everything, cooldown="1h"))
    assert no is not None
    assert str(no) == "halt: halted by amina (policy:late-campaign): deploy"
    assert (no.waits_for, no.again_at) == ("halt", None)


@pytest.mark.parametrize(
    ("scope", "covers"),
    [
        ("all", True),
        ("policy:late-campaign", True),
        ("policy:late", False),
        (f"target:{TARGET}", True),
        ("target:campaign/c-10", False),
        ("campaign/c-1", False),
    ],
)
def test_what_a_halt_covers(scope: str, covers: bool) -> None:
    halt = Halt(id="h", scope=scope, reason="x", by="amina", at=START)
    assert halt.covers("late-campaign", TARGET) is covers


def spent(*shares: tuple[str, float]) -> Use:
    """The budget as these policies took from it, so many minutes ago."""
    return Use(budget_acts=tuple(Spent(by, START - timedelta(minutes=ago)) for by, ago in shares))


def test_a_budget_is_shared_and_says_who_took_it() -> None:
    use = spent(("halve", 1), ("pause", 20), ("halve", 59), ("halve", 60))
    no = refusal(use, budget="pauses")
    assert str(no) == "budget: 3 of 3 runs of budget pauses in 1h, by halve 2, pause 1"
    assert no is not None
    assert no.again_at == START + timedelta(minutes=1)
    assert refusal(use) is None, "it has no budget"
    assert refusal(spent(("halve", 1), ("halve", 60)), budget="pauses") is None


def test_a_budget_that_the_settings_have_lost_allows_nothing() -> None:
    no = refusal(Use(), budget="gone")
    assert str(no) == "budget: the settings have no budget gone any more"
    assert no is not None
    assert no.again_at == START + timedelta(minutes=5)


WINDOWS: list[tuple[dict[str, list[str]], str, str]] = [  # it is Wednesday, 2026-03-04, 10:00 UTC
    ({"not": ["Wed 09:30-11:30 Africa/Dakar", "Thu UTC"]}, "in Wed 09:30-11:30 Africa/Dakar", "03-04 11:30"),
    ({"not": ["Wed UTC", "Thu 00:00-06:00 UTC", "Thu 06:00-07:00 UTC"]}, "in Wed UTC", "03-05 07:00"),
    (
        {"only": ["Sat,Sun UTC", "Thu 12:00-13:00 Europe/Berlin"]},
        "outside Sat,Sun UTC and Thu 12",
        "03-05 11:00",
    ),
    ({"only": ["22:00-06:00 UTC"]}, "outside 22:00-06:00 UTC", "03-04 22:00"),
]


@pytest.mark.parametrize(("windows", "told", "opens"), WINDOWS)
def test_a_window_that_is_shut_is_named_with_the_moment_at_which_it_opens(
    windows: dict[str, list[str]], told: str, opens: str
) -> None:
    no = refusal(Use(), windows=windows)
    assert no is not None
    assert no.reason.startswith(f"nothing may start {told}")
    assert no.again_at is not None
    assert f"{no.again_at:%m-%d %H:%M}" == opens
    assert no.reason.endswith(f"; next at {no.again_at:%a} 2026-{opens} UTC")
    just_before = Seen(now=no.again_at - timedelta(microseconds=1))
    assert bounds.to_change(ask(just_before, windows=windows)) is not None
    assert bounds.to_change(ask(Seen(now=no.again_at), windows=windows)) is None


def test_windows_that_stay_shut_for_weeks_say_so_and_are_asked_again_all_the_same() -> None:
    no = refusal(Use(), windows={"not": ["Mon-Sun UTC"]})
    assert no is not None
    assert "that will not change in the next 35d" in no.reason
    assert no.again_at == START + timedelta(weeks=5)


@pytest.mark.parametrize("asked", [bounds.to_open, bounds.to_observe, bounds.to_change, bounds.to_go_on])
def test_windows_are_asked_every_time(asked: Callable[[bounds.Ask], Refusal | None]) -> None:
    no = asked(ask(Seen(now=START), windows={"not": ["Wed UTC"]}))
    assert no is not None
    assert no.bound == "windows"


def test_who_has_acted_is_asked_for_halts_and_the_target_only() -> None:
    use = Use(last_act=START, target_acts=(START,) * 9, policy_acts=(START,) * 9, open_runs=9)
    use = msgspec.structs.replace(use, budget_acts=(Spent("other", START),) * 9)
    limits = {"cooldown": "1h", "per_target": "1 in 1h", "per_policy": "1 in 1h", "at_once": 1}
    limits["budget"] = "pauses"
    assert bounds.to_go_on(ask(Seen(now=START, use=use), **limits)) is None
    held = bounds.to_go_on(ask(Seen(now=START, use=use, holder="r9"), **limits))
    assert held is not None
    assert held.waits_for == f"target:{TARGET}"


def test_who_observes_waits_for_no_lock_and_no_halt() -> None:
    halt = Halt(id="h", scope="all", reason="x", by="amina", at=START)
    assert bounds.to_observe(ask(Seen(now=START, halts=(halt,), holder="r9"))) is None
    cooling = Seen(now=START, use=Use(last_act=START))
    assert bounds.to_observe(ask(cooling, cooldown="1h")) is not None


# ── Together ──────────────────────────────────────────────────────────────────────────────────────


def most_in_any(window: timedelta, starts: Sequence[datetime]) -> int:
    return max((sum(at <= other < at + window for other in starts) for at in starts), default=0)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.lists(st.integers(0, 5_000), max_size=60),
    st.integers(1, 5),
    st.integers(1, 10_000),
    st.integers(0, 3_000),
)
def test_never_more_starts_in_any_window_than_the_limit(
    gaps: list[int], limit: int, per: int, cooldown: int
) -> None:
    asked = ask(Seen(now=START), per_target=f"{limit} in {per}s", cooldown=f"{cooldown}s").policy
    starts: list[datetime] = []
    now = START
    for gap in gaps:
        now += timedelta(seconds=gap)
        use = Use(last_act=starts[-1] if starts else None, target_acts=tuple(reversed(starts)))
        no = bounds.to_change(bounds.Ask(asked, TARGET, Seen(now=now, use=use)))
        if no is None:
            starts.append(now)
        else:
            assert no.again_at is not None
            assert no.again_at > now, "a refusal that is asked again at once would spin"
    window, pause = timedelta(seconds=per), timedelta(seconds=cooldown)
    assert most_in_any(window, starts) <= limit
    assert all(later - earlier >= pause for earlier, later in pairwise(starts))


@settings(max_examples=EXAMPLES // 5, deadline=None)
@given(st.lists(st.integers(1, 7_000), max_size=20), st.integers(1, 4))
def test_a_rate_that_refused_allows_again_exactly_when_it_said(ago: list[int], limit: int) -> None:
    use = Use(target_acts=tuple(START - timedelta(seconds=seconds) for seconds in ago))
    no = refusal(use, per_target=f"{limit} in 1h")
    if no is not None:
        assert no.again_at is not None
        just_before = Seen(now=no.again_at - timedelta(microseconds=1), use=use)
        assert bounds.to_change(ask(just_before, per_target=f"{limit} in 1h")) is not None
        assert bounds.to_change(ask(Seen(now=no.again_at, use=use), per_target=f"{limit} in 1h")) is None


@settings(max_examples=EXAMPLES // 5, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 1_500)), max_size=40))
def test_policies_that_share_a_budget_never_take_more_than_it_has(wishes: list[tuple[str, int]]) -> None:
    taken: list[Spent] = []
    now = START
    for by, gap in wishes:
        now += timedelta(seconds=gap)
        no = bounds.to_change(
            ask(Seen(now=now, use=Use(budget_acts=tuple(reversed(taken)))), budget="pauses")
        )
        if no is None:
            taken.append(Spent(by, now))
        else:
            assert no.again_at is not None and now < no.again_at <= now + timedelta(hours=1)
    assert most_in_any(timedelta(hours=1), [one.at for one in taken]) <= 3
