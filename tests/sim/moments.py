"""Seconds of virtual time, and moments of the store's clock."""

from __future__ import annotations

from datetime import datetime, timedelta

from tests.core.campaign import START


def moment(at: float) -> datetime:
    """So many seconds after the start."""
    return START + timedelta(seconds=at)


def seconds(at: datetime) -> float:
    """The reverse."""
    return (at - START).total_seconds()
