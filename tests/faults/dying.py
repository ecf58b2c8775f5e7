"""A daemon that kills itself at a COMMIT of its SQLite file, such as ``DIES_AT=before:3``.

Its own program is as ever; only the connection under it counts, from when the file `ARMED` is there.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

ARMED = "armed"

_kept_connect = sqlite3.connect


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Counting(sqlite3.Connection):
    """Dies before, or after, the n-th COMMIT."""

    moment, number = "", 0
    armed = Path(ARMED)
    commits = 0

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """As ever, but for COMMIT."""
        if sql != "COMMIT" or not self.armed.exists():
            return super().execute(sql, *parameters)
        Counting.commits += 1
        is_it = Counting.commits == self.number
        if is_it and self.moment == "before":
            _die()
        done = super().execute(sql, *parameters)
        if is_it:
            _die()
        return done


def main() -> int:
    """``remediator``, with such connections."""
    moment, _, number = os.environ["DIES_AT"].partition(":")
    Counting.moment, Counting.number = moment, int(number)
    Counting.armed = Path(os.environ["DIES_IN"]) / ARMED
    sqlite3.connect = lambda *given, **more: _kept_connect(*given, **{**more, "factory": Counting})
    from remediator.cli import main as remediator

    return int(remediator())


if __name__ == "__main__":
    sys.exit(main())
