"""Pages: who is told when, until somebody acknowledges. `next_rung` decides, `Pager` tells.

The engine calls `Pager.deliver` for each page that is due and saves what it returns.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from remediator.config import Config, Rung
from remediator.core.run import Page
from remediator.ports import Clock, Notifier, Told

log = logging.getLogger(__name__)

RETRY = timedelta(seconds=10)
"""When no road was open."""
AT_ONCE = 8
"""Pages that one road is given at the same time; a road that hangs makes no other wait."""
MOST_SENT = 50
"""Lines of what was told that a page keeps."""


@dataclass(frozen=True)
class NextRung:
    """Where a page stands now. ``roles``: who is to be told now; empty: nobody yet."""

    level: int
    roles: tuple[str, ...]
    next_at: datetime | None


def next_rung(page: Page, chain: Sequence[Rung], now: datetime, repeat: timedelta) -> NextRung:
    """Which rungs have been reached since the page opened, and when the next is.

    After an outage several rungs may be due: all of them are told. After the last rung it is told
    again every ``repeat`` until somebody acknowledges.
    """
    if page.acked_by:
        return NextRung(page.level, (), None)
    rungs = sorted(chain, key=lambda rung: rung.after)
    reached = sum(1 for rung in rungs if page.opened_at + rung.after <= now) - 1
    if reached > page.level:
        roles = tuple(dict.fromkeys(rung.role for rung in rungs[page.level + 1 : reached + 1]))
        return NextRung(reached, roles, _after(page, rungs, reached, now + repeat))
    if page.level < len(rungs) - 1 or (page.next_at is not None and now < page.next_at):
        return NextRung(page.level, (), _after(page, rungs, page.level, page.next_at or now + repeat))
    roles = (rungs[-1].role,) if rungs else ()
    return NextRung(page.level, roles, now + repeat)


def _after(page: Page, rungs: Sequence[Rung], level: int, otherwise: datetime) -> datetime:
    """When the rung above this level is reached; ``otherwise`` if there is none."""
    return page.opened_at + rungs[level + 1].after if level + 1 < len(rungs) else otherwise


class Pager:
    """Tells the people of the rungs that are due, by every road there is."""

    def __init__(self, roads: Sequence[Notifier], config: Config, clock: Clock) -> None:
        self._roads = tuple((road, asyncio.Semaphore(AT_ONCE)) for road in roads)
        self._config = config
        self._clock = clock

    async def deliver(self, page: Page) -> Page:
        """The page as it is after telling whoever is due. Delivered if one road says so; else soon again."""
        now = self._clock.now()
        rung = next_rung(page, self.chain(page.chain), now, self._config.page_repeat)
        if not rung.roles:
            return msgspec.structs.replace(page, next_at=rung.next_at)
        people = sorted(frozenset[str]().union(*(self._config.people_of(role, now) for role in rung.roles)))
        reached = msgspec.structs.replace(page, level=rung.level)
        told = await asyncio.gather(*(self._tell(*road, reached, people) for road in self._roads))
        failed = "; ".join(f"{one.road}: {one.detail}" for one in told if not one.ok)
        if not any(one.ok for one in told):
            error = failed or "there is no road to people; configure slack or page_webhook"
            log.error("page %s reached nobody: %s", page.id, error)
            return msgspec.structs.replace(page, next_at=now + RETRY, error=error)
        line = f"{now:%Y-%m-%dT%H:%M:%SZ} {', '.join(people) or 'nobody'} ({', '.join(rung.roles)})"
        sent = (*page.sent, *(f"{line} by {one.road}" for one in told if one.ok))[-MOST_SENT:]
        return msgspec.structs.replace(reached, next_at=rung.next_at, sent=sent, error=failed)

    def chain(self, name: str) -> tuple[Rung, ...]:
        """The rungs of a chain. One that is gone from the config must not swallow a page."""
        chains = self._config.escalations
        return chains.get(name) or chains.get("default") or (Rung(role="oncall"),)

    async def _tell(
        self, road: Notifier, places: asyncio.Semaphore, page: Page, people: Sequence[str]
    ) -> Told:
        try:
            async with places:
                return await road.page(page, people)
        except Exception as error:  # a bug in one road must not keep a page off the other
            log.exception("the %s road broke", road.road)
            return Told(ok=False, road=road.road, detail=f"{type(error).__name__}: {error}")
