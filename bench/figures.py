"""A figure: its median over several runs, its limit, and what the bare receiver reached in the same run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from statistics import median
from typing import Any, Literal


@dataclass(frozen=True)
class Bar:
    """What is promised of a figure: ``at least`` or ``at most`` this much."""

    unit: str
    side: Literal["at least", "at most"]
    limit: float

    def holds(self, value: float) -> bool:
        return value >= self.limit if self.side == "at least" else value <= self.limit


@dataclass(frozen=True)
class Figure:
    """runs, baseline: one value per round. more: what helps to read it."""

    name: str
    bar: Bar
    runs: Sequence[float]
    baseline: Sequence[float]
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> float:
        return median(self.runs)

    @property
    def ok(self) -> bool:
        return self.bar.holds(self.value)

    def line(self, *, others_busy: float) -> str:
        """One line of JSON. ``others_busy``: how many cores' worth others took meanwhile."""
        bare = median(self.baseline) if self.baseline else None
        return json.dumps(
            {
                "name": self.name,
                "value": _short(self.value),
                "unit": self.bar.unit,
                "limit": f"{self.bar.side} {self.bar.limit:g}",
                "ok": self.ok,
                "baseline": None if bare is None else _short(bare),
                "ratio": _short(self.value / bare) if bare else None,
                "runs": [_short(one) for one in self.runs],
                "baseline_runs": [_short(one) for one in self.baseline],
                "others_busy": others_busy,
                **self.more,
            }
        )


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of them lies (nearest rank). Infinite when there is none."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * share))] if ranked else float("inf")


def _short(value: float) -> float | None:
    """Four digits say all that two noisy cores know; JSON has no infinity."""
    return float(f"{value:.4g}") if isfinite(value) else None
