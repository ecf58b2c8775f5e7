"""A stop tells the store, if that listens; a store that hangs or fails holds it up no longer than it may."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from remediator import app as wiring
from remediator.app import App
from remediator.config import Config
from remediator.errors import StoreError


@pytest.fixture
def app(tmp_path: Path) -> App:
    (tmp_path / "policies").mkdir()
    return App(Config.model_validate({"listen": "127.0.0.1:0"}), tmp_path)


async def hangs(*_: Any) -> None:
    await asyncio.Event().wait()


async def fails(*_: Any) -> None:
    raise StoreError("store", "no route")


@pytest.mark.parametrize(("store", "problem"), [(hangs, "no answer within 1.0 s"), (fails, "no route")])
async def test_a_store_that_cannot_be_told_is_left(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, store: Any, problem: str
) -> None:
    monkeypatch.setattr(wiring, "TOLD_WITHIN_S", 0.0)
    async with asyncio.timeout(60), app.running():
        monkeypatch.setattr(app.store, "transact", store)
    (told,) = (line for line in caplog.records if "could not be told" in line.message)
    assert problem in vars(told)["problem"]
    assert not app.membership.lease.holds()


async def test_a_stop_is_the_last_line(app: App) -> None:
    async with app.running():
        pass
    await app.store.open()
    head = await app.store.read(lambda tx: tx.journal_head("system"))
    assert head is not None
    assert head.kind == "stopped"
    await app.store.close()
