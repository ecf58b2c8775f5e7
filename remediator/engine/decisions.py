"""The deciding transactions, each written once over `Tx`: load, read the facts, decide, write.

Nothing here touches the world or waits for anything but the store. What the world must now do comes
back as `Pending` rows, which were committed with the decision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

import msgspec

from remediator.core import planning, play
from remediator.core.alert import Alert, Delivery
from remediator.core.catalog import Catalog
from remediator.core.messages import (
    AlertHeard,
    CameLate,
    Counted,
    Decision,
    Entry,
    Event,
    Facts,
    ProbeRead,
    Seen,
    Settled,
    StepFinished,
    TimePassed,
)
from remediator.core.planning import Address
from remediator.core.play import News
from remediator.core.policy import Policy
from remediator.core.policyset import PolicySet, Versioned
from remediator.core.run import Page, Refusal, Run, Stage
from remediator.core.stages import asking
from remediator.core.turn import Turn
from remediator.engine import standing
from remediator.engine.paging import acknowledge, known
from remediator.ports import SYSTEM, Disposition, KeptPolicy, Pending, Received, Scope, Tx

STALE_PAUSE = timedelta(seconds=5)
"""After which an alert is decided on again, by whoever has the newest policies then."""


@dataclass
class Committed:
    """What a transaction leaves to be done."""

    pending: list[Pending] = field(default_factory=list)
    pages: int = 0
    runs: list[str] = field(default_factory=list)  # runs that changed, for those who watch

    def __iadd__(self, more: Committed) -> Self:
        """What several decisions in one transaction leave."""
        self.pending += more.pending
        self.pages += more.pages
        self.runs += more.runs
        return self


@dataclass(frozen=True)
class Terms:
    """What the settings say about deciding."""

    debounce: timedelta
    freshness: timedelta = timedelta(seconds=10)


class Decisions:
    """The rules of the transactions. Holds no state but the policies' versions it has seen."""

    def __init__(
        self,
        policies: Callable[[], PolicySet],
        read_old: Callable[[KeptPolicy], Policy],
        new_id: Callable[[str], str],
        terms: Terms,
    ) -> None:
        """policies: the running set; read_old: a kept document → policy; new_id: prefix → identity."""
        self._policies = policies
        self._read_old = read_old
        self._new_id = new_id
        self._terms = terms
        self._old: dict[str, Policy] = {}

    # ── Alerts ────────────────────────────────────────────────────────────────────────────────────

    async def admit(self, tx: Tx, received: Received) -> Committed:
        """Everything that a delivery of the inbox means, in one transaction."""
        done = await self.hear(tx, received.delivery)
        await tx.settle_delivery(received.id)
        return done

    async def hear(self, tx: Tx, delivery: Delivery) -> Committed:
        """Everything that some alerts mean."""
        done = Committed()
        for alert in delivery.alerts:
            await self._hear(tx, alert, delivery.received_at, done)
        return done

    async def _hear(self, tx: Tx, alert: Alert, at: datetime, done: Committed) -> None:
        """``at``: when it was received. Replicas drain side by side: an older one may come later."""
        row = await tx.alert(alert.fingerprint)
        known, changed_at = (row.alert, row.changed_at) if row else (None, None)
        overtaken = at if row is not None and row.received_at is not None and at < row.received_at else None
        what = play.news(known, changed_at, alert, tx.now, self._terms.debounce, overtaken=overtaken)
        await tx.put_alert(standing.heard(row, alert, what, at, tx.now))
        match what:
            case News.STALE if known is not None and known.firing and not alert.firing:
                await self._recall(tx, known, done)
            case News.REPEAT | News.STALE:
                return
            case News.REWORDED:
                await self._read_anew(tx, alert, done)
            case News.RESOLVED:
                await self._tell_runs(tx, alert, done)
                await tx.drop_dispositions(alert.fingerprint)
            case News.DOUBTFUL:
                await self._tell_runs(tx, alert, done)
                await self._postpone(tx, alert)
            case News.FIRST:
                await self._tell_runs(tx, alert, done)
                for versioned in self._policies().matching(alert):
                    await self._consider(tx, versioned, alert, done)

    async def _tell_runs(self, tx: Tx, alert: Alert, done: Committed) -> None:
        for run in await tx.runs_of_alert(alert.fingerprint):
            await self._advance(tx, run, AlertHeard(alert, tx.now), done)

    async def _recall(self, tx: Tx, alert: Alert, done: Committed) -> None:
        """An end was overtaken by what fires. Runs may have been told of it all the same, see `inbox`.

        They took the alert for over then, and have left nobody who decides on it again.
        """
        for run in await tx.runs_of_alert(alert.fingerprint):
            if not run.members[alert.fingerprint].firing:
                await self._advance(tx, run, AlertHeard(alert, tx.now), done)
        for versioned in self._policies().matching(alert):
            before = await tx.disposition(versioned.policy.name, alert.fingerprint)
            if before is None or before.kind not in ("run-opened", "joined"):
                continue
            run_then = await tx.run(before.run)
            if run_then is not None and run_then.stage is Stage.CLOSED:
                await self._consider(tx, versioned, alert, done)

    async def _read_anew(self, tx: Tx, alert: Alert, done: Committed) -> None:
        """It says something else: whatever was refused for what it had said is decided on again.

        So is what a run is about that it has opened, and that has changed nothing yet.
        """
        answers = await tx.dispositions(fingerprint=alert.fingerprint)
        for run in await tx.runs_of_alert(alert.fingerprint):
            if await self._is_news_to(tx, run, alert):
                await self._advance(tx, run, AlertHeard(alert, tx.now), done)
        refused = {one.policy for one in answers if standing.misread(one)}
        for versioned in self._policies().matching(alert) if refused else ():
            if versioned.policy.name in refused:
                await self._consider(tx, versioned, alert, done)

    async def _is_news_to(self, tx: Tx, run: Run, alert: Alert) -> bool:
        return play.reworded(run, await self._policy_of(tx, run), alert) != run.reworded

    async def _postpone(self, tx: Tx, alert: Alert) -> None:
        """It fires just after its end: decided once the debounce is over, unless it ends again."""
        for versioned in self._policies().matching(alert):
            reason = "it fired again just after it had resolved"
            refusal = Refusal("debounce", reason, again_at=tx.now + self._terms.debounce)
            await standing.stand(tx, versioned.policy.name, alert.fingerprint, refusal)

    async def outdated(self, tx: Tx) -> bool:
        """Have others read newer policies? Those decide, then: nothing is opened, refused or settled here."""
        newest = await tx.current_set()
        return bool(newest) and newest != self._policies().version

    async def orphaned(self, tx: Tx) -> list[Disposition]:
        """After a change of policies: refusals by one that is gone."""
        return await standing.orphaned(tx, self._policies())

    async def undecided(self, tx: Tx) -> list[Alert]:
        """After a change of policies: considered in portions, so that nobody else waits for all of them."""
        return await standing.undecided(tx, self._policies())

    async def let_go(self, tx: Tx, refused: Sequence[Disposition]) -> Committed:
        """Some of those whose policy is gone, unless they have been decided on meanwhile."""
        for one in () if await self.outdated(tx) else refused:
            now = await tx.disposition(one.policy, one.fingerprint)
            if now is not None and now.kind == "refused":
                gone = Refusal("policy", "the policy is gone")
                await standing.stand(tx, one.policy, one.fingerprint, gone, kind="closed")
        return Committed()

    async def consider(self, tx: Tx, alerts: Sequence[Alert]) -> Committed:
        """Some of those that are undecided. They may have ended since, or been decided on."""
        done = Committed()
        for listed in () if await self.outdated(tx) else alerts:
            now = await tx.alert(listed.fingerprint)
            if now is None or not now.alert.firing:
                continue
            for versioned in self._policies().matching(now.alert):
                if standing.unanswered(await tx.disposition(versioned.policy.name, listed.fingerprint)):
                    await self._consider(tx, versioned, now.alert, done)
        return done

    async def decide_later(self, tx: Tx, alert: Alert, problem: str) -> Committed:
        """It could not be considered: as `reconsider` does it, at once and until it goes well."""
        refusal = Refusal("defect", f"it cannot be decided: {problem}", again_at=tx.now)
        for versioned in self._policies().matching(alert):
            if standing.unanswered(await tx.disposition(versioned.policy.name, alert.fingerprint)):
                await standing.stand(tx, versioned.policy.name, alert.fingerprint, refusal)
        return Committed()

    async def reconsider(self, tx: Tx, refused: Disposition) -> Committed:
        """A refusal's time has come, or what it waited for: decide again, if it still fires."""
        done = Committed()
        current = await tx.disposition(refused.policy, refused.fingerprint)
        if current is None or current.again_at is None or current.again_at > tx.now:
            return done
        if await self.outdated(tx):
            await tx.put_disposition(msgspec.structs.replace(current, again_at=tx.now + STALE_PAUSE))
            return done
        row = await tx.alert(refused.fingerprint)
        versioned = self._policies().by_name.get(refused.policy)
        if row is None or not row.alert.firing:
            await tx.drop_dispositions(refused.fingerprint)
        elif versioned is None or versioned not in self._policies().matching(row.alert):
            gone = Refusal("policy", "the policy is gone or no longer matches")
            await standing.stand(tx, refused.policy, refused.fingerprint, gone, kind="closed")
        else:
            await self._consider(tx, versioned, row.alert, done)
        return done

    async def consider_again(self, tx: Tx, expired: Run, alerts: Sequence[Alert]) -> Committed:
        """Somebody wants people to be asked again: decide now, and the expiry counts no more. See `again`."""
        done = Committed()
        versioned = self._policies().by_name[expired.policy]
        scope = self._scope(versioned.policy, expired)
        await tx.count(scope, Counted("asked"))
        for alert in alerts:
            await self._consider(tx, versioned, alert, done)
        return done

    async def _consider(self, tx: Tx, versioned: Versioned, alert: Alert, done: Committed) -> None:
        """One alert, one policy: open a run, join one, or refuse and say why."""
        policy, fingerprint = versioned.policy, alert.fingerprint
        address = planning.address(policy, alert)
        if isinstance(address, Refusal):
            return await standing.stand(tx, policy.name, fingerprint, address)
        open_run = await tx.open_run(policy.name, address.target)
        if open_run is not None:
            await self._advance(tx, open_run, AlertHeard(alert, tx.now), done)
            told = await tx.run(open_run.id)
            if told is None or not told.open:
                return None  # it ended on hearing that, and has said when the alert is decided on again
            kind = "run-opened" if open_run.alert.fingerprint == fingerprint else "joined"
            return await standing.follow(tx, policy.name, fingerprint, open_run, kind)
        by = "watch" if policy.watch is not None else "alert"
        before = await tx.disposition(policy.name, fingerprint)
        times = before.rewordings if before is not None else 0
        opening = play.Opening(self._new_id("r"), versioned.version, address, alert, by, times)
        no = await self.open(tx, versioned, opening, done)
        if no is not None:
            await standing.stand(tx, policy.name, fingerprint, no, target=address.target)
        return None

    async def open(
        self, tx: Tx, versioned: Versioned, opening: play.Opening, done: Committed
    ) -> Refusal | None:
        """Open a run, for an alert or for a person, unless a bound says no. Nobody works on it yet."""
        policy, address = versioned.policy, opening.address
        if await self.outdated(tx):
            return Refusal("policy", "this replica has not read the newest policies", tx.now + STALE_PAUSE)
        catalog = self._policies().catalog
        _, seen, no = await asked(tx, policy, catalog, address, opening.run_id)
        if no is not None:
            return no
        facts = await self._facts(tx, policy, seen)
        decision = play.begin(opening, facts)
        await tx.keep_policy(KeptPolicy(versioned.version, policy.name, versioned.text, versioned.file))
        for fingerprint in opening.members:
            await standing.follow(tx, policy.name, fingerprint, decision.run, "run-opened")
        opened = {"run": decision.run.id, "policy": policy.name, "target": address.target}
        if decision.run.starter:
            opened["by"] = opening.opened_by
        await tx.journal(SYSTEM, [Entry("run-opened", opened)])
        await self._commit(tx, None, decision, facts, done)
        return None

    # ── Runs ──────────────────────────────────────────────────────────────────────────────────────

    async def advance(
        self, tx: Tx, run_id: str, event: Event, effect: int | None = None, age: timedelta = timedelta()
    ) -> Committed:
        """A run hears an event. ``effect``: the row whose result this is; a second result comes too late.

        ``age``: how long ago the question was sent that a reading answers. What it says may have been so
        at that moment only; whoever read it may have another clock, so it is counted back from ours.
        """
        done = Committed()
        if isinstance(event, ProbeRead):
            reading = msgspec.structs.replace(event.reading, at=tx.now - age)
            event = msgspec.structs.replace(event, reading=reading)
        gone = effect is not None and not await tx.drop_effect(effect)
        if gone and isinstance(event, StepFinished):  # given up for lost: others have gone on without it
            event = CameLate(event.step, event.attempt, event.undo, event.result)
        elif gone:
            return done
        run = await tx.run(run_id)
        if run is not None and run.stage is not Stage.CLOSED:
            await self._advance(tx, run, event, done)
        elif run is not None and isinstance(event, CameLate):
            await self._hear_closed(tx, run, event, done)
        return done

    async def objection(self, tx: Tx, run: Run, word: Settled) -> str:
        """Why a person's word on an unknown outcome does not count, or ""."""
        policy = await self._policy_of(tx, run)
        facts = await self._facts(tx, policy, await tx.seen(self._scope(policy, run)))
        return asking.objection(run, word, facts)

    async def _hear_closed(self, tx: Tx, run: Run, event: CameLate, done: Committed) -> None:
        """It changes nothing any more: it is only written down, and told."""
        policy = await self._policy_of(tx, run)
        facts = await self._facts(tx, policy, await tx.seen(self._scope(policy, run)))
        decision = play.decide(run, event, facts)
        await tx.journal(run.id, decision.entries)
        await self._page(tx, decision, done)

    async def wake(self, tx: Tx, run_id: str) -> Committed:
        """A run's deadline has passed, unless somebody else has met it in the meantime."""
        done, run = Committed(), await tx.claim_run(run_id)
        if run is not None:
            await self._advance(tx, run, TimePassed(), done)
        return done

    async def turn_away(self, tx: Tx, run_id: str, gate_id: str, who: str, why: str) -> Committed:
        """Somebody whom the settings do not know clicked at a gate or question. Shown there once."""
        done, run = Committed(), await tx.run(run_id)
        if run is None or any(who in old for old in _remarks(run, gate_id, who)):
            return done
        policy = await self._policy_of(tx, run)
        facts = await self._facts(tx, policy, await tx.seen(self._scope(policy, run)))
        turn = Turn(run, facts)
        turn.note("turned-away", gate=gate_id, by=who, reason=why)
        turn.remark(gate_id, f"{who} was turned away: {why}")
        await self._commit(tx, run, turn.decision(), facts, done)
        return done

    async def _advance(self, tx: Tx, run: Run, event: Event, done: Committed) -> None:
        policy = await self._policy_of(tx, run)
        facts = await self._facts(tx, policy, await tx.seen(self._scope(policy, run)))
        await self._commit(tx, run, play.decide(run, event, facts), facts, done)

    async def _policy_of(self, tx: Tx, run: Run) -> Policy:
        """The policy in the version that the run began with."""
        current = self._policies().by_name.get(run.policy)
        if current is not None and current.version == run.version:
            return current.policy
        if run.version not in self._old:
            kept = await tx.kept_policy(run.version)
            if kept is None:
                raise LookupError(f"version {run.version} of policy {run.policy} was not kept")
            self._old[run.version] = self._read_old(kept)
        return self._old[run.version]

    async def _facts(self, tx: Tx, policy: Policy, seen: Seen) -> Facts:
        policies = self._policies()
        current = policies.version_of(policy.name)
        newest = await tx.current_set()
        if newest and newest != policies.version:  # others read theirs later: those count
            current = (await tx.announced()).get(policy.name)
        return Facts(
            now=seen.now,
            use=seen.use,
            halts=seen.halts,
            holder=seen.holder,
            held=seen.held,
            policy=policy,
            current=current,
            catalog=policies.catalog,
            debounce=self._terms.debounce,
            freshness=self._terms.freshness,
        )

    def _scope(self, policy: Policy, run: Run) -> Scope:
        return _scope(policy, self._policies().catalog, run.target, run.id, shadow=run.observes)

    async def _commit(
        self, tx: Tx, old: Run | None, decision: Decision, facts: Facts, done: Committed
    ) -> None:
        """Write a decision whole: the run, its journal, what it wants, what it counts."""
        run, policy = decision.run, facts.policy
        await tx.save_run(run, play.next_deadline(run, facts))
        await tx.journal(run.id, decision.entries)
        if run.stage is Stage.CLOSED or (old is not None and old.round != run.round):
            await tx.drop_repeatable(run.id)
        done.pending += await tx.put_effects(run.id, play.in_order(decision.effects))
        for counted in decision.counted:
            await tx.count(self._scope(policy, old or run), counted)
        await self._page(tx, decision, done)
        if old is not None:
            await known(tx, old, run)
        await self._release(tx, old, run)
        if run.stage is Stage.CLOSED:
            await self._closed(tx, decision)
        elif run.stage is Stage.HOLDING and not run.held and (old is None or old.stage is not Stage.HOLDING):
            await standing.hold(tx, run, policy)
        done.runs.append(run.id)

    async def _page(self, tx: Tx, decision: Decision, done: Committed) -> None:
        for wanted in decision.pages:
            page = Page(
                id=self._new_id("p"),
                key=wanted.key,
                chain=wanted.chain,
                text=wanted.text,
                opened_at=tx.now,
                run=decision.run.id,
                next_at=tx.now,
            )
            if not await tx.put_page(page):
                continue
            done.pages += 1
            if wanted.heard_by:
                await acknowledge(tx, page, wanted.heard_by)

    async def _release(self, tx: Tx, old: Run | None, run: Run) -> None:
        """Whoever waited for the target, or for a place, is decided again."""
        if old is not None and old.locks_target and not run.locks_target:
            await tx.wake_waiting(f"target:{run.target}")
        if not run.open and (old is None or old.open):
            await tx.wake_waiting(f"policy:{run.policy}")

    async def _closed(self, tx: Tx, decision: Decision) -> None:
        """Alerts that still fire are decided again; nothing is forgotten."""
        run, refusal = decision.run, decision.refusal
        head = await tx.journal_head(run.id)
        closed: dict[str, object] = {"run": run.id, "outcome": str(run.outcome), "reason": run.reason}
        if head is not None:
            closed |= {"entries": head.seq, "head": head.hash}
        await tx.journal(SYSTEM, [Entry("run-closed", closed)])
        await standing.part(tx, run, refusal or Refusal("recheck", run.reason, decision.recheck_at))


def _remarks(run: Run, subject: str, otherwise: str) -> tuple[str, ...]:
    """What stands already at something that is open; ``otherwise``: where there is no such thing."""
    gate = next((one for one in run.all_gates if one.id == subject and one.state == "open"), None)
    if gate is not None:
        return gate.remarks
    question = run.question
    return question.remarks if question is not None and question.id == subject else (otherwise,)


async def asked(
    tx: Tx, policy: Policy, catalog: Catalog, address: Address, run_id: str = ""
) -> tuple[Scope, Seen, Refusal | None]:
    """May a run be opened now? With what was counted and seen for the answer; nothing is written."""
    scope = _scope(policy, catalog, address.target, run_id, shadow=policy.mode == "observe")
    seen = await tx.seen(scope)
    if not scope.shadow and play.mode_now(policy, seen) == "observe":  # stepped down: it counts apart
        scope = msgspec.structs.replace(scope, shadow=True)
        seen = await tx.seen(scope)
    return scope, seen, play.refusal(policy, catalog, address, seen)


def _scope(policy: Policy, catalog: Catalog, target: str, run_id: str, *, shadow: bool) -> Scope:
    bounds = policy.bounds
    budget = catalog.budgets.get(bounds.budget or "")
    return Scope(
        policy=policy.name,
        target=target,
        run=run_id,
        target_window=bounds.per_target.per,
        policy_window=bounds.per_policy.per,
        shadow=shadow,
        budget=bounds.budget or "",
        budget_window=budget.per if budget is not None else timedelta(),
        failure_window=bounds.breaker.memory if bounds.breaker is not None else timedelta(),
    )
