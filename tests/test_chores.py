"""What the daemon does every now and then: each by itself, so that one that fails keeps no other from it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from remediator.app import App
from remediator.config import Config
from remediator.errors import StoreError
from tests.rig.patience import PATIENCE_S


async def test_those_whom_a_halt_left_asleep_are_woken_and_patience_does_not_wait_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "policies").mkdir()
    app = App(Config.model_validate({"listen": "127.0.0.1:0"}), tmp_path)
    woken, paged = asyncio.Event(), asyncio.Event()

    async def wakes() -> None:
        woken.set()
        raise StoreError("store", "others decided on the same again and again")

    async def pages(_policies: object) -> None:
        paged.set()

    monkeypatch.setattr(app.desk, "wake_left", wakes)
    monkeypatch.setattr(app.paging, "page_impatient", pages)
    async with asyncio.timeout(PATIENCE_S), app.running():
        await woken.wait()
        await paged.wait()
