"""The timeline of a backtest as geometry: lanes, bars and axis, in units of an SVG. Pure.

Few runs of a policy are drawn one by one; many are counted in slices of time, so that the picture says as
much of 10,000 runs as of one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from remediator.policyfiles.backtest.reports import active
from remediator.policyfiles.backtest.result import Result, RunSeen

WIDTH = 1000.0
"""Of the time axis."""
LANE = 34.0
GAP = 10.0
MOST_LANES = 25
MOST_BARS = 120
"""Runs of one policy that are drawn one by one."""
MOST_ROWS = 4
"""Rows of one lane, where runs lie beside each other."""
SLICES = 200
_LEAST = 2.5
"""Width of the shortest bar: it must be seen."""

_ROOM = 8.0
"""Width of a bar in which the starts of steps can be told apart."""

TONES = {
    "fixed": "good",
    "recovered": "calm",
    "nothing-to-do": "calm",
    "observed": "calm",
    "would-ask": "unknown",
    "holding": "busy",
    "open": "busy",
    "refused": "warn",
    "denied": "warn",
    "expired": "warn",
    "handed-over": "calm",
    "ineffective": "bad",
    "failed": "bad",
}
ORDER = ("good", "calm", "busy", "unknown", "warn", "bad")
LEGEND = {
    "good": "fixed",
    "calm": "nothing done: recovered, nothing to do, or only observed",
    "busy": "still open or holding at the end",
    "unknown": "would ask a probe; no record answers",
    "warn": "refused, denied or expired",
    "bad": "failed or ineffective",
}

_TICKS = tuple(
    timedelta(minutes=minutes)
    for minutes in (1, 5, 15, 30, 60, 180, 360, 720, 1440, 2880, 10080, 20160, 43200, 129600, 525600)
)


@dataclass(frozen=True)
class Bar:
    """A run, or the runs of one tone in one slice of time."""

    x: float
    y: float
    width: float
    height: float
    tone: str
    title: str
    acts: tuple[float, ...] = ()  # where steps were started


@dataclass(frozen=True)
class Lane:
    """A policy's runs."""

    policy: str
    y: float
    told: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Tick:
    """A place on the time axis."""

    x: float
    label: str


@dataclass(frozen=True)
class Picture:
    """All of it."""

    height: float
    lanes: tuple[Lane, ...]
    ticks: tuple[Tick, ...]
    left_out: int  # policies that have no lane

    @property
    def marks(self) -> bool:
        """Is any bar so wide that the starts of steps are drawn in it?"""
        return any(bar.acts for lane in self.lanes for bar in lane.bars)


def picture(result: Result) -> Picture:
    """The runs of a backtest against time."""
    scale = _Scale(result.since, result.until)
    busy = [one for one in active(result) if one.runs]
    by_policy: dict[str, list[RunSeen]] = {one.policy: [] for one in busy[:MOST_LANES]}
    for run in result.runs:
        if run.policy in by_policy:
            by_policy[run.policy].append(run)
    lanes = tuple(
        Lane(policy, y, f"{len(runs):,}", tuple(_drawn(runs, y, scale)))
        for y, (policy, runs) in zip(_places(), by_policy.items(), strict=False)
    )
    height = len(lanes) * (LANE + GAP)
    return Picture(height, lanes, tuple(_ticks(scale)), len(busy) - len(lanes))


class _Scale:
    """Time → x."""

    def __init__(self, since: datetime, until: datetime) -> None:
        self.since = since
        self.until = max(until, since + timedelta(minutes=1))
        self._length = (self.until - self.since).total_seconds()

    def x(self, at: datetime) -> float:
        """Within the picture."""
        share = (at - self.since).total_seconds() / self._length
        return round(WIDTH * min(1.0, max(0.0, share)), 2)


def _places() -> Iterator[float]:
    y = 0.0
    while True:
        yield y
        y += LANE + GAP


def _drawn(runs: Sequence[RunSeen], y: float, scale: _Scale) -> Iterable[Bar]:
    return _one_by_one(runs, y, scale) if len(runs) <= MOST_BARS else _counted(runs, y, scale)


def _one_by_one(runs: Sequence[RunSeen], y: float, scale: _Scale) -> Iterator[Bar]:
    """Each in the first row that is free; the last row takes what finds none."""
    placed: list[tuple[int, float, float, RunSeen]] = []
    ends: list[float] = []
    for run in runs:
        x = scale.x(run.opened_at)
        width = max(_LEAST, scale.x(run.until(scale.until)) - x)
        x = min(x, WIDTH - width)
        row = next((number for number, end in enumerate(ends) if end <= x), len(ends))
        row = min(row, MOST_ROWS - 1)
        ends[row : row + 1] = [max([x + width, *ends[row : row + 1]])]
        placed.append((row, x, width, run))
    height = LANE / max(1, len(ends))
    for row, x, width, run in placed:
        acts = tuple(scale.x(step.at) for step in run.steps) if width >= _ROOM else ()
        yield Bar(
            x, y + row * height, width, max(1.0, height - 1), TONES.get(run.told, "calm"), _title(run), acts
        )


def _counted(runs: Sequence[RunSeen], y: float, scale: _Scale) -> Iterator[Bar]:
    """A column for each slice of time, as high as many runs began in it."""
    slices: dict[int, Counter[str]] = {}
    for run in runs:
        number = min(SLICES - 1, int(scale.x(run.opened_at) / WIDTH * SLICES))
        slices.setdefault(number, Counter())[TONES.get(run.told, "calm")] += 1
    most = max(counts.total() for counts in slices.values())
    width = WIDTH / SLICES
    for number, counts in sorted(slices.items()):
        bottom = y + LANE
        for tone in ORDER:
            if counts[tone]:
                height = LANE * counts[tone] / most
                bottom -= height
                title = f"{counts[tone]:,} × {LEGEND[tone]}"
                yield Bar(
                    round(number * width, 2), round(bottom, 2), width - 0.6, round(height, 2), tone, title
                )


def _title(run: RunSeen) -> str:
    until = f"{run.closed_at:%H:%M:%S}" if run.closed_at is not None else "the end"
    steps = ", ".join(step.step for step in run.steps)
    about = f"{run.target}: {run.told}, {run.opened_at:%Y-%m-%d %H:%M:%S} to {until} UTC"
    return (
        about
        + (f"; started {steps}" if steps else "")
        + (f"; would ask {', '.join(run.asks)}" if run.asks else "")
    )


def _ticks(scale: _Scale) -> Iterator[Tick]:
    length = scale.until - scale.since
    step = next((one for one in _TICKS if length / one <= 8), _TICKS[-1])
    day = scale.since.replace(hour=0, minute=0, second=0, microsecond=0)
    at = day + ((scale.since - day) // step) * step
    while at <= scale.until:
        if at >= scale.since:
            midnight = at.hour == at.minute == 0
            yield Tick(scale.x(at), f"{at:%d %b}" if midnight or step >= timedelta(days=1) else f"{at:%H:%M}")
        at += step
