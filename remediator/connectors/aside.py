"""A question that blocks, asked in a thread of its own. One that never answers holds up nobody.

A pool would not do: Python waits for its threads before it ends, and a file system that is gone may keep a
thread for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Found = TypeVar("Found")

MOST = 8
"""So many questions at once, of one connection."""


class TooManyError(Exception):
    """All that may be asked at once are still waiting for their answers."""


class Aside:
    """Asks, ``MOST`` at a time."""

    def __init__(self) -> None:
        self._asking = 0
        self._lock = threading.Lock()

    async def ask(self, question: Callable[[], Found]) -> Found:
        """What it answers, or raises. Raises TooManyError. Whoever gives up leaves the thread behind."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Found] = loop.create_future()
        with self._lock:
            if self._asking >= MOST:
                raise TooManyError(f"{MOST} questions before it have no answer yet")
            self._asking += 1

        def told(error: Exception | None, found: Any = None) -> None:
            if answer.done():  # whoever asked has given up
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(found)

        def asked() -> None:
            try:
                outcome: tuple[Any, ...] = (None, question())
            except Exception as error:  # noqa: BLE001 - handed on to whoever asked
                outcome = (error,)
            with self._lock:
                self._asking -= 1
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody listens
                loop.call_soon_threadsafe(told, *outcome)

        threading.Thread(target=asked, daemon=True, name="aside").start()
        return await answer
