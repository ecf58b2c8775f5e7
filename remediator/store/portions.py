"""Deliveries as they are kept, and how many of them are decided on in one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from remediator.core.alert import Delivery
from remediator.ports import Received
from remediator.store.unread import Docs

_delivery = Docs(msgspec.json.Decoder(Delivery))
_NOTHING = Delivery(source="", alerts=(), received_at=datetime.fromtimestamp(0, UTC))


def received(number: int, doc: str | bytes) -> Received:
    """A row of the inbox; one that cannot be read holds up no other."""
    try:
        return Received(number, _delivery.decode(doc))
    except msgspec.DecodeError as error:
        return Received(number, _NOTHING, str(error))


def together(waiting: Iterable[Received], alerts: int) -> list[Received]:
    """The first of them, as many as hold so many alerts; a larger one alone."""
    few: list[Received] = []
    for one in waiting:
        alerts -= len(one.delivery.alerts)
        if few and alerts < 0:
            break
        few.append(one)
    return few
