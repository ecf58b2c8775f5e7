"""Planted bugs: the engine, broken on purpose in one place each. A harness that misses one proves nothing.

with planted("no-fence"):
    ...
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from remediator.core import bounds, breaker, escaping, gate, play, turn
from remediator.core.alert import PORTION
from remediator.core.messages import Act, Counted, Done, Effect, Event, Refused, Result, StepFinished
from remediator.core.play import News
from remediator.core.run import Run, Vote
from remediator.core.stages import acting, asking, holding, preparing, undoing, waiting
from remediator.engine import (
    decisions,
    driver,
    inbox,
    membership,
    paging,
    perform,
    recovery,
    sending,
    setbacks,
)
from remediator.engine.decisions import Committed
from remediator.errors import StoreError
from remediator.ports import Scope
from remediator.store import memory, memory_runs
from remediator.store.steady import Steady
from tests.sim import replica

Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Bug:
    """What is wrong, in words, and how it is made so."""

    what: str
    plant: Patch


BUGS: dict[str, Bug] = {}


def bug(what: str) -> Callable[[Patch], Patch]:
    """Registers one, by its function's name."""

    def kept(plant: Patch) -> Patch:
        BUGS[plant.__name__.replace("_", "-")] = Bug(what, plant)
        return plant

    return kept


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The engine with this bug in it."""
    with pytest.MonkeyPatch.context() as patch:
        BUGS[name].plant(patch)
        yield


def _never(*_: Any, **__: Any) -> Any:
    return None


@bug("effects are performed before their intent is committed")
def effect_before_intent(patch: pytest.MonkeyPatch) -> None:
    async def commit(self: driver.Driver, work: Any, ahead: Any = None) -> Committed:
        async def early(tx: Any) -> Committed:
            done: Committed = await work(tx)
            self.follow(done)
            return done

        return await self._store.transact(early)

    patch.setattr(driver.Driver, "commit", commit)


@bug("whoever was taken over may go on writing, and renews its lease")
def no_fence(patch: pytest.MonkeyPatch) -> None:
    take_over = memory.MemoryTx.take_over

    async def unfenced(self: memory.MemoryTx, one: str, until: Any) -> Any:
        held = await take_over(self, one, until)
        self._tables.gone.pop(one, None)
        return held

    patch.setattr(memory.MemoryTx, "take_over", unfenced)


@bug("deadlines are judged by each machine's own clock")
def local_clock(patch: pytest.MonkeyPatch) -> None:
    init = replica.Process.__init__

    def local(self: replica.Process, *args: Any) -> None:
        init(self, *args)
        self.line._inner._time = Steady(self.replica.clock)

    patch.setattr(replica.Process, "__init__", local)


@bug("a vote on another plan than the one that is shown counts")
def hash_not_checked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(gate, "is_for", lambda *_: True)


@bug("what bounds count was read some seconds before the deciding transaction")
def bound_read_outside(patch: pytest.MonkeyPatch) -> None:
    seen = memory_runs.RunChanges.seen
    read: dict[tuple[int, Scope], Any] = {}

    async def stale(self: memory_runs.RunChanges, scope: Scope) -> Any:
        key = id(self._tables), msgspec.structs.replace(scope, run="")
        fresh = await seen(self, scope)
        old = read.get(key)
        if old is None or old.now < self.now - timedelta(seconds=5):
            read[key] = old = fresh
        return _as_of(old, fresh)

    patch.setattr(memory_runs.RunChanges, "seen", stale)


def _as_of(old: Any, fresh: Any) -> Any:
    fields = {"now": fresh.now, "use": old.use, "halts": fresh.halts, "holder": fresh.holder}
    return type(fresh)(**fields, held=fresh.held)


@bug("acts of a replica that has gone are sent once more")
def takeover_acts_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(recovery, "lost", _never)


def _lost_as(patch: pytest.MonkeyPatch, result: Result) -> None:
    lost = play.lost

    def sure(effect: Effect) -> Event | None:
        event = lost(effect)
        return msgspec.structs.replace(event, result=result) if isinstance(event, StepFinished) else event

    patch.setattr(recovery, "lost", sure)


@bug("an act of a replica that has gone counts as not done")
def lost_is_not_done(patch: pytest.MonkeyPatch) -> None:
    _lost_as(patch, Refused("its replica has gone"))


@bug("an act of a replica that has gone counts as done")
def lost_is_done(patch: pytest.MonkeyPatch) -> None:
    _lost_as(patch, Done())


@bug("anybody may say what became of an unknown outcome")
def anybody_settles(patch: pytest.MonkeyPatch) -> None:
    everybody = frozenset({"oncall", "lead", "finance"})
    patch.setattr(asking, "may_settle", lambda *_: everybody)


@bug("a word that names only the run counts for whatever the run asks by then")
def word_for_another(patch: pytest.MonkeyPatch) -> None:
    objection = asking.objection

    def whichever(run: Run, word: Any, facts: Any) -> str:
        last = run.questions[-1].id if run.questions else ""
        return objection(run, msgspec.structs.replace(word, question=word.question or last), facts)

    patch.setattr(asking, "objection", whichever)


@bug("what an alert says becomes part of a path as it is")
def path_not_escaped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(escaping, "path_segment", str)


@bug("what an alert says becomes part of a message as it is")
def message_not_escaped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(escaping, "mrkdwn", str)


@bug("undos of a replica that has gone are sent once more")
def takeover_undoes_again(patch: pytest.MonkeyPatch) -> None:
    lost = play.lost

    def repeats(effect: Effect) -> Event | None:
        return None if isinstance(effect, Act) and effect.undo else lost(effect)

    patch.setattr(recovery, "lost", repeats)


@bug("an unknown outcome of something that is not idempotent is tried again")
def unknown_is_retried(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(acting, "_may_repeat", lambda _turn, step: step.attempt < acting.MOST_ATTEMPTS)


@bug("a denial counts as a vote for it")
def deny_ignored(patch: pytest.MonkeyPatch) -> None:
    vote_on = waiting._vote

    def blind(one: turn.Turn, about: Any, vote: Vote) -> None:
        vote_on(one, about, msgspec.structs.replace(vote, approve=True))

    patch.setattr(waiting, "_vote", blind)


@bug("whoever started a run may approve it")
def self_approval(patch: pytest.MonkeyPatch) -> None:
    objection = gate.objection

    def lenient(*args: Any) -> str:
        found = objection(*args)
        return "" if found.endswith("may not approve it") else found

    patch.setattr(gate, "objection", lenient)


@bug("as many votes as places are enough, whoever they are from")
def roles_not_matched(patch: pytest.MonkeyPatch) -> None:
    def counted(required: Any, approvers: Any, roles: Any) -> bool:
        return bool(len(approvers) >= sum(required.values()))

    patch.setattr(gate, "satisfied", counted)


@bug("halts are not asked")
def halts_not_asked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(bounds.NotHalted, "refusal", _never)


@bug("the target's lock is not taken")
def lock_not_taken(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Run, "locks_target", property(lambda _run: False))


@bug("the cooldown is not asked")
def cooldown_not_asked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(bounds.Cooldown, "refusal", _never)


@bug("the cooldown runs from a run's first act")
def cooldown_from_first(patch: pytest.MonkeyPatch) -> None:
    count = turn.Turn.count

    def once(self: turn.Turn, kind: Any, what: str = "") -> None:
        if kind != "act" or not self.run.acted:
            count(self, kind, what)

    patch.setattr(turn.Turn, "count", once)


@bug("open runs are not counted")
def at_once_not_asked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(bounds.AtOnce, "refusal", _never)


@bug("windows are not asked")
def windows_not_asked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(bounds.InWindows, "refusal", _never)


@bug("what is taken from a shared budget is not counted")
def budget_not_counted(patch: pytest.MonkeyPatch) -> None:
    count = memory_runs.RunChanges.count

    async def apart(self: memory_runs.RunChanges, scope: Scope, counted: Counted) -> None:
        await count(self, msgspec.structs.replace(scope, budget=""), counted)

    patch.setattr(memory_runs.RunChanges, "count", apart)


@bug("the breaker never trips")
def breaker_never_trips(patch: pytest.MonkeyPatch) -> None:
    for module in (breaker, turn):
        patch.setattr(module, "stepped_down", _never)


@bug("temporary changes stand for ever")
def undo_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(holding, "due", lambda _turn: [])


@bug("an undo that waits is sent though the alert fires again")
def undo_not_put_off(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(holding, "stands_on", _never)


@bug("an undo is sent without asking whether it may be still")
def undo_unasked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(undoing, "still_call", _never)


@bug("an alert counts as over at once")
def debounce_skipped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(replica, "DEBOUNCE", timedelta())


@bug("nothing is read again before a run's first change")
def freshness_skipped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(preparing, "_must_be_fresh", lambda _turn: False)


@bug("what became of an alert is not kept when its run closes")
def disposition_dropped(patch: pytest.MonkeyPatch) -> None:
    async def dropped(self: decisions.Decisions, tx: Any, decision: Any) -> None:
        for fingerprint in decision.run.members:
            await tx.drop_dispositions(fingerprint)

    patch.setattr(decisions.Decisions, "_closed", dropped)


@bug("an alert that still fires is not decided again")
def recheck_forgotten(patch: pytest.MonkeyPatch) -> None:
    close = turn.Turn.close

    def for_good(self: turn.Turn, *args: Any) -> None:
        close(self, *args)
        self._recheck_at = None

    patch.setattr(turn.Turn, "close", for_good)


@bug("whoever waits for a target or a place is not woken")
def waiters_not_woken(patch: pytest.MonkeyPatch) -> None:
    async def nobody(self: memory.MemoryTx, waits_for: str) -> int:
        return 0

    patch.setattr(memory.MemoryTx, "wake_waiting", nobody)


@bug("a delivery is settled before it is decided on")
def inbox_settled_first(patch: pytest.MonkeyPatch) -> None:
    async def admit(self: inbox.Inbox, limit: int) -> int:
        async def settle(tx: Any) -> Any:
            claimed = await tx.claim_inbox(limit, PORTION)
            for one in claimed:
                await tx.settle_delivery(one.id)
            return claimed

        claimed = await self._store.transact(settle)
        for one in claimed:
            await self._commit(lambda tx, one=one: self._decisions.hear(tx, one.delivery))  # type: ignore[misc]
        return len(claimed)

    patch.setattr(inbox.Inbox, "_admit", admit)


@bug("a late firing message of an alert that is over counts for nothing, and so does the next trouble")
def doubt_is_stale(patch: pytest.MonkeyPatch) -> None:
    news = play.news

    def deaf(*args: Any, **more: Any) -> News:
        found = news(*args, **more)
        return News.STALE if found is News.DOUBTFUL else found

    patch.setattr(play, "news", deaf)


@bug("a page is promised and not kept")
def page_not_kept(patch: pytest.MonkeyPatch) -> None:
    async def lost(self: memory.MemoryTx, page: Any) -> bool:
        return True

    patch.setattr(memory.MemoryTx, "put_page", lost)


@bug("nobody delivers pages")
def pages_not_told(patch: pytest.MonkeyPatch) -> None:
    async def silent(self: paging.Paging) -> None:
        await asyncio.Event().wait()

    patch.setattr(paging.Paging, "run", silent)


@bug("the lease is not asked before sending")
def lease_not_asked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(membership.Lease, "holds", lambda _lease: True)


@bug("the start deadline is not asked before sending")
def deadline_not_asked(patch: pytest.MonkeyPatch) -> None:
    send = sending.Sending._send

    async def late(self: sending.Sending, run: str, act: Act, _deadline: float, *more: Any) -> Any:
        later = msgspec.structs.replace(act, start_by=act.start_by + timedelta(days=400))
        return await send(self, run, later, float("inf"), *more)

    patch.setattr(sending.Sending, "_send", late)


@bug("a replica with older policies opens runs")
def stale_replica_opens(patch: pytest.MonkeyPatch) -> None:
    beat = membership.Membership._beat

    async def never_stale(self: membership.Membership, tx: Any, policies: Any) -> tuple[bool, bool]:
        await beat(self, tx, policies)
        return False, False

    async def never_outdated(_self: decisions.Decisions, _tx: Any) -> bool:
        return False

    patch.setattr(membership.Membership, "_beat", never_stale)
    patch.setattr(decisions.Decisions, "outdated", never_outdated)


@bug("nobody takes over from a replica that has gone")
def nobody_takes_over(patch: pytest.MonkeyPatch) -> None:
    async def nobody(*_: Any) -> int:
        return 0

    patch.setattr(membership, "take_over", nobody)


@bug("what was committed and never handed on, since the answer was lost, is not looked for")
def lost_answers_forgotten(patch: pytest.MonkeyPatch) -> None:
    async def forgets(self: membership.Membership) -> None: ...

    patch.setattr(membership.Membership, "_find_lost", forgets)


@bug("what is about to become final is not marked first")
def mark_not_kept(patch: pytest.MonkeyPatch) -> None:
    async def unmarked(self: sending.Sending, *_: Any) -> str:
        return ""

    patch.setattr(sending.Sending, "_mark", unmarked)


@bug("a result that cannot be stored at once is thrown away, and counts as being told")
def result_thrown_away(patch: pytest.MonkeyPatch) -> None:
    async def once(self: perform.Performer, pending: Any, event: Event) -> None:
        assert self._driver is not None
        try:
            await self._driver.tell(pending.run, event, pending.id)
        except StoreError:
            await asyncio.Event().wait()

    patch.setattr(perform.Performer, "_tell", once)


@bug("an alert that cannot be decided on is settled, and not kept back")
def kept_back_dropped(patch: pytest.MonkeyPatch) -> None:
    async def dropped(self: inbox.Inbox, received: Any, _error: Exception) -> None:
        await self._store.transact(lambda tx: tx.settle_delivery(received.id))

    patch.setattr(inbox.Inbox, "_keep_back", dropped)


@bug("of what is kept back of an alert the first word stays, and not the newest")
def first_word_stays(patch: pytest.MonkeyPatch) -> None:
    keep_back = inbox.Inbox._keep_back

    async def unless_there_is_one(self: inbox.Inbox, received: Any, error: Exception) -> None:
        about = {alert.fingerprint for one, _ in self._back.values() for alert in one.delivery.alerts}
        if about & {alert.fingerprint for alert in received.delivery.alerts}:
            await self._store.transact(lambda tx: tx.settle_delivery(received.id))
        else:
            await keep_back(self, received, error)

    patch.setattr(inbox.Inbox, "_keep_back", unless_there_is_one)
    patch.setattr(inbox.Inbox, "_said_before", lambda _inbox, _word: [])


@bug("a run whose row cannot be read is put aside for a day")
def put_aside_for_good(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(setbacks, "BROKEN_PAUSE", timedelta(days=1))


@bug("nobody is told of what cannot be decided")
def setbacks_untold(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(setbacks.Setbacks, "tell", _nothing)


async def _nothing(*_: Any) -> None: ...
