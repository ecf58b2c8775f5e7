"""Faults that the demo's world can show: late, silent, cut off, refusing, before or after an effect."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

FaultKind = Literal[
    "late",  # the effect and the answer come `seconds` later, even if nobody waits any more
    "delay",  # the effect at once, the answer `seconds` later
    "hang",  # the effect, then no answer and no end
    "close",  # the effect, then the connection is closed without an answer
    "cut",  # no effect, the connection is closed without an answer
    "status",  # no effect, the answer is `status`
    "status_after",  # the effect, but the answer is `status`
]


@dataclass
class Fault:
    """Meets requests whose method and path fit (``*`` as in file names), ``times`` times (None: always)."""

    kind: FaultKind
    method: str = "*"
    path: str = "*"
    seconds: float = 1.0
    status: int = 500
    times: int | None = 1

    def fits(self, method: str, path: str) -> bool:
        """Whether it meets this request."""
        return self.times != 0 and fnmatchcase(method, self.method) and fnmatchcase(path, self.path)


@dataclass
class Faults:
    """Those that wait for a request, in order."""

    waiting: list[Fault] = field(default_factory=list)

    def take(self, method: str, path: str) -> Fault | None:
        """The first that fits, counted down."""
        for fault in self.waiting:
            if fault.fits(method, path):
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None
