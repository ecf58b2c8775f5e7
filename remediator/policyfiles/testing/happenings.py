"""What a line of a story does to the engine: alerts, people, switches and accidents. Called by the teller."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Iterator
from functools import partial

import msgspec

from remediator.core.alert import Alert, Delivery
from remediator.core.canonical import digest
from remediator.core.parameters import fit
from remediator.core.planning import Address, address, aimed
from remediator.core.policy import Policy
from remediator.core.run import Run, Stage
from remediator.core.stages.asking import may_settle
from remediator.core.steps import base_of
from remediator.documents.reading import Place
from remediator.errors import StoreError
from remediator.policyfiles.testing.checking import CRASH
from remediator.policyfiles.testing.models import (
    AlertText,
    BusyText,
    HaltText,
    Line,
    SettleText,
    StartText,
    Test,
    VoteText,
    listed,
    voters,
)
from remediator.policyfiles.testing.scene import ANOTHER, Scene
from remediator.ports import Answer, KeptPolicy, RunFilter, Tx


class Happenings:
    """What happens on a scene. ``crashes``: those to come, as (kind, step) of the journal's line before."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.crashes: list[tuple[str, str]] = []
        self._others: list[tuple[str, Place]] = []
        self._alerts: dict[str, Alert] = {}
        self._target = ""
        scene.play.driver.watch(self._changed)

    @property
    def _policy(self) -> Policy:
        return self._scene.policy

    def begins(self, test: Test) -> None:
        """With its alert, or by hand; before that, another run may act on the target."""
        if test.busy is not None:
            self._aim(test)
            self._busy(test.busy, ("busy",))
        if test.started_by is not None:
            self._starts(StartText(by=test.started_by, params=test.params))
        elif test.alert is not None:
            self._fires(test.alert)

    def _aim(self, test: Test) -> None:
        """What the story will be about."""
        if test.alert is not None:
            found = address(self._policy, self._made(test.alert))
        else:
            found = aimed(self._policy, fit(self._policy.params, test.params)[0])
        self._target = found.target if isinstance(found, Address) else ""

    def happens(self, key: str, line: Line, place: Place) -> None:
        """One key of a line; they happen in the order in which they are written."""
        match key:
            case "reading" | "result" | "preview":
                self._scene.world.standing |= self._scene.standing.lines[int(place[1])][key]
            case "crash":
                for text in listed(line.crash):
                    self._crash(text)
            case "policy_changes" if line.policy_changes:
                self._scene.change_policy()
            case "fires" | "resolves":
                self._alerts_change(key, line, place)
            case "busy" if line.busy is not None:
                self._busy(line.busy, place)
            case "halt" if line.halt is not None:
                self._halts(line.halt, place)
            case "resume":
                self._resumes(place)
            case "start" if line.start is not None:
                self._starts(line.start)
            case "approve" | "deny":
                for vote in voters(getattr(line, key)):
                    self._votes(vote, place, approve=key == "approve")
            case "settle" if line.settle is not None:
                told = line.settle if isinstance(line.settle, SettleText) else SettleText(verdict=line.settle)
                self._settles(told, place)

    def in_vain(self) -> Iterator[tuple[Place, str]]:
        """Runs of others that kept nobody from anything."""
        happened = self._scene.look().timeline if self._others else []
        for run, place in self._others:
            if not any(f"run {run} is acting" in str(one.data.get("reason", "")) for one in happened):
                early = "to hold from the start, write busy: under the name of the story"
                yield place, early if place[0] == "story" else "take it out"

    # ── Alerts ─────────────────────────────────────────────────────────────────────────────────────

    def _alerts_change(self, key: str, line: Line, place: Place) -> None:
        told = line.fires if key == "fires" else line.resolves
        named = _identity(told) in self._alerts if isinstance(told, AlertText) else bool(self._alerts)
        if not named and not (isinstance(told, AlertText) and key == "fires"):
            self._scene.fail(place, key, "an alert that fired before", "it never did")
            return
        if isinstance(told, AlertText) and key == "fires":
            self._fires(told)
        elif isinstance(told, AlertText):
            self._resolve(self._alerts[_identity(told)])
        else:
            for alert in list(self._alerts.values()):
                if key == "resolves":
                    self._resolve(alert)
                else:
                    again = {"status": "firing", "starts_at": self._scene.now, "ends_at": None}
                    self._deliver(msgspec.structs.replace(alert, **again))

    def _fires(self, told: AlertText) -> None:
        alert = self._made(told)
        if not self._target:
            found = address(self._policy, alert)
            self._target = found.target if isinstance(found, Address) else ""
        self._deliver(alert)

    def _made(self, told: AlertText) -> Alert:
        source = f"watch:{self._policy.name}" if self._policy.watch is not None else "alertmanager"
        return Alert(
            fingerprint=_identity(told),
            status="firing",
            labels=told.labels,
            annotations=told.annotations,
            starts_at=self._scene.now,
            source=source,
        )

    def _resolve(self, alert: Alert) -> None:
        self._deliver(msgspec.structs.replace(alert, status="resolved", ends_at=self._scene.now))

    def _deliver(self, alert: Alert) -> None:
        self._alerts[alert.fingerprint] = alert
        self._scene.note(f"alert {'fires' if alert.firing else 'resolves'}", alert.labels)
        self._scene.play.deliver(Delivery(source=alert.source, alerts=(alert,), received_at=self._scene.now))
        self._scene.watcher.refusals(self._scene.now)

    # ── People ─────────────────────────────────────────────────────────────────────────────────────

    def _votes(self, vote: VoteText, place: Place, *, approve: bool) -> None:
        runs = self._scene.store.look(lambda tx: tx.runs(RunFilter(policy=self._policy.name)))
        waiting = [run for run in runs if run.gate is not None and run.gate.state == "open"]
        asked = [run for run in waiting if vote.on in ("", run.target)]
        if len(asked) != 1:
            there = f"open: {', '.join(run.target for run in waiting)}" if waiting else "no gate is open"
            self._scene.fail(place, f"{vote.by}'s vote", "one open gate", there)
            return
        gate = asked[0].gate
        assert gate is not None
        answer: Answer = self._scene.play.do(
            self._scene.desk.vote(gate.id, by=vote.by, approve=approve, via="slack", reason=vote.reason)
        )
        if answer.ok != vote.counts:
            expected = "counts" if vote.counts else "does not count"
            self._scene.fail(place, f"{vote.by}'s vote", expected, answer.text)

    def _settles(self, told: SettleText, place: Place) -> None:
        asking = self._scene.store.look(
            lambda tx: tx.runs(RunFilter(state="asking", policy=self._policy.name))
        )
        question = asking[0].question if asking else None
        if question is None:
            self._scene.fail(place, "settle", "a run that asks what became of it", "no run asks")
            return
        by = told.by or self._somebody(may_settle(asking[0], self._policy.page.chain, self._scene.catalog))
        wish = self._scene.desk.settle(
            asking[0].id, by=by, verdict=told.verdict, reason=told.reason, question=question.id
        )
        answer: Answer = self._scene.play.do(wish)
        if not answer.ok:
            self._scene.fail(place, "settle", "counts", answer.text)

    def _starts(self, told: StartText) -> None:
        params, _ = fit(self._policy.params, told.params)
        found = aimed(self._policy, params)
        self._target = self._target or (found.target if isinstance(found, Address) else "")
        self._scene.note(f"{told.by} starts it by hand", told.params)
        answer: Answer = self._scene.play.do(
            self._scene.desk.start(self._policy.name, told.params, by=told.by)
        )
        if not answer.ok:
            data = answer.data or {}
            self._scene.watcher.turned_away(self._scene.now, str(data.get("bound", "params")), answer.text)

    def _somebody(self, of: Collection[str] = ()) -> str:
        """Anybody with a role; with one of these, where some are given."""
        roles = self._scene.catalog.roles_at(self._scene.now)
        able = (people for role, people in roles.items() if not of or role in of)
        return min((person for people in able for person in people), default="")

    # ── Switches and accidents ─────────────────────────────────────────────────────────────────────

    def _halts(self, halt: HaltText | str, place: Place) -> None:
        told = halt if isinstance(halt, HaltText) else HaltText(scope=halt)
        here = {"policy": f"policy:{self._policy.name}", "target": f"target:{self._target}"}
        scope, by = here.get(told.scope, told.scope), self._somebody()
        self._wished(self._scene.desk.halt(by=by, scope=scope, reason=told.reason, undos=told.undos), place)

    def _resumes(self, place: Place) -> None:
        halts = self._scene.store.look(lambda tx: tx.halts())
        if not halts:
            self._scene.fail(place, "resume", "something is halted", "nothing is")
        for halt in halts:
            self._wished(self._scene.desk.resume(halt.id, by=self._somebody()), place)
        self._scene.until(self._scene.now)

    def _wished(self, wish: Awaitable[Answer], place: Place) -> None:
        answer: Answer = self._scene.play.do(wish)
        self._scene.note(answer.text, {})
        if not answer.ok:
            self._scene.fail(place, str(place[-1]), "counts", answer.text)

    def _crash(self, text: str) -> None:
        found = CRASH.fullmatch(text)
        assert found is not None
        if found[1]:
            self.crashes.append((found[1], found[2] or ""))
        else:
            self._stops()

    def _stops(self) -> None:
        self._scene.note("the daemon crashes, and starts again", {})
        self._scene.play.crash()

    def _changed(self, run_id: str) -> None:
        """After each commit, before anything of it is performed: the moment to crash at."""
        if not self.crashes:
            return
        for kind, step in self._scene.watcher.news(run_id):
            for crash in list(self.crashes):
                if crash in ((kind, step), (kind, base_of(step)), (kind, "")):
                    self.crashes.remove(crash)
                    self._stops()
                    return

    def _busy(self, told: BusyText, place: Place) -> None:
        """A run of another policy holds the target, then lets go."""
        run = Run(
            id=self._scene.new_id("another"),
            policy=ANOTHER,
            version=ANOTHER,
            mode="act",
            target=told.target or self._target,
            opened_at=self._scene.now,
            alert=Alert(fingerprint=ANOTHER, status="firing", labels={}, starts_at=self._scene.now),
            members={},
            params={},
            stage=Stage.ACTING,
            acted=True,
        )
        try:
            self._scene.store.do(partial(_hold, run=run))
        except StoreError:
            self._scene.fail(place, "busy", f"nobody acts on {run.target} yet", "a run does")
            return
        self._others.append((run.id, place))
        self._scene.note(f"another run acts on {run.target}", {})
        closed = msgspec.structs.replace(run, stage=Stage.CLOSED)
        free = self._scene.start + told.until - self._scene.now
        self._scene.play.later(free, lambda: self._scene.store.do(partial(_let_go, run=closed)))


async def _hold(tx: Tx, run: Run) -> None:
    await tx.keep_policy(KeptPolicy(ANOTHER, ANOTHER, "", ""))
    await tx.save_run(run, None)


async def _let_go(tx: Tx, run: Run) -> None:
    await tx.save_run(run, None)
    await tx.wake_waiting(f"target:{run.target}")


def _identity(told: AlertText) -> str:
    return told.fingerprint or digest(told.labels)[:16]
