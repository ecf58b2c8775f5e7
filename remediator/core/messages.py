"""What a run hears (events), what it wants (effects), and what may be read beside it (facts)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from remediator.core.alert import Alert
from remediator.core.catalog import Catalog
from remediator.core.evidence import Picture, Reading
from remediator.core.intention import Call
from remediator.core.policy import Policy
from remediator.core.run import Halt, Refusal, Run, Vote
from remediator.core.steps import base_of

# ── Events ────────────────────────────────────────────────────────────────────────────────────────


class AlertHeard(msgspec.Struct, frozen=True, tag=True):
    """An alert of this policy and target was delivered: a new one, a repeat, or its end."""

    alert: Alert
    at: datetime


class ProbeRead(msgspec.Struct, frozen=True, tag=True):
    """A probe was answered, or could not be read."""

    round: int
    key: str
    reading: Reading


class Previewed(msgspec.Struct, frozen=True, tag=True):
    """What a step would change."""

    round: int
    step: str
    picture: Picture | None
    error: str = ""


class VoteCast(msgspec.Struct, frozen=True, tag=True):
    """A person, already known to be who they are, voted on a gate."""

    gate: str
    vote: Vote


class Done(msgspec.Struct, frozen=True, tag=True):
    """The world did it and said so. ``left``: what it could not take back, told exactly; of undos only."""

    result: dict[str, Any] = {}  # as `exact.kept`
    left: str = ""


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The world did not do it, and that is certain."""

    reason: str
    unsent: bool = False  # by our own doing: nobody was asked


class Unknown(msgspec.Struct, frozen=True, tag=True):
    """It may or may not have happened."""

    reason: str


Result = Done | Refused | Unknown


class StepFinished(msgspec.Struct, frozen=True, tag=True):
    """An act or an undo ended."""

    step: str
    attempt: int
    undo: bool
    result: Result


class Marked(msgspec.Struct, frozen=True, tag=True):
    """An act or an undo is about to become final; the mark tells afterwards whether it did."""

    step: str
    attempt: int
    undo: bool
    mark: dict[str, Any]  # as `exact.kept`; ``result`` is what it will have done


class Inquired(msgspec.Struct, frozen=True, tag=True):
    """What became of an act or an undo whose answer was lost, by its mark."""

    step: str
    attempt: int
    undo: bool
    result: Result


class CameLate(msgspec.Struct, frozen=True, tag=True):
    """What an act or an undo said for itself, after it had been given up for lost."""

    step: str
    attempt: int
    undo: bool
    result: Result


class Settled(msgspec.Struct, frozen=True, tag=True):
    """A person, already known to be who they are, said what became of an unknown outcome."""

    by: str
    verdict: Literal["happened", "not-happened", "handled"]
    reason: str = ""
    via: str = "api"  # slack | api | page | cli
    question: str = ""  # the one that they were shown; "" for the only one


class TimePassed(msgspec.Struct, frozen=True, tag=True):
    """A deadline of the run is due. Which one, the run knows."""


class PolicyChanged(msgspec.Struct, frozen=True, tag=True):
    """The running set of policies is another one."""


Event = (
    AlertHeard
    | ProbeRead
    | Previewed
    | VoteCast
    | StepFinished
    | Marked
    | Inquired
    | CameLate
    | Settled
    | TimePassed
    | PolicyChanged
)

# ── Effects ───────────────────────────────────────────────────────────────────────────────────────


class Probe(msgspec.Struct, frozen=True, tag=True):
    """Repeatable: read this."""

    round: int
    key: str  # diagnose:<probe> | before:<step> | verify:<step>
    call: Call


class Preview(msgspec.Struct, frozen=True, tag=True):
    """Repeatable: show what this would change."""

    round: int
    step: str
    call: Call


START_WITHIN = timedelta(seconds=15)
"""How long after its decision an act may be sent."""


class Act(msgspec.Struct, frozen=True, tag=True):
    """Once: do this. Committed with the intent, before anything is sent."""

    step: str
    attempt: int
    call: Call
    key: str  # idempotency key: the same for every attempt at the same step
    start_by: datetime  # later than this it must not be sent any more
    undo: bool = False
    policy: str = ""  # whose
    shown: Picture | None = None  # what people agreed to: other rows or values must not be changed
    approved: tuple[str, ...] = ()  # who agreed
    target: str = ""  # on which


class Inquire(msgspec.Struct, frozen=True, tag=True):
    """Repeatable: ask what became of an act or an undo, by its mark."""

    step: str
    attempt: int
    undo: bool
    call: Call
    mark: dict[str, Any]


class Card(msgspec.Struct, frozen=True, tag=True):
    """Repeatable: the card of a gate, or of a question, must show the run as it is now."""

    gate: str  # or the question's id


Effect = Probe | Preview | Act | Inquire | Card

# ── Facts ─────────────────────────────────────────────────────────────────────────────────────────


class Spent(msgspec.Struct, frozen=True):
    """A run that took a part of a shared budget."""

    policy: str
    at: datetime


class Use(msgspec.Struct, frozen=True):
    """What the bounds count, read inside the deciding transaction. This run itself is left out."""

    last_act: datetime | None = None  # by this policy on this target
    last_denial: datetime | None = None  # denied, or expired and not asked again; likewise
    target_acts: tuple[datetime, ...] = ()  # runs that started an act that is not safe, newest first
    policy_acts: tuple[datetime, ...] = ()  # likewise, on any target
    budget_acts: tuple[Spent, ...] = ()  # likewise, by any policy that shares this one's budget
    failures: tuple[datetime, ...] = ()  # runs of this policy that failed or did not help, newest first
    open_runs: int = 0  # of this policy
    safe_plays: Mapping[str, datetime] = msgspec.field(default_factory=dict)  # safe-only case → when played


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the store reads for a decision, inside the transaction that commits it."""

    now: datetime
    use: Use = msgspec.field(default_factory=Use)
    halts: tuple[Halt, ...] = ()  # only those that cover this policy and target
    holder: str | None = None  # another run that locks the target
    held: frozenset[str] = frozenset()  # steps that other runs of this policy hold on the target

    @property
    def held_steps(self) -> frozenset[str]:
        """The same, as the policy names them: an item that is held stands for its step."""
        return frozenset(base_of(name) for name in self.held)


class Facts(Seen, frozen=True, kw_only=True):
    """What a decision may depend on and the run does not hold."""

    policy: Policy  # of the run's version
    current: str | None  # the version in the running set; None when the policy is gone
    catalog: Catalog
    debounce: timedelta = timedelta(minutes=1)  # how long "all resolved" must stand
    freshness: timedelta = timedelta(seconds=10)  # how old readings may be at the first change

    @property
    def outdated(self) -> str:
        """Why the run decides no further by its version, where it is not the current one."""
        what = "has changed" if self.current is not None else "is gone: it was removed or renamed"
        return f"the policy {what} since this run was opened"

    @property
    def roles(self) -> Mapping[str, frozenset[str]]:
        """Who holds which role now: cover for an absence begins and ends by the clock."""
        return self.catalog.roles_at(self.now)


# ── Decisions ─────────────────────────────────────────────────────────────────────────────────────


class Entry(msgspec.Struct, frozen=True):
    """One line of a journal, before it gets its number, time and link."""

    kind: str
    data: dict[str, Any] = {}


class PageWanted(msgspec.Struct, frozen=True):
    """A person must hear this."""

    key: str
    chain: str
    text: str
    heard_by: str = ""  # who has just said it, and need not be told


class Counted(msgspec.Struct, frozen=True):
    """Something that bounds count. ``what``: the case for ``safe``; ``expired`` for a denial by time.

    ``failed``: a run closes as ``what``, failed or ineffective; only its policy counts it.
    ``asked`` takes back the denials by time of its run: somebody wants people to be asked again.
    """

    kind: Literal["act", "denied", "safe", "asked", "failed"]
    what: str = ""


class Decision(msgspec.Struct, frozen=True):
    """What one event leads to; committed whole, before the world is touched."""

    run: Run
    entries: tuple[Entry, ...] = ()
    effects: tuple[Effect, ...] = ()
    pages: tuple[PageWanted, ...] = ()
    counted: tuple[Counted, ...] = ()
    refusal: Refusal | None = None  # for the dispositions of the run's alerts, once it has closed
    recheck_at: datetime | None = None  # decide the still firing alerts again then
