"""What could not be decided: for how long it is left alone, and who hears of it.

One rule for runs, alerts and what replicas leave. Nothing is thrown away: whoever fails is tried again,
the others go on, and a person is told once, until it has gone well.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import msgspec

from remediator.core.calls import printable
from remediator.errors import LeaseLost, StoreError
from remediator.ports import Clock, Store, Tx, Unreadable

BROKEN_PAUSE = timedelta(minutes=1)
"""How long what cannot be decided, for a defect of ours, is left alone."""

FIRST_PAUSE = timedelta(seconds=1)
"""How long that is left alone which the store, though it works, did not keep; doubled with each time."""

TRIES = 5
"""After so many of these somebody is told: half a minute."""


FORGOTTEN_S = 300.0
"""Who has not failed for so long fails no more: another replica has seen to it, or it is gone."""

UNREADY = (StoreError, msgspec.DecodeError)
"""What passes: the store fails, or a row cannot be read until somebody has mended it."""


class Setbacks:
    """Each about something that has a name. Kept in memory: a start counts anew."""

    def __init__(self, store: Store, clock: Clock, on_bug: Callable[[str, str], Awaitable[None]]) -> None:
        """on_bug: ``(key, text)`` pages somebody."""
        self._store = store
        self._clock = clock
        self.on_bug = on_bug
        self._tries: dict[str, tuple[int, float]] = {}  # how often in a row, and when last
        self._told: dict[str, str] = {}  # what somebody knows of, with the key of the page
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
