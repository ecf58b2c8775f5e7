"""A policy as a value: the whole language, version 1. Read by policyfiles, followed by decide.

Keys are named as in YAML; where Python reserves the word, an underscore follows (``with_``, ``for_``).
Texts with expressions are parsed when the policy is, once. What a policy names (connections, roles,
steps) is checked by policyfiles, which knows the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, model_validator

from remediator.core import windows
from remediator.core.durations import Rate
from remediator.core.expression import Expression, Template
from remediator.core.fields import (
    Count,
    Duration,
    Name,
    Pattern,
    PatternText,
    PolicyName,
    RateText,
    SelectorText,
    Text,
    WindowText,
    With,
)
from remediator.core.selector import Selector

__all__ = [
    "PATIENCE",
    "AtMost",
    "Bounds",
    "Breaker",
    "Case",
    "EarlyProbe",
    "Gate",
    "Page",
    "Param",
    "Pattern",
    "Policy",
    "Probe",
    "Rate",
    "Step",
    "Undo",
    "Verify",
    "Watch",
    "Windows",
]

PATIENCE: Mapping[str, timedelta] = MappingProxyType(
    {
        "critical": timedelta(minutes=5),
        "high": timedelta(minutes=15),
        "medium": timedelta(hours=1),
        "low": timedelta(hours=4),
    }
)
"""Severity → how long a refusal may stand before it pages."""


class _Part(BaseModel):
    """Frozen; unknown keys are errors; ``with_`` is written ``with``."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
        alias_generator=lambda name: name.rstrip("_"),
        validate_by_name=True,
        validate_by_alias=True,
    )

    def _exactly_one(self, *names: str) -> None:
        given = [name.rstrip("_") for name in names if getattr(self, name) is not None]
        if len(given) != 1:
            words = " or ".join(name.rstrip("_") for name in names)
            raise ValueError(f"needs exactly one of {words}" + (f", not {' and '.join(given)}" * bool(given)))


class _Call(_Part):
    """An operation, on a connection, with its arguments."""

    use: Text = Field(description="The operation, such as postgres.query.")
    via: Text | None = Field(default=None, description="The connection; left out for built-in ones.")
    with_: With = Field(default_factory=dict, description="The operation's parameters; texts may hold ${…}.")


class _PerhapsCall(_Part):
    """An operation, or another way."""

    use: Text | None = Field(default=None, description="The operation, such as prometheus.query.")
    via: Text | None = Field(default=None, description="The connection; left out for built-in ones.")
    with_: With = Field(default_factory=dict, description="The operation's parameters; texts may hold ${…}.")


# ── Before the run ──────────────────────────────────────────────────────────────────────────────


class Param(_Part):
    """One typed value taken from the alert: the only way for alert data to reach an action."""

    from_: Expression = Field(description="An expression over labels and annotations.")
    type: Literal["string", "int", "number", "bool", "uuid", "duration", "time", "enum"] = Field(
        default="string", description="What the value must be."
    )
    pattern: PatternText | None = Field(default=None, description="RE2, anchored; required for type string.")
    values: tuple[str, ...] = Field(default=(), description="The allowed values of type enum.")
    default: Any = Field(default=None, description="Stands in when the alert lacks the value.")

    @property
    def has_default(self) -> bool:
        """May the alert lack the value?"""
        return "default" in self.model_fields_set


class Breaker(_Part):
    """Ineffective or failed runs step the policy down."""

    failures: Count = Field(description="So many failures ...")
    within: Duration = Field(description="... within this long ...")
    mode: Literal["observe", "suggest"] = Field(description="... lower the policy to this mode ...")
    for_: Duration = Field(description="... for this long.")

    @property
    def memory(self) -> timedelta:
        """How long a failure can matter."""
        return self.within + self.for_

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if not self.within or not self.for_:
            raise ValueError("within and for must be longer than no time at all")
        return self


class Windows(_Part):
    """When a run may open and a step may start: days, hours, and the zone whose clocks they are of."""

    not_: tuple[WindowText, ...] | None = Field(
        default=None,
        min_length=1,
        description="Never in these windows, such as Fri 16:00-20:00 Africa/Dakar.",
    )
    only: tuple[WindowText, ...] | None = Field(
        default=None,
        min_length=1,
        description="Only in these windows, such as Mon-Fri 09:00-17:00 Europe/Berlin.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        self._exactly_one("not_", "only")
        return self

    def opens(self, now: datetime) -> datetime | None:
        """The next moment, now included, at which anything may start. None: not for weeks."""
        return windows.out_of(self.not_, now) if self.not_ else windows.into(self.only or (), now)

    def told(self, now: datetime) -> str:
        """What says no now, in words."""
        if self.not_:
            return f"nothing may start in {', '.join(map(str, windows.forbidding(self.not_, now)))}"
        return f"nothing may start outside {' and '.join(map(str, self.only or ()))}"


class Bounds(_Part):
    """How much one policy may do."""

    cooldown: Duration = Field(default=timedelta(minutes=30), description="Per target, from the last act.")
    per_target: RateText = Field(
        default=Rate(3, timedelta(hours=24)),
        description="Runs on one target that started an act that is not safe.",
    )
    per_policy: RateText = Field(
        default=Rate(10, timedelta(hours=1)), description="The same, on all targets."
    )
    at_once: Count = Field(default=2, description="Runs that may be open at the same time.")
    deadline: Duration = Field(
        default=timedelta(hours=6), description="A run's life, gates included, holds excluded."
    )
    budget: Text | None = Field(default=None, description="A budget of the config, shared by policies.")
    breaker: Breaker | None = Field(default=None, description="Steps the policy down after failures.")
    windows: Windows | None = Field(default=None, description="When runs may open and steps may start.")


class Watch(_Call):
    """Opens runs without Alertmanager: one per row or series of a probe."""

    every: Duration | None = Field(default=None, description="How often to look.")
    cron: Text | None = Field(default=None, description="When to look, as five cron fields.")
    timezone: Text | None = Field(default=None, description="The zone of cron, such as Africa/Dakar.")
    key: tuple[Text, ...] = Field(
        min_length=1, description="The columns or labels that are a row's identity."
    )

    @model_validator(mode="after")
    def _one_schedule(self) -> Self:
        self._exactly_one("every", "cron")
        if self.every is not None and self.every < timedelta(seconds=1):
            raise ValueError("every is less than a second")
        if self.timezone and not self.cron:
            raise ValueError("timezone needs cron")
        return self


# ── The run ─────────────────────────────────────────────────────────────────────────────────────


class Probe(_Call):
    """Something to read before deciding."""

    expect: Literal["one row", "any rows", "no rows"] | None = Field(
        default=None, description="Rows the result must have; anything else refuses the run."
    )
    optional: StrictBool = Field(
        default=False, description="If it fails it is null, rather than refusing the run."
    )


class Gate(_Part):
    """People who must agree, or the reason why none need to."""

    votes: dict[Text, Count] | None = Field(
        default=None, min_length=1, description="Role → votes; distinct people."
    )
    within: Duration = Field(default=timedelta(minutes=15), description="How long the gate stays open.")
    late: Literal["page", "deny"] = Field(default="page", description="What expiry does.")
    waived: Text | None = Field(default=None, description="Why this is safe unattended.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        self._exactly_one("votes", "waived")
        return self


def _check_do(value: object) -> object:
    if value == "nothing" or value is None or isinstance(value, list | tuple):
        return value
    raise ValueError("do is either nothing or a list of steps: do: [restart]")


class Case(_Part):
    """One row of the decision table."""

    when: Expression | None = Field(
        default=None, description="Holds when this is true; left out, it always does."
    )
    do: Annotated[Literal["nothing"] | tuple[Name, ...] | None, BeforeValidator(_check_do)] = Field(
        default=None, description="Steps to take, all, in order; or nothing."
    )
    try_: tuple[Name, ...] | None = Field(default=None, description="Steps to take until one verifies.")
    gate: Gate | None = Field(default=None, description="One gate for all steps of this case.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        self._exactly_one("do", "try_")
        if self.do != "nothing" and not self.steps:
            raise ValueError("names no step; write do: nothing")
        if len(set(self.steps)) < len(self.steps):
            raise ValueError("names a step twice")
        if self.gate and not self.steps:
            raise ValueError("nothing needs no gate")
        return self

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps it names, in order."""
        return self.try_ or (self.do if isinstance(self.do, tuple) else ())

    @property
    def rungs(self) -> bool:
        """Are the steps tried until one verifies, rather than all taken?"""
        return self.try_ is not None


class Verify(_PerhapsCall):
    """How a step is proved to have worked, or why nothing can prove it."""

    until: Expression | None = Field(
        default=None, description="True once it has worked; sees verify and before."
    )
    within: Duration = Field(default=timedelta(minutes=10), description="How long to wait for it.")
    every: Duration = Field(default=timedelta(seconds=30), description="How often to look.")
    for_: Duration = Field(default=timedelta(), description="How long it must stay true.")
    none: Text | None = Field(default=None, description="Why nothing can prove it.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        self._exactly_one("use", "none")
        if self.use and self.until is None:
            raise ValueError("needs until: the expression that proves it")
        if self.every < timedelta(seconds=1):
            raise ValueError("every is less than a second")
        return self


class EarlyProbe(_Call):
    """A reading that ends a hold before its time."""

    until: Expression = Field(description="True when the undo should come; sees verify, this reading.")
    every: Duration = Field(default=timedelta(seconds=30), description="How often to look.")
    for_: Duration = Field(default=timedelta(), description="How long it must stay true.")

    @model_validator(mode="after")
    def _patient(self) -> Self:
        if self.every < timedelta(seconds=1):
            raise ValueError("every is less than a second")
        return self


def _listed(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


def _check_early(value: object) -> object:
    known = ("unverified", "resolved")
    for one in value if isinstance(value, list | tuple) else ():
        if isinstance(one, str) and one not in known:
            raise ValueError(f"{one!r} is neither {known[0]}, {known[1]} nor a probe")
    return value


Early = Literal["unverified", "resolved"] | EarlyProbe


class Undo(_PerhapsCall):
    """How and when a step is taken back, or why it is meant to stay."""

    how: Literal["restore"] | None = Field(default=None, description="restore: generated from before-images.")
    after: Duration | None = Field(default=None, description="The time box.")
    early: Annotated[
        tuple[Early, ...],
        BeforeValidator(_check_early),
        BeforeValidator(_listed, json_schema_input_type=Early | tuple[Early, ...]),
    ] = Field(default=(), description="What brings the undo before its time; one, or a list.")
    verify: Verify | None = Field(default=None, description="How the undo is proved to have worked.")
    none: Text | None = Field(default=None, description="Why it is meant to stay.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        self._exactly_one("how", "use", "none")
        if self.none is None and self.after is None and not self.early:
            raise ValueError("needs after (a time box) or early")
        return self

    @property
    def probes(self) -> tuple[EarlyProbe, ...]:
        """The readings that may end the hold."""
        return tuple(one for one in self.early if isinstance(one, EarlyProbe))

    @property
    def proof(self) -> Verify | None:
        """How the undo is proved, where it is."""
        return self.verify if self.verify is not None and self.verify.use is not None else None


class AtMost(_Part):
    """An upper limit of rows."""

    at_most: Count = Field(description="The most rows that may change.")


MOST_ITEMS = 1000
"""Items of one repeated step: a run is kept whole, and asked about whole."""


def base_of(step: str) -> str:
    """The policy's name of a run's step: ``retry`` of ``retry[3]``, which is its third item."""
    return step.partition("[")[0]


class Step(_Call):
    """One action with its gate, verification and undo."""

    rows: Count | AtMost | None = Field(default=None, description="Rows it must change, exactly or at most.")
    gate: Gate | None = Field(default=None, description="Who must agree first.")
    verify: Verify | None = Field(default=None, description="How it is proved to have worked.")
    undo: Undo | None = Field(default=None, description="How it is taken back.")
    on_failure: Literal["page", "undo_all", "continue"] = Field(
        default="page", description="What a failure leads to."
    )
    for_each: Template | None = Field(default=None, description="Repeats the step for each item of a list.")
    at_most: Annotated[Count, Field(ge=1, le=MOST_ITEMS)] | None = Field(
        default=None, description="The most items; required with for_each. A longer list is refused whole."
    )
    stop_after: Annotated[Count, Field(ge=1)] | None = Field(
        default=None, description="Failed items after which no further one is begun; 1 where none is written."
    )

    @model_validator(mode="after")
    def _repeats(self) -> Self:
        if self.for_each is None:
            for part in ("at_most", "stop_after"):
                if getattr(self, part) is not None:
                    raise ValueError(f"{part} is for a step with for_each")
            return self
        if self.for_each.whole is None:
            raise ValueError("for_each is one expression that gives a list: for_each: ${failed.rows}")
        if self.at_most is None:
            raise ValueError("for_each needs at_most: the most items that it may have")
        return self


class Page(_Part):
    """Who is paged."""

    chain: Text = Field(default="default", description="An escalation chain of the config.")


# ── The policy ──────────────────────────────────────────────────────────────────────────────────


class Policy(_Part):
    """One document: what may be done about one kind of alert."""

    policy: PolicyName = Field(description="Its name, in kebab-case.")
    summary: Text = Field(description="What is wrong when it runs, for people.")
    owner: str = Field("", description="The team that answers for it.")
    runbook: str = Field("", description="Where people read more.")
    severity: Literal["critical", "high", "medium", "low"] = Field(
        default="medium", description="Default patience and escalation."
    )
    mode: Literal["observe", "suggest", "act"] = Field(
        default="suggest", description="How much it does by itself."
    )
    match: tuple[SelectorText, ...] | None = Field(
        default=None, min_length=1, description="Alertmanager selectors; any may hold."
    )
    watch: Watch | None = Field(default=None, description="Opens runs without Alertmanager.")
    recheck: Duration = Field(
        default=timedelta(minutes=5),
        description="While the alert fires, decide again this long after a run closes.",
    )
    params: dict[Name, Param] = Field(default_factory=dict, description="Typed values taken from the alert.")
    target: Template = Field(description="What is acted on, as kind/id.")
    bounds: Bounds = Field(default=Bounds(), description="How much it may do.")
    diagnose: dict[Name, Probe] = Field(default_factory=dict, description="What is read before deciding.")
    decide: tuple[Case, ...] = Field(
        min_length=1, description="The decision table; the first case that holds."
    )
    steps: dict[Name, Step] = Field(default_factory=dict, description="The actions that cases name.")
    page: Page = Field(default=Page(), description="Whom it pages.")
    allow_loosening: Text | None = Field(
        default=None,
        alias="allow-loosening",
        description="Why this change may loosen a bound, a gate, a proof or an undo; holds for the one "
        "change that adds or rewrites it (`policy diff`).",
    )

    @model_validator(mode="after")
    def _one_opener(self) -> Self:
        self._exactly_one("match", "watch")
        return self

    @property
    def name(self) -> str:
        """Its name."""
        return self.policy

    def step(self, name: str) -> Step:
        """The text of a run's step; of an item, that of the step that is repeated."""
        return self.steps[base_of(name)]

    @property
    def selectors(self) -> tuple[Selector, ...]:
        """Which alerts it wants; any may hold."""
        return self.match or ()

    @property
    def kind(self) -> str:
        """The kind of thing it acts on: the target's text before the first slash."""
        return self.target.text.partition("/")[0]

    @property
    def patience(self) -> timedelta:
        """How long a refusal may stand before it pages."""
        return PATIENCE[self.severity]
