"""An event loop in virtual time: asyncio as it is, with every moment in our hands.

Nothing sleeps and nothing is left to chance: what is ready runs in its order, then the clock jumps to the
next timer. What belongs to one life of a replica carries its `Life` in its context, so that a life can
be frozen (nothing of it runs for a while, as under SIGSTOP) or ended (as under SIGKILL).
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from itertools import count
from typing import Any


class Life:
    """One process: its tasks, and whether it runs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.frozen_until = 0.0
        self.parked: list[Handle] = []
        self.tasks: list[asyncio.Task[Any]] = []

    def adopt(self, task: asyncio.Task[Any]) -> None:
        self.tasks.append(task)
        if len(self.tasks) > 200:
            self.tasks = [one for one in self.tasks if not one.done()]


LIFE: ContextVar[Life | None] = ContextVar("life", default=None)


class Handle:
    """Something to be called, as `asyncio.Handle`: in Python, there are hundreds of thousands of them."""

    __slots__ = ("args", "callback", "context", "is_cancelled")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled


class Pause:
    """Some time that a task waits: as `asyncio.sleep`, which takes two turns of the loop and a timer."""

    _asyncio_future_blocking = False

    def __init__(self, loop: VirtualLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._handle: Handle | None = None
        self._wake: tuple[Callable[[Pause], object], Context | None] | None = None
        self._cancelled = False

    def __await__(self) -> Generator[Pause, None, None]:
        self._asyncio_future_blocking = True
        yield self

    def get_loop(self) -> VirtualLoop:
        return self._loop

    def add_done_callback(self, wake: Callable[[Pause], object], *, context: Context | None = None) -> None:
        self._wake = wake, context
        self._handle = self._loop.call_at(self._loop._now + self._seconds, wake, self, context=context)

    def cancel(self, msg: object = None) -> bool:
        if self._cancelled or self._wake is None or self._handle is None:
            return False
        self._cancelled = True
        self._handle.cancel()
        wake, context = self._wake
        self._loop.call_soon(wake, self, context=context)
        return True

    def cancelled(self) -> bool:
        return self._cancelled

    def result(self) -> None:
        self._handle = self._wake = None  # they know of it, too: nobody is to look for that circle
        if self._cancelled:
            raise asyncio.CancelledError


class VirtualLoop(asyncio.AbstractEventLoop):
    """As much of a loop as tasks, locks and timeouts ask for."""

    def __init__(self) -> None:
        self._now = 0.0
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []
        self._turn = count()
        self._world = Context()
        self.defects: list[str] = []

    # ── What asyncio asks of a loop ───────────────────────────────────────────────────────────────

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        handle = Handle(callback, args, copy_context() if context is None else context)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        handle = Handle(callback, args, copy_context() if context is None else context)
        heapq.heappush(self._timers, (when, next(self._turn), handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        life = LIFE.get() if context is None else context.get(LIFE)
        if life is not None:
            life.adopt(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.defects.append(f"{context.get('message')}: {context.get('exception')!r}")

    # ── What the simulation asks of it ────────────────────────────────────────────────────────────

    def pause(self, seconds: float) -> Pause:
        """To be awaited by a task."""
        return Pause(self, seconds)

    def later(self, delay: float, callback: Callable[..., object], *args: Any) -> None:
        """In the world, whoever asks: it happens even if that process stops meanwhile."""
        self.call_at(self._now + delay, callback, *args, context=self._world)

    def spawn(self, coro: Coroutine[Any, Any, Any], life: Life | None = None) -> asyncio.Task[Any]:
        """A task of the world, or of a life."""
        context = Context()
        if life is not None:
            context.run(LIFE.set, life)
        return self.create_task(coro, context=context)

    def freeze(self, life: Life, seconds: float) -> None:
        """Nothing of it runs until then."""
        if life.frozen_until <= self._now:
            life.frozen_until = self._now + seconds
            self.later(seconds, self._thaw, life)

    def _thaw(self, life: Life) -> None:
        self._ready.extend(life.parked)
        life.parked = []

    def end(self, life: Life) -> None:
        """It is killed: nothing of it runs any more, but to let go of what it held in memory."""
        life.dead = True
        life.frozen_until = 0.0
        self._thaw(life)
        for task in life.tasks:
            task.cancel()

    def run(self, until: float) -> None:
        """Let time pass."""
        ready, timers = self._ready, self._timers
        running = events._get_running_loop()
        events._set_running_loop(self)
        try:
            while True:
                while ready:
                    handle = ready.popleft()
                    if handle.is_cancelled:
                        continue
                    context = handle.context
                    life = context.get(LIFE)
                    if life is not None and life.frozen_until > self._now:
                        life.parked.append(handle)
                        continue
                    try:
                        context.run(handle.callback, *handle.args)
                    except Exception as error:  # noqa: BLE001 - as asyncio: it is told, and the others go on
                        self.defects.append(f"{handle.callback}: {error!r}")
                if not timers or timers[0][0] > until:
                    break
                when, _, timer = heapq.heappop(timers)
                self._now = max(self._now, when)
                ready.append(timer)
            self._now = max(self._now, until)
        finally:
            events._set_running_loop(running)
