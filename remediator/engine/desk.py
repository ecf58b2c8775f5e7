"""What people ask for, turned into events and rows. Every door (page, API, Slack, CLI) ends here."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Literal, cast

import msgspec

from remediator.core.messages import Entry, Settled, VoteCast
from remediator.core.policyset import PolicySet
from remediator.core.run import Gate, Halt, Run, Stage, Vote
from remediator.engine import again, byhand, settling
from remediator.engine.decisions import Committed
from remediator.engine.driver import Driver
from remediator.engine.paging import acknowledge
from remediator.errors import PolicyError, StoreError
from remediator.ports import SYSTEM, Ahead, Answer, Reloaded, RunFilter, Store, Tx

Verdict = Literal["happened", "not-happened", "handled"]
WOKEN = 10_000
"""How many who waited for a halt are woken in one transaction: below a second."""
MOST_TOLD = 100
"""Lines of one reload that the journal keeps."""
VERDICTS = ("happened", "not-happened", "handled")


class PeoplesDesk:
    """The one place that lets people in. They are known already; what they may do is the core's question."""

    def __init__(
        self,
        store: Store,
        driver: Driver,
        new_id: Callable[[str], str],
        policies: Callable[[], PolicySet],
        reload_policies: Callable[[], Awaitable[Reloaded]],
    ) -> None:
        """policies: the running set, and with it who has which role.

        reload_policies: returns what changed, or raises PolicyError with every problem.
        """
        self.on_reload: Callable[[str, Answer], None] = lambda _by, _answer: None
        self._store = store
        self._driver = driver
        self._new_id = new_id
        self._policies = policies
        self._reload = reload_policies

    async def vote(
        self, gate: str, *, by: str, approve: bool, via: str, reason: str = "", seen: str = ""
    ) -> Answer:
        """Hand the vote to the run, then say what it made of it."""
        run_id = gate.rpartition(".")[0]
        run = await self._store.read(lambda tx: tx.run(run_id))
        found = _gate(run, gate)
        if run is None or found is None:
            return Answer(ok=False, text=f"there is no gate {gate}", status=404)
        at = await self._store.read(_now)
        vote = Vote(by, approve, at, via, seen or found.hash, reason[:500])
        await self._driver.tell(run_id, VoteCast(gate, vote))
        return await self._outcome(run_id, found, vote)

    async def turn_away(self, gate: str, who: str, why: str) -> None:
        """Somebody who is nobody here tried to vote: the journal and the card say so. Raises StoreError."""
        run_id = gate.rpartition(".")[0]
        await self._driver.commit(lambda tx: self._driver.decisions.turn_away(tx, run_id, gate, who, why))

    async def ask_again(self, gate: str, *, by: str, via: str) -> Answer:
        """A gate expired, and somebody of its roles wants it decided anew, at once."""
        wish, told = again.Wish(gate, by, via), again.Again(Answer(ok=False, text=""))

        async def work(tx: Tx) -> Committed:
            nonlocal told
            told = await again.ask_again(tx, self._driver.decisions, self._policies(), wish)
            return told.done

        await self._driver.commit(work)
        return told.answer

    async def _outcome(self, run_id: str, before: Gate, vote: Vote) -> Answer:
        """What became of the vote: read from the run and its journal, not guessed."""
        gate = before.id
        run = await self._store.read(lambda tx: tx.run(run_id))
        found = _gate(run, gate)
        assert run is not None
        assert found is not None
        counted = _voted(found, vote) and not _voted(before, vote)
        data = {
            "gate": gate,
            "state": found.state,
            "counted": counted,
            "run": run_id,
            "stage": str(run.stage),
        }
        if counted:
            word = "approved" if vote.approve else "denied"
            still = " More votes are needed." if found.state == "open" else f" The gate is {found.state}."
            return Answer(ok=True, text=f"{vote.by} {word} {gate}.{still}", data=data)
        why = f"the gate is no longer open: {found.note or found.state}"
        if run.stage is not Stage.CLOSED:
            why = await self._why_not(run_id, gate, vote)
        return Answer(ok=False, text=f"this vote does not count: {why}", status=409, data=data)

    async def _why_not(self, run_id: str, gate: str, vote: Vote) -> str:
        entries = await self._store.read(lambda tx: tx.read_journal(run_id))
        for entry in reversed(entries):
            if entry.kind == "vote-refused" and (entry.data["gate"], entry.data["by"]) == (gate, vote.by):
                return str(entry.data["reason"])
        return "the run has closed"

    async def start(self, policy: str, params: Mapping[str, Any], *, by: str, key: str = "") -> Answer:
        """A person starts a run, within the bounds that hold for alerts."""
        wish, told = byhand.Wish(policy, params, by, key), byhand.Start(Answer(ok=False, text=""))

        async def work(tx: Tx) -> Committed:
            nonlocal told
            told = await byhand.start(tx, self._driver.decisions, self._policies(), wish, self._new_id)
            return told.done

        await self._driver.commit(work)
        return told.answer

    async def settle(
        self, run: str, *, by: str, verdict: str, reason: str = "", via: str = "api", question: str = ""
    ) -> Answer:
        """A person says what became of an unknown outcome."""
        if verdict not in VERDICTS:
            return Answer(ok=False, text=f"say one of {', '.join(VERDICTS)}", status=400)
        word = Settled(by, cast("Verdict", verdict), reason[:500], via, question)
        told = settling.Settling(Answer(ok=False, text=""))

        async def work(tx: Tx) -> Committed:
            nonlocal told
            told = await settling.settle(tx, self._driver.decisions, run, word)
            return told.done

        await self._driver.commit(work, Ahead(run=run))
        return told.answer

    async def halt(self, *, by: str, scope: str, reason: str, undos: bool = False) -> Answer:
        """Committed, and from then on no step starts anywhere."""
        if not reason.strip():
            return Answer(ok=False, text="say why: others will ask", status=400)
        unknown = await self._nothing_to_halt(scope)
        if unknown:
            return Answer(ok=False, text=f"nothing was halted: {unknown}", status=404)
        halt_id = self._new_id("h")

        async def work(tx: Tx) -> Halt:
            halt = Halt(id=halt_id, scope=scope, reason=reason[:500], by=by, at=tx.now, undos=undos)
            await tx.put_halt(halt)
            await tx.journal(SYSTEM, [Entry("halted", msgspec.to_builtins(halt))])
            return halt

        halt = await self._store.transact(work)
        text = f"halted {scope}; lift it with: remediator resume {halt.id}"
        return Answer(ok=True, text=text, data={"halt": halt.id, "scope": scope})

    async def _has_role(self, person: str) -> bool:
        """Has this person any role at this moment, be it as cover?"""
        roles = self._policies().catalog.roles_at(await self._store.read(_now))
        return any(person in people for people in roles.values())

    async def _nothing_to_halt(self, scope: str) -> str:
        """Why a scope can only be a slip of the pen, or "" when it covers something."""
        what, _, name = scope.partition(":")
        policies = self._policies()
        if what == "policy" and name not in policies.by_name:
            open_runs = await self._store.read(
                lambda tx: tx.runs(RunFilter(state="open", policy=name, limit=1))
            )
            if not open_runs:
                return f"there is no policy {name}; there are {', '.join(sorted(policies.by_name)) or 'none'}"
        kind, slash, identity = name.partition("/")
        if what == "target" and not (slash and identity and kind in policies.catalog.targets):
            kinds = ", ".join(sorted(policies.catalog.targets))
            return f"{name} is no target; write kind/id, kind one of {kinds}"
        return ""

    async def resume(self, halt: str, *, by: str) -> Answer:
        """Lift a halt; whoever waited for that is decided again."""
        if not await self._has_role(by):
            return Answer(ok=False, text=f"{by} has no role; lifting a halt takes one", status=403)

        woken = 0

        async def work(tx: Tx) -> Halt | None:
            nonlocal woken
            lifted = await tx.lift_halt(halt, by)
            if lifted is not None:
                await tx.journal(SYSTEM, [Entry("resumed", {"halt": halt, "by": by, "scope": lifted.scope})])
                woken = await tx.wake_some("halt", WOKEN)
            return lifted

        lifted = await self._store.transact(work)
        if lifted is None:
            return Answer(ok=False, text=f"no halt {halt} is in force", status=404)
        self._driver.look()
        if woken == WOKEN:
            with contextlib.suppress(StoreError):  # it is lifted; see `wake_left`
                await self._wake()
        return Answer(ok=True, text=f"resumed {lifted.scope}", data={"halt": halt})

    async def _wake(self) -> None:
        """The rest of those who waited for a halt: there may be very many."""
        woken = WOKEN
        while woken == WOKEN:
            woken = await self._store.transact(lambda tx: tx.wake_some("halt", WOKEN))
            self._driver.look()

    async def wake_left(self) -> None:
        """Asked now and then: whoever lifted the last halt may have died before all were woken.

        While another halt stands, they are woken when that is lifted. Waking takes a lock that everybody
        needs who starts something: it is asked first whether anybody waits at all.
        """
        if await self._store.read(_left_asleep):
            await self._wake()

    async def acknowledge(self, page: str, *, by: str) -> Answer:
        """The page has reached somebody; it escalates no further."""

        async def work(tx: Tx) -> str:
            found = await tx.page(page)
            if found is None:
                return "unknown"
            if found.acked_by:
                return found.acked_by
            await acknowledge(tx, found, by)
            return ""

        before = await self._store.transact(work)
        if before == "unknown":
            return Answer(ok=False, text=f"there is no page {page}", status=404)
        if before:
            return Answer(ok=True, text=f"{before} has acknowledged it already", data={"page": page})
        return Answer(ok=True, text=f"{by} acknowledged {page}", data={"page": page})

    async def reload(self, *, by: str) -> Answer:
        """All or nothing: on any error the old set goes on."""
        try:
            told = await self._reload()
        except PolicyError as error:
            problems = str(error).splitlines()
            text = f"nothing was changed: {len(problems)} problems"
            answer = Answer(ok=False, text=text, status=409, data={"problems": problems})
            entry = Entry("reload-refused", {"by": by, "problems": problems[:MOST_TOLD]})
        else:
            data = {"version": told.version, "changes": list(told.changes)}
            answer = Answer(ok=True, text=told.what, data=data)
            changes = list(told.changes[:MOST_TOLD])
            entry = Entry("reloaded", {"by": by, "what": told.what, **data, "changes": changes})
        self.on_reload(by, answer)
        await self._store.transact(lambda tx: tx.journal(SYSTEM, [entry]))
        return answer


def _gate(run: Run | None, gate: str) -> Gate | None:
    return next((one for one in run.all_gates if one.id == gate), None) if run is not None else None


def _voted(gate: Gate, vote: Vote) -> bool:
    """Is this among the votes that count? Somebody's yes and no may be under way at once."""
    return any((one.by, one.approve) == (vote.by, vote.approve) for one in gate.votes)


async def _left_asleep(tx: Tx) -> bool:
    return not await tx.halts() and await tx.is_waited_for("halt")


async def _now(tx: Tx) -> datetime:
    return tx.now
