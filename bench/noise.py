"""How busy others kept the machine meanwhile: a figure from a busy machine says little."""

from __future__ import annotations

import os
import time
from pathlib import Path


class Noise:
    """Begins when it is made. Children count as ours once they have ended."""

    def __init__(self) -> None:
        self._began, self._busy, self._ours = time.monotonic(), _busy(), _ours()

    def cores(self) -> float:
        """How many cores' worth of time others took since."""
        passed = max(time.monotonic() - self._began, 0.001)
        return max(0.0, (_busy() - self._busy - (_ours() - self._ours)) / passed)


def _busy() -> float:
    """Seconds that all cores together have worked (user, nice, system, irq, softirq, steal)."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _ours() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
