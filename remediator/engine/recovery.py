"""What a stopped daemon leaves goes on in another. A lost act is unknown, all else is done again."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from remediator.core.play import lost
from remediator.engine.driver import Driver, Performs
from remediator.ports import Clock, Pending, Store, Tx

log = logging.getLogger(__name__)


LEASE = timedelta(seconds=9)
"""How long a replica may be silent."""


class Silence:
    """Who has not beaten for a lease: by this machine's own clock that only counts seconds.

    The wall clocks of all may jump; whoever beats changes its row, and that alone is believed.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Each one's newest beat, known since when at least.
        self._heard: dict[str, tuple[datetime, float]] = {}

    async def gone(self, store: Store) -> list[tuple[str, datetime | None]]:
        """Who holds effects and lives no more, with the beat after which it was silent. Raises StoreError."""
        asked = self._clock.monotonic()
        holders = await store.read(_holders)
        now, heard = self._clock.monotonic(), self._heard
        self._heard = {
            one: heard[one] if one in heard and heard[one][0] == until else (until, now)
            for one, until in holders.items()
            if until is not None
        }
        silent = (one for one, (_, since) in self._heard.items() if asked - since >= LEASE.total_seconds())
        over = {one for one, until in holders.items() if until is None}.union(silent)
        return [(one, until) for one, until in holders.items() if one in over]


async def _holders(tx: Tx) -> Mapping[str, datetime | None]:
    return await tx.holders()


async def recover(store: Store, driver: Driver, performer: Performs, silence: Silence) -> int:
    """On start: pick up every effect that nobody performs; returns how many there were.

    Nothing else is needed: inbox rows, deadlines and refusals are found by the loops.
    """
    found = await take_over(store, driver, performer, silence)
    await driver.policies_changed()
    return found


async def go_on(driver: Driver, performer: Performs, pending: Sequence[Pending]) -> None:
    """With effects of which nobody knows what became of them."""
    for one in pending:
        event = lost(one.effect)
        if event is None:
            performer.start(one)
        else:
            log.warning("the answer of an act was not stored", extra={"run": one.run, "effect": one.id})
            await driver.tell_one(one.run, event, one.id)


async def take_over(store: Store, driver: Driver, performer: Performs, silence: Silence) -> int:
    """Effects of replicas that live no more; returns how many there were."""
    found = 0
    for gone, until in await silence.gone(store):
        try:
            pending = await store.transact(partial(_take_over, gone=gone, until=until))
        except Exception as error:  # another version's work, perhaps: it stays where it is
            what = f"what replica {gone} has left cannot be taken over"
            await driver.go_past(f"holder:{gone}", what, error)
            log.exception(what)
            continue
        driver.done(f"holder:{gone}")
        if not pending:  # all that is left of it cannot be read
            continue
        log.info("taking over", extra={"replica": gone or "(let go)", "effects": len(pending)})
        found += len(pending)
        await go_on(driver, performer, pending)
    return found


async def _take_over(tx: Tx, gone: str, until: datetime | None) -> list[Pending]:
    return await tx.take_over(gone, until)
