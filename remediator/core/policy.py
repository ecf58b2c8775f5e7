"""A policy as a value: the whole language, version 1. Read by policyfiles, followed by decide.

Keys are named as in YAML; where Python reserves the word, an underscore follows (``with_``, ``for_``).
Texts with expressions are parsed when the policy is, once. What a policy names (connections, roles,
steps) is checked by policyfiles, which knows the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, StrictBool, model_validator

from remediator.core.expression import Expression, Template
from remediator.core.fields import Duration, Name, PolicyName, SelectorText, Text
from remediator.core.opening import Bounds, Param, Watch
from remediator.core.parts import Calling, Part
from remediator.core.selector import Selector
from remediator.core.steps import Gate, Step, base_of

PATIENCE: Mapping[str, timedelta] = MappingProxyType(
    {
        "critical": timedelta(minutes=5),
        "high": timedelta(minutes=15),
        "medium": timedelta(hours=1),
        "low": timedelta(hours=4),
    }
)
"""Severity → how long a refusal may stand before it pages."""
LEAST_RECHECK = timedelta(seconds=1)
"""Runs that follow each other without a pause would never end."""


class Probe(Calling):
    """Something to read before deciding."""

    expect: Literal["one row", "any rows", "no rows"] | None = Field(
        default=None, description="Rows the result must have; anything else refuses the run."
    )
    optional: StrictBool = Field(
        default=False,
        description="If it fails it is null, as each of its values is, and its ok is false; the run goes on.",
    )


def _check_do(value: object) -> object:
    if value == "nothing" or value is None or isinstance(value, list | tuple):
        return value
    raise ValueError("do is either nothing or a list of steps: do: [restart]")


class Case(Part):
    """One row of the decision table."""

    when: Expression | None = Field(
        default=None, description="Holds when this is true; left out, it always does."
    )
    do: Annotated[Literal["nothing"] | tuple[Name, ...] | None, BeforeValidator(_check_do)] = Field(
        default=None, description="Steps to take, all, in order; or nothing."
    )
    try_: tuple[Name, ...] | None = Field(default=None, description="Steps to take until one verifies.")
    gate: Gate | None = Field(
        default=None,
        description="One gate for all steps of this case, in place of their own: it asks no less than each.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        self.exactly_one("do", "try_")
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


class Page(Part):
    """Who is paged."""

    chain: Text = Field(default="default", description="An escalation chain of the config.")


class Policy(Part):
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
        description="While the alert fires, decide again this long after a run closes; 1s at least.",
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
        self.exactly_one("match", "watch")
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
    def pause(self) -> timedelta:
        """How long after a run closes it decides again; never at once, whatever an older version says."""
        return max(self.recheck, LEAST_RECHECK)

    @property
    def patience(self) -> timedelta:
        """How long a refusal may stand before it pages."""
        return PATIENCE[self.severity]
