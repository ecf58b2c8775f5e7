"""A forked command may be waited for, and asked about, by several threads at once."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

import pytest

from tests.rig.forked import Forked, can_be
from tests.rig.patience import PATIENCE_S


@pytest.mark.skipif(not can_be(os.environ), reason="who is counted is not forked")
def test_several_threads_hear_of_its_end(tmp_path: Path) -> None:
    heard: list[int] = []
    with tempfile.TemporaryFile() as told:
        for _ in range(5):
            one = Forked(["--version"], cwd=tmp_path, env=dict(os.environ), out=told, err=told)
            waiting = [
                threading.Thread(target=lambda one=one: heard.append(one.wait(PATIENCE_S))) for _ in range(4)
            ]
            for thread in waiting:
                thread.start()
            while one.poll() is None:
                pass
            for thread in waiting:
                thread.join()
    assert heard == [0] * 20
