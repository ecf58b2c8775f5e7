"""The part of a transaction in memory about runs: keeping them, finding them, and what bounds count."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime

import msgspec

from remediator.core.messages import Counted, Seen, Spent, Use
from remediator.core.run import Halt, Run, Stage
from remediator.errors import StoreError
from remediator.ports import Aside, PolicyCount, RunFilter, Scope, StageCount
from remediator.store.doubts import with_doubts
from remediator.store.memory_tables import Changes, Deadlines
from remediator.store.sqlite_rows import as_json, readable
from remediator.store.steady import Instant

_run = msgspec.json.Decoder(Run)

Place = tuple[str, str, bool]
"""Policy, target, shadow."""


class KeptRun(msgspec.Struct, frozen=True):
    """A run as it is kept: the columns that are asked for, and the whole of it as JSON, as on a disk."""

    id: str
    policy: str
    target: str
    shadow: bool
    stage: Stage
    open: bool
    locks: bool
    opened_at: datetime
    members: tuple[str, ...]  # while it is not closed
    outcome: str
    doc: bytes

    @classmethod
    def of(cls, run: Run, doc: bytes) -> KeptRun:
        """A run, and the whole of it as JSON."""
        return cls(
            run.id,
            run.policy,
            run.target,
            run.observes,
            run.stage,
            run.open,
            run.locks_target and not run.observes,
            run.opened_at,
            () if run.stage is Stage.CLOSED else tuple(run.members),
            run.outcome or "",
            doc,
        )

    @property
    def place(self) -> Place:
        """Where at most one run is open."""
        return self.policy, self.target, self.shadow

    @property
    def age(self) -> tuple[datetime, str]:
        """What runs are ordered by."""
        return self.opened_at, self.id


_TAKING_BACK = (Stage.HOLDING, Stage.UNDOING)


class RunTables:
    """What is known of runs, each question with its own index. The innermost dicts serve as ordered sets."""

    def __init__(self) -> None:
        self.runs: dict[str, KeptRun] = {}
        self.live: dict[str, None] = {}
        self.open: dict[Place, str] = {}
        self.open_of: defaultdict[tuple[str, bool], dict[str, None]] = defaultdict(dict)
        self.locks: dict[str, str] = {}
        self.taking_back: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)
        self.members: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self.wakes: Deadlines[str] = Deadlines()
        self.aside: dict[str, str] = {}  # run → why it cannot be decided
        self.halts: dict[str, Halt] = {}
        self.lifted: dict[str, None] = {}
        self.pruned: dict[tuple[str, str], int] = {}  # (policy, outcome) → runs that are forgotten
        # What bounds count, oldest first: (when, which run).
        self.acts_on: defaultdict[Place, list[tuple[datetime, str]]] = defaultdict(list)
        self.acts_of: defaultdict[tuple[str, bool], list[tuple[datetime, str]]] = defaultdict(list)
        self.spent: defaultdict[tuple[str, bool], list[tuple[datetime, str]]] = defaultdict(
            list
        )  # of budgets
        self.spenders: dict[str, str] = {}  # run → policy
        self.failures: defaultdict[str, list[tuple[datetime, str]]] = defaultdict(list)
        self.denials: defaultdict[Place, list[tuple[datetime, str, str]]] = defaultdict(list)
        self.asked: defaultdict[Place, dict[str, None]] = defaultdict(dict)
        # Of each safe case the last time, and the last time in another run: (which run, when).
        self.plays: defaultdict[Place, dict[str, tuple[tuple[str, datetime], ...]]] = defaultdict(dict)


class RunChanges:
    """Runs, as `remediator.ports.Tx` has them."""

    __slots__ = ("_changes", "_doubts", "_tables", "failure", "now")

    _tables: RunTables

    def __init__(self, changes: Changes, instant: Instant) -> None:
        self._changes = changes
        self._doubts = instant.doubts
        self.now = instant.now
        self.failure: StoreError | None = None

    def _kept(self, run: Run) -> KeptRun:
        """As a disk would have it. Raises StoreError for what JSON cannot hold."""
        return KeptRun.of(run, as_json(run))

    def _whole(self, kept: KeptRun) -> Run:
        """The reverse."""
        return _run.decode(kept.doc)

    async def run(self, run_id: str) -> Run | None:
        kept = self._tables.runs.get(run_id)
        return self._whole(kept) if kept is not None else None

    async def claim_run(self, run_id: str) -> Run | None:
        wake_at = self._tables.wakes.get(run_id)
        return await self.run(run_id) if wake_at is not None and wake_at <= self.now else None

    async def open_run(self, policy: str, target: str) -> Run | None:
        tables = self._tables
        run_id = tables.open.get((policy, target, False)) or tables.open.get((policy, target, True))
        return self._whole(tables.runs[run_id]) if run_id is not None else None

    async def runs_of_alert(self, fingerprint: str) -> list[Run]:
        runs = self._tables.members.get(fingerprint)
        return [self._whole(one) for one in sorted(self._all(runs), key=lambda one: one.age)] if runs else []

    async def runs(self, which: RunFilter) -> list[Run]:
        tables = self._tables
        found: Iterable[KeptRun] = tables.runs.values()
        match which.state:
            case "":
                pass
            case "closed":
                found = (one for one in found if one.stage is Stage.CLOSED)
            case "open":
                found = (one for one in self._all(tables.live) if one.stage.open)
            case stage:
                found = (one for one in self._all(tables.live) if one.stage == stage)
        if which.policy:
            found = (one for one in found if one.policy == which.policy)
        if which.target:
            found = (one for one in found if one.target == which.target)
        if which.before:
            last = tables.runs.get(which.before)
            found = (one for one in found if last is not None and one.age < last.age)
        newest_first = sorted(found, key=lambda one: one.age, reverse=True)
        return readable(self._whole, newest_first[: which.limit])

    async def open_runs(self) -> list[str]:
        found = (one for one in self._all(self._tables.live) if one.stage.open)
        return [one.id for one in sorted(found, key=lambda one: one.age, reverse=True)]

    async def put_aside(self, run_id: str, until: datetime, problem: str) -> None:
        if run_id in self._tables.live:
            due = self._tables.wakes.get(run_id, self.now)
            self._changes.set(self._tables.wakes, run_id, min(due, until) if due > self.now else until)
            if problem:
                self._changes.set(self._tables.aside, run_id, problem)

    async def aside(self) -> list[Aside]:
        tables = self._tables
        found = sorted(self._all(tables.aside), key=lambda one: one.age)
        return [Aside(one.id, one.policy, one.target, tables.aside[one.id]) for one in found]

    def _all(self, run_ids: Iterable[str]) -> Iterable[KeptRun]:
        return (self._tables.runs[run_id] for run_id in run_ids)

    async def save_run(self, run: Run, wake_at: datetime | None) -> None:
        kept, tables, changes = self._kept(run), self._tables, self._changes
        is_open = kept.open
        first = tables.open.get(kept.place, run.id) if is_open else run.id
        holder = tables.locks.get(run.target, run.id) if kept.locks else run.id
        if first != run.id or holder != run.id:
            another = f"{run.policy} has another open run on {run.target}, or another run locks that target"
            self.failure = StoreError("store", f"{run.id}: {another}")
            raise self.failure
        old = tables.runs.get(run.id)
        if old is not None:
            self._forget(old, kept)
        changes.set(tables.runs, run.id, kept)
        changes.put(tables.wakes, run.id, wake_at)
        changes.drop(tables.aside, run.id)
        if is_open:
            changes.set(tables.open, kept.place, run.id)
            changes.set(tables.open_of[kept.policy, kept.shadow], run.id, None)
        if kept.locks:
            changes.set(tables.locks, kept.target, run.id)
        if kept.stage in _TAKING_BACK:
            changes.set(tables.taking_back[kept.policy, kept.target], run.id, None)
        if kept.stage is not Stage.CLOSED:
            changes.set(tables.live, run.id, None)
            for fingerprint in kept.members:
                changes.set(tables.members[fingerprint], run.id, None)

    def _forget(self, old: KeptRun, new: KeptRun) -> None:
        """Take it out of the indices in which its new self does not stand."""
        tables, changes = self._tables, self._changes
        if old.open:
            changes.drop(tables.open, old.place)
            changes.drop(tables.open_of[old.policy, old.shadow], old.id)
        if old.locks:
            changes.drop(tables.locks, old.target)
        if old.stage in _TAKING_BACK:
            changes.drop(tables.taking_back[old.policy, old.target], old.id)
        if new.stage is Stage.CLOSED:
            changes.drop(tables.live, old.id)
        if old.members != new.members:
            for fingerprint in set(old.members) - set(new.members):
                changes.drop(tables.members[fingerprint], old.id)

    async def seen(self, scope: Scope) -> Seen:
        tables, place = self._tables, (scope.policy, scope.target, scope.shadow)
        holder = tables.locks.get(scope.target)
        covering = ("all", f"policy:{scope.policy}", f"target:{scope.target}")
        halts = (halt for halt in tables.halts.values() if halt.scope in covering)
        return Seen(
            now=self.now,
            use=self._use(scope, place),
            halts=with_doubts(halts, self._doubts),
            holder=holder if holder != scope.run else None,
            held=self._held(scope),
        )

    def _held(self, scope: Scope) -> frozenset[str]:
        there = self._tables.taking_back.get((scope.policy, scope.target))
        if not there:
            return frozenset()
        others = (self._whole(one) for one in self._all(there) if one.id != scope.run)
        return frozenset(step.name for run in others for step in run.steps.values() if step.to_go)

    def _use(self, scope: Scope, place: Place) -> Use:
        tables, me = self._tables, scope.run
        mine = scope.policy, scope.shadow
        acts, open_runs = tables.acts_on.get(place) or [], tables.open_of.get(mine) or {}
        asked, plays = tables.asked.get(place) or {}, tables.plays.get(place) or {}
        denials = [
            (at, run)
            for at, run, what in tables.denials.get(place) or ()
            if not (what == "expired" and run in asked)
        ]
        failures = tables.failures.get(scope.policy) or []
        others = {what: next((at for run, at in last if run != me), None) for what, last in plays.items()}
        return Use(
            last_act=_last(acts, me),
            last_denial=_last(denials, me),
            target_acts=_once_each(acts, self.now - scope.target_window, me),
            policy_acts=_once_each(tables.acts_of.get(mine) or [], self.now - scope.policy_window, me),
            budget_acts=self._spent(scope),
            failures=_once_each(failures, self.now - scope.failure_window, me),
            open_runs=len(open_runs) - (me in open_runs),
            safe_plays={what: at for what, at in others.items() if at is not None},
        )

    def _spent(self, scope: Scope) -> tuple[Spent, ...]:
        if not scope.budget:
            return ()
        spent = self._tables.spent.get((scope.budget, scope.shadow)) or []
        last = _last_of_each(spent, self.now - scope.budget_window, scope.run)
        return tuple(Spent(self._tables.spenders[run], at) for run, at in last.items())

    async def count(self, scope: Scope, counted: Counted) -> None:
        tables, changes, place = self._tables, self._changes, (scope.policy, scope.target, scope.shadow)
        match counted.kind:
            case "act":
                changes.append(tables.acts_on[place], (self.now, scope.run))
                changes.append(tables.acts_of[scope.policy, scope.shadow], (self.now, scope.run))
                if scope.budget:
                    changes.append(tables.spent[scope.budget, scope.shadow], (self.now, scope.run))
                    changes.set(tables.spenders, scope.run, scope.policy)
            case "failed":
                changes.append(tables.failures[scope.policy], (self.now, scope.run))
            case "denied":
                changes.append(tables.denials[place], (self.now, scope.run, counted.what))
            case "asked":
                changes.set(tables.asked[place], scope.run, None)
            case "safe":
                before = tables.plays[place].get(counted.what, ())
                another = [last for last in before if last[0] != scope.run][:1]
                last = ((scope.run, self.now), *another)
                changes.set(tables.plays[place], counted.what, last)

    async def policy_counts(self) -> list[PolicyCount]:
        closed = (one for one in self._tables.runs.values() if one.stage is Stage.CLOSED and one.outcome)
        counts = Counter((one.policy, one.outcome) for one in closed)
        counts.update({ended: runs for ended, runs in self._tables.pruned.items() if ended[1]})
        return [PolicyCount(*about, count) for about, count in sorted(counts.items())]

    async def stage_counts(self) -> list[StageCount]:
        counts = Counter((one.policy, str(one.stage)) for one in self._all(self._tables.live))
        return [StageCount(*about, count) for about, count in sorted(counts.items())]


def _last(acts: list[tuple[datetime, str]], me: str) -> datetime | None:
    """When another run last did it."""
    for at, run in reversed(acts):
        if run != me:
            return at
    return None


def _once_each(acts: list[tuple[datetime, str]], since: datetime, me: str) -> tuple[datetime, ...]:
    """When each other run last did it within the window, newest first."""
    if not acts or acts[-1][0] <= since:
        return ()
    return tuple(_last_of_each(acts, since, me).values())


def _last_of_each(acts: list[tuple[datetime, str]], since: datetime, me: str) -> dict[str, datetime]:
    """Which other run did it within the window, and when last; newest first."""
    last: dict[str, datetime] = {}
    for at, run in reversed(acts):
        if at <= since:
            break
        if run != me:
            last.setdefault(run, at)
    return last
