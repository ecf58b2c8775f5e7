"""Which promise was broken? Read from the ledger, our database, and what people were sent and did.

Nothing is taken from the daemons' own words where somebody else can tell: effects come from the ledger,
votes and settlements from the people, pages from those who got them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from remediator.clock import SystemClock
from remediator.core.run import Outcome, Run, Stage
from remediator.ports import SYSTEM, JournalEntry, RunFilter, Store
from remediator.store import open_store
from remediator.store.audit import audit
from tests.faults.peer import Effect
from tests.faults.policies import AGREED, AT_ONCE, HELD, PER_HOUR, SCARCE

INTENTS = ("started", "undo-started", "sent-again")
SKEW = timedelta(milliseconds=50)
"""Between the clock of the ledger and the database's, on one machine."""
ALL = 1_000_000


@dataclass
class Kept:
    """What is in the database."""

    runs: list[Run]
    journals: dict[str, list[JournalEntry]]
    system: list[JournalEntry]
    """The system's journal: its lines stand in the order of the commits."""
    known: set[str]
    """Fingerprints of alerts that are kept."""
    decided: set[str]
    """And of those that some policy has decided on."""
    waiting: int
    """Deliveries that nobody has decided on."""
    broken: tuple[str, ...]
    """Journals that do not verify."""

    @property
    def steps(self) -> int:
        """How many acts and undos were started."""
        return sum(line.kind in INTENTS for lines in self.journals.values() for line in lines)


@dataclass
class Heard:
    """What is known outside of it."""

    ledger: list[Effect]
    accepted: Mapping[str, tuple[str, str]]
    """Fingerprint of each alert that was answered 2xx → (policy, thing)."""
    approved: Mapping[str, Collection[str]]
    notified: set[str]
    """Runs about which a page or a card has reached somebody."""
    halted: list[tuple[datetime, datetime]] = field(default_factory=list)
    """From when to when everybody knew that nothing may start."""
    forgotten: set[str] = field(default_factory=set)
    """Things whose last moments were lost with a primary, as people found when they compared."""


@dataclass(frozen=True)
class Verdict:
    """What is wrong, by kind; each a line."""

    doubles: list[str]
    losses: list[str]
    unresolved: list[str]
    others: list[str]

    @property
    def problems(self) -> list[str]:
        """All of them."""
        return [*self.doubles, *self.losses, *self.unresolved, *self.others]


async def keep(url: str) -> Kept:
    """Read a store, as it is, beside its daemons."""
    store = open_store(url, SystemClock())
    await store.open_reading()
    try:
        return await _read(store)
    finally:
        await store.close()


async def _read(store: Store) -> Kept:
    runs = await store.read(lambda tx: tx.runs(RunFilter(limit=ALL)))
    journals = {run.id: await store.read(partial(_journal, run.id)) for run in runs}
    alerts = await store.read(lambda tx: tx.alerts(firing_only=False, limit=ALL))
    dispositions = await store.read(lambda tx: tx.dispositions())
    waiting = await store.read(lambda tx: tx.inbox_depth())
    decided = {one.fingerprint for one in dispositions}
    known = {one.alert.fingerprint for one in alerts}
    system = await store.read(partial(_journal, SYSTEM))
    return Kept(runs, journals, system, known, decided, waiting, (await audit(store)).problems)


async def _journal(run: str, tx: object) -> list[JournalEntry]:
    return await tx.read_journal(run, after=0, limit=ALL)  # type: ignore[attr-defined, no-any-return]


def check(kept: Kept, heard: Heard) -> Verdict:
    """Every promise that can be judged from here."""
    return Verdict(
        list(_doubles(heard)),
        list(_losses(kept, heard)),
        list(_unresolved(kept, heard)),
        [
            *_without_intent(kept, heard),
            *_unapproved(kept, heard),
            *_beyond_bounds(kept),
            *_untrue(kept, heard),
            *_in_spite_of_halts(kept, heard),
            *(f"19 {problem}" for problem in kept.broken),
        ],
    )


def _doubles(heard: Heard) -> Iterator[str]:
    """4: at most one entry for each thing that was asked of each thing: each is in trouble once."""
    counts = Counter((one.thing, one.what) for one in heard.ledger)
    for (thing, what), count in counts.items():
        if count > 1:
            yield f"4 {what} of {thing} happened {count} times"


def _losses(kept: Kept, heard: Heard) -> Iterator[str]:
    """1, 2: what was answered 2xx is kept, and was decided on."""
    if kept.waiting:
        yield f"1 {kept.waiting} deliveries were never decided on"
    for fingerprint, (policy, thing) in heard.accepted.items():
        if thing in heard.forgotten:
            continue
        if fingerprint not in kept.known:
            yield f"1 the alert {policy} of {thing} was answered 2xx, and is not there"
        elif fingerprint not in kept.decided:
            yield f"2 the alert {policy} of {thing} was never decided on"


def _unresolved(kept: Kept, heard: Heard) -> Iterator[str]:
    """17, 21: each run is closed, or somebody who was told has it; who was asked was told."""
    for run in kept.runs:
        asked = any(line.kind == "asking" for line in kept.journals[run.id])
        if (asked or run.stage is not Stage.CLOSED) and run.id not in heard.notified:
            yield f"21 {run.id} ({run.policy} on {run.target}) is {run.stage}, and nobody was told"


def _without_intent(kept: Kept, heard: Heard) -> Iterator[str]:
    """3: each effect has an intent of its own that was committed before it."""
    intents: defaultdict[str, list[datetime]] = defaultdict(list)
    for run in kept.runs:
        thing = run.target.partition("/")[2]
        intents[thing] += [line.at for line in kept.journals[run.id] if line.kind in INTENTS]
    for thing, ats in intents.items():
        effects = sorted(one.at for one in heard.ledger if one.thing == thing)
        for intent, effect in zip(sorted(ats), effects, strict=False):
            if intent > datetime.fromtimestamp(effect, UTC) + SKEW:
                yield f"3 something happened to {thing} before its intent"
    for one in heard.ledger:
        if one.thing not in heard.forgotten and not intents.get(one.thing):
            yield f"3 {one.what} of {one.thing} happened, and nobody meant it"


def _unapproved(kept: Kept, heard: Heard) -> Iterator[str]:
    """9: what needs two people starts only after both agreed."""
    for run in kept.runs:
        started = any(line.kind == "started" for line in kept.journals[run.id])
        if run.policy == AGREED and started and len(set(heard.approved.get(run.id, ()))) < 2:
            yield f"9 {run.id} started, and {heard.approved.get(run.id, 'nobody')} agreed"


def _beyond_bounds(kept: Kept) -> Iterator[str]:
    """13: so many at once, so many in an hour.

    At once is told by the order of the commits, not by the clock: a transaction reads the time first and
    looks at what is open after that, so its time may be earlier than the end that made room for it.
    """
    scarce, opened = {run.id for run in kept.runs if run.policy == SCARCE}, set[str]()
    for line in kept.system:
        run = line.data.get("run")
        if run in scarce and line.kind == "run-opened":
            opened.add(run)
            if len(opened) > AT_ONCE:
                yield f"13 {len(opened)} runs of {SCARCE} at once: {run} was opened ({line.at:%H:%M:%S.%f})"
        elif line.kind == "run-closed":
            opened.discard(run)
    lines = [[line.at for line in kept.journals[run] if line.kind == "started"] for run in scarce]
    acted = sorted(starts[0] for starts in lines if starts)
    for first, last in zip(acted, acted[PER_HOUR:], strict=False):
        if last - first < timedelta(hours=1):
            yield f"13 more than {PER_HOUR} runs of {SCARCE} acted within an hour"


_NOTHING_DONE = (Outcome.REFUSED, Outcome.DENIED, Outcome.EXPIRED, Outcome.RECOVERED)


def _untrue(kept: Kept, heard: Heard) -> Iterator[str]:
    """5: what a run says of its end is so."""
    counts = Counter((one.thing, one.what) for one in heard.ledger)
    outcomes = defaultdict(set)
    for run in kept.runs:
        outcomes[run.target.partition("/")[2]].add(run.outcome)
        if run.outcome is Outcome.FIXED:
            thing = run.target.partition("/")[2]
            wanted = {"pause", "resume"} if run.policy == HELD else {"pause"}
            if any(not counts[thing, what] for what in wanted):
                yield f"5 {run.id} says that it is fixed, and nothing happened to {thing}"
    for thing, found in outcomes.items():
        if found <= set(_NOTHING_DONE) and counts[thing, "pause"]:
            yield f"5 {thing} was changed by a run that says that it did nothing"


def _in_spite_of_halts(kept: Kept, heard: Heard) -> Iterator[str]:
    """8, 15: nothing starts while everybody knows that nothing may."""
    for since, until in heard.halted:
        for run in kept.runs:
            for line in kept.journals[run.id]:
                if line.kind == "started" and since < line.at < until:
                    yield f"15 {run.id} started at {line.at:%H:%M:%S}, halted since {since:%H:%M:%S}"
