"""The loop of the pages: whoever is due is told, until somebody acknowledges.

It also opens pages that no decision asks for: refusals that outlast their severity's patience.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
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
IN_HAND = 256
"""Pages that are being told at the same time; each road takes a few of them at once."""
OURSELVES = "remediator"
"""Who acknowledges what needs nobody any more: as no person is called."""
WATCH_FAILED = "watch"
"""What refuses a policy that cannot look: the "alert" is the watch itself."""
CLAIM = timedelta(seconds=30)
"""How long a page is its teller's, who claims it anew while telling: roads may ask for patience."""
RENEW = timedelta(seconds=20)
"""What is left of a claim when it is renewed."""


class Paging:
    """Delivers pages, and opens those that belong to no decision."""

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
        self._in_hand: dict[str, datetime | None] = {}  # being told → claimed until, where one must claim
        self._unkept: dict[str, Page] = {}  # told, and not yet written down
        self._untold: set[str] = set()  # cannot be told, for a defect, and a page says so
        self._homeless: Page | None = None  # about the store itself
        self._stumbles = False  # the last round broke, and a page tells of it

    def poke(self) -> None:
        """A page was opened."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled. Pages are told side by side: a road that hangs holds up no other page."""
        async with asyncio.TaskGroup() as tellings:
            while True:
                self._wake.clear()
                await self._round(tellings)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):  # wait_for may lose a cancellation (Python 3.11)
                        await self._wake.wait()

    async def _round(self, tellings: asyncio.TaskGroup) -> None:
        """What is due is begun to be told. No row, and no defect, ends the loop."""
        try:
            async for page in self._taken():
                tellings.create_task(self._tell_apart(page), name=f"page {page.id}")
            await self._keep_up()
        except StoreError as error:
            log.warning("pages cannot be read", extra={"problem": str(error)})
        except Exception as error:
            log.exception("a round of pages broke")
            await self._stumbled(error)
        else:
            self._stumbles = False

    async def _stumbled(self, error: Exception) -> None:
        """Once, until a round goes well: each page that is opened begins another round."""
        self._stumbles = self._stumbles or await self._complain(error)

    async def _complain(self, error: Exception) -> bool:
        """Whether somebody will hear of it."""
        try:
            await self.open("bug:pages", f"some pages cannot be told: {type(error).__name__}: {error}")
        except Exception:
            log.exception("nobody could be told of it yet")
            return False
        return True

    async def deliver_due(self) -> None:
        """The same once, one after the other: for where telling takes no time."""
        async for page in self._taken():
            await self._tell(page)
        await self._keep_up()

    async def _taken(self) -> AsyncIterator[Page]:
        """Each page that is to be told from here now.

        Whoever claims a page delivers it; if that one dies on the way, another does, `CLAIM` later.
        Who was told is remembered here until it is kept: a full disk must not page every second.
        """
        busy = {*self._in_hand, *self._unkept}  # before: the look may show one as it was until it is kept
        if self._store.shared:
            await self._keep_due()
        many = IN_HAND + len(self._unkept)  # which are due still, as far as the store knows
        due = await self._store.read(lambda tx: tx.due(many))
        again = [told for told in self._unkept.values() if self._is_due(told)]
        for page in [*again, *(page for page in due.pages if page.id not in busy)]:
            if page.id in self._in_hand or len(self._in_hand) >= IN_HAND:
                continue
            mine = page
            if self._store.shared and page.id not in self._unkept:
                claimed = await self._store.transact(partial(_claim, page_id=page.id))
                if claimed is None:
                    continue
                mine, self._in_hand[page.id] = claimed
            else:  # one alone tells even when it can write nothing
                self._in_hand[page.id] = None
            yield mine

    async def _tell_apart(self, page: Page) -> None:
        try:
            await self._tell(page)
        except StoreError as error:
            log.warning("who was told cannot be kept", extra={"page": page.id, "problem": str(error)})
        except Exception as error:
            log.exception("a page could not be told", extra={"page": page.id})
            if page.id not in self._untold and await self._complain(error):
                self._untold.add(page.id)

    async def _tell(self, page: Page) -> None:
        """One that was taken: told, and kept as soon as it is."""
        try:
            self._unkept[page.id] = await self._deliver(page)
            self._untold.discard(page.id)
            await self._keep_told(page.id)
        finally:
            self._in_hand.pop(page.id, None)

    async def _keep_told(self, page_id: str) -> None:
        try:
            await self._store.transact(partial(_keep, told=self._unkept[page_id]))
        except msgspec.DecodeError as error:  # its row: told from here until it is mended
            log.warning("a page cannot be read", extra={"page": page_id, "problem": str(error)})
        else:
            del self._unkept[page_id]

    async def _keep_up(self) -> None:
        """What is being told stays claimed, and what could not be kept is kept now."""
        soon = self._store.clock.now() + RENEW
        for page_id, until in list(self._in_hand.items()):
            if until is not None and until <= soon:
                later = await self._claimed_again(page_id, until)
                if page_id in self._in_hand:
                    self._in_hand[page_id] = later
        for page_id in [one for one in self._unkept if one not in self._in_hand]:
            await self._keep_told(page_id)

    async def _keep_due(self) -> None:
        """Others may have told them since: what can be kept now is not told from here once more."""
        with contextlib.suppress(StoreError):
            for page_id, told in list(self._unkept.items()):
                if page_id not in self._in_hand and self._is_due(told):
                    await self._keep_told(page_id)

    async def _claimed_again(self, page_id: str, until: datetime) -> datetime | None:
        try:
            return await self._store.transact(partial(_claim_again, page_id=page_id, until=until))
        except msgspec.DecodeError as error:  # its row: until it is mended, nobody else can claim it either
            log.warning("a page cannot be read", extra={"page": page_id, "problem": str(error)})
            return None

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


async def _claim(tx: Tx, page_id: str) -> tuple[Page, datetime] | None:
    """Where daemons share a store, one of them tells, and goes on from what the others have told."""
    until = tx.now + CLAIM
    page = await tx.claim_page(page_id, until)
    return (page, until) if page is not None else None


async def _claim_again(tx: Tx, page_id: str, until: datetime) -> datetime | None:
    """Until when it is claimed now; None once it is acknowledged, or another's."""
    page = await tx.page(page_id)
    if page is None or page.next_at != until:
        return None
    later = tx.now + CLAIM
    await tx.save_page(msgspec.structs.replace(page, next_at=later))
    return later


async def _keep(tx: Tx, told: Page) -> None:
    """What was told is kept, unless somebody has acknowledged in the meantime.

    Where another daemon has told it since (this one was cut off), it stands where that one has left it.
    """
    current = await tx.page(told.id)
    if current is None:
        return
    if current.sent and current.sent[-1] not in told.sent:
        mine = (line for line in told.sent if line not in current.sent)
        told = msgspec.structs.replace(current, sent=(*current.sent, *mine))
    if current.acked_by:
        told = msgspec.structs.replace(
            told, acked_by=current.acked_by, acked_at=current.acked_at, next_at=None
        )
    await tx.save_page(told)
    if told.sent != current.sent or told.error != current.error:
        new = [line for line in told.sent if line not in current.sent]
        entry = Entry("told", {"page": told.id, "told": new, "error": told.error})
        await tx.journal(told.run or SYSTEM, [entry])
