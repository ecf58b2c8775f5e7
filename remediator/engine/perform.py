"""From an effect to the world and back as an event. Each call has a deadline and ends somehow.

Probes and cards may be repeated; an act is sent at most once, and never later than its start
deadline: what was decided long ago must not happen now.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol
from weakref import WeakValueDictionary

from remediator.core.calls import printable
from remediator.core.catalog import Catalog
from remediator.core.evidence import Reading
from remediator.core.exact import revived
from remediator.core.intention import Call
from remediator.core.messages import (
    Act,
    Card,
    Event,
    Inquire,
    Inquired,
    Preview,
    Previewed,
    Probe,
    ProbeRead,
    Result,
    StepFinished,
    Unknown,
)
from remediator.core.play import repeatable
from remediator.engine.looking import GRACE_S, Looking, live, longest
from remediator.engine.sending import Holds, Sending, exact
from remediator.engine.setbacks import UNREADY, problem_of
from remediator.engine.showing import Showing, in_words
from remediator.errors import ConnectorError, StoreError
from remediator.ports import Clock, Connector, Notifier, Pending, Store

log = logging.getLogger(__name__)

REPEATABLE_S = 1.5
"""How long a stop waits for probes and cards; they are sent again after the next start."""

INQUIRE_S = 1800.0
"""How long a mark is asked about before a person has to decide."""

IMPATIENT_S = 45.0
"""After which a person hears that it is still not known."""

INQUIRE_RETRY_S = (0.1, 0.5, 1, 2, 5, 10)

CARD_RETRY_S = (0.5, 1, 2, 5, 10, 30)

MOST_PAUSE_S = 5.0
"""Between two tries to tell what came of an effect."""


class Hears(Protocol):
    """What the performer asks of the driver."""

    async def tell(
        self, run_id: str, event: Event, effect: int | None = None, *, asked: float | None = None
    ) -> None:
        """Let a run hear how it went. ``asked``: as `Driver.tell`."""
        ...


class Performer:
    """Does what was committed."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        connectors: Mapping[str, Connector],
        notifiers: Sequence[Notifier],
        *,
        catalog: Callable[[], Catalog],
        at_once: tuple[int, int],
    ) -> None:
        """``at_once``: how many probes and how many acts."""
        self._store = store
        self._clock = clock
        self._connectors = connectors
        self._catalog = catalog
        self._looking = Looking(connectors, clock, catalog)
        self._probes = asyncio.Semaphore(at_once[0])
        self._sending = Sending(store, clock, connectors, catalog=catalog, at_once=at_once[1])
        self._showing = Showing(store, notifiers)
        self._lease: Callable[[], Holds] | None = None
        self.on_step: Callable[[Act, Result], None] = lambda _act, _result: None  # for metrics
        self._tasks: dict[asyncio.Task[None], Pending] = {}
        self._begun: set[int] = set()  # effects that were handed to it and have no result yet
        self._unheard: set[int] = set()  # effects whose result cannot be told, as somebody knows
        self._cards: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # those being shown
        self._driver: Hears | None = None
        self._tell_people: Callable[[str, str, str], Awaitable[None]] | None = None

    def attach(
        self,
        driver: Hears,
        tell_people: Callable[[str, str, str], Awaitable[None]],
        lease: Callable[[], Holds],
    ) -> None:
        """driver: who hears results; tell_people: ``(run, about, text)`` pages, once while that page is open.

        lease: the one under which effects are begun now.
        """
        self._driver = driver
        self._tell_people = tell_people
        self._lease = lease

    def start(self, pending: Pending) -> None:
        """Perform it soon."""
        assert self._lease is not None
        self._begun.add(pending.id)
        work = self._perform(pending, self._lease())
        task = asyncio.get_running_loop().create_task(work, name=f"effect-{pending.id}")
        self._tasks[task] = pending
        task.add_done_callback(self._tasks.pop)

    def knows(self, number: int) -> bool:
        """Whether it was handed this effect, and is not through with it."""
        return number in self._begun

    async def finish(self, within_s: float) -> None:
        """Stop: let acts that are on the wire come home, for so long; what may be repeated, shorter.

        Acts that wait for a place are not sent any more, and said not to be.
        """
        began = self._clock.monotonic()
        self._sending.stop()
        await self._settle(began + min(REPEATABLE_S, within_s), self._tasks.keys)
        for task, pending in self._tasks.items():
            if repeatable(pending.effect):
                task.cancel()
        await self._settle(began + within_s, self._acting)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _settle(self, until: float, which: Callable[[], Iterable[asyncio.Task[None]]]) -> None:
        while (tasks := list(which())) and (left := until - self._clock.monotonic()) > 0:
            await asyncio.wait(tasks, timeout=left)

    def _acting(self) -> list[asyncio.Task[None]]:
        return [task for task, pending in self._tasks.items() if not repeatable(pending.effect)]

    async def _perform(self, pending: Pending, lease: Holds) -> None:
        try:
            match pending.effect:
                case Probe() as probe:
                    await self._tell_fresh(pending, lambda: self._probe(probe))
                case Preview() as preview:
                    await self._tell_fresh(pending, lambda: self._preview(preview))
                case Act() as act:
                    await self._tell(pending, await self._act(pending, act, lease))
                case Inquire():
                    await self._tell(pending, await self._inquire(pending))
                case Card():
                    await self._card(pending, pending.effect)
            self._begun.discard(pending.id)
            self._unheard.discard(pending.id)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # a bug of ours: the row stays, and a restart looks at it again
            log.exception(
                "an effect could not be performed", extra={"effect": pending.id, "run": pending.run}
            )
            await self._bug(pending, error)

    async def _bug(self, pending: Pending, error: Exception) -> None:
        """A run that waits for this would wait for ever: a person must know."""
        what = f"run {pending.run} cannot go on: {printable(f'{type(error).__name__}: {error}')}"
        if self._tell_people is not None:
            with contextlib.suppress(StoreError):
                text = f"{what}. This is a defect of Remediator: see its log"
                await self._tell_people(pending.run, "defect", text)

    async def _tell_fresh(self, pending: Pending, look: Callable[[], Awaitable[Event]]) -> None:
        """What was read counts as of its asking. Should it not be told, it is read again."""
        assert self._driver is not None
        while True:
            async with self._probes:
                asked = self._clock.monotonic()
                event = await look()
            try:
                return await self._driver.tell(pending.run, event, pending.id, asked=asked)
            except UNREADY as error:
                await self._untold(pending, error)
                await asyncio.sleep(1.0 if isinstance(error, StoreError) else MOST_PAUSE_S)

    async def _tell(self, pending: Pending, event: Event) -> None:
        """The result must reach the store, however long that takes; a crash before means unknown."""
        assert self._driver is not None
        pause = 0.1
        while True:
            try:
                return await self._driver.tell(pending.run, event, pending.id)
            except UNREADY as error:
                await self._untold(pending, error)
                await asyncio.sleep(pause)
                pause = min(MOST_PAUSE_S, pause * 2)

    async def _untold(self, pending: Pending, error: Exception) -> None:
        """It is tried again until it can be told. A row that cannot be read needs a person."""
        problem = problem_of(error)
        log.warning("a result cannot be stored yet", extra={"run": pending.run, "problem": problem})
        if isinstance(error, StoreError) or pending.id in self._unheard or self._tell_people is None:
            return
        with contextlib.suppress(StoreError):
            text = (
                f"run {pending.run} cannot be read: {problem}. What is in hand for it waits until its row "
                "is mended; an act's answer is kept in this daemon alone: a stop until then makes it unknown"
            )
            await self._tell_people(pending.run, "unread", text)
            self._unheard.add(pending.id)

    # ── Reading ───────────────────────────────────────────────────────────────────────────────────

    async def _probe(self, effect: Probe) -> Event:
        return ProbeRead(effect.round, effect.key, await self.read(effect.call))

    async def read(self, call: Call) -> Reading:
        """One reading; what goes wrong is part of it."""
        return await self._looking.read(call)

    async def _preview(self, effect: Preview) -> Event:
        picture, problem = await self._looking.preview(effect.call)
        return Previewed(effect.round, effect.step, picture, problem)

    # ── Acting ────────────────────────────────────────────────────────────────────────────────────

    async def _act(self, pending: Pending, act: Act, lease: Holds) -> Event:
        assert self._driver is not None
        result = await self._sending.send(pending.run, act, lease, self._driver.tell)
        self.on_step(act, result)
        return StepFinished(act.step, act.attempt, act.undo, result)

    async def _inquire(self, pending: Pending) -> Event:
        """Ask until it can be told. A person hears of it when that takes long."""
        effect = pending.effect
        assert isinstance(effect, Inquire)
        began, attempt, told = self._clock.monotonic(), 0, False
        while True:
            result, problem = await self._asked_about(effect)
            waited = self._clock.monotonic() - began
            if result is not None or waited > INQUIRE_S:
                late = Unknown(f"its mark could not be asked about for {waited:.0f} s: {problem}")
                return Inquired(effect.step, effect.attempt, effect.undo, result or late)
            if waited > IMPATIENT_S and not told and self._tell_people is not None:
                text = f"it is not known yet whether {effect.step} became final: {problem}. Still asking"
                with contextlib.suppress(StoreError):
                    await self._tell_people(pending.run, "doubt", text)
                    told = True  # whoever has acknowledged it is left in peace
            await asyncio.sleep(INQUIRE_RETRY_S[min(attempt, len(INQUIRE_RETRY_S) - 1)])
            attempt += 1

    async def _asked_about(self, effect: Inquire) -> tuple[Result | None, str]:
        call, limit = effect.call, longest(self._catalog(), effect.call.operation)
        connector = self._connectors.get(call.connection)
        if connector is None:
            return Unknown(f"the connection {call.connection} is not there any more"), ""
        try:
            async with asyncio.timeout(limit + GRACE_S):
                result = await connector.inquire(live(call), revived(effect.mark), timeout=limit)
        except (ConnectorError, TimeoutError) as error:
            return None, printable(str(error) or "no answer in time")
        except Exception as error:  # a connector's bug: asked on, and in the end a person decides
            log.exception("an inquiry broke", extra={"operation": call.operation})
            return None, printable(f"{type(error).__name__}: {error}")
        return (None, "it is still under way") if result is None else (exact(result), "")

    # ── Cards ─────────────────────────────────────────────────────────────────────────────────────

    async def _card(self, pending: Pending, effect: Card) -> None:
        """Show the run as it is now; earlier wishes for the same card are thereby met as well."""
        lock = self._cards.setdefault(effect.gate, asyncio.Lock())
        attempt = 0
        while True:
            try:
                async with lock:
                    problem = await self._showing.show(pending.run, effect.gate)
                if not problem:
                    break
                log.warning("a card cannot be shown", extra={"gate": effect.gate, "problem": problem})
                if attempt == 1:
                    await self._page_instead(pending.run, effect.gate, problem)
            except UNREADY as error:
                await self._untold(pending, error)
                await asyncio.sleep(1.0 if isinstance(error, StoreError) else MOST_PAUSE_S)
            else:
                await asyncio.sleep(CARD_RETRY_S[min(attempt, len(CARD_RETRY_S) - 1)])
                attempt += 1
        await self._dropped(pending.id)

    async def _page_instead(self, run_id: str, gate_id: str, problem: str) -> None:
        """What a card that cannot be shown would have said. A question has its page already."""
        run = await self._store.read(lambda tx: tx.run(run_id))
        asks = run is not None and any(one.id == gate_id for one in run.questions)
        if self._tell_people is not None and not asks:
            await self._tell_people(run_id, "card", in_words(run, gate_id, problem))

    async def _dropped(self, number: int) -> None:
        while True:
            try:
                await self._store.transact(lambda tx: tx.drop_effect(number))
            except StoreError:
                await asyncio.sleep(1.0)
            else:
                return
