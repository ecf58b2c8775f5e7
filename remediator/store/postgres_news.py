"""Telling other daemons that there is something to look at, and being told. It only makes them quicker.

Outside of transactions, since those that notify must commit one after the other; on a connection of its
own, at most every `QUIET_S`. When it is lost, polling goes on, and it is made again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from remediator.errors import StoreError
from remediator.store.postgres_pool import NAME, Pool, errors

QUIET_S = 0.05
AGAIN_S = 1.0


class News:
    """One daemon's ear and voice."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.name = ""
        self.woken: Callable[[], None] | None = None

    def start(self) -> None:
        """In the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._forever(), name="news")

    async def stop(self) -> None:
        """What was to be told is told first."""
        task, self._task = self._task, None
        if task is None:
            return
        for _ in range(10):
            if not self._wanted.is_set():
                break
            await asyncio.sleep(QUIET_S)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    def tell(self) -> None:
        """Something was committed that others might do."""
        self._wanted.set()

    async def _forever(self) -> None:
        while True:
            with contextlib.suppress(StoreError, *errors()):
                await self._listen(await self._pool.dial())
            await asyncio.sleep(AGAIN_S)

    async def _listen(self, connection: Any) -> None:
        try:
            await connection.add_listener(NAME, self._heard)
            self._wake()  # whatever was told meanwhile
            while not connection.is_closed():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN_S):
                        await self._wanted.wait()
                if self._wanted.is_set():
                    self._wanted.clear()
                    await connection.execute("SELECT pg_notify($1, $2)", NAME, self.name)
                    await asyncio.sleep(QUIET_S)
        finally:
            connection.terminate()

    def _heard(self, _connection: Any, _pid: int, _channel: str, payload: str) -> None:
        if payload != self.name:
            self._wake()

    def _wake(self) -> None:
        if self.woken is not None:
            self.woken()
