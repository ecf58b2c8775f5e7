"""Which promise was broken? Read from the ledger of the world, the journals, and what people saw and did.

Nothing here asks the engine what it thinks: times come from the journals, effects from the ledger, votes,
halts and pages from the people's log. What a policy asks for is read from its text.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise, permutations

from remediator.core import gate as gates
from remediator.core.canonical import digest
from remediator.core.catalog import Risk
from remediator.core.policy import Policy
from remediator.core.run import Gate
from remediator.core.steps import base_of
from remediator.engine.virtual import driven
from remediator.ports import SYSTEM, JournalEntry
from remediator.store.audit import audit
from tests.core.campaign import ROLES
from tests.sim.moments import moment, seconds
from tests.sim.policies import CATALOG, POLICIES
from tests.sim.replica import DEBOUNCE
from tests.sim.simulation import Simulation
from tests.sim.world import Sent

BY_NAME = {policy.name: policy for policy in POLICIES}
SLACK = timedelta(seconds=1)
START_WITHIN = timedelta(seconds=15)
FRESH = timedelta(seconds=12)
UNDO_LATE = timedelta(seconds=60 + 20)


def check(sim: Simulation) -> list[str]:
    """Every broken promise, a line each."""
    return list(Checker(sim).problems())


# ── The whole story ───────────────────────────────────────────────────────────────────────────────


@dataclass
class Told:
    """What the journal of one run tells."""

    id: str
    lines: list[JournalEntry]
    policy: Policy
    target: str
    mode: str
    by: str
    opened: datetime
    closed: datetime | None = None
    outcome: str = ""
    begun: list[JournalEntry] = field(default_factory=list)  # "started", in order

    @property
    def campaign(self) -> str:
        return self.target.partition("/")[2]

    @property
    def first_change(self) -> JournalEntry | None:
        """The first start of a step that is not safe."""
        return next((one for one in self.begun if one.data["risk"] != Risk.SAFE), None)

    def when(self, *kinds: str, step: str = "") -> list[datetime]:
        return [
            one.at for one in self.lines if one.kind in kinds and (not step or one.data.get("step") == step)
        ]

    @property
    def spans(self) -> list[tuple[datetime, datetime]]:
        """When it keeps all others from acting on its target."""
        found: list[tuple[datetime, datetime]] = []
        since: datetime | None = None
        for line in self.lines:
            starts = line.kind == "undo-started" or (
                line.kind == "started" and line.data["risk"] != Risk.SAFE
            )
            if starts and since is None:
                since = line.at
            elif line.kind in ("holding", "closed", "undo-waits") and since is not None:
                found.append((since, line.at))
                since = None
        return found if since is None else [*found, (since, datetime.max.replace(tzinfo=since.tzinfo))]


class Checker:
    """One seed that was played."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.journals = sim.store._tables.journal
        self.runs = {
            name: _told(name, lines) for name, lines in self.journals.items() if lines and name != SYSTEM
        }
        self.pages = sim.store._tables.pages
        self.paged = {page.key for page in self.pages.values()}
        self.ledger: defaultdict[str, list[Sent]] = defaultdict(list)
        for sent in sim.world.ledger:
            self.ledger[sent.key].append(sent)

    def problems(self) -> Iterator[str]:
        """Each promise in turn."""
        yield from (f"0 {one}" for one in self.sim.defects)
        yield from self.sim.stuck
        yield from self._durable()
        yield from self._one_at_a_time()
        yield from self._intended()
        for run in self.runs.values():
            yield from self._approved(run)
            yield from self._fresh(run)
            yield from self._debounced(run)
            yield from self._undone(run)
        yield from self._bounded()
        yield from self._halted()
        yield from self._told()
        yield from self._current_policies()
        yield from (f"19 {one}" for one in driven(audit(self.sim.store)).problems)
        yield from self._ended()

    # 1 Durable 2xx.
    def _durable(self) -> Iterator[str]:
        tables = self.sim.store._tables
        if tables.unsettled:
            yield f"1 {len(tables.unsettled)} deliveries were never decided on"
        kept = Counter(alert.fingerprint for one in tables.inbox.values() for alert in one.alerts)
        for fingerprint, count in self.sim.answered.items():
            if kept[fingerprint] < count:
                yield f"1 {fingerprint}: {count} deliveries were answered 2xx, {kept[fingerprint]} are kept"
        for episode in self.sim.current.values():
            row = tables.alerts.get(episode.fingerprint)
            if row is not None and row.alert.firing and not episode.firing:
                yield f"1 {episode.fingerprint} is over, and is still taken as firing"

    # 2 One run per trouble.
    def _one_at_a_time(self) -> Iterator[str]:
        by_place: defaultdict[tuple[str, str], list[tuple[datetime, datetime, str]]] = defaultdict(list)
        by_target: defaultdict[str, list[tuple[datetime, datetime, str]]] = defaultdict(list)
        for run in self.runs.values():
            if run.mode == "observe":
                continue
            ends = [*run.when("holding"), *run.when("closed"), moment(self.sim.ended)]
            by_place[run.policy.name, run.target].append((run.opened, ends[0], run.id))
            by_target[run.target] += [(since, until, run.id) for since, until in run.spans]
        for where, spans in [*by_place.items(), *by_target.items()]:
            yield from (f"2 {where}: {one} and {other} at once" for one, other in _overlaps(spans))

    # 3 No step without intent. 4 At most once. 6 No zombies.
    def _intended(self) -> Iterator[str]:
        for key, entries in self.ledger.items():
            if len(entries) > 1:
                yield f"4 {key} happened {len(entries)} times"
            sent, run = entries[0], self.runs.get(entries[0].run)
            if run is None:
                yield f"3 {key} happened, and there is no such run"
                continue
            intents = run.when("undo-started" if sent.undo else "started", "sent-again", step=sent.step)
            before = [at for at in intents if at <= moment(sent.sent_at) + timedelta(milliseconds=1)]
            if not before:
                yield f"3 {key} was sent at {sent.sent_at:.3f}, with no intent before that"
            elif not sent.paused and moment(sent.sent_at) > before[-1] + START_WITHIN + SLACK:
                yield f"6 {key} was sent at {sent.sent_at:.1f}, too long after its intent"
            if sent.unfenced:
                yield f"6 {key} was sent by {sent.by}, though {sent.unfenced}"

    # 9 Exact approval. 10 No self-approval. 11 Deny and expiry are final.
    def _approved(self, run: Told) -> Iterator[str]:
        for start in run.begun:
            wanted = _votes(run, start)
            if wanted is None:
                continue
            name = start.data["step"]
            cards = [
                gate
                for gate in self.sim.people.shown.values()
                if gate.id.startswith(f"{run.id}.")
                and any(digest(one.identity()) == digest(start.data["intention"]) for one in gate.intentions)
            ]
            if not any(self._agreed(run, gate, wanted, start.at) for gate in cards):
                yield f"9 {run.id} started {name} at {seconds(start.at):.1f}, which nobody agreed to"

    def _agreed(self, run: Told, gate: Gate, wanted: dict[str, int], at: datetime) -> bool:
        votes = [one for one in self.sim.people.votes if one.gate == gate.id and moment(one.at) <= at]
        denied = [one for one in votes if one.ok and not one.approve and moment(one.answered_at or 0) < at]
        approvers = {
            one.by
            for one in votes
            if one.approve
            and one.by != run.by
            and gate.hash.startswith(one.seen)
            and len(one.seen) >= gates.SHORTEST_HASH
            and moment(one.at) < gate.expires_at
        }
        return not denied and _fill(wanted, approvers)

    # 12 Fresh.
    def _fresh(self, run: Told) -> Iterator[str]:
        first = run.first_change
        if first is None:
            return
        reads = self.sim.world.read_at[run.campaign]
        if not any(first.at - FRESH <= moment(at) <= first.at for at in reads):
            yield f"12 {run.id} made its first change at {seconds(first.at):.1f} on old figures"

    # 14 No flapping.
    def _debounced(self, run: Told) -> Iterator[str]:
        """A hold ends early only once its alert has been over for some time."""
        for undo in (one for one in run.lines if one.kind == "undo-started"):
            policy, start = (
                run.policy.step(undo.data["step"]).undo,
                run.when("started", step=undo.data["step"]),
            )
            held = [at for at in run.when("holding") if at < undo.at]
            if not held or policy is None or policy.after is None or undo.at >= start[0] + policy.after:
                continue
            over = [one.at for one in run.lines if one.kind == "resolved" and one.data["all_resolved"]]
            if not over or undo.at < over[-1] + DEBOUNCE:
                yield f"14 {run.id} took the alert for over at {seconds(undo.at):.1f}, too early"

    # 13 Bounds hold globally. 14 No flapping.
    def _bounded(self) -> Iterator[str]:
        acted = [(one.at, run) for run in self.runs.values() if (one := run.first_change) is not None]
        acted.sort(key=lambda one: (one[0], one[1].id))
        for number, (at, run) in enumerate(acted):
            bounds, before = run.policy.bounds, acted[:number]
            mine = [(when, other) for when, other in before if other.policy is run.policy]
            here = [when for when, other in mine if other.target == run.target]
            if here and at < here[-1] + bounds.cooldown:
                yield f"13 {run.id} acted within the cooldown of {run.policy.name} on {run.target}"
            if len([when for when in here if when > at - bounds.per_target.per]) >= bounds.per_target.limit:
                yield f"13 {run.id} acted beyond per_target of {run.policy.name} on {run.target}"
            recent = [when for when, _ in mine if when > at - bounds.per_policy.per]
            if len(recent) >= bounds.per_policy.limit:
                yield f"13 {run.id} acted beyond per_policy of {run.policy.name}"
            yield from self._within_budget(run, at, before)
            if bounds.windows is not None and bounds.windows.opens(at) != at:
                yield f"13 {run.id} acted outside its windows"
            if run.mode == "act" and self._stepped_down(run, at):
                yield f"14 {run.id} acted by itself at {seconds(at):.1f}, after {run.policy.name} had failed"
        for name, policy in BY_NAME.items():
            yield from self._at_once(name, policy.bounds.at_once)

    def _within_budget(self, run: Told, at: datetime, before: list[tuple[datetime, Told]]) -> Iterator[str]:
        budget = run.policy.bounds.budget
        if budget is None:
            return
        rate = CATALOG.budgets[budget]
        spent = [when for when, one in before if one.policy.bounds.budget == budget and when > at - rate.per]
        if len(spent) >= rate.limit:
            yield f"13 {run.id} took more than budget {budget} has"

    def _stepped_down(self, run: Told, at: datetime) -> bool:
        breaker = run.policy.bounds.breaker
        if breaker is None:
            return False
        failed = sorted(
            one.closed
            for one in self.runs.values()
            if one.policy is run.policy
            and one is not run
            and one.outcome in ("failed", "ineffective")
            and one.closed is not None
            and one.closed < at
        )
        return any(
            first > last - breaker.within and at < last + breaker.for_
            for first, last in zip(failed, failed[breaker.failures - 1 :], strict=False)
        )

    def _at_once(self, name: str, limit: int) -> Iterator[str]:
        changes: list[tuple[datetime, int]] = []
        for run in self.runs.values():
            if run.policy.name == name and run.mode != "observe":
                ends = [*run.when("holding"), *run.when("closed")]
                changes.append((run.opened, 1))
                changes += [(ends[0], -1)] if ends else []
        count = 0
        for at, change in sorted(changes):
            count += change
            if count > limit:
                yield f"13 {count} runs of {name} were open at {seconds(at):.1f}"
                return

    # 15 Halt.
    def _halted(self) -> Iterator[str]:
        for halt in self.sim.people.halts:
            for run in self.runs.values():
                if halt.scope not in ("all", f"policy:{run.policy.name}", f"target:{run.target}"):
                    continue
                kinds = ("started", "sent-again", "undo-started") if halt.undos else ("started",)
                for at in run.when(*kinds):
                    if halt.since < seconds(at) < halt.until:
                        yield f"15 {run.id} started at {seconds(at):.1f}, halted since {halt.since:.1f}"

    # 16 Time box.
    def _undone(self, run: Told) -> Iterator[str]:
        for start in run.begun:
            name = start.data["step"]
            undo, done = run.policy.step(name).undo, self.ledger.get(f"{run.id}/{name}")
            if undo is None or undo.after is None or not done or run.outcome == "handed-over":
                continue
            settled = self.sim.people.settled.get((run.id, name))
            if done[0].at > (seconds(run.closed) if run.closed else done[0].at) or (
                settled is not None and done[0].at > settled
            ):
                continue  # it came after a person had looked, or after all was over
            undone = self.ledger.get(f"{run.id}/{name}/undo")
            told = any(key.startswith(f"{run.id}:undo") for key in self.paged)
            by = start.at + undo.after + UNDO_LATE
            if not told and (not undone or moment(undone[0].at) > by) and by < moment(self.sim.ended):
                yield f"16 {run.id}/{name} was not undone in time, and nobody was told"

    # 17 Pages arrive.
    def _told(self) -> Iterator[str]:
        for page in self.pages.values():
            if page.id not in self.sim.people.told and seconds(page.opened_at) < self.sim.ended - 30:
                yield f"17 page {page.id} ({page.key}) reached nobody"
        for run in self.runs.values():
            for line in run.lines:
                if (
                    line.kind == "paged"
                    and not {line.data["key"], f"{run.id}:{line.data['key']}"} & self.paged
                ):
                    yield f"17 {run.id}: the page {line.data['key']} was not kept"
                expired = line.kind == "gate-expired" and line.data["late"] == "page"
                if expired and f"{run.id}:expired:{line.data['gate']}" not in self.paged:
                    yield f"17 {run.id}: nobody was paged for gate {line.data['gate']}"

    # 18 Reload is atomic.
    def _current_policies(self) -> Iterator[str]:
        for line in (line for run in self.runs.values() for line in run.lines if line.kind == "opened"):
            policy = line.data["policy"]
            sets = [versions for at, versions in self.sim.sets if at < seconds(line.at)]
            current = sets[-1].get(policy) if sets else line.data["version"]
            if current != line.data["version"]:
                yield f"18 {line.run} was opened by {line.data['version']}, current was {current}"

    # 21 Liveness.
    def _ended(self) -> Iterator[str]:
        tables = self.sim.store._tables
        for run_id in tables.live:
            run = tables.runs[run_id]
            yield f"21 {run_id} is {run.stage} at the end ({run.policy})"
        left = [one for one in tables.effects.values() if one.run not in tables.live]
        if left:
            yield f"21 {len(left)} effects are left at the end: {left[0].run} {left[0].effect}"


def _told(name: str, lines: list[JournalEntry]) -> Told:
    opened = next(one for one in lines if one.kind == "opened")
    closed = next((one for one in lines if one.kind == "closed"), None)
    return Told(
        id=name,
        lines=lines,
        policy=BY_NAME[opened.data["policy"]],
        target=opened.data["target"],
        mode=opened.data["mode"],
        by=str(opened.data["by"]).removeprefix("person:"),
        opened=opened.at,
        closed=closed.at if closed is not None else None,
        outcome=closed.data["outcome"] if closed is not None else "",
        begun=[one for one in lines if one.kind == "started"],
    )


def _votes(run: Told, start: JournalEntry) -> dict[str, int] | None:
    """Whom a step needs by the policy's text; None when nobody."""
    name, risk = base_of(start.data["step"]), start.data["risk"]
    case = next(one for one in run.policy.decide if name in one.steps)
    for gate in (case.gate, run.policy.steps[name].gate):
        if gate is not None and gate.votes:
            return dict(gate.votes)
    waived = any(gate is not None and gate.waived for gate in (case.gate, run.policy.steps[name].gate))
    needs = run.mode == "suggest" or (risk != Risk.SAFE and not waived)
    return {"oncall": 1} if needs else None


def _fill(wanted: dict[str, int], approvers: Iterable[str]) -> bool:
    """Can distinct people fill every place? Tried one by one: they are few."""
    places = [role for role, count in wanted.items() for _ in range(count)]
    return any(
        all(person in ROLES[role] for person, role in zip(people, places, strict=True))
        for people in permutations(sorted(approvers), len(places))
    )


def _overlaps(spans: list[tuple[datetime, datetime, str]]) -> Iterator[tuple[str, str]]:
    ordered = sorted(spans)
    for (_, until, one), (since, _, other) in pairwise(ordered):
        if since < until and one != other:
            yield one, other
