"""What the demo world really did: one entry per effect, on disk before anyone hears of it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO


@dataclass
class Ledger:
    """Append-only. A test that counts entries for one step proves that it happened at most once."""

    entries: list[dict[str, object]] = field(default_factory=list)
    _file: BinaryIO | None = None

    @classmethod
    def at(cls, path: Path | None) -> Ledger:
        """A ledger that also appends JSON lines to a file; former lines are kept, and read."""
        if path is None:
            return cls()
        former = path.read_text().splitlines() if path.exists() else []
        return cls([json.loads(line) for line in former], path.open("ab"))

    def append(self, entry: dict[str, object]) -> None:
        """Record one effect; returns once it is on disk."""
        self.entries.append(entry)
        if self._file is not None:
            self._file.write(json.dumps(entry).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()
            self._file = None
