"""Journals that leave the store, kept as files: one JSON object a line, as the chain has it.

A file for each month, named by when it was written. After a crash a journal may stand in it twice, line for
line: its lines are known by (run, seq).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

import msgspec

from remediator.ports import JournalEntry

_json = msgspec.json.Encoder()


class Archive:
    """A folder of files that are only ever appended to."""

    def __init__(self, folder: Path, now: Callable[[], datetime]) -> None:
        self._folder = folder
        self._now = now

    def keep(self, lines: Iterable[JournalEntry]) -> None:
        """They are on the disk when this returns. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self._folder / f"journals-{self._now():%Y-%m}.jsonl"
        new = not file.exists()
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "ab") as out:
            out.write(b"".join(_json.encode(line) + b"\n" for line in lines))
            out.flush()
            os.fsync(out.fileno())
        if new:
            self._sync_folder()

    def _sync_folder(self) -> None:
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
