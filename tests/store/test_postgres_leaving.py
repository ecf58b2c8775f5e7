"""Whoever asked the PostgreSQL store goes away before the answer: the question is finished, in silence."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from remediator.store.postgres import PostgresStore
from tests.store.samples import HandClock


async def test_a_question_that_fails_when_nobody_waits_any_more_is_no_error() -> None:
    store = PostgresStore("postgresql://nobody@127.0.0.1:9/nowhere", HandClock())
    store._open = True
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    asking = asyncio.create_task(store.read(lambda tx: tx.halts()))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    while store._calls:  # noqa: ASYNC110 - it is refused within milliseconds
        await asyncio.sleep(0.01)
    del asking
    gc.collect()
    assert told == []
