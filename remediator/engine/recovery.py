"""On start: everything that was open goes on. A lost act is unknown, all else is done again."""

from __future__ import annotations

import logging

from remediator.core.play import lost
from remediator.engine.driver import Driver, Performs
from remediator.ports import Store

log = logging.getLogger(__name__)


async def recover(store: Store, driver: Driver, performer: Performs) -> int:
    """Pick up every effect that has no result; returns how many there were.

    Nothing else is needed: inbox rows, deadlines and refusals are found by the loops.
    """
    pending = await store.read(lambda tx: tx.pending())
    for one in pending:
        event = lost(one.effect)
        if event is None:
            performer.start(one)
        else:
            log.warning("an outcome was lost in a stop", extra={"run": one.run, "effect": one.id})
            await driver.tell(one.run, event, one.id)
    await driver.policies_changed()
    return len(pending)
