"""The words of the screens: stages, outcomes, states and spans of time. Pure.

tone: ``good``, ``bad``, ``warn``, ``busy`` or ``calm``. A colour never stands without its word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from remediator.core.repeating import named
from remediator.core.run import Outcome, Run, Stage, StepRun, StepState
from remediator.core.steps import base_of


@dataclass(frozen=True)
class Look:
    """A word with its tone, and what it means in a few more."""

    word: str
    tone: str
    mark: str  # so that it can be told without colour
    means: str


STAGES = {
    Stage.DIAGNOSING: Look("diagnosing", "busy", "●", "reading the probes"),
    Stage.CHOOSING: Look("choosing", "busy", "●", "choosing the next step"),
    Stage.PREVIEWING: Look("previewing", "busy", "●", "asking what the step would change"),
    Stage.WAITING: Look("waiting", "warn", "◆", "a gate is open: people have to agree"),
    Stage.PREPARING: Look("preparing", "busy", "●", "reading again what must be fresh"),
    Stage.STARTING: Look("starting", "busy", "●", "the last check"),
    Stage.ACTING: Look("acting", "busy", "▶", "the world was told; no answer yet"),
    Stage.VERIFYING: Look("verifying", "busy", "●", "looking whether it worked"),
    Stage.ENDING: Look("ending", "busy", "●", "no step is left"),
    Stage.HOLDING: Look("holding", "calm", "‖", "a temporary change stands"),
    Stage.UNDOING: Look("undoing", "busy", "↺", "a change is being taken back"),
    Stage.ASKING: Look("asking", "bad", "?", "an outcome is unknown: a person has to look"),
    Stage.CLOSED: Look("closed", "calm", "■", "it is over"),
}

OUTCOMES = {
    Outcome.FIXED: Look("fixed", "good", "✓", "every step done, and proved where it can be"),
    Outcome.NOTHING_TO_DO: Look("nothing-to-do", "calm", "–", "the decision table said so"),
    Outcome.OBSERVED: Look("observed", "calm", "○", "mode observe: it said what it would do"),
    Outcome.RECOVERED: Look("recovered", "good", "✓", "the alert resolved before anything was started"),
    Outcome.REFUSED: Look("refused", "warn", "⊘", "a bound, a probe, a halt or an expression said no"),
    Outcome.DENIED: Look("denied", "warn", "✕", "a person said no"),
    Outcome.EXPIRED: Look("expired", "warn", "◷", "nobody answered in time"),
    Outcome.INEFFECTIVE: Look("ineffective", "bad", "!", "done, but not proved to have worked"),
    Outcome.FAILED: Look("failed", "bad", "✕", "refused by the world, or an undo went wrong"),
    Outcome.HANDED_OVER: Look("handed-over", "calm", "→", "a person took it"),
}

STEPS = {
    StepState.PLANNED: Look("planned", "calm", "○", "not started"),
    StepState.STARTED: Look("started", "busy", "▶", "the world was told"),
    StepState.DONE: Look("done", "good", "✓", "the world did it"),
    StepState.VERIFIED: Look("verified", "good", "✓", "done, and proved to have worked"),
    StepState.UNVERIFIED: Look("unverified", "bad", "!", "done, not proved to have worked"),
    StepState.REFUSED: Look("refused", "warn", "⊘", "not done"),
    StepState.UNKNOWN: Look("unknown", "bad", "?", "it may or may not have happened"),
    StepState.UNDONE: Look("undone", "calm", "↺", "done, and taken back"),
}

GATES = {
    "open": Look("open", "warn", "◆", "waits for votes"),
    "approved": Look("approved", "good", "✓", "enough people agreed"),
    "denied": Look("denied", "warn", "✕", "a person said no"),
    "expired": Look("expired", "warn", "◷", "nobody answered in time"),
    "void": Look("void", "calm", "–", "no longer valid"),
}

RISKS = {"safe": "calm", "disruptive": "warn", "destructive": "bad"}
SAYS = {
    "run-opened": Look("acting on it", "busy", "▸", "a run of this alert's own is under way"),
    "joined": Look("joined a run", "busy", "▸", "another alert's run deals with it"),
    "holding": Look("holding", "busy", "◷", "its run has changed something for a time"),
    "closed": Look("run over", "calm", "•", "its run is over; it is decided again while it fires"),
    "would-open": Look("would act", "good", "✓", "nothing says no: a run would be opened"),
    "would-join": Look("would join", "good", "✓", "it would join the run that is open on the target"),
    "refused": Look("refused", "warn", "✕", "a bound, a parameter or a person said no"),
    "unasked": Look("matches", "calm", "•", "it matches; bounds were not asked"),
    "resolved": Look("resolved", "calm", "•", "the alert fires no more"),
    "not-matched": Look("no match", "calm", "–", "none of the policy's lines fits the alert"),
}
MODES = {"observe": "calm", "suggest": "busy", "act": "good"}

FLOW = ("diagnose", "decide", "preview", "gate", "act", "verify", "hold", "undo", "closed")
"""The stops of a run, as DESIGN draws them."""

_STOPS = {
    Stage.DIAGNOSING: "diagnose",
    Stage.CHOOSING: "decide",
    Stage.PREVIEWING: "preview",
    Stage.WAITING: "gate",
    Stage.PREPARING: "act",
    Stage.STARTING: "act",
    Stage.ACTING: "act",
    Stage.VERIFYING: "verify",
    Stage.ENDING: "hold",
    Stage.HOLDING: "hold",
    Stage.UNDOING: "undo",
    Stage.ASKING: "verify",
    Stage.CLOSED: "closed",
}


def stop(stage: Stage) -> str:
    """Where on the way a stage is."""
    return _STOPS[stage]


def stands(run: Run) -> Look:
    """A run's state in one word: its outcome, or its stage."""
    return OUTCOMES[run.outcome] if run.outcome is not None else STAGES[run.stage]


def outcome(name: str) -> Look:
    """The look of an outcome by its name; one that is not known is shown plainly."""
    try:
        return OUTCOMES[Outcome(name)]
    except ValueError:
        return Look(name, "calm", "·", "")


@dataclass(frozen=True)
class Together:
    """A step of the plan, or all items of one list: how they stand, as ``83 proved, 7 refused``."""

    name: str
    steps: list[StepRun]
    listed: bool
    how: str

    @property
    def worst(self) -> StepState:
        """The state that people should see first."""
        return min((one.state for one in self.steps), key=_GRAVEST.index)

    @property
    def next_undo(self) -> datetime | None:
        """When the first of them is taken back."""
        return min((one.undo_at for one in self.steps if one.owes_undo and one.undo_at), default=None)


_GRAVEST = (
    StepState.UNKNOWN,
    StepState.REFUSED,
    StepState.UNVERIFIED,
    StepState.STARTED,
    StepState.PLANNED,
    StepState.DONE,
    StepState.VERIFIED,
    StepState.UNDONE,
)


def together(steps: Iterable[StepRun]) -> list[Together]:
    """Steps in their order, items of one list as one."""
    found = []
    for base, group in groupby(steps, lambda one: base_of(one.name)):
        some = list(group)
        told = Counter(STEPS[one.state].word for one in some)
        how = ", ".join(f"{count} {word}" for word, count in told.items())
        found.append(Together(named(one.name for one in some), some, some[0].name != base, how))
    return found


def opener(opened_by: str) -> str:
    """Who or what opened a run, in words: ``an alert``, ``its watch``, or the person who started it."""
    kind, _, person = opened_by.partition(":")
    return person or {"alert": "an alert", "watch": "its watch"}.get(kind, kind)


# ── Time ──────────────────────────────────────────────────────────────────────────────────────────


def span(seconds: float) -> str:
    """``45 s``, ``14 min 05 s``, ``3 h 12 min``, ``2 d 4 h``: two units, never more."""
    whole = max(0, round(seconds))
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour} h" if hour else f"{days} d"
    if hours:
        return f"{hours} h {minute:02} min" if minute else f"{hours} h"
    if minutes:
        return f"{minutes} min {second:02} s" if second else f"{minutes} min"
    return f"{second} s"


def ago(at: datetime, now: datetime) -> str:
    """``4 min ago``: one unit, rounded down."""
    seconds = (now - at).total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"


def left(at: datetime, now: datetime) -> str:
    """``14 min 05 s``, or that it is over."""
    seconds = (at - now).total_seconds()
    return span(seconds) if seconds > 0 else "any moment"


def clock(at: datetime) -> str:
    """``09:14:50 UTC``."""
    return f"{at.astimezone(UTC):%H:%M:%S} UTC"


def moment(at: datetime) -> str:
    """``2026-11-21 09:14:50 UTC``."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def iso(at: datetime) -> str:
    """For machines."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
