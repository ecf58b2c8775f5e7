"""Plays one story: the real engine in virtual time, over the story's world.

Nothing here decides anything. Alerts come in as deliveries, people come to the desk, time passes, and
what there is to see is read from the store.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, takewhile

import msgspec

from remediator.core.alert import Alert, Delivery
from remediator.core.canonical import digest
from remediator.core.catalog import Catalog
from remediator.core.parameters import fit
from remediator.core.planning import Address, address, aimed
from remediator.core.policy import Policy
from remediator.core.policyset import PolicySet, Versioned
from remediator.core.run import Run, Stage
from remediator.core.steps import base_of
from remediator.documents.reading import Place
from remediator.engine.decisions import Decisions, Terms
from remediator.engine.desk import PeoplesDesk
from remediator.engine.virtual import Virtual, VirtualClock
from remediator.errors import StoreError
from remediator.policyfiles.loading import LoadedPolicy, parse_text
from remediator.policyfiles.testing.checking import CRASH
from remediator.policyfiles.testing.expectations import judge
from remediator.policyfiles.testing.models import (
    AlertText,
    BusyText,
    Expect,
    HaltText,
    Line,
    SettleText,
    StartText,
    Test,
    VoteText,
    listed,
    voters,
)
from remediator.policyfiles.testing.reading import Story
from remediator.policyfiles.testing.seen import Seen, Watcher
from remediator.policyfiles.testing.world import Given, World
from remediator.ports import Answer, KeptPolicy, Reloaded, RunFilter, Tx
from remediator.store.memory import MemoryStore

DEBOUNCE = timedelta(minutes=1)
LONGEST = timedelta(days=2)
"""How long a story without times is followed until its run rests."""

AT_REST = (Stage.CLOSED, Stage.WAITING, Stage.HOLDING, Stage.ASKING)
ANOTHER = "another-policy"
STEPS_END = (".result", ".preview")
EARLY = ("result", "preview")
"""What the first line may say of the time before the alert."""


@dataclass(frozen=True)
class Failure:
    """Something that is not as the story says. ``run``: which it is about, from 1."""

    where: str
    what: str
    expected: str
    actual: str
    run: int = 1


@dataclass(frozen=True)
class Told:
    """A story as it went."""

    story: Story
    failures: tuple[Failure, ...]
    seen: Seen


@dataclass
class Teller:
    """One story on its way."""

    story: Story
    catalog: Catalog
    policies: PolicySet
    failures: list[Failure] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._start = self.story.test.starts or self.story.file.starts
        self._clock = VirtualClock(self._start)
        self._store = MemoryStore(self._clock)
        self._ids: dict[str, int] = {}
        self._of_lines = [self._gives(number) for number in range(len(self.story.test.story))]
        self._first = self._from_the_start()
        self._world = World(self._policy, self.catalog, dict(self._first))
        decisions = Decisions(lambda: self.policies, self._read_old, self._new_id, Terms(DEBOUNCE))
        self._play: Virtual = Virtual(
            self._store, self._clock, decisions, self._world.performer(lambda: self._play), self._new_id
        )
        self._desk = PeoplesDesk(
            self._store, self._play.driver, self._new_id, lambda: self.policies, _no_reload
        )
        self._watcher = Watcher(self._store, self._start, self._policy.name)
        self._crashes: list[tuple[str, str]] = []
        self._others: list[tuple[str, Place]] = []
        self._play.driver.watch(self._changed)
        self._alerts: dict[str, Alert] = {}
        self._target = ""

    @property
    def _policy(self) -> Policy:
        return self.story.policy.policy

    def _new_id(self, prefix: str) -> str:
        self._ids[prefix] = self._ids.get(prefix, 0) + 1
        return f"{prefix}-{self._ids[prefix]}"

    def _gives(self, number: int) -> dict[str, dict[str, Given]]:
        """What a line gives from then on: key of the line → by the names of ``given``."""
        line = self.story.test.story[number]
        ends = {"reading": "", "result": ".result", "preview": ".preview"}
        return {
            key: {
                f"{name}{end}": Given(value, ("story", number, key, name))
                for name, value in getattr(line, key).items()
            }
            for key, end in ends.items()
        }

    def _from_the_start(self) -> dict[str, Given]:
        """What stands at the start; before a line changes a reading, the first that gives one holds."""
        given = {**self.story.file.given, **self.story.test.given}
        first = {name: Given(value, ("given", name)) for name, value in given.items()}
        for line in self._of_lines:
            for name, reading in line["reading"].items():
                first.setdefault(name, reading)
        return first

    def _early(self) -> list[str]:
        """What begins the first line, without a time: it holds before the alert fires."""
        if not self.story.test.story or self.story.test.story[0].at is not None:
            return []
        begins = takewhile(lambda key: key in (*EARLY, "reading"), self.story.written("story", 0))
        return [key for key in begins if key in EARLY]

    def _read_old(self, kept: KeptPolicy) -> Policy:
        return self._policy if kept.name == ANOTHER else parse_text(kept.text, kept.file)

    # ── The story ─────────────────────────────────────────────────────────────────────────────────

    def tell(self) -> Told:
        """From its first line to its last. Should the core itself break on it, that is a failure, too."""
        try:
            self._tell()
        except Exception as error:  # noqa: BLE001 - the other stories are told all the same
            problem = f"{type(error).__name__}: {error}"
            self._fail(("name",), "a defect of Remediator", "no error, whatever a story says", problem)
        return Told(self.story, tuple(self.failures), self._watcher.look(self._clock.at))

    def _tell(self) -> None:
        test, early = self.story.test, self._early()
        for key in early:
            self._happens(key, test.story[0], ("story", 0, key))
        self._begins(test)
        for number, line in enumerate(test.story):
            self._line(line, ("story", number), done=early if number == 0 else [])
        if test.expect is not None:
            self._rest()
            self._expect(test.expect, ("expect",))
        for name in self._world.unread:
            remedy = f"a reading: given: {{{quoted(name)}: …}}"
            self._fail(("name",), f"{name} was asked", remedy, "none is given")
        for kind, step in self._crashes:
            moment = f"after {kind} {step}".strip()
            self._fail(("name",), "the crash", moment, "that never came")
        for place, remedy in self._in_vain():
            what = " ".join(str(part) for part in (place[2:] if place[0] == "story" else place))
            self._fail(place, what, "comes to be used", f"never came to be used; {remedy}")

    def _begins(self, test: Test) -> None:
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

    def _in_vain(self) -> Iterator[tuple[Place, str]]:
        """What the story says, and nobody ever asked for. Readings under its name may lie idle."""
        for name, given in self._first.items():
            if name in self.story.test.given and name.endswith(STEPS_END) and not given.used:
                yield given.place, "take it out"
        for line in self._of_lines:
            for name, given in chain.from_iterable(one.items() for one in line.values()):
                if not given.used:
                    yield given.place, f"to hold from the start, write given: {{{quoted(name)}: …}}"
        happened = self._watcher.look(self._clock.at).timeline if self._others else []
        for run, place in self._others:
            if not any(f"run {run} is acting" in str(one.data.get("reason", "")) for one in happened):
                early = "to hold from the start, write busy: under the name of the story"
                yield place, early if place[0] == "story" else "take it out"

    def _line(self, line: Line, place: Place, done: Collection[str]) -> None:
        """``done``: keys of it that held before the alert."""
        if line.at is not None:
            self._until(self._start + line.at)
        for key in self.story.written(*place):
            if key not in done:
                self._happens(key, line, (*place, key))
        if line.expect is not None:
            self._expect(line.expect, (*place, "expect"))

    def _happens(self, key: str, line: Line, place: Place) -> None:
        """One key of a line; they happen in the order in which they are written."""
        match key:
            case "reading" | "result" | "preview":
                self._world.standing |= self._of_lines[int(place[1])][key]
            case "crash":
                for text in listed(line.crash):
                    self._crash(text)
            case "policy_changes" if line.policy_changes:
                self._change_policy()
            case "fires" | "resolves":
                self._alerts_change(key, line)
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

    def _expect(self, expect: Expect, place: Place) -> None:
        seen = self._watcher.look(self._clock.at)
        run = len(seen.runs) if expect.run == "last" else expect.run
        for where, expected, actual in judge(expect, seen):
            what = " ".join(str(part) for part in where)
            self.failures.append(Failure(self.story.where(*place, *where), what, expected, actual, run))

    def _fail(self, place: Place, what: str, expected: str, actual: str) -> None:
        self.failures.append(Failure(self.story.where(*place), what, expected, actual))

    # ── Time ──────────────────────────────────────────────────────────────────────────────────────

    def _until(self, at: datetime) -> None:
        """Every deadline at its moment; refusals that outlast their patience are paged when they do."""
        while True:
            patience = self._clock.at + self._policy.patience
            overdue = self._store.look(lambda tx: tx.dispositions(refused_only=True))
            paged_at = [
                one.refused_since + self._policy.patience
                for one in overdue
                if one.refused_since is not None and not one.paged
            ]
            step = min([at, patience, *paged_at])
            self._play.until(step)
            self._play.page_impatient(self.policies)
            self._watcher.refusals(self._clock.at)
            if step >= at:
                return

    def _rest(self) -> None:
        """Let time pass until every run has closed, holds, or waits for people."""
        latest = self._clock.at + LONGEST
        while (moment := self._play.next_moment()) is not None and moment <= latest:
            live = self._store.look(lambda tx: tx.runs(RunFilter(state="open", policy=self._policy.name)))
            if all(run.stage in AT_REST for run in live):
                return
            self._until(moment)

    # ── Alerts ────────────────────────────────────────────────────────────────────────────────────

    def _alerts_change(self, key: str, line: Line) -> None:
        told = line.fires if key == "fires" else line.resolves
        if isinstance(told, AlertText) and key == "fires":
            self._fires(told)
        elif isinstance(told, AlertText):
            self._resolve(self._alerts.get(_identity(told)) or self._made(told))
        else:
            for alert in list(self._alerts.values()):
                if key == "resolves":
                    self._resolve(alert)
                else:
                    again = {"status": "firing", "starts_at": self._clock.at, "ends_at": None}
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
            starts_at=self._clock.at,
            source=source,
        )

    def _resolve(self, alert: Alert) -> None:
        self._deliver(msgspec.structs.replace(alert, status="resolved", ends_at=self._clock.at))

    def _deliver(self, alert: Alert) -> None:
        self._alerts[alert.fingerprint] = alert
        self._watcher.note(self._clock.at, f"alert {'fires' if alert.firing else 'resolves'}", alert.labels)
        self._play.deliver(Delivery(source=alert.source, alerts=(alert,), received_at=self._clock.at))
        self._watcher.refusals(self._clock.at)

    # ── People ────────────────────────────────────────────────────────────────────────────────────

    def _votes(self, vote: VoteText, place: Place, *, approve: bool) -> None:
        runs = self._store.look(lambda tx: tx.runs(RunFilter(policy=self._policy.name)))
        waiting = [run for run in runs if run.gate is not None and run.gate.state == "open"]
        asked = [run for run in waiting if vote.on in ("", run.target)]
        if len(asked) != 1:
            there = ", ".join(run.target for run in waiting) or "no gate is open"
            self._fail(place, f"{vote.by}'s vote", "one open gate", f"open: {there}" if waiting else there)
            return
        gate = asked[0].gate
        assert gate is not None
        answer: Answer = self._play.do(
            self._desk.vote(gate.id, by=vote.by, approve=approve, via="slack", reason=vote.reason)
        )
        if answer.ok != vote.counts:
            expected = "counts" if vote.counts else "does not count"
            self._fail(place, f"{vote.by}'s vote", expected, answer.text)

    def _settles(self, told: SettleText, place: Place) -> None:
        asking = self._store.look(lambda tx: tx.runs(RunFilter(state="asking", policy=self._policy.name)))
        if not asking:
            self._fail(place, "settle", "a run that asks what became of it", "no run asks")
            return
        by = told.by or self._somebody()
        wish = self._desk.settle(asking[0].id, by=by, verdict=told.verdict, reason=told.reason)
        answer: Answer = self._play.do(wish)
        if not answer.ok:
            self._fail(place, "settle", "counts", answer.text)

    def _starts(self, told: StartText) -> None:
        params, _ = fit(self._policy.params, told.params)
        found = aimed(self._policy, params)
        self._target = self._target or (found.target if isinstance(found, Address) else "")
        self._watcher.note(self._clock.at, f"{told.by} starts it by hand", told.params)
        answer: Answer = self._play.do(self._desk.start(self._policy.name, told.params, by=told.by))
        if not answer.ok:
            data = answer.data or {}
            self._watcher.turned_away(self._clock.at, str(data.get("bound", "params")), answer.text)

    def _somebody(self) -> str:
        """Anybody with a role."""
        roles = self.catalog.roles_at(self._clock.at)
        return min((person for people in roles.values() for person in people), default="")

    # ── Switches and accidents ────────────────────────────────────────────────────────────────────

    def _halts(self, halt: HaltText | str, place: Place) -> None:
        told = halt if isinstance(halt, HaltText) else HaltText(scope=halt)
        here = {"policy": f"policy:{self._policy.name}", "target": f"target:{self._target}"}
        scope, by = here.get(told.scope, told.scope), self._somebody()
        self._wished(self._desk.halt(by=by, scope=scope, reason=told.reason, undos=told.undos), place)

    def _resumes(self, place: Place) -> None:
        halts = self._store.look(lambda tx: tx.halts())
        if not halts:
            self._fail(place, "resume", "something is halted", "nothing is")
        for halt in halts:
            self._wished(self._desk.resume(halt.id, by=self._somebody()), place)
        self._until(self._clock.at)

    def _change_policy(self) -> None:
        self._watcher.note(self._clock.at, "the policy changes", {})
        self.policies = running(self.story.policy, self.catalog, f"+{self._new_id('version')}")
        self._play.change_policies()

    def _wished(self, wish: Awaitable[Answer], place: Place) -> None:
        answer: Answer = self._play.do(wish)
        self._watcher.note(self._clock.at, answer.text, {})
        if not answer.ok:
            self._fail(place, str(place[-1]), "counts", answer.text)

    def _crash(self, text: str) -> None:
        found = CRASH.fullmatch(text)
        assert found is not None
        if found[1]:
            self._crashes.append((found[1], found[2] or ""))
        else:
            self._stops()

    def _stops(self) -> None:
        self._watcher.note(self._clock.at, "the daemon crashes, and starts again", {})
        self._play.crash()

    def _changed(self, run_id: str) -> None:
        """After each commit, before anything of it is performed: the moment to crash at."""
        if not self._crashes:
            return
        for kind, step in self._watcher.news(run_id):
            for crash in list(self._crashes):
                if crash in ((kind, step), (kind, base_of(step)), (kind, "")):
                    self._crashes.remove(crash)
                    self._stops()
                    return

    def _busy(self, told: BusyText, place: Place) -> None:
        """A run of another policy holds the target, then lets go."""
        run = Run(
            id=self._new_id("another"),
            policy=ANOTHER,
            version=ANOTHER,
            mode="act",
            target=told.target or self._target,
            opened_at=self._clock.at,
            alert=Alert(fingerprint=ANOTHER, status="firing", labels={}, starts_at=self._clock.at),
            members={},
            params={},
            stage=Stage.ACTING,
            acted=True,
        )
        try:
            self._store.do(partial(_hold, run=run))
        except StoreError:
            self._fail(place, "busy", f"nobody acts on {run.target} yet", "a run does")
            return
        self._others.append((run.id, place))
        self._watcher.note(self._clock.at, f"another run acts on {run.target}", {})
        closed = msgspec.structs.replace(run, stage=Stage.CLOSED)
        free = self._start + told.until - self._clock.at
        self._play.later(free, lambda: self._store.do(partial(_let_go, run=closed)))


async def _hold(tx: Tx, run: Run) -> None:
    await tx.keep_policy(KeptPolicy(ANOTHER, ANOTHER, "", ""))
    await tx.save_run(run, None)


async def _let_go(tx: Tx, run: Run) -> None:
    await tx.save_run(run, None)
    await tx.wake_waiting(f"target:{run.target}")


def running(policy: LoadedPolicy, catalog: Catalog, change: str = "") -> PolicySet:
    """The policy alone, as the running set."""
    version = f"{policy.version}{change}"
    return PolicySet.of([Versioned(policy.policy, version, policy.text, policy.file)], catalog)


def _identity(told: AlertText) -> str:
    return told.fingerprint or digest(told.labels)[:16]


def quoted(name: str) -> str:
    """A key as YAML wants it: an item's name, with its brackets, in quotes."""
    return f'"{name}"' if "[" in name else name


async def _no_reload() -> Reloaded:
    raise AssertionError("a story reloads nothing")
