"""Which promise was broken? Read from the ledger of the world, the journals, and what people saw and did.

Nothing here asks the engine what it thinks: times come from the journals, effects from the ledger, votes,
halts and pages from the people's log. What a policy asks for is read from its text.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from urllib.parse import unquote

from remediator.core import gate as gates
from remediator.core.canonical import digest
from remediator.core.run import Gate, Page
from remediator.engine.virtual import driven
from remediator.ports import SYSTEM, JournalEntry
from remediator.store.audit import audit
from tests.core.campaign import ROLES
from tests.sim.moments import moment, seconds
from tests.sim.policies import CATALOG
from tests.sim.replica import DEBOUNCE
from tests.sim.simulation import Simulation
from tests.sim.told import BY_NAME, Told, asked, fill, is_done, is_not_done, overlaps, tells, told, votes_of
from tests.sim.world import Sent

SLACK = timedelta(seconds=1)
START_WITHIN = timedelta(seconds=15)
FRESH = timedelta(seconds=12)
CALLS = frozenset(
    "pause resume keyed soft -soft hard halve restore item -item retry".split(),
).union(["UPDATE …"])
"""What a policy's text may ask of the world, each on a campaign,"""
NOTED, NUMBERED = ("soft",), ("item", "-item")
"""and with a note, or a number, after it."""
UNDO_LATE = timedelta(seconds=60 + 20)


def check(sim: Simulation) -> list[str]:
    """Every broken promise, a line each."""
    return list(Checker(sim).problems())


class Checker:
    """One seed that was played."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.journals = sim.store._tables.journal
        self.runs = {
            name: told(name, lines) for name, lines in self.journals.items() if lines and name != SYSTEM
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
        yield from (f"6 {one}" for one in self.sim.zombies)
        yield from self._durable()
        yield from self._one_at_a_time()
        yield from self._intended()
        for run in self.runs.values():
            yield from self._approved(run)
            yield from self._fresh(run)
            yield from self._debounced(run)
            yield from self._known(run)
            yield from self._undone(run)
            yield from self._left_alone(run)
        yield from self._bounded()
        yield from self._halted()
        yield from self._paged()
        yield from self._current_policies()
        yield from (f"19 {one}" for one in driven(audit(self.sim.store)).problems)
        yield from self._inert()
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
            yield from (f"2 {where}: {one} and {other} at once" for one, other in overlaps(spans))

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

    # 5 Crash means unknown.
    def _known(self, run: Told) -> Iterator[str]:
        """What is written down as done was done; what is written down as not done was not.

        A person's word stands, if it is theirs: what comes after they have looked, they cannot have seen.
        """
        for step in sorted({one.data["step"] for one in run.begun}):
            effects = self.ledger.get(f"{run.id}/{step}", [])
            words = [one for one in run.lines if tells(one, step)]
            for word in words:
                by = word.data.get("by")
                if by is not None and by not in ROLES["oncall"] | ROLES["lead"] | asked(run):
                    yield f"5 {run.id}/{step} was settled by {by}, who was not asked"
                elif by is not None and self._looked(run, step) > seconds(word.at):
                    yield f"5 {run.id}/{step} was settled at {seconds(word.at):.1f}, and nobody had looked"
                if is_done(word) and not any(moment(one.at) <= word.at for one in effects):
                    yield f"5 {run.id}/{step} was taken for done at {seconds(word.at):.1f}, and was not"
            if effects and words and is_not_done(words[-1]):
                yield f"5 {run.id}/{step} was taken for not done, and happened at {effects[0].at:.1f}"
        for line in run.lines:
            undone = self.ledger.get(f"{run.id}/{line.data['step']}/undo") if line.kind == "undone" else None
            if line.kind == "undone" and not undone:
                yield f"5 the undo of {run.id}/{line.data['step']} was taken for done, and was not"

    # 20 Data is inert.
    def _inert(self) -> Iterator[str]:
        """Each effect is one that its policy's text names, with the alert's words as one value."""
        notes = {one.note for one in self.sim.episodes}
        campaigns = {one.campaign for one in self.sim.episodes} | {f"c-{number}" for number in range(9)}
        for sent in self.sim.world.ledger:
            if sent.key.split("/")[1].startswith("warn") or sent.step == "tell":
                if set(sent.path) & set("<>"):
                    yield f"20 {sent.key} says {sent.path!r}"
                continue
            _, what, campaign, *rest = sent.path.split("/")
            whole = [unquote(one) for one in rest]
            noted = what in NOTED and len(whole) == 1 and whole[0] in notes
            numbered = what in NUMBERED and len(whole) == 1 and whole[0] in ("1", "2", "3")
            if what == "restore" and not campaign:
                continue  # made by its connector, from what it had kept
            if what not in CALLS or campaign not in campaigns or not (noted or numbered or not whole):
                yield f"20 {sent.key} became {sent.path!r}"

    # 9 Exact approval. 10 No self-approval. 11 Deny and expiry are final.
    def _approved(self, run: Told) -> Iterator[str]:
        for start in run.begun:
            wanted = votes_of(run, start)
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
        return not denied and fill(wanted, approvers)

    # 12 Fresh.
    def _fresh(self, run: Told) -> Iterator[str]:
        first = run.first_change
        if first is None:
            return
        reads = self.sim.world.read_at[run.campaign]
        if not any(first.at - FRESH <= moment(at) <= first.at for at in reads):
            yield f"12 {run.id} made its first change at {seconds(first.at):.1f} on old figures"
        heard = [one for one in run.lines if "all_resolved" in one.data and one.seq < first.seq]
        if heard and heard[-1].data["all_resolved"]:
            yield f"12 {run.id} made its first change at {seconds(first.at):.1f}, when nothing fired"

    # 14 No flapping.
    def _debounced(self, run: Told) -> Iterator[str]:
        """A run recovers, and a hold ends early, only once its alert has been over for some time.

        But whoever is about to begin, and finds that it does not fire at that moment, does not begin: that
        is seen by what was heard at the same moment.
        """
        ends = {one.kind for one in run.lines if one.at == run.closed} <= {"resolved", "gate-void", "closed"}
        recovered = run.closed if run.outcome == "recovered" and ends else None
        if recovered is not None and not self._over_for_long(run, recovered):
            yield f"14 {run.id} took the alert for over at {seconds(recovered):.1f}, too early"
        for undo in filter(_begins_undo, run.lines):
            name = undo.data["step"]
            policy, start = run.policy.step(name).undo, run.when("started", step=name)
            held = [at for at in run.when("holding") if at < undo.at]
            if not held or policy is None or policy.after is None or undo.at >= start[0] + policy.after:
                continue
            if not self._over_for_long(run, undo.at):  # should it have waited, then all the while
                yield f"14 {run.id} took the alert for over at {seconds(undo.at):.1f}, too early"

    def _over_for_long(self, run: Told, at: datetime) -> bool:
        """Had all its alerts been over for as long as must be, at this moment?"""
        since: datetime | None = None
        for one in run.lines:
            if "all_resolved" in one.data and one.at <= at:
                since = (since or one.at) if one.data["all_resolved"] else None
        return since is not None and at >= since + DEBOUNCE

    # 13 Bounds hold globally. 14 No flapping.
    def _bounded(self) -> Iterator[str]:
        """A run counts by its last change before another one's first."""
        changes = [(one.at, run) for run in self.runs.values() for one in run.changes]
        changes.sort(key=lambda one: (one[0], one[1].id))
        last: dict[str, tuple[datetime, Told]] = {}
        for at, run in changes:
            if run.id not in last:
                yield from self._within_bounds(run, at, list(last.values()))
            last[run.id] = at, run
        for name, policy in BY_NAME.items():
            yield from self._at_once(name, policy.bounds.at_once)

    def _within_bounds(self, run: Told, at: datetime, before: list[tuple[datetime, Told]]) -> Iterator[str]:
        bounds = run.policy.bounds
        mine = [(when, other) for when, other in before if other.policy is run.policy]
        here = [when for when, other in mine if other.target == run.target]
        if here and at < max(here) + bounds.cooldown:
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
            if self._looked(run, name) < done[0].at:
                continue  # it came after a person had looked, and had said that it was not there
            undone = self.ledger.get(f"{run.id}/{name}/undo")
            told = any(key.startswith(f"{run.id}:undo") for key in self.paged)
            word = next((one.at for one in run.lines if tells(one, name) and one.kind == "settled"), start.at)
            by = max(start.at + undo.after, word) + UNDO_LATE  # before that nobody knew of anything to undo
            if not told and (not undone or moment(undone[0].at) > by) and by < moment(self.sim.ended):
                yield f"16 {run.id}/{name} was not undone in time, and nobody was told"

    def _left_alone(self, run: Told) -> Iterator[str]:
        """What somebody has changed since is theirs, where the policy looks: but for what it just missed."""
        for line in run.lines:
            if line.kind == "undo-started" or (line.kind == "sent-again" and line.data.get("undo")):
                yield from self._written_over(run, line.data["step"], seconds(line.at), FRESH)
        for sent in self.sim.world.ledger:
            if sent.run == run.id and sent.undo and not sent.paused:
                yield from self._written_over(run, sent.step, sent.sent_at, FRESH + START_WITHIN)

    def _written_over(self, run: Told, step: str, at: float, missed: timedelta) -> Iterator[str]:
        """What was sent at this time, and knows of what had been changed, but for the last moments."""
        how, since = run.policy.step(step).undo, self.sim.world.claimed(run.campaign, at)
        if how is not None and how.still and since is not None and since < at - missed.total_seconds():
            yield f"16 {run.id} took back at {at:.1f} what was changed at {since:.1f}"

    def _looked(self, run: Told, step: str) -> float:
        """When a person looked who then settled what had become of a step."""
        word = next((one for one in run.lines if one.kind == "settled" and one.data["step"] == step), None)
        if word is None:
            return float("inf")
        return min(
            (at for at in self.sim.people.looked[run.id, step] if at <= seconds(word.at)),
            default=float("inf"),
        )

    # 17 Pages arrive.
    def _paged(self) -> Iterator[str]:
        for page in self.pages.values():
            heard = page.id in self.sim.people.told or self._needs_nobody(page)
            if not heard and seconds(page.opened_at) < self.sim.ended - 30:
                yield f"17 page {page.id} ({page.key}) reached nobody"
        for run_id in sorted(self.sim.aside):
            if f"bug:run:{run_id}" not in self.paged:
                yield f"17 {run_id} was put aside, and nobody was told"
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

    def _needs_nobody(self, page: Page) -> bool:
        """It was over before anybody was told: somebody came upon it and settled it, or a late answer has.

        Its journal says so, at that moment. Whoever settled it also knows that it failed, if it did.
        """
        about = page.key.removeprefix(f"{page.run}:")
        lines = self.runs[page.run].lines if page.run in self.runs else ()
        over = [one for one in lines if one.at == page.acked_at]
        said = [one.data for one in over if one.kind == "settled" and one.data["by"] == page.acked_by]
        late = [one.data for one in over if one.kind == "late-result" and one.data["settles"]]
        known = {f"unknown:{one['step']}" for one in (*said, *late)}
        failed = {f"failed:{one['step']}" for one in said if one["verdict"] == "not-happened"}
        return about in known | failed

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


def _begins_undo(line: JournalEntry) -> bool:
    """Also anew, where nothing had happened; what was lost under a key is on its way already."""
    again = line.kind == "sent-again" and line.data.get("undo") and "for certain" in line.data["why"]
    return line.kind == "undo-started" or bool(again)
