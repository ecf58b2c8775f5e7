"""Is the time still the time, and the database still the one that it was? Asked by every store. Pure.

A store that doubts starts nothing: it shows each decision a halt of its own, from that moment on, until a
person has looked and lifted it. Pages and undos go on.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from remediator.core.durations import format_duration
from remediator.core.run import Halt

JUMP = timedelta(minutes=1)
"""What a wall clock may be put forward or back by, within `LOOKS_BACK`."""

LOOKS_BACK = timedelta(hours=1)
"""Small corrections are compared over so long: many of them are no jump, and may not add up to one unseen."""

DOUBTER = "remediator"
"""Who halts: as no person is called."""

_halt = msgspec.json.Decoder(Halt)


class Doubt(msgspec.Struct, frozen=True):
    """What a person must look at before anything starts again. ``id``: of its halt."""

    id: str
    at: datetime
    text: str

    @property
    def halt(self) -> Halt:
        """What decisions see of it, and what becomes a row. Undos go on."""
        return Halt(id=self.id, scope="all", reason=self.text, by=DOUBTER, at=self.at)


STANDING = "SELECT doc FROM halts WHERE lifted_at IS NULL AND scope = 'all' ORDER BY at, id"
"""What `of_standing` looks through, in both stores' SQL."""


def of_standing(docs: Iterable[str]) -> Doubt | None:
    """The doubt about the clock that nobody had settled when the daemon was started again."""
    halts = map(_halt.decode, docs)
    ours = (halt for halt in halts if halt.by == DOUBTER and halt.id.startswith(_prefix("clock")))
    return next((Doubt(halt.id, halt.at, halt.reason) for halt in ours), None)


def with_doubts(halts: Iterable[Halt], doubts: Iterable[Halt]) -> tuple[Halt, ...]:
    """All that stops starts, the oldest first; a doubt that has its row already counts once."""
    by_id = {halt.id: halt for halt in (*doubts, *halts)}
    if not by_id:  # nearly always
        return ()
    return tuple(sorted(by_id.values(), key=lambda halt: (halt.at, halt.id)))


class Pace(msgspec.Struct, frozen=True):
    """Where two clocks stood when they were last taken to agree. ``monotonic``: seconds."""

    wall: datetime
    monotonic: float

    def jump(self, wall: datetime, monotonic: float) -> timedelta:
        """By how much the wall clock was put forward since; negative: back. None is less than `JUMP`."""
        ahead = wall - self.wall - timedelta(seconds=monotonic - self.monotonic)
        return ahead if abs(ahead) > JUMP else timedelta()

    def later(self, wall: datetime, monotonic: float) -> Pace:
        """What to compare with from now on, after no jump was found."""
        old = monotonic - self.monotonic > LOOKS_BACK.total_seconds()
        return Pace(wall, monotonic) if old else self


def of_clock(jump: timedelta, at: datetime) -> Doubt:
    """The clock was put forward or back. ``at``: the store's own time, in which nothing jumps."""
    way = "forward" if jump > timedelta() else "back"
    slept = ", or its machine slept" if jump > timedelta() else ""
    return Doubt(
        _id("clock", at),
        at,
        f"the clock jumped {way} by {_seconds(jump)}{slept}. Deadlines go on as if it had not; "
        "nothing starts until somebody has looked at the clock and, if it is wrong, set it right",
    )


def of_past(behind: timedelta, at: datetime) -> Doubt:
    """The daemon starts, and the clock shows a time that had passed when it stopped."""
    return Doubt(
        _id("clock", at),
        at,
        f"the clock is {_seconds(behind)} behind the last time that was kept in the store. Deadlines "
        "go on from there; nothing starts until somebody has looked at the clock and, if it is wrong, set it "
        "right",
    )


class Standing(msgspec.Struct, frozen=True):
    """Where a PostgreSQL server stood. ``system``: its identifier; ``position``: in the WAL, bytes."""

    system: str
    timeline: int
    position: int


def of_failover(before: Standing, now: Standing, at: datetime) -> Doubt | None:
    """Another server answers, or an older state of this one: what was committed last may be lost."""
    if now.system != before.system:
        what = f"another database answers (system {now.system}, it was {before.system})"
    elif now.timeline != before.timeline:
        was = f"timeline {now.timeline}, it was {before.timeline}"
        what = f"a standby was promoted, or a backup restored ({was})"
    elif now.position < before.position:
        lost = before.position - now.position
        what = (
            f"the database went back in time, by {lost} bytes of its log: a backup or a snapshot was put back"
        )
    else:
        return None
    return Doubt(
        f"h-failover-{now.system}-{now.timeline}-{now.position if now.position < before.position else 0}",
        at,
        f"{what}. Steps that were started, votes and results of the last moments may be missing from it, and "
        "a step that ran may look as if it had not. Nothing starts until somebody has compared the runs of "
        "the last minutes with what their targets say",
    )


def _seconds(span: timedelta) -> str:
    return format_duration(timedelta(seconds=round(abs(span).total_seconds())))


def _id(kind: str, at: datetime) -> str:
    return f"{_prefix(kind)}{at:%Y%m%dt%H%M%S}"


def _prefix(kind: str) -> str:
    return f"h-{kind}-"
