"""How many deliveries are decided on in one transaction."""

from __future__ import annotations

from collections.abc import Iterable

from remediator.ports import Received


def together(waiting: Iterable[Received], alerts: int) -> list[Received]:
    """The first of them, as many as hold so many alerts; a larger one alone."""
    few: list[Received] = []
    for received in waiting:
        alerts -= len(received.delivery.alerts)
        if few and alerts < 0:
            break
        few.append(received)
    return few
