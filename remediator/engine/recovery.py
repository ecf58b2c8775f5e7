"""What a stopped daemon leaves goes on in another. A lost act is unknown, all else is done again."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from remediator.core.play import lost
from remediator.engine.driver import Driver, Performs
from remediator.ports import Pending, Store

log = logging.getLogger(__name__)


async def recover(store: Store, driver: Driver, performer: Performs) -> int:
    """On start: pick up every effect that nobody performs; returns how many there were.

    Nothing else is needed: inbox rows, deadlines and refusals are found by the loops.
    """
    found = await take_over(store, driver, performer)
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


async def take_over(store: Store, driver: Driver, performer: Performs) -> int:
    """Effects of replicas that live no more; returns how many there were."""
    found = 0
    for gone in await store.read(lambda tx: tx.lapsed()):
        pending = await store.transact(lambda tx, gone=gone: tx.take_over(gone))  # type: ignore[misc]
        log.info("taking over", extra={"replica": gone or "(let go)", "effects": len(pending)})
        found += len(pending)
        await go_on(driver, performer, pending)
    return found
