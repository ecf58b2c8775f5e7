"""What a store doubts becomes a halt that people see and lift, a page, and a line of the system journal.

The store has stopped all starts before, by itself, see `remediator.ports.Tx.doubts`. The daemon asks every
few seconds; several replicas that doubt the same make one halt of it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from remediator.core.messages import Entry
from remediator.engine.paging import put_page
from remediator.ports import SYSTEM, Tx


async def own_up(tx: Tx, new_id: Callable[[str], str]) -> bool:
    """Whether there was anything to own up to."""
    doubts = await tx.doubts()
    for halt in doubts:
        await tx.put_halt(halt)
        await tx.journal(SYSTEM, [Entry("halted", msgspec.to_builtins(halt))])
        remedy = f"Undos and pages go on. When you have looked: remediator resume {halt.id}"
        await put_page(tx, new_id, f"doubt:{halt.id}", f"{halt.reason}. {remedy}")
    return bool(doubts)
