"""Journals: every edit, swap, gap and graft shows; erasing for privacy does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.core.messages import Entry
from remediator.ports import JournalEntry
from remediator.store.journal import START, erased, link, verify

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def chain(*entries: Entry, run: str = "r1") -> list[JournalEntry]:
    lines: list[JournalEntry] = []
    for seq, entry in enumerate(entries, start=1):
        previous = lines[-1].hash if lines else START
        lines.append(link(previous, run, seq, NOON + timedelta(seconds=seq), entry))
    return lines


def changed(line: JournalEntry, **fields: object) -> JournalEntry:
    return msgspec.structs.replace(line, **fields)


LINES = chain(Entry("opened", {"n": 1}), Entry("started", {"n": 2}), Entry("done"), Entry("closed"))


def test_an_untouched_journal_verifies() -> None:
    assert verify(LINES) is None
    assert verify([]) is None


@pytest.mark.parametrize(
    ("crime", "problem"),
    [
        ([LINES[0], changed(LINES[1], data={"n": 3}), *LINES[2:]], "line 2 was changed"),
        ([LINES[0], changed(LINES[1], data={"n": 2.0}), *LINES[2:]], "line 2 was changed"),
        ([LINES[0], changed(LINES[1], kind="other"), *LINES[2:]], "line 2 was changed"),
        ([LINES[0], changed(LINES[1], at=NOON), *LINES[2:]], "line 2 was changed"),
        ([LINES[0], *LINES[2:]], "line 2 is missing"),
        (LINES[1:], "line 1 is missing"),
        ([LINES[0], LINES[2], LINES[1], LINES[3]], "line 2 is missing"),
        ([LINES[0], changed(LINES[2], seq=2), changed(LINES[1], seq=3), LINES[3]], "line 2 is not linked"),
        ([LINES[0], *chain(Entry("a"), Entry("b"), run="r2")[1:]], "belongs to the journal of r2"),
        ([LINES[0], *chain(Entry("a"), Entry("b"))[1:]], "line 2 is not linked"),
    ],
)
def test_tampering_is_found(crime: list[JournalEntry], problem: str) -> None:
    assert problem in (verify(crime) or "")


def test_a_line_may_be_erased_and_an_erased_line_may_not_be_filled() -> None:
    hidden = [LINES[0], erased(LINES[1]), *LINES[2:]]
    assert hidden[1].data != LINES[1].data
    assert verify(hidden) is None
    assert erased(hidden[1]) == hidden[1]
    forged = erased(changed(LINES[1], data={"n": 99}))
    assert verify([LINES[0], forged, *LINES[2:]]) is not None


def test_the_same_instant_in_another_zone_would_be_another_line() -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=2)))
    assert link(START, "r1", 1, NOON, Entry("a")).hash != link(START, "r1", 1, elsewhere, Entry("a")).hash


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(st.dictionaries(st.text(), values, max_size=3), min_size=1, max_size=5))
def test_whatever_is_journalled_verifies(data: list[dict[str, object]]) -> None:
    lines = chain(*(Entry("e", one) for one in data))
    assert verify(lines) is None
    assert verify([erased(line) for line in lines]) is None
