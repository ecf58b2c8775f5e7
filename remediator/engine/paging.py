"""The loop of the pages: whoever is due is told, until somebody acknowledges.

It also opens pages that no decision asks for: refusals that outlast their severity's patience.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial

import msgspec

from remediator.core.expression import format_duration
from remediator.core.messages import Entry
from remediator.core.policyset import PolicySet
from remediator.core.run import Page, Run
from remediator.errors import StoreError
from remediator.ports import SYSTEM, Clock, Disposition, Store, Tx

log = logging.getLogger(__name__)

POLL_S = 1.0
BATCH = 32
OURSELVES = "remediator"
"""Who acknowledges what needs nobody any more: as no person is called."""
WATCH_FAILED = "watch"
"""What refuses a policy that cannot look: the "alert" is the watch itself."""
CLAIM = timedelta(seconds=30)
"""Longer than a delivery takes, by all roads."""


class Paging:
    """Delivers pages, one after the other, and opens those that belong to no decision."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        deliver: Callable[[Page], Awaitable[Page]],
        new_id: Callable[[str], str],
    ) -> None:
        """``deliver`` tells whoever is due and returns the page as it is then."""
        self._store = store
        self._clock = clock
        self._deliver = deliver
        self._new_id = new_id
        self._wake = asyncio.Event()
        self._unkept: dict[str, Page] = {}  # told, and not yet written down
        self._homeless: Page | None = None  # about the store itself

    def poke(self) -> None:
        """A page was opened."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self.deliver_due()
            except StoreError as error:
                log.warning("pages cannot be read", extra={"problem": str(error)})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):  # wait_for may lose a cancellation (Python 3.11)
                    await self._wake.wait()

    async def deliver_due(self) -> None:
        """Whoever claims a page delivers it; if that one dies on the way, another does, `CLAIM` later.

        Who was told is remembered here until it is kept: a full disk must not page every second.
        """
        for told in list(self._unkept.values()):
            await self._told(await self._deliver(told) if self._is_due(told) else told)
        due = await self._store.read(lambda tx: tx.due(BATCH))
        for page in due.pages:
            mine = await self._claimed(page)
            if mine is not None:
                await self._told(await self._deliver(mine))

    async def _claimed(self, page: Page) -> Page | None:
        """Where daemons share a store, one of them tells, and goes on from what the others have told.

        One alone tells even when it can write nothing.
        """
        if not self._store.shared:
            return page
        return await self._store.transact(lambda tx: tx.claim_page(page.id, tx.now + CLAIM))

    async def _told(self, page: Page) -> None:
        self._unkept[page.id] = page
        await self._store.transact(partial(_keep, told=page))
        del self._unkept[page.id]

    async def without_store(self, problem: str) -> None:
        """The store takes nothing, so this page is kept nowhere: told by what is left, until it is mended."""
        now = self._clock.now()
        text = f"the store takes nothing ({problem}): webhooks are answered 503, and no step starts"
        page = self._homeless or Page(
            id=self._new_id("p"), key="store", chain="default", text=text, opened_at=now, next_at=now
        )
        self._homeless = await self._deliver(page) if self._is_due(page) else page

    def with_store(self) -> None:
        """It takes everything again."""
        self._homeless = None

    def _is_due(self, page: Page) -> bool:
        return page.next_at is not None and self._clock.now() >= page.next_at

    async def open(self, key: str, text: str, *, run: str = "", chain: str = "default") -> None:
        """A page that no decision asked for. Raises StoreError."""
        await self._store.transact(lambda tx: put_page(tx, self._new_id, key, text, run=run, chain=chain))
        self.poke()

    async def page_impatient(self, policies: PolicySet) -> None:
        """Refusals that stand longer than the severity's patience reach a person, once each."""
        standing = await self._store.read(lambda tx: tx.dispositions(refused_only=True))
        now = self._clock.now()
        for one in standing:
            if _is_overdue(one, policies, now):
                await self._page_refusal(one, policies)

    async def _page_refusal(self, refused: Disposition, policies: PolicySet) -> None:
        policy = policies.by_name[refused.policy].policy
        what = f"an alert about {refused.target or refused.fingerprint} still fires, and has been refused"
        if refused.bound == WATCH_FAILED:
            what = "its watch opens nothing: it has failed"
        since = format_duration(policy.patience)
        text = f"{policy.name}: {what} for {since}: {refused.bound}: {refused.reason}"
        key, chain = page_key(refused), policy.page.chain

        async def work(tx: Tx) -> None:
            current = await tx.disposition(refused.policy, refused.fingerprint)
            if current is not None and not current.paged:  # another replica may have been quicker
                await tx.put_disposition(msgspec.structs.replace(current, paged=True))
                await put_page(tx, self._new_id, key, text, chain=chain)

        await self._store.transact(work)
        self.poke()


def page_key(refused: Disposition) -> str:
    """Of the page that a refusal gets which stands too long."""
    return f"refused:{refused.policy}:{refused.fingerprint}"


async def put_page(
    tx: Tx, new_id: Callable[[str], str], key: str, text: str, *, run: str = "", chain: str = "default"
) -> None:
    """A page that no decision asked for, and its line in the journal; once while it is open."""
    page = Page(id=new_id("p"), key=key, chain=chain, text=text, opened_at=tx.now, run=run, next_at=tx.now)
    if await tx.put_page(page):
        await tx.journal(run or SYSTEM, [Entry("paged", {"key": key, "text": text})])


async def acknowledge(tx: Tx, page: Page, by: str, **more: str) -> None:
    """It has reached somebody, or is over: it escalates no further. ``more``: for the journal."""
    await tx.save_page(msgspec.structs.replace(page, acked_by=by, acked_at=tx.now, next_at=None))
    entry = Entry("acknowledged", {"page": page.id, "by": by, **more})
    await tx.journal(page.run or SYSTEM, [entry])


async def known(tx: Tx, old: Run, run: Run) -> None:
    """An unknown outcome has become known, by a person's word or by its late answer: its page is over."""
    waited = {one.id for one in old.questions if one.open}
    for question in run.questions:
        if question.id not in waited or question.open:
            continue
        why = {"reason": question.late} if question.late else {}
        for page in await tx.pages(run=run.id):
            if page.key == f"{run.id}:unknown:{question.step}":
                await acknowledge(tx, page, question.by or OURSELVES, **why)


def _is_overdue(one: Disposition, policies: PolicySet, now: datetime) -> bool:
    if one.paged or one.refused_since is None:
        return False
    versioned = policies.by_name.get(one.policy)
    if versioned is None or (one.bound == WATCH_FAILED and versioned.policy.watch is None):
        return False
    return now >= one.refused_since + versioned.policy.patience


async def _keep(tx: Tx, told: Page) -> None:
    """What was told is kept, unless somebody has acknowledged in the meantime."""
    current = await tx.page(told.id)
    if current is None:
        return
    if current.acked_by:
        told = msgspec.structs.replace(
            told, acked_by=current.acked_by, acked_at=current.acked_at, next_at=None
        )
    await tx.save_page(told)
    if told.sent != current.sent or told.error != current.error:
        new = [line for line in told.sent if line not in current.sent]
        entry = Entry("told", {"page": told.id, "told": new, "error": told.error})
        await tx.journal(told.run or SYSTEM, [entry])
