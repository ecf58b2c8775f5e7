"""The judgement of clocks and servers, whatever they do; and what only a restart can show."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediator.store.doubts import JUMP, LOOKS_BACK, Standing, of_failover
from remediator.store.postgres_time import ServerTime
from remediator.store.sqlite import SqliteStore
from remediator.store.sqlite_rows import micros
from remediator.store.steady import Steady
from tests.store.doubting import DAY, SECOND, halts, now, own_up
from tests.store.samples import HOUR, NOON, HandClock

seconds = st.integers(0, 4000)
corrections = st.one_of(st.integers(-70, 70), st.integers(-200_000, 200_000))
moves = st.lists(st.tuples(seconds, corrections), max_size=30)


@settings(max_examples=300, deadline=None)
@given(moves)
def test_time_never_goes_back_and_never_runs_ahead_of_its_pace_by_more_than_a_jump(
    moves: list[tuple[int, int]],
) -> None:
    clock = HandClock()
    steady, before = Steady(clock), NOON
    ahead = timedelta()  # of the monotonic clock, since the pace was last taken
    for passed, correction in moves:
        clock.advance(timedelta(seconds=passed))
        clock.wall += timedelta(seconds=correction)
        at = steady.now()
        gained = at - before - timedelta(seconds=passed)
        assert timedelta() <= gained <= 2 * JUMP, "deadlines come up at their time"
        if abs(timedelta(seconds=correction)) > 2 * JUMP:
            assert steady.doubt is not None, "a jump is never overlooked"
        if steady.doubt is not None:
            assert not gained, "in doubt it goes at its pace"
        before, ahead = at, ahead + gained
    assert ahead <= 2 * JUMP * (1 + sum(passed for passed, _ in moves) / LOOKS_BACK.total_seconds())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(seconds, st.integers(-29, 29)), max_size=30))
def test_a_clock_that_is_corrected_by_little_is_never_doubted(moves: list[tuple[int, int]]) -> None:
    clock = HandClock()
    steady, offset = Steady(clock), 0
    for passed, wanted in moves:
        clock.advance(timedelta(seconds=passed))
        clock.wall += timedelta(seconds=wanted - offset)
        offset = wanted
        assert steady.now() >= clock.wall
        assert steady.doubt is None


BEFORE = Standing("7300000000000000001", 3, 5_000)


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (BEFORE, None),
        (Standing(BEFORE.system, 3, 5_001), None),
        (Standing(BEFORE.system, 3, 4_999), "went back in time, by 1 bytes"),
        (Standing(BEFORE.system, 4, 6_000), "a standby was promoted"),
        (Standing(BEFORE.system, 2, 6_000), "timeline 2, it was 3"),
        (Standing("7300000000000000002", 3, 5_000), "another database answers"),
    ],
)
def test_a_server_that_is_another_or_an_older_one_is_doubted(now: Standing, words: str | None) -> None:
    doubt = of_failover(BEFORE, now, NOON)
    if words is None:
        assert doubt is None
    else:
        assert doubt is not None
        assert words in doubt.text
        assert "Nothing starts until" in doubt.text
        assert (doubt.halt.scope, doubt.halt.undos) == ("all", False)


async def test_a_clock_that_is_behind_what_was_kept_is_doubted_from_the_start(tmp_path: Path) -> None:
    clock = HandClock()
    for moved, doubts in ((timedelta(), 0), (DAY, 0), (-30 * SECOND, 0), (-HOUR, 1)):
        clock.wall += moved
        latest = max(NOON + DAY, clock.wall) if moved < timedelta() else clock.wall
        store = SqliteStore(tmp_path / "state.db", clock)
        await store.open()
        assert len(await halts(store)) == doubts
        assert await store.transact(now) == latest
        if doubts:
            halt = await own_up(store)
            await store.transact(lambda tx, halt=halt: tx.lift_halt(halt.id, "ann"))  # type: ignore[misc]
            assert await halts(store) == ()
            assert await store.transact(now) == latest, "it never goes back"
        await store.close()


def test_an_answer_that_lay_there_while_the_daemon_was_frozen_is_no_jump() -> None:
    clock = HandClock()
    one = ServerTime(clock)
    one.read(micros(clock.wall), 0, clock.monotonic())
    asked, wall = clock.monotonic(), clock.wall
    clock.advance(timedelta(seconds=90))
    assert one.read(micros(wall), 0, asked).doubts == ()
    assert one.read(micros(clock.wall), 0, clock.monotonic()).doubts == ()
    assert one.now() == clock.wall
    for jump in (-HOUR, HOUR):
        asked = clock.monotonic()
        clock.advance(timedelta(seconds=90))
        clock.wall += jump
        assert len(one.read(micros(clock.wall), 0, asked).doubts) == 1
        one.settle()
