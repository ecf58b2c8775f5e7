"""A run: one policy's work on one target, as a value. Stored whole, changed only by `decide`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

import msgspec

from remediator.core.alert import Alert
from remediator.core.canonical import digest
from remediator.core.evidence import Picture, Proof, Reading
from remediator.core.exact import shown
from remediator.core.intention import Call, Intention


class Stage(StrEnum):
    """Where a run stands. Stages marked (passing) are left within the decision that enters them."""

    DIAGNOSING = "diagnosing"  # probes are out
    CHOOSING = "choosing"  # (passing) which step is next, and may people have to agree?
    PREVIEWING = "previewing"  # asking what the gated steps would change
    WAITING = "waiting"  # a gate is open
    PREPARING = "preparing"  # reading what must be fresh before the act
    STARTING = "starting"  # (passing) the last check, and the intent
    ACTING = "acting"  # the world was told; no answer yet
    VERIFYING = "verifying"  # did it work?
    ENDING = "ending"  # (passing) hold, undo or close
    HOLDING = "holding"  # a temporary change stands
    UNDOING = "undoing"  # a change is being taken back
    ASKING = "asking"  # an outcome is unknown; a person decides
    CLOSED = "closed"

    @property
    def open(self) -> bool:
        """Counts towards ``at_once`` and keeps other runs of this policy off the target."""
        return self not in (Stage.CLOSED, Stage.HOLDING)


class Outcome(StrEnum):
    """How a run ended."""

    FIXED = "fixed"  # every step done, and proved where it can be
    NOTHING_TO_DO = "nothing-to-do"  # the decision table said so
    OBSERVED = "observed"  # mode observe: it said what it would do
    RECOVERED = "recovered"  # the alert resolved before anything was started
    REFUSED = "refused"  # a bound, a probe, a halt or an expression said no
    DENIED = "denied"  # a person said no
    EXPIRED = "expired"  # nobody answered in time
    INEFFECTIVE = "ineffective"  # done, but not proved to have worked
    FAILED = "failed"  # a step was refused by the world, or an undo went wrong
    HANDED_OVER = "handed-over"  # a person took it


class Refusal(msgspec.Struct, frozen=True):
    """A bound saying no. ``again_at`` or ``waits_for`` say when the alert is considered again.

    waits_for: ``target:<target>``, ``policy:<name>`` or ``halt``; empty when only time is waited for.
    """

    bound: str
    reason: str
    again_at: datetime | None = None
    waits_for: str = ""

    def __str__(self) -> str:
        return f"{self.bound}: {self.reason}"


class Vote(msgspec.Struct, frozen=True):
    """One person's word on one gate."""

    by: str
    approve: bool
    at: datetime
    via: str  # slack | api | page | cli
    hash: str  # the gate's hash when the person saw it
    reason: str = ""


class Gate(msgspec.Struct, frozen=True):
    """The approvals that some steps need, bound to exactly what they will do."""

    id: str
    steps: tuple[str, ...]
    intentions: tuple[Intention, ...]
    hash: str
    required: dict[str, int]  # role → how many people
    opened_at: datetime
    expires_at: datetime
    late: Literal["page", "deny"]
    state: Literal["open", "approved", "denied", "expired", "void"] = "open"
    votes: tuple[Vote, ...] = ()
    pictures: dict[str, Picture] = {}
    note: str = ""  # why it ended as it did
    remarks: tuple[str, ...] = ()  # votes that did not count, and why; the last few
    approved_at: datetime | None = None
    again: str = ""  # it expired, and somebody had it asked again: the run that asks


class StepState(StrEnum):
    """What became of one step."""

    PLANNED = "planned"
    STARTED = "started"
    DONE = "done"
    VERIFIED = "verified"
    UNVERIFIED = "unverified"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    UNDONE = "undone"


class StepRun(msgspec.Struct, frozen=True):
    """One step of a run, from its intention to its undo."""

    name: str
    state: StepState = StepState.PLANNED
    intention: Intention | None = None
    attempt: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    mark: dict[str, Any] | None = None  # by which a lost answer can be found; see `Marked`
    result: dict[str, Any] | None = None  # as `exact.kept`
    error: str = ""
    before: Reading | None = None
    readings: dict[str, Reading] = {}  # on which it was done, once the run goes on by others
    proof: Reading | None = None  # the last verify reading
    proof_since: datetime | None = None  # since when `until` has held
    proof_next: datetime | None = None
    proof_by: datetime | None = None  # the end of `within`
    worked: bool = False  # proved, or done where nothing can prove it; stays true when undone
    unknown: bool = False  # the answer was lost; a proof settles it, or a person
    undo_at: datetime | None = None
    undo_early: bool = False  # it is due before its time box, for the alert is over
    undo_started: bool = False
    undo_attempt: int = 0
    undo_resent: bool = False  # it is sent once more, and what came of the first time is not known
    undo_call: Call | None = None  # as it was sent
    undo_sent_at: datetime | None = None  # for the first time
    undo_mark: dict[str, Any] | None = None
    undo_unknown: bool = False  # its mark is being asked about, or whether it may be sent again under its key
    undo_late: bool = False  # a person was paged that it is overdue
    undo_refused_at: datetime | None = None  # when it was first refused, for certain
    undo_error: str = ""
    undo_still: Proof | None = None  # may the undo be sent still? As it was read last
    undo_proof: Proof | None = None  # the undo was done, and is being proved
    early: tuple[Proof, ...] = ()  # what may end the hold, in the policy's order

    @property
    def did(self) -> dict[str, Any] | None:
        """What it did: as it was answered, or else as it was marked. None for what was not done."""
        if not self.stands and self.state is not StepState.UNDONE:
            return None
        return self.result or (self.mark or {}).get("result")

    @property
    def answer(self) -> dict[str, Any]:
        """What the world answered, as people read it."""
        told: dict[str, Any] = shown(self.result or {})
        return told

    @property
    def stands(self) -> bool:
        """Has it changed the world, as far as is known, without being undone?"""
        return self.state in (StepState.DONE, StepState.VERIFIED, StepState.UNVERIFIED)

    @property
    def to_go(self) -> bool:
        """Does a change stand that is meant to be taken back? No other run may make it meanwhile."""
        return self.intention is not None and self.intention.undo is not None and self.stands

    @property
    def owes_undo(self) -> bool:
        """Does a change stand that is to be taken back and has not been tried yet?"""
        return self.to_go and not self.undo_started

    @property
    def temporary(self) -> bool:
        """Does its change stand only for a time, that is still to come?"""
        undo = self.intention.undo if self.intention is not None else None
        if undo is None or not self.owes_undo:
            return False
        return undo.after_s is not None or "resolved" in undo.early or bool(undo.probes)


class Question(msgspec.Struct, frozen=True):
    """An outcome that nobody knows, as people are asked about it; and what one of them said."""

    id: str  # ``<run>.q1``
    step: str
    asked_at: datetime
    by: str = ""  # who settled it; "" while it is open
    verdict: str = ""  # happened | not-happened | handled
    via: str = ""  # slack | api | page | cli
    reason: str = ""
    at: datetime | None = None
    late: str = ""  # what its answer said that came after all
    remarks: tuple[str, ...] = ()  # words that did not count, and why; the last few

    @property
    def open(self) -> bool:
        """Does it wait for somebody's word?"""
        return not self.verdict and not self.late


class Member(msgspec.Struct, frozen=True):
    """An alert that belongs to a run."""

    firing: bool
    since: datetime  # when this state was received


class Verdict(msgspec.Struct, frozen=True):
    """How a run closes, and why."""

    outcome: Outcome
    reason: str


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the decision on a run depends on, but the `Facts`."""

    id: str
    policy: str
    version: str
    mode: str
    down_until: datetime | None = None  # the mode is lower than the policy's until then, after failures
    target: str
    opened_at: datetime
    opened_by: str = "alert"  # alert | watch | person:<name>
    alert: Alert  # the opener
    members: dict[str, Member]  # by fingerprint
    params: dict[str, Any]
    stage: Stage = Stage.DIAGNOSING
    round: int = 0  # of probes; answers to an older round are ignored
    pending: tuple[str, ...] = ()  # probe keys not yet answered
    readings: dict[str, Reading] = {}
    fresh: dict[str, Reading] = {}  # read again before the first change
    seen: dict[str, Reading] = {}  # read again for a later card: what the earlier steps have made of it
    case: int | None = None
    plan: tuple[str, ...] = ()
    rungs: bool = False  # `try`: one after the other until one verifies
    cursor: int = 0
    steps: dict[str, StepRun] = {}
    lists: dict[str, list[Any]] = {}  # of repeated steps: their items, as `exact.kept`; see `repeating`
    gate: Gate | None = None
    past_gates: tuple[Gate, ...] = ()
    voids: int = 0  # how many were void
    questions: tuple[Question, ...] = ()  # about outcomes that nobody knew; only the last may be open
    pictures: dict[str, Picture] = {}
    undoing: tuple[str, ...] = ()  # steps to undo now, in order
    after_undo: Stage = Stage.ENDING
    verdict: Verdict | None = None  # how it will close once its undos are through
    acted: bool = False  # a step that is not safe was started
    resolved_at: datetime | None = None  # all members resolved
    reworded: str = ""  # its alert speaks of another target or other parameters by now: which
    rewordings: int = 0  # how often that ended a run of it, one after the other; counted over all of them
    wait_until: datetime | None = None  # an undo that waits for the target or for a halt
    yields: bool = False  # that undo waits for another run, which has the target
    held: bool = False  # its change has stood for a time
    failed: bool = False  # counted as a failure of its policy
    closed_at: datetime | None = None
    outcome: Outcome | None = None
    reason: str = ""

    @property
    def open(self) -> bool:
        """Does it count towards ``at_once``, and keep other runs of its policy off the target?

        Not once it has held: another may be open by then, and its undo may not wait for that.
        """
        return self.stage.open and not self.held

    @property
    def locks_target(self) -> bool:
        """Does it keep every other run from acting on its target?"""
        if self.stage in (Stage.ACTING, Stage.VERIFYING, Stage.UNDOING, Stage.ASKING):
            return not self.yields
        return self.acted and self.stage not in (Stage.HOLDING, Stage.CLOSED)

    @property
    def evidence(self) -> dict[str, Reading]:
        """What people look at: the readings of the decision, or those of a later card."""
        return {**self.readings, **self.seen}

    @property
    def step(self) -> StepRun | None:
        """The step at the cursor."""
        return self.steps[self.plan[self.cursor]] if self.cursor < len(self.plan) else None

    @property
    def planned(self) -> list[StepRun]:
        """The steps of its plan, in their order."""
        return [self.steps[name] for name in self.plan]

    @property
    def temporary(self) -> list[str]:
        """Steps whose change stands only for a time, in the order in which they were done."""
        return [name for name, step in self.steps.items() if step.temporary]

    @property
    def all_gates(self) -> tuple[Gate, ...]:
        """Oldest first."""
        return (*self.past_gates, self.gate) if self.gate else self.past_gates

    @property
    def question(self) -> Question | None:
        """The one that waits for a person's word."""
        last = self.questions[-1] if self.questions else None
        return last if last is not None and last.open and self.stage is Stage.ASKING else None

    @property
    def starter(self) -> str:
        """The person who started it by hand, or "". It has no alert behind it that could end it."""
        prefix, _, person = self.opened_by.partition(":")
        return person if prefix == "person" else ""

    @property
    def observes(self) -> bool:
        """Mode observe: takes no locks, counts apart, changes nothing."""
        return self.mode == "observe"


class Halt(msgspec.Struct, frozen=True, kw_only=True):
    """The kill switch, as thrown. ``scope``: ``all``, ``policy:<name>`` or ``target:<target>``."""

    id: str
    scope: str
    reason: str
    by: str
    at: datetime
    undos: bool = False

    def covers(self, policy: str, target: str) -> bool:
        """Does it stop this policy on this target?"""
        return self.scope in ("all", f"policy:{policy}", f"target:{target}")


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A message that must reach a person; it escalates until acknowledged."""

    id: str
    key: str  # one open page per key: the same trouble does not page twice
    chain: str
    text: str
    opened_at: datetime
    run: str = ""
    level: int = -1  # the last rung of the chain that was reached
    next_at: datetime | None = None
    acked_by: str = ""
    acked_at: datetime | None = None
    sent: tuple[str, ...] = ()  # what was told to whom, by which road
    error: str = ""


def gate_hash(
    intentions: tuple[Intention, ...], pictures: Mapping[str, Picture], terms: Mapping[str, Any]
) -> str:
    """SHA-256 of the resolved steps, of what people were shown of them, and of the terms."""
    shown = {step: msgspec.to_builtins(picture) for step, picture in pictures.items()}
    steps = [one.identity() for one in intentions]
    return digest({"steps": steps, "pictures": shown, "terms": dict(terms)})
