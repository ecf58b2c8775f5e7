"""What could not be decided: for how long it is left alone, and who hears of it.

One rule for runs, alerts and what replicas leave. Nothing is thrown away: whoever fails is tried again,
the others go on, and a person is told once, until it has gone well.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import msgspec

from remediator.core.calls import printable
from remediator.errors import LeaseLost, StoreError
from remediator.ports import Clock, Store, Tx, Unreadable

log = logging.getLogger(__name__)

T = TypeVar("T")

BROKEN_PAUSE = timedelta(minutes=1)
"""How long what cannot be decided, for a defect of ours, is left alone."""

FIRST_PAUSE = timedelta(seconds=1)
"""How long that is left alone which the store, though it works, did not keep; doubled with each time."""

TRIES = 5
"""After so many of these somebody is told: half a minute."""


FORGOTTEN_S = 300.0
"""Who has not failed for so long fails no more: another replica has seen to it, or it is gone."""

THEIR_TURN = timedelta(seconds=5)
"""So long what this replica cannot read is left to the others, of which each looks every second."""

UNREADY = (StoreError, msgspec.DecodeError)
"""What passes: the store fails, or a row cannot be read until somebody has mended it."""


class Theirs(Exception):
    """It cannot be read here, and another replica may be able to."""


class Setbacks:
    """Each about something that has a name. Kept in memory: a start counts anew."""

    def __init__(self, store: Store, clock: Clock, on_bug: Callable[[str, str], Awaitable[None]]) -> None:
        """on_bug: ``(key, text)`` pages somebody."""
        self._store = store
        self._clock = clock
        self.on_bug = on_bug
        self._tries: dict[str, tuple[int, float]] = {}  # how often in a row, and when last
        self._told: dict[str, str] = {}  # what somebody knows of, with the key of the page
        self._theirs: dict[str, float] = {}  # due runs that cannot be read here, which others may; since when
        self._untold: dict[str, Unreadable] = {}  # table → the first row of it that nobody was told of

    def failed(self, about: str, error: Exception) -> tuple[timedelta, bool]:
        """How long it is left alone now, and whether that lasts: the store may only have stumbled."""
        now = self._clock.monotonic()
        for old in [one for one, (_, at) in self._tries.items() if now - at > FORGOTTEN_S]:
            self.over(old)
        tries = self._tries.get(about, (0, now))[0] + 1
        self._tries[about] = (tries, now)
        if not isinstance(error, StoreError):
            return BROKEN_PAUSE, True
        return min(BROKEN_PAUSE, FIRST_PAUSE * 2 ** min(tries - 1, 10)), tries >= TRIES

    def over(self, about: str) -> None:
        """It went well."""
        self._tries.pop(about, None)
        self._told.pop(about, None)

    # ── Some of many ──────────────────────────────────────────────────────────────────────────────

    async def one_of_many(self, run_id: str, work: Awaitable[T]) -> T | None:
        """Work on a run; None when it had to be put aside. Raises StoreError if nothing works."""
        try:
            done = await work
        except Theirs:
            raise
        except Exception as error:
            await self.unless_down(error)
            log.exception("a run cannot be decided", extra={"run": run_id})
            await self._put_aside(run_id, error)
            return None
        self.over(run_id)
        return done

    async def when_due(self, run_id: str, work: Coroutine[Any, Any, T]) -> T | None:
        """The same at its deadline. Raises Theirs while it is left to replicas that may read it."""
        now, turn = self._clock.monotonic(), THEIR_TURN.total_seconds()
        self._theirs = {one: at for one, at in self._theirs.items() if now - at < 2 * turn}
        if now - self._theirs.get(run_id, -turn) < turn:
            work.close()
            raise Theirs
        return await self.one_of_many(run_id, self._unless_theirs(run_id, work))

    async def _unless_theirs(self, run_id: str, work: Awaitable[T]) -> T:
        """Where a replica of another version may read it, that one has its turn before it is put aside."""
        known = self._theirs.pop(run_id, None)
        try:
            return await work
        except msgspec.DecodeError as error:
            if known is not None or not self._store.shared:
                raise
            about = {"run": run_id, "problem": problem_of(error)}
            log.warning("a run that is due cannot be read: others may", extra=about)
            self._theirs[run_id] = self._clock.monotonic()
            raise Theirs from None

    async def _put_aside(self, run_id: str, error: Exception) -> None:
        """Its row stays as it is, and is tried again; a person is told, once. The others go on."""
        pause, lasting = self.failed(run_id, error)
        if lasting and run_id not in {one.run for one in await self._store.read(lambda tx: tx.aside())}:
            what = f"run {run_id} cannot be decided, and is put aside"
            await self.tell(run_id, f"run:{run_id}", what, error)
        problem = problem_of(error) if lasting else ""
        await self._store.transact(lambda tx: tx.put_aside(run_id, tx.now + pause, problem))

    async def put_off(self, tx: Tx, rows: Sequence[Unreadable]) -> None:
        """Rows that are due and cannot be read, once others have had their turn."""
        others = THEIR_TURN if self._store.shared else timedelta()
        await tx.put_off(rows, tx.now - others, tx.now + BROKEN_PAUSE)

    # ── Who hears ─────────────────────────────────────────────────────────────────────────────────

    async def tell(self, about: str, key: str, what: str, error: Exception) -> None:
        """A person, once: also where several share a key."""
        if key not in self._told.values():
            await self.on_bug(f"bug:{key}", f"{what}: {problem_of(error)}. {_remedy(error)}")
        self._told[about] = key

    async def tell_of_many(self, about: str, key: str, what: str, error: Exception) -> None:
        """The same. One row, or a store that stumbles, may be at fault for hundreds: one page for all."""
        await self.tell(about, "alerts" if _of_the_store(error) else key, what, error)

    async def tell_of_unread(self) -> None:
        """What lists of the store have left out: one page for each table, of which all rows may be odd."""
        for row in self._store.unread():
            self._untold.setdefault(row.table, row)
        for table, row in list(self._untold.items()):
            what = f"a row of {table} cannot be read, and is left out: {' '.join(row.key)}"
            if table == "effects":
                number, run = row.key
                what = f"run {run} may stand still: what it has begun cannot be read, row {number} of effects"
            error = msgspec.DecodeError(row.problem)
            await self.on_bug(f"bug:rows:{table}", f"{what}: {problem_of(error)}. {_remedy(error)}")
            del self._untold[table]

    async def unless_down(self, error: Exception) -> None:
        """Raises what was raised, or what is now, if it is about the store and not about one row."""
        if isinstance(error, LeaseLost):
            raise error
        if isinstance(error, StoreError):
            await self._store.transact(_nothing)


def problem_of(error: Exception) -> str:
    """What went wrong, in one line."""
    return printable(error.problem if isinstance(error, StoreError) else f"{type(error).__name__}: {error}")


def _of_the_store(error: Exception) -> bool:
    return isinstance(error, UNREADY)


def _remedy(error: Exception) -> str:
    """What a person does about something that cannot be decided."""
    goes_on = "The others go on, and it is tried again and again"
    if _of_the_store(error):
        return (
            f"{goes_on}. Does another version of Remediator run beside"
            " this one? Or was the store changed by hand? `remediator audit verify` looks at its journals"
        )
    return f"{goes_on}. This is a defect of Remediator: see its log"


async def _nothing(_tx: Tx) -> None:
    """Only whether the store works."""
