"""An act goes out: at most once, never later than its start deadline, never after a halt that it could know.

What was decided long ago must not happen now: the lease under which it was begun and the deadline are
asked right before it is sent, and whoever had to wait for a place asks what was halted meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec

from remediator.core.catalog import Catalog
from remediator.core.evidence import Picture
from remediator.core.exact import kept, revived
from remediator.core.messages import START_WITHIN, Act, Done, Marked, Refused, Result, Unknown
from remediator.core.run import Halt
from remediator.engine.looking import GRACE_S, live, longest
from remediator.engine.setbacks import UNREADY, problem_of
from remediator.ports import Clock, Connector, Order, Store, Tx

log = logging.getLogger(__name__)

Tell = Callable[[str, Marked], Awaitable[None]]
"""Lets a run hear it, as `Driver.tell`."""


class Holds(Protocol):
    """A lease."""

    def holds(self) -> bool:
        """Whether anything may still be sent under it."""
        ...


class Halts:
    """What is halted. All who ask while a question is on its way share the next one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._one = asyncio.Lock()
        self._next: asyncio.Task[list[Halt]] | None = None  # not sent yet

    async def now(self) -> list[Halt]:
        """As of a question that is sent after this was called. Raises what the store does."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._read(), name="halts")
            self._next.add_done_callback(_heard)
        return await asyncio.shield(self._next)

    async def _read(self) -> list[Halt]:
        async with self._one:
            self._next = None
            return await self._store.read(_all)


class Sending:
    """Sends acts and undos over live connections."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        connectors: Mapping[str, Connector],
        *,
        catalog: Callable[[], Catalog],
        at_once: int,
    ) -> None:
        """at_once: how many may be on the wire."""
        self._store = store
        self._clock = clock
        self._connectors = connectors
        self._catalog = catalog
        self._places = asyncio.Semaphore(at_once)
        self._stopping = asyncio.Event()
        self._halts = Halts(store)

    def stop(self) -> None:
        """Whoever waits for a place is not sent any more, and said not to be."""
        self._stopping.set()

    async def send(self, run_id: str, act: Act, lease: Holds, tell: Tell) -> Result:
        """What came of it. Sent under this lease or not at all; its mark is told before it becomes final."""
        left = min(act.start_by - self._clock.now(), START_WITHIN)  # a clock may have gone back
        deadline = self._clock.monotonic() + left.total_seconds()
        waits = self._places.locked()
        if not await self._has_place():
            return Refused("never sent: the daemon stopped", unsent=True)
        try:
            halted = await self._halted(act) if waits else ""
            if halted:
                return Refused(f"never sent: {halted}", unsent=True)
            return exact(await self._send(run_id, act, deadline, lease, tell))
        finally:
            self._places.release()

    async def _has_place(self) -> bool:
        """Wait for one. False when the stop comes first."""
        if self._places.locked() and not self._stopping.is_set():
            place = asyncio.ensure_future(self._places.acquire())
            stop = asyncio.ensure_future(self._stopping.wait())
            try:
                await asyncio.wait((place, stop), return_when=asyncio.FIRST_COMPLETED)
                if place.done():
                    return True
            finally:
                stop.cancel()
                if not place.done():
                    place.cancel()
        if self._places.locked():
            return False
        return await self._places.acquire()

    async def _halted(self, act: Act) -> str:
        """Which halt was committed while it waited for a place; of an undo, only one that means undos."""
        try:
            halts = await self._halts.now()
        except UNREADY as error:
            return f"whether it is halted cannot be asked: {problem_of(error)}"
        for halt in halts:
            if halt.covers(act.policy, act.target) and (halt.undos or not act.undo):
                return f"halted by {halt.by} ({halt.scope}): {halt.reason}"
        return ""

    async def _send(self, run_id: str, act: Act, deadline: float, lease: Holds, tell: Tell) -> Result:
        """The lease, and the start deadline by both clocks, are asked immediately before sending."""
        call, limit = act.call, longest(self._catalog(), act.call.operation)
        why = ""

        def late() -> str:
            nonlocal why
            if self._clock.monotonic() >= deadline or self._clock.now() >= act.start_by:
                why = f"not started by {act.start_by:%H:%M:%S} UTC"
            elif not lease.holds():
                why = "this replica's lease was over"
            return why

        async def mark(about: dict[str, Any]) -> str:
            return await self._mark(run_id, act, about, tell)

        order = Order(act.key, _revived(act.shown), mark, late, act.approved)
        if late():
            return Refused(f"never sent: {why}", unsent=True)
        try:
            async with asyncio.timeout(limit + GRACE_S):
                result = await self._connectors[call.connection].act(live(call), order=order, timeout=limit)
        except TimeoutError:
            return Unknown(f"no answer within {limit:g} s")
        except Exception as error:  # it may have been sent before it broke
            log.exception("an act broke", extra={"operation": call.operation})
            return Unknown(f"{type(error).__name__}: {error}")
        if why and isinstance(result, Refused):  # the connector asked, too, and was told so
            return Refused(result.reason, unsent=True)
        return result

    async def _mark(self, run_id: str, act: Act, about: dict[str, Any], tell: Tell) -> str:
        """Keep what is about to become final: "" once it is committed, and the run still waits for it."""
        mark = kept(about)
        try:
            await tell(run_id, Marked(act.step, act.attempt, act.undo, mark))
            run = await self._store.read(lambda tx: tx.run(run_id))
        except UNREADY as error:
            return f"its mark could not be kept: {problem_of(error)}"
        step = run.steps.get(act.step) if run is not None else None
        found = step and (step.undo_mark if act.undo else step.mark)
        return "" if found == mark else "the run does not wait for it any more"


def exact(result: Result) -> Result:
    """As it is stored: with exact numbers."""
    return Done(kept(result.result), result.left) if isinstance(result, Done) else result


async def _all(tx: Tx) -> list[Halt]:
    return [*await tx.halts(), *await tx.doubts()]


def _heard(asked: asyncio.Task[list[Halt]]) -> None:
    """Whoever asked may be gone by now."""
    if not asked.cancelled():
        asked.exception()


def _revived(picture: Picture | None) -> Picture | None:
    if picture is None:
        return None
    return msgspec.structs.replace(picture, rows=tuple(revived(row) for row in picture.rows))
